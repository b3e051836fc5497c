"""An image classifier that is asked as any other model is: one that a run made, or a checkpoint as it is."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from . import classifier, classifier_tiny
from .ask import Ask
from .batches import BadBatch
from .classifier import PictureEncoder
from .config import Config
from .encoders import Post
from .load import CannotLoad, Loaded
from .predict import NEVER, Asker, shown

TOO_FEW_BITS = "A classifier is small: it is asked with the bits that it has, and not with 4 or 8."
READS_NO_WORDS = "A classifier reads no words: it cannot be shown examples."


def asker_of(config: Config, ask: Ask, folder: Path, labels: Sequence[dict[str, str]]) -> "PictureAsker":
    if ask.bits in (4, 8):
        raise CannotLoad(TOO_FEW_BITS)
    if shown(folder):
        raise CannotLoad(READS_NO_WORDS)
    names = [label["name"] for label in labels]
    if config.model == classifier_tiny.NAME and not ask.adapter and not (folder / "base").exists():
        classifier_tiny.build(folder / "base", names, config.seed)
    base = ask.adapter or classifier.base_of(config, folder)
    loaded = classifier.load_from(base, config)
    loaded.model.to("cuda" if torch.cuda.is_available() else "cpu").eval()
    return PictureAsker(loaded, folder, labels, ask)


class PictureAsker(Asker):
    """Of a post without a picture it says how common each label was in training, and counts it."""

    def __init__(self, loaded: Loaded, folder: Path, labels: Sequence[dict[str, str]], ask: Ask) -> None:
        encoder = PictureEncoder(loaded.processor, folder, loaded.family)
        super().__init__(loaded, encoder, labels, ask)
        known = classifier.prior_in(Path(loaded.base))
        encoder.whole = classifier.sees_whole(Path(loaded.base))
        self.columns = classifier.columns_of(loaded.model, self.names, loaded.base)
        self.unseen = torch.tensor([known.get(name, 1 / len(self.names)) for name in self.names]).log()
        self.without_picture = 0

    @property
    def used(self) -> dict[str, Any]:
        return super().used | {"without a picture": self.without_picture}

    def score(self, posts: Sequence[Post]) -> list[list[float]]:
        """Where posts name candidates, no other can win."""
        found = classifier.score(self.model, self.encoder, posts, self.columns, self.unseen)
        if found.isnan().any():
            post = posts[int(found.isnan().any(1).nonzero()[0])]
            raise BadBatch(f"Post {post['id']} was answered with no numbers: look at the model.")
        self.without_picture += sum(not post["image"] for post in posts)
        wanted = map(self.candidates, posts)
        return [
            [value if number in candidates else NEVER for number, value in enumerate(row)]
            for candidates, row in zip(wanted, found.tolist(), strict=True)
        ]
