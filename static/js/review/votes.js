// Votes, and what people said, as elements. Whatever comes from others is text and never markup.
const blank = document.getElementById("vote");

function part(element, name, text) {
  const here = element.querySelector(`[data-${name}]`);
  if (text) here.textContent = text;
  else here.remove();
}

export function voteElement({ label, said, confidence, who, incongruous, reason, textReading, imageReading }) {
  const element = blank.content.firstElementChild.cloneNode(true);
  if (label) element.classList.add(`label-${label}`);
  part(element, "said", said);
  part(element, "confidence", confidence);
  part(element, "who", who);
  if (!incongruous) element.querySelector("[data-incongruous]").remove();
  part(element, "reason", reason);
  part(element, "text-reading", textReading && `Text: ${textReading}`);
  part(element, "image-reading", imageReading && `Picture: ${imageReading}`);
  return element;
}

const sure = (vote) => (vote.confidence === null ? "" : vote.confidence.toFixed(2));

export const ofMachine = (vote) => voteElement({
  ...vote,
  who: vote.voter,
  confidence: sure(vote),
  textReading: vote.text_reading,
  imageReading: vote.image_reading,
});

export const ofPerson = (answer) => voteElement({
  label: answer.label,
  said: answer.said,
  incongruous: answer.incongruous,
  who: answer.who + (answer.seconds === null ? "" : `, ${Math.round(answer.seconds)} s`),
  reason: answer.note,
});

/** In a line, beside the last decision. */
export function inShort(vote) {
  const chip = document.createElement("span");
  chip.className = vote.label ? `chip label-${vote.label}` : "chip";
  chip.textContent = `${vote.voter}: ${vote.said} ${sure(vote)}`.trim();
  return chip;
}

export function noVotes() {
  const told = document.createElement("p");
  told.className = "small soft";
  told.textContent = "No machine has voted on this post.";
  return told;
}
