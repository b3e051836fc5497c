// The review screen. Its forms work without any of this; with it the next post is there as soon as a key is pressed.
import { Desk } from "./desk.js";
import { onKey, readKeys } from "./keys.js";
import { Lease, onLeaving } from "./lease.js";
import { stage, writeNote } from "./screen.js";
import { onSwipe } from "./swipe.js";
import { nameTab } from "./tab.js";

const data = JSON.parse(document.getElementById("review-data").textContent);
const form = document.getElementById("review");
const desk = new Desk(data);
const dialogs = { help: document.getElementById("help"), guidelines: document.getElementById("guidelines") };
const menus = () => [...form.querySelectorAll("details[data-menu]")];

document.documentElement.classList.add("scripted");

function openMenu(name) {
  for (const menu of menus()) menu.open = menu.dataset.menu === name;
  form.querySelector(`[data-menu=${name}] > div button`).focus();
}

const ACTIONS = {
  votes: () => desk.votes(),
  incongruous: () => form.elements.incongruous?.click(),
  note: () => writeNote(),
  undo: () => desk.undo(),
  skip: () => openMenu("skip"),
  flag: () => openMenu("flag"),
  zoom: () => stage.toggle(),
  guidelines: () => dialogs.guidelines.showModal(),
  find: () => form.querySelector("[data-find]")?.focus(),
  help: () => dialogs.help.showModal(),
};

/** In an open menu digits choose, and the key that opened it takes what stands first. */
function inMenu(menu, meant, event) {
  const buttons = [...menu.querySelectorAll(":scope > div button")];
  const numbered = buttons.filter((button) => button.querySelector("kbd"));
  const chosen = meant.action === menu.dataset.menu && menu.dataset.menu === "skip" ? buttons[0] : numbered[Number(event.key) - 1];
  chosen?.click();
  return Boolean(chosen);
}

onKey(readKeys(data.labels, data.keys), (meant, event) => {
  if (stage.arrow(event.key)) return true;
  if (event.repeat) return Boolean(meant.label || meant.action);
  const menu = menus().find((one) => one.open);
  if (menu) return inMenu(menu, meant, event);
  if (meant.label) desk.decide({ label: meant.label });
  else if (meant.action) ACTIONS[meant.action]();
  return Boolean(meant.label || meant.action);
});

form.addEventListener("submit", (event) => {
  const { name, value, dataset } = event.submitter ?? {};
  if (name === "do" && value === "take_up") return; // a new page, as without a script
  event.preventDefault();
  if (name === "label") desk.decide({ label: Number(value) });
  else if (name === "instead") desk.decide({ instead: value, ...(dataset.reason ? { reason: dataset.reason } : {}) });
  else if (name === "do") ACTIONS[value]();
});
form.addEventListener("click", (event) => {
  const action = event.target.closest("[type=button][data-do], a[data-do]")?.dataset.do;
  if (!action || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  ACTIONS[action]();
});
for (const dialog of Object.values(dialogs)) {
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
}

onSwipe(form.querySelectorAll("[data-stage], [data-side]"), () => !stage.zoomed, () => desk.decide({ instead: "skip" }));

const lease = new Lease({
  seconds: data.lease,
  told: document.querySelector("[data-lease]"),
  hasPost: () => Boolean(desk.shelf.current),
  renew: async () => { if (await desk.renew()) lease.renewed(); },
});
onLeaving({
  url: data.urls.release,
  csrf: data.cookies.csrf,
  named: data.cookies.tab,
  path: location.pathname,
  tab: () => desk.tab,
  pks: () => desk.shelf.pks,
  back: () => lease.renew(),
});

await desk.open(await nameTab(data.tab));
