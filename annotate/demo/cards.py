"""What people take screenshots of: a phone with a portfolio, a newspaper headline, a slide that explains."""

import math
from random import Random

from PIL import Image

from .canvas import INK, ON_DARK, ON_LIGHT, Pen, fit
from .charts import walk

PHONE_GROUNDS = (
    ("#5b5bd6", "#8e4ec6"),
    ("#0f766e", "#155e75"),
    ("#f2b880", "#e58f65"),
    ("#1f2937", "#4b5563"),
    ("#c4d7f2", "#8fb3e0"),
    ("#f1c5d3", "#c98ba6"),
)
COINS = ("#f59e0b", "#6366f1", "#0ea5e9", "#a855f7", "#14b8a6", "#64748b")


def portfolio(rng: Random, reading: str, tickers: list[str]) -> Image.Image:
    pen = Pen(640, 640, *rng.choice(PHONE_GROUNDS))
    dark = rng.random() < 0.5
    sheet, words, soft, line = (
        ("#12151c", "#f3f4f6", "#8b93a3", "#262c38") if dark else ("#ffffff", INK, "#6b7280", "#e7e9ee")
    )
    colour = (ON_DARK if dark else ON_LIGHT)[reading]
    left = rng.choice((110, 150, 190))
    right = left + 340
    pen.box(left - 4, 26, right + 22, 700, "#00000040", 44)
    pen.box(left - 12, 18, right + 12, 700, "#0a0b0e", 48)
    pen.box(left, 30, right, 700, sheet, 38)
    pen.box((left + right) / 2 - 46, 40, (left + right) / 2 + 46, 58, "#0a0b0e", 9)
    pen.text(left + 26, 56, f"{rng.randint(7, 22)}:{rng.randint(10, 59)}", 15, words, "ls", bold=True)
    pen.box(right - 52, 45, right - 26, 57, None, 3, words, 1.5)
    pen.box(right - 50, 47, right - rng.randint(30, 42), 55, words, 1)
    pen.text(left + 26, 104, "My portfolio", 18, soft, "ls")
    pen.text(
        left + 26, 148, f"${rng.choice((1, 10, 100, 1000)) * rng.uniform(2, 9.9):,.2f}", 38, words, "ls", bold=True
    )
    badge(pen, left + 26, 166, reading, rng, colour)
    spark(pen, rng, reading, (left + 14, 214, right - 14, 340), colour)
    for row, ticker in enumerate(tickers[:3]):
        holding(pen, rng, (left + 26, right - 26, 384 + 62 * row), reading, ticker, (words, soft, line, colour))
    for x, name in ((left + 26, "Buy"), (left + 178, "Sell")):
        pen.box(x, 574, x + 136, 618, line, 14)
        pen.text(x + 68, 596, name, 18, words, "mm", bold=True)
    return pen.done()


def percent(rng: Random, reading: str, widest: float) -> str:
    if reading == "neutral":
        return f"{rng.choice(('+', '-'))}0.0{rng.randint(0, 4)}%"
    return f"{'+' if reading == 'bullish' else '-'}{rng.uniform(3, widest):.2f}%"


def badge(pen: Pen, x: float, y: float, reading: str, rng: Random, colour: str) -> None:
    pen.box(x, y, x + 128, y + 32, colour + "2e", 16)
    tip = {"bullish": -6, "bearish": 6, "neutral": 0}[reading]
    if tip:
        pen.polygon([(x + 12, y + 16 - tip), (x + 26, y + 16 - tip), (x + 19, y + 16 + tip)], colour)
    else:
        pen.line([(x + 12, y + 16), (x + 26, y + 16)], colour, 4)
    pen.text(x + 76, y + 16, percent(rng, reading, 88), 18, colour, "mm", bold=True)


def spark(pen: Pen, rng: Random, reading: str, frame: tuple[float, float, float, float], colour: str) -> None:
    left, top, right, bottom = frame
    path = walk(rng, reading, 48)
    points = [(left + (right - left) * step / 47, bottom - (bottom - top) * value) for step, value in enumerate(path)]
    pen.polygon([*points, (right, bottom + 12), (left, bottom + 12)], colour + "30")
    pen.line(points, colour, 4.5)


def holding(
    pen: Pen, rng: Random, span: tuple[float, float, float], reading: str, ticker: str, inks: tuple[str, str, str, str]
) -> None:
    (left, right, y), (words, soft, line, colour) = span, inks
    pen.line([(left, y - 30), (right, y - 30)], line, 1.5)
    pen.dot(left + 20, y, 19, rng.choice(COINS))
    pen.text(left + 20, y, ticker[1], 19, "#ffffff", "mm", bold=True)
    pen.text(left + 52, y - 2, ticker[1:], 18, words, "ls", bold=True)
    pen.text(left + 52, y + 18, f"{rng.randint(2, 9000):,} coins", 14, soft, "ls")
    pen.text(right, y, percent(rng, reading, 60), 18, colour, "rm", bold=True)


MASTHEADS = ("THE DAILY LEDGER", "COIN COURIER", "THE BLOCK GAZETTE", "MORNING MEMPOOL", "THE EVENING CANDLE")


def headline(rng: Random, reading: str, words: str) -> Image.Image:
    pen = Pen(640, 480, *rng.choice((("#faf6ea", "#f0e8d2"), ("#ffffff", "#f2f2ef"), ("#f6ebe1", "#eddccb"))))
    pen.text(320, 58, rng.choice(MASTHEADS), 36, INK, "ms", bold=True)
    pen.line([(36, 74), (604, 74)], INK, 2.5)
    pen.text(36, 95, f"No. {rng.randint(100, 9999)}", 14, "#6b6457", "ls")
    pen.text(604, 95, "Markets", 14, "#6b6457", "rs")
    pen.line([(36, 104), (604, 104)], INK, 1)
    size, lines = fit(words, 540, 128, 42)
    for row, line in enumerate(lines):
        pen.text(36, 118 + size * 0.92 + row * size * 1.12, line, size, INK, "ls", bold=True)
    photo_left = rng.choice((36, 340))
    photo(pen, rng, reading, (photo_left, 262, photo_left + 264, 450))
    columns(pen, rng, 340 if photo_left == 36 else 36)
    return pen.done()


