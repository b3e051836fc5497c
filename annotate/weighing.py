"""How reliable each voter is, fitted by Dawid and Skene's model on all votes; then applied to one post at a time.

Only from three voters on: with two it says nothing that agreement does not.
"""

from collections.abc import Mapping
from typing import Any

from .consensus import ENOUGH_FOR_MAJORITY, Weights
from .models import Project, Vote

MOST = 200_000  # votes the fit looks at; a reliability does not get truer from millions
ROUNDS = 100


def fit(project: Project) -> bool:
    """Stores the weights with the project. False where there are too few voters, or too little to learn from."""
    import pandas as pd
    from crowdkit.aggregation import DawidSkene

    votes = Vote.objects.filter(voter__project=project, voter__heard=True, label__isnull=False).order_by("post_id")[
        :MOST
    ]
    table = pd.DataFrame(votes.values_list("post_id", "voter_id", "label_id"), columns=["task", "worker", "label"])
    if table["worker"].nunique() < ENOUGH_FOR_MAJORITY or table["label"].nunique() < 2:
        return False
    model: Any = DawidSkene(n_iter=ROUNDS).fit(table)
    project.weights = to_json(model.priors_.to_dict(), confusions(model.errors_))
    project.save(update_fields=["weights"])
    return True


def confusions(errors: Any) -> dict[int, dict[int, dict[int, float]]]:
    """crowd-kit's table has (voter, said) in its rows and the truth in its columns."""
    says: dict[int, dict[int, dict[int, float]]] = {}
    for (voter, said), row in errors.iterrows():
        for truth, probability in row.items():
            says.setdefault(int(voter), {}).setdefault(int(truth), {})[int(said)] = float(probability)
    return says


def to_json(priors: Mapping[int, float], says: Mapping[int, Mapping[int, Mapping[int, float]]]) -> dict[str, Any]:
    return {
        "priors": {str(truth): float(p) for truth, p in priors.items()},
        "says": {
            str(voter): {str(truth): {str(said): p for said, p in row.items()} for truth, row in by_truth.items()}
            for voter, by_truth in says.items()
        },
    }


def from_json(stored: Mapping[str, Any]) -> Weights:
    return Weights(
        priors={int(truth): p for truth, p in stored["priors"].items()},
        says={
            int(voter): {int(truth): {int(said): p for said, p in row.items()} for truth, row in by_truth.items()}
            for voter, by_truth in stored["says"].items()
        },
    )
