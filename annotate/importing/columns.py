"""Which column of a table says what, guessed or chosen by a person; and a record read by it."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property

from . import topk
from .cells import KEPT_ITEMS, NO, YES, as_date, as_probability, as_text, as_yes_or_no, kept, storable
from .rows import Picture, Refused, Row, RowVote, Unreadable

Record = tuple[int, dict[str, object]]  # its number and its values by column

VOTER_NAME = 120
MAX_COLUMNS = 1000
PLANS = 100  # every record of a hostile JSON file may have other keys

TEXT = ("text", "full_text", "tweet_text", "tweet", "post_text", "body", "selftext", "content", "caption", "message",
        "comment", "post", "sentence", "title", "headline", "description", "com")  # fmt: skip
IMAGE = ("image", "img", "picture", "photo", "image_path", "img_path", "image_file", "image_name", "image_url",
         "img_url", "picture_url", "photo_url", "images", "media", "media_url")  # fmt: skip
FILE = ("file_name", "filename", "file", "path", "attachment", "url", "src")
ID = ("external_id", "post_id", "tweet_id", "status_id", "id_str", "id", "item_id", "uid", "uuid", "guid")
DATE = ("posted_at", "created_at", "published_at", "timestamp", "date", "datetime", "created_utc", "created",
        "published", "time", "at")  # fmt: skip
DATE_ENDINGS = ("date", "at", "timestamp", "time", "utc")
SOURCE = ("source", "platform", "site", "network", "subreddit", "board", "channel", "forum", "origin")
INCONGRUOUS = ("incongruous", "incongruity", "incongruent", "mismatch", "text_image_mismatch")
LABEL = ("label", "known_label", "gold", "gold_label", "ground_truth", "truth", "true_label", "human_label",
         "final_label")  # fmt: skip
LABEL_LIKE = ("sentiment", "class", "category", "target", "stance", "polarity", "emotion", "annotation", "y")
NOT_OF_THE_POST = frozenset({"author", "user", "parent", "thread", "conversation", "reply", "updated", "modified",
                             "edited", "deleted"})  # fmt: skip
MODEL = re.compile(
    r"(?<![a-z])(gpt|chatgpt|o[134](?![a-z0-9])|gemini|gemma|claude|llama|qwen|mistral|mixtral|pixtral|deepseek|grok"
    r"|kimi|glm|phi-?\d|llava|internvl|finbert|roberta|deberta|bert|vader|textblob)"
)
ADDRESS = re.compile(r"https?://\S+$", re.IGNORECASE)
PICTURE_NAME = re.compile(r"^data:image/|\.(jpe?g|png|gif|webp|bmp|tiff?|avif)(\?[^ ]*)?$", re.IGNORECASE)

CONFIDENCE = ("confidence", "conf", "score", "probability", "prob")
REASON = ("reason", "reasoning", "rationale", "explanation")
VOTE = ("label", "vote", "prediction", "pred", "answer", "choice")
SEVERAL = ("votes", "topk")  # of what a file may have more than one
ABOUT_A_VOTE = frozenset({*CONFIDENCE, *REASON, "raw", "tokens", "cost", "latency", "ms", "usd", "time", "error", "id"})


@dataclass(frozen=True)
class Columns:
    """Names of columns; blank: there is none. A vote's confidence and reason are found by the vote column's name; of
    votes with probabilities the first column stands for all of a voter's."""

    text: str = ""
    image: str = ""
    id: str = ""
    label: str = ""
    date: str = ""
    source: str = ""
    incongruous: str = ""
    votes: tuple[str, ...] = ()
    topk: tuple[str, ...] = ()
    voter: str = ""  # no column: whose the votes are that come without a name

    @classmethod
    def from_dict(cls, stored: Mapping[str, object]) -> "Columns":
        names = {f.name: str(stored.get(f.name) or "") for f in fields(cls) if f.name not in SEVERAL}
        listed = {name: stored.get(name) for name in SEVERAL}
        several = {name: tuple(map(str, of)) for name, of in listed.items() if isinstance(of, (list, tuple))}
        return cls(**names, **several)  # type: ignore[arg-type]

    def asdict(self) -> dict[str, str | list[str]]:
        told = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in SEVERAL}
        return told | {name: list(getattr(self, name)) for name in SEVERAL}

    def named(self) -> list[str]:
        return [name for name in (self.text, self.image, self.id, self.label, self.date, self.source,
                                  self.incongruous, *self.votes, *self.topk) if name]  # fmt: skip

    @property
    def has_votes_alone(self) -> bool:
        """For posts that are in the project already."""
        return bool(self.id and (self.votes or self.topk))

    def plan(self, headers: tuple[str, ...]) -> "Plan":
        plan = self._plans.get(headers)
        if plan is None:
            if len(self._plans) >= PLANS:
                self._plans.clear()
            plan = self._plans[headers] = plan_of(self, headers)
        return plan

    @cached_property
    def _plans(self) -> dict[tuple[str, ...], "Plan"]:
        return {}


