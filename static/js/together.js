// Adds up what the chosen voters will cost, one by one or in batches. Without this script the sum is of those that were
// chosen at first, one by one.
const told = document.querySelector("[data-together]");
const boxes = [...document.querySelectorAll("[data-cost]")];
const mode = document.querySelector("select[name=mode]");

const money = (sum) => (sum > 0 && sum < 0.0001 ? "under $0.0001" : `$${sum.toFixed(sum > 0 && sum < 0.1 ? 4 : 2)}`);
const costOf = (box) => (mode?.value === "batch" ? box.dataset.inBatch : box.dataset.cost);

function add() {
  const costs = boxes.filter((box) => box.checked).map(costOf);
  told.textContent = costs.includes("") ? "unknown" : money(costs.reduce((sum, cost) => sum + Number(cost), 0));
}

if (told) {
  for (const box of [...boxes, mode]) box?.addEventListener("change", add);
  add();
}
