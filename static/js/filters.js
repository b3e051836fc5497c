// What was left blank stays out of the address, so that it can be read, kept and sent to somebody.
const form = document.querySelector("form.filters");

form.addEventListener("submit", () => {
  for (const field of form.elements) field.disabled = field.name && !field.value;
});
addEventListener("pageshow", () => {
  for (const field of form.elements) field.disabled = false;
});
