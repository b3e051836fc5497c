"""What asking costs. None is an unknown price, which is not nothing; only what runs here is known to be free."""

import json
import re
import tomllib
from collections.abc import Mapping
from datetime import date
from decimal import ROUND_UP, Decimal
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from . import answers
from .providers import PROVIDERS
from .providers.contract import Ask

FREE = Decimal(0)
MILLION = 1_000_000
CENTS = Decimal("0.00000001")  # as finely as a vote's cost is kept
FRAMING = 100  # tokens that an API adds around system, prompt and schema
STEP = 100  # reservations are rounded up to so many tokens, so that few prices have to be worked out


def price_of(
    provider: str,
    model: str,
    tokens_in: int | None,
    tokens_out: int | None,
    parameters: Mapping[str, Any] | None = None,
    *,
    batch: bool = False,
) -> Decimal | None:
    """In US dollars, rounded up. `parameters` may name prices; a server of one's own has no others."""
    known = PROVIDERS.get(provider)
    if known is None or tokens_in is None or tokens_out is None:
        return None
    if not known.priced_as:
        return FREE
    price = told_price(parameters or {}, tokens_in, tokens_out)
    if price is None and not (parameters or {}).get("base_url"):
        price = listed_price(known.priced_as, model, tokens_in, tokens_out)
    if price is None:
        return None
    return (price * (known.batch_factor or 1) if batch else price).quantize(CENTS, ROUND_UP)


def told_price(parameters: Mapping[str, Any], tokens_in: int, tokens_out: int) -> Decimal | None:
    price_in, price_out = parameters.get("price_in"), parameters.get("price_out")
    if price_in is None or price_out is None:
        return None
    return (Decimal(str(price_in)) * tokens_in + Decimal(str(price_out)) * tokens_out) / MILLION


@lru_cache(maxsize=10_000)
def listed_price(provider: str, model: str, tokens_in: int, tokens_out: int) -> Decimal | None:
    """From the table inside genai-prices; its network updates are never switched on."""
    import genai_prices

    usage = genai_prices.Usage(input_tokens=tokens_in, output_tokens=tokens_out)
    try:
        return genai_prices.calc_price(usage, model, provider_id=provider).total_price
    except LookupError:
        return None


def is_known(provider: str, model: str, parameters: Mapping[str, Any]) -> bool:
    """Whether a budget can be kept with it."""
    return price_of(provider, model, 1, 1, parameters) is not None


def most_for(provider: str, model: str, parameters: Mapping[str, Any], ask: Ask) -> Decimal | None:
    """The most that this ask can cost, to be reserved before it is sent."""
    schema = json.dumps(answers.schema(ask.labels, ask.asks_incongruous), ensure_ascii=False)
    size = sum(len(part.encode("utf-8", "replace")) for part in (ask.system, ask.prompt, schema))
    return upper_bound(provider, model, parameters, size, ask.image is not None)


def upper_bound(
    provider: str, model: str, parameters: Mapping[str, Any], characters: int, has_image: bool
) -> Decimal | None:
    """Tokenizers work on bytes, so nothing has more tokens than UTF-8 bytes: pass those as `characters` to be certain.
    English has four to a token, so that this is far above the truth for text; a reservation lives for seconds only."""
    known = PROVIDERS.get(provider)
    if known is None:
        return None
    asked = known.filled(parameters)
    tokens = characters + FRAMING + (image_tokens(provider, model, asked.get("detail")) if has_image else 0)
    return price_of(provider, model, -(-tokens // STEP) * STEP, asked.get("max_output_tokens", 0), parameters)


def image_tokens(provider: str, model: str, detail: str | None) -> int:
    """A model that is not in the list is taken for the dearest of its provider."""
    listed = [entry for entry in known_models().get(provider, []) if is_version_of(model, entry["name"])]
    counts = [entry["image_tokens"] for entry in listed or known_models().get(provider, [])]
    return max((count["low" if detail == "low" else "high"] for count in counts), default=0)


def ends(provider: str, model: str) -> date | None:
    """When the provider switches the model off, as far as is known."""
    for entry in known_models().get(provider, []):
        if is_version_of(model, entry["name"]):
            day: date | None = entry.get("ends")
            return day
    return None


def is_version_of(model: str, name: str) -> bool:
    return re.fullmatch(re.escape(name) + r"(-\d[\d-]*)?", model) is not None


@cache
def known_models() -> dict[str, list[dict[str, Any]]]:
    return tomllib.loads((Path(__file__).parent / "known_models.toml").read_text(encoding="utf-8"))
