"""Lists of posts: every filter comes from the URL, and pages go by key, so the last is as quick as the first."""

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, time
from typing import Any, Self

from django.contrib.postgres.search import SearchQuery
from django.db import connection
from django.db.models import Exists, OuterRef, Q, QuerySet, Sum
from django.utils.dateparse import parse_date, parse_datetime
from django.utils.http import urlencode

from .blindness import OVERSEER, Reader, told_reviews
from .models import Disagreement, LabelSource, Post, Project, Review, State, Tally, Vote, VoteTally
from .models.review import FLAGS

PAGE = 60
COUNT_UP_TO = 1000  # beyond this a page says "more than", because counting grows with the table
READ_UP_TO = 50_000  # posts, where no index knows the words and each has to be read: what a page can wait for


@dataclass(frozen=True, slots=True)
class Filters:
    """As written in the URL; what cannot be understood is told in `mend`, never an error page."""

    state: str = ""
    label: str = ""
    source: str = ""
    voter: str = ""
    said: str = ""  # what that voter answered
    other: str = ""  # a voter on the same post
    other_said: str = ""
    answers: str = ""  # how the two compare
    template: str = ""
    since: str = ""
    until: str = ""
    q: str = ""
    holdout: str = ""
    voted: str = ""
    flag: str = ""  # why people set it aside
    reviewer: str = ""  # a person who has answered it
    failed: str = ""  # number of a voting run that could not ask about them
    cause: str = ""  # and why
    order: str = ""

    @classmethod
    def from_query(cls, query: Mapping[str, str]) -> Self:
        return cls(**{f.name: query.get(f.name, "").replace("\0", "").strip()[:200] for f in fields(cls)})

    @property
    def oldest_first(self) -> bool:
        return self.order == "oldest"

    def as_dict(self) -> dict[str, str]:
        return {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name)}

    def query(self, **changes: str) -> str:
        return urlencode({name: value for name, value in (self.as_dict() | changes).items() if value})

    @property
    def narrowing(self) -> dict[str, str]:
        depends = {"said": self.voter, "other_said": self.other, "cause": self.failed}
        unused = {"order", *(name for name, leader in depends.items() if not leader)}
        return {name: value for name, value in self.as_dict().items() if name not in unused}


@dataclass(frozen=True, slots=True)
class Page:
    posts: list[Post]
    before: str  # cursor of the page before, "" when there is none
    after: str
    first: bool
    last: bool


@dataclass(frozen=True, slots=True)
class Count:
    number: int
    more: bool = False  # there are more than we cared to count
    pks: tuple[int, ...] | None = None  # all of them, where they are few and had to be looked up to be counted


@dataclass(frozen=True, slots=True)
class Match:
    posts: QuerySet[Post]
    mend: list[str]  # what in the question could not be understood, in sentences
    tally: QuerySet[Tally] | QuerySet[VoteTally] | None  # where the answer's size stands already
    to_read: QuerySet[Post] | None = None  # where no index knows the words: the posts that all have to be read
    told: str = ""  # what was left unread, in a sentence

    def count(self) -> Count:
        if self.tally is not None:
            field = "posts" if self.tally.model is Tally else "votes"
            return Count(self.tally.aggregate(n=Sum(field))["n"] or 0)
        pks = tuple(self.posts.order_by().values_list("pk", flat=True)[: COUNT_UP_TO + 1])
        return Count(len(pks), pks=pks) if len(pks) <= COUNT_UP_TO else Count(COUNT_UP_TO, more=True)

    def within_reach(self, filters: Filters) -> "Match":
        """For a page, which cannot wait until a million posts are read; whoever has the time takes all of them."""
        if self.to_read is None:
            return self
        first = self.to_read.order_by("at", "id") if filters.oldest_first else self.to_read.order_by("-at", "-id")
        beyond = first.values_list("at", "pk")[READ_UP_TO : READ_UP_TO + 1]
        if not beyond:
            return self
        told = (
            f"Only the {'oldest' if filters.oldest_first else 'newest'} {READ_UP_TO:,} of these posts were looked "
            "through: a search for what is not there reads every post. Add a word that is there, or choose dates."
        )
        return replace(self, posts=self.posts.filter(past(*beyond[0], ascending=not filters.oldest_first)), told=told)


