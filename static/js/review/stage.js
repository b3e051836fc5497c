// The picture: as large as fits, or at its actual size and larger; moved by dragging, by arrow keys, by two fingers.
const STEP = 60;
const LARGEST = 8;
const ARROWS = { ArrowLeft: [STEP, 0], ArrowRight: [-STEP, 0], ArrowUp: [0, STEP], ArrowDown: [0, -STEP] };

export class Stage {
  constructor(element, button) {
    this.element = element;
    this.button = button;
    this.unshown = element.querySelector("[data-unshown]");
    this.fingers = new Map();
    this.image = element.querySelector("img");
    if (this.image) this.watch();
    element.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    element.addEventListener("pointerdown", (event) => this.press(event));
    element.addEventListener("pointermove", (event) => this.drag(event));
    for (const kind of ["pointerup", "pointercancel"]) element.addEventListener(kind, (event) => this.fingers.delete(event.pointerId));
    this.reset();
  }

  show(image) {
    this.image?.remove();
    this.image = image;
    if (image) {
      this.element.prepend(image);
      this.watch();
    } else this.unshown.hidden = true;
    this.element.scrollTop = 0;
    this.reset();
  }

  watch() {
    const image = this.image;
    const broken = () => {
      image.hidden = true;
      if (this.image === image) this.unshown.hidden = false;
    };
    const isBroken = image.complete && !image.naturalWidth;
    this.unshown.hidden = !isBroken;
    image.hidden = isBroken;
    image.addEventListener("error", broken, { once: true });
  }

  reset() {
    this.scale = 1;
    this.x = this.y = 0;
    this.button.hidden = !this.image;
    this.paint();
  }

  get zoomed() {
    return this.scale !== 1;
  }

  toggle() {
    if (this.image && !this.image.hidden) this.zoomed ? this.reset() : this.zoomTo(this.actual(), 0, 0);
  }

  /** A picture that fits at its own size is doubled. */
  actual() {
    const scale = this.image.naturalWidth / this.image.offsetWidth;
    return scale > 1.05 ? scale : 2;
  }

  /** The point under the pointer, measured from the middle, stays where it is. */
  zoomTo(scale, x, y) {
    const wanted = Math.min(Math.max(scale, 1), LARGEST);
    const grown = wanted / this.scale;
    [this.x, this.y] = [x - (x - this.x) * grown, y - (y - this.y) * grown];
    this.scale = wanted;
    if (wanted === 1) this.x = this.y = 0;
    this.paint();
  }

  move(x, y) {
    const room = (size, stage) => Math.max(0, (size * this.scale - stage) / 2 + 20);
    const [wide, high] = [room(this.image.offsetWidth, this.element.clientWidth), room(this.image.offsetHeight, this.element.clientHeight)];
    this.x = Math.min(Math.max(this.x + x, -wide), wide);
    this.y = Math.min(Math.max(this.y + y, -high), high);
    this.paint();
  }

  paint() {
    if (this.image) this.image.style.transform = this.zoomed ? `translate(${this.x}px, ${this.y}px) scale(${this.scale})` : "";
    this.element.classList.toggle("zoomed", this.zoomed);
    this.button.setAttribute("aria-pressed", this.zoomed);
  }

  fromMiddle(event) {
    const box = this.element.getBoundingClientRect();
    return [event.clientX - box.x - box.width / 2, event.clientY - box.y - box.height / 2];
  }

  arrow(key) {
    if (!this.zoomed || !ARROWS[key]) return false;
    this.move(...ARROWS[key]);
    return true;
  }

  wheel(event) {
    const scrolls = document.documentElement.scrollHeight > innerHeight && !event.ctrlKey && !this.zoomed;
    if (!this.image || this.image.hidden || scrolls) return;
    event.preventDefault();
    this.zoomTo(this.scale * Math.exp(-event.deltaY / (event.ctrlKey ? 100 : 400)), ...this.fromMiddle(event));
  }

  press(event) {
    if (!this.image || event.button) return;
    this.fingers.set(event.pointerId, event);
    if (this.zoomed) this.element.setPointerCapture(event.pointerId);
  }

  drag(event) {
    const before = this.fingers.get(event.pointerId);
    if (!before) return;
    const other = [...this.fingers.values()].find((finger) => finger.pointerId !== event.pointerId);
    const apart = (finger) => Math.hypot(finger.clientX - other.clientX, finger.clientY - other.clientY);
    if (other) this.zoomTo((this.scale * apart(event)) / Math.max(apart(before), 1), ...this.fromMiddle(event));
    else if (this.zoomed) this.move(event.clientX - before.clientX, event.clientY - before.clientY);
    this.fingers.set(event.pointerId, event);
  }
}
