"""Makes `.venv` and installs into it: one line of progress, and one sentence when that fails. `make` calls it."""

# ruff: noqa: T201

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

HERE = Path(__file__).resolve().parent.parent
VENV = HERE / ".venv"
PYTHON = VENV / "bin" / "python"
LOG = HERE / "var" / "install.log"

STEP = re.compile(r"\s*((?:Collecting|Downloading|Building wheel for) .+?)(?: \(from| \(pyproject|$)")

# What pip says when it fails -> what to do about it. The first that matches is the cause, the others follow from it.
CAUSES = {
    r"No space left on device": "The disk is full: the packages need 3 GB, with CUDA 10 GB.",
    r"SSLError|CERTIFICATE_VERIFY_FAILED": "The index's certificate is not trusted: set PIP_CERT to your network's.",
    r"NewConnectionError|NameResolutionError|Temporary failure in name resolution|ConnectTimeoutError|ProxyError":
        "The package index cannot be reached: check the network, or HTTPS_PROXY where one is needed.",
    r"Read timed out|IncompleteRead|ConnectionResetError":
        "A download broke off: start again, what is complete is kept.",
    r"No matching distribution found for (?P<what>\S+)":
        "No wheel of {what} was found: check the network, or try another Python (make run PYTHON=python3.12).",
    r"Failed to build (?:installable wheels for some pyproject.toml based projects \(|')?(?P<what>[\w.-]+)":
        "{what} has no wheel for this Python and machine: try another (make run PYTHON=python3.12).",
    r"conflicting dependencies|ResolutionImpossible": "The versions in pyproject.toml contradict each other.",
}  # fmt: skip


class Failed(Exception):
    """The message is what to do."""


def main() -> None:
    try:
        if sys.argv[1:] == ["venv"]:
            make_venv()
        else:
            install(sys.argv[1:])
    except Failed as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit("\nStopped. The next `make` goes on from here.")


def make_venv() -> None:
    made = subprocess.run([sys.executable, "-m", "venv", "--clear", str(VENV)], capture_output=True, text=True)
    if made.returncode:
        PYTHON.unlink(missing_ok=True)  # half a .venv must not pass for a whole one
        keep(made.stdout + made.stderr)
        version = "{}.{}".format(*sys.version_info)
        raise Failed(
            f"{sys.executable} cannot make a virtual environment (details: {LOG}); on Debian and Ubuntu: "
            f"apt-get install python{version}-venv"
        )


def install(extras: list[str]) -> None:
    print("Installing Python packages into .venv, a few minutes the first time.", flush=True)
    command = [str(PYTHON), "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--progress-bar=off"]
    wanted = f"{HERE}[{','.join(extras)}]" if extras else str(HERE)
    LOG.parent.mkdir(exist_ok=True)
    with LOG.open("w") as log, subprocess.Popen(
        [*command, "-e", wanted], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as pip:  # fmt: skip
        for step in steps(pip.stdout, log):
            show(step)
    show("")
    if pip.returncode:
        raise Failed(f"Installing failed. {what_to_do(LOG.read_text())} Details: {LOG}")


def steps(lines: TextIO | None, log: TextIO) -> Iterator[str]:
    for line in lines or []:
        log.write(line)
        if line.startswith("Installing collected packages"):
            yield "Unpacking all of it"
        elif found := STEP.match(line):
            yield found[1]


def show(step: str) -> None:
    if sys.stdout.isatty():
        print(f"\r\033[K{step[:78]}", end="", flush=True)


def what_to_do(log: str) -> str:
    for pattern, advice in CAUSES.items():
        if found := re.search(pattern, log):
            return advice.format(**found.groupdict())
    errors = re.findall(r"^\s*(?:ERROR|error): (.+)$", log, re.MULTILINE)
    return f"pip says: {errors[-1].rstrip('.')}." if errors else "pip says nothing of why."


def keep(words: str) -> None:
    LOG.parent.mkdir(exist_ok=True)
    LOG.write_text(words)


if __name__ == "__main__":
    main()
