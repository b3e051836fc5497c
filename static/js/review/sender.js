// Sends what is in the outbox, one step after the other, and again for as long as it takes.
import { ask } from "./wire.js";

const FIRST_PAUSE = 1000;
const LONGEST_PAUSE = 15_000;
const LOGIN_PAUSE = 10_000;

export class Sender {
  /** `prepare(step)` gives address and body; `hear(step, became, told)` is called once for each step that has ended. */
  constructor(outbox, { prepare, hear, troubled, csrf }) {
    Object.assign(this, { outbox, prepare, hear, troubled, csrf });
    this.pause = FIRST_PAUSE;
    this.busy = false;
    addEventListener("online", () => this.wake());
    document.addEventListener("visibilitychange", () => { if (!document.hidden) this.wake(); });
  }

  wake() {
    clearTimeout(this.again);
    if (!this.busy) this.run();
  }

  async run() {
    this.busy = true;
    while (this.outbox.first && (await this.send(this.outbox.first)));
    this.busy = false;
  }

  /** Whether to go on with the next. */
  async send(step) {
    this.outbox.tries(step);
    const { url, body } = this.prepare(step);
    const { became, told } = await ask(url, body, this.csrf);
    if (became === "done" || became === "refused") {
      this.pause = FIRST_PAUSE;
      this.outbox.remove(step);
      this.troubled("");
      this.hear(step, became, told);
      return true;
    }
    this.troubled(became, told);
    this.again = setTimeout(() => this.wake(), became === "unreached" ? this.pause * (0.75 + Math.random() / 2) : LOGIN_PAUSE);
    this.pause = Math.min(this.pause * 2, LONGEST_PAUSE);
    return false;
  }
}
