"""Makes a run of an image classifier that was trained elsewhere: it is kept and measured, and nothing of it changes.

What comes of it is asked as any run is: it votes, it is measured, and it may be the first stage of a cascade.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from . import classifier, receipt
from .ask import Ask
from .classifier_asking import PictureAsker, asker_of
from .classifier_training import build_tiny
from .config import Config
from .load import ADAPTER, Loaded
from .progress import Progress
from .trainer import figures

LARGEST = 36.0  # the loss of a post whose label it does not know at all: what the smallest float makes of it

Posts = Any  # a table of `datasets`, which keeps it on the disk
Found = tuple[str, str, float]  # the right label, the one it says, the loss


def take(
    config: Config, folder: Path, posts: dict[str, Posts], labels: Sequence[dict[str, str]], progress: Progress,
    joules: float | None,
) -> None:  # fmt: skip
    names = [label["name"] for label in labels]
    build_tiny(config, folder, names, progress)
    progress.write("state", doing="loading the checkpoint")
    loaded = classifier.load_from(classifier.base_of(config, folder), config)
    classifier.columns_of(loaded.model, names, loaded.base)  # refuses one that does not know our labels
    keep(loaded, folder / ADAPTER, classifier.prior(posts["train"]["label"], names))
    progress.write("state", doing="measuring it on the validation split")
    found = asked(config, folder, posts["validation"], labels, progress) if len(posts["validation"]) else []
    if progress.stop_asked:
        progress.write("stopped", step=0)
        return
    measured = figures(found, names) if found else {}
    if measured:
        progress.write("evaluation", step=0, **measured)
    loaded.model.requires_grad_(False)
    outcome = receipt.Outcome(0, measured.get("macro_f1"), 0, {})
    receipt.write(folder, config, loaded, receipt.weights_of(loaded.model), outcome, posts, joules)
    progress.write("done", step=0)


def keep(loaded: Loaded, folder: Path, prior: dict[str, float]) -> None:
    """With the names of its own classes, of which ours are found whenever it is asked."""
    loaded.model.save_pretrained(folder)
    loaded.processor.save_pretrained(folder)
    classifier.keep_prior(folder, prior, classifier.sees_whole(Path(loaded.base)))


def asked(
    config: Config, folder: Path, posts: Posts, labels: Sequence[dict[str, str]], progress: Progress
) -> list[Found]:
    """What was kept is loaded and asked, as whoever asks the run will do it."""
    asker = asker_of(config, Ask(adapter=str(folder / ADAPTER)), folder, labels)
    found: list[Found] = []
    for start in range(0, len(posts), config.evaluation_batch):
        if progress.stop_asked:
            break
        stretch = range(start, min(start + config.evaluation_batch, len(posts)))
        found += answers(asker, [posts[number] for number in stretch])
    return found


def answers(asker: PictureAsker, posts: Sequence[dict[str, Any]]) -> Iterator[Found]:
    """Among our labels alone, as answers are told."""
    for post, row in asker.scored(posts):
        scores = torch.tensor(row)
        right = asker.names.index(post["label"])
        loss = float(-scores.log_softmax(0)[right])
        yield post["label"], asker.names[int(scores.argmax())], min(loss, LARGEST)
