"""An evaluation as text: for the terminal, for programs, for a table, and for a paper."""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from django.db.models import Q, QuerySet

from annotate.spreadsheets import guarded
from modeling.measures import calibration, comparison
from modeling.measures.comparison import Difference
from modeling.measures.metrics import Measured
from modeling.measures.resampling import Figure
from modeling.models import Comparison, Evaluation, On, Prediction

from .answers import label_names
from .posts import heat_of

FORMATS = ("words", "json", "csv", "md")
TYPES = {"words": "text/plain", "json": "application/json", "csv": "text/csv", "md": "text/markdown"}
ENDINGS = {"words": "txt", "json": "json", "csv": "csv", "md": "md"}
WINDOW = 2000
NONE = "–"
INTERVALS = "Intervals are 95%, by bootstrap over groups of posts that are alike."


class NotMeasured(Exception):
    """The words are for whoever asked."""


def written(evaluation: Evaluation, format: str) -> str:
    return "".join(parts(evaluation, format))


def parts(evaluation: Evaluation, format: str) -> Iterator[str]:
    """In pieces, because a row a post may be many."""
    if "figures" not in evaluation.measured:
        raise NotMeasured(f"{evaluation.name} is not measured yet: {evaluation.get_state_display().lower()}.")
    if format == "csv":
        yield from rows(evaluation)
    elif format == "json":
        yield json.dumps(as_json(evaluation), ensure_ascii=False, indent=1) + "\n"
    else:
        yield from markdown(evaluation) if format == "md" else plain(evaluation)


# --- What is told


def as_json(evaluation: Evaluation) -> dict[str, Any]:
    return {
        "evaluation": evaluation.pk, "project": evaluation.project.slug, "predictor": evaluation.predictor,
        "name": evaluation.name, "sees": evaluation.sees, "dataset": evaluation.dataset.name,
        "content_hash": evaluation.dataset.content_hash, "split": evaluation.split, "test_hash": evaluation.test_hash,
        "ended": evaluation.ended.isoformat() if evaluation.ended else None, "used": evaluation.used,
        **evaluation.measured,
        "compared": [
            {"evaluation": other.pk, "name": other.name, "sees": other.sees, **told.as_json()}
            for other, told in compared(evaluation)
        ],
    }  # fmt: skip


def compared(evaluation: Evaluation) -> list[tuple[Evaluation, Difference]]:
    """Each told from this one to the other, the latest of each."""
    latest = evaluation.project.evaluations.latest_of_each().filter(test_hash=evaluation.test_hash)
    known = set(latest.values_list("pk", flat=True))
    pairs = Comparison.objects.filter(Q(first=evaluation) | Q(second=evaluation)).select_related("first", "second")
    found = []
    for pair in pairs.defer("first__measured", "second__measured").order_by("pk"):
        told, forward = Difference.from_json(pair.told), pair.first_id == evaluation.pk
        other = pair.second if forward else pair.first
        if other.pk in known:
            found.append((other, told if forward else told.turned()))
    return found


def where(evaluation: Evaluation) -> str:
    return f"{On(evaluation.split).label.lower()} of {evaluation.dataset.name}"


def headline(evaluation: Evaluation, figures: Measured) -> list[tuple[str, str]]:
    """Each figure named for what it is."""
    asked, of = evaluation.measured["asked"], evaluation.measured["of"]
    told = [
        ("Posts", f"{asked:,}" + (f" of {of:,}" if asked < of else "")),
        ("Macro F1", interval(figures.macro_f1)),
        ("Accuracy", interval(figures.accuracy)), ("Balanced accuracy", interval(figures.balanced_accuracy)),
    ]  # fmt: skip
    if folds := figures.folds:
        told.insert(2, (f"Macro F1, {folds.folds} x {folds.repeats} stratified folds", str(folds.macro_f1)))
    if figures.unanswered:
        told.append(("No answer", f"{figures.unanswered:,}"))
    if figures.log_loss:
        told.append(("Log loss", interval(figures.log_loss)))
    if figures.ece is not None:
        told.append(("ECE", f"{figures.ece:.3f}{heat_words(evaluation)}"))
    return told


def heat_words(evaluation: Evaluation) -> str:
    """Before and after, and what the temperature was fitted on."""
    said, heat = evaluation.measured["as_said"], evaluation.measured["temperature"]
    if not heat or heat == 1 or not said or said["ece"] is None:
        return ""
    fitted = f"temperature {heat:.2f}, fitted on {evaluation.measured['calibrated_on']:,} validation posts"
    return f" ({said['ece']:.3f} as said; {fitted})"


def interval(figure: Figure) -> str:
    if figure.low is None:
        return f"{figure.value:.2f}"
    return f"{figure.value:.2f} (95%: {figure.low:.2f} to {figure.high:.2f})"


def by_label(figures: Measured) -> list[list[str]]:
    head = ["Label", "Posts", "Precision", "Recall", "F1"]
    return [head, *(
        [one.label, f"{one.support:,}", share(one.precision), share(one.recall), interval(one.f1) if one.f1 else NONE]
        for one in figures.labels
    )]  # fmt: skip


