"""What lies on the disk while runs answer: under each run's folder one of each worker, which holds posts' pictures."""

import shutil
from pathlib import Path

from django.conf import settings

from modeling.models import Answerer, Run


def all_runs() -> Path:
    return Path(settings.VAR_DIR) / "answering"


def folder_of(run: Run, answerer: Answerer) -> Path:
    """Two workers on one disk may hold posts of one run."""
    return all_runs() / str(run.pk) / str(answerer.pk)


def forget_left() -> None:
    """By workers that were killed. Looked at on the disk first: whoever begins is in the table before it writes."""
    there = [path for path in all_runs().glob("*/*") if path.is_dir()]
    known = {str(pk) for pk in Answerer.objects.values_list("pk", flat=True)} if there else set()
    for path in there:
        if path.name not in known:
            shutil.rmtree(path, ignore_errors=True)
