"""A model's folder may come from anywhere: nothing in it runs, unless a site admin agreed to its code."""

import ast
import json
import os
import pickle
import shutil
from contextlib import suppress
from pathlib import Path

import pytest

from modeling.gpu import cpu_build

cpu_build.prepare()  # before torch
torch = pytest.importorskip("torch")

from safetensors.torch import load_file  # noqa: E402

from modeling.gpu import load as loading  # noqa: E402
from modeling.gpu import tiny  # noqa: E402
from modeling.gpu.config import Config  # noqa: E402
from modeling.gpu.load import CannotLoad  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("annotate", "labeling", "modeling")
RUN_WHAT_THEY_READ = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "jsonpickle"}


def nodes() -> list[tuple[str, ast.AST]]:
    files = [path for room in ROOMS for path in (ROOT / room).rglob("*.py")]
    return [(f"{path.relative_to(ROOT)}", node) for path in files for node in ast.walk(ast.parse(path.read_text()))]


def calls(name: str) -> list[tuple[str, ast.Call]]:
    found = [(where, node) for where, node in nodes() if isinstance(node, ast.Call)]
    return [(where, node) for where, node in found if ast.unparse(node.func).endswith(name)]


def given(call: ast.Call) -> dict[str | None, str]:
    return {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}


class TestTheSource:
    def test_reads_nothing_with_a_library_that_runs_what_it_reads(self):
        names = [
            (where, alias.name) for where, node in nodes() if isinstance(node, ast.Import | ast.ImportFrom)
            for alias in ([ast.alias(node.module or "")] if isinstance(node, ast.ImportFrom) else node.names)
        ]  # fmt: skip
        assert [found for found in names if found[1].partition(".")[0] in RUN_WHAT_THEY_READ] == []
        assert [where for where, call in calls(".load") if given(call).get("allow_pickle") == "True"] == []

    def test_loads_with_torch_only_what_is_plain_weights(self):
        loads = calls("torch.load")
        assert loads, "The trainer's own checkpoints."
        assert [where for where, call in loads if given(call).get("weights_only") != "True"] == []

    def test_loads_models_from_safetensors_alone(self):
        asked = calls(".from_pretrained")
        models = [(where, call) for where, call in asked if not is_no_model(ast.unparse(call.func))]
        assert len(models) >= 3
        assert [where for where, call in models if given(call).get("use_safetensors") != "True"] == []

    def test_never_agrees_to_remote_code_by_itself(self):
        agreed = [
            where for where, node in nodes()
            if (isinstance(node, ast.keyword) and node.arg == "trust_remote_code" and ast.unparse(node.value) == "True")
            or (isinstance(node, ast.Dict) and "'trust_remote_code': True" in ast.unparse(node))
        ]  # fmt: skip
        assert agreed == []


def is_no_model(name: str) -> bool:
    """Processors and configurations hold no weights; PEFT is held to safetensors by `load_adapter`."""
    return any(part in name for part in ("Processor", "Tokenizer", "Config", "PeftModel"))


# --- Real folders


class Bomb:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return tiny.build(tmp_path / "base", ["to", "the", "moon", "bullish", "bearish"])


def config(base: Path, **more: object) -> Config:
    return Config(model=str(base), method="lora", **more)


def test_a_pickle_in_the_place_of_weights_is_not_opened(base, tmp_path):
    mark = tmp_path / "ran"
    (base / "model.safetensors").unlink()
    (base / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb(mark)))
    with pytest.raises(CannotLoad, match="holds no model"):
        loading.load_from(str(base), config(base))
    assert not mark.exists()


def test_the_bomb_would_go_off(tmp_path):
    pickle.loads(pickle.dumps(Bomb(tmp_path / "ran")))
    assert (tmp_path / "ran").exists()


def test_a_pickle_beside_the_weights_is_not_opened(base, tmp_path):
    mark = tmp_path / "ran"
    for name in ("pytorch_model.bin", "training_args.bin", "optimizer.pt"):
        (base / name).write_bytes(pickle.dumps(Bomb(mark)))
    loading.load_from(str(base), config(base))
    assert not mark.exists()


def test_a_pickle_in_the_place_of_an_adapter_is_not_opened(base, tmp_path):
    mark, adapter = tmp_path / "ran", tmp_path / "run" / "adapter"
    adapter.mkdir(parents=True)
    (adapter / "adapter_config.json").write_text(json.dumps({
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 2, "target_modules": ["q_proj"],
    }))  # fmt: skip
    (adapter / "adapter_model.bin").write_bytes(pickle.dumps(Bomb(mark)))
    with pytest.raises(CannotLoad, match="holds no adapter"):
        loading.load_adapter(config(base), tmp_path / "run")
    assert not mark.exists()


CODE = """
import os
os.mkdir({mark!r})
class Mine:
    pass
"""


@pytest.mark.parametrize("changes", [
    {"model_type": "mine"}, {},
], ids=["a kind of its own", "a kind that is known"])  # fmt: skip
def test_code_beside_the_weights_does_not_run_without_consent(base, tmp_path, monkeypatch, changes):
    mark = tmp_path / "ran"
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "cache"))
    (base / "mine.py").write_text(CODE.format(mark=str(mark)))
    kinds = ("AutoConfig", "AutoModel", "AutoModelForCausalLM", "AutoModelForImageTextToText", "AutoProcessor",
             "AutoTokenizer", "AutoImageProcessor")  # fmt: skip
    points = {"auto_map": dict.fromkeys(kinds, "mine.Mine")}
    for name in ("config.json", "preprocessor_config.json", "processor_config.json", "tokenizer_config.json"):
        if (base / name).exists():
            told = json.loads((base / name).read_text())
            (base / name).write_text(json.dumps(told | points | changes if name == "config.json" else told | points))
    with suppress(CannotLoad, ValueError):  # a kind that is known is loaded without it
        loading.load_from(str(base), config(base))
    assert not mark.exists()


def test_what_is_loaded_are_the_weights_that_lie_there(base):
    loaded = loading.load_from(str(base), config(base))
    weights = load_file(base / "model.safetensors")
    name, first = next((name, tensor) for name, tensor in loaded.model.state_dict().items() if name in weights)
    assert torch.equal(first.float(), weights[name].float())
    shutil.rmtree(base)
