"""What a reviewer sees of a post. A contested one, an audit and a known answer look the same, down to the last key."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import NamedTuple, TypedDict

from django.db import connection
from django.urls import reverse
from django.utils import timezone
from django.utils.formats import date_format

from .deciding import in_shuffled_order
from .models import Review, Role, Vote
from .models.project import VotesShown
from .models.review import BROUGHT, Instead, Stream
from .queue import Seat

WORDS = 80  # characters of a post that name it in passing


class Picture(TypedDict):
    url: str
    width: int
    height: int


class ShownVote(TypedDict):
    voter: str
    label: int | None
    said: str
    confidence: float | None
    reason: str
    text_reading: str
    image_reading: str
    incongruous: bool | None


class Said(TypedDict):
    """What a person said of a post."""

    who: str
    said: str
    label: int | None
    instead: str
    note: str
    incongruous: bool | None
    seconds: float | None


class Card(TypedDict):
    pk: int
    text: str
    image: Picture | None
    facts: list[str]
    votes: list[ShownVote] | None  # None: not shown
    answers: list[Said] | None  # only where people differ, and only to leads
    was: Said | None  # what this person said of it before taking that back


class Row(NamedTuple):
    pk: int
    stream: int
    holder: int | None
    votes_shown: bool
    post: int
    text: str
    source: str
    at: datetime
    sha256: str | None
    format: str | None
    width: int | None
    height: int | None
    template: str | None
    alike: int | None


# In SQL, because Django takes longer to write this than PostgreSQL to answer it, and it is asked at every decision.
ROWS = """
SELECT d.id, d.stream, d.holder_id, d.votes_shown, p.id, p.text, p.source, p.at, i.sha256, i.format, i.width, i.height,
  t.name, t.size
FROM annotate_disagreement AS d JOIN annotate_post AS p ON p.id = d.post_id
  LEFT JOIN annotate_image AS i ON i.id = p.image_id LEFT JOIN annotate_template AS t ON t.id = p.template_id
WHERE d.id = ANY(%s) AND d.project_id = %s
"""


def cards(seat: Seat, pks: Sequence[int], former: bool = False) -> list[Card]:
    """In the order asked for; one question to the database, and one more for each thing that only some of them show."""
    if not pks:
        return []
    with connection.cursor() as cursor:
        cursor.execute(ROWS, [list(pks), seat.project.pk])
        rows = {row[0]: Row(*row) for row in cursor.fetchall()}
    shown = [rows[pk] for pk in pks if pk in rows]
    votes = votes_on(seat, {row.pk: row.post for row in shown if row.votes_shown and row.holder == seat.user.pk})
    answers = answers_on([row.pk for row in shown if row.stream == Stream.CONFLICT and seat.role.covers(Role.LEAD)])
    was = former_answers(seat, pks) if former else {}
    return [
        Card(
            pk=row.pk,
            text=row.text,
            image=picture(seat, row),
            facts=facts(row),
            votes=votes.get(row.pk),
            answers=answers.get(row.pk),
            was=was.get(row.pk),
        )
        for row in shown
    ]


def picture(seat: Seat, row: Row) -> Picture | None:
    if row.sha256 is None or row.width is None or row.height is None:
        return None
    url = reverse("image", args=[seat.project.slug, f"{row.sha256}.{row.format}"])
    return Picture(url=url, width=row.width, height=row.height)


def facts(row: Row) -> list[str]:
    """Nothing that would tell the label: what came with the post in `meta` may hold it."""
    told = [row.source, date_format(timezone.localtime(row.at), "j M Y")]
    if row.template:
        told.append(f"Template: {row.template}")
    if row.alike and row.alike > 1:
        told.append(f"one of {row.alike:,} alike")
    return [fact for fact in told if fact]


def votes_on(seat: Seat, posts: dict[int, int]) -> dict[int, list[ShownVote]]:
    """By disagreement, in an order that differs from post to post."""
    if not posts:
        return {}
    found: dict[int, list[Vote]] = defaultdict(list)
    asked = Vote.objects.filter(post__in=posts.values()).select_related("voter", "label")
    for vote in asked.defer("raw", "probabilities", "voter__prompt", "voter__parameters", "voter__limits"):
        found[vote.post_id].append(vote)
    return {pk: in_order(seat, pk, found[post]) for pk, post in posts.items()}


def in_order(seat: Seat, pk: int, votes: Iterable[Vote]) -> list[ShownVote]:
    by_voter = {vote.voter_id: vote for vote in votes}
    order = in_shuffled_order(seat, pk, list(by_voter))
    names = {voter: f"Voter {letters(n)}" if seat.project.hide_voters else "" for n, voter in enumerate(order)}
    return [shown(by_voter[voter], names[voter]) for voter in order]


def letters(number: int) -> str:
    """A to Z, then AA."""
    rest, last = divmod(number, 26)
    return (letters(rest - 1) if rest else "") + chr(ord("A") + last)


def shown(vote: Vote, name: str) -> ShownVote:
    return ShownVote(
        voter=name or vote.voter.name,
        label=vote.label_id,
        said=vote.label.name if vote.label else "abstained",
        confidence=vote.confidence,
        reason=vote.reason,
        text_reading=vote.text_reading,
        image_reading=vote.image_reading,
        incongruous=vote.incongruous,
    )


def answers_on(pks: Collection[int]) -> dict[int, list[Said]]:
    if not pks:
        return {}
    live = Review.objects.filter(disagreement__in=pks, undone=None).exclude(instead=Instead.SKIP)
    found: dict[int, list[Said]] = {pk: [] for pk in pks}
    for review in live.select_related("reviewer", "label").order_by("pk"):
        found[review.disagreement_id].append(said(review))
    return found


def former_answers(seat: Seat, pks: Collection[int]) -> dict[int, Said]:
    taken_back = Review.objects.filter(disagreement__in=pks, reviewer=seat.user, undone__isnull=False)
    return {review.disagreement_id: said(review) for review in taken_back.select_related("label").order_by("undone")}


def said(review: Review) -> Said:
    return Said(
        who=review.reviewer.get_short_name() or review.reviewer.get_username(),
        said=in_words(review),
        label=review.label_id,
        instead=review.instead,
        note=review.note,
        incongruous=review.incongruous,
        seconds=review.seconds,
    )


def in_words(review: Review) -> str:
    return review.label.name if review.label else Instead(review.instead).label.lower()


class Last(TypedDict):
    """The decision that would be taken back next."""

    key: str
    said: str
    words: str
    votes: list[ShownVote] | None


def last_decision(seat: Seat) -> Last | None:
    mine = Review.objects.filter(~BROUGHT, project=seat.project, reviewer=seat.user, undone=None).order_by("-pk")
    review = mine.select_related("label", "disagreement").first()
    if not review:
        return None
    text = review.disagreement.post.text
    return Last(key=review.key, said=in_words(review), words=text[:WORDS], votes=votes_afterwards(seat, review))


def votes_afterwards(seat: Seat, review: Review) -> list[ShownVote] | None:
    if seat.project.votes_shown != VotesShown.AFTER or review.instead == Instead.SKIP:
        return None
    pk = review.disagreement_id
    return votes_on(seat, {pk: review.disagreement.post_id})[pk]