def matching(project: Project, filters: Filters, reader: Reader = OVERSEER) -> Match:
    exact, mend = exactly(project, filters, reader)
    posts = Post.objects.filter(project=project, **exact) if exact is not None else Post.objects.none()
    tally = Tally.objects.filter(project=project, **tallied(exact)) if exact is not None else None
    votes = None
    if filters.voter:
        posts, votes, problem = voted_by(project, posts, filters)
        mend += problem
    if filters.other or filters.answers:
        posts, problem = voted_by_another(project, posts, filters)
        mend += problem
    posts, problem = in_time(posts, filters)
    mend += problem
    if filters.template:
        posts, problem = of_template(project, posts, filters)
        mend += problem
    if filters.flag:
        posts, problem = set_aside_as(project, posts, filters)
        mend += problem
    if filters.reviewer:
        posts, problem = answered_by(project, posts, filters, reader)
        mend += problem
    if filters.failed:
        posts, problem = failed_in(posts, filters)
        mend += problem
    to_read = posts if says_only_what_is_not_there(filters.q) else None
    if filters.q:
        posts = posts.filter(search=SearchQuery(filters.q, config="english", search_type="websearch"))
    narrowing = set(filters.narrowing)
    if narrowing <= TALLIED:
        return Match(posts, mend, tally)
    return Match(posts, mend, votes if narrowing <= {"voter", "said"} else None, to_read)


def says_only_what_is_not_there(words: str) -> bool:
    """As PostgreSQL sees it, which alone knows what its words mean: `moon OR -rug` is such a search too."""
    if "-" not in words:
        return False
    with connection.cursor() as cursor:
        cursor.execute("SELECT querytree(websearch_to_tsquery('english', %s)) = 'T'", [words])
        return bool(cursor.fetchone()[0])


TALLIED = {"state", "label", "source", "holdout", "voted"}
ANSWERS = {"both": "both gave a label", "same": "the same label", "different": "different labels"}


def exactly(project: Project, filters: Filters, reader: Reader) -> tuple[dict[str, Any] | None, list[str]]:
    """What holds for a post or not, None where nothing can match."""
    exact: dict[str, Any] = {}
    mend = []
    if filters.state:
        exact["state"] = filters.state
        if filters.state not in State.values:
            mend.append(f"“{filters.state}” is not a state; there are {', '.join(State.values)}.")
    if filters.source:
        exact["label_source"] = filters.source
        if filters.source not in LabelSource.values:
            mend.append(f"“{filters.source}” is not a label source.")
    if filters.label:
        exact["label_id"] = label_id(project, filters.label)
        if exact["label_id"] is None:
            mend.append(f"“{filters.label}” is not a label of this project.")
    if filters.holdout:
        exact["holdout"] = True
    if (filters.label or filters.source) and not reader.is_lead:
        exact["holdout"] = False  # what is not told of a post cannot be asked for either
        if filters.holdout:
            mend.append("The labels of the locked test set are told to leads alone: reviewers are measured on them.")
    if filters.voted:
        exact["vote_count__gt"] = 0
    return (None if mend else exact), mend


def tallied(exact: dict[str, Any]) -> dict[str, Any]:
    others = {name: value for name, value in exact.items() if name != "vote_count__gt"}
    return others | ({"voted": True} if "vote_count__gt" in exact else {})


def label_id(project: Project, name: str) -> int | None:
    return project.labels.filter(name__iexact=name).values_list("pk", flat=True).first()


def of_template(project: Project, posts: QuerySet[Post], filters: Filters) -> tuple[QuerySet[Post], list[str]]:
    number = int(filters.template) if filters.template.isdecimal() and len(filters.template) < 19 else 0
    template = project.templates.filter(pk=number).first()
    if not template:
        return posts.none(), ["That template group does not exist."]
    return posts.filter(template=template), []


def set_aside_as(project: Project, posts: QuerySet[Post], filters: Filters) -> tuple[QuerySet[Post], list[str]]:
    if filters.flag not in FLAGS:
        return posts.none(), [f"“{filters.flag}” is not why posts are set aside; there are {', '.join(FLAGS)}."]
    flagged = Disagreement.objects.filter(project=project, instead=filters.flag).exclude(was_state="")
    return posts.filter(state=State.ASIDE, pk__in=flagged.values("post")), []


def answered_by(
    project: Project, posts: QuerySet[Post], filters: Filters, reader: Reader
) -> tuple[QuerySet[Post], list[str]]:
    theirs = Review.objects.filter(told_reviews(reader), project=project, reviewer__username=filters.reviewer)
    if not theirs.exists():
        return posts.none(), [f"No answer by “{filters.reviewer}” is known here."]
    return posts.filter(pk__in=theirs.filter(undone=None).values("disagreement__post")), []


def failed_in(posts: QuerySet[Post], filters: Filters) -> tuple[QuerySet[Post], list[str]]:
    if not (filters.failed.isdecimal() and len(filters.failed) < 19):
        return posts.none(), [f"“{filters.failed}” is not the number of a voting run."]
    because = {"failures__cause": filters.cause} if filters.cause else {}
    failed = Post.objects.filter(failures__part__run=int(filters.failed), **because)
    return posts.filter(pk__in=failed.values("pk")), []


