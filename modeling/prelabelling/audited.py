"""How wrong the labels of one pre-labelling are, by the blind audits of those very labels."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from django.db.models import Count, Q

from annotate import audit, quality
from annotate.audit import Audited, Estimate, Mistakes
from annotate.models import Disagreement, LabelSource
from annotate.models.review import Why
from modeling.models import PreLabelling


@dataclass(frozen=True)
class Audits:
    """Of one pre-labelling's labels."""

    drawn: int
    waiting: int  # nobody has answered
    told: int  # somebody has said what they are
    wrong: int  # of these, by how many it is another label
    estimate: Estimate | None
    by_label: Mapping[int, Estimate]


def read(prelabelling: PreLabelling) -> Audits:
    """By the label that it gave, whoever has settled the post anew since: what is judged is the model.

    How often people err is read from all audits of the project; from these few alone it could not be told.
    """
    if kept := prelabelling.result.get("audited"):  # its labels were taken back since
        return Audits(**kept, waiting=0, estimate=None, by_label={})
    drawn, given = drawn_of(prelabelling), labels_of(prelabelling)
    everything = quality.audits(prelabelling.project)
    chosen = {one.post_id for one in drawn}
    mine = [
        replace(one, was=given[post], source=LabelSource.MODEL.value)
        for post, one in everything if post in chosen and post in given
    ]  # fmt: skip
    labels, checks = prelabelling.project.labels.count(), quality.checks(prelabelling.project)
    mistakes = audit.mistakes_of([one for _, one in everything], labels, checks)
    readings = [(one, reading) for one in mine if (reading := audit.read(one))]
    return Audits(
        drawn=len(drawn), waiting=sum(one.closed is None and one.answers == 0 for one in drawn), told=len(readings),
        wrong=sum(reading.said != one.was for one, reading in readings),
        estimate=audit.estimate(mine, population(prelabelling), mistakes),
        by_label=by_label(mine, population(prelabelling), mistakes),
    )  # fmt: skip


def drawn_of(prelabelling: PreLabelling) -> list[Disagreement]:
    """Not those that were withdrawn unanswered, when labels were taken back."""
    settled = prelabelling.labels.filter(label__isnull=False)
    found = Disagreement.objects.filter(
        ~Q(closed__isnull=False, was_state=""), project=prelabelling.project_id, why=Why.AUDIT,
        post__in=settled.values("post"), opened__gte=prelabelling.created,
    )  # fmt: skip
    if prelabelling.taken_back:
        found = found.filter(opened__lte=prelabelling.taken_back)
    return list(found.only("post_id", "closed", "answers"))


def labels_of(prelabelling: PreLabelling) -> dict[int, int]:
    audited = Disagreement.objects.filter(project=prelabelling.project_id, why=Why.AUDIT)
    settled = prelabelling.labels.filter(label__isnull=False, post__in=audited.values("post"))
    return {post: label for post, label in settled.values_list("post_id", "label_id") if label is not None}


def population(prelabelling: PreLabelling) -> dict[tuple[int, str], int]:
    """All that it settled, what people have looked at since too."""
    settled = prelabelling.labels.filter(label__isnull=False).order_by().values_list("label")
    return {(label, LabelSource.MODEL.value): posts for label, posts in settled.annotate(n=Count("pk"))}


def by_label(
    audits: list[Audited], settled: Mapping[tuple[int, str], int], mistakes: Mistakes | None
) -> dict[int, Estimate]:
    parts = audit.parts(0, audit.all_read(audits), settled, mistakes)
    return {label: estimate for label, estimate in parts if isinstance(label, int)}
