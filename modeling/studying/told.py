"""A study in lines of text, for a terminal."""

from collections.abc import Iterator, Mapping
from typing import Any

from modeling.models import On, Study, part_in_words


def lines(study: Study) -> Iterator[str]:
    yield from of_folds(study) if study.of_folds else of_curve(study)


def of_folds(study: Study) -> Iterator[str]:
    pooled, over = study.measured["pooled"], study.measured["over_folds"]
    yield f"{study.title}, {pooled['posts']:,} posts, each by a run that had not seen it:"
    for name, title in (("macro_f1", "Macro F1"), ("accuracy", "Accuracy")):
        spread = over[name]
        runs = f"; over the runs {spread['mean']:.3f} ± {spread['deviation']:.3f}" if spread else ""
        yield f"  {title} {with_interval(pooled[name])}{runs}"


def of_curve(study: Study) -> Iterator[str]:
    for on, told in sorted(study.measured.items(), key=lambda one: one[0] != On.HOLDOUT):
        yield f"Macro F1 on the {On(on).label.lower()}:"
        for part, point in zip(study.parts, told["points"], strict=True):
            yield f"  {point['posts']:>9,} posts ({part_in_words(part)}): {with_interval(point['macro_f1'])}"
        if told["words"]:
            yield f"  {told['words']}"


def with_interval(figure: Mapping[str, Any]) -> str:
    if figure["low"] is None or figure["high"] is None:
        return f"{figure['value']:.3f}"
    return f"{figure['value']:.3f} (95%: {figure['low']:.3f} to {figure['high']:.3f})"