@dataclass(frozen=True, slots=True)
class VotePlan:
    column: str
    voter: str
    confidence: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """Columns looked up once for all records that have the same headers: this is what makes reading fast."""

    columns: Columns
    votes: tuple[VotePlan, ...]
    rankings: tuple[topk.Ranking, ...]
    cells: tuple[str, ...]  # columns with objects that tell votes
    meta: tuple[tuple[str, str], ...]  # header, and its name as it can be stored


def plan_of(columns: Columns, headers: tuple[str, ...]) -> Plan:
    by_plain_name = {plain(header): header for header in headers}
    rankings = tuple(one for one in topk.rankings(headers) if one.key in columns.topk) if columns.topk else ()
    ranked = {column for one in rankings for column in one.columns}
    cells = tuple(column for column in columns.topk if column in headers and column not in ranked)
    present = [column for column in columns.votes if column in headers and column not in ranked]
    votes = tuple(vote_plan(column, by_plain_name, alone=len(present) == 1) for column in present)
    taken = {*columns.named(), *ranked, *(v.confidence for v in votes), *(v.reason for v in votes)}
    meta = tuple((header, storable(header[:200])) for header in headers if header not in taken)
    return Plan(columns, votes, rankings, cells, meta[:KEPT_ITEMS])


def vote_plan(column: str, by_plain_name: Mapping[str, str], alone: bool) -> VotePlan:
    """`gpt-4o_label` is a vote by gpt-4o, and `gpt-4o confidence` says how sure it was; alone, `confidence` does."""
    stem = stem_of(column, VOTE)
    names = [plain(column), plain(stem), ""] if alone else [plain(column), plain(stem)]

    def beside(suffixes: Iterable[str]) -> str:
        found = (by_plain_name.get(f"{name}_{suffix}".strip("_"), "") for suffix in suffixes for name in names)
        return next(filter(None, found), "")

    return VotePlan(column, storable(stem.strip())[:VOTER_NAME], beside(CONFIDENCE), beside(REASON))


def stem_of(header: str, suffixes: Iterable[str]) -> str:
    stem = re.sub(rf"[\s_.:-]+({'|'.join(suffixes)})\s*$", "", header[:VOTER_NAME], flags=re.IGNORECASE)
    return stem if stem.strip() else header


def plain(header: str) -> str:
    """`createdAt`, `Created At` and `created_at` are one name."""
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", header.strip())
    return re.sub(r"[\W_]+", "_", apart).strip("_").lower()


# --- guessing

Values = list[object]


