"""Evaluations held against each other, as it was counted when the later of them was measured."""

from collections.abc import Iterable

from django.db.models import Q

from modeling.measures import comparison
from modeling.measures.comparison import Difference
from modeling.models import Comparison, Evaluation


def held_against(one: Evaluation, others: Iterable[int]) -> dict[int, Difference]:
    """By the other's key, each told from this one to that."""
    keys = list(others)
    pairs = Comparison.objects.filter(Q(first=one, second__in=keys) | Q(second=one, first__in=keys)).order_by("pk")
    found = {}
    for pair in pairs:
        told = Difference.from_json(pair.told)
        if pair.first_id == one.pk:
            found[pair.second_id] = told
        else:
            found[pair.first_id] = told.turned()
    return found


def in_short(told: Difference) -> str:
    """Where it is plain who stands against whom: "worse by 4 points"."""
    posts = f"{told.n:,} post{'s' if told.n > 1 else ''}"
    if told.alike == told.n:
        return f"says the same of all {posts}"
    if told.distinguishable:
        better = told.macro_f1.value > 0
        return f"{'better' if better else 'worse'} by {comparison.points((told if better else told.turned()).macro_f1)}"
    if told.needed is None:
        return f"comes out the same on {posts}"
    return f"not distinguishable on {posts}; {comparison.about(told.needed, told.n)} would be needed"
