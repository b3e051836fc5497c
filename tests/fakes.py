"""A server that answers as it was told to: for what no mock of the providers can be made to say."""

import json
import threading
import time
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Server:
    def __init__(self) -> None:
        self.replies: deque[tuple[int, dict[str, str], bytes, float]] = deque()
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), handler_for(self))
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http.server_port}"

    def says(self, body: Any, status: int = 200, after: float = 0, **headers: str) -> None:
        held = body if isinstance(body, bytes) else json.dumps(body).encode()
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        self.replies.append((status, {"content-type": "application/json"} | given, held, after))

    def __enter__(self) -> "Server":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.http.shutdown()
        self.http.server_close()


def handler_for(server: Server) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sent = self.rfile.read(int(self.headers["content-length"]))
            server.requests.append(json.loads(sent) | {"path": self.path})
            server.headers.append({name.lower(): value for name, value in self.headers.items()})
            status, headers, body, after = server.replies.popleft()
            time.sleep(after)
            self.send_response(status)
            for name, value in ({"content-length": str(len(body))} | headers).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    return Handler


def openai_answer(content: str | None, finish: str = "stop", refusal: str | None = None, logprobs: Any = None) -> Any:
    message = {"role": "assistant", "content": content, "refusal": refusal}
    return {
        "id": "x",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "message": message, "finish_reason": finish, "logprobs": logprobs}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120},
    }


def openai_error(message: str, code: str | None = None, type: str | None = None) -> Any:
    return {"error": {"message": message, "code": code, "type": type, "param": None}}


def gemini_answer(text: str, finish: str = "STOP", thoughts: int = 0, **more: Any) -> Any:
    candidate = {"content": {"role": "model", "parts": [{"text": text}]}, "finishReason": finish, "index": 0} | more
    used = {"promptTokenCount": 100, "candidatesTokenCount": 20, "thoughtsTokenCount": thoughts}
    return {"candidates": [candidate], "usageMetadata": used}


def gemini_error(code: int, status: str, message: str, *details: Any) -> Any:
    return {"error": {"code": code, "status": status, "message": message, "details": list(details)}}
