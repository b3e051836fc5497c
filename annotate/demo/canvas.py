"""What every demo drawing stands on: an antialiased pen, a few colours, captions that always fit."""

import math
from collections.abc import Iterable, Sequence
from functools import lru_cache

from PIL import Image, ImageDraw, ImageFont, ImageOps

Point = tuple[float, float]

GREEN, RED, GREY = "#16a34a", "#dc2626", "#5b6b86"
BRIGHT_GREEN, BRIGHT_RED, BRIGHT_GREY = "#22c55e", "#ef4444", "#94a3b8"
INK, PAPER, NIGHT = "#23262d", "#f7f2e6", "#0d1420"

ON_LIGHT = {"bullish": GREEN, "bearish": RED, "neutral": GREY}
ON_DARK = {"bullish": BRIGHT_GREEN, "bearish": BRIGHT_RED, "neutral": BRIGHT_GREY}

FINER = 2  # drawn this much larger, then averaged down: Pillow's shapes have no antialiasing of their own


@lru_cache(maxsize=128)
def font(size: int) -> ImageFont.FreeTypeFont:
    """Pillow's own font, so that a machine without any draws the same picture."""
    found = ImageFont.load_default(size=size)
    if not isinstance(found, ImageFont.FreeTypeFont):
        raise RuntimeError("Pillow was built without FreeType; install it from its wheel to draw the demo")
    return found


class Pen:
    """Draws in picture coordinates on a finer canvas; colours may carry an alpha (#rrggbbaa)."""

    def __init__(self, width: int, height: int, top: str, bottom: str | None = None) -> None:
        size = (width * FINER, height * FINER)
        self.image = gradient(size, top, bottom) if bottom else Image.new("RGB", size, top)
        self.draw = ImageDraw.Draw(self.image, "RGBA")

    def line(self, points: Sequence[Point], colour: str, width: float) -> None:
        scaled = [(x * FINER, y * FINER) for x, y in points]
        self.draw.line(scaled, fill=colour, width=round(width * FINER), joint="curve")
        if width >= 4:
            for x, y in (points[0], points[-1]):
                self.dot(x, y, width / 2, colour)

    def polygon(self, points: Iterable[Point], colour: str, edge: str | None = None, width: float = 0) -> None:
        corners = list(points)
        self.draw.polygon([(x * FINER, y * FINER) for x, y in corners], fill=colour)
        if edge:
            middle = ((corners[0][0] + corners[1][0]) / 2, (corners[0][1] + corners[1][1]) / 2)
            self.line([middle, *corners[1:], corners[0], middle], edge, width)

    def ellipse(
        self, x: float, y: float, rx: float, ry: float, colour: str | None, edge: str = "", width: float = 0
    ) -> None:
        box = [(x - rx) * FINER, (y - ry) * FINER, (x + rx) * FINER, (y + ry) * FINER]
        self.draw.ellipse(box, fill=colour, outline=edge or None, width=round(width * FINER))

    def dot(self, x: float, y: float, radius: float, colour: str) -> None:
        self.ellipse(x, y, radius, radius, colour)

    def arc(
        self, x: float, y: float, rx: float, ry: float, start: float, end: float, colour: str, width: float
    ) -> None:
        """Drawn as a line, because a thick Pillow arc has ragged ends."""
        turns = [math.radians(start + (end - start) * step / 40) for step in range(41)]
        self.line([(x + rx * math.cos(turn), y + ry * math.sin(turn)) for turn in turns], colour, width)

    def chord(self, x: float, y: float, rx: float, ry: float, start: float, end: float, colour: str) -> None:
        box = [(x - rx) * FINER, (y - ry) * FINER, (x + rx) * FINER, (y + ry) * FINER]
        self.draw.chord(box, start, end, fill=colour)

    def box(
        self,
        left: float,
        top: float,
        right: float,
        bottom: float,
        colour: str | None,
        radius: float = 0,
        edge: str = "",
        width: float = 0,
    ) -> None:
        corners = [left * FINER, top * FINER, right * FINER, bottom * FINER]
        self.draw.rounded_rectangle(
            corners, radius * FINER, fill=colour, outline=edge or None, width=round(width * FINER)
        )

    def text(
        self, x: float, y: float, words: str, size: float, colour: str, anchor: str = "ls", bold: bool = False
    ) -> None:
        """Bold is a stroke in the same colour: the bundled font has one weight."""
        stroke = max(1, round(size * FINER / 34)) if bold else 0
        self.draw.text(
            (x * FINER, y * FINER),
            words,
            fill=colour,
            font=font(round(size * FINER)),
            anchor=anchor,
            stroke_width=stroke,
            stroke_fill=colour,
        )

    def done(self) -> Image.Image:
        return self.image.reduce(FINER)


def gradient(size: tuple[int, int], top: str, bottom: str) -> Image.Image:
    ramp = Image.linear_gradient("L").resize((1, size[1])).resize(size)
    return ImageOps.colorize(ramp, top, bottom)


def sunburst(pen: Pen, x: float, y: float, rays: int, colour: str) -> None:
    for ray in range(rays):
        first, second = (math.tau * (ray + edge) / rays for edge in (0.0, 0.5))
        pen.polygon(
            [
                (x, y),
                (x + 900 * math.cos(first), y + 900 * math.sin(first)),
                (x + 900 * math.cos(second), y + 900 * math.sin(second)),
            ],
            colour,
        )


def wrap(words: str, size: int, width: float) -> list[str]:
    lines: list[str] = []
    for word in words.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and font(size).getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def fit(words: str, width: float, height: float, largest: int, smallest: int = 14) -> tuple[int, list[str]]:
    """The largest size at which the words, wrapped, stay inside width and height."""
    for size in range(largest, smallest - 1, -2):
        lines = wrap(words, size, width)
        widest = max((font(size).getlength(line) for line in lines), default=0.0)
        if widest <= width and len(lines) * size * 1.12 <= height:
            return size, lines
    raise ValueError(f"{words!r} does not fit {width:.0f} x {height:.0f} even at size {smallest}")


def caption(picture: Image.Image, words: str, top: float, height: float = 100, left: float = 20) -> None:
    """White capitals with a black outline, centred in a band that ends 20 short of the right edge."""
    right = picture.width - 20
    size, lines = fit(words.upper(), right - left - 20, height, largest=46)
    draw = ImageDraw.Draw(picture)
    y = top + height / 2 - (len(lines) - 1) * size * 0.56
    for line in lines:
        place = ((left + right) / 2, y)
        outline = max(4, size // 7)
        draw.text(place, line, font=font(size), anchor="mm", fill="black", stroke_width=outline, stroke_fill="black")
        draw.text(
            place,
            line,
            font=font(size),
            anchor="mm",
            fill="white",
            stroke_width=max(1, size // 22),
            stroke_fill="white",
        )
        y += size * 1.12
