"""A run carried to a rented card and back: one archive that needs neither our site nor our database, and its result."""

import json
import re
import shutil
import zipfile
from collections.abc import Iterator
from importlib.metadata import requires
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from django.db import transaction
from django.utils import timezone

from annotate.models import Event, User

from . import run_folder, runner
from .export.members import Member
from .export.zipping import zipped
from .gpu.progress import FILE
from .models import Run, RunState

TRAINER = Path(__file__).parent / "gpu"
NEEDED = ("pillow", "scikit-learn")  # of what the site itself installs
RECEIPT, ADAPTER, MODULES = "receipt.json", "adapter", "trained_modules.txt"
SAFE = frozenset({".safetensors", ".json", ".jinja", ".txt", ".model", ".md"})  # nothing that runs when it is loaded
MOST_BYTES = 40 * 1024**3

HOW = """# Run {run}: {model} on {dataset}

Everything that is needed to train, on a machine with a card and Python 3.11 or newer:

    sh train.sh

It makes a virtual environment, installs `requirements.txt` and trains; started again after it was stopped, it goes on
from its last checkpoint. A base model is downloaded from the hub (set HF_TOKEN where it asks for one), or give a folder
as "model" in `run/config.json`. On several cards of one machine: `CARDS=2 sh train.sh`.

Then bring `result.zip` home: on the run's page, or with `manage.py import_run {run} result.zip`.
"""

SCRIPT = """#!/bin/sh
set -e
cd "$(dirname "$0")"
[ -d .venv ] || python3 -m venv .venv
.venv/bin/pip install --quiet -r requirements.txt
if [ "${CARDS:-1}" -gt 1 ]; then
  .venv/bin/accelerate launch --multi_gpu --num_processes "$CARDS" -m modeling.gpu.train run
else
  .venv/bin/python -m modeling.gpu.train run
fi
.venv/bin/python - <<'END'
import pathlib, zipfile
run = pathlib.Path("run")
wanted = [run / name for name in ("receipt.json", "progress.jsonl", "trained_modules.txt")]
wanted += sorted((run / "adapter").iterdir())
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
    how = HOW.format(run=run.pk, model=run.config["model"], dataset=run.dataset.name)
    for path, text in (("README.md", how), ("train.sh", SCRIPT), ("requirements.txt", requirements()),
                       ("modeling/__init__.py", "")):  # fmt: skip
        yield Member(f"{top}/{path}", iter([text.encode()]))
    for source in sorted(path for path in TRAINER.iterdir() if path.suffix in {".py", ".jinja"}):
        yield Member(f"{top}/modeling/gpu/{source.name}", iter([source.read_bytes()]))
    for member in run_folder.members(run):
        yield Member(f"{top}/run/{member.path}", member.chunks)


def requirements() -> str:
    """As this project pins them, so that both machines train with the same code."""
    ours = requires("casting-vote") or []
    train = [line.partition(";")[0].strip() for line in ours if re.search(r"extra == ['\"]train['\"]", line)]
    needed = [line for line in ours if re.match(rf"({'|'.join(NEEDED)})\b", line) and ";" not in line]
    return "\n".join([*train, *needed, ""])


# --- Back home


def bring_home(run: Run, archive: Path, by: User | None = None) -> None:
    """As if it had been trained here."""
    folder = run_folder.folder_of(run)
    try:
        with zipfile.ZipFile(archive) as packed, TemporaryDirectory(dir=parent_of(folder)) as unpacked:
            receipt = unpack(run, packed, Path(unpacked))
            settle(run, folder, Path(unpacked), receipt, by)
    except zipfile.BadZipFile as error:
        raise NotOurs("This is not a ZIP, or it was cut off on its way: bring result.zip as it was made.") from error


def parent_of(folder: Path) -> Path:
    folder.parent.mkdir(parents=True, exist_ok=True)
    return folder.parent


def unpack(run: Run, packed: zipfile.ZipFile, to: Path) -> dict[str, object]:
    """Only what a result is made of, under names of ours."""
    if sum(entry.file_size for entry in packed.infolist()) > MOST_BYTES:
        raise NotOurs("This archive is larger than any adapter.")
    for entry in packed.infolist():
        path = PurePosixPath(entry.filename)
        is_result = len(path.parts) == 1 and path.name in {RECEIPT, FILE, MODULES}
        is_adapter = len(path.parts) == 2 and path.parts[0] == ADAPTER and path.suffix in SAFE
        if not (is_result or is_adapter):
            raise NotOurs(f"{entry.filename[:80]} is no part of a result: bring result.zip as the bundle makes it.")
        target = to / path
        target.parent.mkdir(exist_ok=True)
        with packed.open(entry) as source, target.open("wb") as file:
            shutil.copyfileobj(source, file)
    return checked(run, to)


def checked(run: Run, result: Path) -> dict[str, object]:
    if not (result / RECEIPT).exists() or not any((result / ADAPTER).glob("*.safetensors")):
        raise NotOurs("There is no receipt or no adapter in it: the run did not come to its end there.")
    try:
        receipt: dict[str, object] = json.loads((result / RECEIPT).read_text(encoding="utf-8"))
        trained = receipt["trained_for"]
    except (ValueError, KeyError, TypeError) as error:
        raise NotOurs("Its receipt cannot be read: bring result.zip as it was made.") from error
    if trained != run_folder.told_of(run):
        raise NotOurs(f"This is the result of another run or of another dataset: {json.dumps(trained)[:200]}.")
    return receipt


def settle(run: Run, folder: Path, result: Path, receipt: dict[str, object], by: User | None) -> None:
    over = Run.objects.filter(pk=run.pk).exclude(state__in=[RunState.RUNNING, RunState.DONE])
    with transaction.atomic():
        if not over.update(
            state=RunState.DONE, receipt=receipt, error="", ended=timezone.now(), started=timezone.now()
        ):
            raise NotOurs("This run is at work here, or done already.")
        run.refresh_from_db()
        folder.mkdir(exist_ok=True)
        for path in sorted(result.iterdir()):
            target = folder / path.name
            shutil.rmtree(target) if target.is_dir() else target.unlink(missing_ok=True)
            shutil.move(path, target)
        if (folder / FILE).exists():
            runner.mirror(run, runner.Told(folder, of_before=True).fresh())
            Run.objects.filter(pk=run.pk).update(step=run.step, steps=run.steps, latest=run.latest, scores=run.scores)
        Event.record("result brought home", user=by, project=run.project, run=run.pk, dataset=run.dataset.name)
