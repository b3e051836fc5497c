// The posts at hand are kept for this tab while it is looked at, and are free again soon after it is left.
import { cookie } from "./wire.js";

const EVERY = 60_000;
const SETTLED = 10_000; // by then the page before this one, if it was a reload, has let go for certain
const LOOK = 5000;
const SOON = 90; // seconds before the end from which on it is told

export class Lease {
  constructor({ seconds, told, renew, hasPost }) {
    Object.assign(this, { seconds, told, renew, hasPost });
    this.since = performance.now();
    setInterval(() => { if (!document.hidden) renew(); }, EVERY);
    setTimeout(renew, SETTLED);
    setInterval(() => this.tell(), LOOK);
    document.addEventListener("visibilitychange", () => { if (!document.hidden) renew(); });
  }

  renewed() {
    this.since = performance.now();
    this.tell();
  }

  tell() {
    const left = Math.round(this.seconds - (performance.now() - this.since) / 1000);
    this.told.hidden = !this.hasPost() || left > SOON;
    if (this.told.hidden) return;
    this.told.textContent = left > 0 ? `Kept for you for another ${left} s` : "By now somebody else may be given this post";
  }
}

/** Nobody can tell a reload from leaving: the name stays in a cookie for a moment, so that a reload is served the same post. */
export function onLeaving({ url, csrf, named, path, tab, pks, back }) {
  const remember = (seconds) => { document.cookie = `${named}=${tab()}; path=${path}; max-age=${seconds}; samesite=lax`; };
  remember(0);
  addEventListener("beforeunload", () => { if (tab()) remember(20); }); // before the next page is asked for
  addEventListener("pagehide", () => {
    if (!tab()) return;
    const form = new FormData();
    form.set("csrfmiddlewaretoken", cookie(csrf));
    form.set("tab", tab());
    form.set("pks", pks().join());
    navigator.sendBeacon(url, form);
  });
  addEventListener("pageshow", (event) => {
    if (!event.persisted) return;
    remember(0);
    back();
  });
}
