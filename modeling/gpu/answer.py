"""Keeps a model loaded and answers as it is asked: `python -m modeling.gpu.answer FOLDER`.

The folder holds config.json, ask.json and labels.json, as for modeling.gpu.predict. Then each line on the standard
input is a list of posts, whose pictures lie in the folder; for each post comes a line back: its number, and the
log-probabilities of the labels, or why there are none. The first line of all says that the model is ready, or why it
never will be. It ends with its input.
"""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from modeling.gpu import cpu_build

cpu_build.prepare()

import torch  # noqa: E402

from modeling.gpu.load import first_line  # noqa: E402
from modeling.gpu.predict import EXPECTED, Asker, asker_in  # noqa: E402
from modeling.gpu.progress import Progress  # noqa: E402

TOO_SMALL = "The card’s memory is too small for this post. Ask with a smaller picture, or fewer words."
NO_ROOM = "The card’s memory is too small for this model, or something else fills it."


def main(folder: Path) -> None:
    answers = line_out()
    try:
        asker = asker_in(folder, Progress(folder))
    except Exception as error:
        tell(answers, {"failed": why_not_loaded(error)})
        raise
    tell(answers, {"ready": list(asker.names)})
    for line in sys.stdin:
        for told in told_of(asker, json.loads(line)):
            tell(answers, told)


def line_out() -> IO[str]:
    """Libraries print what they like; only we write where answers are read, and they write to the log."""
    kept = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return kept


def tell(answers: IO[str], told: dict[str, Any]) -> None:
    answers.write(json.dumps(told) + "\n")
    answers.flush()


def told_of(asker: Asker, posts: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """A post that cannot be asked about is no reason to leave the others without an answer."""
    try:
        yield from [json.loads(line) for lines in asker.ask(posts) for line in lines]
    except (*EXPECTED, OSError, torch.OutOfMemoryError) as error:
        if len(posts) > 1:
            for post in posts:
                yield from told_of(asker, [post])
        else:
            yield {"number": posts[0]["number"], "error": why(error)}


def why(error: BaseException) -> str:
    return TOO_SMALL if isinstance(error, torch.OutOfMemoryError) else str(error)


def why_not_loaded(error: Exception) -> str:
    if isinstance(error, torch.OutOfMemoryError):
        return NO_ROOM
    if isinstance(error, EXPECTED):
        return str(error)
    return f"Something that was not foreseen, {type(error).__name__}: {first_line(error)}"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
