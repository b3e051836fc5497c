// What the screen says in passing: to the eye how it goes, to the ear what changed.
const quiet = document.querySelector("[data-quiet]");
const spoken = document.querySelector("[data-spoken]");

/** "" hides it. */
export function tellQuietly(sentence, ...more) {
  quiet.hidden = !sentence;
  quiet.replaceChildren(sentence, ...more);
}

export function speak(sentence) {
  spoken.textContent = sentence;
}

export class Progress {
  constructor({ left, today }) {
    this.bar = document.querySelector("[data-bar]");
    this.set({ left, today });
  }

  set({ left, today }) {
    Object.assign(this, { left, today });
    this.paint();
  }

  /** Between two looks at the server's own count; a skipped post is neither done nor gone. */
  count(answers) {
    this.today.n = Math.max(0, this.today.n + answers);
    this.left = Math.max(0, this.left - answers);
    this.paint();
  }

  paint() {
    const { n, pace } = this.today;
    const each = pace === null ? "" : `, ${Math.round(pace)} s each`;
    document.querySelector("[data-pace]").textContent = n ? `${n.toLocaleString("en")} today${each}` : "Your first today";
    for (const told of document.querySelectorAll("[data-left]")) told.textContent = this.left.toLocaleString("en");
    this.bar.max = Math.max(1, n + this.left);
    this.bar.value = n;
  }
}
