"""Every format that a dataset leaves in; and the two ways out, as a stream and onto a disk."""

import dataclasses
import errno
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from annotate.operating import room
from modeling.datasets import items
from modeling.models import Dataset

from . import imagefolder, jsonl, label_studio, llamafactory, llava, parquet, pictures, sharegpt, table, trl
from .members import README, Member, NotExported, Options
from .zipping import zipped

__all__ = ["FORMATS", "Download", "Format", "Member", "NotExported", "Options", "Written", "stream", "write_to"]

ZIP = ".zip"
TABLES = frozenset({".csv", ".jsonl", ".json", ".parquet"})


@dataclass(frozen=True)
class Format:
    key: str
    title: str
    what: str  # who reads it, in one sentence
    reasons: bool  # whether reasons make a difference
    members: Callable[[Dataset, Options], Iterator[Member]]
    single: bool = False  # without pictures it is one file, and downloaded as it is; all else is a ZIP


FORMATS = {format.key: format for format in (
    Format("sharegpt", "ShareGPT, messages", "For LLaMA-Factory and most other trainers: system, user and assistant "
           "turns, with the picture's path.", True, sharegpt.members),
    Format("llava", "ShareGPT, conversations", "For trainers in the manner of LLaVA: human and gpt turns, with the "
           "post's metadata.", True, llava.members),
    Format("llamafactory", "LLaMA-Factory folder", "The ShareGPT files with a dataset_info.json: name the folder as "
           "dataset_dir and train.", True, llamafactory.members),
    Format("trl", "TRL, prompt and completion", "For TRL's SFTTrainer, which puts the loss on the completion alone.",
           True, trl.members),
    Format("imagefolder", "Hugging Face image folder", "For load_dataset and plain picture classifiers. Posts without "
           "a picture cannot be in it; its README counts them.", False, imagefolder.members),
    Format("parquet", "Parquet with pictures", "For load_dataset and the Hugging Face Hub: a table a split with the "
           "pictures inside, and every vote and review.", False, parquet.members),
    Format("csv", "CSV", "For spreadsheets: a row a post, with a column for each voter.", False, table.members, True),
    Format("jsonl", "JSON Lines, everything", "For another installation of this tool, and for scripts: each post with "
           "every vote and review, as the content hash counts it.", False, jsonl.members),
    Format("label_studio", "Label Studio", "Tasks with a prediction for each voter, people's answers, and the "
           "labelling page.", False, label_studio.members),
)}  # fmt: skip

# What exports write at the top of a folder.
OURS = frozenset({
    README, pictures.FOLDER, pictures.MISSING, jsonl.FACTS, jsonl.POSTS, table.POSTS, parquet.FOLDER,
    label_studio.TASKS, label_studio.CONFIG, llamafactory.INFO, llamafactory.EXAMPLE,
    *(f"{split}{ending}" for split in items.SPLITS for ending in ("", ".jsonl", ".json")),
})  # fmt: skip
OUR_ENDINGS = tuple(f".{split}.jsonl" for split in items.SPLITS)


def checked(dataset: Dataset, key: str, options: Options) -> Format:
    """Whatever can be known beforehand is said before the first byte."""
    if key not in FORMATS:
        raise NotExported(f"“{key}” is not a format; there are {', '.join(FORMATS)}.")
    if not dataset.is_frozen:
        raise NotExported(f"{dataset.name} is not frozen: only a frozen dataset can be exported.")
    if unknown := [split for split in options.splits if split not in items.SPLITS]:
        raise NotExported(f"“{unknown[0]}” is not a split; there are {', '.join(items.SPLITS)}.")
    if not dataset.items.filter(split__in=options.splits, removed=None).exists():
        raise NotExported(f"{dataset.name} holds no post in {' or '.join(options.splits) or 'no split at all'}.")
    return FORMATS[key]


# --- As a download
@dataclass(frozen=True)
class Download:
    name: str
    content_type: str
    chunks: Iterator[bytes]


