"""Asking a model for the probabilities of all labels, beside other ways to ask it: a random model of 137 million
parameters, one thread, all ways in turn within each round, so that a busy moment of the machine falls on every one.
"""

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from random import Random
from statistics import median
from typing import Any

from PIL import Image

from tests.bench.ground import machine, seconds
from tests.bench.list_posts import WORDS

ROUNDS, ONE_BY_ONE, BATCH = 3, 1, 16
LABELS = ("bearish", "neutral", "very bullish indeed")
SIDE = 224


def make_base(folder: Path, words: list[str]) -> Path:
    """The shape of Qwen2.5-VL, a fiftieth of its size."""
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    from modeling.gpu import tiny

    tiny.build(folder, words)
    config = Qwen2_5_VLConfig.from_pretrained(folder)
    text = config.text_config
    text.hidden_size, text.intermediate_size, text.num_hidden_layers = 1024, 2816, 12
    text.num_attention_heads, text.num_key_value_heads = 16, 4
    text.rope_parameters["mrope_section"] = [8, 12, 12]
    text.layer_types = ["full_attention"] * 12
    config.vision_config.out_hidden_size = 1024
    Qwen2_5_VLForConditionalGeneration(config).save_pretrained(folder)
    return folder


def main() -> None:
    from modeling.gpu import cpu_build

    cpu_build.prepare()
    import torch

    from modeling.gpu.config import Config
    from modeling.gpu.encoders import encoder_of
    from modeling.gpu.load import load
    from modeling.gpu.scoring import keeping, score, score_slowly

    torch.set_num_threads(1)
    dice = Random(7)
    words = [" ".join(dice.choices(WORDS, k=60)) for _ in range(BATCH)]
    with tempfile.TemporaryDirectory() as kept:
        folder = Path(kept)
        base = make_base(folder / "base", [*words, *LABELS])
        Image.effect_noise((300, 300), 60).convert("RGB").save(folder / "picture.png")
        loaded = load(Config(model=str(base), method="lora", min_pixels=SIDE**2, max_pixels=SIDE**2), folder)
    model = loaded.model.eval()
    with tempfile.TemporaryDirectory() as kept:
        folder = Path(kept)
        Image.effect_noise((300, 300), 60).convert("RGB").save(folder / "picture.png")
        encoder = encoder_of(loaded.processor, folder, loaded.family)
        posts = [{"id": str(n), "system": "What does it say?", "user": words[n], "image": "picture.png"}
                 for n in range(BATCH)]  # fmt: skip
        answers = [encoder.answer(label) for label in LABELS]
        size = sum(weight.numel() for weight in model.parameters())
        tokens = encoder.prompts(posts[:1])["input_ids"].shape[1]
        print(f"{machine()}; {size / 1e6:.0f} million parameters, prompts of about {tokens} tokens with a picture, "
              f"{len(LABELS)} labels")  # fmt: skip

        @torch.no_grad()
        def prefix(some: list[Any]) -> None:
            model(**encoder.prompts(some), use_cache=True, **keeping(model, 1))

        def generate(some: list[Any], beams: int) -> None:
            prompts = encoder.prompts(some)
            begins = prompts["input_ids"].shape[1]

            def allowed(_: int, so_far: Any) -> list[int]:
                told = so_far[begins:].tolist()
                return sorted({a[len(told)] for a in answers if a[: len(told)] == told and len(a) > len(told)}) or [
                    answers[0][-1]
                ]

            model.generate(
                **prompts, max_new_tokens=max(map(len, answers)), do_sample=False, num_beams=beams,
                prefix_allowed_tokens_fn=allowed,
            )  # fmt: skip

        def each(work: Callable[[list[Any]], Any]) -> Callable[[], None]:
            return lambda: [work([post]) for post in posts[:ONE_BY_ONE]] and None

        ways: dict[str, tuple[Callable[[], Any], int]] = {
            "the prompt alone, one by one": (each(prefix), ONE_BY_ONE),
            "all labels scored, one by one": (each(lambda some: score(model, encoder, some, answers)), ONE_BY_ONE),
            "a label written, held to the list": (each(lambda some: generate(some, 1)), ONE_BY_ONE),
            "all labels written, by beams": (each(lambda some: generate(some, len(LABELS))), ONE_BY_ONE),
            "a whole pass for each label": (each(lambda some: score_slowly(model, encoder, some, answers)), ONE_BY_ONE),
            f"the prompts alone, {BATCH} at once": (lambda: prefix(posts), BATCH),
            f"all labels scored, {BATCH} at once": (lambda: score(model, encoder, posts, answers), BATCH),
        }
        prefix(posts[:1])
        taken: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(ROUNDS):
            for name, (work, count) in ways.items():
                taken[name].append(seconds(work) / count)
                print(f"  {name}: {1000 * taken[name][-1]:.0f} ms a post", file=sys.stderr, flush=True)
    for name, times in taken.items():
        print(f"{name:<36} {1000 * median(times):8.1f} ms a post")
    scored, names = taken["all labels scored, one by one"], list(ways)
    print(f"scored, against the prompt alone: {ratio(scored, taken[names[0]]):.2f} times (asked: at most 1.2)")
    print(f"a label written, against scored: {ratio(taken[names[2]], scored):.2f} times as long (asked: 3 or more)")
    print(f"all labels written, against scored: {ratio(taken[names[3]], scored):.2f} times as long")
    print(f"{BATCH} at once, against the prompts alone: {ratio(taken[names[6]], taken[names[5]]):.2f} times")
    print(f"one by one, against {BATCH} at once: {ratio(scored, taken[names[6]]):.2f} times as long")
    sys.stdout.flush()


def ratio(one: list[float], other: list[float]) -> float:
    """Of what was measured in the same round."""
    return median(a / b for a, b in zip(one, other, strict=True))


if __name__ == "__main__":
    main()
