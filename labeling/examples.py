"""What a prompt may lend from what people decided: similar posts with their labels, and what a template usually means.

Never from the locked test set, and never the post that is being asked about.
"""

from collections import defaultdict
from functools import cached_property
from typing import Any

from django.db.models import Count

from annotate.models import LabelSource, Post, Project

MOST = 5000  # the latest decisions; more make no nearer neighbours
WORDS = 400  # of an example's text
BY_PEOPLE = (LabelSource.REVIEW, LabelSource.IMPORT)


def decided(project: Project) -> Any:
    return Post.objects.filter(project=project, label_source__in=BY_PEOPLE, label__isnull=False, holdout=False)


class Examples:
    """Nearest by words, or of the same picture template, taken from each label in turn."""

    def __init__(self, project: Project, count: int) -> None:
        self.count = count
        rows = decided(project).exclude(text="").order_by("-pk").values_list("pk", "text", "label__name", "template")
        self.known = list(rows[:MOST])

    @cached_property
    def index(self) -> tuple[Any, Any]:
        from sklearn.feature_extraction.text import TfidfVectorizer

        vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 4), max_features=50_000, sublinear_tf=True)
        return vectorizer, vectorizer.fit_transform([text for _, text, _, _ in self.known])

    def near(self, post: Post) -> tuple[tuple[str, str], ...]:
        if not self.known or not self.count:
            return ()
        vectorizer, matrix = self.index
        closeness = (matrix @ vectorizer.transform([post.text]).T).toarray().ravel()
        ranked: defaultdict[str, list[tuple[float, str]]] = defaultdict(list)
        for score, (pk, text, label, template) in zip(closeness, self.known, strict=True):
            if pk != post.pk:
                alike = template is not None and template == post.template_id
                ranked[label].append((-score - alike, text))
        for candidates in ranked.values():
            candidates.sort()
        return tuple(taken_in_turn(ranked, self.count))


def taken_in_turn(ranked: dict[str, list[tuple[float, str]]], count: int) -> list[tuple[str, str]]:
    """Spread over the labels, or the nearest would teach the commonest label alone."""
    order = sorted(ranked, key=lambda label: ranked[label][0])
    turns = ((rank, label) for rank in range(count) for label in order if rank < len(ranked[label]))
    return [(ranked[label][rank][1][:WORDS], label) for rank, label in list(turns)[:count]]


def template_meanings(project: Project) -> dict[int, str]:
    """For each named template its name, and how people labelled the posts that show it."""
    counts: defaultdict[int, dict[str, int]] = defaultdict(dict)
    of_template = decided(project).filter(template__isnull=False).exclude(template__name="")
    for template, label, n in of_template.values_list("template", "label__name").annotate(n=Count("pk")):
        counts[template][label] = n
    named = project.templates.exclude(name="").values_list("pk", "name")
    return {pk: f"{name}{told(counts[pk]) if pk in counts else ''}" for pk, name in named}


def told(counts: dict[str, int]) -> str:
    listed = ", ".join(f"{n} {label}" for label, n in sorted(counts.items(), key=lambda item: -item[1]))
    return f" (people labelled {sum(counts.values())} posts with it: {listed})"
