"""Exporting a frozen dataset: how soon the first byte is there, how long it takes, and how much memory.

Baseline: PostgreSQL's own COPY of the same rows into a file, as JSON, which neither numbers lines nor names pictures.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from tests.bench import ground

FEW, MANY = 10_000, 1_000_000
EVERY_FEW, EVERY_MANY = 2, 10  # so many posts have a picture
AGAIN = 5  # of each, the median is told
WORDS = ["moon", "rug", "pull", "diamond", "hands", "lambo", "chart", "crash", "pump", "dump"]
PICTURE = 4096  # bytes of noise: exporting decodes nothing

FILL = """
INSERT INTO modeling_datasetitem (dataset_id, position, external_id, text, image, source, at, template, meta, label,
  label_source, incongruous, confidence, split, kin, votes, reviews)
SELECT %(dataset)s, n, 'p' || n, (%(words)s::text[])[1 + n %% 10] || ' ' || (%(words)s::text[])[1 + (n / 7) %% 10]
    || ' the market does what it does, again and again, and number ' || n || ' knows it',
  CASE WHEN n %% %(every)s = 0 THEN encode(sha256(convert_to(n::text, 'UTF8')), 'hex') || '.png' ELSE '' END,
  'made', timestamptz '2024-01-01' + n * interval '30 seconds', '', jsonb_build_object('likes', n %% 100),
  (%(labels)s::text[])[1 + n %% 3], 'consensus', NULL, 0.8,
  (ARRAY['train', 'train', 'train', 'train', 'train', 'train', 'train', 'train', 'validation', 'test'])[1 + n %% 10], n,
  jsonb_build_array(
    jsonb_build_object('voter', 'gpt', 'label', (%(labels)s::text[])[1 + n %% 3], 'confidence', 0.9,
      'reason', 'The words say that the market moves, and the picture does not contradict them.',
      'at', '2024-01-01T00:00:00.000000+00:00'),
    jsonb_build_object('voter', 'gemini', 'label', (%(labels)s::text[])[1 + n %% 3], 'confidence', 0.8,
      'reason', 'A hopeful tone, and a chart that climbs.', 'at', '2024-01-01T00:00:00.000000+00:00')),
  '[]'
