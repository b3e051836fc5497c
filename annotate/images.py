"""A picture as it comes in: checked, freed of metadata, stored by its content, with a thumbnail and a fingerprint."""

import hashlib
import io
import os
import secrets
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import imagehash
import numpy as np
from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage, Storage, default_storage
from PIL import Image, ImageCms, UnidentifiedImageError

from annotate.metadata import without_metadata

MAX_BYTES = 20 * 1024**2
MAX_PIXELS = 40_000_000
MAX_JPEG_SCANS = 200  # a progressive JPEG has about ten; thousands of tiny ones would decode for hours
THUMBNAIL_SIDE = 320

FORMATS = {"JPEG": "jpeg", "MPO": "jpeg", "PNG": "png", "WEBP": "webp", "GIF": "gif", "BMP": "bmp", "AVIF": "avif"}
STORED = frozenset({"jpeg", "png", "webp"})
LOSSY = frozenset({"jpeg", "webp", "avif"})
EXTENSIONS = {"jpeg": "jpg", "png": "png", "webp": "webp"}
ACCEPTED = "JPEG, PNG, WebP, GIF, BMP or AVIF"

ORIENTATION = 0x0112  # the EXIF tag
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class BadImage(Exception):
    """The message is one sentence for the user."""


@dataclass(frozen=True, slots=True)
class Inspected:
    sha256: str  # of the bytes as they came in, so that a re-import recognises them without decoding
    format: str  # of `data`: jpeg, png or webp
    width: int
    height: int
    data: bytes  # upright, sRGB, one frame, no metadata
    thumbnail: bytes  # WebP
    fingerprint: int  # signed 64 bits; see fingerprint()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def inspect(data: bytes, *, max_bytes: int = MAX_BYTES, max_pixels: int = MAX_PIXELS) -> Inspected:
    if not data:
        raise BadImage("The picture is empty (0 bytes).")
    if len(data) > max_bytes:
        raise BadImage(f"The picture has {megabytes(len(data))}, more than the {megabytes(max_bytes)} allowed.")
    try:
        kept, format, picture = cleaned(data, max_pixels)
        small = thumbnail(picture)
        return Inspected(sha256(data), format, *picture.size, kept, encoded(small, "webp"), fingerprint(small))
    except BadImage:
        raise
    except Image.DecompressionBombError as error:
        raise BadImage(f"The picture has more than the {max_pixels / 1e6:g} megapixels allowed.") from error
    except Exception as error:  # decoders meet damage with anything from OSError to IndexError
        raise BadImage("The picture is damaged or cut off, so it cannot be shown.") from error


def megabytes(count: int) -> str:
    return f"{count / 1024**2:.4g} MB"


def cleaned(data: bytes, max_pixels: int) -> tuple[bytes, str, Image.Image]:
    """What to store and its pixels. Where possible the file keeps its own compression; what is stored gets decoded."""
    header = opened(data, max_pixels)
    source = FORMATS[header.format or ""]
    if source in STORED and not must_be_redrawn(header):
        stripped = without_metadata(data, source)
        if stripped is not None:
            kept = opened(stripped, max_pixels)
            kept.load()
            return stripped, source, kept
    header.load()
    picture = in_srgb(upright(header))
    format = storage_format(source, picture)
    return encoded(picture, format), format, picture


def opened(data: bytes, max_pixels: int) -> Image.Image:
    """Reads the header alone: nothing is decoded before its size is known to be allowed."""
    try:
        image: Image.Image = Image.open(io.BytesIO(data), formats=[name for name in FORMATS if name != "MPO"])
    except UnidentifiedImageError as error:
        raise BadImage(unknown(data[:1024])) from error
    width, height = image.size
    if width * height > max_pixels:
        raise BadImage(
            f"The picture has {width} x {height} = {width * height / 1e6:.4g} megapixels, "
            f"more than the {max_pixels / 1e6:g} allowed."
        )
    if image.format in {"JPEG", "MPO"} and data.count(b"\xff\xda") > MAX_JPEG_SCANS:
        raise BadImage("The JPEG is built from so many scans that decoding it could take hours.")
    return image


def unknown(start: bytes) -> str:
    if b"<svg" in start.lower():
        return f"SVG drawings are not accepted because they can carry scripts; save it as {ACCEPTED}."
    if start[4:8] == b"ftyp" and start[8:12] in {b"heic", b"heix", b"mif1", b"heim", b"hevc"}:
        return f"HEIC pictures cannot be read; save it as {ACCEPTED}."
    if start.lstrip()[:1] == b"<":
        return "This is a web page, not a picture."
    return f"This is not a picture that can be read; it should be {ACCEPTED}."


def must_be_redrawn(header: Image.Image) -> bool:
    return header.mode == "CMYK" or orientation(header) in TURNS or foreign_profile(header) is not None


