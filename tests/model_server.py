"""A language model's server for benchmarks and faults: both APIs, a fixed delay, and a log of what it was asked.

    python -m tests.model_server PORT DELAY_SECONDS [LOG]

It does as little as a server can, so that what is measured is the client. What llmock can do is tested with llmock.
"""

import asyncio
import json
import re
import sys
from typing import TextIO

ANSWER = json.dumps(
    {
        "text_reading": "bullish", "image_reading": "none", "reason": "to the moon",
        "label": "bullish", "confidence": 0.9,
    }
)  # fmt: skip
CHAT = json.dumps(
    {
        "id": "x", "object": "chat.completion", "created": 1, "model": "m",
        "choices": [
            {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": ANSWER, "refusal": None}}
        ],
        "usage": {"prompt_tokens": 900, "completion_tokens": 40, "total_tokens": 940},
    }
)  # fmt: skip
GEMINI = json.dumps(
    {
        "candidates": [{"finishReason": "STOP", "content": {"role": "model", "parts": [{"text": ANSWER}]}}],
        "usageMetadata": {"promptTokenCount": 900, "candidatesTokenCount": 40, "totalTokenCount": 940},
    }
)  # fmt: skip
MARK = re.compile(rb"#(\d+)#")  # posts under test carry their number in their words


def reply(body: str) -> bytes:
    data = body.encode()
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(data) + data


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay: float, log: TextIO | None) -> None:
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            length = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
            body = await reader.readexactly(int(length[1])) if length else b""
            if log and (mark := MARK.search(body)):
                log.write(mark[1].decode() + "\n")
            await asyncio.sleep(delay)
            writer.write(reply(GEMINI if b"generateContent" in head else CHAT))
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def main() -> None:
    port, delay = int(sys.argv[1]), float(sys.argv[2])
    log = open(sys.argv[3], "a", buffering=1) if len(sys.argv) > 3 else None  # noqa: SIM115
    server = await asyncio.start_server(lambda r, w: serve(r, w, delay, log), "127.0.0.1", port, limit=2**24)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
