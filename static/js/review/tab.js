// A name for this tab, which it keeps when it is loaded again. A copy of a tab brings its name along and must find another.
const KEPT = "review tab";
const PATIENCE = 120; // milliseconds in which a tab of the same name has spoken up

export function randomName() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

function kept() {
  try {
    return sessionStorage.getItem(KEPT);
  } catch {
    return null;
  }
}

function keep(name) {
  try {
    sessionStorage.setItem(KEPT, name);
  } catch {
    // A browser that keeps nothing gives the tab a new name at each load, which costs it the posts it held.
  }
}

/** `served` is the name under which the page was made, if any. */
export async function nameTab(served) {
  const channel = new BroadcastChannel("review tabs");
  const asker = randomName();
  let name = served || kept() || randomName();
  let taken = false;
  channel.onmessage = ({ data }) => {
    if (data.asks === name && data.asker !== asker) channel.postMessage({ taken: name, to: data.asker });
    if (data.to === asker && data.taken === name) taken = true;
  };
  channel.postMessage({ asks: name, asker });
  await new Promise((done) => setTimeout(done, PATIENCE));
  if (taken) name = randomName();
  keep(name);
  return name;
}
