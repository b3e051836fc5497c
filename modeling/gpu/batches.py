"""Posts into batches: drawn anew each epoch, pictures opened when they are needed, the answer alone to be learnt.

A sequence is [padding][prompt][answer]: answers end at one edge, so that only their few logits are ever computed.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch.utils.data import Dataset, Sampler

from .config import Config
from .picture_changes import thinned

if TYPE_CHECKING:
    from .encoders import Encoder

IGNORED = -100
T = TypeVar("T")
Place = tuple[
    int, str
]  # which post, and where in the run it is drawn: all chance hangs on that, so a run resumes exactly


class BadBatch(Exception):
    """It could not teach what it should; the words say why and what to change."""


def with_answers(prompts: dict[str, Any], answers: Sequence[Sequence[int]], padding: int) -> dict[str, Any]:
    """Prompts as the processor padded them, each followed by its answer, all ending at the right edge."""
    kept = prompts["attention_mask"].bool()
    shape = prompts["input_ids"].shape
    longest = max(int(row.sum()) + len(answer) for row, answer in zip(kept, answers, strict=True))
    batch = {name: value for name, value in prompts.items() if not is_per_token(value, shape)}
    for name, value in prompts.items():
        if is_per_token(value, shape):
            batch[name] = torch.full((shape[0], longest), padding if name == "input_ids" else 0, dtype=value.dtype)
    batch["labels"] = torch.full((shape[0], longest), IGNORED, dtype=torch.long)
    for row, answer in enumerate(answers):
        told = torch.tensor(list(answer))
        for name, value in prompts.items():
            if is_per_token(value, shape):
                own = value[row][kept[row]]
                batch[name][row, longest - len(answer) - len(own) : longest - len(answer)] = own
        batch["input_ids"][row, longest - len(answer) :] = told
        batch["attention_mask"][row, longest - len(answer) :] = 1
        batch["labels"][row, longest - len(answer) :] = told
    return batch


def is_per_token(value: Any, shape: torch.Size) -> bool:
    return isinstance(value, torch.Tensor) and value.shape == shape


@dataclass
class Collator:
    encoder: "Encoder"
    weights: Mapping[str, float]  # by label
    longest: int = 0  # tokens that the model can read; 0 where it does not say
    text_dropout: float = 0.0

    def __call__(self, posts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        shown = [self.shown(post) for post in posts]
        answers = [self.encoder.answer(post["answer"]) for post in posts]
        batch = self.encoder.batch(self.encoder.prompts(shown), answers)
        check(batch, posts, answers, self.longest)
        batch["weights"] = torch.tensor([self.weights.get(post["label"], 1.0) for post in posts])
        return batch

    def shown(self, post: Mapping[str, Any]) -> Mapping[str, Any]:
        """Now and then without its words, where the picture alone gives the label: so that it is looked at. Where the
        label is a model's own, some of the words are lost."""
        if post.get("by_model"):
            dice = Random(f"thinned {post['drawn']}")  # noqa: S311 - of nothing secret
            post = {**post, "user": thinned(post["user"], dice)}
        if not (self.text_dropout and post["image"] and post.get("picture_tells")):
            return post
        dropped = Random(f"words {post['drawn']}").random() < self.text_dropout  # noqa: S311 - of nothing secret
        return {**post, "user": ""} if dropped else post


def check(
    batch: Mapping[str, Any], posts: Sequence[Mapping[str, Any]], answers: Sequence[Sequence[int]], longest: int
) -> None:
    for post, row, answer in zip(posts, batch["labels"], answers, strict=True):
        told = row[row != IGNORED].tolist()
        if not told:
            raise BadBatch(
                f"The answer of post {post['id']} is all masked: nothing could be learnt from it. Report this."
            )
        if told != list(answer):
            raise BadBatch(f"The answer of post {post['id']} was cut: it would learn half of it. Report this.")
    size = batch["input_ids"].shape[1]
    if longest and size > longest:
        rows = batch["attention_mask"].sum(1).tolist()
        post = posts[rows.index(max(rows))]
        raise BadBatch(
            f"Post {post['id']} is {size:,} tokens long with its picture, and this model reads {longest:,} at most. "
            "Allow fewer pixels, or leave the post out."
        )


class Drawn(Dataset[dict[str, Any]]):  # type: ignore[misc]
    """Posts by their place in the run."""

    def __init__(self, posts: Any) -> None:
        self.posts = posts

    def __len__(self) -> int:
        return len(self.posts)

    def __getitem__(self, place: Place) -> dict[str, Any]:
        number, drawn = place
        return {**self.posts[number], "drawn": drawn}


class Batches(Sampler[list[Place]]):  # type: ignore[misc]
    """Batches of posts that all have a picture or all have none, in another order each epoch.

    With several processes each takes its share, all as many: none waits for another at the end.
    """

    def __init__(
        self, posts: Any, config: Config, alike: bool, processes: int = 1, process: int = 0, in_step: bool = False
    ) -> None:
        """`alike`: a picture is shown with all of them, so none need be kept apart. `in_step`: where processes share
        the weights, all go through the same modules at once, so that all have a picture at a time or none has."""
        self.batch_size, self.drop_last, self.config, self.epoch = config.batch, False, config, 0
        self.processes, self.process, self.at_once = processes, process, processes if in_step else 1
        self.has_picture = [alike or bool(name) for name in posts["image"]]
        self.labels = list(posts["label"]) if config.balanced else []

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Iterator[list[Place]]:
        dice = Random(f"{self.config.seed} {self.epoch}")  # noqa: S311 - of nothing secret
        drawn = [(post, f"{self.config.seed} {self.epoch} {place}") for place, post in enumerate(self.drawn(dice))]
        rounds: list[list[list[Place]]] = []
        for wanted in (True, False):
            alike = [place for place in drawn if self.has_picture[place[0]] == wanted]
            rounds += in_groups(in_groups(alike, self.batch_size), self.at_once)
        dice.shuffle(rounds)
        batches = [batch for one in rounds for batch in filled(one, self.at_once)]
        return iter(filled(batches, len(self) * self.processes)[self.process :: self.processes])

    def drawn(self, dice: Random) -> Sequence[int]:
        """Where labels are balanced, among those with a picture and those without apart: the batches stay as many."""
        posts = list(range(len(self.has_picture)))
        if not self.labels:
            dice.shuffle(posts)
            return posts
        found = []
        for wanted in (True, False):
            alike = [post for post in posts if self.has_picture[post] == wanted]
            count = Counter(self.labels[post] for post in alike)
            found += (
                dice.choices(alike, [1 / count[self.labels[post]] for post in alike], k=len(alike)) if alike else []
            )
        return found

    def __len__(self) -> int:
        with_picture = sum(self.has_picture)
        batches = [-(-n // self.batch_size) for n in (with_picture, len(self.has_picture) - with_picture)]
        return -(-sum(-(-n // self.at_once) * self.at_once for n in batches) // self.processes)


def in_groups(things: list[T], size: int) -> list[list[T]]:
    return [things[first : first + size] for first in range(0, len(things), size)]


def filled(things: Sequence[T], size: int) -> list[T]:
    """So many, the first of them again where there are too few."""
    return [things[n % len(things)] for n in range(size)] if things else []
