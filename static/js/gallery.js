// From card to card with the arrows; one key sends the label of the card at hand to review.
const gallery = document.querySelector("[data-gallery]");
const help = document.getElementById("help");
const cards = () => [...gallery.children];

document.querySelector("[data-keys]").hidden = false;

function step(by) {
  const all = cards();
  const at = all.indexOf(document.activeElement.closest("[data-gallery] > *"));
  const next = at < 0 ? 0 : Math.min(all.length - 1, Math.max(0, at + by));
  all[next].focus();
}

const does = {
  ArrowRight: () => step(1),
  ArrowLeft: () => step(-1),
  d: () => document.activeElement.closest("[data-gallery] > *")?.querySelector("[data-doubt]")?.requestSubmit(),
  "?": () => help.showModal(),
  Enter: (event) => { if (event.target.matches("[data-gallery] > *")) event.target.querySelector("a")?.click(); },
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || event.defaultPrevented) return;
  if (event.target.closest("input, select, textarea") || help.open || !does[event.key]) return;
  if (event.key !== "Enter") event.preventDefault();
  does[event.key](event);
});

// The button is gone once it was pressed: whoever held it holds its card.
document.addEventListener("htmx:beforeSwap", (event) => {
  const card = event.detail.target.closest("[data-gallery] > *");
  if (card?.contains(document.activeElement)) card.focus();
});
