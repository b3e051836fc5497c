"""Augmentation: what happens to a meme on its way round the net, never so much that it says something else.

Light for posts whose label stands firm, and stronger where the label is a tuned model's own: so that the next model
learns what it must hold on to, and not how the last one was fooled. Never mirrored, because of the lettering.
"""

import io
from random import Random
from typing import NamedTuple

from PIL import Image, ImageEnhance, ImageFilter


class Change(NamedTuple):
    cropped: float  # of each side at most
    turned: float  # degrees at most
    quality: tuple[int, int]
    light: tuple[float, float] = (1.0, 1.0)  # brightness, and contrast
    blurred: float = 0.0  # pixels at most of a picture of 500


LIGHT = Change(cropped=0.06, turned=3.0, quality=(40, 90))
STRONG = Change(cropped=0.15, turned=8.0, quality=(25, 90), light=(0.8, 1.2), blurred=1.0)
SHARP = 500
FEWEST_WORDS = 4  # of fewer each counts
LOST = 0.1  # of the words


def changed(picture: Image.Image, dice: Random, most: Change = LIGHT) -> Image.Image:
    width, height = picture.size
    left, top, right, bottom = (dice.uniform(0, most.cropped) for _ in range(4))
    picture = picture.crop((
        round(left * width), round(top * height), max(round((1 - right) * width), 1),
        max(round((1 - bottom) * height), 1),
    ))  # fmt: skip
    if dice.random() < 0.5:
        picture = picture.rotate(dice.uniform(-most.turned, most.turned), Image.Resampling.BICUBIC, fillcolor="white")
    if dice.random() < 0.5:
        saved = io.BytesIO()
        picture.save(saved, "JPEG", quality=dice.randint(*most.quality))
        picture = Image.open(saved).convert("RGB")
    return picture


def strongly_changed(picture: Image.Image, dice: Random) -> Image.Image:
    picture = changed(picture, dice, STRONG)
    for enhance in (ImageEnhance.Brightness, ImageEnhance.Contrast):
        picture = enhance(picture).enhance(dice.uniform(*STRONG.light))
    if dice.random() < 0.5:
        radius = dice.uniform(0, STRONG.blurred) * max(picture.size) / SHARP
        picture = picture.filter(ImageFilter.GaussianBlur(radius))
    return picture


def thinned(text: str, dice: Random) -> str:
    """Some words lost on the way; line breaks stay. One is always left."""
    words = text.split()
    if len(words) < FEWEST_WORDS:
        return text
    lines = [" ".join(word for word in line.split() if dice.random() >= LOST) for line in text.split("\n")]
    left = "\n".join(lines)
    return left if left.strip() else words[0]
