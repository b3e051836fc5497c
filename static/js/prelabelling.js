// What a threshold means: the slider asks as it moves, and two curves show all thresholds at once. Without this script
// the field and its button ask, and the table of thresholds tells the same.
import { Chart } from "./runs/chart.js";

const section = document.querySelector(".prelabelling");
const meaning = () => document.getElementById("meaning");
const chosen = () => Number(meaning().dataset.threshold) * 100;
const threshold = (hundredths) => (hundredths / 100).toLocaleString("en", { maximumFractionDigits: 3 });

class ByThreshold extends Chart {
  options(asked) {
    const options = super.options(asked);
    options.axes[0].values = (chart, splits) => splits.map(threshold);
    options.hooks.draw = [(chart) => this.markChosen(chart)];
    return options;
  }

  markChosen(chart) {
    const at = chart.valToPos(chosen(), "x", true);
    chart.ctx.save();
    chart.ctx.strokeStyle = getComputedStyle(this.plot).color;
    chart.ctx.lineWidth = devicePixelRatio;
    chart.ctx.setLineDash([2 * devicePixelRatio, 3 * devicePixelRatio]);
    chart.ctx.beginPath();
    chart.ctx.moveTo(at, chart.bbox.top);
    chart.ctx.lineTo(at, chart.bbox.top + chart.bbox.height);
    chart.ctx.stroke();
    chart.ctx.restore();
  }

  /** At the chosen threshold, where none is pointed at. */
  read(at) {
    const [thresholds, ...columns] = this.chart.data;
    const index = at ?? thresholds.findLastIndex((one) => one <= chosen() + 1e-9);
    const said = columns.map((column, number) => {
      const name = this.curves.length > 1 ? `${this.curves[number].name} ` : "";
      return Number.isFinite(column[index]) ? `${name}${this.say(column[index])}` : "";
    }).filter(Boolean);
    this.told.textContent = `at ${threshold(thresholds[index])}: ${said.join(", ") || "none"}`;
  }
}

const figure = (name) => section.querySelector(`[data-chart=${name}]`);
const percent = (value) => `${value.toFixed(value < 10 ? 1 : 0)}%`;
const whole = (value) => value.toLocaleString("en");
const upFromNothing = (least) => (chart, low, high) => [0, Math.max(least, (high || 0) * 1.1)];

const settled = new ByThreshold(figure("settled"), {
  curves: [{ name: "posts", colour: "--accent" }], say: whole, range: upFromNothing(1),
  ticks: { values: (chart, splits) => splits.map((value) => (Number.isInteger(value) ? whole(value) : "")) },
});
const wrong = new ByThreshold(figure("wrong"), {
  curves: [{ name: "its chances", colour: "--accent" }, { name: "validation", colour: "--warn" }], say: percent,
  range: upFromNothing(5), ticks: { values: (chart, splits) => splits.map((value) => `${value}%`) },
});

function draw() {
  const [thresholds, posts, byChances, onValidation] = JSON.parse(meaning().dataset.curve);
  section.querySelector("[data-charts]").hidden = false;
  settled.draw(thresholds, [posts]);
  wrong.draw(thresholds, [byChances, onValidation]);
}

// --- The slider, and the field that it moves

const slider = section.querySelector("[data-slides]");
const field = document.getElementById(slider.dataset.slides);
slider.hidden = false;
section.classList.add("is-live");
slider.addEventListener("input", () => { field.value = slider.value; });
field.addEventListener("input", () => {
  const written = field.value.replace(",", ".");
  if (Number(written)) slider.value = written;
});

draw();
document.addEventListener("htmx:afterSettle", draw);
