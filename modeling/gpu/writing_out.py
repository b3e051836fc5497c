"""Writes what a run made as a model that a server loads: `python -m modeling.gpu.writing_out FOLDER`.

The folder holds config.json as training has it, and form.json: the form, the folder with what training made, where to
write, and the labels. Weights and processor come to lie in `part` there, and how the model is to be asked, in exactly
the words that it was trained on, is told with the last line of the progress. Whoever started us moves it into place.
"""

import json
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal, Self, get_args

from modeling.gpu import cpu_build

cpu_build.prepare()

import torch  # noqa: E402
import transformers  # noqa: E402
from safetensors import SafetensorError, safe_open  # noqa: E402
from transformers import AutoProcessor, PretrainedConfig  # noqa: E402

from modeling.gpu import families  # noqa: E402
from modeling.gpu.config import Config  # noqa: E402
from modeling.gpu.encoders import Encoder, encoder_of  # noqa: E402
from modeling.gpu.load import (  # noqa: E402
    CannotLoad,
    Loaded,
    check_adapter,
    check_consent,
    check_quantised,
    first_line,
    load,
    load_adapter,
    quantisation,
    why_not,
)
from modeling.gpu.progress import Progress  # noqa: E402

Form = Literal["merged", "8bit", "4bit", "lora"]
FORMS: tuple[Form, ...] = get_args(Form)
BITS = {"8bit": 8, "4bit": 4}
PART = "part"  # beside what is whole already
DTYPE = torch.bfloat16
SPARE = 1.05  # of the room that the weights take: the processor, and what a file system takes for itself
SIGNS_TOLD = 20_000  # no tokeniser has more that a post could hold
LIBRARIES = ("torch", "transformers", "peft", "bitsandbytes")
EXPECTED = (CannotLoad, families.Unknown, ValueError)


class NoRoom(Exception):
    """The disk cannot hold it; the words say how much it takes."""


class Stopped(Exception):
    """Somebody asked us to."""


@dataclass(frozen=True)
class Asked:
    form: Form
    made: str  # the folder with what training made
    to: str
    answers: tuple[str, ...]

    @classmethod
    def read(cls, folder: Path) -> Self:
        stored: Mapping[str, Any] = json.loads((folder / "form.json").read_text(encoding="utf-8"))
        known = {f.name: stored[f.name] for f in fields(cls)}
        if known["form"] not in FORMS:
            raise ValueError(f"“{known['form']}” is no form; there are {', '.join(FORMS)}.")
        return cls(**known)


def main(folder: Path) -> None:
    progress = Progress(folder)
    try:
        write_out(folder, progress)
    except Stopped:
        progress.write("stopped")
    except NoRoom as error:
        progress.write("failed", error=str(error))
        raise SystemExit(1) from error
    except EXPECTED as error:
        progress.write("failed", error=str(error))
        raise SystemExit(1) from error
    except torch.OutOfMemoryError as error:
        told = "The card’s memory is too small for this model in 16 bits, which it has to be in to be written out."
        progress.write("failed", error=f"{told} Let a worker with a larger card, or without one, do it.")
        raise SystemExit(1) from error
    except (OSError, SafetensorError) as error:  # the library that writes weights has an exception of its own
        progress.write("failed", error=disk_trouble(error))
        raise SystemExit(1) from error
    except Exception as error:  # whatever it is, whoever watches is told; the whole of it goes to the log
        told = f"Something that was not foreseen, {type(error).__name__}: {first_line(error)}"
        progress.write("failed", error=told)
        raise


def disk_trouble(error: Exception) -> str:
    why = error.strerror if isinstance(error, OSError) and error.strerror else first_line(error)
    return f"The disk did not play along: {why}. Make room or choose another folder, and resume."


def write_out(folder: Path, progress: Progress) -> None:
    config, asked = Config.read(folder), Asked.read(folder)
    part = Path(asked.to) / PART
    shutil.rmtree(part, ignore_errors=True)  # from one that was killed
    part.mkdir(parents=True)
    writer = Writer(config, asked, folder, part, progress)
    told = writer.adapter() if asked.form == "lora" else writer.whole()
    libraries = {name: found for name in LIBRARIES if (found := version_of(name))}
    progress.write("done", told={**told, "libraries": libraries, "bytes": size_of(part)})


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def version_of(library: str) -> str | None:
    try:
        return version(library)
    except PackageNotFoundError:
        return None


