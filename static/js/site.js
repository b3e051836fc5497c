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

// A fragment asked for every second is not put in place under a finger that presses on the old one.
document.addEventListener("htmx:beforeSwap", (event) => {
  if (event.detail.target.querySelector(":active")) event.detail.shouldSwap = false;
});
