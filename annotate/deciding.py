"""A person's answer, what follows from it, and how it is taken back."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from django.db import connection, transaction
from django.db.models.functions import Now
from django.utils import timezone

from . import queue
from .models import Disagreement, LabelSource, Post, Review, Role, State, Vote
from .models.project import VotesShown
from .models.review import BROUGHT, Instead, Stream, Why
from .queue import Gone, Seat
from .settling import lot
from .verdict import Answer, Verdict, verdict

ORIGIN = {Why.AUDIT: Stream.AUDIT, Why.RISK: Stream.RISK, Why.DOUBT: Stream.RISK}
LONGEST = 3600.0  # seconds; whoever looks longer has gone for lunch


@dataclass(frozen=True, slots=True)
class Given:
    """What the reviewer chose: a label, or something instead of one."""

    label: int | None = None
    instead: str = ""
    incongruous: bool | None = None
    note: str = ""
    seconds: float | None = None


class Locked(NamedTuple):
    """A disagreement and its post, as they stand while nobody else can change them."""

    pk: int
    post: int
    why: str
    stream: int
    wanted: int
    answers: int
    passed: list[int]
    holder: int | None
    is_held: bool
    votes_shown: bool
    closed: datetime | None
    state: str
    label: int | None
    source: str
    incongruous: bool | None


# The post first, as settling locks them, so that the two never wait for each other.
LOCK = """
SELECT d.id, post.id, d.why, d.stream, d.wanted, d.answers, d.passed, d.holder_id,
  coalesce(d.held_until > now(), FALSE), d.votes_shown,
  d.closed, post.state, post.label_id, post.label_source, post.incongruous
FROM annotate_post AS post JOIN annotate_disagreement AS d ON d.post_id = post.id
WHERE d.id = %s AND d.project_id = %s FOR NO KEY UPDATE OF post, d
"""


def lock(seat: Seat, pk: int) -> Locked:
    with connection.cursor() as cursor:
        cursor.execute(LOCK, [pk, seat.project.pk])
        row = cursor.fetchone()
    if row is None:
        raise Gone("This post is no longer in the project.")
    return Locked(*row)


def decide(seat: Seat, pk: int, given: Given, key: str) -> Review:
    """With the same key again it is the same answer: nothing is decided twice, however often it is sent."""
    with transaction.atomic():
        at_hand = lock(seat, pk)
        saw = voters_shown(seat, at_hand) if at_hand.votes_shown else []
        return accept(seat, at_hand, given, key, saw, refused(seat, at_hand))


def decide_elsewhere(seat: Seat, pk: int, given: Given, key: str, saw: list[int]) -> Review:
    """An answer from another program, where whoever gave it saw the votes of `saw`: it needs no lease, and takes none.

    Where people differ it is no lead's word: there nobody saw both answers.
    """
    with transaction.atomic():
        at_hand = lock(seat, pk)
        return accept(seat, at_hand, given, key, saw, refused_elsewhere(seat, at_hand))


def accept(seat: Seat, at_hand: Locked, given: Given, key: str, saw: list[int], refusal: str) -> Review:
    review = None if refusal else store(seat, at_hand, given, key, saw)
    if review is None:
        return sent_before(seat, key, refusal or ALREADY)
    if at_hand.stream == Stream.CHECK or given.instead == Instead.SKIP:
        pass_on(at_hand, seat, answers=0)
    else:
        follow(seat, at_hand, answers_on(at_hand, review))
    return review


ALREADY = "You have already answered this post; take that back first to answer anew."


def refused(seat: Seat, at_hand: Locked) -> str:
    """Why an answer comes too late, in words for the reviewer; blank where it does not.

    A lease that lapsed and that nobody took is still good: the answer was under way for long, and does no harm.
    """
    if at_hand.stream == Stream.CONFLICT:
        if not seat.role.covers(Role.LEAD):
            return "People differ on this post by now; a lead decides it."
    elif seat.user.pk in at_hand.passed:
        return ALREADY
    if at_hand.closed:
        return "This post was decided while your answer was on its way."
    if at_hand.holder != seat.user.pk:
        return "This post was given to somebody else while your answer was on its way."
    return ""


def refused_elsewhere(seat: Seat, at_hand: Locked) -> str:
    if at_hand.stream == Stream.CONFLICT:
        return "People differ on this post by now; a lead decides it."
    if seat.user.pk in at_hand.passed:
        return ALREADY
    if at_hand.closed:
        return "This post was decided meanwhile."
    if at_hand.holder != seat.user.pk and at_hand.is_held:
        return "Somebody has this post on the screen."
    return ""


def sent_before(seat: Seat, key: str, refusal: str) -> Review:
    sent = Review.objects.filter(project=seat.project, reviewer=seat.user, key=key).first()
    if sent is None:
        raise Gone(refusal)
    return sent


# In one statement, and by hand: this is what people wait for at every key press.
STORE = """
INSERT INTO annotate_review (project_id, disagreement_id, reviewer_id, key, label_id, instead, note, incongruous, final,
  saw, seconds, at)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s::bigint[], %s, now()) ON CONFLICT DO NOTHING RETURNING id, at
