"""Writes docs/data-dictionary.md from the models: python -m tests.data_dictionary

What a column means stands beside it in the code: its help text, or the comment on its lines or above them. So the page
is never far from the truth, and a test says when it has to be written anew.
"""

import ast
import inspect
import re
import textwrap
import tomllib
from collections.abc import Iterator
from pathlib import Path

import django
from django.apps import apps
from django.db import models

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "docs" / "data-dictionary.md"
WORDS: dict[str, dict[str, str]] = tomllib.loads((HERE / "data_dictionary.toml").read_text())
ROOMS = {"annotate": "What is known about posts, and people", "labeling": "Machines that vote",
         "modeling": "Machines that learn"}  # fmt: skip
# The same in every table.
EVERYWHERE = {
    "id": "Number of the row.",
    "created": "When the row was made.",
    "started": "When a worker took it.",
    "ended": "When it was over, however it ended.",
    "heartbeat": "When its worker was last heard; after a minute of silence another takes over.",
    "error": "Why it failed, in a sentence for people.",
    "by": "Who asked for it.",
    "doing": "What its worker is doing, in words.",
    "stop_asked": "Somebody wants it to stop; its worker looks.",
    "interruptions": "How often its worker died.",
    "machine": "Whose worker has it, or had it last.",
    "total": "Posts to go through.",
    "done": "Posts gone through.",
    "name": "As people know it.",
}
HEAD = """# Data dictionary

Written by `python -m tests.data_dictionary` from the models; a test says when it is out of date.
Types are PostgreSQL's.
Every table has rules that the database itself keeps; they stand below its columns. Triggers keep the tallies
(`annotate_tally`, `annotate_votetally`, `annotate_queuetally`, …) in step with posts, votes and disagreements.
Django's own tables (sessions, permissions, the admin's log), django-q2's (`django_q_ormq` is the queue,
`django_q_task` what became of it) and django-axes' (`axes_…`, failed logins) are described by those projects.
"""


def page() -> str:
    parts = [HEAD]
    for room, title in ROOMS.items():
        parts.append(f"## {title} (`{room}`)\n")
        found = sorted(apps.get_app_config(room).get_models(), key=lambda model: model._meta.db_table)
        parts += [table(model) for model in found if not model._meta.proxy]
    return "\n".join(parts)


def table(model: type[models.Model]) -> str:
    said = comments(model)
    lines = [f"### `{model._meta.db_table}`\n"]
    if about := described(model):
        lines.append(f"{about}\n")
    lines += ["| column | type | meaning |", "|---|---|---|"]
    fields = [field for field in model._meta.get_fields() if isinstance(field, models.Field) and field.column]
    lines += [f"| `{field.column}` | {kind(field)} | {meaning(field, said.get(field.name, ''))} |" for field in fields]
    if rules := [*kept_by(model)]:
        lines += ["", f"Rules: {'; '.join(rules)}."]
    return "\n".join([*lines, ""])


def described(model: type[models.Model]) -> str:
    written = inspect.cleandoc(model.__doc__ or "")
    if written.startswith(f"{model.__name__}("):  # Django's own words
        return WORDS.get(model._meta.db_table, {}).get("about", "")
    return " ".join(written.split())


def kind(field: "models.Field[object, object]") -> str:
    from django.db import connection

    told = str(field.db_type(connection)).replace("varchar(", "text, at most (").replace("|", "\\|")
    return told + ("" if not field.null else ", or nothing")


def meaning(field: "models.Field[object, object]", comment: str) -> str:
    parts = [str(field.help_text), comment]
    if not any(parts):
        parts.append(WORDS.get(field.model._meta.db_table, {}).get(field.name) or EVERYWHERE.get(field.name, ""))
    if field.remote_field:
        parts.append(f"A row of `{field.remote_field.model._meta.db_table}`.")
    if field.choices:
        parts.append("One of " + ", ".join(f"`{value}` ({label})" for value, label in field.flatchoices) + ".")
    words = " ".join(part for part in parts if part) or told_by_its_name(field)
    return " ".join(words.split()).replace("|", "\\|")


def told_by_its_name(field: "models.Field[object, object]") -> str:
    name = str(field.verbose_name)
    return "" if name.replace(" ", "_") == field.name else sentence(name)


def sentence(words: str) -> str:
    return f"{words[:1].upper()}{words[1:]}."


def comments(model: type[models.Model]) -> dict[str, str]:
    """By the field: what stands on its lines after a #, and on whole lines above it."""
    found: dict[str, str] = {}
    for one in reversed(model.__mro__):
        if issubclass(one, models.Model) and one.__module__.partition(".")[0] in ROOMS:
            found |= dict(comments_in(textwrap.dedent(inspect.getsource(one))))
    return found


def comments_in(source: str) -> Iterator[tuple[str, str]]:
    lines = source.splitlines()
    [defined] = ast.parse(source).body
    for node in getattr(defined, "body", []):
        if isinstance(node, ast.Assign | ast.AnnAssign):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            above = []
            at = node.lineno - 2
            while at >= 0 and lines[at].strip().startswith("#"):
                above.insert(0, lines[at].strip().removeprefix("#").strip())
                at -= 1
            beside = [comment for line in lines[node.lineno - 1 : node.end_lineno] if (comment := trailing(line))]
            if isinstance(target, ast.Name) and (above or beside):
                yield target.id, sentence(" ".join([*above, *beside]).rstrip("."))


def trailing(line: str) -> str:
    found = re.search(r"\s{2}#\s(?!noqa|type:|fmt:)(.+)$", line)
    return found[1] if found else ""


def kept_by(model: type[models.Model]) -> Iterator[str]:
    for field in model._meta.get_fields():
        if isinstance(field, models.Field) and field.unique and not field.primary_key:
            yield f"`{field.column}` is unique"
    for rule in model._meta.constraints:
        words = rule.name.replace("_", " ")
        if isinstance(rule, models.UniqueConstraint) and rule.fields:
            only = " where a condition holds" if rule.condition else ""
            words += f" ({', '.join(f'`{name}`' for name in rule.fields)} together{only})"
        yield words


if __name__ == "__main__":
    import os

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "annotate.settings")
    os.environ.setdefault("SECRET_KEY", "nothing is signed here")
    django.setup()
    PAGE.write_text(page())
