"""Asks a model about posts: `python -m modeling.gpu.predict FOLDER`.

The folder holds config.json as training has it, ask.json, labels.json, posts/asked.jsonl, where there are any
posts/shown.jsonl (examples with their answers), and the pictures they name. Into it goes predictions.jsonl, a line a
post: its number, and for each label the log-probability of the whole answer. What stands there is not asked again. No
line of asked.jsonl says what the answer should be: whoever asks does not know.

Where there are too many posts to lie on the disk at once, they come in portions: asked-000001.jsonl and so on, each
written while the one before is being asked, and a file `end` after the last. Whoever writes them takes away, with its
pictures, what is answered.
"""

import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import count, islice
from pathlib import Path
from typing import Any

from modeling.gpu import cpu_build

cpu_build.prepare()

import torch  # noqa: E402

from modeling.gpu import families, tiny  # noqa: E402
from modeling.gpu.ask import END, PREDICTIONS, Ask, portion_at  # noqa: E402
from modeling.gpu.batches import BadBatch  # noqa: E402
from modeling.gpu.config import Config  # noqa: E402
from modeling.gpu.encoders import Encoder, Post, encoder_of  # noqa: E402
from modeling.gpu.load import CannotLoad, Loaded, first_line, load, load_adapter  # noqa: E402
from modeling.gpu.progress import Progress  # noqa: E402
from modeling.gpu.scoring import in_batches, score  # noqa: E402

FILE = PREDICTIONS
CHUNK = 512  # posts, sorted by length among themselves, so that a batch is little padding
LOOK_EVERY = 0.1  # seconds, for the next portion
NEVER = -1e9  # of a label that is no candidate for a post
EXPECTED = (BadBatch, CannotLoad, families.Unknown, ValueError)


def main(folder: Path) -> None:
    progress = Progress(folder)
    try:
        predict(folder, progress)
    except EXPECTED as error:
        progress.write("failed", error=str(error))
        raise SystemExit(1) from error
    except torch.OutOfMemoryError as error:
        told = "The card's memory is too small for a single post of these. Ask with fewer bits, or fewer pixels."
        progress.write("failed", error=told)
        raise SystemExit(1) from error
    except OSError as error:
        told = f"The disk did not play along: {error.strerror or error}. Make room, and resume."
        progress.write("failed", error=told)
        raise SystemExit(1) from error
    except Exception as error:  # whatever it is, whoever watches is told; the whole of it goes to the log
        told = f"Something that was not foreseen, {type(error).__name__}: {first_line(error)}"
        progress.write("failed", error=told)
        raise


def predict(folder: Path, progress: Progress) -> None:
    asker = asker_in(folder, progress)
    done = answered(folder / FILE)
    total = 0 if come_in_portions(folder) else len(done) + sum(1 for _ in left(asked_at_once(folder), done))
    progress.write("state", doing="asking", done=len(done), of=total)
    began, before = time.monotonic(), len(done)
    with (folder / FILE).open("ab") as file:
        for posts in chunks(folder, done, progress):
            for lines in asker.ask(posts):
                file.write(b"".join(lines))
                file.flush()
                before += len(lines)
                rate = (before - len(done)) / max(1e-9, time.monotonic() - began)
                progress.write("asked", done=before, of=total, rate=round(rate, 2), memory=memory())
                if progress.stop_asked:
                    break
            if progress.stop_asked:
                break
        os.fsync(file.fileno())
    if progress.stop_asked:
        progress.write("stopped", done=before)
        return
    seconds = round(time.monotonic() - began, 2)
    progress.write("done", done=before, used=asker.used, seconds=seconds, asked=before - len(done), memory=memory())


def asker_in(folder: Path, progress: Progress) -> "Asker":
    """The model that the folder tells of, loaded and ready to be asked."""
    progress.write("state", doing="loading the model")
    config, ask = Config.read(folder), Ask.read(folder)
    labels = json.loads((folder / "labels.json").read_text(encoding="utf-8"))
    if config.is_classifier:
        from modeling.gpu.classifier_asking import asker_of  # which builds upon what is here

        return asker_of(config, ask, folder, labels)
    if config.model == tiny.NAME and not (folder / "base").exists():
        tiny.build(folder / "base", list(words_in(folder, labels)), config.seed)
    loaded = loaded_for(config, ask, folder)
    encoder = encoder_of(loaded.processor, folder, loaded.family, shown=shown(folder))
    if encoder.shown and not encoder.takes_examples:
        raise CannotLoad(f"{loaded.family.title} reads one post and no conversation: it cannot be shown examples.")
    return Asker(loaded, encoder, labels, ask)


def loaded_for(config: Config, ask: Ask, folder: Path) -> Loaded:
    if not ask.adapter:
        loaded = load(replace(config, method="lora"), folder, ask.bits or None)
        loaded.model.eval()
        return loaded
    loaded = load_adapter(config, folder, Path(ask.adapter), 16 if ask.merged else ask.bits or None)
    if ask.merged and hasattr(loaded.model, "merge_and_unload"):
        loaded.model = loaded.model.merge_and_unload()
    return loaded