def photo(pen: Pen, rng: Random, reading: str, frame: tuple[int, int, int, int]) -> None:
    left, top, right, bottom = frame
    pen.box(left, top, right, bottom, rng.choice(("#d9dee6", "#ded8cb", "#cfd6d2")))
    if reading == "neutral":
        return building(pen, rng, frame)
    path = walk(rng, reading, 24)
    points = [
        (left + 14 + (right - left - 28) * step / 23, bottom - 20 - (bottom - top - 44) * value)
        for step, value in enumerate(path)
    ]
    pen.polygon([*points, (points[-1][0], bottom), (left + 14, bottom)], ON_LIGHT[reading] + "50")
    pen.line(points, ON_LIGHT[reading], 8)
    return None


def building(pen: Pen, rng: Random, frame: tuple[int, int, int, int]) -> None:
    """A bank, a parliament or a court: the fourth pillar of any news page."""
    left, top, right, bottom = frame
    stone, shade = rng.choice((("#8b93a3", "#5d6575"), ("#a59a86", "#736a59"), ("#7f9490", "#576b67")))
    middle = (left + right) / 2
    pen.polygon([(left + 40, top + 70), (middle, top + 22), (right - 40, top + 70)], stone)
    pen.box(left + 40, top + 70, right - 40, top + 82, shade)
    pillars = rng.choice((4, 5, 6))
    for pillar in range(pillars):
        x = left + 52 + (right - left - 128) * pillar / (pillars - 1)
        pen.box(x, top + 86, x + 22, bottom - 30, stone)
    pen.box(left + 34, bottom - 30, right - 34, bottom - 18, shade)
    pen.box(left + 24, bottom - 18, right - 24, bottom, stone)


def columns(pen: Pen, rng: Random, left: float) -> None:
    for column in (left, left + 140):
        for row in range(13):
            y = 270 + row * 14
            short = rng.uniform(50, 90) if row in (5, 12) else rng.uniform(112, 124)
            pen.line([(column, y), (column + short, y)], "#a39d90", 4)


SLIDES = (
    ("#e0ecff", "#1e3a6e", "#5b8def"),
    ("#fdeccd", "#6b4a10", "#e0a030"),
    ("#ece5fb", "#43307a", "#8f74dc"),
    ("#f3e6ea", "#6a2f47", "#c27a96"),
    ("#1f2740", "#eef2ff", "#7c93e8"),
    ("#26303a", "#f0ead8", "#d3b26a"),
)


def explainer(rng: Random, title: str, points: list[str]) -> Image.Image:
    ground, words, accent = rng.choice(SLIDES)
    pen = Pen(640, 480, ground)
    side = rng.choice((0, 1))
    pen.dot(590 - 540 * side, rng.choice((60, 420)), rng.randint(110, 190), accent + "30")
    size, lines = fit(title, 500, 110, 42)
    for row, line in enumerate(lines):
        pen.text(40, 46 + size * 0.8 + row * size * 1.12, line, size, words, "ls", bold=True)
    pen.box(40, 168, 110, 175, accent, 3)
    words_left = 260 if side else 40
    for row, point in enumerate(points[:3]):
        y = 226 + 76 * row
        pen.dot(words_left + 17, y, 17, accent)
        pen.text(words_left + 17, y, str(row + 1), 19, ground, "mm", bold=True)
        small, parts = fit(point, 270, 66, 23)
        for part, text in enumerate(parts):
            pen.text(words_left + 48, y + (part - (len(parts) - 1) / 2) * small * 1.15, text, small, words, "lm")
    rng.choice((question_mark, blocks, pie, order_book))(pen, 130 if side else 510, 310, accent, words)
    return pen.done()


def question_mark(pen: Pen, x: float, y: float, accent: str, words: str) -> None:
    pen.dot(x, y, 92, accent)
    pen.text(x, y + 4, "?", 130, "#ffffff", "mm", bold=True)


def blocks(pen: Pen, x: float, y: float, accent: str, words: str) -> None:
    pen.line([(x, y - 90), (x, y + 90)], words, 6)
    for row in (-1, 0, 1):
        pen.box(x - 48, y + 78 * row - 29, x + 48, y + 78 * row + 29, accent, 10, words, 4)
        for bar in range(2):
            pen.box(
                x - 30, y + 78 * row - 12 + 16 * bar, x + 30 - 22 * bar, y + 78 * row - 6 + 16 * bar, "#ffffffc0", 3
            )


def pie(pen: Pen, x: float, y: float, accent: str, words: str) -> None:
    slices = ((-90, 60, accent), (60, 190, words), (190, 270, accent + "80"))
    for first, last, colour in slices:
        rim = [
            (x + 92 * math.cos(math.radians(turn)), y + 92 * math.sin(math.radians(turn)))
            for turn in range(first, last + 1, 3)
        ]
        pen.polygon([(x, y), *rim], colour)


def order_book(pen: Pen, x: float, y: float, accent: str, words: str) -> None:
    for row, wide in enumerate((150, 118, 88, 54, 62, 96, 124, 146)):
        top = y - 104 + 26 * row
        pen.box(x - 76, top, x - 76 + wide, top + 18, accent if row < 4 else words + "90", 4)