def orientation(image: Image.Image) -> int:
    exif = Image.Exif()
    try:
        exif.load(image.info.get("exif", b""))
        return int(exif.get(ORIENTATION, 1))
    except Exception:  # broken EXIF is no reason to refuse a picture: browsers ignore it too
        return 1


def upright(image: Image.Image) -> Image.Image:
    turn = TURNS.get(orientation(image))
    return image if turn is None else image.transpose(turn)


def foreign_profile(image: Image.Image) -> ImageCms.ImageCmsProfile | None:
    """A colour profile other than sRGB. A broken one counts as none, as in browsers."""
    profile = image.info.get("icc_profile")
    if not profile:
        return None
    try:
        opened_profile = ImageCms.getOpenProfile(io.BytesIO(profile))
        description = ImageCms.getProfileDescription(opened_profile).strip()
    except (ImageCms.PyCMSError, OSError, TypeError, ValueError):
        return None
    is_srgb = "sRGB" in description or description == "c2"  # c2: the tiny sRGB that social networks put in
    return None if is_srgb else opened_profile


def in_srgb(image: Image.Image) -> Image.Image:
    profile = foreign_profile(image)
    if profile is not None and not image.mode.startswith("I"):
        mode = "RGBA" if image.has_transparency_data else "RGB"
        image = image.convert(mode) if image.mode in {"P", "PA", "LA"} else image
        with suppress(ImageCms.PyCMSError, ValueError):  # a profile for another kind of picture
            converted = ImageCms.profileToProfile(image, profile, ImageCms.createProfile("sRGB"), outputMode=mode)
            assert converted is not None
            return converted
    return image.convert("RGB") if image.mode in {"CMYK", "YCbCr", "LAB"} else image


def storage_format(source: str, picture: Image.Image) -> str:
    is_photo = source in LOSSY and picture.mode in {"RGB", "L"} and max(picture.size) < 65_500
    return "jpeg" if is_photo else "png"


def encoded(picture: Image.Image, format: str) -> bytes:
    # Pillow writes comments and profiles from `info` unasked. Only transparency belongs to the pixels.
    picture.info = {key: value for key, value in picture.info.items() if key == "transparency"}
    options = {"jpeg": {"quality": 92, "subsampling": 0}, "png": {}, "webp": {"quality": 75, "method": 2}}[format]
    out = io.BytesIO()
    picture.save(out, format.upper(), **options)
    return out.getvalue()


