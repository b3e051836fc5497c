"""What may depend on what: `labeling -> annotate <- modeling`, and the other rules that keep the rooms apart."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("annotate", "labeling", "modeling")
MAY_NAME_THE_WINGS = {"annotate/settings.py", "annotate/urls.py"}
HEAVY = {"torch", "transformers", "peft", "trl", "accelerate", "bitsandbytes", "sklearn", "scipy", "pandas",
         "cleanlab", "label_studio_sdk"}  # fmt: skip
NAMES_OF_NOTHING = {"utils", "util", "helpers", "services", "common", "core", "base", "managers", "signals", "misc"}
PURE_NAMES = {
    "annotate": ("addresses", "agreement", "audit", "colours", "consensus", "event_words", "harmless",
                 "label_studio/tasks", "operating/quotas", "operating/settings_check", "reliability", "risk",
                 "spreadsheets", "verdict", "webhooks/kinds", "webhooks/signing"),
    "modeling": ("chat", "datasets/composition", "datasets/recipe", "datasets/splits", "doubting/confident", "faults",
                 "markdown", "measures/baselines", "measures/calibration", "measures/cascade", "measures/comparison",
                 "measures/metrics", "measures/resampling", "openai_form", "serving/commands",
                 "serving/likeness", "serving/question", "serving/reading", "studying/parting", "training/fitting",
                 "words"),
}  # fmt: skip
PURE = {f"{room}/{name}.py" for room, names in PURE_NAMES.items() for name in names}
CARRIES = ("load", "grouping", "running", "doors", "votes", "coming_home", "leftovers")
# In annotate/importing a format yields rows and knows no tables; these carry the rows there.
CARRIERS = {f"annotate/importing/{name}.py" for name in CARRIES}


def modules(*rooms: str) -> list[Path]:
    return sorted(path for room in rooms for path in (ROOT / room).rglob("*.py"))


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def is_pure(path: Path) -> bool:
    is_format = relative(path.parent) == "annotate/importing" and relative(path) not in CARRIERS
    return is_format or relative(path) in PURE


def importing(paths: list[Path], *names: str, but: str = "\0") -> dict[str, list[str]]:
    """Which of the files import one of these or something in it, and what."""
    found = {relative(path): [name for name in imports(path) if is_in(name, *names)] for path in paths}
    others = {path: [name for name in asked if not is_in(name, but)] for path, asked in found.items()}
    return {path: asked for path, asked in others.items() if asked}


def is_in(name: str, *packages: str) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def imports(path: Path) -> Iterator[str]:
    """Full dotted names, wherever they stand: an import inside a function is a dependency too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from names_in(node, relative(path.parent).split("/"))


def names_in(node: ast.Import | ast.ImportFrom, package: list[str]) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    above = package[: len(package) - node.level + 1] if node.level else []
    stem = ".".join([*above, node.module] if node.module else above)
    return [f"{stem}.{alias.name}" for alias in node.names]


def test_it_sees_every_way_to_import(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    path = tmp_path / "annotate" / "views" / "posts.py"
    path.parent.mkdir(parents=True)
    path.write_text("import a.b as c\nfrom . import d\nfrom ..e import f\ndef g():\n    from h.i import j\n")
    assert sorted(imports(path)) == ["a.b", "annotate.e.f", "annotate.views.d", "h.i.j"]


def test_the_middle_knows_neither_wing():
    others = [path for path in modules("annotate") if relative(path) not in MAY_NAME_THE_WINGS]
    assert importing(others, "labeling", "modeling") == {}


def test_the_wings_do_not_know_each_other():
    assert importing(modules("labeling"), "modeling") == {}
    assert importing(modules("modeling"), "labeling") == {}


def test_what_trains_on_a_rented_machine_knows_neither_django_nor_our_tables():
    assert importing(modules("modeling/gpu"), "django", *ROOMS, but="modeling.gpu") == {}


def test_pure_modules_touch_no_tables():
    pure = [path for path in modules(*ROOMS) if is_pure(path)]
    assert importing(pure, "django.db", *(f"{room}.models" for room in ROOMS)) == {}


def test_a_web_worker_loads_no_heavy_library():
    program = (
        "import json, sys, django; django.setup()\n"
        "from django.urls import get_resolver; get_resolver().reverse_dict\n"
        "print(json.dumps(sorted(set(sys.argv[1:]) & set(sys.modules))))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program, *HEAVY],
        cwd=ROOT,
        env={"DJANGO_SETTINGS_MODULE": "annotate.settings", "SECRET_KEY": "x"},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout) == []


def test_each_module_is_named_for_its_subject():
    vague = [relative(path) for path in modules(*ROOMS) if {path.stem, path.parent.name} & NAMES_OF_NOTHING]
    assert vague == []
