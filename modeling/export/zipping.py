"""A ZIP written while it is sent: the same members give the same bytes, and a million take no more memory than one.

Python's own `zipfile` keeps a thousand bytes for every member until the end, and marks what it sends to a socket as of
unknown size, which some readers refuse. So the format is written here: pictures and small tables with their size
before them, large tables with theirs behind them, and the contents kept in a temporary file.
"""

import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from tempfile import SpooledTemporaryFile

from .members import CHUNK, Member

STORED, DEFLATED = 0, 8
STORED_ENDINGS = frozenset({".jpg", ".png", ".webp"})
PACKED_ALREADY = frozenset({".parquet"})  # too large to be looked at beforehand: sent in deflate's own wrapping
UTF8, SIZES_FOLLOW = 0x800, 0x8
VERSION, VERSION_64 = 20, 45
MADE_ON_UNIX = 3 << 8
DATE = 1 << 5 | 1  # 1 January 1980, the first day there is
MODE = 0o100644 << 16
FULL_16, FULL_32 = 0xFFFF, 0xFFFFFFFF
KEPT_IN_MEMORY = 4 << 20
SMALL = 1 << 20


@dataclass(frozen=True, slots=True)
class Entry:
    name: bytes
    method: int
    flags: int
    crc: int = 0
    packed: int = 0
    size: int = 0


def zipped(members: Iterable[Member]) -> Iterator[bytes]:
    at = count = 0
    with SpooledTemporaryFile(KEPT_IN_MEMORY) as contents:
        for member in members:
            begun = at
            written = stored(member) if PurePosixPath(member.path).suffix in STORED_ENDINGS else deflated(member)
            for piece in written:
                if isinstance(piece, Entry):
                    contents.write(central(piece, begun))
                    count += 1
                else:
                    at += len(piece)
                    yield piece
        size = contents.tell()
        contents.seek(0)
        while piece := contents.read(CHUNK):
            yield piece
        yield end(count, size, at)


def stored(member: Member) -> Iterator[bytes | Entry]:
    data = b"".join(member.chunks)
    entry = Entry(member.path.encode(), STORED, UTF8, zlib.crc32(data), len(data), len(data))
    yield local(entry)
    yield data
    yield entry


def deflated(member: Member) -> Iterator[bytes | Entry]:
    """A small one, like a picture, with its size before it, which every reader takes; a large one as it is made."""
    packed = Packed(member)
    pieces = packed.pieces()
    held: list[bytes] = []
    while packed.packed <= SMALL and (piece := next(pieces, None)):
        held.append(piece)
    is_large = packed.packed > SMALL
    if is_large:
        yield local(Entry(member.path.encode(), DEFLATED, UTF8 | SIZES_FOLLOW))
        yield from held
        yield from pieces
        yield b"PK\7\x08" + struct.pack("<LQQ", packed.crc, packed.packed, packed.size)
    flags = UTF8 | SIZES_FOLLOW if is_large else UTF8
    entry = Entry(member.path.encode(), DEFLATED, flags, packed.crc, packed.packed, packed.size)
    if not is_large:
        yield local(entry)
        yield from held
    yield entry


class Packed:
    """What deflate makes of a file, and its figures so far."""

    def __init__(self, member: Member) -> None:
        self.member = member
        self.crc = self.packed = self.size = 0

    def pieces(self) -> Iterator[bytes]:
        level = 0 if PurePosixPath(self.member.path).suffix in PACKED_ALREADY else 6
        packer = zlib.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS)
        for chunk in self.member.chunks:
            self.crc, self.size = zlib.crc32(chunk, self.crc), self.size + len(chunk)
            yield from self.counted(packer.compress(chunk))
        yield from self.counted(packer.flush())

    def counted(self, piece: bytes) -> Iterator[bytes]:
        if piece:
            self.packed += len(piece)
            yield piece


def local(entry: Entry) -> bytes:
    """Where the sizes follow, room for more than 4 GB is announced, because nobody knows yet."""
    open_end = bool(entry.flags & SIZES_FOLLOW)
    extra = struct.pack("<HHQQ", 1, 16, 0, 0) if open_end else b""
    sizes = (FULL_32, FULL_32) if open_end else (entry.packed, entry.size)
    version = VERSION_64 if open_end else VERSION
    head = struct.pack("<HHHHHLLLHH", version, entry.flags, entry.method, 0, DATE, entry.crc, *sizes,
                       len(entry.name), len(extra))  # fmt: skip
    return b"PK\3\4" + head + entry.name + extra


def central(entry: Entry, begun: int) -> bytes:
    figures = (entry.size, entry.packed, begun)
    large = [figure for figure in figures if figure >= FULL_32]
    extra = struct.pack(f"<HH{len(large)}Q", 1, 8 * len(large), *large) if large else b""
    size, packed, offset = (min(figure, FULL_32) for figure in figures)
    version = VERSION_64 if large or entry.flags & SIZES_FOLLOW else VERSION
    head = struct.pack("<HHHHHHLLLHHHHHLL", MADE_ON_UNIX | version, version, entry.flags, entry.method, 0, DATE,
                       entry.crc, packed, size, len(entry.name), len(extra), 0, 0, 0, MODE, offset)  # fmt: skip
    return b"PK\1\2" + head + entry.name + extra


def end(count: int, size: int, at: int) -> bytes:
    closing = b"PK\5\6" + struct.pack("<HHHHLLH", 0, 0, min(count, FULL_16), min(count, FULL_16),
                                      min(size, FULL_32), min(at, FULL_32), 0)  # fmt: skip
    if count < FULL_16 and size < FULL_32 and at < FULL_32:
        return closing
    large = b"PK\6\6" + struct.pack(
        "<QHHLLQQQQ", 44, MADE_ON_UNIX | VERSION_64, VERSION_64, 0, 0, count, count, size, at
    )
    pointer = b"PK\6\7" + struct.pack("<LQL", 0, at + size, 1)
    return large + pointer + closing