# --- Posts


def words_in(folder: Path, labels: Sequence[dict[str, str]]) -> Iterator[str]:
    """What a tiny model learns to read by, where no training has made one."""
    for post in lines(folder / "posts" / "asked.jsonl"):
        yield f"{post['system']}\n{post['user']}"
    yield from (label["answer"] for label in labels)


def shown(folder: Path) -> list[Post]:
    path = folder / "posts" / "shown.jsonl"
    return list(lines(path)) if path.exists() else []


def lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        yield from map(json.loads, file)


def chunks(folder: Path, done: set[int], progress: Progress) -> Iterator[list[dict[str, Any]]]:
    for path in portions(folder, progress) if come_in_portions(folder) else [asked_at_once(folder)]:
        posts = left(path, done)
        while some := list(islice(posts, CHUNK)):
            yield sorted(some, key=lambda post: len(post["user"]))


def left(path: Path, done: set[int]) -> Iterator[dict[str, Any]]:
    return (post for post in lines(path) if post["number"] not in done)


def asked_at_once(folder: Path) -> Path:
    return folder / "posts" / "asked.jsonl"


def come_in_portions(folder: Path) -> bool:
    return not asked_at_once(folder).exists()


def portions(folder: Path, progress: Progress) -> Iterator[Path]:
    """As they come, until the last was written or somebody asks us to stop."""
    for number in count(1):
        path = portion_at(folder, number)
        while not path.exists():
            if progress.stop_asked or ((folder / "posts" / END).exists() and not path.exists()):
                return
            time.sleep(LOOK_EVERY)
        yield path


def answered(path: Path) -> set[int]:
    """A last line that was cut off when a process died is taken away, and its post asked again."""
    if not path.exists():
        return set()
    whole = 0
    found = set()
    with path.open("rb+") as file:
        for line in file:
            if not line.endswith(b"\n"):
                break
            found.add(int(json.loads(line)["number"]))
            whole += len(line)
        file.truncate(whole)
    return found


# --- Asking


class Asker:
    """A batch that is too large for the card is halved, and so are those after it."""

    def __init__(self, loaded: Loaded, encoder: Encoder, labels: Sequence[dict[str, str]], ask: Ask) -> None:
        self.model, self.encoder, self.batch = loaded.model, encoder, ask.batch
        self.loaded_as = loaded.used | {"merged": ask.merged, "shown": len(encoder.shown)}
        self.names = [label["name"] for label in labels]
        self.answers = [encoder.answer(label["answer"]) for label in labels]

    @property
    def used(self) -> dict[str, Any]:
        """For whoever reads the figures: by what it was asked."""
        return self.loaded_as | {"batch": self.batch}

    def ask(self, posts: Sequence[Post]) -> Iterator[list[bytes]]:
        columns = {"image": [post["image"] for post in posts]}
        for numbers in in_batches(self.encoder, columns, self.batch):
            yield [as_line(post, scores) for post, scores in self.scored([posts[n] for n in numbers])]

    def scored(self, posts: Sequence[Post]) -> list[tuple[Post, list[float]]]:
        try:
            return list(zip(posts, self.score(posts), strict=True))
        except torch.OutOfMemoryError:
            if len(posts) == 1:
                raise
        torch.cuda.empty_cache()
        half = len(posts) // 2
        self.batch = min(self.batch, max(1, half))
        return self.scored(posts[:half]) + self.scored(posts[half:])

    def score(self, posts: Sequence[Post]) -> list[list[float]]:
        """Where posts name candidates, only these are asked about, and no other can win."""
        wanted = [self.candidates(post) for post in posts]
        asked = sorted(set().union(*wanted))
        found = score(self.model, self.encoder, posts, [self.answers[n] for n in asked])
        if found.isnan().any():
            post = posts[int(found.isnan().any(1).nonzero()[0])]
            raise BadBatch(f"Post {post['id']} was answered with no numbers: ask with 16 bits, or look at the model.")
        rows = []
        for candidates, told in zip(wanted, found.clamp(min=NEVER).tolist(), strict=True):
            row = [NEVER] * len(self.names)
            for number, value in zip(asked, told, strict=True):
                row[number] = value if number in candidates else NEVER
            rows.append(row)
        return rows

    def candidates(self, post: Post) -> set[int]:
        named = post.get("candidates")
        if not named:
            return set(range(len(self.names)))
        if unknown := sorted(set(named) - set(self.names)):
            raise ValueError(f"Post {post['id']} has the candidate “{unknown[0]}”, which is no label.")
        return {self.names.index(name) for name in named}


def as_line(post: Post, scores: list[float]) -> bytes:
    told = [score if score == NEVER else round(score, 6) for score in scores]
    return json.dumps({"number": post["number"], "scores": told}).encode() + b"\n"


def memory() -> int | None:
    return int(torch.cuda.max_memory_allocated()) if torch.cuda.is_available() else None


if __name__ == "__main__":
    main(Path(sys.argv[1]))
