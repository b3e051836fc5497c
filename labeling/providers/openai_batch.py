"""OpenAI's batches. A server that speaks OpenAI's language seldom speaks this part of it."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import openai_chat
from .batching import MEGABYTE, PATIENCE, Batching, Look, Reply, Stage
from .contract import Answer, Ask, Failed, Later, Stop
from .provider import Parameters

if TYPE_CHECKING:
    import openai
    from openai.types import Batch

STAGES: dict[str, Stage] = {
    "completed": "done", "expired": "expired", "failed": "failed", "cancelled": "cancelled", "cancelling": "cancelling",
}  # fmt: skip
# A single request that may be tried again.
LATER = {
    "batch_expired": "not answered in time", "batch_cancelled": "the batch was cancelled",
    "request_timeout": "no answer in time",
}  # fmt: skip
QUEUE_FULL = "token_limit_exceeded"


def connect(model: str, parameters: Parameters) -> "OpenAIBatches":
    chat = openai_chat.connect(model, {**parameters, "timeout": PATIENCE})
    assert isinstance(chat, openai_chat.Chat)
    return OpenAIBatches(chat.client, model, parameters)


class OpenAIBatches:
    def __init__(self, client: "openai.AsyncOpenAI", model: str, parameters: Parameters) -> None:
        self.client, self.model, self.parameters = client, model, parameters

    def line(self, key: str, ask: Ask) -> str:
        body = openai_chat.request(self.model, self.parameters, ask)
        body |= body.pop("extra_body", {})
        return json.dumps({"custom_id": key, "method": "POST", "url": "/v1/chat/completions", "body": body})

    async def upload(self, path: Path, mark: str) -> str:
        async with self.failing():
            return (await self.client.files.create(file=path, purpose="batch")).id

    async def create(self, file_id: str, mark: str) -> str:
        async with self.failing():
            batch = await self.client.batches.create(
                input_file_id=file_id, endpoint="/v1/chat/completions", completion_window="24h",
                metadata={"batch": mark},
            )  # fmt: skip
            return batch.id

    async def find(self, mark: str, since: datetime) -> str:
        """They are listed latest first."""
        async with self.failing():
            async for batch in self.client.batches.list(limit=100):
                if (batch.metadata or {}).get("batch") == mark:
                    return batch.id
                if batch.created_at < since.timestamp():
                    break
        return ""

    async def look(self, batch_id: str) -> Look:
        async with self.failing("the batch is gone"):
            return look_of(await self.client.batches.retrieve(batch_id))

    async def download(self, file_id: str, path: Path) -> None:
        async with (
            self.failing("its answers are gone"),
            self.client.files.with_streaming_response.content(file_id) as content,
        ):
            await content.stream_to_file(path)

    async def remove(self, file_id: str) -> None:
        """Files that were uploaded stay until somebody takes them away."""
        async with self.failing("the file is gone"):
            await self.client.files.delete(file_id)

    async def cancel(self, batch_id: str) -> None:
        async with self.failing():
            await self.client.batches.cancel(batch_id)

    async def close(self) -> None:
        await self.client.close()

    @asynccontextmanager
    async def failing(self, gone: str = "") -> AsyncIterator[None]:
        import httpx2
        import openai

        try:
            yield
        except openai.APIStatusError as error:
            if gone and error.status_code == 404:
                raise Failed(gone) from error
            raise self.refusal(error) from error
        except (openai.OpenAIError, httpx2.HTTPError, ValueError) as error:
            raise Later("no answer") from error

    def refusal(self, error: "openai.APIStatusError") -> Exception:
        try:
            openai_chat.refused(error, self.model, str(self.client.base_url))
        except (Stop, Later, Failed) as failure:
            return failure
        return Failed(openai_chat.short(error.message))

    def read(self, line: str, ask: Ask) -> Reply:
        told = json.loads(line)
        key, response = str(told.get("custom_id")), told.get("response") or {}
        try:
            return Reply(key, self.answer(response, told.get("error") or {}, ask))
        except (Stop, Later, Failed) as error:
            return Reply(key, error=error)

    def answer(self, response: dict[str, Any], error: dict[str, Any], ask: Ask) -> Answer:
        from openai.types.chat import ChatCompletion

        body = response.get("body") or {}
        if response.get("status_code") == 200:
            return openai_chat.answer_to(ask, ChatCompletion.construct(**body))
        if not response:
            code = str(error.get("code") or "no answer")
            raise Later(LATER[code]) if code in LATER else Failed(openai_chat.short(str(error.get("message") or code)))
        return openai_chat.refused(as_raised(response), self.model, str(self.client.base_url))


def as_raised(response: dict[str, Any]) -> "openai.APIStatusError":
    """The error that the client would have raised, had it been asked one by one."""
    import httpx2
    import openai

    body = response.get("body") or {}
    error = body.get("error", body) if isinstance(body, dict) else {}
    request = httpx2.Request("POST", "https://api.openai.com/v1/chat/completions")
    held = httpx2.Response(int(response.get("status_code") or 500), request=request)
    return openai.APIStatusError(str(error.get("message") or "no message"), response=held, body=error)


def look_of(batch: "Batch") -> Look:
    errors = (batch.errors and batch.errors.data) or []
    return Look(
        stage=STAGES.get(batch.status, "open"),
        files=tuple(name for name in (batch.output_file_id, batch.error_file_id) if name),
        error=openai_chat.short(errors[0].message or errors[0].code or "") if errors else "",
        queue_full=any(error.code == QUEUE_FULL for error in errors),
    )


BATCHING = Batching(open=connect, requests=50_000, bytes=190 * MEGABYTE)  # of 200 MB
