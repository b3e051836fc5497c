"""Rows into the database, a batch at a time. Importing twice changes nothing: every insert yields to what is there."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice

from django.conf import settings
from django.db import connection, transaction

from annotate import images, settling
from annotate.consensus import WAITING, Ballot, Outcome
from annotate.models import Image, ImportRun, LabelSource, Project, State, Voter

from .grouping import TemplateGroups
from .rows import Refused, Row

TEXT_LIMIT = 100_000
BATCH = 1000
PICTURE_BATCH = 200  # smaller, so that progress is seen and few decoded pictures wait in memory
THREADS = 2  # Pillow lets go of the interpreter while it decodes; more than two gained nothing on two cores


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the report."""

    number: int
    external_id: str
    outcome: str  # imported, already there, refused
    detail: str = ""


@dataclass(slots=True)
class Loaded:
    lines: list[Line] = field(default_factory=list)
    votes: int = 0

    def count(self, outcome: str) -> int:
        return sum(line.outcome == outcome for line in self.lines)


@dataclass(slots=True)
class Candidate:
    row: Row
    label: int | None
    image: Image | None
    content_hash: str
    external_id: str
    ballots: dict[int, Ballot]  # by voter
    outcome: Outcome = WAITING
    post: int = 0
    is_new: bool = False


