"""The demo set: the same everywhere, presentable, and hard in the places it should be."""

import io
import re
import tomllib
from collections import Counter
from collections.abc import Callable, Iterable
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any

import imagehash
import numpy as np
import pytest
from PIL import Image

from annotate import first_start
from annotate.colours import LEAST_CONTRAST, WHITE, contrast
from annotate.demo import DemoPost, draw_posts
from annotate.demo.canvas import fit, font
from annotate.demo.captions import CAPTIONS, HEADLINES, PANELS, SLIDES
from annotate.demo.posts import SCENES
from annotate.demo.words import ELSEWHERE, SLOTS, TAILS, TEXTS
from annotate.images import NEAR
from annotate.models import Project

PRESETS = sorted((Path(__file__).parent.parent / "annotate" / "presets").glob("*.toml"))
UP = re.compile(r"\b(moon|bull\w*|buy|buying|bought|pump|gains|up|hold|holding|hodl|wagmi|diamond|rally|long)\b|🚀|💎")
DOWN = re.compile(
    r"\b(crash|bear\w*|sell|selling|sold|rug|dump\w*|down|red|rekt|ngmi|loss|lost|liquidated|over)\b|📉|😭"
)


@pytest.fixture(scope="module")
def drawn() -> list[DemoPost]:
    """Two more than the plan holds."""
    return list(draw_posts(402))


@pytest.fixture(scope="module")
def posts(drawn: list[DemoPost]) -> list[DemoPost]:
    return drawn[:400]


def by_keywords(post: DemoPost) -> str:
    text = post.text.lower()
    return lean(len(UP.findall(text)), len(DOWN.findall(text)), by=0)


def by_colour(post: DemoPost) -> str:
    red, green, blue = np.moveaxis(np.asarray(opened(post).convert("RGB"), dtype=int), -1, 0)
    up = float((green - np.maximum(red, blue) > 50).mean())
    down = float((red - np.maximum(green, blue) > 90).mean())
    return lean(up, down, by=max(0.002, 0.4 * (up + down)))


def lean(up: float, down: float, by: float) -> str:
    return "bullish" if up - down > by else "bearish" if down - up > by else "neutral"


def opened(post: DemoPost) -> Image.Image:
    return Image.open(io.BytesIO(post.picture))


def share(hits: Iterable[bool]) -> float:
    return float(np.mean(list(hits)))


def wrong(voter: Callable[[DemoPost], str], posts: list[DemoPost]) -> set[str]:
    return {post.external_id for post in posts if voter(post) != post.label}


def test_it_draws_the_same_posts_for_a_seed() -> None:
    first, second = (list(draw_posts(12, seed=3)) for _ in range(2))
    assert [sha256(post.picture).digest() for post in first] == [sha256(post.picture).digest() for post in second]
    assert first == second


def test_fewer_posts_are_the_first_ones(posts: list[DemoPost]) -> None:
    assert list(draw_posts(5)) == posts[:5]


def test_another_seed_draws_other_posts(posts: list[DemoPost]) -> None:
    assert not {post.text for post in draw_posts(5, seed=8)} & {post.text for post in posts[:5]}


def test_it_draws_more_than_the_plan_holds(drawn: list[DemoPost]) -> None:
    assert sum(scene.posts for scene in SCENES) == 400
    assert [post.external_id for post in drawn[400:]] == ["demo-0401", "demo-0402"]


def test_labels_are_balanced_as_planned(posts: list[DemoPost]) -> None:
    assert Counter(post.label for post in posts) == {"neutral": 160, "bearish": 124, "bullish": 116}
    assert 0.2 <= share(post.incongruous for post in posts) <= 0.3


def test_the_locked_test_set_is_a_fair_draw(posts: list[DemoPost]) -> None:
    first = posts[:107]
    assert all(count >= 20 for count in Counter(post.label for post in first).values())
    assert 0.15 <= share(post.incongruous for post in first) <= 0.3


def test_a_sarcastic_scene_is_labelled_by_its_picture() -> None:
    assert all(scene.label == scene.picture for scene in SCENES if scene.incongruous)


def test_every_picture_opens_at_its_size_and_weight(posts: list[DemoPost]) -> None:
    for post in posts:
        picture = opened(post)
        picture.load()
        assert picture.size in {(640, 640), (640, 480)}
        assert 10_000 < len(post.picture) < 90_000
    assert {opened(post).format for post in posts} == {"PNG", "JPEG"}


def test_ids_texts_and_times_are_in_order(posts: list[DemoPost]) -> None:
    assert len({post.external_id for post in posts}) == len({post.text.casefold() for post in posts}) == 400
    assert [post.posted_at for post in posts] == sorted(post.posted_at for post in posts)
    assert all(post.posted_at.utcoffset() is not None for post in posts)


