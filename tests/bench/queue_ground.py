"""A queue to review from, as large as asked for, and a client that costs little itself."""

import json
import socket
from dataclasses import dataclass
from typing import Any

from tests.bench import ground

PORT = 8795
CROWD = 32

FILL = """
INSERT INTO annotate_post (project_id, external_id, text, source, at, meta, state, label_id, label_source,
    holdout, vote_count, content_hash, created)
SELECT %(project)s, 'p' || n, 'to the moon, or not, who knows: the market does what it does, again and again ' || n,
    'made', timestamptz '2024-01-01' + n * interval '30 seconds', '{}',
    CASE WHEN n %% 20 < 3 THEN 'contested' ELSE 'settled' END,
    CASE WHEN n %% 20 < 3 THEN NULL ELSE (%(labels)s::bigint[])[1 + n %% 3] END,
    CASE WHEN n %% 20 < 3 THEN '' ELSE 'consensus' END,
    FALSE, 2, md5(n::text), now()
FROM generate_series(1, %(posts)s) AS n
"""
VOTES = """
INSERT INTO annotate_vote (post_id, voter_id, label_id, confidence, reason, text_reading, image_reading, raw, created)
SELECT id, %(voter)s, (%(labels)s::bigint[])[1 + (id + %(turn)s) %% 3], 0.8, 'it says so', '', '', '', now()
FROM annotate_post WHERE project_id = %(project)s AND state = 'contested'
"""
# One in ten contested posts wants two people; of the settled, 2% are audited.
OPEN = """
INSERT INTO annotate_disagreement (project_id, post_id, why, inclusion, opened, stream, rank, wanted, answers, passed,
    tab, votes_shown, instead, was_state, was_source)
SELECT project_id, id, CASE WHEN label_id IS NULL THEN 'split' ELSE 'audit' END,
    CASE WHEN label_id IS NULL THEN NULL ELSE 0.02 END, now(), CASE WHEN label_id IS NULL THEN 1 ELSE 2 END,
    random(), CASE WHEN label_id IS NULL AND id %% 10 > 0 THEN 1 ELSE 2 END, 0, '{}', '', FALSE, '', '', ''
FROM annotate_post WHERE project_id = %(project)s AND (label_id IS NULL OR id %% 50 = 1)
"""
# As if nobody had ever answered, so that each way of reviewing finds the same queue.
REOPEN = """
WITH touched AS (
  UPDATE annotate_disagreement AS d SET closed = NULL, passed = '{}', answers = 0, label_id = NULL, instead = '',
    holder_id = NULL, tab = '', held_since = NULL, held_until = NULL, was_state = '', was_source = '',
    was_label_id = NULL, stream = CASE d.why WHEN 'audit' THEN 2 ELSE 1 END
  FROM annotate_disagreement AS old
  WHERE old.id = d.id AND (d.closed IS NOT NULL OR d.holder_id IS NOT NULL OR d.answers > 0 OR d.passed <> '{}')
  RETURNING d.post_id, d.why, old.was_label_id
)
UPDATE annotate_post AS post
SET state = CASE why WHEN 'audit' THEN 'settled' ELSE 'contested' END,
  label_id = CASE why WHEN 'audit' THEN coalesce(was_label_id, label_id) END,
  label_source = CASE why WHEN 'audit' THEN 'consensus' ELSE '' END
FROM touched WHERE touched.post_id = post.id
"""


@dataclass
class World:
    project: int
    slug: str
    labels: dict[int, str]
    sessions: list[dict[str, str]]  # the headers by which each is known
    tokens: list[dict[str, str]]


class Wire:
    """One connection, kept alive."""

    def __init__(self, headers: dict[str, str]) -> None:
        self.headers = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self.socket: socket.socket | None = None

    def post(self, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if not self.socket:
            self.socket = socket.create_connection(("127.0.0.1", PORT), timeout=60)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        data = json.dumps(body).encode()
        head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{PORT}\r\nContent-Type: application/json\r\n"
        self.socket.sendall(f"{head}Content-Length: {len(data)}\r\n{self.headers}\r\n".encode() + data)
        return self.read(self.socket)

    def read(self, wire: socket.socket) -> tuple[int, dict[str, Any]]:
        got = b""
        while b"\r\n\r\n" not in got:
            got += self.more(wire)
        head, _, body = got.partition(b"\r\n\r\n")
        length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        while len(body) < length:
            body += self.more(wire)
        return int(head[9:12]), json.loads(body) if body[:1] in b"{[" else {"text": body.decode()[:300]}

    def more(self, wire: socket.socket) -> bytes:
        part = wire.recv(65536)
        if not part:
            raise ConnectionError("the server hung up")
        return part

    def close(self) -> None:
        if self.socket:
            self.socket.close()
        self.socket = None

    def expect(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        status, answer = self.post(path, body)
        assert status == 200, (path, status, answer)
        return answer


def fill(posts: int) -> tuple[World, int]:
    from django.db import connection

    from annotate.models import Disagreement, Role, Voter
    from tests.make import make_member, make_project

    project = make_project(f"{posts:,} posts")
    names: dict[str, Any] = {
        "project": project.pk, "posts": posts, "labels": list(project.labels.values_list("pk", flat=True)),
    }  # fmt: skip
    with connection.cursor() as cursor:
        cursor.execute(FILL, names)
        for turn, voter in enumerate(("one", "another")):
            cursor.execute(VOTES, names | {"voter": Voter.imported(project, voter).pk, "turn": turn})
        cursor.execute(OPEN, names)
        cursor.execute("VACUUM ANALYZE")
    people = [make_member(project, Role.LEAD if n < 2 else Role.REVIEWER) for n in range(CROWD)]
    waiting = Disagreement.objects.filter(project=project, closed=None).count()
    print(f"\n{posts:,} posts, {waiting:,} of them wait for people", flush=True)
    labels = dict(project.labels.values_list("pk", "name"))
    sessions, tokens = [session_of(person) for person in people], [token_of(person) for person in people]
    return World(project.pk, project.slug, labels, sessions, tokens), waiting


def session_of(person: Any) -> dict[str, str]:
    csrf = "x" * 32
    cookies = ground.session_cookie(person) | {"csrftoken": csrf}
    return {"Cookie": "; ".join(f"{name}={value}" for name, value in cookies.items()), "X-CSRFToken": csrf}


def token_of(person: Any) -> dict[str, str]:
    from annotate.models import ApiToken

    return {"Authorization": f"Bearer {ApiToken.issue(person, 'bench')[1]}"}


def reopen() -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE annotate_review")
        cursor.execute(REOPEN)
        cursor.execute("DELETE FROM annotate_tally")  # counted anew, as the task does every minute
        cursor.execute(
            """INSERT INTO annotate_tally (project_id, state, label_id, label_source, voted, holdout, posts)
               SELECT project_id, state, label_id, label_source, vote_count > 0, holdout, count(*)
               FROM annotate_post GROUP BY 1, 2, 3, 4, 5, 6"""
        )
        cursor.execute("DELETE FROM annotate_queuetally")
        cursor.execute(
            """INSERT INTO annotate_queuetally (project_id, stream, posts)
               SELECT project_id, stream, count(*) FROM annotate_disagreement WHERE closed IS NULL GROUP BY 1, 2"""
        )
        cursor.execute("VACUUM ANALYZE annotate_disagreement, annotate_post, annotate_review")
