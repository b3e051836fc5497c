// Which key does what. Whoever types in a field, or holds Ctrl, types; and a key that is held down is pressed once.
const TYPING = "textarea, select, input:not([type=checkbox])";

export function readKeys(labels, actions) {
  const found = new Map();
  for (const [action, key] of Object.entries(actions)) if (key) found.set(key, { action });
  for (const { pk, key } of labels) if (key) found.set(key.toLowerCase(), { label: pk });
  for (const { pk, key } of labels) if (key) found.set(key, { label: pk });
  return found;
}

/** Also on a keyboard that writes other letters, or its digits with Shift: then by where the key lies. */
function meant(event, keys) {
  const lies = event.code.replace(/^(Key|Digit|Numpad)(?=.$)/, "").toLowerCase();
  return [event.key, event.key.toLowerCase(), lies].find((key) => keys.has(key));
}

export function onKey(keys, then) {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || event.defaultPrevented) return;
    if (event.target.closest(TYPING) || document.querySelector("dialog[open]")) return;
    const key = meant(event, keys);
    if (then(keys.get(key) ?? {}, event)) event.preventDefault();
  });
}
