"""Characters of our own, drawn once and reused: a crowned frog, a weeper, and somebody who feels nothing."""

import math
from collections.abc import Callable
from functools import lru_cache
from random import Random

from PIL import Image

from .canvas import ON_DARK, Pen, sunburst

SKIN, SKIN_EDGE = "#efe3d6", "#3a3230"


@lru_cache(maxsize=1)
def happy_frog() -> Image.Image:
    pen = Pen(640, 640, "#fff3c4", "#ffd66b")
    sunburst(pen, 320, 340, 22, "#ffe08a")
    rng = Random(3)
    for turn in range(9):
        coin(pen, 60 + 520 * (turn % 3) / 2 + rng.uniform(-34, 34), 150 + 170 * (turn // 3), rng.uniform(15, 25))
    frog(pen)
    return pen.done()


def coin(pen: Pen, x: float, y: float, radius: float) -> None:
    pen.dot(x, y, radius, "#a8640c")
    pen.dot(x - 1.5, y - 1.5, radius - 3, "#f6b73c")
    pen.dot(x - 1.5, y - 1.5, radius * 0.62, "#ffd977")
    pen.box(x - 3.5, y - radius * 0.36, x + 0.5, y + radius * 0.3, "#c07f16", 2)


def frog(pen: Pen) -> None:
    skin, dark, light = "#43a047", "#1d5a26", "#6cc06a"
    pen.ellipse(320, 660, 232, 178, "#4a3fa8", "#221c5c", 7)  # hoodie
    pen.arc(320, 560, 120, 62, 15, 165, "#6f63d6", 12)
    for x in (222, 418):
        pen.ellipse(x, 258, 88, 84, skin, dark, 7)
    pen.box(262, 196, 378, 290, skin)
    pen.ellipse(320, 376, 214, 150, skin, dark, 7)
    pen.ellipse(320, 322, 190, 78, skin)
    for x, look in ((222, 9), (418, 9)):
        pen.dot(x, 258, 76, skin)
        pen.ellipse(x, 264, 60, 52, "#fffdf5", dark, 5)
        pen.dot(x + look, 270, 27, "#1b1f1c")
        pen.dot(x + look + 9, 260, 9, "#ffffff")
        pen.chord(x, 264, 63, 55, 187, 353, light)
        pen.arc(x, 264, 61, 53, 187, 353, dark, 6)
        pen.line([(x - 60, 257), (x + 60, 257)], dark, 6)
    for x in (300, 340):
        pen.ellipse(x, 342, 5, 8, dark)
    pen.chord(320, 388, 152, 92, 8, 172, "#7a2230")
    pen.chord(320, 446, 74, 34, 8, 172, "#e77b86")
    pen.arc(320, 388, 154, 92, 4, 176, dark, 11)
    for x in (150, 490):
        pen.ellipse(x, 392, 30, 19, "#8fd68480")
    crown(pen, 320, 190)


def crown(pen: Pen, x: float, y: float) -> None:
    spikes = [(-92, 4), (-104, -74), (-50, -34), (0, -92), (50, -34), (104, -74), (92, 4)]
    pen.polygon([(x + dx, y + dy) for dx, dy in spikes], "#fbbf24", "#8a5200", 7)
    pen.box(x - 95, y - 4, x + 95, y + 22, "#f59e0b", 6, "#8a5200", 5)
    for dx, jewel in ((-58, "#38bdf8"), (0, "#f472b6"), (58, "#38bdf8")):
        pen.dot(x + dx, y + 9, 8, jewel)


def backdrop_line(pen: Pen, colour: str, heights: tuple[int, ...]) -> None:
    for y in range(120, 640, 80):
        pen.line([(0, y), (640, y)], "#ffffff14", 2)
    points = [(-10 + 660 * step / (len(heights) - 1), float(height)) for step, height in enumerate(heights)]
    pen.line(points, colour, 9)


@lru_cache(maxsize=1)
def crying_face() -> Image.Image:
    pen = Pen(640, 640, "#5c1016", "#b3202c")
    backdrop_line(pen, "#ff6b6bc0", (130, 170, 150, 230, 210, 330, 300, 420, 400, 520, 560))
    weeper(pen)
    return pen.done()


def head(pen: Pen, shirt: str, shirt_edge: str) -> None:
    pen.ellipse(320, 672, 216, 150, shirt, shirt_edge, 7)
    pen.box(258, 486, 382, 574, SKIN, 34, SKIN_EDGE, 6)
    pen.box(262, 470, 378, 520, SKIN)
    for x in (142, 498):
        pen.ellipse(x, 352, 26, 44, SKIN, SKIN_EDGE, 6)
    pen.ellipse(320, 326, 182, 204, SKIN, SKIN_EDGE, 7)


def weeper(pen: Pen) -> None:
    head(pen, "#3d4a63", "#1d2534")
    for x, inner in ((242, 1), (398, -1)):
        pen.box(x - 36, 324, x + 36, 600, "#5db7f0", 36)
        pen.line([(x - 12, 346), (x - 12, 548)], "#c9ecff", 7)
        pen.line([(x + 14, 346), (x + 14, 512)], "#c9ecff", 5)
        pen.ellipse(x, 316, 50, 34, "#fffafa", SKIN_EDGE, 5)
        pen.dot(x + 6 * inner, 322, 17, "#2b2322")
        pen.dot(x + 6 * inner + 6, 315, 6, "#ffffff")
        pen.arc(x, 330, 58, 46, 20, 160, "#c46a6a", 5)
        pen.line([(x - 50 * inner, 270), (x + 42 * inner, 234)], SKIN_EDGE, 10)
    for y, reach in ((176, 62), (200, 84)):
        pen.line(
            [(320 - reach, y + 6), (320 - reach / 3, y - 3), (320 + reach / 3, y + 5), (320 + reach, y - 2)],
            "#b9a396",
            4,
        )
    pen.arc(312, 376, 24, 16, 20, 160, SKIN_EDGE, 6)
    upper = [
        (252 + 3.4 * step, 462 - 34 * math.sin(math.pi * step / 40) + 4 * math.sin(step * 0.62)) for step in range(41)
    ]
    pen.polygon([*upper, (372, 486), (320, 494), (268, 486)], "#6b2730", SKIN_EDGE, 7)
    pen.ellipse(320, 480, 34, 9, "#d9707a")


@lru_cache(maxsize=1)
def blank_face() -> Image.Image:
    pen = Pen(640, 640, "#3c4a63", "#75839c")
    backdrop_line(pen, "#c7d2e6a0", (300, 292, 306, 296, 304, 298, 302, 294, 306, 298, 302))
    shrug(pen)
    return pen.done()


def shrug(pen: Pen) -> None:
    head(pen, "#d8d3c4", "#4b463c")
    for x in (246, 394):
        pen.ellipse(x, 314, 42, 32, "#fffdf8", SKIN_EDGE, 5)
        pen.dot(x, 320, 14, "#2b2322")
        pen.chord(x, 314, 44, 34, 180, 360, "#dccbb9")
        pen.line([(x - 44, 313), (x + 44, 313)], SKIN_EDGE, 7)
        pen.line([(x - 40, 258), (x + 40, 258)], SKIN_EDGE, 9)
    pen.arc(312, 374, 20, 14, 20, 160, SKIN_EDGE, 6)
    pen.line([(256, 446), (384, 446)], SKIN_EDGE, 9)
    pen.line([(268, 478), (372, 478)], "#c9b8a8", 4)


FACES: dict[str, Callable[[], Image.Image]] = {
    "bullish": happy_frog,
    "bearish": crying_face,
    "neutral": blank_face,
}


@lru_cache(maxsize=6)
def portrait(reading: str) -> Image.Image:
    return FACES[reading]().resize((320, 320), Image.Resampling.LANCZOS)


STORIES = {  # what the two panels show, and the chart beside each face
    "bullish": ("neutral", "bullish"),
    "bearish": ("neutral", "bearish"),
    "neutral": ("neutral", "neutral"),
}
PANEL_GROUND = {"bullish": "#0d2a1c", "bearish": "#32121a", "neutral": "#222a38"}
PANEL_PATH = {
    "bullish": (0.1, 0.24, 0.2, 0.42, 0.38, 0.6, 0.56, 0.78, 0.95),
    "bearish": (0.95, 0.8, 0.84, 0.6, 0.64, 0.4, 0.44, 0.2, 0.06),
    "neutral": (0.5, 0.53, 0.47, 0.52, 0.48, 0.52, 0.5, 0.47, 0.51),
}


@lru_cache(maxsize=3)
def two_panels(reading: str) -> Image.Image:
    """Two halves, a face to the left and a chart to the right of each; captions go over the charts."""
    pen = Pen(640, 640, "#000000")
    for half, mood in enumerate(STORIES[reading]):
        top = 320 * half
        pen.box(320, top, 640, top + 320, PANEL_GROUND[mood])
        for line in range(1, 6):
            pen.line([(320, top + line * 54), (640, top + line * 54)], "#ffffff12", 1.5)
        path = PANEL_PATH[mood]
        points = [(330 + 300 * step / 8, top + 290 - 170 * value) for step, value in enumerate(path)]
        pen.polygon([*points, (630, top + 320), (330, top + 320)], ON_DARK[mood] + "40")
        pen.line(points, ON_DARK[mood], 8)
    picture = pen.done()
    for half, mood in enumerate(STORIES[reading]):
        picture.paste(portrait(mood), (0, 320 * half))
    bar = Image.new("RGB", (640, 8), "#f4f1ea")
    picture.paste(bar, (0, 316))
    return picture
