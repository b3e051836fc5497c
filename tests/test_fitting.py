"""What is reckoned before a run: held against what the checkpoints weigh, and against what must grow with what."""

import pytest

from modeling.gpu.config import Config
from modeling.gpu.families import FAMILIES
from modeling.gpu.shapes import SHAPES
from modeling.training import estimates, fitting, training_presets
from modeling.training.fitting import Card

SEVEN = "Qwen/Qwen2.5-VL-7B-Instruct"
SIZES = [size for family in FAMILIES for size in family.sizes if size.hub in SHAPES]


def gigabytes(posts=1000, **config):
    made = fitting.estimate(Config.from_json({"model": SEVEN, **config}), posts)
    assert made
    return made.bytes / fitting.GB


@pytest.mark.parametrize("size", SIZES, ids=lambda size: size.hub)
def test_shapes_add_up_to_what_the_checkpoints_are_said_to_weigh(size):
    shape = SHAPES[size.hub]
    whole = fitting.linear_weights(shape) + shape.words + size.vision * 1e9
    assert whole == pytest.approx(size.billions * 1e9, rel=0.02)
    assert fitting.estimate(Config(size.hub), 100)


def test_only_a_model_that_never_ran_has_no_shape():
    unknown = [size.hub for family in FAMILIES for size in family.sizes if size.hub not in SHAPES]
    assert unknown == ["microsoft/Phi-3.5-vision-instruct"]


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


def parts_of(**config):
    made = fitting.estimate(Config.from_json({"model": SEVEN, **config}), 1000)
    assert made
    return made.parts


@pytest.mark.parametrize("method", ["qlora", "lora", "full"])
def test_cards_that_share_a_model_hold_a_part_of_it_each(method):
    alone, four = parts_of(method=method), parts_of(method=method, cards=4, sharing="fsdp")
    for part in ("weights", "what is trained", "gradients", "optimiser"):
        assert four[part] == pytest.approx(alone[part] / 4)
    for part in ("activations", "CUDA itself"):
        assert four[part] == alone[part]
    assert 0 < four["gathered for a moment"] < alone["weights"]
    assert parts_of(method=method, cards=4, sharing="zero3") == four
    assert sum(parts_of(method=method, cards=8, sharing="fsdp").values()) < sum(four.values()) < sum(alone.values())


def test_cards_that_hold_a_model_each_need_as_much_as_one():
    assert parts_of(cards=4, sharing="ddp") == parts_of()
    assert parts_of(cards=1, sharing="fsdp") == parts_of()


def test_several_cards_share_the_posts_and_are_paid_for_each():
    card = Card("one", 24, 100, 2.0)
    one, two = (Config(SEVEN, cards=cards) for cards in (1, 2))
    alone, both = (fitting.estimate(config, 4000) for config in (one, two))
    assert alone
    assert both
    assert both.posts == alone.posts
    assert both.steps == alone.steps / 2
    [slow], [fast] = fitting.on_cards(alone, one, [card]), fitting.on_cards(both, two, [card])
    assert fast.seconds - fitting.LOADING == pytest.approx((slow.seconds - fitting.LOADING) / 2)
    assert fast.cost == pytest.approx(card.price * 2 * fast.seconds / 3600)


def test_pictures_become_as_many_tokens_as_the_family_makes_of_them():
    told = {
        family.key: fitting.picture_tokens(family, Config("x", max_pixels=768 * 28 * 28))
        for family in FAMILIES if not family.remote_code
    }  # fmt: skip
    assert told["qwen2_5_vl"] == 768
    assert told["qwen3_vl"] == told["qwen3_5"] == 588  # each of 32 x 32 pixels
    assert told["gemma4"] == 140
    assert told["gemma3"] == 256


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