"""


def store(seat: Seat, at_hand: Locked, given: Given, key: str, saw: list[int]) -> Review | None:
    review = Review(
        project=seat.project,
        disagreement_id=at_hand.pk,
        reviewer=seat.user,
        key=key,
        label_id=given.label,
        instead=given.instead,
        note=given.note.replace("\0", ""),
        incongruous=given.incongruous,
        final=at_hand.stream == Stream.CONFLICT and given.instead != Instead.SKIP,
        saw=saw,
        seconds=None if given.seconds is None else min(max(given.seconds, 0.0), LONGEST),
    )
    with connection.cursor() as cursor:
        cursor.execute(
            STORE,
            [
                seat.project.pk, at_hand.pk, seat.user.pk, key, review.label_id, review.instead, review.note,
                review.incongruous, review.final, review.saw, review.seconds,
            ],
        )  # fmt: skip
        row = cursor.fetchone()
    if row is None:
        return None
    review.pk, review.at = row
    return review


def voters_shown(seat: Seat, at_hand: Locked) -> list[int]:
    voters = Vote.objects.filter(post=at_hand.post).values_list("voter", flat=True)
    return in_shuffled_order(seat, at_hand.pk, list(voters))


def in_shuffled_order(seat: Seat, pk: int, voters: list[int]) -> list[int]:
    """Another order for every post and person, and the same one again after a reload."""
    return sorted(voters, key=lambda voter: lot(f"order {seat.user.pk} {voter}", seat.project.pk, pk))


def answers_on(at_hand: Locked, newest: Review) -> list[Answer]:
    if not at_hand.answers:
        return [answer_of(newest)]
    live = Review.objects.filter(disagreement=at_hand.pk, undone=None).exclude(instead=Instead.SKIP)
    return [answer_of(review) for review in live]


def answer_of(review: Review) -> Answer:
    return Answer(review.label_id, review.instead, review.incongruous, review.final)


def follow(seat: Seat, at_hand: Locked, answers: list[Answer]) -> None:
    outcome = verdict(answers, at_hand.wanted)
    parties = {*at_hand.passed, seat.user.pk}
    if not outcome.stands and not outcome.differ and not queue.somebody_else(seat.project, parties):
        outcome = verdict(answers, len(answers))  # nothing waits for a second person who does not exist
    if outcome.stands:
        conclude(at_hand, outcome, passed=sorted(parties), answers=len(answers))
    elif outcome.differ:
        to_leads(seat, at_hand, parties, len(answers))
    else:
        pass_on(at_hand, seat, answers=1)


def pass_on(at_hand: Locked, seat: Seat, answers: int) -> None:
    """Done with for this person; for others it waits where it stood."""
    with connection.cursor() as cursor:
        cursor.execute(
            """UPDATE annotate_disagreement SET passed = array_append(passed, %s), answers = answers + %s,
                 holder_id = NULL, tab = '', held_since = NULL, held_until = NULL, votes_shown = FALSE
               WHERE id = %s""",
            [seat.user.pk, answers, at_hand.pk],
        )


def to_leads(seat: Seat, at_hand: Locked, parties: set[int], answers: int) -> None:
    """A lead who is a party to it is asked only where there is no other."""
    others = queue.somebody_else(seat.project, parties, Role.LEAD)
    Disagreement.objects.filter(pk=at_hand.pk).update(
        stream=Stream.CONFLICT, passed=sorted(parties) if others else [], answers=answers, **queue.FREE
    )


CONCLUDE = """
WITH closed AS (
  UPDATE annotate_disagreement SET closed = now(), passed = %(passed)s::bigint[], answers = %(answers)s,
    label_id = %(label)s, instead = %(instead)s, was_state = %(was_state)s, was_label_id = %(was_label)s,
    was_source = %(was_source)s, was_incongruous = %(was_incongruous)s,
    holder_id = NULL, tab = '', held_since = NULL, held_until = NULL, votes_shown = FALSE
  WHERE id = %(pk)s RETURNING post_id
)
UPDATE annotate_post AS post
SET state = %(state)s, label_id = %(label)s, label_source = %(source)s, incongruous = %(incongruous)s
FROM closed WHERE post.id = closed.post_id
"""


def conclude(at_hand: Locked, outcome: Verdict, passed: list[int], answers: int) -> None:
    names: dict[str, Any] = {
        "pk": at_hand.pk, "passed": passed, "answers": answers, "label": outcome.label, "instead": outcome.instead,
        "incongruous": outcome.incongruous,
        "state": State.ASIDE if outcome.instead else State.SETTLED,
        "source": "" if outcome.instead else LabelSource.REVIEW,
        "was_state": at_hand.state, "was_label": at_hand.label, "was_source": at_hand.source,
        "was_incongruous": at_hand.incongruous,
    }  # fmt: skip
    with connection.cursor() as cursor:
        cursor.execute(CONCLUDE, names)


@dataclass(frozen=True, slots=True)
class TakenBack:
    review: Review
    held: bool  # whether the post is on this person's screen again


def undo(seat: Seat, pk: int | None = None) -> TakenBack:
    """The last decision, or the one on this disagreement; everything that it changed goes back with it."""
    mine = Review.objects.filter(~BROUGHT, project=seat.project, reviewer=seat.user, undone=None).order_by("-pk")
    last = (mine.filter(disagreement=pk) if pk else mine).first()
    if not last:
        raise Gone("There is nothing to take back.")
    with transaction.atomic():
        at_hand = lock(seat, last.disagreement_id)
        review = mine.filter(pk=last.pk).first()
        if not review:
            raise Gone("This was taken back already.")
        refuse_overruled(seat, at_hand, review)
        Review.objects.filter(pk=review.pk).update(undone=timezone.now())
        return TakenBack(review, put_back(seat, at_hand, review))


def take_back(seat: Seat, key: str) -> TakenBack:
    """Undo, by the answer's own key: however often it is sent, it takes back that answer and not the one before."""
    review = Review.objects.filter(project=seat.project, reviewer=seat.user, key=key).first()
    if not review:
        raise Gone("There is nothing to take back.")
    if review.undone:
        return TakenBack(review, review.disagreement_id in queue.held(seat))
    return undo(seat, review.disagreement_id)