FROM generate_series(1, %(posts)s) AS n
"""

BARE = """
COPY (SELECT to_jsonb(item) FROM (
  SELECT external_id, text, image, label, label_source, split, kin, incongruous, confidence, source, at, template, meta,
    votes, reviews FROM modeling_datasetitem WHERE dataset_id = %s ORDER BY position
) AS item) TO STDOUT
"""


def fill(name: str, posts: int, every: int) -> Any:
    """Pictures are each their own."""
    from django.db import connection

    from modeling.datasets import card
    from modeling.datasets.composition import Composition, Part
    from modeling.datasets.dataset import facts_of
    from modeling.datasets.recipe import Recipe
    from modeling.datasets.splits import NAMES
    from modeling.models import Dataset, DatasetState
    from tests.make import make_project

    project = make_project(name)
    made = Dataset.objects.create(project=project, name="v1", recipe=Recipe().as_json(), state=DatasetState.FREEZING)
    labels = [label.name for label in project.labels.all()]
    with connection.cursor() as cursor:
        values = {"dataset": made.pk, "posts": posts, "every": every, "words": WORDS, "labels": labels}
        cursor.execute(FILL, values)
        cursor.execute("VACUUM ANALYZE modeling_datasetitem")
    for path in pictures(every, posts):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(hashlib.shake_256(path.name.encode()).digest(PICTURE))
    parts = {split: Part(posts=posts // 10, labels=dict.fromkeys(labels, 0), pictures=1) for split in NAMES}
    made.composition = Composition(parts, {}, 1, None, {}, False).as_json()
    made.facts = facts_of(project) | {"voters": []}
    made.told = card.told_of(made)
    made.state, made.total = DatasetState.FROZEN, posts
    made.save()
    return made


def pictures(every: int, posts: int) -> Iterator[Path]:
    from django.core.files.storage import default_storage

    from annotate import images

    for n in range(every, posts + 1, every):
        yield Path(default_storage.path(images.path_of(hashlib.sha256(str(n).encode()).hexdigest(), "png")))


def bare_copy(pk: int, out: Path) -> None:
    from django.db import connection

    with connection.cursor() as cursor, out.open("wb") as file, cursor.cursor.copy(BARE, [pk]) as copy:  # type: ignore[attr-defined]
        for block in copy:
            file.write(block)


def median_seconds(work: Any) -> float:
    times = sorted(ground.seconds(work) for _ in range(AGAIN))
    return times[AGAIN // 2]


def few(room: Path) -> None:
    from modeling.export.formats import FORMATS, Options, stream, write_to

    made = fill("Few", FEW, EVERY_FEW)
    without = Options(with_pictures=False)
    print(f"\n{FEW:,} posts with two votes each")
    copied = median_seconds(lambda: bare_copy(made.pk, room / "bare.json"))
    size = (room / "bare.json").stat().st_size / 1e6
    print(f"{'bare COPY to a file (baseline)':34} {copied:5.2f} s, {size:.0f} MB")
    out = room / "posts.jsonl"
    took = median_seconds(lambda: write_to(made, "jsonl", without, out, replace=True))
    size, times = out.stat().st_size / 1e6, took / copied
    print(f"{'JSON Lines to a file':34} {took:5.2f} s, {size:.0f} MB, {times:.1f} times as long")
    for key in FORMATS:
        for options, which in ((without, "tables"), (Options(), f"and {FEW // EVERY_FEW:,} pictures")):
            began = time.perf_counter()
            chunks = stream(made, key, options).chunks
            size = len(next(chunks))
            first = time.perf_counter() - began
            size += sum(map(len, chunks))
            told = f"first byte {1000 * first:5.1f} ms, all {time.perf_counter() - began:5.2f} s, {size / 1e6:5.1f} MB"
            print(f"{key:14} {which:19} {told}")
    over_http(made, "JSON Lines over HTTP", {"format": "jsonl"})


def over_http(made: Any, what: str, asked: dict[str, str]) -> None:
    from annotate.models import Role
    from tests.make import make_member

    cookies = ground.session_cookie(make_member(made.project, Role.ADMIN))
    url = f"/p/{made.project.slug}/datasets/{made.name}/download"
    with ground.server(workers=1) as address, httpx.Client(base_url=address, cookies=cookies, timeout=600) as client:
        client.get("/", follow_redirects=True).raise_for_status()  # so that the worker has everything loaded
        before = server_megabytes()
        began = time.perf_counter()
        with client.stream("GET", url, params={"split": ["train", "validation", "test"]} | asked) as answer:
            assert answer.status_code == 200, answer.status_code
            size, first = 0, 0.0
            for chunk in answer.iter_raw():
                first = first or time.perf_counter() - began
                size += len(chunk)
        took = time.perf_counter() - began
        print(
            f"{what}: first byte {1000 * first:.0f} ms, all {took:.1f} s, {size / 1e6:.0f} MB; "
            f"the web worker's peak {before:.0f} MB before, {server_megabytes():.0f} MB after"
        )


def server_megabytes() -> float:
    """The largest that any process under us ever was."""
    return max((peak_of(pid) for pid in descendants(os.getpid())), default=0.0)


def descendants(pid: int) -> Iterator[int]:
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        yield int(child)
        yield from descendants(int(child))


def peak_of(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), 0.0)


def many(room: Path) -> None:
    made = fill("Many", MANY, EVERY_MANY)
    print(f"\n{MANY:,} posts with two votes each, {MANY // EVERY_MANY:,} pictures, each export in a process of its own")
    for key in ("jsonl", "sharegpt", "csv", "parquet"):
        subprocess.run([sys.executable, "-m", "tests.bench.export", str(made.pk), key, str(room)], check=True)
    over_http(made, "JSON Lines over HTTP, with pictures", {"format": "jsonl", "pictures": "1"})


def alone(pk: int, key: str, room: Path) -> None:
    from modeling.export.formats import Options, Written, write_to
    from modeling.models import Dataset

    made = Dataset.objects.select_related("project").get(pk=pk)
    made.items.count()  # so that what a connection takes is there before
    before, marks = peak_of(os.getpid()), {}

    def seen(written: Written) -> None:
        marks[written.bytes // 100_000_000] = peak_of(os.getpid())

    began = time.perf_counter()
    written = write_to(made, key, Options(), room / f"{key}.zip", seen)
    took = time.perf_counter() - began
    (room / f"{key}.zip").unlink()
    on_the_way = ", ".join(f"{megabytes:.0f}" for megabytes in [*marks.values()][:: max(1, len(marks) // 5)])
    print(
        f"{key:9} {took:4.0f} s, {written.bytes / 1e6:,.0f} MB; peak memory {before:.0f} MB before, "
        f"{peak_of(os.getpid()):.0f} MB after (on the way: {on_the_way})"
    )


def attach() -> None:
    """To the database that the process above us made."""
    import django

    django.setup()


def main() -> None:
    if len(sys.argv) > 1:
        attach()
        alone(int(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
        return
    ground.django_on_fresh_database("export")
    room = ground.BENCH / "export"
    shutil.rmtree(room, ignore_errors=True)
    room.mkdir(parents=True)
    try:
        few(room)
        many(room)
    finally:
        shutil.rmtree(room, ignore_errors=True)
        for path in {*pictures(EVERY_FEW, FEW), *pictures(EVERY_MANY, MANY)}:
            path.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
