"""The queue and its answers over the API: the same functions as the review screen, and as little told beforehand."""

from datetime import datetime
from typing import Annotated, Any

from django.http import Http404, HttpRequest
from django.urls import reverse
from ninja import Field, Router, Schema, Status
from ninja.params.functions import Header

from . import card, deciding, queue, settling
from .access import me, project_for
from .forms.review import LONGEST_KEY, LONGEST_NOTE
from .models import Label, Project, Review, Role
from .models.project import VotesShown
from .models.review import FLAGS, Instead
from .queue import Gone, Seat

router = Router(tags=["Review"])
TAB = "api"
INSTEAD = (*FLAGS, Instead.SKIP)


class LabelOut(Schema):
    name: str
    meaning: str
    key: str
    colour: str


class PictureOut(Schema):
    url: str = Field(examples=["/api/projects/memes/images/3f0a….png"])
    width: int
    height: int


class ShownVoteOut(Schema):
    voter: str = Field(description="A letter where the project hides the names of voters.")
    label: str | None = Field(description="Null is an abstention; the reason then says why.")
    confidence: float | None
    reason: str
    text_reading: str
    image_reading: str
    incongruous: bool | None


class AnswerOut(Schema):
    who: str
    label: str | None
    instead: str
    incongruous: bool | None
    note: str


class CardOut(Schema):
    id: int = Field(description="Of the disagreement; answers go there.", examples=[4711])
    text: str = Field(examples=["gm, we are so back"])
    image: PictureOut | None
    facts: list[str] = Field(
        description="Where and when it was posted.", examples=[["r/wallstreetbets", "14 Nov 2025"]]
    )
    votes: list[ShownVoteOut] | None = Field(description="Null while they are hidden; asking for them is on record.")
    answers: list[AnswerOut] | None = Field(description="What people said, where they differ and a lead decides.")


class Tab(Schema):
    tab: Annotated[
        str,
        Field(
            min_length=1,
            max_length=36,
            description="Two programs of one person name different tabs, and are never given the same post.",
        ),
    ] = TAB


class NextIn(Tab):
    n: Annotated[int, Field(ge=1, le=10, description="How many posts this tab wants to have at hand.")] = 1


class NextOut(Schema):
    question: str
    labels: list[LabelOut]
    asks_incongruous: bool
    cards: list[CardOut] = Field(description="Empty when nothing waits for this person.")
    lease_seconds: float = Field(description="After this, posts that were not renewed go to others.", examples=[300])


class HeldIn(Tab):
    ids: list[int] = Field(max_length=100, examples=[[4711, 4712]])


class ReleaseIn(Tab):
    ids: Annotated[list[int] | None, Field(max_length=100, description="Left out: all that this tab holds.")] = None


class HeldOut(Schema):
    ids: list[int] = Field(description="Which of them are still this tab's.")
    lease_seconds: float


class ReleasedOut(Schema):
    released: int


class VotesOut(Schema):
    votes: list[ShownVoteOut]


class ReviewIn(Tab):
    label: Annotated[str | None, Field(description="By name, in any case.", examples=["bullish"])] = None
    instead: Annotated[str, Field(description=f"In place of a label: {', '.join(INSTEAD)}.", examples=[""])] = ""
    incongruous: Annotated[bool | None, Field(description="Only where the project asks it.")] = None
    note: Annotated[str, Field(max_length=LONGEST_NOTE, description="Why; for a skip, its reason.", examples=[""])] = ""
    seconds: Annotated[
        float | None, Field(ge=0, allow_inf_nan=False, description="How long the post was looked at.", examples=[2.4])
    ] = None
    key: Annotated[str, Field(description="The idempotency key, where it is not sent as a header.")] = ""


class ReviewOut(Schema):
    id: int
    disagreement: int
    label: str | None
    instead: str
    incongruous: bool | None
    note: str
    seconds: float | None
    at: datetime
    undone: datetime | None = Field(description="Not null: it was taken back since, and counts no more.")
    votes: list[ShownVoteOut] | None = Field(description="Where the project shows them after the choice.")


