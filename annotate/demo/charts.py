"""Charts: every one is drawn anew from its own random walk."""

import math
from random import Random
from typing import NamedTuple

from PIL import Image

from .canvas import INK, NIGHT, ON_DARK, ON_LIGHT, PAPER, Pen, Point, sunburst


class Frame(NamedTuple):
    left: float
    top: float
    right: float
    bottom: float

    def at(self, share: float, value: float) -> Point:
        return self.left + share * (self.right - self.left), self.bottom - value * (self.bottom - self.top)


class Skin(NamedTuple):
    ground: str
    ground_below: str
    grid: str
    words: str
    dark: bool


SKINS = (
    Skin(PAPER, "#efe6d0", "#d9cfb8", "#4b4638", False),
    Skin("#ffffff", "#f1f5fb", "#dbe3ef", "#334155", False),
    Skin("#e9f0ee", "#dbe6e4", "#c3d2cf", "#2f4643", False),
    Skin(NIGHT, "#131d2e", "#233248", "#c7d3e6", True),
    Skin("#17131f", "#231a33", "#392d4f", "#d9cfee", True),
    Skin("#050807", "#0a1411", "#16302a", "#a8d5c4", True),
)


def walk(rng: Random, reading: str, steps: int, rough: float = 0.11) -> list[float]:
    """A path between 0 and 1 that plainly rises, falls, or goes nowhere."""
    path, noise = [], 0.0
    power = rng.choice((0.7, 1.0, 1.6, 2.6))
    for step in range(steps):
        noise = 0.86 * noise + rng.gauss(0, rough / 2)
        trend = (step / (steps - 1)) ** power
        path.append({"bullish": trend, "bearish": 1 - trend, "neutral": 0.5}[reading] + noise)
    low, high = min(path), max(path)
    if reading == "neutral":
        return [min(0.95, max(0.05, value)) for value in path]
    return [(value - low) / (high - low) for value in path]


def grid(pen: Pen, frame: Frame, skin: Skin, rng: Random) -> None:
    rows, columns = rng.randint(4, 6), rng.randint(4, 7)
    step = rng.choice((0.002, 0.05, 0.4, 2.0, 15.0))
    base = step * rng.randint(2, 30)
    for row in range(rows + 1):
        (left, y), (right, _) = frame.at(0, row / rows), frame.at(1, row / rows)
        pen.line([(left, y), (right, y)], skin.grid, 1.2)
        pen.text(right + 8, y, f"{base + row * step:.{3 if step < 0.01 else 2}f}", 13, skin.words, "lm")
    for column in range(columns + 1):
        (x, top), (_, bottom) = frame.at(column / columns, 1), frame.at(0, 0)
        pen.line([(x, top), (x, bottom)], skin.grid, 1.2)
        if column < columns:
            pen.text(x + 2, bottom + 18, f"{(7 + 2 * column) % 24:02d}:00", 13, skin.words, "ls")


def heading(pen: Pen, frame: Frame, skin: Skin, rng: Random, ticker: str, change: str, colour: str) -> None:
    pen.text(frame.left, frame.top - 16, ticker, 24, skin.words, "ls", bold=True)
    span = rng.choice(("15m", "1h", "4h", "1D", "1W"))
    pen.text(frame.left + 30 + 15.5 * len(ticker), frame.top - 16, f"{span}   {change}", 17, colour, "ls", bold=True)


def change_words(rng: Random, reading: str) -> str:
    size = rng.uniform(4, 70) if reading != "neutral" else rng.uniform(0, 0.4)
    return f"{'-' if reading == 'bearish' else '+'}{size:.1f}%"


def start(rng: Random, captioned: bool) -> tuple[Pen, Frame, Skin]:
    skin = rng.choice(SKINS)
    room = 112 if captioned else 18
    return Pen(640, 640, skin.ground, skin.ground_below), Frame(36, room + 46, 566, 640 - room - 30), skin


def colour_of(skin: Skin, reading: str) -> str:
    return (ON_DARK if skin.dark else ON_LIGHT)[reading]


def line_chart(rng: Random, reading: str, ticker: str, captioned: bool) -> Image.Image:
    pen, frame, skin = start(rng, captioned)
    colour = colour_of(skin, reading)
    grid(pen, frame, skin, rng)
    path = walk(rng, reading, rng.choice((40, 60, 90)))
    points = [frame.at(step / (len(path) - 1), 0.06 + 0.88 * value) for step, value in enumerate(path)]
    pen.polygon([*points, (frame.right, frame.bottom), (frame.left, frame.bottom)], colour + "3c")
    pen.line(points, colour, rng.choice((4.0, 5.0, 6.5)))
    x, y = points[-1]
    pen.dot(x, y, 16, colour + "50")
    pen.dot(x, y, 8, colour)
    heading(pen, frame, skin, rng, ticker, change_words(rng, reading), colour)
    return pen.done()


