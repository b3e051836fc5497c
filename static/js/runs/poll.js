// Again and again while it is worth it; not while nobody looks, and never two at once.
export const EVERY = 2000;

export function poll(ask, isOver) {
  async function again() {
    if (!document.hidden) {
      try {
        await ask();
      } catch {
        // The page says by itself that the server cannot be reached, and the next turn asks again.
      }
    }
    if (!isOver()) setTimeout(again, EVERY);
  }
  return again();
}
