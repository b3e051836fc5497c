// j and k walk to the posts on either side, unless somebody is typing.
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea, select")) return;
  const link = { j: "after", k: "before" }[event.key];
  if (link) document.getElementById(link)?.click();
});
