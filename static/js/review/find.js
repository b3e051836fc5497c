// More labels than there are keys: typing narrows them down, Enter takes the first, arrows walk through them.
const plain = (text) => text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();

export class Find {
  /** `pks` are the labels in the project's own order. */
  constructor(input, told, list, pks) {
    Object.assign(this, { input, told, list });
    this.places = new Map(pks.map((pk, at) => [String(pk), at]));
    this.order = [...list.children];
    input.addEventListener("input", () => this.narrow());
    input.addEventListener("keydown", (event) => this.key(event));
    list.addEventListener("keydown", (event) => this.walk(event));
  }

  get visible() {
    return [...this.list.children].filter((button) => !button.hidden);
  }

  /** Names that begin with what was typed come first, then those of which a later word does. */
  narrow() {
    const typed = plain(this.input.value.trim());
    const rank = (button) => {
      const at = ` ${plain(button.dataset.name)}`.indexOf(` ${typed}`);
      return at < 0 && plain(button.dataset.name).includes(typed) ? 1000 : at;
    };
    for (const button of this.order) button.hidden = rank(button) < 0;
    const sorted = typed ? this.order.toSorted((one, other) => rank(one) - rank(other)) : this.order;
    this.list.replaceChildren(...sorted);
    this.tell(typed);
  }

  tell(typed) {
    const [first, ...rest] = this.visible;
    this.list.classList.toggle("narrowed", Boolean(typed && first));
    if (!typed) this.told.textContent = "";
    else if (!first) this.told.textContent = "No label is called that.";
    else this.told.textContent = `Enter: ${first.dataset.name}` + (rest.length ? `, and ${rest.length} more` : "");
  }

  key(event) {
    if (event.key === "Enter") {
      event.preventDefault(); // nothing typed, nothing chosen
      if (this.input.value.trim() && !event.repeat) this.visible[0]?.click();
    } else if (event.key === "ArrowDown") {
      event.preventDefault();
      this.visible[0]?.focus();
    } else if (event.key === "Escape") {
      this.clear();
      this.input.blur();
    }
  }

  walk(event) {
    const step = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
    const all = this.visible;
    const at = all.indexOf(document.activeElement);
    if (!step || at < 0) return;
    event.preventDefault();
    (all[at + step] ?? (step < 0 ? this.input : all[at])).focus();
  }

  /** Those that machines named come first, where their votes are on the screen anyway. */
  prefer(pks) {
    const named = new Set(pks.map(String));
    const first = (button) => Number(!named.has(button.value));
    this.order.sort((one, other) => first(one) - first(other) || this.places.get(one.value) - this.places.get(other.value));
    this.clear();
  }

  clear() {
    this.input.value = "";
    this.narrow();
    this.list.scrollTop = 0;
  }
}
