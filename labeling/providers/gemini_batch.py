"""Gemini's batches, always through an uploaded file: what is sent along with the call itself is limited to 20 MB."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import gemini
from .batching import MEGABYTE, PATIENCE, Batching, Look, Reply, Stage
from .contract import Answer, Ask, Failed, Later, Stop
from .provider import Parameters

if TYPE_CHECKING:
    from google.genai import types
    from pydantic import BaseModel

STAGES: dict[str, Stage] = {
    "JOB_STATE_SUCCEEDED": "done", "JOB_STATE_PARTIALLY_SUCCEEDED": "done", "JOB_STATE_FAILED": "failed",
    "JOB_STATE_CANCELLED": "cancelled", "JOB_STATE_CANCELLING": "cancelling", "JOB_STATE_EXPIRED": "expired",
}  # fmt: skip
UNKNOWN = 2
# A single request's error bears a number of gRPC where an answer of the API bears one of HTTP.
AS_HTTP = {
    1: 499, 2: 500, 3: 400, 4: 504, 5: 404, 6: 409, 7: 403, 8: 429, 9: 400, 10: 409, 11: 400, 12: 501, 13: 500,
    14: 503, 15: 500, 16: 401,
}  # fmt: skip
NUMBERS = {
    "INVALID_ARGUMENT": 3, "DEADLINE_EXCEEDED": 4, "NOT_FOUND": 5, "PERMISSION_DENIED": 7, "RESOURCE_EXHAUSTED": 8,
    "FAILED_PRECONDITION": 9, "INTERNAL": 13, "UNAVAILABLE": 14, "UNAUTHENTICATED": 16,
}  # fmt: skip


def connect(model: str, parameters: Parameters) -> "GeminiBatches":
    opened = gemini.connect(model, {**parameters, "timeout": PATIENCE})
    assert isinstance(opened, gemini.Gemini)
    return GeminiBatches(opened, model, parameters)


class GeminiBatches:
    def __init__(self, opened: gemini.Gemini, model: str, parameters: Parameters) -> None:
        self.opened, self.model, self.parameters = opened, model, parameters
        self.api = opened.client.aio

    def line(self, key: str, ask: Ask) -> str:
        return json.dumps({"key": key, "request": body(gemini.request(self.model, self.parameters, ask))})

    async def upload(self, path: Path, mark: str) -> str:
        async with self.failing():
            file = await self.api.files.upload(file=path, config={"display_name": mark, "mime_type": "jsonl"})
            return file.name or ""

    async def create(self, file_id: str, mark: str) -> str:
        async with self.failing():
            job = await self.api.batches.create(model=self.model, src=file_id, config={"display_name": mark})
            return job.name or ""

    async def find(self, mark: str, since: datetime) -> str:
        async with self.failing():
            async for job in await self.api.batches.list(config={"page_size": 100}):
                if job.display_name == mark:
                    return job.name or ""
        return ""

    async def look(self, batch_id: str) -> Look:
        async with self.failing("the batch is gone"):
            told = look_of(await self.api.batches.get(name=batch_id))
            return replace(told, error=await self.why(batch_id)) if told.stage == "failed" else told

    async def why(self, batch_id: str) -> str:
        """Google tells why a whole batch failed, but its client leaves that out of what it returns."""
        answer = await self.opened.client._api_client.async_request("get", batch_id, {}, None)
        error = error_in(json.loads(answer.body or "{}"))
        return " ".join(str(error["message"]).split())[:160]

    async def download(self, file_id: str, path: Path) -> None:
        async with self.failing("its answers are gone"):
            await self.api.files.download(file=file_id, destination=path)

    async def remove(self, file_id: str) -> None:
        """It would vanish by itself, but only after two days."""
        async with self.failing("the file is gone"):
            await self.api.files.delete(name=file_id)

    async def cancel(self, batch_id: str) -> None:
        async with self.failing():
            await self.api.batches.cancel(name=batch_id)

    async def close(self) -> None:
        await self.opened.close()

    @asynccontextmanager
    async def failing(self, gone: str = "") -> AsyncIterator[None]:
        import httpx2
        from google.genai import errors

        try:
            yield
        except errors.APIError as error:
            if gone and error.code == 404:
                raise Failed(gone) from error
            raise gemini.failure(error, self.model) from error
        except (httpx2.HTTPError, ValueError, KeyError) as error:  # KeyError: no address to upload to
            raise Later("no answer") from error

    def read(self, line: str, ask: Ask) -> Reply:
        told = json.loads(line)
        key = str(told.get("key"))
        try:
            return Reply(key, self.answer(told, ask))
        except (Stop, Later, Failed) as error:
            return Reply(key, error=error)

    def answer(self, told: dict[str, Any], ask: Ask) -> Answer:
        from google.genai import errors, types

        if not told.get("response"):
            error = error_in(told)
            raise gemini.failure(errors.APIError(error["code"], {"error": error}), self.model)
        try:  # as the client reads it: fields that it does not know yet are left out
            response = types.GenerateContentResponse._from_response(response=told["response"], kwargs={})
        except ValueError as error:
            raise Later("not an answer of this API") from error
        return gemini.answer_to(ask, response)


def body(asked: dict[str, Any]) -> dict[str, Any]:
    """As it goes over the wire; a test holds it against what the client sends when it asks one by one."""
    from google.genai import types

    told = dumped(asked["config"])
    told.pop("automaticFunctionCalling", None)
    told["responseSchema"] = dumped(types.Schema.model_validate(told["responseSchema"]))
    return {
        "contents": [dumped(content) for content in asked["contents"]],
        "systemInstruction": {"parts": [{"text": told.pop("systemInstruction")}], "role": "user"},
        "generationConfig": told,
    }


def dumped(asked: "BaseModel") -> dict[str, Any]:
    return asked.model_dump(mode="json", by_alias=True, exclude_none=True)


def error_in(line: dict[str, Any]) -> dict[str, Any]:
    """In the words of an HTTP error: code, message and details may each be missing, and the details be bare texts,
    which is how Google's client declares them, or objects, which is how its servers send them."""
    told = line.get("error") or line.get("status")
    error = told if isinstance(told, dict) else {"message": str(told or "no answer")}
    number = number_of(error.get("code"))
    reasons = [one if isinstance(one, dict) else {"reason": str(one)} for one in error.get("details") or [] if one]
    reasons += [{"reason": name} for name, named in NUMBERS.items() if named == number]
    message = error.get("message") or next((str(one["reason"]) for one in reasons if "reason" in one), "")
    return {**error, "code": AS_HTTP.get(number, number), "message": message, "details": reasons}


def number_of(code: Any) -> int:
    """Of gRPC or HTTP, also where it is told by its name."""
    return NUMBERS.get(str(code).upper()) or (int(code) if str(code).isdecimal() else 0) or UNKNOWN


def look_of(job: "types.BatchJob") -> Look:
    file = job.dest.file_name if job.dest else None
    return Look(stage=STAGES.get(job.state.value if job.state else "", "open"), files=(file,) if file else ())


BATCHING = Batching(open=connect, requests=50_000, bytes=100 * MEGABYTE)  # of 2 GB