def refuse_overruled(seat: Seat, at_hand: Locked, review: Review) -> None:
    if not review.final and Review.objects.filter(disagreement=at_hand.pk, undone=None, final=True).exists():
        raise Gone("A lead has decided this post since; what you said of it stays on record.")
    if not at_hand.closed:
        return
    others = Disagreement.objects.filter(post=at_hand.post).exclude(pk=at_hand.pk)
    if others.filter(closed=None).exclude(why=Why.CHECK).exists():
        raise Gone("This post is being looked at anew since; what you said of it stays on record.")
    if others.filter(pk__gt=at_hand.pk).exclude(was_state="").exists():
        raise Gone("This post was decided anew since; what you said of it stays on record.")


def put_back(seat: Seat, at_hand: Locked, review: Review) -> bool:
    """A skip changed nothing but whom the post is offered to."""
    stored = Disagreement.objects.get(pk=at_hand.pk)
    if stored.closed and stored.was_state and review.instead != Instead.SKIP:
        put_post_back(at_hand, stored)
        clear_verdict(stored)
        queue.waiting_checks([at_hand.post]).update(closed=timezone.now())
    live = list(Review.objects.filter(disagreement=at_hand.pk, undone=None))
    answers = [answer_of(r) for r in live if r.instead != Instead.SKIP]
    if stored.stream != Stream.CHECK:
        stored.answers = len(answers)
        differ = verdict(answers, wanted=len(answers)).differ
        stored.stream = Stream.CONFLICT if differ else ORIGIN.get(Why(stored.why), Stream.CONTESTED)
    # Who was never to be asked stays out; see `doubting`.
    stored.passed = sorted({*stored.passed} - {review.reviewer_id} | {r.reviewer_id for r in live})
    held = stored.closed is None and not is_held_by_other(seat, stored)
    if held:
        take(seat, stored, saw_votes=bool(review.saw) or saw_afterwards(seat, review))
    stored.save()
    return held


