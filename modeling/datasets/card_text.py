"""A dataset's card in words, for somebody who knows nothing of this tool: the same bytes for the same dataset."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from annotate.models import LabelSource
from annotate.quality import VAGUE, rate_words, span_words
from annotate.templatetags.shapes import coefficient, money, percent
from modeling.markdown import fenced, plain, table
from modeling.models import Dataset, Split

from .composition import Composition, Wrong, thin
from .recipe import MACHINES, SOURCES, Recipe
from .recipe_words import in_words, listed
from .splits import REASONS

Lines = Iterable[str]
SOURCE_NAMES = {source.value: source.label for source in LabelSource if source.value}
SPLIT_NAMES = {split.value: split.label for split in Split}


@dataclass(frozen=True)
class Removed:
    """Posts that had to go after it was frozen."""

    posts: int
    first: datetime
    last: datetime


def write(dataset: Dataset, removed: Removed | None, names: bool = True) -> str:
    made = Composition.from_json(dataset.composition)
    facts, told = dataset.facts, dataset.told
    parts = [
        opening(dataset, made),
        question(facts),
        contents(made, [label["name"] for label in facts["labels"]]),
        origins(told, made),
        choosing(Recipe.from_json(dataset.recipe), made),
        splitting(made),
        voters(facts, told),
        reviewers(told, names),
        agreement(told),
        wrong(made),
        limits(dataset, made, removed),
        verifying(dataset),
        words(facts),
    ]
    return "\n".join(line for part in parts for line in [*part, ""]).rstrip() + "\n"


def opening(dataset: Dataset, made: Composition) -> Iterator[str]:
    yield f"# {plain(dataset.told['project'])}, dataset {plain(dataset.name)}"
    yield ""
    everything = made.posts + made.splits["holdout"].posts
    when = f", frozen on {day(dataset.ended)}" if dataset.ended else ""
    yield (
        f"{counted(everything)} with one label each out of {len(dataset.facts['labels'])}{when}. Machines voted on the "
        "posts; where they agreed the label stands, where they contested it people decided."
    )
    if dataset.facts["synthetic"]:
        yield ""
        yield (
            "**Synthetic.** Posts, votes and labels were drawn by a program to show a product. No figure here says "
            "anything about real posts or real models."
        )


def question(facts: Mapping[str, Any]) -> Iterator[str]:
    weights = facts["weights"]
    yield "## The question and its labels"
    yield ""
    yield plain(facts["question"])
    yield ""
    heads = ["Label", "Meaning", *(["Weight in training"] if weights else [])]
    rows = [[plain(label["name"]), plain(label.get("meaning", ""))] for label in facts["labels"]]
    if weights:
        told = [f"{weights[label['name']]:g}" if label["name"] in weights else "" for label in facts["labels"]]
        rows = [[*row, weight] for row, weight in zip(rows, told, strict=True)]
    yield from table(heads, rows, right=2)
    if facts["asks_incongruous"]:
        yield ""
        yield "Beside the label stands whether a post is incongruous: sarcastic, or its picture contradicts its text."


def contents(made: Composition, labels: Iterable[str]) -> Iterator[str]:
    yield "## What is in it"
    yield ""
    splits = {name: part for name, part in made.splits.items() if part.posts}
    heads = [*(SPLIT_NAMES[name] for name in splits), "In all"]
    yield from table(["Label", *heads], [
        *([plain(label), *figures(part.labels.get(label, 0) for part in splits.values())] for label in labels),
        ["**Posts**", *figures(part.posts for part in splits.values())],
        ["With a picture", *figures(part.pictures for part in splits.values())],
        *([["Incongruous", *figures(part.incongruous for part in splits.values())]] if made.asks_incongruous else []),
        ["Groups of posts alike", *figures(part.groups for part in splits.values())],
    ], right=1)  # fmt: skip
    yield ""
    yield "Where the labels come from:"
    yield ""
    seen = [source for source in SOURCES if any(source in part.sources for part in splits.values())]
    yield from table(["Label given by", *heads], (
        [SOURCE_NAMES[source], *figures(part.sources.get(source, 0) for part in splits.values())] for source in seen
    ), right=1)  # fmt: skip


def figures(counts: Iterable[int]) -> list[str]:
    """With their sum last."""
    each = list(counts)
    return [f"{n:,}" for n in [*each, sum(each)]]


def origins(told: Mapping[str, Any], made: Composition) -> Iterator[str]:
    yield "## From where, and when"
    yield ""
    if told["first"]:
        first, last = (day(datetime.fromisoformat(told[end])) for end in ("first", "last"))
        when = f"on {first}" if first == last else f"from {first} to {last}"
        yield f"Posted {when}; where a file did not tell when, the day of its import counts."
        yield ""
    named = sum(source["posts"] for source in told["sources"])
    others = made.posts + made.splits["holdout"].posts - named
    rows = [[plain(source["name"]) or "not told", f"{source['posts']:,}"] for source in told["sources"]]
    yield from table(["Source", "Posts"], [*rows, *([["other sources", f"{others:,}"]] if others > 0 else [])], right=1)


def choosing(recipe: Recipe, made: Composition) -> Iterator[str]:
    yield "## How the posts were chosen"
    yield ""
    yield "Only posts whose label was settled: what was still contested when this was frozen is not in it. Of those:"
    yield ""
    yield from (f"- {plain(sentence)}" for sentence in in_words(recipe))
    if made.left_out:
        yield ""
        yield "Left out, because"
        yield ""
        yield from (f"- {REASONS[reason]}: {posts:,}" for reason, posts in made.left_out.items())


def splitting(made: Composition) -> Iterator[str]:
    yield "## How it was split"
    yield ""
    yield (
        "Posts whose pictures look alike, or whose words are the same but for case, punctuation and addresses, form a "
        "group, also over several steps; a group is never divided between splits. What was in the test split of an "
        "earlier dataset of this project stays in test, and what was trained on before is never measured on. Within "
        "that, each split holds about the same share of each label, and which post falls where is drawn by its id."
    )
    if made.splits["holdout"].posts:
        yield ""
        yield (
            "The locked test set was set apart at import and its labels were known beforehand. Posts that look or read "
            "like one of its posts were left out of all other splits. It stays out of exports unless somebody asks for "
            "it, because whoever has the file has the answers."
        )


def voters(facts: Mapping[str, Any], told: Mapping[str, Any]) -> Iterator[str]:
    yield "## Who voted"
    yield ""
    if not facts["voters"]:
        yield "Nobody: no machine has voted on these posts."
        return
    cast = {row["voter"]: row for row in told["votes"]}
    rows = ([plain(one["name"]), model(one), parameters(one), *votes(cast[one["name"]])] for one in facts["voters"])
    yield from table(["Voter", "Model", "Parameters", "Votes", "Abstained", "Cost"], rows, right=3)
    yield ""
    yield f"Votes on these posts alone. {cost_in_all(told['votes'])} What each was asked stands at the end."


def model(voter: Mapping[str, Any]) -> str:
    if voter["provider"] == "import":
        return "its votes came with an imported file"
    return plain(f"{voter['model']}, {voter['provider']}" if voter["model"] else voter["provider"])


def parameters(voter: Mapping[str, Any]) -> str:
    return plain(", ".join(f"{name} {value}" for name, value in sorted(voter["parameters"].items())))


def votes(cast: Mapping[str, Any]) -> list[str]:
    return [f"{cast['votes']:,}", f"{cast['votes'] - cast['labels']:,}", cost(cast)]


def cost(cast: Mapping[str, Any]) -> str:
    if cast["cost"] is None:
        return "unknown"
    known = plain(money(Decimal(cast["cost"])))
    return f"{known}, and {cast['unpriced']:,} unknown" if cast["unpriced"] else known


def cost_in_all(cast: Iterable[Mapping[str, Any]]) -> str:
    rows = list(cast)
    known = [Decimal(row["cost"]) for row in rows if row["cost"] is not None]
    unpriced = sum(row["unpriced"] for row in rows)
    if not known:
        return "What they cost is unknown."
    told = f"{plain(money(sum(known, Decimal())))} in all"
    return f"They cost {told}, without {unpriced:,} whose price is unknown." if unpriced else f"They cost {told}."


def reviewers(told: Mapping[str, Any], names: bool) -> Iterator[str]:
    yield "## Who reviewed"
    yield ""
    people = told["reviewers"]
    if not people:
        yield "Nobody: no person has looked at these posts."
        return
    yield from table(["Reviewer", "Answers"], (
        [plain(person["name"]) if names else f"reviewer {n}", f"{person['reviews']:,}"]
        for n, person in enumerate(people, start=1)
    ), right=1)  # fmt: skip
    yield ""
    if len(people) == 1:
        yield "All of it rests on one pair of eyes: nobody would notice a habit of theirs."
    elif told["read_twice"]:
        yield f"{counted(told['read_twice'])} {'was' if told['read_twice'] == 1 else 'were'} answered by more than one."
    else:
        yield "No post was answered by more than one person."


def agreement(told: Mapping[str, Any]) -> Iterator[str]:
    yield "## How far the voters agree"
    yield ""
    if not told["agreement"]:
        yield "Unknown: no two voters have voted on the same posts."
        return
    yield from table(["Voters", "Both gave a label", "The same one", "Cohen's kappa"], (
        [f"{plain(pair['one'])} and {plain(pair['other'])}", f"{pair['both']:,}",
         f"{pair['same']:,} ({percent(pair['same'], pair['both'])})", coefficient(pair["kappa"])]
        for pair in told["agreement"]
    ), right=1)  # fmt: skip
    yield ""
    yield (
        "On these posts alone. What the voters contested and nobody had decided when this was frozen is not among "
        "them, so in the whole project they agree less. Agreement is not correctness: machines share mistakes."
    )


def wrong(made: Composition) -> Iterator[str]:
    yield "## How many labels are wrong"
    yield ""
    part = made.wrong
    if part is None or not part.machines:
        yield unknown(made)
        return
    yield how_wrong(part)
    yield ""
    yield (
        f"Told from {part.audits:,} blind audit{'s' * (part.audits != 1)}: people read a random sample of what "
        "machines had settled, without seeing the votes. The estimate is of all such labels in the project, and is "
        "carried over to these in proportion. Labels that people gave are not counted in it."
    )


def how_wrong(part: Wrong) -> str:
    """What is not known well is told as a range, as on the quality pages."""
    share, low, high = (figure / part.machines for figure in (part.posts, part.low, part.high))
    of = f"the {part.machines:,} labels that machines gave outside the locked test set"
    if high - low > 2 * VAGUE:
        return f"From {span_words(low, high)} of {of} (95%), which is {part.low:,.0f} to {part.high:,.0f} wrong labels."
    return (
        f"About {rate_words(share, low, high)} of {of} (95%: {span_words(low, high)}), which is {part.posts:,.0f} "
        f"wrong labels (95%: {part.low:,.0f} to {part.high:,.0f})."
    )


def unknown(made: Composition) -> str:
    if not any(made.sources.get(source) for source in MACHINES):
        return "Not told: outside the locked test set no label was given by machines, and people's own are not audited."
    return "Unknown: nobody has audited what the machines settled. That they agree does not tell that they are right."


def limits(dataset: Dataset, made: Composition, removed: Removed | None) -> Iterator[str]:
    yield "## Known limits"
    yield ""
    found = thin(made, Recipe.from_json(dataset.recipe))
    if dataset.facts["synthetic"]:
        found = ["Everything in it is synthetic.", *found]
    if removed:
        found = [gone(removed), *found]
    yield from (f"- {plain(sentence)}" for sentence in found)
    yield "- Texts and pictures are as they were posted; what is wrong or offensive in them was not taken out."


def gone(removed: Removed) -> str:
    first, last = day(removed.first), day(removed.last)
    when = f"on {first}" if first == last else f"between {first} and {last}"
    return (
        f"{counted(removed.posts)} had to go {when}, after it was frozen. The figures above still count them; files "
        "made since then leave them out, and no longer have the hash below."
    )


def verifying(dataset: Dataset) -> Iterator[str]:
    yield "## Which dataset this is"
    yield ""
    yield "The SHA-256 of its facts and all its posts, as they were when it was frozen:"
    yield ""
    yield from fenced(dataset.content_hash)
    yield ""
    yield "It is verified over an export as JSON Lines with all splits, the locked test set among them:"
    yield ""
    yield from fenced("cat dataset.json posts.jsonl | sha256sum", "sh")


def words(facts: Mapping[str, Any]) -> Iterator[str]:
    """Last, because they are long."""
    if facts["guidelines"]:
        yield "## Appendix: the guidelines"
        yield ""
        yield from fenced(facts["guidelines"])
        yield ""
    for asked, names in askings(facts["voters"]):
        were = "was" if len(names) == 1 else "were"
        yield f"## Appendix: what {listed([plain(name) for name in names])} {were} asked"
        yield ""
        yield from asked
        yield ""


def askings(voters: Iterable[Mapping[str, Any]]) -> Iterable[tuple[tuple[str, ...], list[str]]]:
    """Those who were asked in the same words stand together."""
    found: dict[tuple[str, ...], list[str]] = {}
    for voter in voters:
        found.setdefault(tuple(asking(voter)), []).append(voter["name"])
    return found.items()


def asking(voter: Mapping[str, Any]) -> Iterator[str]:
    if voter["words"]:
        yield "Filled in as they last were, around the post:"
    elif voter["prompt"]:
        yield "With the holes that were filled in for each post:"
    else:
        yield "Not known: the votes came with an imported file."
        return
    yield ""
    yield from fenced(voter["words"] or voter["prompt"])


def counted(posts: int) -> str:
    return "1 post" if posts == 1 else f"{posts:,} posts"


def day(moment: datetime) -> str:
    at = moment.astimezone(UTC)
    return f"{at.day} {at:%B %Y}"
