// Menus close on Escape, on a click elsewhere, and when focus leaves them; a page that asks in vain says so.
const menus = () => document.querySelectorAll("details.menu[open]");

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const menu of menus()) {
    menu.open = false;
    menu.querySelector("summary").focus();
  }
});
for (const kind of ["click", "focusin"]) {
  document.addEventListener(kind, (event) => {
    for (const menu of menus()) if (!menu.contains(event.target)) menu.open = false;
  });
}

const unreached = document.querySelector("[data-unreached]");
document.addEventListener("htmx:sendError", () => { unreached.hidden = false; });
document.addEventListener("htmx:afterOnLoad", () => { unreached.hidden = true; });

// Where the server broke, its sentence with the number to quote; it stays until the same has succeeded.
const broken = document.querySelector("[data-broken]");
const breaks = new Set();
document.addEventListener("htmx:afterRequest", ({ detail }) => {
  const path = detail.pathInfo.requestPath;
  if (detail.xhr.status >= 500) {
    breaks.add(path);
    if (broken.hidden) broken.textContent = said(detail.xhr);
  } else if (detail.successful) breaks.delete(path);
  broken.hidden = !breaks.size;
});

function said(xhr) {
  const isSentence = xhr.getResponseHeader("Content-Type")?.startsWith("text/plain");
  return isSentence ? xhr.responseText : `The server answered ${xhr.status}. Try again in a moment.`;
}

// A fragment asked for every second is not put in place under a finger that presses on the old one.
document.addEventListener("htmx:beforeSwap", (event) => {
  if (event.detail.target.querySelector(":active")) event.detail.shouldSwap = false;
});

// What was typed before htmx listened, or put back by the browser on return, is previewed as if it were typed now.
window.addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll('form[hx-trigger^="input"]')) {
    const field = [...form.elements].find(differsFromPage);
    field?.dispatchEvent(new Event("input", { bubbles: true }));
  }
});

function differsFromPage(field) {
  if (field.type === "checkbox" || field.type === "radio") return field.checked !== field.defaultChecked;
  if (field.options) return field.selectedIndex !== Math.max(0, [...field.options].findIndex((option) => option.defaultSelected));
  return "defaultValue" in field && field.value !== field.defaultValue;
}
