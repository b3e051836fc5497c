"""Many times as much of everything, whatever there is: what a page lists grows, and its queries must not."""

import uuid
from collections.abc import Iterator
from itertools import count
from typing import Any

from django.apps import apps
from django.contrib.contenttypes.models import ContentType
from django.db import connection, models

from annotate.models import Project, QueueTally, Tally, VoteTally
from modeling.models import Evaluation

NUMBERS = count(1001)
COUNTED = {Tally, VoteTally, QueueTally}  # by triggers
# Not unique, and yet rows that share them are shown as one.
TELLS_APART: dict[type[models.Model], list[str]] = {Evaluation: ["key"]}

Model = type[models.Model]
Twins = dict[tuple[Model, Any], Any]  # the key of a row's copy


def multiply(times: int) -> None:
    """So often, two copies of every row: one beside copies of all that it names (another run, with points of its own),
    and one beside the same but for a single one (another point of this run). What the database forbids, as a second
    vote of one voter on one post, is left out."""
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")  # nothing may be pending while a table is altered
        cursor.execute("ALTER TABLE modeling_datasetitem DISABLE TRIGGER frozen_items_stay")
        cursor.execute("SET CONSTRAINTS ALL DEFERRED")
    tables = list(in_order([model for model in apps.get_models() if is_ours(model)]))
    for turn in range(times):
        twins: Twins = {}
        for model in tables:
            double(model, twins, turn)


def is_ours(model: Model) -> bool:
    return model._meta.app_label in {"annotate", "labeling", "modeling"} and model not in COUNTED | {Project}


def in_order(tables: list[Model]) -> Iterator[Model]:
    """What is named stands before what names it."""
    left = dict.fromkeys(tables)
    while left:
        ready = [model for model in left if not any(f.related_model in left for f in names(model) if not f.null)]
        if not ready:
            raise RuntimeError(f"These tables name each other: {list(left)}")
        for model in ready:
            del left[model]
            yield model


def names(model: Model) -> list[models.Field[Any, Any]]:
    """Its foreign keys, but for the project, which stays the same, and itself."""
    return [
        field
        for field in model._meta.local_fields
        if field.is_relation and field.related_model not in {Project, ContentType, model}
    ]


def double(model: Model, twins: Twins, turn: int) -> None:
    rows, fields = list(model._base_manager.order_by("pk")), names(model)
    made = {row.pk: twin(row, fields, twins) for row in rows}
    there = store(model, list(made.values()))
    twins |= {(model, pk): copy.pk for pk, copy in made.items() if copy.pk in there}
    one = [fields[turn % len(fields)]] if fields else []
    store(model, [twin(row, one, twins) for row in rows])


def twin(row: models.Model, fields: list[models.Field[Any, Any]], twins: Twins) -> models.Model:
    model = type(row)
    values = {field.attname: getattr(row, field.attname) for field in model._meta.local_concrete_fields
              if not field.primary_key and not field.generated}  # fmt: skip
    for field in fields:
        values[field.attname] = twins.get((field.related_model, values[field.attname]), values[field.attname])
    for field in apart(model):
        values[field.attname] = another(field, values[field.attname])
    if model._meta.label_lower == "annotate.label":
        values["key"] = ""
    return model(pk=None, **values)


def apart(model: Model) -> list[models.Field[Any, Any]]:
    """The fields that must differ, or may as well: numbers where there are any, words otherwise."""
    found = {field.name for field in model._meta.local_fields if field.unique and not field.is_relation}
    for constraint in model._meta.constraints:
        if isinstance(constraint, models.UniqueConstraint):
            named = {*constraint.fields, *(part.name for whole in constraint.expressions for part in leaves(whole))}
            plain = [field for field in model._meta.local_fields if field.name in named and not field.is_relation]
            numbers = [field for field in plain if isinstance(field, models.IntegerField)]
            found |= {field.name for field in numbers or plain}
    found |= set(TELLS_APART.get(model, []))
    return [field for field in model._meta.local_fields if field.name in found and not field.primary_key]


def leaves(expression: Any) -> list[models.F]:
    """The fields that an expression is about: `name`, in one over its lower case."""
    if isinstance(expression, models.F):
        return [expression]
    return [leaf for part in expression.get_source_expressions() for leaf in leaves(part)]


def another(field: models.Field[Any, Any], value: Any) -> Any:
    number = next(NUMBERS)
    if isinstance(field, models.IntegerField):
        return number
    if isinstance(field, models.UUIDField):
        return uuid.uuid4()
    if not isinstance(value, str):
        return value
    mark = f"-{number}"
    return value[: (field.max_length or 1000) - len(mark)] + mark


def store(model: Model, rows: list[models.Model]) -> set[Any]:
    """Which of them the database took."""
    if not rows:
        return set()
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT nextval(pg_get_serial_sequence(%s, %s)) FROM generate_series(1, %s)",
            [model._meta.db_table, model._meta.pk.column, len(rows)],
        )
        for row, (number,) in zip(rows, cursor.fetchall(), strict=True):
            row.pk = number
    model._base_manager.bulk_create(rows, ignore_conflicts=True)
    keys = [row.pk for row in rows]
    return set(model._base_manager.filter(pk__in=keys).values_list("pk", flat=True))