class Writer:
    def __init__(self, config: Config, asked: Asked, folder: Path, part: Path, progress: Progress) -> None:
        self.config, self.asked, self.folder, self.part, self.progress = config, asked, folder, part, progress

    def doing(self, what: str, of: int = 0) -> None:
        if self.progress.stop_asked:
            raise Stopped
        self.progress.write("state", doing=what, of=of)

    # --- The whole model

    def whole(self) -> dict[str, Any]:
        """On a card the base is loaded in bf16; without one in 32 bits, and rounded when the adapter is in it."""
        self.doing("loading the model")
        loaded = self.as_trained() if self.config.method == "qlora" else self.in_16_bits()
        check_writable(loaded.family)
        if hasattr(loaded.model, "merge_and_unload"):
            self.doing("merging the adapter into the weights")
            loaded.model = loaded.model.merge_and_unload()
        model, processor = loaded.model.to(DTYPE), loaded.processor
        model.config.use_cache = True  # training had switched it off
        told = told_of(loaded.family, processor, self.config, self.asked, context_of(model.config.get_text_config()))
        bits = BITS.get(self.asked.form)
        merged = self.part if bits is None else self.part / "merged"
        self.save(model, merged, "writing the weights")
        if bits is not None:
            del model, loaded.model
            self.quantise(merged, bits, loaded.family)
        processor.save_pretrained(self.part)
        check_safe(self.part)
        return told | {"weights": f"{bits} bits, the language model alone" if bits else "bfloat16"}

    def in_16_bits(self) -> Loaded:
        return load_adapter(self.config, self.folder, Path(self.asked.made), 16)

    def as_trained(self) -> Loaded:
        """An adapter that learnt beside rounded weights is right beside these alone: they are rounded as they were
        then, and spelt out in 16 bits, before it is added to them."""
        from peft import PeftModel

        check_adapter(Path(self.asked.made))
        loaded = load(self.config, self.folder)
        loaded.model = loaded.model.dequantize()
        loaded.model = PeftModel.from_pretrained(loaded.model, self.asked.made)
        return loaded

    def save(self, model: Any, to: Path, what: str) -> None:
        size = sum(one.numel() * one.element_size() for one in model.state_dict().values())
        check_room(to, size)
        self.doing(what, of=size)
        model.save_pretrained(to)

    def quantise(self, merged: Path, bits: int, family: families.Family) -> None:
        """From the weights as they were just written, so that what is rounded is what would be served whole."""
        self.doing(f"quantising to {bits} bits")
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        where = {"device_map": {"": torch.cuda.current_device()}} if torch.cuda.is_available() else {}
        how = quantisation(bits, family, DTYPE)
        how["quantization_config"].llm_int8_skip_modules += plain_names(family)
        model = getattr(transformers, family.loader).from_pretrained(
            merged, dtype=DTYPE, use_safetensors=True, **where, **how
        )
        check_quantised(model, family)
        shutil.rmtree(merged)
        self.save(model, self.part, "writing the weights")

    # --- The adapter alone

    def adapter(self) -> dict[str, Any]:
        """As training left it, which is what vLLM loads; a base that was made on the spot comes along."""
        base = self.config.model
        common = {"trust_remote_code": self.config.trust_remote_code,
                  **({"revision": self.config.revision} if self.config.revision else {})}  # fmt: skip
        self.doing("reading the adapter")
        try:
            described = PretrainedConfig.get_config_dict(base, **common)[0]
            family = families.of(described)
            check_consent(family, self.config)
            processor = AutoProcessor.from_pretrained(base, **common)
        except OSError as error:
            raise CannotLoad(why_not(base, error)) from error
        check_writable(family)
        made = [path for path in sorted(Path(self.asked.made).glob("adapter_*")) if path.is_file()]
        if not any(path.suffix == ".safetensors" for path in made):
            raise CannotLoad(f"The folder {self.asked.made} holds no adapter that could be written out.")
        local = Path(base) if is_of_run(base, self.asked.made) else None
        taken = [*made, *(local.glob("*") if local else [])]
        check_room(self.part, sum(path.stat().st_size for path in taken))
        self.doing("writing the adapter")
        for path in made:
            shutil.copyfile(path, self.part / path.name)
        if local:
            shutil.copytree(local, self.part / "base")
        base = str(Path(self.asked.to) / "base") if local else base
        describe(self.part, base)
        processor.save_pretrained(self.part)
        check_safe(self.part)
        context = context_of(described.get("text_config") or described)
        told = told_of(family, processor, self.config, self.asked, context)
        return told | {"weights": "as the adapter was trained", "base_comes_along": local is not None}


