"""Asks a server that speaks chat completions about posts, some at a time. No table is touched in here."""

import asyncio
import base64
import io
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from .question import TOP, Words
from .reading import Read, Token, read

if TYPE_CHECKING:
    import openai
    from openai.types.chat import ChatCompletion

KEY = "COMPATIBLE_API_KEY"  # as voters use it: a server that a project names never sees another's key
WINDOW = 64  # posts between two looks at whether somebody wants it to stop
AT_ONCE = 16
TIMEOUT = 60.0  # seconds for one answer
RETRIES = 2
MEDIA = {"jpg": "jpeg", "jpeg": "jpeg", "png": "png", "webp": "webp", "gif": "gif"}
MOST_MODELS = 8  # of a server's, in a sentence


class Silent(Exception):
    """No server answers there as one of chat completions should; the words are for whoever asked."""


@dataclass(frozen=True, slots=True)
class Post:
    position: int
    text: str
    picture: bytes | None = None
    ending: str = ""


@dataclass(frozen=True, slots=True)
class Said:
    position: int
    read: Read
    content: str = ""
    refused: str = ""  # why the server did not answer about this post


@dataclass(frozen=True)
class Server:
    url: str
    model: str
    words: Words
    labels: Sequence[str]

    def answers(self, posts: Iterable[Post]) -> Iterator[list[Said]]:
        """Window by window; between two of them nothing is under way."""
        posts = iter(posts)
        with asyncio.Runner() as runner:
            asker = Asker(self, runner.run(opened(self.url)))
            try:
                while some := list(islice(posts, WINDOW)):
                    yield runner.run(asker.ask_all(some))
            finally:
                runner.run(asker.client.close())


async def opened(url: str) -> "openai.AsyncOpenAI":
    """It goes where it was sent, and not on to where that sends it."""
    import openai

    http = openai.DefaultAsyncHttpxClient(follow_redirects=False)
    key = os.environ.get(KEY) or "none"
    return openai.AsyncOpenAI(base_url=url, api_key=key, timeout=TIMEOUT, max_retries=RETRIES, http_client=http)


class Asker:
    def __init__(self, server: Server, client: "openai.AsyncOpenAI") -> None:
        self.server, self.client = server, client
        self.top = TOP  # none, once it was seen that the server gives none
        self.heard = False

    async def ask_all(self, posts: Sequence[Post]) -> list[Said]:
        """The first post ever goes alone: where it fails, the others would all fail."""
        said = []
        if not self.heard:
            said, posts = [await self.ask(posts[0])], posts[1:]
            self.heard = True
        turns = asyncio.Semaphore(AT_ONCE)

        async def in_turn(post: Post) -> Said:
            async with turns:
                return await self.ask(post)

        asked = [asyncio.ensure_future(in_turn(post)) for post in posts]
        try:
            return [*said, *await asyncio.gather(*asked)]
        except BaseException:
            for one in asked:
                one.cancel()
            await asyncio.gather(*asked, return_exceptions=True)
            raise

    async def ask(self, post: Post) -> Said:
        import openai

        try:
            return self.said(post, await self.completed(post))
        except openai.APITimeoutError as error:
            raise Silent(f"The server at {self.server.url} does not answer: {TIMEOUT:g} seconds were too few, "
                         f"{RETRIES + 1} times.") from error  # fmt: skip
        except openai.APIConnectionError as error:
            raise Silent(f"Nothing that could be asked answers at {self.server.url}. Is it running, and is that its "
                         "address, up to /v1?") from error  # fmt: skip
        except openai.APIStatusError as error:
            return await self.refused(post, error)
        except (openai.OpenAIError, ValueError) as error:  # ValueError: no JSON
            raise Silent(self.rubbish) from error

    @property
    def rubbish(self) -> str:
        return f"What answers at {self.server.url} does not speak chat completions. The address ends with /v1, mostly."

    async def completed(self, post: Post) -> "ChatCompletion":
        import openai

        top = self.top
        picture = data_url(post) if post.picture is not None else ""
        try:
            completion: ChatCompletion = await self.client.chat.completions.create(
                **self.server.words.request(self.server.model, post.text, picture, top)
            )
            return completion
        except openai.BadRequestError as error:
            if not top or "logprob" not in error.message.casefold():
                raise
            self.top = 0
            return await self.completed(post)

    def said(self, post: Post, completion: "ChatCompletion") -> Said:
        choices = getattr(completion, "choices", None)
        content = getattr(getattr(choices[0], "message", None), "content", None) if choices else None
        if not isinstance(content, str):
            raise Silent(self.rubbish)
        told = (choices[0].logprobs and choices[0].logprobs.content) or [] if choices else []
        return Said(post.position, read(content, [token_of(one) for one in told], self.server.labels), content[:200])

    async def refused(self, post: Post, error: "openai.APIStatusError") -> Said:
        """What concerns this post alone is noted; all else ends it."""
        status, url = error.status_code, self.server.url
        if status == 404:
            raise Silent(await self.unknown()) from error
        if status in (401, 403):
            raise Silent(f"The server at {url} does not let us in ({status}): set {KEY} for the machine that asks.")
        if 300 <= status < 400:
            raise Silent(f"The server at {url} sends us elsewhere ({status}): name the address where it ends up.")
        if status == 429 or status >= 500:
            raise Silent(f"The server at {url} is in trouble ({status}): {short(error.message)}")
        return Said(post.position, Read(""), refused=f"{status}: {short(error.message)}")

    async def unknown(self) -> str:
        import openai

        try:
            models = [one.id async for one in self.client.models.list()]
        except (openai.OpenAIError, ValueError):
            return self.rubbish
        there = ", ".join(models[:MOST_MODELS]) or "none"
        return f"The server at {self.server.url} knows no model “{self.server.model}”; there are: {there}."


def token_of(told: Any) -> Token:
    others = tuple((letters(one), one.logprob) for one in told.top_logprobs or [])
    return Token(letters(told), min(0.0, told.logprob), others)


def letters(told: Any) -> bytes:
    """A token may be half of a letter; only its bytes tell it whole."""
    return bytes(told.bytes) if getattr(told, "bytes", None) else str(told.token).encode("utf-8", "surrogatepass")


def data_url(post: Post) -> str:
    """Where a picture has another mode than training saw, it is sent as training saw it: servers differ in what they
    put behind what is transparent."""
    from PIL import Image

    assert post.picture is not None
    ending, data = MEDIA.get(post.ending, "jpeg"), post.picture
    with Image.open(io.BytesIO(data)) as opened:
        if opened.mode not in ("RGB", "L") or opened.format == "GIF":
            out = io.BytesIO()
            opened.convert("RGB").save(out, "PNG")
            ending, data = "png", out.getvalue()
    return f"data:image/{ending};base64,{base64.b64encode(data).decode()}"


def short(message: str) -> str:
    return " ".join(message.split())[:200]
