// Copies what stands in a field beside its button. Without this script one selects it and copies as ever.
async function copy(field) {
  field.select();
  try {
    await navigator.clipboard.writeText(field.value); // only where the page came over HTTPS or from this machine
    return true;
  } catch {
    return document.execCommand("copy");
  }
}

for (const button of document.querySelectorAll("[data-copy]")) {
  const field = document.getElementById(button.dataset.copy);
  button.hidden = false;
  if (field.matches("input")) field.addEventListener("focus", () => field.select());
  button.addEventListener("click", async () => {
    const copied = await copy(field);
    button.textContent = copied ? "Copied" : "Press Ctrl+C";
    document.querySelector("[data-copied]").textContent = copied
      ? "Copied."
      : "The browser did not allow it; the text is selected, copy it yourself.";
  });
}
