"""Four hundred invented posts whose truth is known, to try everything without anybody's data.

The truth of a post is what its author means by text and picture together:
1. Words and picture lean the same way: that is the label.
2. Only one of them leans: it gives the label. "My week", over a crash, is bearish.
   A slide or a report that leans nowhere is neutral.
3. A question is neutral, however loud the picture it asks about.
4. The words deny what the picture shows ("to the moon", over a crash): sarcasm, the label follows the picture.
   Over a flat line it is neutral.
5. The words admit what the picture shows and take the other side ("down 30%, so I bought more"):
   sincere, the label follows the words.

A post is incongruous in case 4 alone: taken at their word, its text or its caption contradict its picture.
Case 5 is none: buying a dip admits the dip. So reading the text alone fails mostly on 4, reading the picture alone
on 3 and 5, and a reviewer's queue has something real in it.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from typing import NamedTuple

from PIL import Image

from .canvas import caption
from .captions import CAPTIONS, HEADLINES, PANELS, SLIDES
from .cards import explainer, headline, portfolio
from .charts import big_arrow, candles, line_chart
from .faces import FACES, two_panels
from .rockets import crashed, on_the_pad, to_the_moon
from .words import SLOTS, TICKERS, fill, text

FIRST_POST = datetime(2025, 3, 3, 7, 12, tzinfo=UTC)
ROCKETS = {"bullish": to_the_moon, "bearish": crashed, "neutral": on_the_pad}
CHARTS = {"Line chart": line_chart, "Candlestick chart": candles, "Big arrow": big_arrow}
FACE_NAMES = {"bullish": "Happy frog", "bearish": "Crying face", "neutral": "Blank face"}
ROCKET_NAMES = {"bullish": "Rocket to the moon", "bearish": "Crashed rocket", "neutral": "Rocket on the pad"}

FIXED = ("Face", "Rocket", "Two panels")  # drawn once; only the caption differs, as with real memes
MEMES = ("Line chart", "Candlestick chart", "Big arrow", *FIXED, *FIXED)
SERIOUS = ("Line chart", "Candlestick chart", "Big arrow", "Face", "Portfolio")
PICTURES_ALONE = ("Line chart", "Candlestick chart", "Portfolio")


@dataclass(frozen=True)
class DemoPost:
    external_id: str
    text: str
    picture: bytes
    label: str
    incongruous: bool
    template: str
    posted_at: datetime


class Scene(NamedTuple):
    """One way to make a post: what its text, its caption and its picture say, each alone."""

    posts: int  # out of 400
    label: str
    words: str
    caption: str
    picture: str
    templates: tuple[str, ...]
    incongruous: bool = False


SCENES = (
    # 1: all agree
    Scene(50, "bearish", "doom", "doom", "bearish", MEMES),
    Scene(14, "bearish", "doom", "none", "bearish", ("Portfolio", "Headline", "Candlestick chart")),
    Scene(46, "bullish", "cheer", "cheer", "bullish", MEMES),
    Scene(13, "bullish", "cheer", "none", "bullish", ("Portfolio", "Headline", "Candlestick chart")),
    Scene(34, "neutral", "flat", "flat", "neutral", (*MEMES, "Portfolio")),
    Scene(33, "neutral", "teach", "none", "neutral", ("Explainer",)),
    Scene(27, "neutral", "news", "none", "neutral", ("Headline",)),
    Scene(10, "neutral", "ask", "ask", "neutral", PICTURES_ALONE),
    # 2: only one of them leans
    Scene(8, "bearish", "doom", "none", "neutral", ("Face", "Portfolio", "Line chart")),
    Scene(8, "bullish", "cheer", "none", "neutral", ("Rocket", "Line chart", "Headline")),
    Scene(1, "bearish", "quiet", "doom", "bearish", MEMES),
    Scene(1, "bullish", "quiet", "cheer", "bullish", MEMES),
    # 3: asking about a loud picture
    Scene(13, "neutral", "ask", "ask", "bearish", PICTURES_ALONE),
    Scene(13, "neutral", "ask", "ask", "bullish", PICTURES_ALONE),
    Scene(
        5, "neutral", "ask_down", "ask", "bearish", PICTURES_ALONE
    ),  # where text alone and picture alone agree, and err
    Scene(5, "neutral", "ask_up", "ask", "bullish", PICTURES_ALONE),
    # 4: sarcasm
    Scene(33, "bearish", "cheer", "cheer", "bearish", MEMES, True),
    Scene(5, "bearish", "quiet", "cheer", "bearish", MEMES, True),
    Scene(5, "bearish", "told_bearish", "cheer", "bearish", ("Face", "Rocket", "Line chart"), True),
    Scene(18, "bullish", "doom", "doom", "bullish", MEMES, True),
    Scene(3, "bullish", "quiet", "doom", "bullish", MEMES, True),
    Scene(3, "bullish", "told_bullish", "doom", "bullish", ("Face", "Rocket"), True),
    Scene(9, "neutral", "cheer", "cheer", "neutral", MEMES, True),
    Scene(11, "neutral", "quiet", "cheer", "neutral", MEMES, True),
    # 5: sincere against the picture
    Scene(8, "bearish", "top", "top", "bullish", SERIOUS),
    Scene(24, "bullish", "dip", "dip", "bearish", SERIOUS),
)


def draw_posts(count: int = 400, seed: int = 7) -> Iterator[DemoPost]:
    """The same posts for the same seed; asking for fewer gives the first of them."""
    rng = Random(seed)
    plan = [scene for scene in SCENES for _ in range(scene.posts)]
    rng.shuffle(plan)
    posted_at, said = FIRST_POST, set[str]()
    for number in range(count):
        posted_at += timedelta(minutes=rng.randint(4, 420))
        yield draw_post(rng, plan[number % len(plan)], f"demo-{number + 1:04d}", posted_at, said)


def draw_post(rng: Random, scene: Scene, external_id: str, posted_at: datetime, said: set[str]) -> DemoPost:
    subject = {
        "t": rng.choice(TICKERS),
        "term": rng.choice(list(SLIDES)),
        "body": rng.choice(SLOTS["body"]),
        "act": rng.choice(SLOTS["act"]),
    }
    words = unsaid(rng, scene.words, subject, said)
    kind = rng.choice(scene.templates)
    picture = draw_picture(rng, kind, scene, subject)
    name = {"Face": FACE_NAMES, "Rocket": ROCKET_NAMES}.get(kind, {}).get(scene.picture, kind)
    return DemoPost(external_id, words, encode(picture, kind), scene.label, scene.incongruous, name, posted_at)


def unsaid(rng: Random, kind: str, subject: dict[str, str], said: set[str]) -> str:
    words = text(rng, kind, subject)
    for _ in range(50):  # people do repeat each other, but only where the lists run dry
        if words.casefold() not in said:
            break
        words = text(rng, kind, subject)
    said.add(words.casefold())
    return words


def draw_picture(rng: Random, kind: str, scene: Scene, subject: dict[str, str]) -> Image.Image:
    ticker = subject["t"]
    if kind == "Portfolio":
        others = rng.sample([other for other in TICKERS if other != ticker], 2)
        return portfolio(rng, scene.picture, [ticker, *others])
    if kind == "Headline":
        return headline(rng, scene.picture, fill(rng, rng.choice(HEADLINES[scene.picture]), subject))
    if kind == "Explainer":
        title, points = SLIDES[subject["term"]]
        return explainer(rng, title, list(points))
    if kind == "Two panels":
        return panelled(rng, scene)
    return captioned(rng, kind, scene, ticker)


def captioned(rng: Random, kind: str, scene: Scene, ticker: str) -> Image.Image:
    top, bottom = rng.choice(CAPTIONS[scene.caption])
    if kind in CHARTS:
        picture = CHARTS[kind](rng, scene.picture, ticker, bool(top or bottom))
    else:
        picture = (FACES if kind == "Face" else ROCKETS)[scene.picture]().copy()
    caption(picture, top, 10)
    caption(picture, bottom, 530)
    return picture


def panelled(rng: Random, scene: Scene) -> Image.Image:
    picture = two_panels(scene.picture).copy()
    for half, words in enumerate(rng.choice(PANELS[scene.caption])):
        caption(picture, words, 320 * half + 14, 92, left=330)
    return picture


def encode(picture: Image.Image, kind: str) -> bytes:
    """As they come in the wild: screenshots are PNG, what has been passed around is JPEG."""
    file = io.BytesIO()
    if kind in ("Portfolio", "Headline", "Explainer"):
        picture.save(file, "PNG", compress_level=6)
    else:
        picture.save(file, "JPEG", quality=80)
    return file.getvalue()