def guess(headers: list[str], sample: list[dict[str, object]], labels: list[str]) -> Columns:
    values = {h: [v for record in sample if (v := record.get(h)) is not None and v != ""] for h in headers}
    names = {label.strip().casefold() for label in labels}
    tellers = topk_of(headers, values)
    told = {column for columns in tellers.values() for column in columns}
    free = {header: values[header] for header in headers if not is_model(header) and header not in told}

    def take(known: tuple[str, ...], fits: Callable[[Values], bool], endings: tuple[str, ...] = ()) -> str:
        found = by_name(free, known, endings, fits)
        free.pop(found, None)
        return found

    image = take(IMAGE, may_be_pictures) or take(FILE, are_pictures)
    image = image or next((header for header, column in free.items() if are_pictures(column)), "")
    free.pop(image, None)
    text = take(TEXT, may_be_texts, endings=TEXT) or longest(free)
    free.pop(text, None)
    columns = Columns(
        text=text,
        image=image,
        id=take(ID, are_distinct if text or image else are_short, endings=("id",)),  # several may vote on one post
        date=take(DATE, are_dates, endings=DATE_ENDINGS),
        source=take(SOURCE, are_short),
        incongruous=take(INCONGRUOUS, are_yes_or_no),
        label=take(LABEL, are_short) or take(LABEL_LIKE, lambda v: are_short(v) and (not names or are_in(v, names)),
                                             endings=LABEL_LIKE),
    )  # fmt: skip
    others = [header for header in headers if header not in told]
    votes = [h for h in others if (is_vote(h, values[h]) if is_model(h) else h in free and are_in(values[h], names))]
    return replace(columns, votes=tuple(votes), topk=tuple(tellers))


def topk_of(headers: list[str], values: Mapping[str, Values]) -> dict[str, list[str]]:
    """The columns of each voter that tells probabilities, by the first of them."""
    ranked = {one.key: one.columns for one in topk.rankings(headers) if may_be_ranked(one, values)}
    cells = {h: [h] for h in headers if values[h] and mostly(values[h], lambda value, h=h: topk.is_told_by(h, value))}  # type: ignore[misc]
    return ranked | cells


def may_be_ranked(one: topk.Ranking, values: Mapping[str, Values]) -> bool:
    label, sure = values[one.pairs[0][0]], values[one.pairs[0][1]]
    return not label or (are_short(label) and mostly(sure, lambda value: topk.number_in(value) is not None))


def by_name(
    free: dict[str, Values], known: Iterable[str], endings: Iterable[str], fits: Callable[[Values], bool]
) -> str:
    """The known names in their order; else a header that ends with one, such as `Tweet Text`; else an empty column."""
    plain_names = {header: plain(header) for header in free}
    exact = [header for name in known for header, own in plain_names.items() if own == name]
    similar = [
        header
        for ending in endings
        for header, own in plain_names.items()
        if own.endswith(f"_{ending}") and NOT_OF_THE_POST.isdisjoint(own.split("_"))
    ]
    fitting = next((header for header in exact + similar if fits(free[header])), "")
    return fitting or next((header for header in exact if not free[header]), "")


def is_model(header: str) -> bool:
    return MODEL.search(header.lower()) is not None


def is_vote(header: str, values: Values) -> bool:
    if plain(header).rpartition("_")[2] in ABOUT_A_VOTE:
        return False
    return not values or (are_short(values) and not mostly(values, lambda v: as_probability(v) is not None))


def longest(free: dict[str, Values]) -> str:
    """The column of the longest texts, where no header says which it is."""
    texts = {header: values for header, values in free.items() if may_be_texts(values)}
    lengths = {header: sum(len(as_text(v)) for v in values) / len(values) for header, values in texts.items()}
    best = max(lengths, key=lengths.__getitem__, default="")
    return best if best and lengths[best] > 20 else ""


def mostly(values: Values, holds: Callable[[object], bool]) -> bool:
    return bool(values) and sum(map(holds, values)) >= 0.6 * len(values)


def may_be_texts(values: Values) -> bool:
    return mostly(values, lambda v: isinstance(v, str) and as_probability(v) is None and not ADDRESS.match(v)) and not (
        are_pictures(values)
    )


def are_pictures(values: Values) -> bool:
    return mostly(values, is_picture)


def is_picture(value: object) -> bool:
    if isinstance(value, (list, tuple)) and value:
        value = value[0]
    if isinstance(value, Mapping):
        return "bytes" in value or "path" in value or "src" in value
    return isinstance(value, bytes) or (isinstance(value, str) and PICTURE_NAME.search(value[-200:]) is not None)


