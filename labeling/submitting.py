"""Requests on their way to a provider in files.

The row of a batch and its posts are written before the file goes out, so that whatever happens in between, the next
look finds the batch at the provider by its name, or knows that it never got there.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import ROUND_UP, Decimal
from pathlib import Path
from typing import IO, TYPE_CHECKING

from django.db import transaction
from django.db.models import Max, Min
from django.db.models.functions import Now
from django.utils import timezone

from annotate import removing

from . import pricing, wording
from .asking import Pending, Questions
from .models import ZERO, Batch, BatchPost, BatchState, Part
from .prompt import Prompt
from .providers import BATCHING, PROVIDERS
from .providers.contract import Ask, Failed, Later, Stop

if TYPE_CHECKING:
    from .batch import Round, Seat


@dataclass
class Chunk:
    prompt: Prompt
    posts: dict[int, Decimal] = field(default_factory=dict)  # and the most that each can cost
    most: Decimal = ZERO
    bytes: int = 0

    def add(self, post: int, most: Decimal, size: int) -> None:
        self.posts[post] = most
        self.most += most
        self.bytes += size


def submit_all(look: "Round", seat: "Seat") -> None:
    while not (look.asked or seat.stopped or must_wait(seat)):
        with tempfile.TemporaryDirectory(prefix="batch-") as folder:
            path = Path(folder) / "requests.jsonl"
            with path.open("wb") as file:
                chunk = write(look, seat, file)
            if not chunk.posts:
                return
            submit(look, seat, record(look, seat, chunk), path)


def must_wait(seat: "Seat") -> bool:
    latest = seat.part.batches.order_by("-number").first()
    voter = seat.part.voter
    alike = Batch.objects.open().filter(part__voter__provider=voter.provider, part__voter__model=voter.model)
    seat.waits = latest is not None and latest.queue_full and alike.exists()
    return seat.waits


def write(look: "Round", seat: "Seat", file: IO[bytes]) -> Chunk:
    """As much as a batch holds and the budget has room for, line by line: memory stays flat."""
    questions, room = questions_of(look, seat), room_of(look)
    chunk = Chunk(questions.writer.prompt)
    requests, size = largest(seat.part), BATCHING[seat.part.voter.provider].bytes
    for pending in walk(look, questions):
        line = seat.at_work.line(str(pending.post), pending.ask).encode() + b"\n"
        if chunk.posts and (len(chunk.posts) >= requests or chunk.bytes + len(line) > size):
            break
        most = most_for(seat.part, pending.ask)
        if room is not None and chunk.most + most > room:
            look.out_of_money = not chunk.posts
            break
        file.write(line)
        chunk.add(pending.post, most, len(line))
    return chunk


def room_of(look: "Round") -> Decimal | None:
    run = look.run
    return None if run.budget is None else run.budget - run.written_off - run.spent - run.reserved


def questions_of(look: "Round", seat: "Seat") -> Questions:
    seat.part.refresh_from_db(fields=["done"])
    questions = Questions(look.run, seat.part)
    if questions.left is not None:
        waiting = BatchPost.objects.unanswered().filter(batch__part=seat.part).count()
        questions.left = max(0, questions.left - waiting - seat.part.failures.count())
    return questions


def walk(look: "Round", questions: Questions) -> Iterator[Pending]:
    while not look.asked and (page := questions.next_page()):
        look.beat()
        yield from page


@transaction.atomic
def record(look: "Round", seat: "Seat", chunk: Chunk) -> Batch:
    """Before anything goes out: the posts are taken, and their money is."""
    look.beat()
    number = seat.part.batches.aggregate(last=Max("number"))["last"] or 0
    batch = Batch.objects.create(
        part=seat.part, number=number + 1, requests=len(chunk.posts), wording=wording.note(seat.part, chunk.prompt)
    )
    Batch.objects.filter(pk=batch.pk).update(created=Now())  # whoever looks for it later asks that clock too
    there = removing.staying(chunk.posts)
    taken = [BatchPost(batch=batch, post_id=post, most=most) for post, most in chunk.posts.items() if post in there]
    BatchPost.objects.bulk_create(taken, batch_size=5000)
    look.account()
    return batch


def submit(look: "Round", seat: "Seat", batch: Batch, path: Path) -> None:
    """Only where the provider says no, or was not asked to begin yet, is it certain that there is no batch."""
    try:
        batch.file_id = look.go(seat.at_work.upload(path, batch.name))
    except (Stop, Failed, Later):
        drop(look, seat, batch)
        raise
    batch.save(update_fields=["file_id"])
    try:
        batch_id = look.go(seat.at_work.create(batch.file_id, batch.name))
    except (Stop, Failed):
        drop(look, seat, batch)
        raise
    note(batch, batch_id)


def drop(look: "Round", seat: "Seat", batch: Batch) -> None:
    with transaction.atomic():
        look.beat()
        batch.delete()
        look.account()
    look.remove(seat, batch.file_id)


def note(batch: Batch, batch_id: str) -> None:
    batch.batch_id, batch.state, batch.submitted = batch_id, BatchState.SUBMITTED, timezone.now()
    batch.save(update_fields=["batch_id", "state", "submitted"])


def largest(part: Part) -> int:
    """Half of what the provider's queue had no room for, so that any queue is small enough in the end."""
    most = BATCHING[part.voter.provider].requests
    told = int(part.voter.limits.get("requests_a_batch") or most)
    refused = part.batches.filter(queue_full=True).aggregate(least=Min("requests"))["least"]
    return max(1, min(most, told, refused // 2 if refused else most))


def most_for(part: Part, ask: Ask) -> Decimal:
    voter = part.voter
    most = pricing.most_for(voter.provider, voter.model, voter.parameters, ask) or ZERO
    return (most * (PROVIDERS[voter.provider].batch_factor or 1)).quantize(pricing.CENTS, ROUND_UP)
