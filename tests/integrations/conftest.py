"""Exports for the programs that others read them with. `make test-integrations` makes their environments."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from modeling.datasets import items
from modeling.export.formats import Options, write_to
from modeling.gpu import cpu_build
from modeling.models import Dataset
from tests.exporting import frozen, hostile_project

os.environ.setdefault("HF_HUB_OFFLINE", "1")
cpu_build.prepare()

Export = Callable[..., Path]


@pytest.fixture
def dataset(db: None) -> Dataset:
    return frozen(hostile_project())


@pytest.fixture
def export(dataset: Dataset, tmp_path: Path) -> Export:
    """One format of it in a folder."""

    def export(key: str, splits: tuple[str, ...] = items.SPLITS, with_reason: bool = False) -> Path:
        write_to(dataset, key, Options(splits, with_reason), tmp_path / key)
        return tmp_path / key

    return export