def stream(dataset: Dataset, key: str, options: Options) -> Download:
    """What goes wrong later breaks the download off: a ZIP without its end is taken by nobody for a whole one."""
    format = checked(dataset, key, options)
    name = f"{dataset.project.slug}-{dataset.name}-{key}"
    if format.single and not options.with_pictures:
        table = only_table(format, dataset, options, ".csv")
        return Download(f"{name}.csv", "text/csv; charset=utf-8", table.chunks)
    return Download(f"{name}.zip", "application/zip", zipped(format.members(dataset, options)))


# --- Onto a disk
@dataclass
class Written:
    files: int = 0
    bytes: int = 0
    missing: int = 0  # pictures that the storage no longer has


Progress = Callable[[Written], None]


def write_to(
    dataset: Dataset,
    key: str,
    options: Options,
    out: Path,
    progress: Progress = lambda _: None,
    replace: bool = False,
) -> Written:
    """A folder, or one file where the name ends like one; under its name only once it is whole."""
    format, out = checked(dataset, key, options), out.absolute()
    refuse_to_overwrite(out, replace)
    if problem := room.problem_with_disk(out.parent) or room.problem_with_project(dataset.project):
        raise NotExported(problem)
    written = Written()
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as beside:
            part = Path(beside) / "new"
            write(format, dataset, options, part, out.suffix.lower(), written, progress)
            put(part, out, Path(beside) / "old")
    except OSError as error:
        raise NotExported(said(error, out)) from error
    return written


def put(part: Path, out: Path, old: Path) -> None:
    """What was there goes only once the new one is in its place."""
    if not out.exists():
        os.rename(part, out)
        return
    os.rename(out, old)
    try:
        os.rename(part, out)
    except OSError:
        os.rename(old, out)
        raise


def refuse_to_overwrite(out: Path, replace: bool) -> None:
    """Nothing of anybody's is deleted: of a folder only what an earlier export wrote there is replaced."""
    if not out.exists():
        return
    within = sorted(entry.name for entry in out.iterdir()) if out.is_dir() else []
    if not replace and (within or not out.is_dir()):
        raise NotExported(f"{out} is there already: name another place, or replace it with --force.")
    if other := [name for name in within if name not in OURS and not name.endswith(OUR_ENDINGS)]:
        raise NotExported(f"{out} holds what no export wrote ({', '.join(other[:3])}): name another place.")
    if out.is_dir() == (out.suffix.lower() in {ZIP, *TABLES}):
        raise NotExported(f"{out} is {'a folder' if out.is_dir() else 'a file'}: name another place.")


def write(
    format: Format, dataset: Dataset, options: Options, part: Path, ending: str, written: Written, progress: Progress
) -> None:
    if ending in TABLES:
        write_file(part, only_table(format, dataset, options, ending).chunks, written, progress)
    elif ending == ZIP:
        write_file(part, zipped(noted(format.members(dataset, options), written)), written, progress)
    else:
        part.mkdir()
        for member in noted(format.members(dataset, options), written):
            path = part / member.path
            path.parent.mkdir(parents=True, exist_ok=True)
            write_file(path, member.chunks, written, progress)


def write_file(path: Path, chunks: Iterator[bytes], written: Written, progress: Progress) -> None:
    with path.open("wb") as file:
        for chunk in chunks:
            file.write(chunk)
            written.bytes += len(chunk)
            progress(written)


def noted(members: Iterator[Member], written: Written) -> Iterator[Member]:
    for member in members:
        written.files += 1
        if PurePosixPath(member.path).name == pictures.MISSING:
            told = b"".join(member.chunks)
            written.missing += told.count(b"\n") - 1
            member = Member(member.path, iter([told]))
        yield member


def only_table(format: Format, dataset: Dataset, options: Options, ending: str) -> Member:
    tables = format.members(dataset, dataclasses.replace(options, with_pictures=False))
    found = [member for member in tables if member.path.endswith(ending)]
    if len(found) == 1:
        return found[0]
    raise NotExported(
        f"This format writes {', '.join(member.path for member in found)}: name a folder, a .zip, or one split."
        if found
        else f"This format writes no file that ends in {ending}: name a folder or a .zip."
    )


def said(error: OSError, out: Path) -> str:
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return f"The disk is full; nothing was left at {out}. Make room, or name a place with more of it."
    return f"{out} could not be written: {error.strerror or error}."
