// Adds up what the chosen voters will cost. Without this script the sum is of those that were chosen at first.
const told = document.querySelector("[data-together]");
const boxes = [...document.querySelectorAll("[data-cost]")];

const money = (sum) => (sum > 0 && sum < 0.0001 ? "under $0.0001" : `$${sum.toFixed(sum > 0 && sum < 0.1 ? 4 : 2)}`);

function add() {
  const costs = boxes.filter((box) => box.checked).map((box) => box.dataset.cost);
  told.textContent = costs.includes("") ? "unknown" : money(costs.reduce((sum, cost) => sum + Number(cost), 0));
}

if (told) for (const box of boxes) box.addEventListener("change", add);
