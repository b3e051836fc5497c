"""What was said of each post: every figure of an evaluation leads to the posts behind it, and pages go by key."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple, Self

import numpy as np
from django.db.models import F, FloatField, Func, IntegerField, Q, QuerySet, Value
from django.db.models.functions import Coalesce, Length
from django.utils.http import urlencode

from annotate import doubting
from annotate.models import Disagreement, Project, User
from annotate.models.review import Why
from modeling.datasets.renamed import was_called
from modeling.measures import calibration
from modeling.models import Dataset, DatasetItem, Evaluation, Prediction

from .answers import label_names
from .measuring import LENGTHS, SOURCES

PAGE = 48
COUNT_UP_TO = 1000  # beyond this a page says "more than", because counting grows with the test set
MOST_BARS = 6
UNKNOWN = -1.0  # how sure somebody is who does not say
HALFWAY = 0.5  # the place in the queue of what nobody said how sure they were of
YES, NO = "yes", "no"
GONE = "label-gone"
MISTAKES = "mistakes"
ORDERS = {"": "as in the dataset", "confidence": "surest first", "unsure": "least sure first",
          MISTAKES: "surest mistakes first"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Filters:
    """As written in the address; what cannot be understood is told, never an error page."""

    truth: str = ""
    told: str = ""
    right: str = ""
    answered: str = ""
    slice: str = ""  # as `Words/no words`
    above: str = ""  # how sure
    upto: str = ""
    order: str = ""

    @classmethod
    def from_query(cls, query: Mapping[str, str]) -> Self:
        return cls(**{f.name: query.get(f.name, "").replace("\0", "").strip()[:200] for f in fields(cls)})

    def as_dict(self) -> dict[str, str]:
        return {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name)}

    def query(self, **changes: str) -> str:
        return urlencode({name: value for name, value in (self.as_dict() | changes).items() if value})

    @property
    def is_gallery(self) -> bool:
        return self.order == MISTAKES


@dataclass(frozen=True, slots=True)
class Match:
    found: QuerySet[Prediction]
    mend: list[str]

    def count(self) -> tuple[int, bool]:
        """And whether there are more than we cared to count."""
        found = len(self.found.order_by().values_list("pk", flat=True)[: COUNT_UP_TO + 1])
        return min(found, COUNT_UP_TO), found > COUNT_UP_TO


class Bar(NamedTuple):
    name: str
    css: str
    chance: float

    @property
    def width(self) -> float:
        return round(100 * self.chance, 2)


@dataclass(frozen=True)
class Told:
    """A line of the list."""

    prediction: Prediction
    sure: float | None
    bars: list[Bar]
    is_sent: bool
    css_truth: str
    css_told: str

    @property
    def item(self) -> Any:
        return self.prediction.item

    @property
    def is_gone(self) -> bool:
        return self.item.removed is not None or self.item.post_id is None

    @property
    def is_right(self) -> bool:
        return bool(self.prediction.label == self.item.label)


class Page(NamedTuple):
    posts: list[Told]
    after: str  # the key of the last one, where more follow
    is_first: bool


# --- Which


def matching(evaluation: Evaluation, filters: Filters) -> Match:
    mend: list[str] = []
    mistakes = Q(item__removed=None) & ~Q(label="") & ~Q(label=F("item__label")) if filters.is_gallery else Q()
    found = measured(evaluation).filter(
        mistakes,
        one_of("right", filters.right, {YES: Q(label=F("item__label")), NO: ~Q(label=F("item__label"))}, mend),
        one_of("answered", filters.answered, {YES: ~Q(label=""), NO: Q(label="")}, mend),
        slice_of(filters.slice, mend),
        sure("gt", filters.above, mend), sure("lte", filters.upto, mend),
        *([Q(item__label=filters.truth)] if filters.truth else []), *([Q(label=filters.told)] if filters.told else []),
    )  # fmt: skip
    if filters.order not in ORDERS:
        mend.append(f"“{filters.order}” is no order; there are {', '.join(name for name in ORDERS if name)}.")
    return Match(found.none() if mend else found, mend)


def measured(evaluation: Evaluation) -> QuerySet[Prediction]:
    said = Prediction.objects.filter(evaluation=evaluation, to_calibrate=False)
    return said.alias(people=PEOPLE, letters=Length("item__text")).annotate(sure=sureness(evaluation))


class Likeliest(Func):
    """As `calibration.apply` has it, of the likeliest label. What is next to nothing is cut off: PostgreSQL refuses to
    reckon with numbers as small as that."""

    template = (
        "(SELECT 1 / sum(exp(greatest((score - best) / %(heat)s, -700))) FROM unnest(%(expressions)s) AS score, "
        "(SELECT max(one) AS best FROM unnest(%(expressions)s) AS one) AS top)"
    )
    output_field = FloatField()


PEOPLE = Func(
    F("item__reviews"), output_field=IntegerField(),
    template="(SELECT count(DISTINCT one ->> 'reviewer') FROM jsonb_array_elements(%(expressions)s) AS one)",
)  # fmt: skip


def sureness(evaluation: Evaluation) -> Coalesce:
    """As it was measured: by the chances of all labels where they are known of each post, else as it was stated."""
    likeliest = Likeliest(F("scores"), heat=repr(heat_of(evaluation)))
    by_chances = evaluation.measured.get("figures", {}).get("log_loss") is not None
    return Coalesce(*([] if by_chances else [F("confidence")]), likeliest, Value(UNKNOWN), output_field=FloatField())


def heat_of(evaluation: Evaluation) -> float:
    return float(evaluation.measured.get("temperature") or 1.0)


def one_of(name: str, chosen: str, known: Mapping[str, Q], mend: list[str]) -> Q:
    if chosen and chosen not in known:
        mend.append(f"“{chosen}” is not known as {name}; there are {', '.join(known)}.")
    return known.get(chosen, Q())


def sure(compare: str, written: str, mend: list[str]) -> Q:
    """As a bin of the reliability curve has it: from above its lower edge up to its upper one."""
    if not written:
        return Q()
    try:
        return Q(**{f"sure__{compare}": float(written) or UNKNOWN / 2}) & ~Q(sure=UNKNOWN)
    except ValueError:
        mend.append(f"“{written}” is not a number from 0 to 1.")
        return Q()


def slice_of(written: str, mend: list[str]) -> Q:
    """As `measuring.read` cuts them."""
    by, _, part = written.partition("/")
    known: dict[str, dict[str, Q]] = {
        "Text and picture": {"pull apart": Q(item__incongruous=True), "go together": Q(item__incongruous=False)},
        "Label from": {title: Q(item__label_source=source) for source, title in SOURCES.items()},
        "Looked at by": {"nobody": Q(people=0), "one person": Q(people=1), "two people or more": Q(people__gte=2)},
        "Picture": {"with a picture": ~Q(item__image=""), "without one": Q(item__image="")},
        "Words": {
            title: Q(letters__gte=least) & (Q(letters__lt=ends) if ends else Q())
            for (least, title), (ends, _) in zip(LENGTHS, [*LENGTHS[1:], (0, "")], strict=True)
        },
        "Source": {part: Q(item__source=part)}, "Template": {part: Q(item__template=part)},
    }  # fmt: skip
    if written and by not in known:
        mend.append(f"“{by}” is no way to cut them; there are {', '.join(known)}.")
    elif written and part not in known[by]:
        mend.append(f"“{part}” is not known of “{by}”; there are {', '.join(known[by])}.")
    return (Q(item__removed=None) & known.get(by, {}).get(part, Q())) if written else Q()


# --- A page of them


def page_of(evaluation: Evaluation, filters: Filters, query: Mapping[str, str], size: int = PAGE) -> Page:
    found, last = matching(evaluation, filters).found, key_in(query.get("after", ""))
    by_position = filters.order == ""
    down = filters.order != "unsure"
    if last and by_position:
        found = found.filter(item__position__gt=last.position)
    elif last:
        beyond = Q(sure__lt=last.sure) if down else Q(sure__gt=last.sure)
        found = found.filter(beyond | Q(sure=last.sure, item__position__gt=last.position))
    order = ["item__position"] if by_position else ["-sure" if down else "sure", "item__position"]
    # The numbers alone first: to put whole posts in order takes seconds where there are many.
    pks = list(found.order_by(*order).values_list("pk", flat=True)[: size + 1])
    whole = measured(evaluation).filter(pk__in=pks[:size]).select_related("item__post__label").defer(*UNSHOWN)
    shown = list(whole.order_by(*order))
    after = key_of(shown[-1]) if shown and len(pks) > size else ""
    return Page(as_told(evaluation, shown), after, last is None)


UNSHOWN = ("item__votes", "item__reviews", "item__meta", "item__post__search", "item__post__meta", "item__post__text")


class Key(NamedTuple):
    sure: float
    position: int


def key_of(prediction: Any) -> str:
    return f"{prediction.sure!r}_{prediction.item.position}"


def key_in(written: str) -> Key | None:
    sure, _, position = written.partition("_")
    try:
        return Key(float(sure), int(position)) if position.isascii() and len(position) < 10 else None
    except ValueError:
        return None


def as_told(evaluation: Evaluation, found: Sequence[Any]) -> list[Told]:
    sent = sent_among([one.item.post_id for one in found if one.item.post_id])
    colours, names = colours_of(evaluation.project), label_names(evaluation.dataset)
    heat = heat_of(evaluation)
    return [
        Told(
            one, None if one.sure == UNKNOWN else one.sure, bars_of(one, names, colours, heat),
            one.item.post_id in sent, colours.get(one.item.label, GONE), colours.get(one.label, GONE),
        )
        for one in found
    ]  # fmt: skip


def bars_of(said: Prediction, names: Sequence[str], colours: Mapping[str, str], heat: float) -> list[Bar]:
    """The likeliest; and in any case the true one and the one it gave."""
    if not said.scores:
        return []
    chances = calibration.apply(np.array([said.scores]), heat)[0].tolist()
    bars = [Bar(name, colours.get(name, GONE), chance) for name, chance in zip(names, chances, strict=True)]
    if len(bars) <= MOST_BARS:
        return bars
    likely = sorted(bars, key=lambda bar: -bar.chance)
    kept = [bar for bar in likely[MOST_BARS - 2 :] if bar.name in (said.item.label, said.label)]
    return likely[: MOST_BARS - 2] + kept


def colours_of(project: Project) -> dict[str, str]:
    """A label that is gone from the project since has no colour of its own."""
    return {label.name: f"label-{label.pk}" for label in project.labels.all()}


# --- Sent to people


def sent_among(posts: Sequence[int]) -> set[int]:
    waiting = Disagreement.objects.filter(post__in=posts, why=Why.DOUBT, closed=None)
    return set(waiting.values_list("post_id", flat=True))


def doubt(evaluation: Evaluation, by: User, item: int) -> bool:
    """The label of a post looks wrong, and the model is as sure of that as of its own."""
    known = measured(evaluation).filter(item=item, item__post__isnull=False).exclude(label="")
    one: Any = known.exclude(label=F("item__label")).select_related("item__post__label").first()
    if one is None or not stands_still(evaluation.dataset, one.item):
        return False
    chance = HALFWAY if one.sure == UNKNOWN else one.sure
    return bool(doubting.doubt(evaluation.project, by, {one.item.post_id: chance}))


def stands_still(dataset: Dataset, item: DatasetItem) -> bool:
    """What is doubted is the label of the dataset: one that its post has since got is another."""
    label = item.post.label if item.post else None
    return label is not None and was_called(dataset).get(label.name, label.name) == item.label