class UndoneOut(Schema):
    review: ReviewOut
    held: bool = Field(description="Whether the post is this tab's again, to be answered anew.")


class Refused(Schema):
    detail: str


class UnknownLabel(Schema):
    detail: str | list[dict[str, Any]] = Field(description="A list where fields are at fault: it names them.")
    labels: list[str] | None = None


REFUSED = {409: Refused}


@router.post("/projects/{slug}/queue/next", response=NextOut, summary="The next posts to review")
def queue_next(request: HttpRequest, slug: str, asked: NextIn = NextIn()) -> dict[str, Any]:  # noqa: B008
    """What this tab holds and has not answered, and as many more as make it `n`: asked again, it gives the same posts.

    Why a post waits is not told, so that a contested post, a blind audit and a known answer are judged alike.
    """
    seat = seat_in(request, slug, asked.tab)
    held = queue.held(seat)
    pks = queue.fill(seat, queue.renew(seat, held) if held else [], asked.n)[: asked.n]
    labels = list(seat.project.labels.all())
    return {
        "question": seat.project.question,
        "labels": labels,
        "asks_incongruous": seat.project.asks_incongruous,
        "cards": [told(seat, one, labels) for one in card.cards(seat, pks)],
        "lease_seconds": queue.LEASE.total_seconds(),
    }


@router.post("/projects/{slug}/queue/renew", response=HeldOut, summary="Keep posts a while longer")
def queue_renew(request: HttpRequest, slug: str, asked: HeldIn) -> dict[str, Any]:
    seat = seat_in(request, slug, asked.tab)
    return {"ids": queue.renew(seat, numbers(asked.ids)), "lease_seconds": queue.LEASE.total_seconds()}


@router.post("/projects/{slug}/queue/release", response=ReleasedOut, summary="Leave posts to others")
def queue_release(request: HttpRequest, slug: str, asked: ReleaseIn = ReleaseIn()) -> dict[str, int]:  # noqa: B008
    seat = seat_in(request, slug, asked.tab)
    return {"released": queue.release(seat, None if asked.ids is None else numbers(asked.ids))}


@router.post("/disagreements/{pk}/votes", response={200: VotesOut} | REFUSED, summary="See the votes before answering")
def disagreement_votes(request: HttpRequest, pk: int, asked: Tab = Tab()) -> Any:  # noqa: B008
    """That they were seen is put on record first, and stored with the answer."""
    seat = seat_at(request, pk, asked.tab)
    if seat.project.votes_shown == VotesShown.AFTER:
        return Status(409, {"detail": "In this project votes are shown after the choice."})
    try:
        queue.show_votes(seat, pk)
    except Gone as gone:
        return Status(409, {"detail": str(gone)})
    (shown,) = card.cards(seat, [pk])
    return {"votes": [vote_told(vote) for vote in shown["votes"] or []]}


@router.post(
    "/disagreements/{pk}/review",
    response={200: ReviewOut, 422: UnknownLabel} | REFUSED,
    url_name="review",
    summary="Answer",
)
def review(
    request: HttpRequest,
    pk: int,
    asked: ReviewIn,
    idempotency_key: Annotated[str, Header(alias="Idempotency-Key")] = "",
) -> Any:
    """A label, or something in its place. Sent again with the same key it is the same answer, and counts once."""
    seat = seat_at(request, pk, asked.tab)
    key = idempotency_key or asked.key
    if mend := what_is_wrong(asked, key):
        return Status(422, {"detail": mend})
    names = dict(seat.project.labels.values_list("pk", "name"))
    label = find(names, asked.label) if asked.label else None
    if asked.label and label is None:
        unknown = f"“{asked.label}” is not a label of this project."
        return Status(422, {"detail": unknown, "labels": list(names.values())})
    given = deciding.Given(
        label, asked.instead, asked.incongruous if seat.project.asks_incongruous else None, asked.note, asked.seconds
    )
    try:
        stored = deciding.decide(seat, pk, given, key)
    except Gone as gone:
        return Status(409, {"detail": str(gone)})
    if stored.disagreement_id != pk:
        return Status(
            409, {"detail": "This key came with an answer to another post: each answer has a key of its own."}
        )
    return answered(stored, names.get(stored.label_id or 0), card.votes_afterwards(seat, stored))


