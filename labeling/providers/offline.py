"""Two voters that need no key and no network: one reads the words alone, one the picture alone, neither well."""

import asyncio
import json
from dataclasses import asdict

from labeling import prompt

from . import chart, keywords
from .contract import Answer, Ask, Connection, Usage
from .provider import Parameters, Provider

FREE = Usage(0, 0)
SURE_AT_MOST = 0.9


def connect(model: str, parameters: Parameters) -> Connection:
    return Keywords() if model == "keywords" else Chart()


class Keywords:
    async def ask(self, ask: Ask) -> Answer:
        meanings = {label: prompt.meaning_in(ask.prompt, label) for label in ask.labels}
        reading = keywords.read(prompt.text_in(ask.prompt), meanings)
        raw = json.dumps({"found": reading.found}, ensure_ascii=False)
        if reading.label is None:
            return abstention(reading.reason, raw)
        return Answer(
            reading.label,
            confidence=min(SURE_AT_MOST, reading.confidence),
            reason=reading.reason,
            text_reading=reading.label,
            raw=raw,
            usage=FREE,
        )

    async def close(self) -> None:
        pass


class Chart:
    async def ask(self, ask: Ask) -> Answer:
        """In a thread: decoding a picture would hold up everybody else's answers."""
        return await asyncio.to_thread(chart_vote, ask)

    async def close(self) -> None:
        pass


def chart_vote(ask: Ask) -> Answer:
    sides = keywords.sides(ask.labels)
    if not sides:
        return abstention("These labels are not about rising and falling.", "")
    if ask.image is None:
        return abstention("There is no picture to read.", "")
    try:
        seen = chart.glance(ask.image)
    except (OSError, ValueError):
        return abstention("The picture cannot be decoded.", "")
    side, confidence, reason = chart.judge(seen)
    label, raw = sides.get(side) if side else None, json.dumps(asdict(seen))
    if label is None:
        return abstention(reason, raw)
    return Answer(
        label,
        confidence=min(SURE_AT_MOST, round(confidence, 2)),
        reason=reason,
        image_reading=label,
        raw=raw,
        usage=FREE,
    )


def abstention(reason: str, raw: str) -> Answer:
    return Answer(None, "cannot tell", reason=reason, raw=raw, usage=FREE)


OFFLINE = Provider(
    name="offline",
    title="Offline",
    vision=True,
    open=connect,
    parameters={},
    models=("keywords", "chart"),
)