def share(value: float | None) -> str:
    return NONE if value is None else f"{value:.2f}"


def confusion(figures: Measured) -> list[list[str]]:
    """Down: what is true. Across: what was told."""
    names = [one.label for one in figures.labels]
    silent = bool(figures.unanswered)
    head = ["true \\ told", *names, *(["no answer"] if silent else [])]
    cells = [row if silent else row[:-1] for row in figures.confusion]
    return [head, *([name, *(f"{n:,}" for n in row)] for name, row in zip(names, cells, strict=True))]


def slices(evaluation: Evaluation) -> list[list[str]]:
    found = [["Slice", "Posts", "Macro F1", "Accuracy"]]
    for cut in evaluation.measured["slices"]:
        for part in cut["parts"]:
            figures = [interval(Figure(**part[name])) if part[name] else "too few" for name in ("macro_f1", "accuracy")]
            found.append([f"{cut['by']}: {part['name']}", f"{part['n']:,}", *figures])
    return found


def sentences(evaluation: Evaluation) -> list[str]:
    return [f"{comparison.words(told, evaluation.name, other.name)}." for other, told in compared(evaluation)]


# --- For the terminal


def plain(evaluation: Evaluation) -> Iterator[str]:
    figures = Measured.from_json(evaluation.measured["figures"])
    yield f"{evaluation.name}, on the {where(evaluation)}\n\n"
    yield aligned([list(pair) for pair in headline(evaluation, figures)], left=2)
    yield "\n" + aligned(by_label(figures))
    yield "\n" + aligned(confusion(figures))
    cut = slices(evaluation)
    if len(cut) > 1:
        yield "\n" + aligned(cut)
    if told := sentences(evaluation):
        yield "\n" + "\n".join(told) + "\n"
    yield f"\nHash of the test set: {evaluation.test_hash}\n"


def aligned(table: Sequence[Sequence[str]], left: int = 1) -> str:
    """Words to the left, figures to the right."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = (
        "  ".join(cell.ljust(width) if n < left else cell.rjust(width)
                  for n, (cell, width) in enumerate(zip(row, widths, strict=True)))
        for row in table
    )  # fmt: skip
    return "".join(f"{line.rstrip()}\n" for line in lines)


# --- For a paper


def markdown(evaluation: Evaluation) -> Iterator[str]:
    figures = Measured.from_json(evaluation.measured["figures"])
    yield f"# {escaped(evaluation.name)}\n\nOn the {escaped(where(evaluation))}.\n\n"
    yield table([["Figure", ""], *(list(pair) for pair in headline(evaluation, figures))])
    yield "\n## By label\n\n" + table(by_label(figures))
    yield "\n## Confusion\n\nDown: what is true. Across: what was told.\n\n" + table(confusion(figures))
    cut = slices(evaluation)
    if len(cut) > 1:
        yield "\n## Slices\n\n" + table(cut)
    if told := sentences(evaluation):
        yield "\n## Beside others\n\n" + "".join(f"- {escaped(one)}\n" for one in told)
    yield f"\nHash of the test set: `{evaluation.test_hash}`. {INTERVALS}\n"


def table(found: Sequence[Sequence[str]]) -> str:
    """The first column words, the others figures."""
    head, *body = ([escaped(cell) for cell in row] for row in found)
    rule = ["---", *("---:" for _ in head[1:])]
    return "".join(f"| {' | '.join(row)} |\n" for row in (head, rule, *body))


def escaped(words: str) -> str:
    """A label or a model may be called anything."""
    for sign in "\\`*_[]<>|":
        words = words.replace(sign, f"\\{sign}")
    return " ".join(words.split())


# --- A row a post


def rows(evaluation: Evaluation) -> Iterator[str]:
    """In the order of the dataset; no chances where none were told."""
    names = label_names(evaluation.dataset)
    yield line(["id", "truth", "told", "confidence", *(f"p {name}" for name in names)])
    heat = heat_of(evaluation)
    for said in predictions(evaluation):
        chances = calibration.apply(np.array([said.scores]), heat)[0].tolist() if said.scores else []
        cells = [f"{chance:.6f}" for chance in chances] or [""] * len(names)
        stated = "" if said.confidence is None else f"{said.confidence:g}"
        yield line([said.item.external_id, said.item.label, said.label, stated, *cells])


def predictions(evaluation: Evaluation) -> Iterator[Prediction]:
    """A window at a time, so that a slow download holds no transaction open."""
    said, after = said_by(evaluation), -1
    while found := list(said.filter(item__position__gt=after).order_by("item__position")[:WINDOW]):
        yield from found
        after = found[-1].item.position


def said_by(evaluation: Evaluation) -> QuerySet[Prediction]:
    said = Prediction.objects.filter(evaluation=evaluation, to_calibrate=False, item__removed=None)
    return said.select_related("item").only(
        "label", "scores", "confidence", "evaluation_id", "item__external_id", "item__label", "item__position"
    )


def line(cells: Iterable[str]) -> str:
    out = io.StringIO()
    csv.writer(out).writerow(map(guarded, cells))
    return out.getvalue()
