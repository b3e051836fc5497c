// A run's points as the server has them: asked for once, and then only what is new.
export class Curves {
  constructor(url) {
    this.url = url;
    this.forget();
  }

  forget() {
    this.step = { step: [] };
    this.evaluation = { step: [] };
    this.stride = 0;
    this.over = false;
  }

  get last() {
    return this.step.step.at(-1) ?? -1;
  }

  /** True where something came. A run that went back to a checkpoint, or whose points have become sparser, is read anew. */
  async more() {
    const answer = await fetch(`${this.url}?after=${Math.max(0, this.last)}`, { headers: { Accept: "application/json" } });
    if (!answer.ok) throw new Error(`The server answered ${answer.status}.`);
    const told = await answer.json();
    if (this.stride && (told.stride !== this.stride || told.at < this.last)) {
      this.forget();
      return this.more();
    }
    this.stride = told.stride;
    this.over = told.over;
    return [add(this.step, told.step), add(this.evaluation, told.evaluation)].some(Boolean);
  }
}

function add(known, told) {
  const last = known.step.at(-1) ?? -1;
  const fresh = told.step.map((step, index) => [step, index]).filter(([step]) => step > last).map(([, index]) => index);
  for (const [name, column] of Object.entries(told)) (known[name] ??= []).push(...fresh.map((index) => column[index]));
  return fresh.length > 0;
}