@router.delete(
    "/disagreements/{pk}/review", response={200: UndoneOut} | REFUSED, url_name="review", summary="Take it back"
)
def review_undo(request: HttpRequest, pk: int, tab: str = TAB) -> Any:
    """Everything that the answer changed goes back with it."""
    try:
        taken_back = deciding.undo(seat_at(request, pk, tab[:36]), pk)
    except Gone as gone:
        return Status(409, {"detail": str(gone)})
    undone = Review.objects.select_related("label").get(pk=taken_back.review.pk)
    return {"review": answered(undone, undone.label.name if undone.label else None), "held": taken_back.held}


def seat_in(request: HttpRequest, slug: str, tab: str) -> Seat:
    user = me(request)
    project, role = project_for(user, slug, Role.REVIEWER)
    return Seat(project, user, role, tab.replace("\0", ""))


def seat_at(request: HttpRequest, pk: int, tab: str) -> Seat:
    """Of a disagreement in a project of others nothing is said, not even that it exists."""
    user = me(request)
    project = Project.objects.filter(disagreements=pk if 0 < pk < 2**63 else 0).first()
    role = user.role_in(project) if project else None
    if project is None or role is None:
        raise Http404
    return Seat(project, user, role, tab.replace("\0", ""))


def find(names: dict[int, str], label: str) -> int | None:
    wanted = settling.plain(label)
    return next((pk for pk, name in names.items() if settling.plain(name) == wanted), None)


def numbers(ids: list[int]) -> list[int]:
    return [pk for pk in ids if 0 < pk < 2**63]


def what_is_wrong(asked: ReviewIn, key: str) -> str:
    if not 0 < len(key) <= LONGEST_KEY or "\0" in key:
        return f"Send an Idempotency-Key of 1 to {LONGEST_KEY} characters, a new one for each answer."
    if asked.instead and asked.instead not in INSTEAD:
        return f"“{asked.instead}” cannot stand in place of a label; there are {', '.join(INSTEAD)}."
    if bool(asked.label) == bool(asked.instead):
        return "Send either a label, or what stands in place of one."
    return ""


def told(seat: Seat, shown: card.Card, labels: list[Label]) -> dict[str, Any]:
    names = {label.pk: label.name for label in labels}
    votes, answers = shown["votes"], shown["answers"]
    return {
        "id": shown["pk"],
        "text": shown["text"],
        "image": picture_told(seat, shown["image"]),
        "facts": shown["facts"],
        "votes": None if votes is None else [vote_told(vote) for vote in votes],
        "answers": None if answers is None else [{**one, "label": names.get(one["label"] or 0)} for one in answers],
    }


def picture_told(seat: Seat, shown: card.Picture | None) -> dict[str, Any] | None:
    """Where a token opens it, as a session opens the page's."""
    if shown is None:
        return None
    return {**shown, "url": reverse("api:image", args=[seat.project.slug, shown["url"].rsplit("/", 1)[1]])}


def vote_told(vote: card.ShownVote) -> dict[str, Any]:
    return {**vote, "label": None if vote["label"] is None else vote["said"]}


def answered(stored: Review, label: str | None, votes: list[card.ShownVote] | None = None) -> dict[str, Any]:
    fields = ("instead", "incongruous", "note", "seconds", "at", "undone")
    return {
        "id": stored.pk,
        "disagreement": stored.disagreement_id,
        "label": label,
        "votes": None if votes is None else [vote_told(vote) for vote in votes],
        **{name: getattr(stored, name) for name in fields},
    }
