"""A provider on this machine that counts what it is owed: it bills an answer once it is made, whoever is there to hear.

It speaks OpenAI's API, takes its time, is busy now and then, and says of each post what its number says."""

import asyncio
import json
import random
import re
import threading
from collections import Counter
from decimal import Decimal

from tests.model_server import MARK, reply

LABELS = ("bearish", "neutral", "bullish")
TOKENS_IN, TOKENS_OUT = 900, 40
PRICES = {"price_in": 0.1, "price_out": 0.4}  # dollars a million tokens
EACH = (TOKENS_IN * Decimal("0.1") + TOKENS_OUT * Decimal("0.4")) / 10**6
BUSY, BROKEN = 0.02, 0.01
MODEL = re.compile(rb'"model": *"(\w+)"')


class Provider:
    def __init__(self, seed: int) -> None:
        self.billed: Counter[tuple[str, int]] = Counter()  # by model and post
        self.dice = random.Random(seed)
        self.port = 0
        self.ready = threading.Event()
        threading.Thread(target=lambda: asyncio.run(self.serve()), daemon=True).start()
        self.ready.wait(10)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def owed(self) -> Decimal:
        return sum(self.billed.copy().values()) * EACH

    async def serve(self) -> None:
        server = await asyncio.start_server(self.talk, "127.0.0.1", 0, limit=2**24)
        self.port = server.sockets[0].getsockname()[1]
        self.ready.set()
        await server.serve_forever()

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
                body = await reader.readexactly(int(length[1])) if length else b""
                await asyncio.sleep(self.dice.uniform(0.02, 0.25))
                writer.write(self.answer(body))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def answer(self, body: bytes) -> bytes:
        chance = self.dice.random()
        if chance < BUSY:
            return reply('{"error": {"message": "Too many requests", "type": "requests"}}', "429 Too Many Requests")
        if chance < BUSY + BROKEN:
            return reply('{"error": {"message": "We are sorry"}}', "503 Service Unavailable")
        model, mark = MODEL.search(body), MARK.search(body)
        assert model
        assert mark, body[:2000]
        name, number = model[1].decode(), int(mark[1])
        self.billed[name, number] += 1
        return reply(json.dumps(completion(label_by(name, number))))


def label_by(model: str, number: int) -> str:
    """Of every four posts they differ on one."""
    return LABELS[(number + (model == "gem" and number % 4 == 0)) % 3]


def completion(label: str) -> dict[str, object]:
    said = {"text_reading": label, "image_reading": "none", "reason": "so it seems", "label": label, "confidence": 0.9}
    message = {"role": "assistant", "content": json.dumps(said), "refusal": None}
    return {
        "id": "x", "object": "chat.completion", "created": 1, "model": "m",
        "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
        "usage": {"prompt_tokens": TOKENS_IN, "completion_tokens": TOKENS_OUT,
                  "total_tokens": TOKENS_IN + TOKENS_OUT},
    }  # fmt: skip
