// One chart: drawn by uPlot in the page's own colours, read with a pointer or with the arrow keys.
const HEIGHT = 190;
const FEW = 40; // points that are shown as such

const css = (element, property) => getComputedStyle(element).getPropertyValue(property);

/** What a variable of the style sheet comes to, in the scheme of the moment. */
function colour(within, name) {
  const probe = document.createElement("i");
  probe.style.color = `var(${name})`;
  within.append(probe);
  const found = css(probe, "color");
  probe.remove();
  return found;
}

export class Chart {
  /** `curves`: a name and a variable of the style sheet for each; the second is dashed. `say` writes a value. `ticks` is
   * what differs from plain numbers on the axis. */
  constructor(figure, { curves, say, range, ticks = {} }) {
    this.plot = figure.querySelector("[data-plot]");
    this.told = figure.querySelector("[data-told]");
    this.curves = curves;
    this.say = say;
    this.asked = { range, ticks };
    this.readWithKeys();
  }

  /** As soon as there is something to draw: an empty chart looks like a broken one. */
  begin(data) {
    this.chart = new uPlot(this.options(this.asked), data, this.plot);
    new ResizeObserver(() => this.chart.setSize({ width: this.plot.clientWidth, height: HEIGHT })).observe(this.plot);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.chart.redraw(false, true));
  }

  options({ range, ticks }) {
    const axis = { stroke: () => colour(this.plot, "--soft"), font: "12px system-ui", ticks: { show: false } };
    const grid = { stroke: () => colour(this.plot, "--line"), width: 1 };
    const series = this.curves.map(({ colour: name }, number) => ({
      stroke: () => colour(this.plot, name),
      width: 2,
      dash: number ? [5, 4] : undefined,
      spanGaps: true,
      points: { show: (chart, index) => chart.data[index].filter((value) => Number.isFinite(value)).length <= FEW, size: 5 },
    }));
    return {
      width: this.plot.clientWidth, height: HEIGHT, padding: [8, 8, 0, 0],
      legend: { show: false },
      cursor: { y: false, drag: { x: false, y: false }, points: { size: 8 } },
      scales: {
        x: { time: false, range: (chart, low, high) => (low === high ? [(low ?? 1) - 1, (high ?? 1) + 1] : [low, high]) },
        y: range ? { range } : {},
      },
      axes: [
        { ...axis, grid: { show: false }, size: 28, space: 60, incrs: [1, 2, 5].flatMap((n) => [1, 10, 100, 1e3, 1e4, 1e5, 1e6].map((size) => n * size)).sort((a, b) => a - b) },
        { ...axis, grid, size: 58, ...ticks },
      ],
      series: [{}, ...series],
      hooks: { setCursor: [(chart) => this.read(chart.cursor.idx)] },
    };
  }

  /** Steps, and a column for each curve. */
  draw(steps, columns) {
    if (!steps.length) return;
    if (this.chart) this.chart.setData([steps, ...columns]);
    else this.begin([steps, ...columns]);
    this.read(this.chart.cursor.idx);
  }

  /** In words, what stands at a place; at none, what each curve came to last. */
  read(at) {
    const [steps, ...columns] = this.chart.data;
    const found = columns.map((column) => at ?? column.findLastIndex(Number.isFinite));
    const said = columns.map((column, number) => {
      const value = column[found[number]];
      const name = this.curves.length > 1 ? `${this.curves[number].name} ` : "";
      return Number.isFinite(value) ? `${name}${this.say(value)}` : "";
    }).filter(Boolean);
    const where = new Set(found).size === 1 ? `step ${steps[found[0]]?.toLocaleString("en")}` : "last";
    this.told.textContent = said.length ? `${where}: ${said.join(", ")}` : "";
  }

  readWithKeys() {
    const leave = () => {
      this.told.removeAttribute("aria-live");
      this.chart?.setCursor({ left: -10, top: -10 });
    };
    this.plot.addEventListener("focus", () => this.told.setAttribute("aria-live", "polite"));
    this.plot.addEventListener("blur", leave);
    this.plot.addEventListener("keydown", (event) => {
      const steps = this.chart?.data[0] ?? [];
      const last = steps.length - 1;
      const at = this.chart?.cursor.idx ?? last + 1;
      const moves = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: last };
      if (!(event.key in moves) || last < 0) return;
      event.preventDefault();
      const index = Math.min(last, Math.max(0, moves[event.key]));
      this.chart.setCursor({ left: this.chart.valToPos(steps[index], "x"), top: 0 });
    });
  }
}
