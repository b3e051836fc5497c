// What a reviewer does: decide, take back, look at the votes. The next post is painted first, the server hears of it after.
import { Find } from "./find.js";
import { Outbox } from "./outbox.js";
import { Refused } from "./refused.js";
import * as screen from "./screen.js";
import { Sender } from "./sender.js";
import { Shelf } from "./shelf.js";
import { randomName } from "./tab.js";
import { Progress, speak, tellQuietly } from "./told.js";
import { ask } from "./wire.js";

const TOO_SOON = 250; // milliseconds in which nobody has read a post: a second press of the same key, or a double click
const SHORT = 80;
const LATER = 5000; // milliseconds until an empty screen asks again
const form = document.getElementById("review");
const shorten = (text) => (text.length > SHORT ? `${text.slice(0, SHORT)}…` : text);
const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);

export class Desk {
  constructor(data) {
    this.data = data;
    this.tab = "";
    this.names = new Map(data.labels.map(({ pk, name }) => [pk, name]));
    this.shelf = new Shelf(data.card, form.querySelector("[data-stage] img"));
    this.progress = new Progress(data);
    this.refused = new Refused(form.querySelector("[data-refused-list]"), data.user, data.slug);
    this.outbox = new Outbox(data.user, data.slug);
    this.trail = this.startOfTrail(data.last);
    this.sender = new Sender(this.outbox, {
      csrf: data.cookies.csrf,
      prepare: (step) => this.prepare(step),
      hear: (step, became, told) => this.hear(step, became, told),
      troubled: (became, told) => this.troubled(became, told),
    });
    if (data.many) this.find = new Find(form.querySelector("[data-find]"), form.querySelector("[data-found]"), form.querySelector("[data-labels]"), [...this.names.keys()]);
    if (data.votes_after) screen.votesComeAfter();
    this.began = performance.now();
    this.away = 0; // milliseconds of this post in which nobody looked
    if (data.card && this.outbox.answered.includes(data.card.pk)) this.skipOver(data.card);
    screen.showLast(this.trail.at(-1));
    addEventListener("online", () => { if (this.tab && !this.shelf.current) this.fill(); });
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) this.hiddenAt = performance.now();
      else if (this.hiddenAt) this.away += performance.now() - Math.max(this.hiddenAt, this.began);
    });
  }

  /** Once the tab has its name: what it holds, and what was left unsent. */
  async open(tab) {
    this.tab = tab;
    form.elements.tab.value = tab;
    this.sender.wake();
    await this.fill();
  }

  startOfTrail(last) {
    const taken = this.outbox.steps.filter((step) => step.kind === "undo").map((step) => step.key);
    const unsent = this.outbox.steps.filter((step) => step.kind === "decide");
    return [...(last ? [last] : []), ...unsent].filter((step) => !taken.includes(step.key));
  }

  /** The server does not know yet that this one was answered before the page was loaded again. */
  skipOver(card) {
    this.shelf.drop(card.pk);
    screen.setState("waiting");
  }

  step(name, body) {
    return ask(this.data.urls[name], { tab: this.tab, user: this.data.user, ...body }, this.data.cookies.csrf);
  }

  get holding() {
    return [...this.shelf.pks, ...this.outbox.answered];
  }

  // --- Posts

  async fill() {
    clearTimeout(this.fillAgain);
    const holding = this.holding;
    const { became, told } = await this.step("fill", { holding });
    if (became !== "done") {
      this.troubled(became, told);
      this.fillAgain = setTimeout(() => this.fill(), LATER);
      return false;
    }
    this.troubled("");
    this.skipped = told.skipped;
    this.progress.set(told);
    this.keep(holding, told.held);
    if (!this.trail.length && told.last) this.setTrail([told.last]);
    this.receive(told.cards);
    if (!this.shelf.current && !this.outbox.first) this.end();
    return true;
  }

  async renew() {
    if (!this.tab) return false;
    if (!this.shelf.current) return this.fill();
    const holding = this.holding;
    const { became, told } = await this.step("renew", { holding });
    if (became !== "done") return false;
    this.progress.set(told);
    this.keep(holding, told.held);
    return true;
  }

  /** What went to somebody else leaves the screen; what was typed beside it does not. */
  keep(asked, held) {
    const gone = this.shelf.cards.filter((card) => asked.includes(card.pk) && !held.includes(card.pk));
    for (const card of gone) {
      const [was, { note }] = [card === this.shelf.current, screen.draft()];
      this.shelf.drop(card.pk);
      if (!was) continue;
      if (note) this.refused.add({ sentence: "This post went to somebody else while you were away.", words: shorten(card.text), note });
      this.next("This post went to somebody else.");
    }
  }

  receive(cards) {
    const answered = new Set(this.outbox.answered);
    const empty = !this.shelf.current;
    this.shelf.add(cards.filter((card) => !answered.has(card.pk)));
    if (empty && this.shelf.current) this.paint("The next post is here.");
  }

  next(said) {
    if (this.shelf.current) this.paint(said);
    else {
      screen.setState("waiting");
      speak(`${said} The next post is on its way.`);
    }
  }

  paint(said, draft) {
    const card = this.shelf.current;
    screen.show(card, this.shelf.pictureOf(card), draft);
    this.find?.prefer((card.votes ?? []).map((vote) => vote.label));
    this.began = performance.now();
    this.away = 0;
    speak(`${said} Next: ${shorten(card.text) || "a picture without words"}${card.answers ? ". Two people differ" : ""}`);
  }

  end() {
    screen.showEnd({ left: this.progress.left, skipped: this.skipped ?? 0, done: this.progress.today.n });
    speak("Nothing is left to review.");
  }

  // --- Decisions

  /** `answer` is {label} or {instead}, and for a skip perhaps {reason}. */
  decide(answer) {
    const card = this.shelf.current;
    if (!card || performance.now() - this.began < TOO_SOON) return;
    const { note, incongruous } = screen.draft();
    const said = answer.label ? this.names.get(answer.label) : form.querySelector(`[name=instead][value=${answer.instead}]`).dataset.said;
    const seconds = (performance.now() - this.began - this.away) / 1000;
    const body = { pk: card.pk, ...answer, note, ...(answer.label && incongruous !== null ? { incongruous } : {}), seconds };
    const step = this.outbox.add({ kind: "decide", key: randomName(), pk: card.pk, said, words: shorten(card.text), body });
    this.shelf.drop(card.pk);
    this.setTrail([...this.trail, { ...step, card: { ...card, was: { said, note, incongruous } } }]);
    if (answer.instead !== "skip") this.progress.count(1);
    this.next(`${capital(said)}.`);
    this.tellUnsent();
    this.sender.wake();
  }

  setTrail(trail) {
    this.trail = trail;
    screen.showLast(trail.at(-1));
  }

  undo() {
    const last = this.trail.at(-1);
    if (!last) {
      speak("There is nothing to take back.");
      return;
    }
    this.setTrail(this.trail.slice(0, -1));
    const unsent = this.outbox.steps.find((step) => step.key === last.key && !step.tried);
    if (unsent) this.outbox.remove(unsent);
    else this.outbox.add({ kind: "undo", key: last.key, said: last.said, words: last.words, pk: last.card?.pk });
    if (last.body && last.body.instead !== "skip") this.progress.count(-1);
    if (last.card) this.putBack(last.card);
    else speak(`Taking back: ${last.said}.`);
    this.tellUnsent();
    this.sender.wake();
  }

  putBack(card) {
    this.shelf.putFirst(card);
    this.paint(`Taken back. You said ${card.was.said}.`);
  }

  async votes() {
    const card = this.shelf.current;
    if (!card || card.votes || this.data.votes_after) return;
    const { became, told } = await this.step("votes", { pk: card.pk });
    if (became === "done") card.votes = told.votes;
    else if (became === "refused") this.refused.add({ sentence: told.gone ?? told.error, words: shorten(card.text) });
    else tellQuietly("The votes cannot be fetched at the moment; try again.");
    if (became !== "done" || card !== this.shelf.current) return;
    screen.showVotes(card);
    this.find?.prefer(card.votes.map((vote) => vote.label));
    speak(`${card.votes.length} votes: ${card.votes.map((vote) => `${vote.voter} says ${vote.said}`).join(", ")}.`);
  }

  // --- What the server answers

  prepare(step) {
    const url = this.data.urls[step.kind];
    const holding = this.holding.filter((pk) => pk !== step.pk || step.kind === "undo");
    return { url, body: { ...step.body, key: step.key, tab: this.tab, user: this.data.user, holding } };
  }

  hear(step, became, told) {
    if (step.kind === "undo") this.hearUndo(step, became, told);
    else if (became === "refused") this.hearRefused(step, told);
    else if (told.votes && this.trail.at(-1)?.key === step.key) this.setTrail([...this.trail.slice(0, -1), { ...this.trail.at(-1), votes: told.votes }]);
    if (told.cards) this.receive(told.cards);
    this.tellUnsent();
    if (!this.shelf.current && !this.outbox.first) this.fill();
  }

  hearRefused(step, told) {
    this.setTrail(this.trail.filter((one) => one.key !== step.key));
    if (step.body.instead !== "skip") this.progress.count(-1);
    this.refused.add({ sentence: told.gone ?? told.error, words: step.words, said: step.said, note: step.body.note });
  }

  hearUndo(step, became, told) {
    if (told.today) this.progress.set(told);
    if (!this.trail.length && told.last && told.last.key !== step.key) this.setTrail([told.last]);
    if (told.card) this.hearPost(told.card);
    else this.lose(step, told.gone ?? told.error ?? told.sentence);
  }

  /** What came back: new to this page, or on its screen already and with votes that were seen after the choice. */
  hearPost(card) {
    const here = this.shelf.cards.find((one) => one.pk === card.pk);
    if (here) here.votes = card.votes;
    if (here && here === this.shelf.current) screen.showVotes(here);
    if (!here && !this.outbox.answered.includes(card.pk)) this.putBack(card);
  }

  lose(step, sentence) {
    const shown = this.shelf.current?.pk === step.pk;
    this.refused.add({ sentence, words: step.words, said: step.said });
    if (step.pk) this.shelf.drop(step.pk);
    if (shown) this.next(sentence);
  }

  // --- How it goes

  troubled(became, told) {
    this.trouble = became;
    this.why = became === "login" && told.user ? told.error : "";
    this.tellUnsent();
  }

  tellUnsent() {
    const n = this.outbox.steps.length;
    const waiting = n === 1 ? "1 answer waits" : `${n} answers wait`;
    if (this.trouble === "login") this.tellLogin(n ? `${waiting}. ` : "");
    else if (this.trouble === "out") tellQuietly(`You can no longer review in this project.${n ? ` ${waiting}, kept in this browser.` : ""}`);
    else if (this.trouble === "unreached") tellQuietly(n ? `${waiting} for the network.${this.shelf.current ? "" : " So does the next post."}` : "The network is away. This page keeps trying.");
    else tellQuietly("");
  }

  tellLogin(waiting) {
    const link = Object.assign(document.createElement("a"), { href: this.data.login, target: "_blank", rel: "noopener", textContent: "log in again in another tab" });
    tellQuietly(`${waiting}${this.why || "You are logged out."} Please `, link, ". Nothing is lost.");
  }
}
