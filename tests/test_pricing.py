from datetime import date
from decimal import Decimal

import pytest

from labeling import pairs, pricing
from labeling.prompt import Prompt
from labeling.providers import PROVIDERS


def test_prices_come_from_the_bundled_table():
    assert pricing.price_of("openai", "gpt-4o-mini", 3083, 60) == Decimal("0.00049845")
    assert pricing.price_of("gemini", "gemini-2.5-flash-lite", 508, 60) == Decimal("0.0000748")


def test_an_unknown_price_is_not_nothing():
    assert pricing.price_of("openai", "no-such-model", 100, 10) is None
    assert pricing.price_of("nobody", "gpt-4o-mini", 100, 10) is None
    assert pricing.price_of("openai", "gpt-4o-mini", None, 10) is None
    assert not pricing.is_known("openai", "no-such-model", {})


def test_what_runs_here_is_free():
    assert pricing.price_of("offline", "keywords", 0, 0) == 0
    assert pricing.upper_bound("offline", "chart", {}, 5000, True) == 0


def test_a_server_of_ones_own_has_the_price_that_is_told_or_none():
    local = {"base_url": "http://localhost:1/v1"}
    assert pricing.price_of("openai", "gpt-4o-mini", 1000, 100, local) is None
    assert pricing.price_of("openai", "x", 1000, 100, local | {"price_in": 1, "price_out": 2.5}) == Decimal("0.00125")
    assert pricing.price_of("openai", "x", 1000, 100, local | {"price_in": 0, "price_out": 0}) == 0


def test_a_batch_costs_half():
    once, batch = (pricing.price_of("openai", "gpt-4o-mini", 10_000, 1000, batch=batch) for batch in (False, True))
    assert once is not None
    assert batch == once / 2


def test_a_price_is_never_rounded_down():
    assert pricing.price_of("gemini", "gemini-2.5-flash-lite", 1, 0, batch=True) == Decimal("0.00000005")
    assert pricing.price_of("openai", "x", 1, 0, {"price_in": 0.001, "price_out": 0}) == Decimal("0.00000001")


@pytest.mark.parametrize("text", ["hello " * 200, "🚀" * 500, "你好" * 500, "a"])
def test_a_reservation_is_above_what_any_answer_can_cost(text: str):
    ask = Prompt("", "Which?", (("up", "Rockets"), ("down", "Crashes"))).ask(text, b"x", "png")
    characters = len(ask.system + ask.prompt)
    tokens_in = characters // 3 + 2 * text.count("🚀") + 2833 + 60
    most = pricing.most_for("openai", "gpt-4o-mini", {}, ask)
    real = pricing.price_of("openai", "gpt-4o-mini", tokens_in, 500)
    assert most is not None
    assert real is not None
    assert real < most < 3 * real


def test_a_closer_look_and_a_longer_answer_reserve_more():
    bound = pricing.upper_bound
    low = bound("openai", "gpt-4o-mini", {}, 1000, True)
    assert bound("openai", "gpt-4o-mini", {"detail": "high"}, 1000, True) > low
    assert bound("openai", "gpt-4o-mini", {"max_output_tokens": 5000}, 1000, True) > low
    assert bound("openai", "gpt-4o-mini", {}, 1000, False) < low
    assert bound("openai", "no-such-model", {}, 1000, True) is None


def test_a_model_that_is_not_listed_is_taken_for_the_dearest():
    assert pricing.image_tokens("openai", "gpt-9", "low") == 3779
    assert pricing.image_tokens("openai", "gpt-4o-mini-2024-07-18", "low") == 2833
    assert pricing.image_tokens("openai", "gpt-4o-mini", "auto") == 48169


def test_it_knows_when_models_end():
    assert pricing.ends("openai", "gpt-4o-mini") == date(2027, 1, 14)
    assert pricing.ends("openai", "gpt-4o-mini-2024-07-18") == date(2027, 1, 14)
    assert pricing.ends("gemini", "gemini-2.0-flash-001") == date(2026, 6, 1)
    assert pricing.ends("gemini", "gemini-2.5-flash") == date(2026, 12, 1)
    assert pricing.ends("gemini", "gemini-2.5-flash-lite") is None
    assert pricing.ends("offline", "keywords") is None


@pytest.mark.parametrize("pair", pairs.available(), ids=lambda pair: pair.key)
def test_every_suggested_pair_can_be_made(pair):
    assert len(pair.voters) == 2
    assert len({voter.name for voter in pair.voters}) == 2
    for voter in pair.voters:
        assert PROVIDERS[voter.provider].problem_with(voter.model, voter.parameters) == ""


def test_the_suggested_models_are_priced_and_not_about_to_end_unsaid():
    cheap = next(pair for pair in pairs.available() if pair.key == "cheap")
    assert all(pricing.is_known(voter.provider, voter.model, voter.parameters) for voter in cheap.voters)
