// A cascade's curves, read from the table beneath them, and a slider that moves over its points.
import { Chart } from "./runs/chart.js";

const section = document.querySelector("[data-cascade]");
const rows = [...document.querySelectorAll("#points tr[data-threshold]")];
const cell = (row, name) => row.querySelector(`[data-name=${name}]`);
const value = (row, name) => Number.parseFloat(cell(row, name).dataset.value ?? "NaN");
const steps = rows.map((row) => Number(row.dataset.threshold));

/** Over thresholds instead of steps; a line stands where the point is that is shown. */
class Curve extends Chart {
  options(asked) {
    const options = super.options(asked);
    Object.assign(options.axes[0], { incrs: [0.05, 0.1, 0.2, 0.5], values: (chart, at) => at.map((one) => +one.toFixed(2)) });
    options.series.slice(1).forEach((series, number) => (series.dash = [undefined, [5, 4], [2, 3]][number]));
    options.hooks.draw = [(chart) => this.line(chart)];
    return options;
  }

  line(chart) {
    const { ctx, bbox } = chart;
    const x = Math.round(chart.valToPos(steps[shown], "x", true));
    ctx.save();
    ctx.strokeStyle = chart.axes[0].stroke();
    ctx.lineWidth = devicePixelRatio;
    ctx.setLineDash([]);
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
    ctx.restore();
  }

  /** In words, what stands at a place; at none, what the point comes to that is shown. */
  read(at) {
    const row = rows[at ?? shown];
    const said = this.curves.map(({ name, short }) => `${short}${cell(row, name).firstChild.textContent.trim()}`);
    this.told.textContent = `${row.dataset.words}: ${said.join(", ")}`;
  }
}

/** On twentieths, with a little room. */
const ofShares = (chart, low, high) => [Math.max(0, Math.floor(20 * low - 0.2) / 20), Math.min(1, Math.ceil(20 * high + 0.2) / 20)];

let shown = Math.max(0, rows.findIndex((row) => row.classList.contains("is-shown")));
const drawn = [
  ["right", [{ name: "accuracy", short: "", colour: "--accent" }, { name: "balanced", short: "balanced ", colour: "--warn" }, { name: "minority", short: "minority ", colour: "--good" }], ofShares],
  ["saved", [{ name: "saved", short: "", colour: "--accent" }], [0, 1], (one) => `${Math.round(100 * one)}%`],
  ["seconds", [{ name: "seconds", short: "", colour: "--accent" }], (chart, low, high) => [0, high || 1], (one) => (one && one < 1 ? `${+(1000 * one).toPrecision(3)} ms` : `${+one.toPrecision(3)} s`)],
].filter(([name]) => section.querySelector(`[data-chart=${name}]`)).map(([name, curves, range, write]) => {
  const ticks = write ? { values: (chart, at) => at.map(write) } : {};
  return new Curve(section.querySelector(`[data-chart=${name}]`), { curves, say: String, range, ticks });
});

section.hidden = false;
for (const chart of drawn) chart.draw(steps, chart.curves.map(({ name }) => rows.map((row) => value(row, name))));

const point = document.querySelector("#point");
const slider = point.querySelector("#slider");
const threshold = point.querySelector("#threshold");

/** The same as a look at its address would show. */
function show(index) {
  rows[shown].classList.remove("is-shown");
  rows[shown].removeAttribute("aria-current");
  shown = index;
  const row = rows[index];
  row.classList.add("is-shown");
  row.setAttribute("aria-current", "true");
  point.querySelector("[data-words]").textContent = row.dataset.words;
  point.querySelector("[data-behind]").textContent = row.dataset.behind;
  for (const told of point.querySelectorAll("[data-of]")) told.textContent = cell(row, told.dataset.of).firstChild.textContent.trim();
  for (const told of point.querySelectorAll("[data-interval-of]")) told.textContent = cell(row, told.dataset.intervalOf).dataset.interval ?? "";
  for (const mark of point.querySelectorAll("[data-mark]")) mark.hidden = !(mark.dataset.mark in row.dataset);
  slider.value = index;
  slider.setAttribute("aria-valuetext", `${row.dataset.words}: ${cell(row, "saved").firstChild.textContent.trim()} of the calls saved`);
  threshold.value = row.dataset.threshold;
  const use = point.querySelector("[data-use]");
  if (use) {
    use.disabled = "chosen" in row.dataset;
    use.form.elements.threshold.value = row.dataset.threshold;
  }
  for (const chart of drawn) {
    chart.chart.redraw(false, false);
    chart.read(chart.chart.cursor.idx);
  }
}

const nearest = (wanted) => steps.reduce((best, step, index) => (Math.abs(step - wanted) < Math.abs(steps[best] - wanted) ? index : best), 0);
const keep = () => history.replaceState(null, "", `?at=${rows[shown].dataset.threshold}`);

for (const part of point.querySelectorAll("[data-slides]")) part.hidden = false;
slider.max = rows.length - 1;
slider.addEventListener("input", () => show(Number(slider.value)));
slider.addEventListener("change", keep);
point.querySelector("[data-choose]").addEventListener("submit", (event) => {
  const wanted = Number(threshold.value.replace(",", "."));
  if (!Number.isFinite(wanted) || threshold.value === "") return;
  event.preventDefault();
  show(nearest(wanted));
  keep();
});
document.querySelector("#points").addEventListener("click", (event) => {
  const link = event.target.closest("a");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  show(rows.indexOf(link.closest("tr")));
  keep();
  point.scrollIntoView({ block: "nearest" });
});
for (const chart of drawn) {
  chart.plot.addEventListener("click", () => {
    const { idx } = chart.chart.cursor; // null, or not there yet, while nothing is pointed at
    if (Number.isInteger(idx)) show(idx);
  });
}
show(shown);
const box = document.querySelector(".points-box");
box.scrollTop = rows[shown].offsetTop - box.clientHeight / 2;
