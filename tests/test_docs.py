"""What is written down is there: links, commands, targets, settings; and examples are run as they stand."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings as site
from django.core.management import get_commands
from django.test import Client

from annotate.models import ApiToken, ImportRun, Role
from modeling.export.formats import FORMATS

from . import data_dictionary
from .make import make_member, make_post, make_project
from .test_deployment import copied
from .test_queue import contested

ROOT = Path(__file__).resolve().parent.parent
DOCS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
PICTURES = sorted((ROOT / "docs").glob("*.png"))
BY_NAME = {"ids": lambda path: path.relative_to(ROOT).as_posix()}
LINK = re.compile(r"\]\(([^)\s]+)\)")
FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
SETTING = re.compile(r"\b(?:env|values)\.\w+\(\s*\"([A-Z0-9_]+)\"")
# What others read from the environment, and what only compose.yaml does.
NOT_OURS = {"OPENAI_API_KEY", "GEMINI_API_KEY", "GOOGLE_API_KEY", "COMPATIBLE_API_KEY", "POSTGRES_PASSWORD", "TMPDIR",
            "HF_HOME", "PIP_CERT", "HTTPS_PROXY", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "TEST_DB", "DJANGO_",
            "MEDIA_URL"}  # fmt: skip
# Words in capitals that are no settings.
PLACES = re.compile(
    r"^(SLUG|NAME|PATH|RUN|MODEL|FOLDER|ID|N|PORT|BENCH|ARGS|SITE|TOKEN|README|CHANGELOG|CONTRIBUTING|"
    r"SECURITY|LICENSE|DONE|TERM|SIGTERM|PYTHON|SHARED|RAN|BATCHING|HTTP|GET|POST|NDJSON|LABEL|FILE)$"
)


def text_of(path: Path, fenced: bool = True) -> str:
    text = path.read_text()
    return text if fenced else FENCED.sub("", text)


def anchors(path: Path) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", FENCED.sub("", path.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("path", DOCS, **BY_NAME)
def test_each_link_leads_somewhere(path):
    for link in LINK.findall(text_of(path, fenced=False)):
        if "://" in link:
            continue
        name, _, place = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        assert target.exists(), f"{path.name}: {link}"
        if place:
            assert place in anchors(target), f"{path.name}: {link}"


def test_each_page_is_led_to():
    led = {(path.parent / link.partition("#")[0]).resolve() for path in DOCS for link in LINK.findall(text_of(path))}
    assert [path for path in [*DOCS, *PICTURES] if path not in led and path.name != "README.md"] == []


@pytest.mark.parametrize("path", DOCS, **BY_NAME)
def test_commands_and_targets_are_there(path):
    targets = set(re.findall(r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    commands = set(get_commands()) | {"qcluster"}
    for command, option in re.findall(r"manage\.py ([a-z_]+)(?:[^\n`]*?(--[a-z-]+))?", text_of(path)):
        assert command in commands, f"{path.name}: manage.py {command}"
        if option and command in ours():
            assert option in ours()[command], f"{path.name}: manage.py {command} {option}"
    for target in re.findall(r"(?:`|^    )(?:[A-Z_]+=\S+ )*make ([a-z][a-z-]*)", text_of(path), re.MULTILINE):
        assert target in targets, f"{path.name}: make {target}"
    for module in re.findall(r"python -m (tests\.[\w.]+)", text_of(path)):
        assert (ROOT / f"{module.replace('.', '/')}.py").exists(), module


def ours() -> dict[str, str]:
    """The source of each command, in which its options stand."""
    return {path.stem: path.read_text() for path in ROOT.glob("*/management/commands/*.py")}


def settings_read() -> set[str]:
    return set(SETTING.findall((ROOT / "annotate" / "settings.py").read_text()))


def settings_table() -> set[str]:
    """The names in the first column of the tables: README's, and those of docs/deploy.md for whoever runs it."""
    table = (ROOT / "README.md").read_text().partition("## Settings")[2].partition("\n## ")[0]
    more = [section for section in (ROOT / "docs" / "deploy.md").read_text().split("\n## ") if "| name |" in section]
    rows = [line.split("|")[1] for line in "\n".join([table, *more]).splitlines() if line.startswith("| `")]
    return {name for row in rows for name in re.findall(r"`([A-Z0-9_]+)`", row)}


def test_every_setting_stands_in_a_table_and_every_one_there_is_read():
    assert settings_read() - settings_table() == set()
    assert settings_table() - settings_read() - NOT_OURS == set()


@pytest.mark.parametrize("path", DOCS, **BY_NAME)
def test_settings_that_are_named_are_there(path):
    text = text_of(path)
    named = set(re.findall(r"`([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+)(?:=[^`]*)?`", text))
    named |= set(re.findall(r"^    ([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+)=", text, re.MULTILINE))
    assert {name for name in named if not PLACES.match(name)} - settings_read() - NOT_OURS - constants() == set()


def constants() -> set[str]:
    """Of how-tos, which name what stands in the code they speak of."""
    code = "".join(
        path.read_text() for room in ("labeling", "modeling", "annotate") for path in ROOT.glob(f"{room}/**/*.py")
    )
    return set(re.findall(r"^([A-Z][A-Z0-9_]+)\b", code, re.MULTILINE))


