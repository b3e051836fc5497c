"""Both providers' batch APIs on this machine: what was sent lies here, and comes back as the test says."""

import json
import random
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import Any

from tests.fakes import gemini_answer, openai_answer, openai_error

VOTE = json.dumps({"text_reading": "bullish", "image_reading": "none", "reason": "", "label": "bullish",
                   "confidence": 0.9})  # fmt: skip
GEMINI_STATES = {"completed": "SUCCEEDED", "in_progress": "RUNNING"}


@dataclass
class Job:
    number: int
    mark: str
    requests: list[dict[str, Any]]
    stage: str = "in_progress"
    error: dict[str, Any] = field(default_factory=dict)
    output: list[dict[str, Any]] = field(default_factory=list)
    errors: list[dict[str, Any]] = field(default_factory=list)
    kept: dict[bytes, str] = field(default_factory=dict)

    @property
    def keys(self) -> list[str]:
        return [request.get("custom_id") or request["key"] for request in self.requests]

    def end(self, stage: str = "completed", output: Any = (), errors: Any = ()) -> None:
        """In any order but the one it was asked in."""
        self.stage, self.output, self.errors = stage, list(output), list(errors)
        random.Random(7).shuffle(self.output)


def openai_line(key: str, body: Any = None, status: int = 200) -> dict[str, Any]:
    response = {"status_code": status, "request_id": "r", "body": body or openai_answer(VOTE)}
    return {"id": "x", "custom_id": key, "response": response, "error": None}


def openai_error_line(key: str, code: str) -> dict[str, Any]:
    return {"id": "x", "custom_id": key, "response": None, "error": {"code": code, "message": f"It was {code}."}}


def openai_refused_line(key: str, status: int, message: str, code: str | None = None) -> dict[str, Any]:
    return openai_line(key, openai_error(message, code), status)


def gemini_line(key: str, response: Any = None) -> dict[str, Any]:
    return {"key": key, "response": response or gemini_answer(VOTE)}


def gemini_error_line(key: str, code: int, message: str) -> dict[str, Any]:
    return {"key": key, "error": {"code": code, "message": message}}