def voted_by(
    project: Project, posts: QuerySet[Post], filters: Filters
) -> tuple[QuerySet[Post], QuerySet[VoteTally] | None, list[str]]:
    answer, mend = answer_of(project, filters.voter, filters.said)
    if answer is None:
        return posts.none(), None, mend
    votes = Vote.objects.filter(post=OuterRef("pk"), **answer)
    return posts.filter(Exists(votes)), VoteTally.objects.filter(**answer), []


def voted_by_another(project: Project, posts: QuerySet[Post], filters: Filters) -> tuple[QuerySet[Post], list[str]]:
    if filters.answers and not (filters.voter and filters.other):
        return posts.none(), ["Answers are compared between two voters: name a voter and another one."]
    if filters.answers and filters.answers not in ANSWERS:
        return posts.none(), [f"“{filters.answers}” is not how answers compare; there are {', '.join(ANSWERS)}."]
    answer, mend = answer_of(project, filters.other, filters.other_said)
    if answer is None:
        return posts.none(), mend
    votes = Vote.objects.filter(post=OuterRef("pk"), **answer)
    if filters.answers:
        first, _ = answer_of(project, filters.voter, "")
        votes = votes.filter(Exists(compared(filters.answers, **(first or {}))), label__isnull=False)
    return posts.filter(Exists(votes)), []


def compared(answers: str, **first: int | None) -> QuerySet[Vote]:
    """The first voter's answers that compare as asked with the vote around them; an abstention is no answer."""
    votes = Vote.objects.filter(post=OuterRef("post"), label__isnull=False, **first)
    if answers == "same":
        return votes.filter(label=OuterRef("label"))
    return votes.exclude(label=OuterRef("label")) if answers == "different" else votes


def answer_of(project: Project, name: str, said: str) -> tuple[dict[str, int | None] | None, list[str]]:
    """Whose vote and for what, None where nobody can have cast it."""
    voter = project.voters.filter(name=name).first()
    if not voter:
        return None, [f"No voter is called “{name}”."]
    if not said:
        return {"voter_id": voter.pk}, []
    label = None if said == "abstained" else label_id(project, said)
    if label is None and said != "abstained":
        return None, [f"“{said}” is not a label of this project."]
    return {"voter_id": voter.pk, "label_id": label}, []


def in_time(posts: QuerySet[Post], filters: Filters) -> tuple[QuerySet[Post], list[str]]:
    mend = []
    for name, lookup, edge in (("since", "at__gte", time.min), ("until", "at__lte", time.max)):
        written = getattr(filters, name)
        if not written:
            continue
        try:
            day = parse_date(written)
        except ValueError:
            day = None
        if day:
            posts = posts.filter(**{lookup: datetime.combine(day, edge, UTC)})
        else:
            mend.append(f"“{written}” is not a date; write it as 2025-11-14.")
    return posts, mend


def page_of(
    posts: QuerySet[Post], filters: Filters, query: Mapping[str, str], size: int = PAGE, count: Count | None = None
) -> Page:
    """`after=KEY` walks on, `before=KEY` walks back, `end=1` starts from the far end."""
    if count and count.pks is not None:
        # For a rare word PostgreSQL guesses wrong and walks the whole table in order; these it can only look up.
        posts = Post.objects.filter(pk__in=count.pks)
    backwards = bool(query.get("before") or query.get("end"))
    ascending = filters.oldest_first != backwards
    key = read_key(query.get("after") or query.get("before") or "")
    posts = posts.order_by("at", "id") if ascending else posts.order_by("-at", "-id")
    if key:
        posts = posts.filter(past(*key, ascending=ascending))
    found = list(posts.select_related("image", "label").defer("search", "meta")[: size + 1])
    more, found = len(found) > size, found[:size]
    if backwards:
        found.reverse()
    has_before = more if backwards else key is not None
    has_after = (key is not None) if backwards else more
    return Page(
        posts=found,
        before=write_key(found[0]) if found and has_before else "",
        after=write_key(found[-1]) if found and has_after else "",
        first=not has_before,
        last=not has_after,
    )


def past(at: datetime, pk: int, *, ascending: bool) -> Q:
    """The plain bound on `at` is implied, but only with it does PostgreSQL start the index scan at the key."""
    if ascending:
        return Q(at__gte=at) & (Q(at__gt=at) | Q(at=at, pk__gt=pk))
    return Q(at__lte=at) & (Q(at__lt=at) | Q(at=at, pk__lt=pk))


def write_key(post: Post) -> str:
    return base64.urlsafe_b64encode(json.dumps([post.at.isoformat(), post.pk]).encode()).decode().rstrip("=")


def read_key(key: str) -> tuple[datetime, int] | None:
    try:
        at, pk = json.loads(base64.urlsafe_b64decode(key + "=" * (-len(key) % 4)))
        moment = parse_datetime(at)
        return (moment.astimezone(UTC), int(pk)) if moment and moment.tzinfo and 0 < int(pk) < 2**63 else None
    except (ValueError, TypeError, binascii.Error, OverflowError, RecursionError):
        return None
