"""What a model is shown of a post, and how its answer begins and ends. One class for each way there is."""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from random import Random
from typing import Any

import torch
from PIL import Image

from .batches import IGNORED, BadBatch, with_answers
from .families import Family
from .picture_changes import strongly_changed

Post = Mapping[str, Any]  # id, system, user, answer, label; image: its path below the run folder, or blank
Turn = dict[str, Any]
Change = Callable[[Image.Image, Random], Image.Image]
BREAK = "\u2060"  # a word joiner: no reader sees it, and no tokeniser takes what it breaks for a sign
MARK = "ANSWER"
BLANK = (64, 64)


class Encoder:
    """A chat: a template makes one text of the turns, and the answer follows it."""

    takes_examples = True
    apart = False  # whether the answer is written by a decoder of its own
    padding = "left"  # so that prompts end where their answers begin

    def __init__(
        self, processor: Any, folder: Path, family: Family, change: Change | None = None, shown: Sequence[Post] = ()
    ) -> None:
        self.processor, self.folder, self.family = processor, folder, family
        self.change = change  # augmentation, in training alone
        self.shown = shown  # posts with their answers, told before each that is asked about

    @property
    def tokenizer(self) -> Any:
        return self.processor.tokenizer

    def has_picture(self, post: Post) -> bool:
        return self.family.needs_picture or bool(post["image"])

    # --- The words

    def prompt(self, post: Post) -> str:
        return self.written(self.turns(post), asked=True)

    def written(self, turns: Sequence[Turn], asked: bool = False) -> str:
        return str(self.processor.apply_chat_template(
            list(turns), add_generation_prompt=asked, tokenize=False, **self.said_to_template
        ))  # fmt: skip

    @cached_property
    def said_to_template(self) -> dict[str, Any]:
        """A model that thinks first would be taught, and asked, in the midst of its thoughts."""
        return {"enable_thinking": False} if "enable_thinking" in str(self.processor.chat_template) else {}

    def turns(self, post: Post) -> list[Turn]:
        system, user = self.broken(post["system"]), self.broken(post["user"])
        if not self.takes_system and not self.shown:
            system, user = "", "\n\n".join(filter(None, [system, user]))
        said = [*self.turns_before, self.turn("user", user, self.has_picture(post))]
        if self.takes_system or not self.shown:
            return [self.turn("system", system), *said] if system else said
        return said  # what there is to know was said at the first of those before

    @cached_property
    def turns_before(self) -> list[Turn]:
        turns = []
        for number, post in enumerate(self.shown):
            told = [post["user"]] if self.takes_system or number else [post["system"], post["user"]]
            words = "\n\n".join(filter(None, map(self.broken, told)))
            turns += [self.turn("user", words, self.has_picture(post)), self.answered_turn(self.broken(post["answer"]))]
        return turns

    def turn(self, who: str, words: str, picture: bool = False) -> Turn:
        if self.family.placeholder:
            return {"role": who, "content": f"{self.family.placeholder if picture else ''}{words}"}
        return {"role": who, "content": [*([{"type": "image"}] if picture else []), {"type": "text", "text": words}]}

    def broken(self, words: str) -> str:
        """Nobody's post places a picture or ends a turn."""
        return self.signs.sub(lambda sign: sign[0][0] + BREAK + sign[0][1:], words)

    @cached_property
    def signs(self) -> re.Pattern[str]:
        known = {str(token) for token in self.tokenizer.added_tokens_decoder.values() if len(str(token)) > 2}
        signs = sorted(filter(str.strip, known | set(self.other_signs)), key=len, reverse=True)
        return re.compile("|".join(map(re.escape, signs)) or r"(?!)")

    @property
    def other_signs(self) -> list[str]:
        return [str(getattr(self.processor, "image_token", "")), self.family.placeholder.strip()]

    @cached_property
    def takes_system(self) -> bool:
        """Some templates refuse a system turn, and some drop it without a word."""
        mark = "a question for the system"
        try:
            return mark in self.written([self.turn("system", mark), self.turn("user", "a post")], asked=True)
        except Exception:  # templates raise whatever they like
            return False

    # --- The answer

    @cached_property
    def around(self) -> tuple[str, str]:
        """What the template writes between the prompt and an answer, and after it."""
        asked = [self.turn("user", "a post")]
        try:
            before, whole = self.written(asked, asked=True), self.answered(asked)
        except Exception:  # a template for asking alone
            return "", ""
        first, _, after = whole.rpartition(MARK)
        between = first.removeprefix(before) if first.startswith(before) else " " * first.endswith(" ")
        return between, after.strip()

    def answered(self, turns: Sequence[Turn]) -> str:
        return self.written([*turns, self.answered_turn(MARK)])

    def answered_turn(self, words: str) -> Turn:
        said = self.turn("assistant", words)
        try:
            self.written([self.turn("user", "a post"), said])
        except Exception:  # some take an answer in one piece alone
            return {"role": "assistant", "content": words}
        return said

    @cached_property
    def ending(self) -> list[int]:
        """The sign by which the model says that its answer is over."""
        ids = self.tokenizer(self.around[1], add_special_tokens=False)["input_ids"] if self.around[1] else []
        return [int(ids[0])] if ids else [int(self.tokenizer.eos_token_id)]

    def answer(self, words: str) -> list[int]:
        if not words.strip():
            raise BadBatch("An answer is empty: nothing could be learnt from it. Look at the labels' names.")
        told = self.tokenizer(self.around[0] + self.broken(words), add_special_tokens=False)["input_ids"]
        return [*told, *self.ending]

    # --- Batches

    def prompts(self, posts: Sequence[Post]) -> dict[str, Any]:
        """All with a picture, or all without: processors differ in what they make of a mixture."""
        own = [[self.picture(post)] if self.has_picture(post) else [] for post in posts]
        if len(set(map(len, own))) > 1:
            raise ValueError("A batch is either of posts with a picture or of posts without.")
        pictures = [[*self.pictures_before, *picture] for picture in own]
        self.tokenizer.padding_side = self.padding
        texts = [self.prompt(post) for post in posts]
        begun = self.tokenizer.bos_token and texts[0].startswith(self.tokenizer.bos_token)
        return dict(self.processor(
            text=texts, padding=True, return_tensors="pt", **({"add_special_tokens": False} if begun else {}),
            **({"images": pictures} if any(pictures) else {}),
        ))  # fmt: skip

    def batch(self, prompts: dict[str, Any], answers: Sequence[Sequence[int]]) -> dict[str, Any]:
        return with_answers(prompts, answers, int(self.tokenizer.pad_token_id))

    @cached_property
    def pictures_before(self) -> list[Image.Image]:
        return [self.picture(post) for post in self.shown if self.has_picture(post)]

    def picture(self, post: Post) -> Image.Image:
        if not post["image"]:
            return Image.new("RGB", BLANK, "white")
        try:
            with Image.open(self.folder / post["image"]) as opened:
                picture = opened.convert("RGB")
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise BadBatch(
                f"The picture of post {post['id']} cannot be read ({post['image']}): {error}. Mend it or leave it out."
            ) from error
        learnt_from_a_model = post.get("by_model") and "drawn" in post  # never where it is asked or measured
        change = strongly_changed if learnt_from_a_model else self.change
        return change(picture, Random(f"picture {post['drawn']}")) if change else picture  # noqa: S311 - of nothing secret