def saw_afterwards(seat: Seat, review: Review) -> bool:
    """Where votes are shown after the choice, whoever takes that back has seen them by now."""
    return seat.project.votes_shown == VotesShown.AFTER and review.instead != Instead.SKIP


def put_post_back(at_hand: Locked, stored: Disagreement) -> None:
    """Unless somebody has given it another label since, in the administration say."""
    if stored.instead:
        as_decided = at_hand.state == State.ASIDE
    else:
        as_decided = at_hand.source == LabelSource.REVIEW and at_hand.label == stored.label_id
    if as_decided:
        Post.objects.filter(pk=at_hand.post).update(
            state=stored.was_state,
            label=stored.was_label_id,
            label_source=stored.was_source,
            incongruous=stored.was_incongruous,
        )


def clear_verdict(stored: Disagreement) -> None:
    stored.closed, stored.label, stored.instead = None, None, ""
    stored.was_state, stored.was_label, stored.was_source, stored.was_incongruous = "", None, "", None


def is_held_by_other(seat: Seat, stored: Disagreement) -> bool:
    held = Disagreement.objects.filter(pk=stored.pk, held_until__gt=Now())
    return held.exclude(holder=seat.user).exists()


def take(seat: Seat, stored: Disagreement, *, saw_votes: bool) -> None:
    stored.holder, stored.tab, stored.votes_shown = seat.user, seat.tab, saw_votes
    # Before all that the tab holds: what was taken back is on the screen first.
    stored.held_since, stored.held_until = datetime.fromtimestamp(0, UTC), Now() + queue.LEASE


def let_stand(project_pk: int) -> int:
    """Where the second person has left the project, the first answer stands; called every minute."""
    half = Disagreement.objects.filter(project=project_pk, closed=None, answers__gt=0).select_related("project")
    return sum(stand_alone(stored) for stored in half.iterator())


def stand_alone(stored: Disagreement) -> bool:
    """Where people differ and the lead has left, whoever is lead now may decide, a party to it or not."""
    if stored.stream == Stream.CONFLICT:
        if stored.passed and not queue.somebody_else(stored.project, stored.passed, Role.LEAD):
            Disagreement.objects.filter(pk=stored.pk).update(passed=[])
        return False
    if queue.somebody_else(stored.project, stored.passed):
        return False
    with transaction.atomic():
        first = Review.objects.filter(disagreement=stored, undone=None).exclude(instead=Instead.SKIP).first()
        if not first:
            return False
        at_hand = lock(Seat(stored.project, first.reviewer, Role.REVIEWER), stored.pk)
        if at_hand.closed or at_hand.answers != 1:
            return False
        conclude(at_hand, verdict([answer_of(first)], 1), at_hand.passed, 1)
    return True
