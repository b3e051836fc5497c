"""Contested posts out to Label Studio, each once: as tasks with their picture, and what each voter said."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

from django.core.files.storage import default_storage
from django.db.models import Exists, OuterRef, QuerySet

from annotate import images
from annotate.models import Disagreement, Image, LabelStudioProject, LabelStudioTask, Project, Vote

from . import linking
from .server import Server
from .tasks import Json, prediction, task
from .work import Work

BATCH = 20
AT_ONCE = 32 * 1024**2  # bytes of pictures in one request; Label Studio takes 250 MB


def waiting(project: Project, link: LabelStudioProject | None) -> QuerySet[Disagreement]:
    """What a push would send: contested here, and not there yet."""
    found = linking.contested(project)
    if link:
        found = found.filter(~Exists(LabelStudioTask.objects.filter(link=link, disagreement=OuterRef("pk"))))
    return found.order_by("rank", "pk")


def push(work: Work) -> None:
    project, server = work.run.project, work.server
    link = linking.there(project, server)
    linking.keep_page(link, server)
    linking.meet(project, server)
    for tasks, _ in server.pages(link.number, annotations=False):
        linking.note(link, tasks)
        work.step(0)
    pks = list(waiting(project, link).values_list("pk", flat=True)[: work.run.limit])
    work.step(0, total=len(pks))
    pictures = Pictures(server, link.number)
    for batch in batched(pks, BATCH):
        push_batch(work, link, pictures, batch)
        work.step(len(batch))


def batched(pks: Sequence[int], size: int) -> Iterator[list[int]]:
    each = iter(pks)
    while batch := list(islice(each, size)):
        yield batch


def push_batch(work: Work, link: LabelStudioProject, pictures: "Pictures", pks: list[int]) -> None:
    """What was decided since the run began stays here, and so does a post whose picture cannot be read."""
    rows = linking.contested(link.project).filter(pk__in=pks).select_related("post__image").defer("post__meta")
    addresses = pictures.addresses([row.post.image for row in rows if row.post.image])
    going = [row for row in rows if not row.post.image or row.post.image.sha256 in addresses]
    work.counts["picture missing"] += len(rows) - len(going)
    if not going:
        return
    saw = linking.voters_beside(link.project, {row.pk: row.post_id for row in going})
    beside = predictions(link.project, going, saw)
    sent = [as_task(row, addresses, beside[row.pk]) for row in going]
    numbers = work.server.add(link.number, sent)
    LabelStudioTask.objects.bulk_create(
        [
            LabelStudioTask(link=link, number=number, disagreement=row, saw=saw.get(row.pk, []))
            for row, number in zip(going, numbers, strict=True)
        ]
    )
    work.counts["pushed"] += len(going)


def as_task(row: Disagreement, addresses: dict[str, str], said: list[Json]) -> Json:
    """By our number and not by the external id: that may be the name of a folder, which tells the label."""
    post = row.post
    return task(
        id=str(post.pk),
        text=post.text,
        image=addresses[post.image.sha256] if post.image else "",
        source=post.source,
        at=post.at,
        mark=row.pk,
        predictions=said,
    )


def predictions(project: Project, rows: Sequence[Disagreement], saw: dict[int, list[int]]) -> dict[int, list[Json]]:
    votes = Vote.objects.filter(post__in=[row.post_id for row in rows]).select_related("voter", "label")
    found = {
        (vote.post_id, vote.voter_id): vote
        for vote in votes.defer("raw", "probabilities", "voter__prompt", "voter__parameters", "voter__limits")
    }
    beside: dict[int, list[Json]] = {}
    for row in rows:
        shown = [found[row.post_id, voter] for voter in saw.get(row.pk, []) if (row.post_id, voter) in found]
        beside[row.pk] = [
            prediction(
                f"voter {place}" if project.hide_voters else vote.voter.name,
                vote.label.name if vote.label else "",
                vote.confidence,
                vote.incongruous,
            )
            for place, vote in enumerate(shown, start=1)
        ]
    return beside


@dataclass
class Pictures:
    """Uploaded once in a run, however many posts show them."""

    server: Server
    number: int
    known: dict[str, str] = field(default_factory=dict)

    def addresses(self, wanted: Sequence[Image]) -> dict[str, str]:
        """By hash; without those whose file is gone."""
        new = {image.sha256: image for image in wanted if image.sha256 not in self.known}
        for group in within(AT_ONCE, list(new.values())):
            read = [(image, data) for image in group if (data := content(image)) is not None]
            sent = self.server.upload(self.number, [(image.file_name, data) for image, data in read])
            self.known |= {image.sha256: place for (image, _), place in zip(read, sent, strict=True)}
        return self.known


def within(size: int, wanted: Sequence[Image]) -> Iterator[list[Image]]:
    group: list[Image] = []
    for image in wanted:
        if group and sum(one.bytes for one in group) + image.bytes > size:
            yield group
            group = []
        group.append(image)
    if group:
        yield group


def content(image: Image) -> bytes | None:
    try:
        with default_storage.open(images.path_of(image.sha256, image.format)) as file:
            data: bytes = file.read()
            return data
    except OSError:
        return None
