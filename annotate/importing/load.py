"""Rows into the database, a batch at a time. Importing twice changes nothing: every insert yields to what is there."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import islice

from django.conf import settings
from django.db import connection, transaction

from annotate import images, past_reviews, removing, settling
from annotate.consensus import WAITING, Ballot, Outcome
from annotate.models import Image, ImportRun, LabelSource, Project, State, Voter

from . import coming_home, exported, votes
from .grouping import TemplateGroups
from .rows import Refused, Row

TEXT_LIMIT = 100_000
BATCH = 1000
PICTURE_BATCH = 200  # smaller, so that progress is seen and few decoded pictures wait in memory
MACHINES = (LabelSource.CONSENSUS, LabelSource.MODEL)
NOBODYS = (
    "this row has neither text nor a picture, and there is no post “{}” in this project that it could be a vote on"
)
LOCKED = (
    "this post belongs to a locked test set; import it with that box ticked, or --holdout, or it would be trained on"
)
THREADS = 2  # Pillow lets go of the interpreter while it decodes; more than two gained nothing on two cores
WAITING_THREADS = 16  # where pictures go to a bucket, and a thread mostly waits for its answer


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
    taken: int = 0  # rows, from the first
    picture_bytes: int = 0  # of pictures that the project did not show before
    brought_removed: bool = False  # a row that was removed for good, and stays out

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
        self.names = dict(self.project.labels.values_list("pk", "name"))
        self.voters: dict[str, int] = {}
        self.groups = TemplateGroups(self.project)
        self.now: datetime = run.started or run.created
        self.pool = ThreadPoolExecutor(WAITING_THREADS if settings.MEDIA_S3_BUCKET else THREADS)

    def load(self, rows: list[Row | Refused], most: int | None = None) -> Loaded:
        """As far as `most` new posts reach, if that is said; what brings none is taken all the same."""
        loaded = Loaded()
        read = self.read_pictures([row for row in rows if isinstance(row, Row) and row.picture], loaded)
        hashes = {number: hashlib.sha256(data).hexdigest() for number, data in read.items()}
        hashes |= coming_home.hashes(rows, read, hashes)
        contents = {row.number: content_of(row, hashes.get(row.number, "")) for row in rows if isinstance(row, Row)}
        loaded.taken = len(rows) if most is None else self.fitting(rows, contents, most)
        if loaded.taken < len(rows):
            rows = rows[: loaded.taken]
            taken = {row.number for row in rows}
            hashes = {number: found for number, found in hashes.items() if number in taken}
            contents = {number: found for number, found in contents.items() if number in taken}
            loaded.lines = [line for line in loaded.lines if line.number in taken]
        removing.nothing_removed_meanwhile()
        out = self.keep_out(rows, contents, loaded)
        there = self.there_already(rows)
        pictures = self.store_pictures({n: (h, read[n]) for n, h in hashes.items() if n not in out}, loaded)
        refused = {line.number for line in loaded.lines}
        candidates: list[Candidate] = []
        for row in rows:
            if row.number in refused:
                continue
            checked = self.check(row, pictures.get(row.number), contents[row.number]) if isinstance(row, Row) else row
            if isinstance(row, Row) and row.is_votes_alone and row.external_id not in there:
                checked = Refused(row.number, NOBODYS.format(row.external_id[:60]))
            if isinstance(checked, Refused):
                loaded.lines.append(refusal(checked))
            else:
                candidates.append(checked)
        self.insert(candidates, loaded)
        loaded.lines.sort(key=lambda line: line.number)
        return loaded

    # --- pictures

    def read_pictures(self, rows: list[Row], loaded: Loaded) -> dict[int, bytes]:
        read: dict[int, bytes] = {}
        for row, data in zip(rows, self.pool.map(read_picture, rows), strict=True):
            if isinstance(data, Refused):
                loaded.lines.append(refusal(data))
            else:
                read[row.number] = data
        return read

    def keep_out(self, rows: list[Row | Refused], contents: dict[int, str], loaded: Loaded) -> set[int]:
        """What was removed for good, before any picture is stored. The report quotes nothing of it."""
        ids = {row.number: id_of(row, contents[row.number]) for row in rows if isinstance(row, Row)}
        removed = removing.Removed(self.project, contents.values(), ids.values())
        out = {n: sentence for n, content in contents.items() if (sentence := removed.refusal(content, ids[n]))}
        if out:
            loaded.brought_removed = True
            loaded.lines = [line for line in loaded.lines if line.number not in out]
            loaded.lines += [Line(number, "", "refused", sentence) for number, sentence in out.items()]
        return set(out)

    def store_pictures(self, read: dict[int, tuple[str, bytes]], loaded: Loaded) -> dict[int, Image]:
        """Decode, keep and record only those never seen before."""
        known = Image.objects.in_bulk({sha256 for sha256, _ in read.values()}, field_name="sha256")
        fresh = {sha256: data for sha256, data in read.values() if sha256 not in known}
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
        for number, (sha256, _) in read.items():
            if sha256 in failures:
                loaded.lines.append(Line(number, "", "refused", failures[sha256]))
        return {number: known[sha256] for number, (sha256, _) in read.items() if sha256 in known}

    # --- checks that need the project

    def fitting(self, rows: list[Row | Refused], contents: dict[int, str], most: int) -> int:
        """Rows before the first new post that is one too many."""
        ids = [
            id_of(row, contents[row.number]) if isinstance(row, Row) and not row.is_votes_alone else "" for row in rows
        ]
        wanted = set(ids) - {""}
        if len(wanted) <= most:
            return len(rows)
        there = set(self.project.posts.filter(external_id__in=wanted).values_list("external_id", flat=True))
        new: set[str] = set()
        for place, external_id in enumerate(ids):
            new |= {external_id} - there - {""}
            if len(new) > most:
                return place
        return len(rows)

    def there_already(self, rows: list[Row | Refused]) -> set[str]:
        """Of the posts that rows bring nothing for but votes."""
        wanted = [row.external_id for row in rows if isinstance(row, Row) and row.is_votes_alone]
        found = self.project.posts.filter(external_id__in=wanted).values_list("external_id", flat=True)
        return set(found) if wanted else set()

    def check(self, row: Row, image: Image | None, content_hash: str) -> Candidate | Refused:
        label = self.labels.get(settling.plain(row.label)) if row.label else None
        if row.past and row.past.split == exported.HOLDOUT and not self.run.holdout:
            return Refused(row.number, LOCKED)
        if row.label and label is None:
            return Refused(row.number, f"“{row.label[:60]}” is not a label of this project", row.text[:80])
        if self.run.holdout and label is None:
            return Refused(row.number, "a post of the locked test set needs its known label", row.text[:80])
        if len(row.text) > TEXT_LIMIT:
            return Refused(row.number, f"the text is longer than {TEXT_LIMIT:,} characters", row.text[:80])
        if len(row.external_id) > 200:
            return Refused(row.number, "the id is longer than 200 characters", row.external_id[:80])
        return Candidate(row, label, image, content_hash, id_of(row, content_hash), self.ballots(row))

    def ballots(self, row: Row) -> dict[int, Ballot]:
        """A blank cell is no vote; what is no label is an abstention."""
        return {
            self.voter(vote.voter, is_classifier=row.past is None and vote.has_probabilities): Ballot(
                votes.label_of(vote.label, self.labels), vote.confidence
            )
            for vote in row.votes
            if vote.counts
        }

    # --- the database

    def insert(self, candidates: list[Candidate], loaded: Loaded) -> None:
        unique: dict[str, Candidate] = {}
        for candidate in candidates:
            first = unique.setdefault(candidate.external_id, candidate)
            if first is not candidate:
                loaded.lines.append(again(candidate, first.content_hash))
                if candidate.row.is_votes_alone:  # of another voter, as when predictions of several are one file
                    first.row = replace(first.row, votes=first.row.votes + candidate.row.votes)
        if not unique:
            return
        with transaction.atomic():
            self.groups.assign([c.image for c in unique.values() if c.image])
            self.decide(list(unique.values()))
            if posts := {id: c for id, c in unique.items() if not c.row.is_votes_alone}:
                self.insert_posts(posts)
            existing = self.find_existing(unique)
            changed = self.insert_votes(list(unique.values()), loaded)
            self.settle(list(unique.values()), changed)
            lost = self.keep_past(list(unique.values()))
            self.groups.record_sizes()
        new = [candidate for candidate in unique.values() if candidate.is_new]
        loaded.lines += [Line(c.row.number, c.external_id, "imported", unkept(lost.get(c.post, 0))) for c in new]
        loaded.picture_bytes += self.bytes_of_first_shown(new)
        loaded.lines += existing

    def bytes_of_first_shown(self, new: list[Candidate]) -> int:
        """A picture counts once in a project, however many of its posts show it."""
        images = {c.image.pk: c.image.bytes for c in new if c.image}
        earlier = self.project.posts.filter(image__in=images).exclude(pk__in=[c.post for c in new])
        shown = set(earlier.values_list("image", flat=True).distinct()) if images else set()
        return sum(size for image, size in images.items() if image not in shown)

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
            self.source_of(candidate),
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
        for label, incongruous in {(candidate.label, candidate.row.incongruous) for candidate in candidates}:
            known = {"label": label} | ({} if incongruous is None else {"incongruous": incongruous})
            posts = [c.post for c in candidates if (c.label, c.row.incongruous) == (label, incongruous)]
            self.project.posts.filter(pk__in=posts).update(
                holdout=True, state=State.SETTLED, label_source=LabelSource.IMPORT, **known
            )
            settling.close(posts)
        detail = "now in the locked test set"
        return [Line(candidate.row.number, candidate.external_id, "already there", detail) for candidate in candidates]

    def insert_votes(self, candidates: list[Candidate], loaded: Loaded) -> list[int]:
        cast = ((candidate.post, vote) for candidate in candidates for vote in candidate.row.votes)
        posts = votes.insert(cast, self.labels, self.voter, self.names)
        loaded.votes += len(posts)
        return list(dict.fromkeys(posts))

    # --- what they went through elsewhere

    def keep_past(self, candidates: list[Candidate]) -> dict[int, int]:
        """Returns, of each post, how many answers of people could not be kept."""
        told = [(candidate, past) for candidate in candidates if candidate.post and (past := candidate.row.past)]
        if not told:
            return {}
        new = [candidate for candidate, _ in told if candidate.is_new]
        machines = [candidate.post for candidate in new if self.source_of(candidate) in MACHINES]
        settling.draw_audits(self.project, machines)  # they are among the labels whose error is estimated
        self.groups.name({candidate.image: past.template for candidate, past in told if candidate.image})
        reviews = {candidate.post: past.reviews for candidate, past in told if past.reviews}
        return past_reviews.keep(self.project, reviews, self.now) if reviews else {}

    def source_of(self, candidate: Candidate) -> str:
        """Whoever brings a locked test set vouches for its labels, wherever they are from."""
        past = candidate.row.past
        if candidate.label is None:
            return LabelSource.CONSENSUS if candidate.outcome.is_settled else ""
        if past is None or not past.label_source or (self.run.holdout and past.label_source in MACHINES):
            return LabelSource.IMPORT
        return past.label_source

    def voter(self, name: str, is_classifier: bool = False) -> int:
        """A classifier's predictions are of some posts: consensus does not wait for it to speak of the others."""
        if name not in self.voters:
            self.voters[name] = Voter.imported(self.project, name, required=not is_classifier).pk
        return self.voters[name]


def content_of(row: Row, sha256: str) -> str:
    return hashlib.sha256(f"{row.text}\0{sha256}".encode()).hexdigest()


def id_of(row: Row, content_hash: str) -> str:
    return row.external_id or content_hash[:40]


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


def unkept(answers: int) -> str:
    if not answers:
        return ""
    told = "1 answer of a person was" if answers == 1 else f"{answers} answers of people were"
    return f"{told} not kept: this project has no such label"


def refusal(refused: Refused) -> Line:
    excerpt = f" ({refused.excerpt})" if refused.excerpt else ""
    return Line(refused.number, "", "refused", refused.reason + excerpt)


def again(candidate: Candidate, content_hash: str) -> Line:
    same = candidate.content_hash == content_hash or candidate.row.is_votes_alone
    detail = "" if same else "with other content; what was there first is kept"
    return Line(candidate.row.number, candidate.external_id, "already there", detail)


def batches(rows: Iterable[Row | Refused]) -> Iterator[list[Row | Refused]]:
    source = iter(rows)
    for first in source:
        has_picture = isinstance(first, Row) and first.picture is not None
        yield [first, *islice(source, (PICTURE_BATCH if has_picture else BATCH) - 1)]