class Loader:
    """What stays the same from batch to batch of one run: labels, voters, and the pictures already grouped."""

    def __init__(self, run: ImportRun) -> None:
        self.run = run
        self.project: Project = run.project
        self.labels = settling.label_ids(self.project)
        self.voters: dict[str, int] = {}
        self.groups = TemplateGroups(self.project)
        self.now: datetime = run.started or run.created
        self.pool = ThreadPoolExecutor(THREADS)

    def load(self, rows: list[Row | Refused]) -> Loaded:
        loaded = Loaded()
        pictures = self.store_pictures([row for row in rows if isinstance(row, Row) and row.picture], loaded)
        refused = {line.number for line in loaded.lines}
        candidates: list[Candidate] = []
        for row in rows:
            if row.number in refused:
                continue
            checked = row if isinstance(row, Refused) else self.check(row, pictures.get(row.number))
            if isinstance(checked, Refused):
                loaded.lines.append(refusal(checked))
            else:
                candidates.append(checked)
        self.insert(candidates, loaded)
        loaded.lines.sort(key=lambda line: line.number)
        return loaded

    # --- pictures

    def store_pictures(self, rows: list[Row], loaded: Loaded) -> dict[int, Image]:
        """Read and hash them all; decode, keep and record only those never seen before."""
        read = dict(zip((row.number for row in rows), self.pool.map(read_picture, rows), strict=True))
        for number, failure in [(n, r) for n, r in read.items() if isinstance(r, Refused)]:
            loaded.lines.append(refusal(failure))
            del read[number]
        hashes = {number: hashlib.sha256(data).hexdigest() for number, data in read.items() if isinstance(data, bytes)}
        known = Image.objects.in_bulk(set(hashes.values()), field_name="sha256")
        fresh: dict[str, bytes] = {h: read[n] for n, h in hashes.items() if h not in known}  # type: ignore[misc]
        failures: dict[str, str] = {}
        for sha256, result in zip(fresh, self.pool.map(keep_picture, fresh.values()), strict=True):
            if isinstance(result, str):
                failures[sha256] = result
            else:
                known[sha256] = result
        # In one order: of two imports that bring the same pictures, one waits for the other, and never each for each.
        new = sorted((image for image in known.values() if image.pk is None), key=lambda image: image.sha256)
        Image.objects.bulk_create(new, ignore_conflicts=True)
        known |= Image.objects.in_bulk([h for h, image in known.items() if image.pk is None], field_name="sha256")
        for number, sha256 in hashes.items():
            if sha256 in failures:
                loaded.lines.append(Line(number, "", "refused", failures[sha256]))
        return {number: known[sha256] for number, sha256 in hashes.items() if sha256 in known}

    # --- checks that need the project

    def check(self, row: Row, image: Image | None) -> Candidate | Refused:
        label = self.labels.get(settling.plain(row.label)) if row.label else None
        if row.label and label is None:
            return Refused(row.number, f"“{row.label[:60]}” is not a label of this project", row.text[:80])
        if self.run.holdout and label is None:
            return Refused(row.number, "a post of the locked test set needs its known label", row.text[:80])
        if len(row.text) > TEXT_LIMIT:
            return Refused(row.number, f"the text is longer than {TEXT_LIMIT:,} characters", row.text[:80])
        if len(row.external_id) > 200:
            return Refused(row.number, "the id is longer than 200 characters", row.external_id[:80])
        content_hash = hashlib.sha256(f"{row.text}\0{image.sha256 if image else ''}".encode()).hexdigest()
        return Candidate(row, label, image, content_hash, row.external_id or content_hash[:40], self.ballots(row))

    def ballots(self, row: Row) -> dict[int, Ballot]:
        """A blank cell is no vote; what is no label is an abstention."""
        return {
            self.voter(vote.voter): Ballot(self.labels.get(settling.plain(vote.label)), vote.confidence)
            for vote in row.votes
            if vote.label.strip()
        }

    # --- the database

    def insert(self, candidates: list[Candidate], loaded: Loaded) -> None:
        unique: dict[str, Candidate] = {}
        for candidate in candidates:
            first = unique.setdefault(candidate.external_id, candidate)
            if first is not candidate:
                loaded.lines.append(again(candidate, first.content_hash))
        if not unique:
            return
        with transaction.atomic():
            self.groups.assign([c.image for c in unique.values() if c.image])
            self.decide(list(unique.values()))
            self.insert_posts(unique)
            existing = self.find_existing(unique)
            changed = self.insert_votes(list(unique.values()), loaded)
            self.settle(list(unique.values()), changed)
            self.groups.record_sizes()
        loaded.lines += [Line(c.row.number, c.external_id, "imported") for c in unique.values() if c.is_new]
        loaded.lines += existing

    def decide(self, candidates: list[Candidate]) -> None:
        """Beforehand, so that a new post is written once, in the state that its votes give it."""
        rule = settling.Ruling.of(self.project)
        for candidate in candidates:
            if candidate.ballots and candidate.label is None:
                candidate.outcome = rule.decide(candidate.ballots)

    def settle(self, candidates: list[Candidate], changed: list[int]) -> None:
        new = {candidate.post: candidate.outcome for candidate in candidates if candidate.is_new}
        settling.follow_up(self.project, {post: outcome for post, outcome in new.items() if outcome != WAITING})
        settling.settle(self.project, [post for post in changed if post not in new])

    def insert_posts(self, candidates: dict[str, Candidate]) -> None:
        rows = [self.columns(candidate) for candidate in candidates.values()]
        with connection.cursor() as cursor:
            cursor.execute(
                """INSERT INTO annotate_post (project_id, import_run_id, external_id, text, image_id, template_id,
                       source, at, meta, state, label_id, label_source, incongruous, holdout, vote_count,
                       content_hash, created)
                   SELECT %s, %s, external_id, text, image, template, source, at, meta::jsonb, state, label,
                       label_source, incongruous, %s, votes, content_hash, now()
                   FROM unnest(%s::text[], %s::text[], %s::bigint[], %s::bigint[], %s::text[], %s::timestamptz[],
                       %s::text[], %s::text[], %s::bigint[], %s::text[], %s::bool[], %s::text[],
                       %s::int[])
                     AS new (external_id, text, image, template, source, at, meta, state, label, label_source,
                       incongruous, content_hash, votes)
                   ON CONFLICT (project_id, external_id) DO NOTHING
                   RETURNING id, external_id""",
                [self.project.pk, self.run.pk, self.run.holdout, *(list(column) for column in zip(*rows, strict=True))],
            )
            for post, external_id in cursor.fetchall():
                candidates[external_id].post, candidates[external_id].is_new = post, True

    def columns(self, candidate: Candidate) -> tuple[object, ...]:
        row, known = candidate.row, candidate.label is not None
        state = State.SETTLED if known else settling.state_of(candidate.outcome) or State.WAITING
        source = LabelSource.CONSENSUS if candidate.outcome.is_settled else ""
        return (
            candidate.external_id,
            row.text,
            candidate.image.pk if candidate.image else None,
            self.groups.template_of(candidate.image) if candidate.image else None,
            (row.source or str(self.run.options.get("source", "")))[:120],
            row.posted_at or self.now + timedelta(microseconds=row.number),  # undated rows keep the order of the file
            json.dumps(row.meta) if row.meta else "{}",
            state,
            candidate.label if known else candidate.outcome.label,
            LabelSource.IMPORT if known else source,
            row.incongruous,
            candidate.content_hash,
            len(candidate.ballots),
        )

    def find_existing(self, candidates: dict[str, Candidate]) -> list[Line]:
        missing = [external_id for external_id, candidate in candidates.items() if not candidate.is_new]
        found = self.project.posts.filter(external_id__in=missing).values_list(
            "external_id", "pk", "content_hash", "holdout"
        )
        lines, to_lock = [], []
        for external_id, pk, content_hash, holdout in found:
            candidate = candidates[external_id]
            candidate.post = pk
            if self.run.holdout and not holdout:
                to_lock.append(candidate)
            else:
                lines.append(again(candidate, content_hash))
        gone = "it was there, and was deleted while this import looked at it; import it again"
        lines += [Line(c.row.number, c.external_id, "refused", gone) for c in candidates.values() if not c.post]
        return lines + self.lock(to_lock)

    def lock(self, candidates: list[Candidate]) -> list[Line]:
        """Posts that came in before the test set did: from now on they are part of it, with the label known there."""
        for label in {candidate.label for candidate in candidates}:
            posts = [candidate.post for candidate in candidates if candidate.label == label]
            self.project.posts.filter(pk__in=posts).update(
                holdout=True, state=State.SETTLED, label=label, label_source=LabelSource.IMPORT
            )
            settling.close(posts)
        detail = "now in the locked test set"
        return [Line(candidate.row.number, candidate.external_id, "already there", detail) for candidate in candidates]

    def insert_votes(self, candidates: list[Candidate], loaded: Loaded) -> list[int]:
        rows = [
            (c.post, self.voter(vote.voter), self.labels.get(settling.plain(vote.label)), vote.confidence,
             vote.reason if settling.plain(vote.label) in self.labels else abstention(vote.label, vote.reason),
             vote.label)
            for c in candidates
            for vote in c.row.votes
            if c.post and vote.label.strip()
        ]  # fmt: skip
        if not rows:
            return []
        with connection.cursor() as cursor:
            cursor.execute(
                """INSERT INTO annotate_vote (post_id, voter_id, label_id, confidence, reason, raw, text_reading,
                       image_reading, created)
                   SELECT post.id, voter, new.label, confidence, reason, raw, '', '', now()
                   FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::float8[], %s::text[], %s::text[])
                     AS new (post, voter, label, confidence, reason, raw)
                   JOIN annotate_post AS post ON post.id = new.post FOR KEY SHARE OF post
                   ON CONFLICT (post_id, voter_id) DO NOTHING RETURNING post_id""",
                [list(column) for column in zip(*rows, strict=True)],
            )
            posts = [post for (post,) in cursor.fetchall()]
        loaded.votes += len(posts)
        return list(dict.fromkeys(posts))

    def voter(self, name: str) -> int:
        if name not in self.voters:
            self.voters[name] = Voter.imported(self.project, name).pk
        return self.voters[name]