def is_of_run(base: str, made: str) -> bool:
    """A base that was built where the run was trained came home with it, beside the adapter."""
    return Path(base).is_absolute() and Path(base).parent == Path(made).parent


def describe(part: Path, base: str) -> None:
    """PEFT notes what it looked for, which is more than it found; a server is told what there is, and where its base
    lies."""
    path = part / "adapter_config.json"
    with safe_open(part / "adapter_model.safetensors", "pt") as file:
        found = {name.partition(".lora_")[0].rpartition(".")[2] for name in file.keys()}  # noqa: SIM118 - no mapping
    stored = json.loads(path.read_text(encoding="utf-8"))
    told = {"base_model_name_or_path": base, "target_modules": sorted(found)}
    path.write_text(json.dumps(stored | told, indent=2) + "\n", encoding="utf-8")


def plain_names(family: families.Family) -> list[str]:
    """vLLM names its modules without our `model.` before them, and leaves alone what it finds by its own names."""
    return [*family.vision, *family.projector]


# --- Whether it can be


def check_writable(family: families.Family) -> None:
    if family.remote_code:
        raise CannotLoad(
            f"{family.title} needs program code that lies beside its weights, and no code is written out. Serve it "
            "from where it came from."
        )


def check_room(to: Path, size: int) -> None:
    to.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(to).free
    if free < size * SPARE:
        raise NoRoom(
            f"It takes {in_words(size * SPARE)}, and where it is to be written {in_words(free)} are free. Make room or "
            "choose another folder, and resume."
        )


def in_words(size: float) -> str:
    return f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{size / 1e6:,.1f} MB"


def check_safe(part: Path) -> None:
    """Nothing that runs when it is loaded."""
    odd = [path.name for path in part.rglob("*") if path.suffix in (".bin", ".pt", ".pth", ".pkl", ".py")]
    if odd:
        raise CannotLoad(f"{odd[0]} is no safe way to hold weights: this model cannot be written out.")


# --- How it is asked


def told_of(
    family: families.Family, processor: Any, config: Config, asked: Asked, context: int | None
) -> dict[str, Any]:
    """All that it takes to ask it in its own words, where there is neither torch nor this processor."""
    encoder = encoder_of(processor, Path(), family)
    return {
        "family": family.key, "title": family.title, "loader": family.loader, "by_chat": family.encoding == "chat",
        "takes_system": encoder.takes_system, "needs_picture": family.needs_picture,
        "template_kwargs": encoder.said_to_template if family.encoding == "chat" else {},
        "signs": signs_of(encoder), "answer_tokens": max(len(encoder.answer(one)) for one in asked.answers),
        "context": context, "pixels": pixels_of(family, config),
        "min_pixels": config.min_pixels, "max_pixels": config.max_pixels,
        "template": str(processor.chat_template or "") if family.encoding == "chat" else "",
    }  # fmt: skip


def signs_of(encoder: Encoder) -> list[str]:
    """What in a post would place a picture or end a turn: training broke it, and whoever asks must too."""
    known = {str(token) for token in encoder.tokenizer.added_tokens_decoder.values() if len(str(token)) > 2}
    return sorted(filter(str.strip, known | set(encoder.other_signs)), key=len, reverse=True)[:SIGNS_TOLD]


def context_of(text: Any) -> int | None:
    found = text.get("max_position_embeddings") if isinstance(text, Mapping) else None
    found = found or getattr(text, "max_position_embeddings", None)
    return int(found) if found else None


def pixels_of(family: families.Family, config: Config) -> dict[str, Any]:
    """What a server has to be told of the pictures' size, where it takes the processor from the base."""
    if family.pixels == "pixels":
        return {"min_pixels": config.min_pixels, "max_pixels": config.max_pixels}
    return {}


if __name__ == "__main__":
    main(Path(sys.argv[1]))
