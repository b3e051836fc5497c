// Drag and drop, and a progress bar while the file travels. Without this script the form works as a form does.
const form = document.getElementById("upload");
const drop = document.getElementById("drop");
const input = form.querySelector("input[type=file]");
const sending = document.getElementById("sending");
const bar = sending.querySelector("progress");
const line = sending.querySelector("p");
const button = form.querySelector("button");

const megabytes = (bytes) => (bytes / 1048576).toFixed(1);

function tell(sentence, wrong = false) {
  sending.hidden = !sentence;
  bar.hidden = wrong;
  line.textContent = sentence;
  line.className = wrong ? "bad" : "small soft num";
  button.disabled = Boolean(sentence) && !wrong;
}
const failed = (sentence) => tell(sentence, true);

// Anywhere on the page: a file dropped beside the box would otherwise open in place of it.
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  drop.classList.add("over");
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) drop.classList.remove("over");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  drop.classList.remove("over");
  const files = event.dataTransfer.files;
  if (files.length > 1) failed("One file at a time, please. A ZIP can hold a table and its pictures.");
  else if (files.length) {
    input.files = files;
    tell("");
  }
});
input.addEventListener("change", () => tell(""));
addEventListener("pageshow", () => tell("")); // whoever comes back by the back button finds the form as it was

form.addEventListener("submit", (event) => {
  if (!input.files.length) return;
  event.preventDefault();
  bar.value = 0;
  tell("Sending the file");
  const request = new XMLHttpRequest();
  request.open("POST", form.action || location.href);
  request.upload.addEventListener("progress", (step) => {
    bar.value = step.loaded / step.total;
    tell(step.loaded < step.total ? `${megabytes(step.loaded)} of ${megabytes(step.total)} MB` : "Reading the file");
  });
  request.addEventListener("load", () => {
    if (request.status < 400) location.assign(request.responseURL);
    else if (request.status === 422) {
      const answer = new DOMParser().parseFromString(request.responseText, "text/html");
      failed(answer.querySelector("#upload .errorlist")?.textContent || "That file was not accepted.");
    } else if (request.status === 403) failed("You logged in or out since this page was opened. Reload it, and try again.");
    else failed(`The server answered ${request.status}. Nothing was imported; try again.`);
  });
  request.addEventListener("error", () => failed("The connection broke. Nothing was imported; try again."));
  request.send(new FormData(form));
});
