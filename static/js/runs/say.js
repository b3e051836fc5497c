// How figures are written beside the curves.
export const share = (value) => value.toFixed(3);
export const loss = (value) => (value >= 100 || (value && value < 0.001) ? value.toExponential(1) : value.toFixed(3));
export const rate = (value) => (value === 0 ? "0" : value.toExponential(1).replace("e-", "e−").replace("e+", "e"));

/** For an axis: each of its values written so. */
export const each = (say) => (chart, values) => values.map((value) => say(value));

const MB = 1024 ** 2;
const ROUND = [1, 2, 5, 10, 20, 50, 100, 200, 500];
export const ofBytes = [...ROUND.map((count) => count * MB), ...ROUND.map((count) => count * 1024 * MB)];

export function bytes(value) {
  const [size, unit] = value >= 1024 * MB ? [1024 * MB, "GB"] : [MB, "MB"];
  const count = value / size;
  return `${count.toFixed(count < 10 && value ? 1 : 0)} ${unit}`;
}