def may_be_pictures(values: Values) -> bool:
    return are_pictures(values) or mostly(values, lambda v: isinstance(v, str) and ADDRESS.match(v) is not None)


def are_distinct(values: Values) -> bool:
    texts = [as_text(value) for value in values]
    return are_short(values) and len(set(texts)) == len(texts)


def are_short(values: Values) -> bool:
    return mostly(values, lambda v: not isinstance(v, (Mapping, list, tuple, bytes)) and len(as_text(v)) <= 120)


def are_dates(values: Values) -> bool:
    return mostly(values, is_date)


def is_date(value: object) -> bool:
    try:
        return as_date(value) is not None
    except ValueError:
        return False


def are_yes_or_no(values: Values) -> bool:
    return mostly(values, lambda v: as_text(v).strip().lower() in YES | NO)


def are_in(values: Values, names: set[str]) -> bool:
    return mostly(values, lambda v: as_text(v).strip().casefold() in names)


# --- reading a record


def to_row(
    number: int, record: Mapping[str, object], columns: Columns, picture_of: Callable[[str], Picture]
) -> Row | Refused:
    try:
        return row_of(number, record, columns.plan(tuple(record)), picture_of)
    except (ValueError, Unreadable) as error:
        return Refused(number, str(error), excerpt_of(record, columns))


def row_of(number: int, record: Mapping[str, object], plan: Plan, picture_of: Callable[[str], Picture]) -> Row:
    columns, get = plan.columns, record.get
    text = as_text(get(columns.text)).strip().replace("\r\n", "\n") if columns.text else ""
    picture = picture_in(get(columns.image), number, picture_of) if columns.image else None
    own_id = as_text(get(columns.id)).strip() if columns.id else ""
    votes = (*(vote_in(record, vote) for vote in plan.votes if get(vote.column) is not None), *told_in(record, plan))
    if not text and picture is None and not (own_id and votes):
        raise ValueError("row has neither text nor a picture")
    return Row(
        number,
        text,
        own_id,
        picture,
        as_date(get(columns.date)) if columns.date else None,
        as_text(get(columns.source)).strip() if columns.source else "",
        as_text(get(columns.label)).strip() if columns.label else "",
        as_yes_or_no(get(columns.incongruous)) if columns.incongruous else None,
        votes,
        {name: kept(value) for header, name in plan.meta if (value := get(header)) is not None and value != ""},
    )


def vote_in(record: Mapping[str, object], vote: VotePlan) -> RowVote:
    return RowVote(
        vote.voter,
        as_text(record[vote.column]).strip(),
        as_probability(record.get(vote.confidence)) if vote.confidence else None,
        as_text(record.get(vote.reason)).strip() if vote.reason else "",
    )


def told_in(record: Mapping[str, object], plan: Plan) -> list[RowVote]:
    """A voter has one vote: what stands in columns of its own comes before what a cell says of it."""
    unnamed = plan.columns.voter.strip() or topk.UNNAMED
    ranked = [vote for one in plan.rankings for vote in topk.of_ranking(record, one, unnamed)]
    cells = [vote for header in plan.cells for vote in topk.of_cell(header, record.get(header), unnamed)]
    return list({vote.voter: vote for vote in reversed([*ranked, *cells])}.values())[::-1]


def picture_in(value: object, number: int, picture_of: Callable[[str], Picture]) -> Picture | None:
    """A name or an address; or the bytes themselves, as Parquet files of the Hugging Face Hub hold them."""
    name = ""
    if isinstance(value, (list, tuple)):
        value = value[0] if value else None
    if isinstance(value, Mapping):
        name, value = as_text(value.get("path") or value.get("src")), value.get("bytes")
    if isinstance(value, bytes) and value:
        held = value
        return Picture(name or f"picture {number}", lambda: held)
    name = name or as_text(value).strip()
    return picture_of(name) if name else None


def excerpt_of(record: Mapping[str, object], columns: Columns) -> str:
    text = as_text(record.get(columns.text)) if columns.text else ""
    return (text or ", ".join(as_text(value)[:80] for value in list(record.values())[:5] if value is not None))[:80]
