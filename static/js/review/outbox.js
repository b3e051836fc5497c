// What was decided and not yet received: kept in the browser, so that neither a dropped network nor a reload loses it.
// Each step is an entry of its own, so that two tabs never overwrite each other's.

let made = 0;

export class Outbox {
  constructor(user, project) {
    this.prefix = `review ${user} ${project} `;
    this.steps = this.read();
  }

  /** In the order in which they were made, also those of a tab that is gone: sent twice, a step counts once. */
  read() {
    try {
      const names = Object.keys(localStorage).filter((name) => name.startsWith(this.prefix));
      return names.sort().map((name) => JSON.parse(localStorage.getItem(name)));
    } catch {
      return [];
    }
  }

  add(step) {
    made += 1;
    const moment = String(Date.now()).padStart(15, "0");
    const entry = { ...step, id: `${moment} ${String(made).padStart(6, "0")} ${step.key}`, tried: false };
    this.steps.push(entry);
    this.write(entry);
    return entry;
  }

  write(entry) {
    try {
      localStorage.setItem(this.prefix + entry.id, JSON.stringify(entry));
    } catch {
      // Full or switched off: it stays in memory and is sent from there.
    }
  }

  /** From now on nobody knows whether it has arrived. */
  tries(entry) {
    if (entry.tried) return;
    entry.tried = true;
    this.write(entry);
  }

  remove(entry) {
    this.steps = this.steps.filter((step) => step !== entry);
    try {
      localStorage.removeItem(this.prefix + entry.id);
    } catch {
      // It was never written.
    }
  }

  get first() {
    return this.steps[0];
  }

  /** Posts whose answer is under way: they are not on the screen, but still this tab's. */
  get answered() {
    return this.steps.filter((step) => step.kind === "decide").map((step) => step.pk);
  }
}