def read_picture(row: Row) -> bytes | Refused:
    assert row.picture
    try:
        data = row.picture.read()
    except Exception as error:  # whatever a file, an archive or a network did, it costs one row and not the run
        return Refused(row.number, f"the picture {row.picture.name} cannot be read: {error}", row.text[:80])
    if len(data) > settings.IMAGE_MAX_BYTES:
        return Refused(row.number, f"the picture {row.picture.name} is larger than {settings.IMAGE_MAX_BYTES:,} bytes")
    return data


def keep_picture(data: bytes) -> Image | str:
    try:
        seen = images.inspect(data, max_bytes=settings.IMAGE_MAX_BYTES, max_pixels=settings.IMAGE_MAX_PIXELS)
    except images.BadImage as error:
        return str(error)
    images.store(seen)
    return Image(
        sha256=seen.sha256,
        format=seen.format,
        width=seen.width,
        height=seen.height,
        bytes=len(seen.data),
        fingerprint=seen.fingerprint,
    )


def abstention(answer: str, reason: str) -> str:
    return f"answered “{answer.strip()[:100]}”, which is not a label" + (f": {reason}" if reason else "")


def refusal(refused: Refused) -> Line:
    excerpt = f" ({refused.excerpt})" if refused.excerpt else ""
    return Line(refused.number, "", "refused", refused.reason + excerpt)


def again(candidate: Candidate, content_hash: str) -> Line:
    same = candidate.content_hash == content_hash
    detail = "" if same else "with other content; what was there first is kept"
    return Line(candidate.row.number, candidate.external_id, "already there", detail)


def batches(rows: Iterable[Row | Refused]) -> Iterator[list[Row | Refused]]:
    source = iter(rows)
    for first in source:
        has_picture = isinstance(first, Row) and first.picture is not None
        yield [first, *islice(source, (PICTURE_BATCH if has_picture else BATCH) - 1)]
