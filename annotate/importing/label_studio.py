"""Tasks as Label Studio exports them: what people chose is the known label, predictions are votes."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import chain, islice

from annotate.label_studio import tasks

from . import exported
from .cells import as_probability, as_text, kept
from .columns import MAX_COLUMNS, VOTER_NAME, Columns, Record, guess, to_row
from .pictures import PictureOf
from .rows import Refused, Row, RowReview, RowVote, VoteDetail

SAMPLE = 50
OURS = frozenset({"id", "text", "image", "source", "date"})  # what tasks hold that we wrote
OUR_COLUMNS = Columns(text="text", image="image", id="id", date="date", source="source")


def is_task(record: Mapping[str, object]) -> bool:
    made_by_it = {"annotations", "predictions", "completions", "inner_id", "file_upload"}
    return isinstance(record.get("data"), Mapping) and (len(record) == 1 or not made_by_it.isdisjoint(record))


def read(
    records: Iterator[Record | Refused], columns: Columns | None, labels: Iterable[str], picture_of: PictureOf
) -> Iterator[Row | Refused]:
    sample = list(islice(records, SAMPLE))
    columns = columns or guess_inside(sample, list(labels))
    for record in chain(sample, records):
        if isinstance(record, Refused):
            yield record
        elif not isinstance(data := record[1].get("data"), Mapping):
            yield Refused(record[0], "record is not a task of Label Studio: it has no “data”", as_text(record[1])[:80])
        elif data.keys() == OURS:
            yield our_row(*record, picture_of)
        else:
            yield row_of(*record, columns, picture_of)


def our_row(number: int, task: Mapping[str, object], picture_of: PictureOf) -> Row | Refused:
    """A post that we put there: under its own id, with the votes and the answers that lie beside it."""
    data = task["data"]
    assert isinstance(data, Mapping)
    row = to_row(number, data, OUR_COLUMNS, picture_of)
    if isinstance(row, Refused):
        return row
    people = [(who(entry, n), tasks.answer_in(entry.get("result"))) for n, entry in answers_in(task)]
    given = [(name, answer) for name, answer in people if answer.label]
    label = only([[answer.label] for _, answer in given])
    odd = {answer.incongruous for _, answer in given}
    meta = task.get("meta")
    past = exported.past_of(meta if isinstance(meta, Mapping) else {})
    reviews = tuple(
        RowReview(name, answer.label, note=answer.note, incongruous=answer.incongruous) for name, answer in given
    )
    return replace(
        row,
        text=as_text(data["text"]),
        label=as_text(meta.get("label")) if isinstance(meta, Mapping) and past.label_source else label,
        incongruous=odd.pop() if len(odd) == 1 else None,
        votes=tuple(exported.unique(vote_of(entry) for entry in entries(task, "predictions"))),
        past=replace(past, label_source=past.label_source or ("review" if label else ""), reviews=reviews),
    )


def answers_in(task: Mapping[str, object]) -> Iterator[tuple[int, Mapping[str, object]]]:
    return enumerate(entries(task, "annotations"), 1)


def vote_of(prediction: Mapping[str, object]) -> RowVote:
    answer = tasks.answer_in(prediction.get("result"))
    voter = as_text(prediction.get("model_version")).strip()[:VOTER_NAME] or "prediction"
    sure = as_probability(prediction.get("score"))
    return RowVote(voter, answer.label, sure, detail=VoteDetail(incongruous=answer.incongruous))


def who(annotation: Mapping[str, object], number: int) -> str:
    """Label Studio tells a number, or the person; what we export tells neither."""
    told = annotation.get("completed_by")
    if isinstance(told, Mapping):
        told = told.get("email") or told.get("username") or told.get("id")
    name = as_text(told).strip()[: exported.NAME] or f"annotator-{number}"
    return f"label-studio-{name}" if name.isdecimal() else name


def guess_inside(sample: list[Record | Refused], labels: list[str]) -> Columns:
    tasks = [data for r in sample if isinstance(r, tuple) and isinstance(data := r[1].get("data"), dict)]
    return guess(list(dict.fromkeys(key for data in tasks for key in data))[:MAX_COLUMNS], tasks, labels)


def row_of(number: int, task: Mapping[str, object], columns: Columns, picture_of: PictureOf) -> Row | Refused:
    data = task["data"]
    assert isinstance(data, Mapping)
    row = to_row(number, data, columns, picture_of)
    if isinstance(row, Refused):
        return row
    chosen = [choices for annotation in entries(task, "annotations") if (choices := choices_in(annotation))]
    label = only(chosen)
    return replace(
        row,
        external_id=row.external_id or id_of(task),
        label=label or row.label,
        votes=row.votes + votes_in(task),
        meta=row.meta | ({"choices": kept(chosen)} if chosen and not label else {}),
    )


def entries(task: Mapping[str, object], key: str) -> list[Mapping[str, object]]:
    found = task.get(key) or (task.get("completions") if key == "annotations" else None)
    found = found if isinstance(found, list) else []
    return [entry for entry in found if isinstance(entry, Mapping) and not entry.get("was_cancelled")]


def choices_in(entry: Mapping[str, object]) -> list[str]:
    results = entry.get("result")
    values = [r.get("value") for r in results if isinstance(r, Mapping)] if isinstance(results, list) else []
    lists = [value.get("choices") for value in values if isinstance(value, Mapping)]
    return [as_text(choice).strip() for choices in lists if isinstance(choices, list) for choice in choices]


def only(chosen: list[list[str]]) -> str:
    """The one choice of everybody who chose: people who differ have not labelled it."""
    all_choices = {choice for choices in chosen for choice in choices}
    return all_choices.pop() if len(all_choices) == 1 else ""


def votes_in(task: Mapping[str, object]) -> tuple[RowVote, ...]:
    votes: dict[str, RowVote] = {}
    for prediction in entries(task, "predictions"):
        voter = as_text(prediction.get("model_version")).strip()[:VOTER_NAME] or "prediction"
        choices = choices_in(prediction)
        if len(choices) == 1:
            votes.setdefault(voter, RowVote(voter, choices[0], as_probability(prediction.get("score"))))
    return tuple(votes.values())


def id_of(task: Mapping[str, object]) -> str:
    """Their ids count within one installation, so they are marked as theirs."""
    parts = ["label-studio", as_text(task.get("project")), as_text(task.get("id"))]
    return "/".join(filter(None, parts)) if parts[-1] else ""
