"""A recipe as programs write it, at the command line and over the API."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from annotate.models import Project
from modeling.models import Dataset

from .recipe import Recipe, as_written

Number = TypeVar("Number", int, float)


class NotUnderstood(Exception):
    """The words are for whoever asked."""


def recipe_of(project: Project, like: str, told: Mapping[str, Any]) -> Recipe:
    """As usual or as in an earlier dataset, but for what is told."""
    given = {name: value for name, value in told.items() if value is not None}
    usual = Recipe.from_json(earlier(project, like).recipe) if like else Recipe()
    try:
        recipe = as_written({**usual.as_json(), **given})
    except (TypeError, ValueError) as problem:
        raise NotUnderstood(str(problem)) from problem
    if named := [*given.get("caps", {}), *given.get("weights", {})]:
        check_labels(project, named)
    return recipe


def earlier(project: Project, name: str) -> Dataset:
    found = project.datasets.filter(name=name.replace("\0", "")).first()
    if found is None:
        known = ", ".join(project.datasets.values_list("name", flat=True)) or "none yet"
        raise NotUnderstood(f"There is no dataset “{name}”. Datasets: {known}.")
    return found


def check_labels(project: Project, names: Iterable[str]) -> None:
    known = [label.name for label in project.labels.all()]
    if unknown := [name for name in names if name not in known]:
        raise NotUnderstood(
            f"“{unknown[0]}” is not a label of this project; there are {', '.join(known) or 'none yet'}."
        )


def by_label(written: Iterable[str] | None, kind: str, number: Callable[[str], Number]) -> dict[str, Number] | None:
    """From LABEL=NUMBER, again for each; a label may itself hold the sign."""
    if not written:
        return None
    found = {}
    for one in written:
        name, sign, value = one.rpartition("=")
        try:
            found[name] = number(value)
        except ValueError:
            sign = ""
        if not sign:
            raise NotUnderstood(f"“{one}” is no {kind}; write it as bullish=2.")
    return found
