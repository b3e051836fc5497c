"""Pure: reads a picture by its greens and reds and by where they go, as one glances at a chart. It reads no words."""

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .keywords import Side

SIDE = 200
FEW = 0.004  # of the pixels; fewer coloured ones are no chart's
CLEAR, SLIGHT = 0.35, 0.12  # of scores between -1, all falls, and 1, all rises

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Glance:
    green: float  # share of the pixels
    red: float
    slope: float  # from -1, falling all the way, to 1

    @property
    def coloured(self) -> float:
        return self.green + self.red

    @property
    def score(self) -> float:
        colour = (self.green - self.red) / self.coloured if self.coloured else 0.0
        return 0.6 * colour + 0.4 * self.slope


def glance(picture: bytes) -> Glance:
    """An OSError or ValueError where it is no picture that can be decoded."""
    with Image.open(io.BytesIO(picture)) as opened:
        opened.draft("RGB", (SIDE, SIDE))
        small = opened.convert("RGB")
    small.thumbnail((SIDE, SIDE))
    green, red = masks(small)
    return Glance(float(green.mean()), float(red.mean()), slope(green | red))


def masks(picture: Image.Image) -> tuple[Mask, Mask]:
    hue, saturation, value = (np.asarray(band, dtype=np.int16) for band in picture.convert("HSV").split())
    vivid = (saturation > 110) & (value > 90)
    green = vivid & (hue > 75) & (hue < 120)  # of 255
    red = vivid & ((hue < 10) | (hue > 243))
    return green, red


def slope(drawn: Mask) -> float:
    """How closely the heights of what is drawn follow a rise or a fall from left to right."""
    rows, columns = np.nonzero(drawn)
    if len(rows) < 20 or columns.std() < 5 or rows.std() < 2:
        return 0.0
    return float(-np.corrcoef(columns, rows)[0, 1])


def judge(seen: Glance) -> tuple[Side | None, float, str]:
    """A side, how sure, and why; no side where it can go either way."""
    if seen.coloured < FEW:
        return "flat", 0.5, "There is next to no green or red in the picture."
    told = f"{seen.green:.1%} of the picture is green, {seen.red:.1%} red, and it {direction(seen.slope)}."
    if abs(seen.score) >= CLEAR:
        return ("up" if seen.score > 0 else "down"), 0.5 + abs(seen.score) / 2, told
    return ("flat", 0.5, told) if abs(seen.score) < SLIGHT else (None, 0.0, told)


def direction(slope: float) -> str:
    if abs(slope) < CLEAR:
        return "goes nowhere"
    return "rises" if slope > 0 else "falls"