def candles(rng: Random, reading: str, ticker: str, captioned: bool) -> Image.Image:
    pen, frame, skin = start(rng, captioned)
    grid(pen, frame, skin, rng)
    count = rng.randint(22, 34)
    path = walk(rng, reading, count + 1, rough=0.16 if reading != "neutral" else 0.1)
    half = (frame.right - frame.left) / count * 0.34
    average: list[Point] = []
    for step in range(count):
        opened, closed = (0.24 + 0.72 * value for value in path[step : step + 2])
        colour = colour_of(skin, "bullish" if closed >= opened else "bearish")
        x, y_open = frame.at((step + 0.5) / count, opened)
        y_close = frame.at(0, closed)[1]
        high, low = min(y_open, y_close) - rng.uniform(2, 22), max(y_open, y_close) + rng.uniform(2, 22)
        pen.line([(x, high), (x, low)], colour, 2)
        middle, tall = (y_open + y_close) / 2, max(3.0, abs(y_open - y_close) / 2)
        pen.box(x - half, middle - tall, x + half, middle + tall, colour, 1.5)
        volume = frame.at(0, 0.03 + abs(closed - opened) * 0.7 + rng.uniform(0, 0.05))[1]
        pen.box(x - half, volume, x + half, frame.bottom, colour + "55")
        recent = path[max(0, step - 5) : step + 2]
        average.append(frame.at((step + 0.5) / count, 0.24 + 0.72 * sum(recent) / len(recent)))
    pen.line(average, "#f5a524" if skin.dark else "#3b6fd4", 2.6)
    heading(pen, frame, skin, rng, ticker, change_words(rng, reading), colour_of(skin, reading))
    return pen.done()


BURSTS = (
    ("#fde68a", "#fbbf24"),
    ("#bfdbfe", "#93c5fd"),
    ("#e9d5ff", "#d8b4fe"),
    ("#1e293b", "#27364d"),
    ("#3b2a1d", "#4d3826"),
    ("#f5f0e1", "#e5dcc3"),
)
ZIGZAGS = {"bullish": (0.1, 0.42, 0.3, 0.62, 0.5, 0.94), "neutral": (0.5, 0.58, 0.44, 0.56, 0.43, 0.5)}


def big_arrow(rng: Random, reading: str, ticker: str, captioned: bool) -> Image.Image:
    ground, ray = rng.choice(BURSTS)
    pen = Pen(640, 640, ground)
    sunburst(pen, rng.choice((140, 320, 500)), rng.choice((180, 320, 460)), rng.choice((12, 15, 18)), ray)
    room = 116 if captioned else 50
    frame = Frame(70, room + 10, 570, 640 - room)
    bars(pen, frame, rng, reading)
    heights = ZIGZAGS["bullish" if reading != "neutral" else "neutral"]
    falls = reading == "bearish"
    points = [
        frame.at(0.02 + 0.172 * step, (1 - height if falls else height) + rng.uniform(-0.04, 0.04))
        for step, height in enumerate(heights)
    ]
    arrow(pen, points, ON_LIGHT[reading] if reading != "neutral" else "#8794ad")
    pen.box(frame.left, frame.bottom - 44, frame.left + 26 + 16 * len(ticker), frame.bottom - 4, INK, 10)
    pen.text(frame.left + 13 + 8 * len(ticker), frame.bottom - 24, ticker, 22, "#ffffff", "mm", bold=True)
    return pen.done()


def bars(pen: Pen, frame: Frame, rng: Random, reading: str) -> None:
    for bar in range(7):
        trend = {"bullish": bar, "bearish": 6 - bar, "neutral": 3}[reading] / 6
        x, y = frame.at((bar + 0.2) / 7, 0.1 + 0.5 * trend + rng.uniform(0, 0.1))
        pen.box(x, y, x + 44, frame.bottom, "#7c8798a0", 5)


def arrow(pen: Pen, points: list[Point], colour: str) -> None:
    (x0, y0), (x1, y1) = points[-2:]
    along = math.atan2(y1 - y0, x1 - x0)
    head = [
        (x1 + reach * math.cos(along + turn), y1 + reach * math.sin(along + turn))
        for reach, turn in ((46, 0.0), (62, 2.25), (62, -2.25))
    ]
    for edge, width in ((INK, 44), (colour, 32)):
        pen.line([*points[:-1], (x1 - 8 * math.cos(along), y1 - 8 * math.sin(along))], edge, width)
        pen.polygon(head, colour, INK if edge == INK else colour, 14 if edge == INK else 2)
    shine = [(x - 4, y - 7) for x, y in points]
    pen.line(shine[:-1], "#ffffff60", 5)