def thumbnail(picture: Image.Image) -> Image.Image:
    """Halved, cut to thirds... first, which is quick, and only what is left is resampled with care."""
    averaged = picture if picture.mode in {"RGB", "RGBA", "L"} else on_white(picture)
    small = on_white(averaged.reduce(max(1, max(picture.size) // THUMBNAIL_SIDE)))
    small.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
    return small


def on_white(picture: Image.Image) -> Image.Image:
    """Plain RGB, so that a fingerprint never depends on the hidden colour of transparent pixels."""
    if picture.mode.startswith("I"):  # 16 bits of grey
        return Image.fromarray((np.asarray(picture) >> 8).clip(0, 255).astype(np.uint8)).convert("RGB")
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    ground = Image.new("RGBA", picture.size, "white")
    return Image.alpha_composite(ground, picture.convert("RGBA")).convert("RGB")


# --- Where it lies
def path_of(sha256: str, format: str) -> str:
    return f"images/{sha256[:2]}/{sha256}.{EXTENSIONS[format]}"


def thumb_path_of(sha256: str) -> str:
    return f"thumbs/{sha256[:2]}/{sha256}.webp"


def store(inspected: Inspected, storage: Storage = default_storage) -> None:
    put(storage, path_of(inspected.sha256, inspected.format), inspected.data)
    put(storage, thumb_path_of(inspected.sha256), inspected.thumbnail)


def put(storage: Storage, name: str, data: bytes) -> None:
    """A name says what its bytes are, so what is there need not be written again, and must never be there by half."""
    if not replaces(storage) and storage.exists(name):
        return
    if not isinstance(storage, FileSystemStorage):
        storage.save(name, ContentFile(data))
        return
    part = f"{name}.{secrets.token_hex(4)}.part"
    try:
        os.replace(storage.path(storage.save(part, ContentFile(data))), storage.path(name))
    except BaseException:
        storage.delete(part)
        raise


def replaces(storage: Storage) -> bool:
    """A bucket puts what is saved in the place of what is there by that name; to ask beforehand takes it as long."""
    return bool(getattr(storage, "file_overwrite", False))


# --- Near-duplicates: the same picture saved again, cropped a little, or the same template under another caption
#
# Measured on drawn pictures. Found again at a distance of at most       4     6     8    10 bits
#   photo-like, captions put above and below                           .88   .98  .995  1.00
#   photo-like, 2% cut off each side                                   .58   .86   .98  1.00
#   shapes, captions put above and below                               .77   .93  .985   .99
#   shapes, two captions, one copy also cut by 1% and JPEG 60          .71   .90   .96   .98
#   faces on white, a caption put below                                .48   .77   .92   .99
#   photo-like and shapes at JPEG 40, or half the size                 1.00  1.00  1.00  1.00
# Different pictures taken for the same
#   photo-like, 719,400 pairs                                            0     0     0     0
#   shapes, 1,124,250 pairs                                              0     0     1     5
#   faces on white, 499,500 pairs                                        6    21   106   424
#   screenshots of text, 719,400 pairs                                 126   563  1738  4613
# Groups are chains, so wrong pairs pile up: at 8 bits the longest wrong chain of 1,000 faces has 8 members, at 10 bits
# 86. Of 8,000 text screenshots 3,789 chain up at 8 bits and 34 at 2 bits, because layout is most of a page's hash and
# the words are little. So pages count as one picture only when all but identical, and a page is told by its flat
# ground: one grey (give or take 4) covers 83-96% of a text screenshot, 50-76% of a face on white, 8-23% of a photo.
NEAR = 8
NEAR_PAGE = 2
PAGE_GROUND = 0.8

PLAIN = 0  # too little in the picture to compare it: never near anything, not even another plain one
PLAIN_CONTRAST = 2.0  # standard deviation of 32 x 32 greys; below it a hash is noise
HASH_BITS = (1 << 63) - 1


def fingerprint(small: Image.Image) -> int:
    """ImageHash's pHash of the thumbnail as a signed 64-bit number, but positive for a page and PLAIN for a blank.

    The highest bit is free to carry that: it compares the overall brightness with the median of the waves, always 1.
    """
    grey = small.convert("L")
    tiny = grey.resize((32, 32), Image.Resampling.LANCZOS)
    if np.asarray(tiny).std() < PLAIN_CONTRAST:
        return PLAIN
    bits = imagehash.phash(tiny).hash.flatten()
    bits[0] = flat_share(grey) < PAGE_GROUND
    return int.from_bytes(np.packbits(bits).tobytes(), "big", signed=True)


def flat_share(grey: Image.Image) -> float:
    """The share of the picture within four greys of its commonest one."""
    counts = np.array(grey.histogram())
    return float(np.convolve(counts, np.ones(9), "same").max() / counts.sum())


@dataclass(frozen=True, slots=True)
class Placed:
    groups: list[int | None]  # for each fingerprint, after all merging; None for a plain picture
    merged: dict[int, int]  # a group that is no more -> the group that has its members now


class Groups:
    """All fingerprints of a project in memory: 17 bytes each, compared with one more in 0.05 ms for 100,000 of them.

    Two fingerprints within reach of each other always end up in one group, whatever stood between them before.
    """

    def __init__(self, known: Iterable[tuple[int, int]] = ()) -> None:
        table = np.array(list(known), dtype=np.int64).reshape(-1, 2)
        table = table[table[:, 1] != PLAIN]
        self.count = len(table)
        self.groups = table[:, 0].copy()
        self.hashes = (table[:, 1] & HASH_BITS).astype(np.uint64)
        self.reach = np.where(table[:, 1] < 0, NEAR, NEAR_PAGE).astype(np.uint8)

    def near(self, fingerprint: int) -> list[int]:
        """The groups with a member within reach, the oldest first."""
        if fingerprint == PLAIN:
            return []
        distance = np.bitwise_count(self.hashes[: self.count] ^ np.uint64(fingerprint & HASH_BITS))
        within = distance <= (self.reach[: self.count] if fingerprint < 0 else NEAR_PAGE)
        return [int(group) for group in np.unique(self.groups[: self.count][within])]

    def add(self, group: int, fingerprint: int) -> None:
        if fingerprint == PLAIN:
            return
        if self.count == len(self.groups):
            self._grow()
        self.groups[self.count] = group
        self.hashes[self.count] = fingerprint & HASH_BITS
        self.reach[self.count] = NEAR if fingerprint < 0 else NEAR_PAGE
        self.count += 1

    def merge(self, into: int, others: Sequence[int]) -> None:
        self.groups[np.isin(self.groups, others)] = into

    def place(self, fingerprints: Iterable[int], new_group: Callable[[], int]) -> Placed:
        """Find or make a group for each, in order, so that pictures of one batch find each other too."""
        groups: list[int | None] = []
        merged: dict[int, int] = {}
        for fingerprint in fingerprints:
            if fingerprint == PLAIN:
                groups.append(None)
                continue
            home, *others = self.near(fingerprint) or [new_group()]
            if others:
                self.merge(home, others)
                merged = {old: home if now in others else now for old, now in merged.items()}
                merged |= dict.fromkeys(others, home)
                groups = [home if group in others else group for group in groups]
            self.add(home, fingerprint)
            groups.append(home)
        return Placed(groups, merged)

    def _grow(self) -> None:
        size = max(1024, 2 * self.count)
        self.groups, self.hashes, self.reach = (
            np.resize(self.groups, size),
            np.resize(self.hashes, size),
            np.resize(self.reach, size),
        )
