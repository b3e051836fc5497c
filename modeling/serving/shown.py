"""What was written out and checked, as a page shows it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from django.db.models import Window
from django.db.models.functions import RowNumber

from annotate.agreement import Share
from modeling.models import DatasetItem, JobState, Run, ServedCheck, Serving, Way

from . import at_work, commands, writing
from .question import SPARE, TOP

MOST_CHECKS = 5  # of one that was written out


@dataclass(frozen=True)
class ShownCheck:
    check: ServedCheck
    posts: Mapping[str, int | None]  # their numbers, of those that are still there

    @property
    def told(self) -> dict[str, Any]:
        told: dict[str, Any] = self.check.told
        return told

    @property
    def is_done(self) -> bool:
        return self.check.state == JobState.DONE and bool(self.told)

    @property
    def may_resume(self) -> bool:
        return self.check.state in at_work.MAY_RESUME

    @cached_property
    def same(self) -> Share:
        return Share(self.told["same"], self.told["n"])

    @property
    def rate(self) -> str:
        return f"{self.same.rate or 0:.1%}"

    @property
    def low(self) -> str:
        return f"{self.same.low:.1%}"

    @property
    def high(self) -> str:
        return f"{self.same.high:.1%}"

    @property
    def bar(self) -> tuple[float, float]:
        return 100 * self.told["bar"][0], self.told["bar"][1]

    @cached_property
    def differ(self) -> list[tuple[dict[str, Any], int | None]]:
        """Each with the post's number, where it is still there."""
        return [(one, self.posts.get(one["id"])) for one in self.told["differ"]]

    @property
    def furthest_post(self) -> int | None:
        return self.posts.get(self.told["furthest"]["id"])


@dataclass(frozen=True)
class ShownServing:
    serving: Serving
    checks: list[ShownCheck]

    @property
    def is_done(self) -> bool:
        return self.serving.state == JobState.DONE and bool(self.serving.told)

    @property
    def may_resume(self) -> bool:
        return self.serving.state in at_work.MAY_RESUME

    @cached_property
    def written(self) -> commands.Written:
        return writing.written_of(self.serving)

    @property
    def folder(self) -> str:
        return str(writing.folder_of(self.serving))

    @property
    def commands(self) -> list[tuple[str, str, str]]:
        """Each with a key and its title, the first to be seen at once."""
        served = commands.serve(self.written)
        if not served:
            return [("load", "Load it by transformers", commands.transformers(self.written))]
        return [
            ("serve", "Serve it", served), ("curl", "Ask it, by curl", commands.curl(self.written)),
            ("python", "Ask it, by Python", commands.python(self.written)),
            ("load", "Load it by transformers", commands.transformers(self.written)),
        ]  # fmt: skip

    @property
    def notes(self) -> list[str]:
        return commands.notes(self.written)

    @property
    def log(self) -> str:
        return writing.last_lines(self.serving)

    @property
    def latest(self) -> ShownCheck | None:
        return self.checks[0] if self.checks else None

    @property
    def earlier(self) -> list[ShownCheck]:
        return self.checks[1:]

    @property
    def agreed(self) -> ServedCheck | None:
        """The latest check of a server, where it agrees: such a one may vote."""
        by_server = (one for one in self.checks if one.check.way == Way.SERVER and one.is_done)
        latest = next(by_server, None)
        return latest.check if latest and latest.told["agrees"] else None

    @property
    def voter(self) -> dict[str, str]:
        """The form of a new voter, filled in: asked in the words of its training, it answers with a label alone."""
        check, words = self.agreed, self.written.words
        assert check is not None
        told = {
            "provider": "openai", "model": check.model, "name": f"Run {self.serving.run_id}, served",
            "prompt": f"{words.system.replace('$', '$$')}\n\n$post", "with_base_url": check.url,
            "with_words": "trained" if words.takes_system else "trained in one turn", "with_answer_format": "text",
            "with_logprobs": str(TOP), "with_temperature": "0",
            "with_max_output_tokens": str(max(16, SPARE + words.answer_tokens)),
        }  # fmt: skip
        if words.template_kwargs:
            told["with_extra"] = json.dumps({"chat_template_kwargs": dict(words.template_kwargs)})
        return told


def of_run(run: Run) -> list[ShownServing]:
    """The latest first."""
    found = run.servings.select_related("project", "run__dataset", "run__project", "by").order_by("-pk")
    checks = checks_of(run)
    return [ShownServing(one, checks.get(one.pk, [])) for one in found]


def checks_of(run: Run) -> dict[int, list[ShownCheck]]:
    """The latest few of each that was written out, all in one question."""
    latest = Window(RowNumber(), partition_by="serving", order_by="-pk")
    of_each = ServedCheck.objects.filter(serving__run=run).annotate(place=latest).filter(place__lte=MOST_CHECKS)
    related = ("against__dataset", "against__project", "asked__project", "by")
    checks = list(of_each.select_related(*related).order_by("-pk"))
    posts = posts_of(checks)
    found: dict[int, list[ShownCheck]] = {}
    for check in checks:
        known = posts.get(check.against.dataset_id, {}) if check.against else {}
        found.setdefault(check.serving_id, []).append(ShownCheck(check, known))
    return found


def posts_of(checks: Sequence[ServedCheck]) -> dict[int, dict[str, int | None]]:
    """By dataset and by the name in it: those that the checks name."""
    named = {one["id"] for check in checks if check.told
             for one in [*check.told["differ"], *filter(None, [check.told["furthest"]])]}  # fmt: skip
    datasets = {check.against.dataset_id for check in checks if check.against}
    items = DatasetItem.objects.filter(dataset__in=datasets, external_id__in=named, removed=None)
    found: dict[int, dict[str, int | None]] = {}
    for dataset, name, post in items.values_list("dataset", "external_id", "post_id"):
        found.setdefault(dataset, {})[name] = post
    return found
