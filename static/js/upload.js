// Drag and drop, and a progress bar while the file travels. Without this script the form works as a form does.
const form = document.getElementById("upload");
const drop = document.getElementById("drop");
const input = form.querySelector("input[type=file]");
const sending = document.getElementById("sending");
const bar = sending.querySelector("progress");
const line = sending.querySelector("p");
const button = form.querySelector("button");

const megabytes = (bytes) => (bytes / 1048576).toFixed(1);

for (const kind of ["dragover", "dragenter"]) {
  drop.addEventListener(kind, (event) => {
    event.preventDefault();
    drop.classList.add("over");
  });
}
drop.addEventListener("dragleave", () => drop.classList.remove("over"));
drop.addEventListener("drop", (event) => {
  event.preventDefault();
  drop.classList.remove("over");
  if (event.dataTransfer.files.length) input.files = event.dataTransfer.files;
});

const failed = (sentence) => {
  line.textContent = sentence;
  line.className = "bad";
  button.disabled = false;
};

form.addEventListener("submit", (event) => {
  if (!input.files.length) return;
  event.preventDefault();
  button.disabled = true;
  sending.hidden = false;
  line.className = "small soft num";
  const request = new XMLHttpRequest();
  request.open("POST", form.action || location.href);
  request.upload.addEventListener("progress", (step) => {
    bar.value = step.loaded / step.total;
    line.textContent =
      step.loaded < step.total ? `${megabytes(step.loaded)} of ${megabytes(step.total)} MB` : "Reading the file";
  });
  request.addEventListener("load", () => {
    if (request.status < 400) location.assign(request.responseURL);
    else if (request.status === 422) {
      const answer = new DOMParser().parseFromString(request.responseText, "text/html");
      failed(answer.querySelector("#upload .errorlist")?.textContent || "That file was not accepted.");
    } else failed(`The server answered ${request.status}. Nothing was imported; try again.`);
  });
  request.addEventListener("error", () => failed("The connection broke. Nothing was imported; try again."));
  request.send(new FormData(form));
});
