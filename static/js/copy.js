// Copies a secret that is shown once. Without this script one selects it and copies as ever.
const button = document.querySelector("[data-copy]");
const input = document.getElementById(button.dataset.copy);
const told = document.querySelector("[data-copied]");

async function copy() {
  input.select();
  try {
    await navigator.clipboard.writeText(input.value); // only where the page came over HTTPS or from this machine
    return true;
  } catch {
    return document.execCommand("copy");
  }
}

button.hidden = false;
input.addEventListener("focus", () => input.select());
button.addEventListener("click", async () => {
  const copied = await copy();
  button.textContent = copied ? "Copied" : "Press Ctrl+C";
  told.textContent = copied ? "Copied." : "The browser did not allow it; the text is selected, copy it yourself.";
});
