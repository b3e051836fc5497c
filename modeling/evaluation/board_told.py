"""The leaderboard as text: the same rows in the same groups as on the page."""

import json
from typing import Any

from .leaderboard import Board, Row
from .told import line, share, table

FORMATS = ("md", "csv", "json")
COLUMNS = ("Group", "Predictor", "Sees", "Macro F1", "Low", "High", "Accuracy", "Asked", "Of", "No answer", "ECE",
           "Against the best")  # fmt: skip


def written(board: Board, format: str) -> str:
    if format == "json":
        return json.dumps(as_json(board), ensure_ascii=False, indent=1) + "\n"
    rows = [cells(group.title, row) for group in board.groups for row in group.rows]
    if format == "csv":
        return "".join(line(one) for one in [list(COLUMNS), *rows])
    title = f"On the {board.test_set.name}.\n\n" if board.test_set else ""
    test_hash = f"\nHash of the test set: `{board.test_set.hash}`. Intervals are 95%.\n" if board.test_set else ""
    return title + table([["Predictor", *COLUMNS[2:], "Group"], *([*row[1:], row[0]] for row in rows)]) + test_hash


def cells(group: str, row: Row) -> list[str]:
    one = row.evaluation
    return [
        group, one.name, one.sees, share(row.mark.value), share(row.mark.low), share(row.mark.high),
        share(one.accuracy["value"]), f"{one.asked}", f"{one.of}", f"{one.unanswered}",
        "" if one.ece is None else f"{one.ece:.3f}", row.against or ("the best" if row.is_best else ""),
    ]  # fmt: skip


def as_json(board: Board) -> dict[str, Any]:
    return {
        "test_hash": board.test_set.hash if board.test_set else None,
        "test_set": board.test_set.name if board.test_set else None,
        "rows": [as_row(group.title, row) for group in board.groups for row in group.rows],
    }  # fmt: skip


def as_row(group: str, row: Row) -> dict[str, Any]:
    one = row.evaluation
    return {
        "evaluation": one.pk, "name": one.name, "sees": one.sees, "predictor": one.predictor, "group": group,
        "macro_f1": one.macro_f1, "accuracy": one.accuracy, "asked": one.asked, "of": one.of,
        "unanswered": one.unanswered, "ece": one.ece, "against_the_best": row.told.as_json() if row.told else None,
        "words": row.against,
    }  # fmt: skip
