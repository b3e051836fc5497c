"""What is reckoned before a run: held against what the checkpoints weigh, and against what must grow with what."""

import pytest

from modeling import estimates, fitting, training_presets
from modeling.fitting import Card
from modeling.gpu.config import Config
from modeling.gpu.families import FAMILIES
from modeling.gpu.shapes import SHAPES

SEVEN = "Qwen/Qwen2.5-VL-7B-Instruct"
SIZES = [size for family in FAMILIES for size in family.sizes if size.hub in SHAPES]


def gigabytes(posts=1000, **config):
    made = fitting.estimate(Config.from_json({"model": SEVEN, **config}), posts)
    assert made
    return made.bytes / fitting.GB


@pytest.mark.parametrize("size", SIZES, ids=lambda size: size.hub)
def test_shapes_add_up_to_what_the_checkpoints_are_said_to_weigh(size):
    shape = SHAPES[size.hub]
    words = shape.vocabulary * shape.hidden * (1 if shape.tied else 2)
    assert fitting.linear_weights(shape) + words + size.vision * 1e9 == pytest.approx(size.billions * 1e9, rel=0.1)


def test_the_recipe_for_24_gb_fits_there_and_the_one_for_80_gb_there():
    for key, room in (("qwen-qlora-24gb", 24), ("qwen-lora-80gb", 80), ("spectrum-30", 80), ("many-classes", 24)):
        made = fitting.estimate(training_presets.named(key).configured(), 3000)
        assert made
        assert made.fits(Card("", room, 100, None)), key


def test_more_costs_more():
    assert (
        gigabytes(method="qlora") < gigabytes(method="lora") < gigabytes(method="spectrum") < gigabytes(method="full")
    )
    assert gigabytes(max_pixels=200_704) < gigabytes(max_pixels=1_003_520)
    assert gigabytes(batch=1) < gigabytes(batch=4)
    assert gigabytes(rank=8) < gigabytes(rank=64)
    assert gigabytes(checkpointing=True) < gigabytes(checkpointing=False)


def test_time_and_money_follow_the_work_and_the_card():
    config = Config(SEVEN)
    once, twice = (fitting.estimate(config, posts) for posts in (1000, 2000))
    assert once
    assert twice
    assert twice.operations == pytest.approx(2 * once.operations)
    slow, fast, free = fitting.on_cards(once, config, [
        Card("slow", 24, 100, 1.0), Card("fast", 24, 1000, 1.0), Card("ours", 24, 100, None)
    ])  # fmt: skip
    assert fast.seconds < slow.seconds == free.seconds
    assert fast.cost
    assert slow.cost
    assert fast.cost < slow.cost
    assert free.cost is None


def test_what_should_be_thought_over():
    config = Config("Qwen/Qwen2.5-VL-72B-Instruct", method="full")
    made = fitting.estimate(config, 30)
    assert made
    told = " ".join(fitting.warnings(made, config, fitting.on_cards(made, config, [Card("small", 24, 100, 1.0)])))
    assert "more than any of these cards" in told
    assert "steps" in told


def test_a_model_that_we_do_not_know_is_not_reckoned():
    assert fitting.estimate(Config("/models/ours"), 1000) is None
    assert fitting.estimate(Config("tiny"), 1000) is None
    assert fitting.estimate(Config(SEVEN), 0) is None


@pytest.mark.django_db
def test_the_table_of_cards_is_there_from_the_start():
    from .make import make_project
    from .test_dataset import freeze, make_posts

    project = make_project(audit_rate=0)
    make_posts(project, 6)
    told = estimates.told(Config(SEVEN), freeze(project))
    assert {one.card.gigabytes for one in told.cards} == {24, 40, 48, 80}
    assert sum(share for _, _, share in told.parts) == pytest.approx(1)
    assert estimates.told(Config("tiny"), freeze(project)).is_tiny
