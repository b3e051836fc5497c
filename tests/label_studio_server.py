"""As much of Label Studio's API as we use, in memory, and the faults it may have. The real one is asked in
tests/integrations, which shows that this one answers alike."""

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

TOKEN = "a-token-that-nobody-may-see"
Json = dict[str, Any]


class Studio:
    def __init__(self) -> None:
        self.users: list[Json] = [
            {"id": 1, "email": "ann@example.org", "first_name": "Ann", "last_name": "Lee", "username": "ann"}
        ]
        self.projects: dict[int, Json] = {}
        self.tasks: dict[int, Json] = {}
        self.files: dict[int, Json] = {}
        self.asked: list[str] = []
        self.fault: tuple[str, int, str, dict[str, str]] | None = None  # where, and what comes instead
        self.lost = ""  # where the answer gets lost on its way, though what was asked is done
        self.numbers = iter(range(1, 1_000_000))

    # What people do there
    def sign_up(self, email: str) -> int:
        self.users.append({"id": len(self.users) + 1, "email": email, "first_name": "", "last_name": ""})
        return len(self.users)

    def annotate(self, task: int, who: int, label: str, **more: Any) -> Json:
        choice = {"from_name": "label", "to_name": "post", "type": "choices", "value": {"choices": [label]}}
        return self.add(task, who, [choice, *more.pop("besides", [])], **more)

    def skip(self, task: int, who: int) -> Json:
        return self.add(task, who, [], was_cancelled=True)

    def add(self, task: int, who: int, result: list[Json], **more: Any) -> Json:
        made = {
            "id": next(self.numbers),
            "completed_by": who,
            "result": result,
            "was_cancelled": False,
            "lead_time": 4.0,
        }
        self.tasks[task]["annotations"].append(made | more)
        return self.tasks[task]["annotations"][-1]

    # What its API answers
    def answer(self, method: str, path: str, query: Json, body: Any) -> tuple[int, Any]:
        for pattern, does in self.routes(method).items():
            if found := re.fullmatch(pattern, path):
                return does(*map(int, found.groups()), query=query, body=body)
        return 404, {"detail": "Not found."}

    def routes(self, method: str) -> dict[str, Any]:
        return {
            "GET": {
                "/api/users/": lambda **_: (200, self.users),
                "/api/projects/": self.find_projects,
                r"/api/projects/(\d+)/": self.see_project,
                r"/api/projects/(\d+)/file-uploads": self.see_files,
                "/api/tasks/": self.page_of_tasks,
                r"/api/tasks/(\d+)/": lambda n, **_: (200, self.tasks[n]) if n in self.tasks else missing(),
            },
            "POST": {"/api/projects/": self.make_project, r"/api/projects/(\d+)/import": self.take},
            "PATCH": {r"/api/projects/(\d+)/": self.change_project},
        }[method]

    def find_projects(self, query: Json, body: Any) -> tuple[int, Any]:
        found = [one for one in self.projects.values() if one["title"] == query.get("title", one["title"])]
        return 200, {"count": len(found), "next": None, "previous": None, "results": found}

    def make_project(self, query: Json, body: Any) -> tuple[int, Any]:
        number = next(self.numbers)
        self.projects[number] = body | {"id": number}
        return 201, self.projects[number]

    def see_project(self, number: int, query: Json, body: Any) -> tuple[int, Any]:
        return (200, self.projects[number]) if number in self.projects else missing()

    def change_project(self, number: int, query: Json, body: Any) -> tuple[int, Any]:
        self.projects[number] |= body
        return 200, self.projects[number]

    def take(self, number: int, query: Json, body: Any) -> tuple[int, Any]:
        if number not in self.projects:
            return missing()
        if isinstance(body, bytes):
            names = re.findall(rb'filename="([^"]+)"', body)
            ids = [self.keep_file(number, name.decode()) for name in names]
            return 201, {"task_count": len(ids), "file_upload_ids": ids}
        ids = [next(self.numbers) for _ in body]
        for pk, task in zip(ids, body, strict=True):
            self.tasks[pk] = {"predictions": [], "annotations": [], "meta": {}} | task | {"id": pk, "project": number}
        return 201, {"task_count": len(ids), "task_ids": ids, "file_upload_ids": []}

    def keep_file(self, number: int, name: str) -> int:
        pk = next(self.numbers)
        self.files[pk] = {"id": pk, "file": f"upload/{number}/{pk:08x}-{name}"}
        return pk

    def see_files(self, number: int, query: Json, body: Any) -> tuple[int, Any]:
        return 200, [self.files[pk] for pk in json.loads(query["ids"])]

    def page_of_tasks(self, query: Json, body: Any) -> tuple[int, Any]:
        if int(query["project"]) not in self.projects:
            return missing()
        mine = [task for task in self.tasks.values() if task["project"] == int(query["project"])]
        first, size = (int(query["page"]) - 1) * int(query["page_size"]), int(query["page_size"])
        if first and first >= len(mine):
            return 404, {"detail": "Invalid page."}
        return 200, {"total": len(mine), "tasks": mine[first : first + size]}


def missing() -> tuple[int, Json]:
    return 404, {"detail": "No Project matches the given query."}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    studio: Studio

    def handle_one(self) -> None:
        split = urlsplit(self.path)
        self.studio.asked.append(f"{self.command} {self.path}")
        raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        is_json = self.headers.get("Content-Type", "").startswith("application/json")
        fault = self.studio.fault
        if fault and fault[0] in f"{self.command} {self.path}":
            return self.send(fault[1], fault[2].encode(), fault[3])
        if self.headers.get("Authorization") != f"Token {TOKEN}":
            return self.send(401, b'{"detail": "Invalid token."}')
        query = {name: values[0] for name, values in parse_qs(split.query).items()}
        status, body = self.studio.answer(self.command, split.path, query, json.loads(raw) if is_json and raw else raw)
        if self.studio.lost and self.studio.lost in self.path:
            return self.send(504, b"<html>Gateway time-out</html>", {"Content-Type": "text/html"})
        return self.send(status, json.dumps(body).encode())

    do_GET = do_POST = do_PATCH = handle_one

    def send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in ({"Content-Type": "application/json"} | (headers or {})).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Quiet."""


class Quiet(ThreadingHTTPServer):
    def handle_error(self, *_: Any) -> None:
        """Whoever asked did not wait for the answer."""


@contextmanager
def serving(studio: Studio) -> Iterator[str]:
    server = Quiet(("127.0.0.1", 0), type("Bound", (Handler,), {"studio": studio}))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
