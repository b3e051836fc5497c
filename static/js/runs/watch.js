// A run's page: its curves grow while it works. Without this script the table beside them tells the same.
import { Chart } from "./chart.js";
import { Curves } from "./curves.js";
import { poll } from "./poll.js";
import * as say from "./say.js";

const section = document.querySelector("[data-curves]");
const curves = new Curves(section.dataset.curves);
const figure = (name) => section.querySelector(`[data-chart=${name}]`);
const ONE = "--accent", OTHER = "--warn";

const charts = [
  ["step", ["loss"], new Chart(figure("loss"), { curves: [{ name: "loss", colour: ONE }], say: say.loss })],
  ["evaluation", ["macro_f1", "accuracy"], new Chart(figure("scores"), {
    curves: [{ name: "F1", colour: ONE }, { name: "accuracy", colour: OTHER }], say: say.share, range: [0, 1],
  })],
  ["step", ["lr"], new Chart(figure("lr"), {
    curves: [{ name: "learning rate", colour: ONE }], say: say.rate, ticks: { values: say.each(say.rate) },
  })],
  ["step", ["memory"], new Chart(figure("memory"), {
    curves: [{ name: "memory", colour: ONE }], say: say.bytes, range: (chart, low, high) => [0, (high || 1) * 1.15],
    ticks: { values: say.each(say.bytes), incrs: say.ofBytes },
  })],
];

async function draw() {
  if (!await curves.more()) return;
  section.hidden = false;
  for (const [kind, names, chart] of charts) chart.draw(curves[kind].step, names.map((name) => curves[kind][name] ?? []));
}

// A log that somebody has scrolled up in stays where it is.
document.addEventListener("htmx:oobBeforeSwap", (event) => {
  const log = event.detail.target.querySelector(".log");
  if (log && Math.abs(log.scrollTop) > 4) event.detail.shouldSwap = false;
});

await poll(draw, () => curves.over);
