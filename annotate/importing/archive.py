"""A ZIP from a stranger: nothing is unpacked by its own name, and no header is believed about sizes."""

import io
import re
import shutil
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Self

from annotate.importing.rows import Unreadable

MAX_MEMBERS = 300_000
MAX_TOTAL = 16 * 1024**3
MAX_RATIO = 250  # text tables pack 5 to 50 times smaller; a bomb up to 1,032 times
SMALL = 1024**2  # a few kilobytes of one letter are no bomb, whatever the ratio
BYTES_PER_ENTRY = 512  # of the archive's table of contents, a long path included
LOCAL_HEADER = 30
TOLD = 200  # signs of a name, in a sentence

CLUTTER = {".ds_store", "thumbs.db", "desktop.ini"}
ARCHIVES = {".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".7z", ".rar"}
READABLE_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}  # the others can unpack 4 KB into gigabytes at one go
ENCRYPTED = 0x1 | 0x40 | 0x2000
UTF8 = 0x800
DAMAGE = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, OverflowError, RuntimeError, ValueError)


class BadMember(Exception):
    """One file of the archive cannot be read; the message is a sentence for the user."""


class Contents(io.BufferedReader):
    """zipfile reads the whole table of contents at once: a file that claims a huge one must not fill the memory."""

    def __init__(self, path: Path, most: int) -> None:
        super().__init__(io.FileIO(path))
        self.most = most

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > self.most:
            raise Unreadable("The ZIP archive holds too many files; split it into several.")
        return super().read(size)


class Archive:
    def __init__(self, file: zipfile.ZipFile, contents: Contents) -> None:
        self.file = file
        self.contents = contents
        self.members: dict[str, zipfile.ZipInfo] = {}
        self.refused: list[tuple[str, str]] = []
        for info in file.infolist():
            self._admit(info)

    def _admit(self, info: zipfile.ZipInfo) -> None:
        name = readable_name(info)
        if info.is_dir() or is_clutter(name):
            return
        reason = why_not(info, name) or ("a file of this name came before it" if name in self.members else "")
        if reason:
            self.refused.append((name, reason))
        else:
            self.members[name] = info

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.file.close()
        self.contents.close()

    def names(self) -> list[str]:
        """Regular files that can be read, in the order of the archive."""
        return list(self.members)

    def _member(self, name: str) -> zipfile.ZipInfo:
        if name not in self.members:
            raise BadMember(f"The archive holds no file {told(name)}.")
        return self.members[name]

    def read(self, name: str, limit: int) -> bytes:
        try:
            with self.file.open(self._member(name)) as member:
                data = member.read(limit + 1)
        except DAMAGE as error:
            raise BadMember(f"{told(name)} is damaged in the archive.") from error
        if len(data) > limit:
            raise BadMember(f"{told(name)} unpacks to more than the {limit / 1024**2:.4g} MB allowed.")
        return data

    def extract_table(self, name: str, folder: Path) -> Path:
        """Streams: a table may be larger than the memory."""
        target = folder / safe_name(name)
        try:
            with self.file.open(self._member(name)) as member, target.open("wb") as out:
                shutil.copyfileobj(member, out, SMALL)
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            target.unlink(missing_ok=True)
            raise Unreadable(f"{told(name)} is damaged in the archive; pack it again.") from error
        return target


def told(name: str) -> str:
    """A name may be as long as a book, and nobody reads that in a sentence."""
    return repr(name if len(name) <= TOLD else f"{name[:TOLD]}…")


def open_archive(
    path: Path, *, max_members: int = MAX_MEMBERS, max_total: int = MAX_TOTAL, max_ratio: int = MAX_RATIO
) -> Archive:
    contents = Contents(path, max_members * BYTES_PER_ENTRY + 128 * 1024)
    try:
        file = zipfile.ZipFile(contents)
        check(file, max_members, max_total, max_ratio)
    except Unreadable:
        contents.close()
        raise
    except DAMAGE as error:
        contents.seek(0)
        begun = contents.read(4) == b"PK\x03\x04"
        contents.close()
        raise Unreadable(
            "The ZIP archive is damaged or was not uploaded to its end; pack or upload it again."
            if begun
            else "This is not a ZIP archive."
        ) from error
    contents.most = max_total  # from here on zipfile reads piece by piece
    return Archive(file, contents)


def check(file: zipfile.ZipFile, max_members: int, max_total: int, max_ratio: int) -> None:
    infos = file.infolist()
    if len(infos) > max_members:
        raise Unreadable(f"The ZIP archive holds {len(infos):,} files, more than the {max_members:,} allowed.")
    total = sum(info.file_size for info in infos)
    if total > max_total:
        raise Unreadable(
            f"The ZIP archive unpacks to {total / 1024**3:.1f} GB, more than the {max_total / 1024**3:.1f} GB allowed."
        )
    for info in infos:
        if info.file_size > max(SMALL, max_ratio * info.compress_size):
            raise Unreadable(
                f"{told(readable_name(info))} claims to unpack to more than {max_ratio} times its size, as bombs do."
            )
    check_overlap(infos)


def check_overlap(infos: Iterable[zipfile.ZipInfo]) -> None:
    """Bombs quote the same packed bytes many times over."""
    end = 0
    for info in sorted(infos, key=lambda info: info.header_offset):
        if info.header_offset < end:
            raise Unreadable("Files in the ZIP archive overlap, as bombs do; pack it again.")
        end = info.header_offset + LOCAL_HEADER + info.compress_size


def readable_name(info: zipfile.ZipInfo) -> str:
    """Many tools write UTF-8 without saying so, and then zipfile reads it as code page 437."""
    if info.flag_bits & UTF8:
        return info.filename
    try:
        return info.filename.encode("cp437").decode()
    except UnicodeError:
        return info.filename


def is_clutter(name: str) -> bool:
    last = name.rsplit("/", 1)[-1]
    return "__MACOSX" in name.split("/") or last.lower() in CLUTTER or last.startswith("._")


def why_not(info: zipfile.ZipInfo, name: str) -> str:
    if why := why_not_name(info.orig_filename, name):
        return why
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in {0, stat.S_IFREG}:
        return "it is a link or a device, not a file"
    if info.flag_bits & ENCRYPTED:
        return "it is encrypted; pack it without a password"
    if info.compress_type not in READABLE_METHODS:
        return "it is packed in an unusual way; pack it as an ordinary ZIP (deflate)"
    if PurePosixPath(name).suffix.lower() in ARCHIVES:
        return "it is an archive inside the archive; unpack it first"
    return ""


def why_not_name(original: str, name: str) -> str:
    if "\\" in name:
        return "its path is written with backslashes; pack it again with a current tool"
    if name.startswith("/") or re.match(r"[A-Za-z]:", name):
        return "its path is absolute"
    if ".." in name.split("/"):
        return "its path leads out of the archive"
    if "\0" in original or any(ord(letter) < 32 for letter in name):
        return "its name holds control characters"
    return ""


def safe_name(name: str) -> str:
    """The suffix tells the format and the rest is for a person: neither leads anywhere."""
    last = PurePosixPath(name)
    stem = re.sub(r"[^\w-]", "_", last.stem)[:80].encode()[:160].decode(errors="ignore")  # disks count bytes
    return (stem or "table") + re.sub(r"[^\w.]", "", last.suffix)[:10].lower()