class BatchServer:
    def __init__(self) -> None:
        self.jobs: list[Job] = []
        self.files: dict[str, bytes] = {}
        self.numbers = count(1)
        self.cancelled: list[int] = []
        self.deleted: list[str] = []
        self.piece = b""
        self.calls: list[str] = []
        self.fault: Callable[[str, bool], int] = lambda call, before: 0  # a status, or -1: hang up
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), handler_for(self))
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http.server_port}"

    def __enter__(self) -> "BatchServer":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.http.shutdown()
        self.http.server_close()

    def keep(self, content: bytes) -> str:
        name = f"f{next(self.numbers)}"
        self.files[name] = content
        return name

    def create(self, file: str, mark: str) -> Job:
        lines = [json.loads(line) for line in self.files[file].splitlines()]
        self.jobs.append(Job(len(self.jobs) + 1, mark, lines))
        return self.jobs[-1]

    def answers(self, job: Job, lines: list[dict[str, Any]]) -> str | None:
        """One file, however often it is asked for."""
        told = "".join(json.dumps(line) + "\n" for line in lines).encode()
        known = job.kept.get(told)
        if told and not known:
            known = job.kept[told] = self.keep(told)
        return known

    def as_openai(self, job: Job) -> Any:
        return {
            "id": f"batch_{job.number}", "object": "batch", "endpoint": "/v1/chat/completions", "status": job.stage,
            "completion_window": "24h", "created_at": 4_000_000_000, "input_file_id": "x",
            "metadata": {"batch": job.mark}, "output_file_id": self.answers(job, job.output),
            "error_file_id": self.answers(job, job.errors), "errors": {"data": [job.error]} if job.error else None,
        }  # fmt: skip

    def as_gemini(self, job: Job) -> Any:
        state = f"BATCH_STATE_{GEMINI_STATES.get(job.stage, job.stage.upper())}"
        file = self.answers(job, job.output + job.errors)
        output = {"output": {"responsesFile": f"files/{file}"}} if file else {}
        told = {"name": f"batches/{job.number}", "metadata": {"displayName": job.mark, "state": state} | output}
        return told | ({"error": job.error} if job.error else {})

    def cancel(self, number: int) -> Job:
        self.cancelled.append(number)
        self.jobs[number - 1].stage = "cancelled"
        return self.jobs[number - 1]

    def delete(self, name: str) -> Any:
        del self.files[name]
        self.deleted.append(name)
        return {"id": name, "object": "file", "deleted": True}

    def reply(self, call: str, body: bytes, command: str = "") -> tuple[Any, dict[str, str]]:
        if call.startswith("POST /v1/files"):
            content = body.split(b"application/", 1)[1].split(b"\r\n\r\n", 1)[1].rsplit(b"\r\n--", 1)[0]
            return {"id": self.keep(content), "object": "file", "bytes": 1, "created_at": 1, "filename": "x",
                    "purpose": "batch", "status": "processed"}, {}  # fmt: skip
        if call == "POST /v1/batches":
            told = json.loads(body)
            return self.as_openai(self.create(told["input_file_id"], told["metadata"]["batch"])), {}
        if call == "GET /v1/batches":
            return {"object": "list", "data": [self.as_openai(job) for job in self.jobs[::-1]], "has_more": False}, {}
        if found := re.fullmatch(r"POST /v1/batches/batch_(\d+)/cancel", call):
            return self.as_openai(self.cancel(int(found[1]))), {}
        if found := re.fullmatch(r"GET /v1/batches/batch_(\d+)", call):
            return self.as_openai(self.jobs[int(found[1]) - 1]), {}
        if found := re.fullmatch(r"GET /v1/files/(\w+)/content|GET /v1beta/files/(\w+):download", call):
            return self.files[found[1] or found[2]], {}
        if found := re.fullmatch(r"DELETE /v1/files/(\w+)|DELETE /v1beta/files/(\w+)", call):
            return self.delete(found[1] or found[2]), {}
        return self.reply_as_gemini(call, body, command)

    def reply_as_gemini(self, call: str, body: bytes, command: str) -> tuple[Any, dict[str, str]]:
        if call == "POST /upload/v1beta/files":
            return {}, {"X-Goog-Upload-URL": f"{self.url}/receive"}
        if call == "POST /receive":  # a large file comes in pieces
            self.piece += body
            if "finalize" not in command:
                return {}, {"X-Goog-Upload-Status": "active"}
            whole, self.piece = self.piece, b""
            return {"file": {"name": f"files/{self.keep(whole)}"}}, {"X-Goog-Upload-Status": "final"}
        if call.endswith(":batchGenerateContent"):
            told = json.loads(body)["batch"]
            return self.as_gemini(self.create(told["inputConfig"]["fileName"][6:], told["displayName"])), {}
        if call == "GET /v1beta/batches":
            return {"operations": [self.as_gemini(job) for job in self.jobs]}, {}
        if found := re.fullmatch(r"POST /v1beta/batches/(\d+):cancel", call):
            self.cancel(int(found[1]))
            return {}, {}
        if found := re.fullmatch(r"GET /v1beta/batches/(\d+)", call):
            return self.as_gemini(self.jobs[int(found[1]) - 1]), {}
        raise AssertionError(call)


def handler_for(server: BatchServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0)) if self.command == "POST" else b""
            call = f"{self.command} {self.path.partition('?')[0]}"
            server.calls.append(call)
            status, told, headers = server.fault(call, True), None, {}
            if not status:
                told, headers = server.reply(call, body, self.headers.get("x-goog-upload-command") or "")
                status = server.fault(call, False) or 200
            if status == -1:
                self.close_connection = True
                self.connection.close()
                return
            held = told if isinstance(told, bytes) else json.dumps(told or openai_error("no")).encode()
            self.send_response(status)
            sent = {"content-length": str(len(held)), "content-type": "application/json"} | headers
            for name, value in sent.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(held)

        do_GET = do_POST = do_DELETE = answer

        def log_message(self, *_: object) -> None:
            pass

    return Handler
