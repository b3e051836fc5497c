"""One rocket in three places: on its way to the moon, waiting on the pad, and nose down in the sand."""

import math
from functools import lru_cache
from random import Random

from PIL import Image

from .canvas import BRIGHT_GREEN, BRIGHT_RED, FINER, Pen


def rocket(flame: bool) -> Image.Image:
    """Upright on a transparent ground, to be turned and pasted."""
    pen = Pen(240, 420, "#000000")
    pen.image = Image.new("RGBA", (240 * FINER, 420 * FINER), (0, 0, 0, 0))
    pen.draw = type(pen.draw)(pen.image)
    if flame:
        for reach, wide, colour in ((412, 40, "#f97316"), (384, 28, "#fbbf24"), (352, 15, "#fff7d6")):
            pen.polygon(
                [(120 - wide, 290), (120 + wide, 290), (120 + wide * 0.7, 326), (120, reach), (120 - wide * 0.7, 326)],
                colour,
            )
    for side in (-1, 1):
        pen.polygon(
            [(120 + 50 * side, 190), (120 + 104 * side, 280), (120 + 100 * side, 314), (120 + 44 * side, 280)],
            "#4f46e5",
            "#1e1b4b",
            6,
        )
    hull = [
        (120 + 62 * math.sin(math.pi * step / 30) ** 0.8 * side, 20 + 270 * step / 33)
        for side in (1, -1)
        for step in (range(31) if side == 1 else range(30, -1, -1))
    ]
    pen.polygon(hull, "#f4f1ea", "#1e1b4b", 7)
    nose = [(x, y) for x, y in hull if y < 96]
    pen.polygon(nose, "#4f46e5")
    pen.polygon([(150, 100), (176, 130), (180, 170), (160, 232), (144, 258), (152, 180)], "#d6d0c4")
    pen.ellipse(120, 148, 32, 32, "#1e1b4b")
    pen.ellipse(120, 148, 24, 24, "#7dd3fc")
    pen.ellipse(112, 140, 8, 7, "#ffffff")
    pen.box(88, 268, 152, 290, "#3f3a52", 6, "#1e1b4b", 5)
    return pen.image


def place(pen: Pen, ship: Image.Image, x: float, y: float, turn: float, size: float = 1.0) -> None:
    """Centred at x, y and turned anticlockwise."""
    scaled = ship.resize((round(ship.width * size), round(ship.height * size)))
    turned = scaled.rotate(turn, Image.Resampling.BICUBIC, expand=True)
    pen.image.paste(turned, (round(x * FINER - turned.width / 2), round(y * FINER - turned.height / 2)), turned)


def stars(pen: Pen, count: int, below: float = 640) -> None:
    rng = Random(11)
    for _ in range(count):
        bright = rng.choice(("60", "90", "c0", "ff"))
        pen.dot(rng.uniform(0, 640), rng.uniform(0, below), rng.choice((0.8, 1.2, 1.2, 2.2)), "#ffffff" + bright)


def moon(pen: Pen, x: float, y: float, radius: float) -> None:
    for halo, alpha in ((1.5, "12"), (1.3, "1c"), (1.14, "28")):
        pen.dot(x, y, radius * halo, "#fff4cf" + alpha)
    pen.dot(x, y, radius, "#f3e7c3")
    for dx, dy, size in (
        (-0.4, -0.25, 0.2),
        (0.25, -0.5, 0.14),
        (0.3, 0.15, 0.25),
        (-0.25, 0.4, 0.16),
        (-0.7, 0.2, 0.1),
        (0.05, -0.1, 0.08),
    ):
        pen.dot(x + dx * radius, y + dy * radius, size * radius, "#cdbd90")
        pen.dot(x + dx * radius + 3, y + dy * radius + 3, size * radius * 0.84, "#dccd9f")


@lru_cache(maxsize=1)
def to_the_moon() -> Image.Image:
    pen = Pen(640, 640, "#0b0a24", "#2b1f5c")
    stars(pen, 150)
    moon(pen, 500, 190, 104)
    steps = [(22 + 36 * step, 560 - 5.4 * step**1.7) for step in range(8)]
    for (x, y), tall in zip(steps, (34, 40, 30, 46, 42, 54, 50, 58), strict=True):
        pen.line([(x + 12, y - tall - 16), (x + 12, y + tall)], BRIGHT_GREEN, 3)
        pen.box(x, y - tall, x + 24, y + tall * 0.7, BRIGHT_GREEN, 3)
    place(pen, rocket(flame=True), 345, 322, -42, 0.8)
    return pen.done()


@lru_cache(maxsize=1)
def on_the_pad() -> Image.Image:
    pen = Pen(640, 640, "#35507a", "#e8b48c")
    stars(pen, 50, below=200)
    for x, y, size in ((90, 250, 34), (132, 240, 46), (184, 254, 32), (520, 330, 36), (566, 318, 46), (620, 334, 34)):
        pen.dot(x, y, size, "#a9adba")
        pen.box(x - size, y + size * 0.3, x + size, y + size, "#a9adba", size * 0.3)
    pen.polygon([(0, 520), (150, 474), (330, 510), (480, 462), (640, 500), (640, 640), (0, 640)], "#6d5a66")
    pen.box(0, 560, 640, 640, "#463d4c")
    for x in (428, 500):
        pen.line([(x, 150), (x, 566)], "#2d2836", 10)
    for y in range(160, 560, 52):
        pen.line([(428, y), (500, y + 52)], "#2d2836", 6)
        pen.line([(428, y), (500, y)], "#2d2836", 6)
    for y in (250, 360):
        pen.line([(428, y), (368, y)], "#2d2836", 9)
    place(pen, rocket(flame=False), 310, 420, 0, 1.08)
    pen.box(220, 548, 400, 574, "#2d2836", 6)
    for x in range(40, 640, 90):
        pen.box(x, 596, x + 46, 604, "#f6d27a", 3)
    return pen.done()


@lru_cache(maxsize=1)
def crashed() -> Image.Image:
    pen = Pen(640, 640, "#3a0d14", "#c23b2e")
    stars(pen, 40, below=220)
    trail = [(20 + 30 * step, 110 + 1.42 * step**2.1) for step in range(12)]
    for first, second in zip(trail[::2], trail[1::2], strict=True):
        pen.line([first, second], "#ffd0c4", 7)
    rng = Random(5)
    for puff in range(26):
        pen.dot(400 + rng.uniform(-60, 60) + puff * 4, 430 - puff * 11, 26 + puff * 1.5, "#2a232a30")
    pen.polygon([(0, 520), (120, 486), (300, 512), (420, 500), (560, 470), (640, 492), (640, 640), (0, 640)], "#7a2a20")
    place(pen, rocket(flame=False), 378, 412, 205, 0.86)
    for x, y, rx in ((380, 528, 130), (300, 540, 80), (470, 540, 90)):
        pen.ellipse(x, y, rx, 30, "#5e1d17")
    pen.polygon([(0, 540), (200, 522), (430, 540), (640, 520), (640, 640), (0, 640)], "#5e1d17")
    for x, y, turn in ((210, 516, 0.5), (534, 508, 2.2), (590, 546, 1.1), (130, 560, 2.8)):
        pen.polygon(
            [(x + 20 * math.cos(turn + bend), y + 14 * math.sin(turn + bend)) for bend in (0, 1.9, 3.6)], "#f4f1ea"
        )
    for x, tall in ((60, 30), (104, 44), (148, 26)):
        pen.box(x, 520 - tall, x + 22, 520 + tall * 0.4, BRIGHT_RED, 3)
    return pen.done()
