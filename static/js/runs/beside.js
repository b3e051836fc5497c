// The curves of two runs in one chart each, over the same steps.
import { Chart } from "./chart.js";
import { Curves } from "./curves.js";
import { poll } from "./poll.js";
import * as say from "./say.js";

const section = document.querySelector("[data-one]");

if (section) {
  const names = [...section.querySelectorAll("[data-chart=loss] .key")].map((key) => key.textContent);
  const curves = [{ name: names[0], colour: "--accent" }, { name: names[1], colour: "--warn" }];
  const figure = (name) => section.querySelector(`[data-chart=${name}]`);
  const runs = [new Curves(section.dataset.one), new Curves(section.dataset.other)];
  const charts = [
    ["step", "loss", new Chart(figure("loss"), { curves, say: say.loss })],
    ["evaluation", "macro_f1", new Chart(figure("macro_f1"), { curves, say: say.share, range: [0, 1] })],
  ];
  const draw = async () => {
    const came = await Promise.all(runs.map((run) => run.more()));
    if (!came.some(Boolean)) return;
    section.hidden = false;
    for (const [kind, name, chart] of charts) {
      const [steps, ...columns] = uPlot.join(runs.map((run) => [run[kind].step, run[kind][name] ?? []]));
      chart.draw(steps, columns);
    }
  };
  await poll(draw, () => runs.every((run) => run.over));
}
