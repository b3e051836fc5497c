// The posts at hand: the first is on the screen, the pictures of the others are fetched and decoded beforehand.
export class Shelf {
  constructor(card, picture) {
    this.cards = card ? [card] : [];
    this.pictures = new Map();
    if (card?.image && picture) this.pictures.set(card.pk, picture);
  }

  get current() {
    return this.cards[0];
  }

  get pks() {
    return this.cards.map((card) => card.pk);
  }

  add(cards) {
    const known = new Set(this.pks);
    for (const card of cards) if (!known.has(card.pk)) this.cards.push(card);
    this.fetch();
  }

  putFirst(card) {
    this.cards = [card, ...this.cards.filter((other) => other.pk !== card.pk)];
    this.fetch();
  }

  drop(pk) {
    this.cards = this.cards.filter((card) => card.pk !== pk);
    this.pictures.delete(pk);
  }

  fetch() {
    for (const card of this.cards) if (card.image && !this.pictures.has(card.pk)) this.pictures.set(card.pk, picture(card));
  }

  pictureOf(card) {
    return this.pictures.get(card.pk);
  }
}

function picture(card) {
  const image = new Image(card.image.width, card.image.height);
  image.alt = "The post's picture";
  image.draggable = false;
  image.decoding = "sync"; // it is painted together with the words that belong to it
  image.src = card.image.url;
  image.decode().catch(() => {}); // a broken one says so when it is its turn
  return image;
}
