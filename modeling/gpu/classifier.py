"""An image classifier: loaded, shown pictures, and asked how likely each label is. It reads no words.

Any that transformers knows: ConvNeXt, ViT, Swin and so on. What a run makes of one is the whole model, in the place of
an adapter, and beside it what it is to say of a post that has no picture.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForImageClassification, PretrainedConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES

from . import classifier_tiny
from .config import Config
from .encoders import Encoder, Post
from .families import Family
from .load import CannotLoad, Loaded, check_consent, why_not

FAMILY = Family("classifier", "Image classifier", "", (), (), ())
OURS = "classifier.json"  # in the folder that a run made
ENDING = "ForImageClassification"  # of the architectures
FEWEST = 2  # labels that a checkpoint of others must know
KNOWN = 0.5  # of a model's weights must be in the file where it is trained: the rest may be a new head
RESTS = "mask_token"  # of some models: learnt from hidden patches alone, and there are none
UNKNOWN = -5e8  # of a label that it does not know: below all that it does, above what is no candidate


class PictureEncoder(Encoder):
    """No words at all: a picture, as the checkpoint wants it."""

    takes_examples = False
    whole = False  # nothing of a picture is cut off, because words stand at its edges

    def prompts(self, posts: Sequence[Post]) -> dict[str, Any]:
        return dict(self.processor(images=[self.picture(post) for post in posts], return_tensors="pt"))

    def picture(self, post: Post) -> Image.Image:
        picture = super().picture(post)
        return squared(picture) if self.whole else picture

    def answer(self, words: str) -> list[int]:
        return []


def squared(picture: Image.Image) -> Image.Image:
    side = max(picture.size)
    square = Image.new("RGB", (side, side), "white")
    square.paste(picture, ((side - picture.width) // 2, (side - picture.height) // 2))
    return square


# --- Loaded


def load(config: Config, folder: Path, labels: Sequence[str]) -> Loaded:
    """To be trained: with a head for these labels, and what it looks with as the checkpoint has it."""
    base = base_of(config, folder)
    named = {"num_labels": len(labels), "id2label": dict(enumerate(labels)),
             "label2id": {name: number for number, name in enumerate(labels)}}  # fmt: skip
    loaded = load_from(base, config, ignore_mismatched_sizes=True, **named)
    see_it_whole(loaded.processor)
    return loaded


def base_of(config: Config, folder: Path) -> str:
    return str(folder / "base") if config.model == classifier_tiny.NAME else config.model


def load_from(base: str, config: Config, **more: Any) -> Loaded:
    common = {"trust_remote_code": config.trust_remote_code}
    if config.revision and base == config.model:
        common["revision"] = config.revision  # type: ignore[assignment]
    try:
        check_kind(PretrainedConfig.get_config_dict(base, **common)[0], base, config)
        processor = AutoImageProcessor.from_pretrained(base, **common)
        model, info = AutoModelForImageClassification.from_pretrained(
            base, dtype=torch.float32, use_safetensors=True, output_loading_info=True, **more, **common
        )
    except OSError as error:
        raise CannotLoad(why_not(base, error)) from error
    check_weights(model, info, base, is_trained="ignore_mismatched_sizes" in more)
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    return Loaded(model, processor, FAMILY, base, {"device": device, "dtype": "float32"})


def check_kind(described: dict[str, Any], base: str, config: Config) -> None:
    kind = str(described.get("model_type", ""))
    if kind in MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES:
        return
    if "AutoModelForImageClassification" in described.get("auto_map", {}):
        check_consent(replace(FAMILY, title=base, remote_code=True), config)
        return
    raise CannotLoad(
        f"{base} is no image classifier that transformers knows ({kind or 'it does not say what it is'}). Take a "
        "ConvNeXt, a ViT, a Swin or another of them, or another method for this model."
    )


def check_weights(model: Any, info: dict[str, Any], base: str, is_trained: bool) -> None:
    """What a file lacks is drawn at random, which only the log would say."""
    names = set(model.state_dict())
    lacking = {*info["missing_keys"], *(row[0] for row in info["mismatched_keys"])} & names
    if len(lacking) > (1 - KNOWN) * len(names):
        raise CannotLoad(
            f"{base} holds {len(names) - len(lacking)} of the {len(names)} weights of its model: it is another model's "
            "file, or was cut off."
        )
    if not is_trained and (random := sorted(name for name in lacking if RESTS not in name)):
        raise CannotLoad(
            f"{base} lacks {len(random)} of the {len(names)} weights of its model, {random[0]} among them: as it is, "
            "it would answer at random. Train it on a dataset first."
        )


def see_it_whole(processor: Any) -> None:
    """Pictures come as squares: what a processor would cut off at their edges is lettering."""
    for name, value in (("crop_pct", 1.0), ("do_center_crop", False)):
        if getattr(processor, name, None) is not None:
            setattr(processor, name, value)


# --- What it says of a post without a picture


def prior(labels: Iterable[str], names: Sequence[str]) -> dict[str, float]:
    """How common each label is among those; none is impossible."""
    count = Counter(labels)
    return {name: (count[name] + 1) / (count.total() + len(names)) for name in names}


def keep_prior(folder: Path, known: dict[str, float], whole: bool = True) -> None:
    """And whether it sees pictures whole, which what was trained elsewhere does not."""
    told = {"prior": known} | ({} if whole else {"whole": False})
    (folder / OURS).write_text(json.dumps(told, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def prior_in(folder: Path) -> dict[str, float]:
    """Empty where it was not made here."""
    return dict(kept_in(folder).get("prior", {}))


def sees_whole(folder: Path) -> bool:
    """As whatever was trained here does."""
    told = kept_in(folder)
    return bool(told.get("whole", told.get("prior")))


def kept_in(folder: Path) -> dict[str, Any]:
    path = folder / OURS
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}


# --- Asked


def columns_of(model: Any, names: Sequence[str], base: str) -> list[list[int]]:
    """Of each label the classes that bear its name, or one that differs in signs alone: “Maine_Coon” is our “Maine
    Coon”."""
    classes = {int(number): str(name) for number, name in model.config.id2label.items()}
    taken = {name for name in classes.values() if name in names}
    alike: dict[str, list[int]] = {}
    for number, name in classes.items():
        alike.setdefault(name if name in taken else plain(name), []).append(number)
    columns = [alike.get(name if name in taken else plain(name), []) for name in names]
    known = sum(map(bool, columns))
    if known < FEWEST:
        few = ", ".join(str(name) for name in list(model.config.id2label.values())[:5])
        raise CannotLoad(
            f"{base} knows {known or 'none'} of this project's {len(names)} labels by name; it knows {few} and so on. "
            "Train it on a dataset first, or name its classes as the labels are named."
        )
    return columns


def plain(name: str) -> str:
    return re.sub(r"[\W_]+", " ", name).strip().casefold()


@torch.no_grad()  # type: ignore[untyped-decorator]
def score(
    model: Any, encoder: Encoder, posts: Sequence[Post], columns: Sequence[Sequence[int]], unseen: torch.Tensor
) -> torch.Tensor:
    """A row a post and a column a label: its log-probability among all that the model knows. `unseen`: of a post
    without a picture."""
    rows = unseen.repeat(len(posts), 1)
    seen = [number for number, post in enumerate(posts) if post["image"]]
    if seen:
        pictures = encoder.prompts([posts[number] for number in seen])
        told = model(**{name: value.to(model.device) for name, value in pictures.items()}).logits
        rows[seen] = by_label(told.float().log_softmax(-1), columns).to(rows.device)
    return rows


def by_label(told: torch.Tensor, columns: Sequence[Sequence[int]]) -> torch.Tensor:
    unknown = told.new_full((len(told),), UNKNOWN)
    return torch.stack([told[:, list(own)].logsumexp(-1) if own else unknown for own in columns], 1)
