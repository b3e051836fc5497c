"""Our exports in the programs that read them: makes each an environment of its own, then runs tests/integrations.

`make test-integrations` calls it; what is given to it goes to pytest.
"""

# ruff: noqa: T201

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import install

ROOM = install.HERE / "var" / "integrations"


@dataclass(frozen=True)
class Program:
    """They contradict each other's versions and ours, so none of them can live in .venv."""

    name: str
    pins: tuple[str, ...]
    told_as: str  # the variable that tells the tests where it is; set beforehand, nothing is installed
    file: str


PROGRAMS = (
    Program("llamafactory", ("llamafactory>=0.9.5,<0.10", "torch==2.13.0"), "LLAMAFACTORY_PYTHON", "bin/python"),
    Program("label_studio", ("label-studio>=1.23,<2",), "LABEL_STUDIO_BIN", "bin/label-studio"),
)


def main() -> None:
    try:
        told = {program.told_as: os.environ.get(program.told_as) or str(made(program)) for program in PROGRAMS}
    except install.Failed as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit("\nStopped. The next `make test-integrations` goes on from here.")
    command = [str(install.PYTHON), "-m", "pytest", "tests/integrations", *sys.argv[1:]]
    sys.exit(subprocess.run(command, cwd=install.HERE, env=os.environ | told).returncode)


def made(program: Program) -> Path:
    """Again only when its versions, or this Python, changed."""
    folder = ROOM / program.name
    wanted = "\n".join([*program.pins, sys.version, ""])
    stamp = folder / ".installed"
    if not stamp.exists() or stamp.read_text() != wanted:
        make(program, folder)
        stamp.write_text(wanted)
    return folder / program.file


def make(program: Program, folder: Path) -> None:
    where = folder.relative_to(install.HERE)
    print(f"Installing {program.name} into {where}, a few minutes the first time.", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    ROOM.mkdir(parents=True, exist_ok=True)
    venv = subprocess.run([sys.executable, "-m", "venv", str(folder)], capture_output=True, text=True)
    if venv.returncode:
        raise install.Failed(f"No virtual environment could be made at {folder}: {venv.stdout.strip()[-300:]}")
    log = ROOM / f"{program.name}.log"
    command = [str(folder / "bin" / "python"), "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
    with log.open("w") as lines, subprocess.Popen(
        [*command, "--progress-bar=off", *program.pins],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
    ) as pip:  # fmt: skip
        for step in install.steps(pip.stdout, lines):
            install.show(step)
    install.show("")
    if pip.returncode:
        why = install.what_to_do(log.read_text())
        raise install.Failed(f"Installing {program.name} failed. {why} Details: {log}")


if __name__ == "__main__":
    main()
