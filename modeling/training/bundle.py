"""A run carried to a rented card and back: one archive that needs neither our site nor our database, and its result."""

import errno
import json
import re
import shutil
import zipfile
from collections.abc import Iterator
from importlib.metadata import requires
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from django.db import DataError, transaction
from django.utils import timezone

from annotate.importing.archive import DAMAGE
from annotate.models import Event, User
from modeling.child import Told
from modeling.export.members import Member
from modeling.export.zipping import zipped
from modeling.gpu.hashing import hash_of
from modeling.gpu.progress import FILE
from modeling.models import Run, RunState

from . import results, run_folder, runner
from .results import ADAPTER, RECEIPT

TRAINER = Path(__file__).parent.parent / "gpu"
NEEDED = ("pillow", "scikit-learn")  # of what the site itself installs
MOST_BYTES = 40 * 1024**3
OF_A_BROKEN_ZIP = {errno.EINVAL, errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR}  # all else is our disk

HOW = """# Run {run}: {model} on {dataset}

Everything that is needed to train, on a machine with a card and Python 3.11 or newer:

    sh train.sh

It makes a virtual environment, installs `requirements.txt` and trains; started again after it was stopped, it goes on
from its last checkpoint. A base model is downloaded from the hub (set HF_TOKEN where it asks for one), or give a folder
as "model" in `run/config.json`. It uses {cards} of the machine; for another number: `CARDS=2 sh train.sh`.

Then bring `result.zip` home: on the run's page, or with `manage.py import_run {run} result.zip`.
"""

SCRIPT = """#!/bin/sh
set -e
cd "$(dirname "$0")"
[ -d .venv ] || python3 -m venv .venv
.venv/bin/pip install --quiet -r requirements.txt
.venv/bin/python -m modeling.gpu.many_cards run
.venv/bin/python - <<'END'
import pathlib, zipfile
run = pathlib.Path("run")
wanted = [run / name for name in ("receipt.json", "progress.jsonl", "trained_modules.txt")]
wanted += sorted((run / "adapter").iterdir())
wanted += sorted((run / "base").iterdir()) if (run / "base").exists() else []  # a tiny one, which was built here
with zipfile.ZipFile("result.zip", "w") as result:
    for path in wanted:
        result.write(path, path.relative_to(run))
print("Done: bring result.zip home.")
END
"""


class NotOurs(Exception):
    """This is not the result of that run; the words say why."""


def pack(run: Run) -> Iterator[bytes]:
    return zipped(members(run))


def members(run: Run) -> Iterator[Member]:
    top = f"run-{run.pk}"
    cards = run.config.get("cards", 1)
    used = "one card" if cards == 1 else f"{cards} cards"
    how = HOW.format(run=run.pk, model=run.config["model"], dataset=run.dataset.name, cards=used)
    needed = requirements(run.config.get("sharing", ""))
    for path, text in (("README.md", how), ("train.sh", SCRIPT), ("requirements.txt", needed),
                       ("modeling/__init__.py", "")):  # fmt: skip
        yield Member(f"{top}/{path}", iter([text.encode()]))
    for source in sorted(path for path in TRAINER.iterdir() if path.suffix in {".py", ".jinja"}):
        yield Member(f"{top}/modeling/gpu/{source.name}", iter([source.read_bytes()]))
    for member in run_folder.members(run):
        yield Member(f"{top}/run/{member.path}", member.chunks)


def requirements(sharing: str = "") -> str:
    """As this project pins them, so that both machines train with the same code."""
    ours = requires("casting-vote") or []
    train = [line.partition(";")[0].strip() for line in ours if re.search(r"extra == ['\"]train['\"]", line)]
    needed = [line for line in ours if re.match(rf"({'|'.join(NEEDED)})\b", line) and ";" not in line]
    return "\n".join([*train, *needed, *(["deepspeed"] if sharing == "zero3" else []), ""])


# --- Back home


def bring_home(run: Run, archive: Path, by: User | None = None) -> None:
    """As if it had been trained here."""
    folder = run_folder.folder_of(run)
    with TemporaryDirectory(dir=parent_of(folder)) as unpacked:
        receipt = unpack(run, archive, Path(unpacked))
        settle(run, folder, Path(unpacked), receipt, by)


def parent_of(folder: Path) -> Path:
    folder.parent.mkdir(parents=True, exist_ok=True)
    return folder.parent


def unpack(run: Run, archive: Path, to: Path) -> dict[str, object]:
    try:
        with zipfile.ZipFile(archive) as packed:
            if sum(entry.file_size for entry in packed.infolist()) > MOST_BYTES:
                raise NotOurs("This archive is larger than any adapter.")
            results.unpack(packed, to)
    except results.NoResult as refusal:
        raise NotOurs(f"{refusal} Bring result.zip as the bundle makes it.") from refusal
    except DAMAGE as error:
        if isinstance(error, OSError) and error.errno not in OF_A_BROKEN_ZIP:
            raise
        raise NotOurs("This is not a ZIP, or it was cut off on its way: bring result.zip as it was made.") from error
    return checked(run, to)


def checked(run: Run, result: Path) -> dict[str, object]:
    if not (result / RECEIPT).exists() or not any((result / ADAPTER).glob("*.safetensors")):
        raise NotOurs("There is no receipt or no adapter in it: the run did not come to its end there.")
    try:
        receipt: dict[str, object] = json_in((result / RECEIPT).read_text(encoding="utf-8"))
        trained = receipt["trained_for"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise NotOurs("Its receipt cannot be read: bring result.zip as it was made.") from error
    if trained != run_folder.told_of(run):
        raise NotOurs(f"This is the result of another run or of another dataset: {json.dumps(trained)[:200]}.")
    if receipt.get("adapter") != hash_of(result / ADAPTER):
        raise NotOurs("Its adapter is not the one that its receipt tells of: bring result.zip as it was made.")
    return receipt


def json_in(text: str) -> Any:
    """As a table can hold it: PostgreSQL knows no NaN, and neither a NUL nor half of a surrogate pair in a text."""
    told = json.loads(text, parse_constant=lambda _: None)
    if "\\u0000" in json.dumps(told, ensure_ascii=False).encode().decode():
        raise ValueError("a NUL in a text")
    return told


def settle(run: Run, folder: Path, result: Path, receipt: dict[str, object], by: User | None) -> None:
    over = Run.objects.filter(pk=run.pk).exclude(state__in=[RunState.RUNNING, RunState.DONE])
    with transaction.atomic():
        if not over.update(
            state=RunState.DONE, receipt=receipt, error="", ended=timezone.now(), started=timezone.now()
        ):
            raise NotOurs("This run is at work here, or done already.")
        run.refresh_from_db()
        tell_progress(run, result)
        results.keep(run, result)
        folder.mkdir(exist_ok=True)
        for path in sorted(result.iterdir()):
            target = folder / path.name
            shutil.rmtree(target) if target.is_dir() else target.unlink(missing_ok=True)
            shutil.move(path, target)
        Event.record("result brought home", user=by, project=run.project, run=run.pk, dataset=run.dataset.name)


def tell_progress(run: Run, result: Path) -> None:
    """Before anything is laid beside the run: what cannot be read leaves all as it was."""
    if not (result / FILE).exists():
        return
    try:
        with transaction.atomic():
            runner.mirror(run, Told(result, of_before=True).fresh())
            Run.objects.filter(pk=run.pk).update(step=run.step, steps=run.steps, latest=run.latest, scores=run.scores)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, DataError) as error:
        raise NotOurs("Its progress cannot be read: bring result.zip as it was made.") from error