def test_texts_come_in_all_lengths_and_scripts(posts: list[DemoPost]) -> None:
    lengths = [len(post.text.split()) for post in posts]
    assert min(lengths) <= 3
    assert 45 <= max(lengths) <= 80
    assert any(post.text.isupper() for post in posts)
    assert all(
        re.search(script, " ".join(post.text for post in posts)) for script in ("[\u0590-\u06ff]", "[а-я]", "[ぁ-ん]")
    )


def test_every_slot_is_filled(posts: list[DemoPost]) -> None:
    patterns = (
        pattern for group in (TEXTS, TAILS, ELSEWHERE, HEADLINES) for said in group.values() for pattern in said
    )
    named = {slot for pattern in patterns for slot in re.findall(r"\{(\w+)\}", pattern)}
    assert named <= {*SLOTS, "t", "n", "term", "body", "act"}
    assert not any("{" in post.text or "  " in post.text for post in posts)


def test_each_voter_is_often_right_and_errs_elsewhere(posts: list[DemoPost]) -> None:
    """Else the demo's queue would hold everything, or nothing worth a person's time."""
    text_errs, picture_errs = wrong(by_keywords, posts), wrong(by_colour, posts)
    assert 0.70 <= 1 - len(text_errs) / 400 <= 0.82
    assert 0.70 <= 1 - len(picture_errs) / 400 <= 0.84
    assert len(text_errs - picture_errs) >= 40
    assert len(picture_errs - text_errs) >= 40


def test_agreement_is_not_correctness(posts: list[DemoPost]) -> None:
    agreed = [post for post in posts if by_keywords(post) == by_colour(post)]
    assert 0.5 <= len(agreed) / 400 <= 0.75
    assert 0.90 <= share(by_keywords(post) == post.label for post in agreed) <= 0.98


def test_a_reused_drawing_is_a_near_duplicate_under_any_caption(posts: list[DemoPost]) -> None:
    for template in ("Happy frog", "Crying face", "Rocket to the moon", "Crashed rocket", "Rocket on the pad"):
        prints = [imagehash.phash(opened(post)) for post in posts if post.template == template]
        assert len(prints) >= 8
        assert share(min(one - other for other in prints if other is not one) <= NEAR for one in prints) > 0.8


def test_charts_are_mostly_each_their_own(posts: list[DemoPost]) -> None:
    prints = [imagehash.phash(opened(post)) for post in posts if post.template in ("Line chart", "Candlestick chart")]
    alone = [all(one - other > NEAR for other in prints if other is not one) for one in prints]
    assert share(alone) > 0.7


@pytest.mark.parametrize(
    "words", [words for group in (CAPTIONS, PANELS) for pairs in group.values() for pair in pairs for words in pair]
)
def test_a_caption_is_never_cut_off(words: str) -> None:
    width = 270 if any(words in pair for pairs in PANELS.values() for pair in pairs) else 580
    size, lines = fit(words.upper(), width, 92, largest=46)
    assert size >= 22
    assert all(font(size).getlength(line) <= width for line in lines)


def test_words_in_pictures_keep_to_the_letters_the_font_has() -> None:
    shown = [*CAPTIONS.values(), *PANELS.values(), *HEADLINES.values(), *SLIDES.values(), SLOTS["body"], SLOTS["act"]]
    assert str(shown).isascii()


def test_words_without_room_are_refused() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        fit("unbreakable" * Random(1).randint(20, 30), 200, 50, largest=46)


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_a_preset_has_distinct_labels_that_can_be_read(path: Path) -> None:
    held: dict[str, Any] = tomllib.loads(path.read_text())
    labels = held["labels"]
    names, keys = [label["name"] for label in labels], [label["key"] for label in labels if label.get("key")]
    assert held["question"].endswith("?")
    assert len(held["guidelines"]) > 500
    assert len(set(names)) == len(names) >= 2
    assert len(set(keys)) == len(keys)
    assert all(label["meaning"] for label in labels)
    assert all(contrast(label["colour"], WHITE) >= LEAST_CONTRAST for label in labels)


def test_the_presets_are_the_ones_promised() -> None:
    by_name = {path.stem: tomllib.loads(path.read_text()) for path in PRESETS}
    assert len(by_name["cat-breeds"]["labels"]) == 67
    assert [label["name"] for label in by_name["crypto-sentiment"]["labels"]] == ["bearish", "neutral", "bullish"]
    assert by_name["crypto-sentiment"]["asks_incongruous"]


@pytest.mark.django_db
def test_the_demos_locked_test_set_stands_apart_and_is_like_the_rest() -> None:
    """Else half of the demo could not be trained on, or the test would say nothing of sarcasm."""
    first_start.make_demo(lambda _: None)
    project = Project.objects.get()
    held, others = project.posts.filter(holdout=True), project.posts.filter(holdout=False)
    assert (held.count(), others.count()) == (first_start.HOLDOUT, 400 - first_start.HOLDOUT)
    assert not others.filter(template__in=held.exclude(template=None).values("template")).exists()
    assert not others.exclude(label=None).exists()
    assert held.filter(incongruous=True).count() in range(17, 26)
    assert all(held.filter(label=label).count() >= 28 for label in project.labels.all())