@pytest.mark.parametrize("path", DOCS, **BY_NAME)
def test_files_that_are_named_are_there(path):
    """In backquotes, with a folder: what a how-to makes does not count."""
    made = set(re.findall(r"`([\w/.-]+)`:\n", text_of(path)))
    for name in re.findall(
        r"`((?:annotate|labeling|modeling|tests|deploy|docs|templates|static)/[\w/.-]*\w)`", text_of(path, False)
    ):
        assert (ROOT / name).exists() or name in made, f"{path.name}: {name}"


def test_metrics_that_are_named_are_told():
    told = "".join(path.read_text() for path in (ROOT / "annotate" / "operating").glob("*.py"))
    for path in DOCS:
        for name in re.findall(r"`(casting_vote_\w+)`", text_of(path)):
            assert f'"{name}"' in told, f"{path.name}: {name}"


def test_pictures_are_small_and_few():
    assert len(PICTURES) <= 12
    assert [path.name for path in PICTURES if path.stat().st_size > 150_000] == []


def test_the_data_dictionary_is_up_to_date():
    assert data_dictionary.PAGE.read_text() == data_dictionary.page(), "python -m tests.data_dictionary"
    page = data_dictionary.page()
    for table, columns in data_dictionary.WORDS.items():
        section = page.partition(f"### `{table}`\n")[2].partition("\n### ")[0]
        assert section, table
        assert [name for name, words in columns.items() if words not in section] == [], table


def test_the_journey_says_how_many_formats_there_are():
    assert len(FORMATS) == 9, "docs/journey.md says nine"


# --- Examples


def examples() -> list[list[str]]:
    blocks = re.findall(r"^```sh\n(.*?)^```", (ROOT / "docs" / "api.md").read_text(), re.MULTILINE | re.DOTALL)
    return [shlex.split(block.replace("\\\n", " ")) for block in blocks]


def imported() -> int:
    return getattr(ImportRun.objects.first(), "pk", 0)


@pytest.mark.django_db(transaction=True)
def test_the_apis_examples_work_as_they_stand(live_server):
    """Read as curl reads them: -H is a header, -d makes it a POST."""
    project = make_project("memes", ("bearish", "neutral", "bullish"), audit_rate=0)
    _, token = ApiToken.issue(make_member(project, Role.ADMIN), "docs")
    for number in range(30):
        make_post(project, f"post {number}", ("bearish", "bullish")[number % 2], label_source="review")
    contested(project)
    assert len(examples()) == 8
    answered = []
    for curl, *words in examples():
        assert curl == "curl"
        headers: dict[str, str] = {}
        body, address = None, ""
        words = iter(words)
        for word in words:
            if word == "-H":
                name, _, value = next(words).replace("$TOKEN", token).partition(": ")
                headers[name] = value
            elif word == "-d":
                body = next(words)
            else:
                address = word.replace("$SITE", "").replace("imports/1", f"imports/{imported()}")
        client = Client(headers=headers)
        if body is None:
            answer = client.get(address)
        else:
            answer = client.post(address, body, content_type=headers.get("Content-Type", "application/x-ndjson"))
        answered.append(answer.status_code)
        assert answer.status_code in {200, 202}, (address, answer.content)
    assert answered == [200, 202, 200, 200, 200, 202, 200, 200]


def how_tos() -> Iterator[tuple[str, str]]:
    for path in sorted((ROOT / "docs" / "how-to").glob("*.md")):
        yield path.stem, path.read_text()


def test_each_how_to_works_as_it_stands(tmp_path):
    """Its files are written and its changes made in a copy of the code, and the tests it names are run there."""
    copy = tmp_path / "copy"
    copy.mkdir()
    for source in [source for source, target in copied() if target != "./"] + ["tests", "pyproject.toml"]:
        to = copy / source
        (shutil.copytree if (ROOT / source).is_dir() else shutil.copy)(ROOT / source, to)
    tests = []
    for name, text in how_tos():
        for path, content in re.findall(r"^`([\w/.]+)`:\n\n```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
            assert not (copy / path).exists(), f"{name}: {path} is there already"
            (copy / path).write_text(content)
            tests += [path] if path.startswith("tests/") else []
        for change in re.findall(r"^```diff\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
            ran = subprocess.run(
                ["git", "apply", "--unidiff-zero", "-"], cwd=copy, input=change, text=True, capture_output=True
            )
            assert ran.returncode == 0, f"{name}: its change no longer fits: {ran.stderr}"
    picked = "house or reddit or fasttext or native"  # the training of a tiny model is left to whoever adds one
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests, "tests/test_export.py",
               "tests/test_families.py", "-k", picked]  # fmt: skip
    own = {"TEST_DB": f"{os.environ.get('TEST_DB', '')}howto{os.environ.get('PYTEST_XDIST_WORKER', '')}",
           "VAR_DIR": str(site.VAR_DIR), "DATABASE_URL": site.DATABASE_URL, "OMP_NUM_THREADS": "1"}  # fmt: skip
    without = {"PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT", "PYTEST_XDIST_TESTRUNUID", "PYTEST_ADDOPTS"}
    inherited = {name: value for name, value in os.environ.items() if name not in without}
    ran = subprocess.run(command, cwd=copy, env=inherited | own, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-2000:]
    assert len(tests) == 3
