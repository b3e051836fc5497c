"""People at the review screen, each with a session, doing what the page's scripts do: several in one process."""

import asyncio
import json
import random
import time
import uuid
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

READ_IN = (2.0, 4.0)  # seconds that a person looks at a post
RENEWED_EVERY = 60.0
SEES_VOTES, TAKES_BACK = 0.1, 0.03


@dataclass
class Heard:
    """By kind of request, how long each took; and what went wrong, in words."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    errors: list[str] = field(default_factory=list)
    gone: int = 0  # posts that went to somebody else meanwhile

    def add(self, other: "Heard") -> None:
        for kind, times in other.seconds.items():
            self.seconds[kind] += times
        self.errors += other.errors
        self.gone += other.gone


class Wire:
    """One connection, kept alive."""

    def __init__(self, port: int, headers: dict[str, str], heard: Heard) -> None:
        self.port, self.heard = port, heard
        self.headers = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self.reader: asyncio.StreamReader | None = None
        self.writer: asyncio.StreamWriter | None = None

    async def ask(self, kind: str, method: str, path: str, body: bytes = b"", form: str = "application/json") -> bytes:
        began = time.perf_counter()
        try:
            status, answer = await self.exchange(method, path, body, form)
        except (OSError, asyncio.IncompleteReadError) as error:
            self.writer = None
            self.heard.errors.append(f"{kind}: {type(error).__name__}")
            return b""
        self.heard.seconds[kind].append(time.perf_counter() - began)
        if status == 409:
            self.heard.gone += 1
        elif status >= 400:
            self.heard.errors.append(f"{kind}: {status} {answer[:200]!r}")
            return b""
        return answer

    async def exchange(self, method: str, path: str, body: bytes, form: str) -> tuple[int, bytes]:
        if self.writer is None:
            self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port, limit=2**22)
        assert self.reader
        head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\n{self.headers}"
        head += f"Content-Type: {form}\r\nContent-Length: {len(body)}\r\n\r\n"
        self.writer.write(head.encode() + body)
        told = (await self.reader.readuntil(b"\r\n\r\n")).lower()
        status = int(told[9:12])
        if b"transfer-encoding: chunked" in told:
            return status, await self.chunks(self.reader)
        length = [line[15:] for line in told.split(b"\r\n") if line.startswith(b"content-length:")]
        return status, await self.reader.readexactly(int(length[0])) if length else b""

    async def chunks(self, reader: asyncio.StreamReader) -> bytes:
        got = b""
        while size := int((await reader.readline()).split(b";")[0], 16):
            got += await reader.readexactly(size)
            await reader.readline()
        await reader.readline()
        return got

    async def send(self, kind: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = await self.ask(kind, "POST", path, json.dumps(body).encode())
        return json.loads(answer) if answer[:1] == b"{" else {}


# --- Ways to review


async def at_the_screen(wire: Wire, world: Any, person: int, until: float, paced: bool) -> None:
    dice, tab, seen, room = random.Random(person), f"tab-{person}", set[str](), f"/p/{world.slug}/review"
    if paced:
        await asyncio.sleep(dice.uniform(0, READ_IN[1]))  # they do not sit down in the same instant
    await wire.ask("page", "GET", room)
    told = await wire.send("fill", f"{room}/fill", {"tab": tab, "holding": []})
    renewed = time.monotonic()
    while time.monotonic() < until:
        for card in told.get("cards", []):
            url = (card.get("image") or {}).get("url", "")
            if url and url not in seen:
                seen.add(url)  # a browser keeps it
                await wire.ask("picture", "GET", url)
        held = told.get("held", [])
        if not held:
            told = await wire.send("fill", f"{room}/fill", {"tab": tab, "holding": []})
            await asyncio.sleep(0.2)
            continue
        if paced:
            await asyncio.sleep(dice.uniform(*READ_IN))
        if dice.random() < SEES_VOTES:
            await wire.send("votes", f"{room}/votes", {"tab": tab, "pk": held[0]})
        key = uuid.uuid4().hex
        answer = {"tab": tab, "pk": held[0], "holding": held[1:], "label": dice.choice(world.labels), "key": key,
                  "seconds": 2.5}  # fmt: skip
        told = await wire.send("decide", f"{room}/decide", answer)
        if dice.random() < TAKES_BACK:
            await wire.send("undo", f"{room}/undo", {"tab": tab, "key": key})
            told = await wire.send("fill", f"{room}/fill", {"tab": tab, "holding": []})
        if time.monotonic() - renewed > RENEWED_EVERY:
            await wire.send("renew", f"{room}/renew", {"tab": tab, "holding": told.get("held", [])})
            renewed = time.monotonic()
    left = ",".join(str(pk) for pk in told.get("held", []))
    await wire.ask(
        "leave", "POST", f"{room}/release", f"tab={tab}&pks={left}".encode(), "application/x-www-form-urlencoded"
    )


async def at_the_floor(wire: Wire, world: Any, person: int, until: float, paced: bool) -> None:
    """The bare site of tests/bench/bare_queue.py: a claim in one statement, an answer in one transaction."""
    while time.monotonic() < until:
        card = await wire.send("next", "/next", {"project": world.project})
        if not card:
            return
        answer = {"project": world.project, "id": card["id"], "key": uuid.uuid4().hex, "label": world.labels[0]}
        await wire.send("decide", "/decide", answer)


async def through_the_pages(wire: Wire, addresses: list[str], person: int, requests: int) -> None:
    dice = random.Random(person)
    for _ in range(requests):
        await wire.ask("page", "GET", dice.choice(addresses))


# --- One process of them


def review(port: int, world: Any, people: dict[int, dict[str, str]], seconds: float, way: str, paced: bool) -> Heard:
    """`people` are numbers, and the headers by which each is known."""
    work = {"screen": at_the_screen, "floor": at_the_floor}[way]
    until = time.monotonic() + seconds

    async def everybody() -> Heard:
        heard = Heard()
        await asyncio.gather(
            *(work(Wire(port, headers, heard), world, n, until, paced) for n, headers in people.items())
        )
        return heard

    return asyncio.run(everybody())


def read(port: int, addresses: list[str], people: dict[int, dict[str, str]], requests: int) -> Heard:
    async def everybody() -> Heard:
        heard = Heard()
        each = requests // len(people)
        await asyncio.gather(
            *(through_the_pages(Wire(port, headers, heard), addresses, n, each) for n, headers in people.items())
        )
        return heard

    return asyncio.run(everybody())
