"""Collecting a board, against a server of our own and with a clock that does not tick by itself."""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from annotate.importing.fourchan_live import collect
from annotate.importing.rows import Refused, Row, Unreadable

MODIFIED = "Wed, 31 Jan 2024 13:05:00 GMT"


class Clock:
    def __init__(self) -> None:
        self.time = 100.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += seconds

    def now(self) -> float:
        return self.time


@dataclass
class Board:
    """What the server answers by path: bodies, or statuses that are given one after the other."""

    address: str
    bodies: dict[str, object] = field(default_factory=dict)
    statuses: dict[str, list[int]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    clock: Clock = field(default_factory=Clock)
    state: dict[str, str] = field(default_factory=dict)

    def collect(self, threads: int = 5, with_pictures: bool = False) -> list[Row | Refused]:
        return list(self.rows(threads, with_pictures))

    def rows(self, threads: int = 5, with_pictures: bool = False) -> Iterator[Row | Refused]:
        return collect(
            "biz", api=self.address, images=self.address, threads=threads, with_pictures=with_pictures,
            state=self.state, sleep=self.clock.sleep, now=self.clock.now,
        )  # fmt: skip


@pytest.fixture
def board():
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            board.asked.append(self.path)
            board.times.append(board.clock.time)
            status = board.statuses[self.path].pop(0) if board.statuses.get(self.path) else 200
            body = board.bodies.get(self.path)
            if body is None and status == 200:
                status = 404
            if status == 200 and self.headers["If-Modified-Since"] == MODIFIED:
                status = 304
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Last-Modified", MODIFIED)
            if status == 429:
                self.send_header("Retry-After", "30")
            self.send_header("Content-Length", str(len(content) if status == 200 else 0))
            self.end_headers()
            if status == 200:
                self.wfile.write(content)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    board = Board(f"http://127.0.0.1:{server.server_port}")
    catalog = [
        {"no": 1, "sticky": 1, "last_modified": 99},
        {"no": 10, "last_modified": 5},
        {"no": 20, "last_modified": 7},
        {"no": 30, "last_modified": 6},
    ]
    board.bodies["/biz/catalog.json"] = [{"page": 1, "threads": catalog}]
    for no in (10, 20, 30):
        posts = [{"no": no, "time": 1706706300, "resto": 0, "com": f"thread {no}", "tim": no, "ext": ".jpg"},
                 {"no": no + 1, "time": 1706706301, "resto": no, "com": "answer"}]  # fmt: skip
        board.bodies[f"/biz/thread/{no}.json"] = {"posts": posts}
        board.bodies[f"/biz/{no}.jpg"] = b"jpg"
    yield board
    server.shutdown()
    thread.join()
    server.server_close()


def ids(rows: list[Row | Refused]) -> list[str]:
    return [row.external_id for row in rows if isinstance(row, Row)]


def reasons(rows: list[Row | Refused]) -> list[str]:
    return [row.reason for row in rows if isinstance(row, Refused)]


def test_the_most_active_threads_are_collected_without_notices(board):
    rows = board.collect(threads=2)
    assert ids(rows) == ["4chan/biz/20", "4chan/biz/21", "4chan/biz/30", "4chan/biz/31"]
    assert [row.number for row in rows] == [1, 2, 3, 4]
    assert all(row.picture is None for row in rows)


def test_there_is_a_second_between_requests_pictures_included(board):
    for row in board.rows(with_pictures=True):
        if row.picture:
            assert row.picture.read() == b"jpg"
    assert len(board.asked) == 7
    assert all(later - earlier >= 1 for earlier, later in zip(board.times, board.times[1:], strict=False))


def test_pictures_asked_for_by_several_threads_keep_the_pace(board):
    pictures = [row.picture for row in board.collect(with_pictures=True) if row.picture]
    readers = [threading.Thread(target=picture.read) for picture in pictures]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    assert all(later - earlier >= 1 for earlier, later in zip(board.times, board.times[1:], strict=False))


def test_what_has_not_changed_is_not_read_again(board):
    board.collect()
    board.asked.clear()
    assert board.collect() == []
    assert board.asked == ["/biz/catalog.json"]


def test_only_changed_threads_are_read_again(board):
    board.collect()
    board.state.pop("biz/catalog/5")
    board.state["biz/20"] = "Tue, 30 Jan 2024 13:05:00 GMT"
    assert ids(board.collect()) == ["4chan/biz/20", "4chan/biz/21"]


def test_a_run_broken_off_does_not_hide_the_rest_from_the_next(board):
    rows = board.rows()
    next(rows)
    rows.close()
    assert board.state == {}
    assert len(ids(board.collect())) == 6


def test_a_thread_that_is_gone_is_refused_and_the_next_is_read(board):
    del board.bodies["/biz/thread/20.json"]
    rows = board.collect()
    assert reasons(rows) == ["thread 20 is gone from the board"]
    assert len(ids(rows)) == 4
    assert board.asked.count("/biz/thread/20.json") == 1


@pytest.mark.parametrize("body", [b"<html>", b"[1]", b'{"posts": 1}', b"[" * 100_000])
def test_a_malformed_thread_is_refused_and_asked_for_again_next_time(board, body):
    board.bodies["/biz/thread/20.json"] = body
    rows = board.collect()
    assert reasons(rows) == ["thread 20 is not what it should be: it has no list of posts"]
    assert len(ids(rows)) == 4
    assert "biz/catalog/5" not in board.state


def test_a_passing_failure_is_waited_out(board):
    board.statuses["/biz/thread/20.json"] = [500, 429]
    rows = board.collect()
    assert len(ids(rows)) == 6
    assert max(board.clock.slept) == 30


def test_a_server_that_keeps_failing_is_left_alone(board):
    board.statuses["/biz/thread/30.json"] = [503] * 9
    rows = board.collect()
    assert ids(rows) == ["4chan/biz/20", "4chan/biz/21"]
    assert reasons(rows) == [
        "thread 30 and those after it were not read: the server failed 3 times in a row; try again later"
    ]
    assert board.asked.count("/biz/thread/30.json") == 3
    assert "/biz/thread/10.json" not in board.asked
    assert "biz/catalog/5" not in board.state


def test_a_picture_that_is_gone_says_so(board):
    del board.bodies["/biz/20.jpg"]
    rows = board.collect(threads=1, with_pictures=True)
    with pytest.raises(Unreadable, match="gone"):
        rows[0].picture.read()


@pytest.mark.parametrize("body", [b"nonsense", {"page": 1}])
def test_a_catalogue_that_cannot_be_read_is_an_error(board, body):
    board.bodies["/biz/catalog.json"] = body
    with pytest.raises(Unreadable, match="catalogue"):
        board.collect()


def test_a_board_that_does_not_exist_is_an_error(board):
    del board.bodies["/biz/catalog.json"]
    with pytest.raises(Unreadable, match="no such board"):
        board.collect()


def test_no_answer_at_all_is_an_error(board):
    board.address = "http://127.0.0.1:9"
    with pytest.raises(Unreadable, match="cannot be read"):
        board.collect()


def test_a_board_name_cannot_lead_elsewhere():
    with pytest.raises(Unreadable, match="board"):
        list(collect("../x", api="", images="", threads=1, with_pictures=False, state={}))
