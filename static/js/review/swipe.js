// A post that is pushed aside with one finger is skipped.
const FAR = 90;
const QUICK = 800; // milliseconds; slower it is no swipe

const aside = (start, now) => Math.abs(now.clientX - start.x) > 2 * Math.abs(now.clientY - start.y);

export function onSwipe(elements, isFree, then) {
  let start = null;
  for (const element of elements) {
    element.addEventListener("pointerdown", (event) => {
      const alone = event.pointerType === "touch" && event.isPrimary && isFree();
      start = alone ? { x: event.clientX, y: event.clientY, at: event.timeStamp, id: event.pointerId } : null;
    });
    element.addEventListener("pointermove", (event) => { if (event.pointerId !== start?.id) start = null; });
    // Or the browser lets the page coast on, and takes the next tap for the wish to stop that.
    element.addEventListener("touchmove", (event) => { if (start && event.cancelable && aside(start, event.touches[0])) event.preventDefault(); }, { passive: false });
    element.addEventListener("pointercancel", () => { start = null; });
    element.addEventListener("pointerup", (event) => {
      if (!start || event.pointerId !== start.id) return;
      const far = Math.abs(event.clientX - start.x) > FAR;
      const swiped = far && aside(start, event) && event.timeStamp - start.at < QUICK;
      start = null;
      if (swiped) then();
    });
  }
}