class PlainEncoder(Encoder):
    """No turns and no template: a picture, a text, and an answer up to the end sign."""

    @property
    def takes_system(self) -> bool:
        return False

    takes_examples = False

    @property
    def around(self) -> tuple[str, str]:
        return "", ""

    def prompt(self, post: Post) -> str:
        return "\n\n".join(filter(None, [self.broken(post["system"]), self.broken(post["user"])]))


class PaliGemmaEncoder(PlainEncoder):
    """What is told to it sees itself in both directions, and the answer does not."""

    def prompt(self, post: Post) -> str:
        return f"{self.processor.image_token}{super().prompt(post)}"

    def prompts(self, posts: Sequence[Post]) -> dict[str, Any]:
        made = super().prompts(posts)
        made.pop("labels", None)
        return made

    def batch(self, prompts: dict[str, Any], answers: Sequence[Sequence[int]]) -> dict[str, Any]:
        made = super().batch(prompts, answers)
        for row, answer in enumerate(answers):
            made["token_type_ids"][row, -len(answer) :] = 1
        return made


class FlorenceEncoder(PlainEncoder):
    """An encoder reads picture and text, and a decoder writes the answer, from sign to sign."""

    apart = True
    padding = "right"  # its encoder counts places from the first token, padding or not

    @property
    def other_signs(self) -> list[str]:
        tasks = [*self.processor.task_prompts_without_inputs, *self.processor.task_prompts_with_input]
        return [*super().other_signs, *tasks]

    def answer(self, words: str) -> list[int]:
        return [int(self.tokenizer.bos_token_id), *super().answer(words)]

    def batch(self, prompts: dict[str, Any], answers: Sequence[Sequence[int]]) -> dict[str, Any]:
        longest = max(map(len, answers))
        rows = [[*answer, *[IGNORED] * (longest - len(answer))] for answer in answers]
        return {**prompts, "labels": torch.tensor(rows)}


ENCODERS: dict[str, type[Encoder]] = {"chat": Encoder, "paligemma": PaliGemmaEncoder, "florence": FlorenceEncoder}


def encoder_of(
    processor: Any, folder: Path, family: Family, change: Change | None = None, shown: Sequence[Post] = ()
) -> Encoder:
    return ENCODERS[family.encoding](processor, folder, family, change, shown)
