"""Does a file that git keeps hold a password, key or token? `make secrets` calls it.

What only looks like one stands in secrets.baseline, by file and hash; `--accept` writes it anew, to be read before it
is committed.
"""

import json
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from detect_secrets.core.scan import scan_file
from detect_secrets.settings import default_settings

HERE = Path(__file__).resolve().parent.parent
BASELINE = HERE / ".ci" / "secrets.baseline"
NO_SECRETS = ("static/vendor/", ".ci/eslint/package-lock.json", ".ci/secrets.baseline")
NO_WORDS = {".png", ".jpg", ".webp", ".gif", ".ico", ".svg", ".woff2", ".zip", ".parquet"}

Found = tuple[str, str, str]  # file, kind, hash


def main() -> None:
    with ProcessPoolExecutor(2) as pool:
        parts = list(pool.map(found_in, kept(), chunksize=20))
    found = {secret: line for part in parts for secret, line in part.items()}
    if sys.argv[1:] == ["--accept"]:
        BASELINE.write_text(json.dumps(sorted(found), indent=0) + "\n")
        return
    known = {tuple(secret) for secret in json.loads(BASELINE.read_text())}
    fresh = [f"{file}:{line}: {kind}" for (file, kind, hash), line in found.items() if (file, kind, hash) not in known]
    if fresh:
        sys.exit("\n".join([
            *sorted(fresh),
            "If one of these is real, take it out and make it worthless where it opened something. If it only looks "
            "like one: .venv/bin/python .ci/secret_scan.py --accept",
        ]))  # fmt: skip


def kept() -> list[str]:
    """Also what is new and not ignored: it is found before it is committed."""
    asked = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(asked, cwd=HERE, capture_output=True, text=True, check=True).stdout.split("\0")
    return [name for name in listed if name and not name.startswith(NO_SECRETS) and Path(name).suffix not in NO_WORDS]


def found_in(name: str) -> dict[Found, int]:
    path = HERE / name
    if not path.is_file():
        return {}
    with default_settings():
        return {(name, secret.type, secret.secret_hash): secret.line_number for secret in scan_file(str(path))}


if __name__ == "__main__":
    main()
