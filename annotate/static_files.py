"""Collected, hashed and compressed once, and again only when a source changed: a second start must not wait for it."""

import hashlib
from pathlib import Path

from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from django.core.management import call_command
from whitenoise.storage import CompressedManifestStaticFilesStorage

LEFT_OUT = ["*.js.map", "redoc*"]  # megabytes that no page of ours loads


class Hashed(CompressedManifestStaticFilesStorage):  # type: ignore[misc]
    """Named by content, also where one module of JavaScript imports another."""

    support_js_module_import_aggregation = True


def collect() -> None:
    if settings.DEBUG:
        return
    stamp = Path(settings.STATIC_ROOT) / "stamp"
    now = fingerprint()
    if stamp.exists() and stamp.read_text() == now:
        return
    call_command("collectstatic", interactive=False, verbosity=0, clear=True, ignore_patterns=LEFT_OUT)
    stamp.write_text(now)


def fingerprint() -> str:
    seen = hashlib.sha256()
    for finder in get_finders():
        for path, storage in finder.list(LEFT_OUT):
            stat = Path(storage.path(path)).stat()
            seen.update(f"{path} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    return seen.hexdigest()
