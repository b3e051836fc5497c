// A picture is dropped, pasted or chosen, and seen before it is sent. Without this script the form works as a form does.
const form = document.getElementById("asking");
const drop = document.getElementById("drop");
const input = form.querySelector("input[type=file]");
const keep = form.querySelector("input[name=keep]");
const kept = document.getElementById("kept");
const picture = kept.querySelector("img");
const without = document.getElementById("without");
const before = { src: picture.getAttribute("src") || "", alt: picture.alt };

function show() {
  const file = input.files[0];
  if (picture.src.startsWith("blob:")) URL.revokeObjectURL(picture.src);
  picture.src = file ? URL.createObjectURL(file) : before.src;
  picture.alt = file ? "The chosen picture" : before.alt;
  picture.hidden = !picture.getAttribute("src");
  kept.hidden = picture.hidden;
  without.hidden = !file;
  if (keep) keep.closest(".check").hidden = Boolean(file);
}

function take(files) {
  const chosen = [...files].find((file) => file.type.startsWith("image/"));
  if (!chosen) return false;
  const list = new DataTransfer();
  list.items.add(chosen);
  input.files = list.files;
  show();
  return true;
}

input.addEventListener("change", show);
without.addEventListener("click", () => {
  input.value = "";
  show();
  input.focus();
});

// Anywhere on the page: a picture dropped beside the box would otherwise open in place of it.
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
  take(event.dataTransfer.files);
});
document.addEventListener("paste", (event) => {
  if (take(event.clipboardData.files)) event.preventDefault();
});

// Control and Enter asks, as in many boxes for text.
form.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
});
addEventListener("pageshow", show); // whoever comes back by the back button finds the picture that is chosen still
