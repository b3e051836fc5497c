"""Pure: what Label Studio reads and writes. Ours to theirs (the labelling page, a task, what was said) and back.

Two habits of Label Studio shape this. It takes pictures only into projects with a single object tag that reads the
data, so a post's words stand in a Header, which shows them as they are: markup as text, every line break and space. And
it puts the data in place of `$name` wherever a tag's value holds one, so a dollar in our own words is kept apart from
what follows by a character without width; the label's real name is its alias, which is what annotations then hold.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from xml.sax.saxutils import quoteattr

POST = "post"  # what the answers are about, whether that tag shows a picture or words
LABEL, INCONGRUOUS, NOTE = "label", "incongruous", "note"
YES, NO = "yes", "no"
MARK = "casting_vote"  # in a task's meta: which of our disagreements it is
APART = "\u2060"  # word joiner
ASKED = "Do picture and text contradict each other?"

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """What one annotation or prediction says; no label where it holds none, or several."""

    label: str = ""
    incongruous: bool | None = None
    note: str = ""


# --- The labelling page
def tag(kind: str, /, **attributes: str) -> str:
    told = "".join(f" {attribute}={quoteattr(value)}" for attribute, value in attributes.items())
    return f"<{kind}{told}/>"


PICTURE = tag("Image", name=POST, value="$image")
WORDS = tag("Header", value="$text", size="5", style="font-weight: 400")
TEXT = tag("Text", name=POST, value="$text")


def config(question: str, labels: Sequence[tuple[str, str, str]], asks_incongruous: bool, pictures: bool = True) -> str:
    """`labels` are name, colour and key each. With `pictures`, a task without one has "" for its image."""
    answers = [
        *choices(LABEL, [choice(name, key, background=colour) for name, colour, key in labels], required=True),
        *(asked() if asks_incongruous else []),
        tag("TextArea", name=NOTE, toName=POST, placeholder="A note, if you like", rows="2", maxSubmissions="1"),
    ]
    shown = beside(PICTURE, [*as_written(WORDS), *answers]) if pictures else [*as_written(TEXT), *answers]
    return "\n".join(["<View>", tag("Header", value=literal(question), size="4"), *shown, "</View>"])


def beside(picture: str, answers: list[str]) -> list[str]:
    """The picture right of the labels, so that they are in sight whatever its height; on a narrow screen above them."""
    return [
        '<View style="display: flex; flex-flow: row-reverse wrap; gap: 1em 1.5em">',
        '<View style="flex: 3 1 20em; min-width: 0">', picture, "</View>",
        '<View style="flex: 2 1 14em; min-width: 0">', *answers, "</View>",
        "</View>",
    ]  # fmt: skip


def as_written(inner: str) -> list[str]:
    return ['<View style="white-space: pre-wrap; overflow-wrap: anywhere">', inner, "</View>"]


def asked() -> list[str]:
    return [tag("Header", value=ASKED, size="5"), *choices(INCONGRUOUS, [choice(YES), choice(NO)], required=False)]


def choices(name: str, options: Iterable[str], required: bool) -> list[str]:
    must = {"required": "true", "requiredMessage": "Choose a label, or skip the post."} if required else {}
    opening = tag("Choices", name=name, toName=POST, choice="single-radio", showInline="true", **must)
    return [opening.replace("/>", ">"), *options, "</Choices>"]


def choice(name: str, key: str = "", **more: str) -> str:
    attributes = {"value": literal(name), "alias": name if "$" in name else "", "hotkey": key} | more
    return tag("Choice", **{attribute: value for attribute, value in attributes.items() if value})


def literal(words: str) -> str:
    """A dollar apart from what follows is only a dollar."""
    return words.replace("$", f"${APART}")


# --- A post, and what was said of it
def task(
    *,
    id: str,
    text: str,
    image: str = "",
    source: str = "",
    at: datetime | None = None,
    mark: int | None = None,
    predictions: Iterable[Json] = (),
    annotations: Iterable[Json] = (),
) -> Json:
    """`image` is an address that Label Studio can show, or a path beside an exported file."""
    data = {"id": id, "text": text, "image": image, "source": source, "date": at.isoformat() if at else ""}
    made: Json = {"data": data}
    for name, said in (("predictions", list(predictions)), ("annotations", list(annotations))):
        if said:
            made[name] = said
    return made if mark is None else made | {"meta": {MARK: mark}}


def prediction(voter: str, label: str, score: float | None = None, incongruous: bool | None = None) -> Json:
    """One voter's vote; without a label it abstained. Its reason stays here: Label Studio starts new annotations from
    predictions, and would put a machine's words into a person's mouth."""
    made: Json = {"model_version": voter, "result": result(Answer(label, incongruous))}
    return made if score is None else made | {"score": score}


def annotation(label: str, incongruous: bool | None = None, note: str = "", who: str = "") -> Json:
    """One person's answer; `who` is an e-mail address. Without a label it was skipped."""
    made: Json = {"result": result(Answer(label, incongruous, note)), "was_cancelled": not label}
    return made | {"completed_by": {"email": who}} if who else made


def result(answer: Answer) -> list[Json]:
    said: list[Json] = []
    if answer.label:
        said.append(chosen(LABEL, answer.label))
    if answer.incongruous is not None:
        said.append(chosen(INCONGRUOUS, YES if answer.incongruous else NO))
    if answer.note:
        said.append({"from_name": NOTE, "to_name": POST, "type": "textarea", "value": {"text": [answer.note]}})
    return said


def chosen(name: str, value: str) -> Json:
    return {"from_name": name, "to_name": POST, "type": "choices", "value": {"choices": [value]}}


# --- And back
def answer_in(result: object) -> Answer:
    """Of whatever stands in an annotation's `result`: people change labelling pages, and programs write there too."""
    regions = [region for region in result if isinstance(region, Mapping)] if isinstance(result, list) else []
    labels = values(regions, LABEL, "choices")
    told = set(values(regions, INCONGRUOUS, "choices"))
    return Answer(
        label=labels[0] if len(set(labels)) == 1 else "",
        incongruous={frozenset({YES}): True, frozenset({NO}): False}.get(frozenset(told)),
        note="\n".join(values(regions, NOTE, "text")).replace("\0", "").strip(),
    )


def values(regions: Iterable[Mapping[str, Any]], name: str, kind: str) -> list[str]:
    held = [region.get("value") for region in regions if region.get("from_name") == name]
    found = [value.get(kind) for value in held if isinstance(value, Mapping)]
    each = [one for words in found for one in (words if isinstance(words, list) else [words])]
    return [one for one in each if isinstance(one, str)]


def mark_in(meta: object) -> int | None:
    mark = meta.get(MARK) if isinstance(meta, Mapping) else None
    return mark if isinstance(mark, int) and not isinstance(mark, bool) else None
