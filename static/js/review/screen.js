// Puts a post on the screen. What stays from post to post is left alone, so that nothing jumps and focus stays where it is.
import { Stage } from "./stage.js";
import { inShort, noVotes, ofMachine, ofPerson } from "./votes.js";

const form = document.getElementById("review");
const one = (name) => form.querySelector(`[data-${name}]`);
const [onStage, beside] = form.querySelectorAll("[data-words-slot]");
const words = one("words") ?? blankWords();
const note = form.elements.note;
const noteBox = note.closest("details");

export const stage = new Stage(one("stage"), form.querySelector("[data-do=zoom]"));

function blankWords() {
  const article = document.createElement("article");
  article.className = "words";
  article.dataset.words = "";
  for (const [name, kind] of [["text", "post-text"], ["wordless", "small soft"], ["facts", "small soft facts"]]) {
    const line = document.createElement("p");
    line.dataset[name] = "";
    line.className = kind;
    if (name === "text") line.dir = "auto";
    article.append(line);
  }
  article.querySelector("[data-wordless]").textContent = "A picture without words.";
  return article;
}

export function show(card, picture, draft) {
  form.classList.toggle("text-only", !card.image);
  setState("");
  (card.image ? beside : onStage).append(words);
  words.querySelector("[data-text]").textContent = card.text;
  words.querySelector("[data-wordless]").hidden = Boolean(card.text);
  words.querySelector("[data-facts]").textContent = card.facts.join(" · ");
  stage.show(card.image ? picture : null);
  one("side").scrollTop = 0;
  showVotes(card);
  one("answers").hidden = !card.answers;
  one("answer-list").replaceChildren(...(card.answers ?? []).map(ofPerson));
  one("was").hidden = !card.was;
  one("was").textContent = card.was ? `You said ${card.was.said}. Taken back.` : "";
  write(draft ?? card.was ?? {});
  for (const menu of form.querySelectorAll("details[data-menu][open]")) menu.open = false;
}

/** "" with a post on the screen, `waiting` for one, or `ended`. */
export function setState(state) {
  form.classList.toggle("ended", state === "ended");
  one("end").hidden = state !== "ended";
  one("waiting").hidden = state !== "waiting";
  words.hidden = state !== "";
  if (state) stage.show(null);
  for (const part of form.querySelectorAll("[data-needs-post]")) part.inert = state !== "";
}

export function showVotes(card) {
  const seen = card.votes !== null;
  one("votes").hidden = after && !seen;
  one("on-record").hidden = !seen;
  form.querySelector("[data-do=votes]").hidden = seen;
  one("vote-list").replaceChildren(...(card.votes?.length ? card.votes.map(ofMachine) : seen ? [noVotes()] : []));
}
let after = false;
export const votesComeAfter = () => { after = true; };

/** The decision that would be taken back next. */
export function showLast(last) {
  one("last").hidden = !last;
  form.querySelector("[data-do=undo]").disabled = !last;
  one("last-said").textContent = last?.said ?? "";
  one("last-words").textContent = last?.words ?? "";
  one("last-votes").replaceChildren(...(last?.votes ?? []).map(inShort));
}

export function showEnd({ left, skipped, done }) {
  setState("ended");
  one("end-title").textContent = left ? "Nothing is left for you" : "Nothing is left to review";
  one("end-done").textContent = done ? `You answered ${done.toLocaleString("en")} ${done === 1 ? "post" : "posts"} today.` : "";
  one("end-others").hidden = !left;
  one("end-left").textContent = left.toLocaleString("en");
  one("end-skipped").hidden = !skipped;
  one("end-skips").textContent = skipped.toLocaleString("en");
}

function write({ note: words = "", incongruous = false }) {
  note.value = words;
  noteBox.open = Boolean(words);
  if (form.elements.incongruous) form.elements.incongruous.checked = Boolean(incongruous);
}

export function draft() {
  return { note: note.value.trim(), incongruous: form.elements.incongruous ? form.elements.incongruous.checked : null };
}

export function writeNote() {
  noteBox.open = true;
  note.focus();
}

note.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" && !(event.key === "Enter" && (event.ctrlKey || event.metaKey))) return;
  event.preventDefault();
  noteBox.open = Boolean(note.value.trim());
  noteBox.querySelector("summary").focus();
});
