"""What a newcomer reads when pip fails: what to do, and not what pip did."""

import importlib.util
import io
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / ".ci" / "install.py"
spec = importlib.util.spec_from_file_location("install", SCRIPT)
install = importlib.util.module_from_spec(spec)
spec.loader.exec_module(install)
steps, what_to_do = install.steps, install.what_to_do


@pytest.mark.parametrize(
    ("log", "advice"),
    [
        ("WARNING: Retrying after connection broken by 'NewConnectionError(...)'", "check the network"),
        ("ERROR: No matching distribution found for torch==2.13.0", "No wheel of torch==2.13.0 was found"),
        ("ERROR: Failed to build installable wheels for some pyproject.toml based projects (grpcio)", "grpcio has no"),
        ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device", "disk is full"),
        ("ERROR: Something new went wrong.", "pip says: Something new went wrong."),
        ("", "pip says nothing"),
    ],
)
def test_it_says_what_to_do(log, advice):
    assert advice in what_to_do(log)


def test_it_keeps_the_log_and_shows_the_steps():
    lines = io.StringIO(
        "Collecting django<5.3,>=5.2.8 (from casting-vote==0.1.0)\n"
        "  Downloading django-5.2.19-py3-none-any.whl (8.3 MB)\n"
        "Requirement already satisfied: pip\n"
        "Installing collected packages: django\n"
    )
    log = io.StringIO()
    assert list(steps(lines, log)) == [
        "Collecting django<5.3,>=5.2.8",
        "Downloading django-5.2.19-py3-none-any.whl (8.3 MB)",
        "Unpacking all of it",
    ]
    assert log.getvalue() == lines.getvalue()
