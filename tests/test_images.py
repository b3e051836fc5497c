import io
import random
import struct
import zlib
from functools import cache
from itertools import count

import imagehash
import numpy as np
import pytest
from django.core.files.storage import FileSystemStorage, InMemoryStorage
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageChops, ImageCms, ImageDraw, ImageEnhance, ImageOps, PngImagePlugin

from annotate.images import (
    NEAR,
    NEAR_PAGE,
    PLAIN,
    BadImage,
    Groups,
    Inspected,
    fingerprint,
    inspect,
    path_of,
    sha256,
    store,
    thumb_path_of,
    thumbnail,
)

SECRET = b"taken at 48.8584 N 2.2945 E"
WORDS = ["when", "the", "chart", "does", "nobody", "believes", "you", "wen", "moon", "hold", "sell", "never"]


@cache
def draw(seed: int = 1, size: tuple[int, int] = (256, 192)) -> Image.Image:
    """Something like a photo: soft light of many frequencies, and a few things in it."""
    rng = np.random.default_rng(seed)
    waves = np.hypot(np.fft.fftfreq(size[1])[:, None], np.fft.fftfreq(size[0])[None, :])
    waves = np.maximum(waves, 1 / max(size)) ** 1.2
    light = np.fft.ifft2(
        np.fft.fft2(rng.normal(size=(size[1], size[0], 3)), axes=(0, 1)) / waves[..., None], axes=(0, 1)
    )
    pixels = 128 + 45 * light.real / light.real.std()
    picture = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    pen = ImageDraw.Draw(picture)
    for x, y, side in rng.integers(10, 150, (4, 3)):
        pen.ellipse([x, y, x + side, y + side], fill=tuple(int(part) for part in rng.integers(0, 256, 3)))
    return picture


def caption(picture: Image.Image, words: str, y: int) -> Image.Image:
    picture = picture.copy()
    pen = ImageDraw.Draw(picture)
    pen.text((picture.width / 2, y), words, "white", anchor="mm", stroke_width=2, stroke_fill="black", font_size=14)
    return picture


def page(seed: int) -> Image.Image:
    rng = random.Random(seed)
    picture = Image.new("RGB", (320, 240), "white")
    pen = ImageDraw.Draw(picture)
    for line in range(5):
        pen.text((16, 30 + 30 * line), " ".join(rng.choice(WORDS) for _ in range(5)), "black", font_size=16)
    return picture


def packed(picture: Image.Image, format: str = "JPEG", **options: object) -> bytes:
    out = io.BytesIO()
    picture.save(out, format, **options)
    return out.getvalue()


def shown(data: bytes) -> Image.Image:
    picture = Image.open(io.BytesIO(data))
    picture.load()
    return picture


def same(one: Image.Image, other: Image.Image) -> bool:
    return (
        one.size == other.size and ImageChops.difference(one.convert("RGBA"), other.convert("RGBA")).getbbox() is None
    )


def close(one: Image.Image, other: Image.Image, most: float = 6) -> bool:
    difference = np.asarray(one.convert("RGB")).astype(int) - np.asarray(other.convert("RGB"))
    return bool(np.abs(difference).mean() < most)


def exif(orientation: int = 1) -> Image.Exif:
    tags = Image.Exif()
    tags[0x0112] = orientation
    tags[0x010E] = SECRET.decode()
    return tags


def bits_apart(one: int, other: int) -> int:
    return ((one ^ other) & (2**63 - 1)).bit_count()


# --- What is kept
@pytest.mark.parametrize(
    ("format", "kept"),
    [("JPEG", "jpeg"), ("PNG", "png"), ("WEBP", "webp"), ("GIF", "png"), ("BMP", "png"), ("AVIF", "jpeg")],
)
def test_formats_are_told_by_content(format, kept):
    data = packed(draw(), format)
    found = inspect(data)
    assert (found.format, found.width, found.height, found.sha256) == (kept, 256, 192, sha256(data))
    assert shown(found.data).format == kept.upper()
    assert close(shown(found.data), shown(data))


@pytest.mark.parametrize(
    ("format", "options"),
    [
        ("JPEG", {"exif": exif(), "comment": SECRET, "xmp": SECRET, "dpi": (72, 72)}),
        ("JPEG", {"exif": exif(), "comment": SECRET, "progressive": True}),
        ("JPEG", {"exif": exif(), "comment": SECRET, "restart_marker_blocks": 3, "optimize": True}),
        ("PNG", {"exif": exif()}),
        ("WEBP", {"exif": exif(), "xmp": SECRET}),
        ("WEBP", {"exif": exif(), "xmp": SECRET, "lossless": True}),
    ],
)
def test_metadata_is_cut_out_and_no_pixel_changes(format, options):
    data = packed(draw(), format, **options) + SECRET
    assert SECRET in data
    found = inspect(data)
    assert SECRET not in found.data
    assert len(found.data) < len(data)
    assert not shown(found.data).getexif()
    assert same(shown(found.data), shown(data))


def test_png_text_and_profile_are_cut_out():
    notes = PngImagePlugin.PngInfo()
    notes.add_text("Author", SECRET.decode())
    notes.add_itxt("Where", SECRET.decode())
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    data = packed(draw(), "PNG", pnginfo=notes, icc_profile=srgb)
    found = inspect(data)
    assert SECRET not in found.data
    assert shown(found.data).info == {}
    assert same(shown(found.data), shown(data))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_a_turned_picture_is_stored_upright(format, orientation):
    data = packed(draw(), format, exif=exif(orientation))
    found = inspect(data)
    upright = ImageOps.exif_transpose(shown(data))
    assert (found.width, found.height) == upright.size
    assert close(shown(found.data), upright)
    assert SECRET not in found.data


def test_broken_exif_is_no_obstacle():
    data = packed(draw(), exif=b"Exif\0\0II*\0" + b"\xff" * 40)
    assert same(shown(inspect(data).data), shown(data))


def test_other_colours_become_srgb():
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    swapped = srgb.replace(b"rXYZ", b"????").replace(b"gXYZ", b"rXYZ").replace(b"????", b"gXYZ")
    swapped = swapped.replace("sRGB".encode("utf-16-be"), "Swap".encode("utf-16-be"))
    picture = Image.new("RGB", (40, 40), (255, 0, 0))
    for data in (packed(picture, icc_profile=swapped), packed(picture.quantize(4), "PNG", icc_profile=swapped)):
        stored = shown(inspect(data).data).convert("RGB")
        assert "icc_profile" not in stored.info
        red, green, _ = stored.getpixel((20, 20))
        assert green > 240
        assert red < 15


@pytest.mark.parametrize("profile", [b"x", b"\0" * 200])
def test_a_broken_colour_profile_is_ignored(profile):
    data = packed(draw(), icc_profile=profile)
    assert same(shown(inspect(data).data), shown(data))


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG"])
def test_an_animation_keeps_its_first_frame(format):
    data = packed(draw(1), format, save_all=True, append_images=[draw(2), draw(3)], duration=50)
    found = inspect(data)
    assert getattr(shown(found.data), "n_frames", 1) == 1
    assert close(shown(found.data), shown(data))


def test_a_second_picture_behind_the_first_is_dropped():
    data = packed(draw(1), "MPO", save_all=True, append_images=[draw(2)])
    found = inspect(data)
    assert found.format == "jpeg"
    assert found.data.count(b"\xff\xd8\xff") == 1
    assert same(shown(found.data), shown(data))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16", "CMYK"])
def test_every_kind_of_pixel_is_handled(mode):
    grey = np.asarray(draw().convert("L")).astype(np.uint16) * 256
    picture = Image.fromarray(grey) if mode == "I;16" else draw().convert(mode)
    found = inspect(packed(picture, "JPEG" if mode == "CMYK" else "PNG"))
    assert shown(found.data).mode in {mode, "RGB"}
    assert found.fingerprint != PLAIN
    expected = draw() if mode in {"P", "RGB", "RGBA", "CMYK"} else draw().convert("L")
    assert close(shown(found.thumbnail).reduce(8), expected.reduce(8), 12)


def test_transparency_is_kept_and_seen_on_white():
    picture = Image.new("RGBA", (100, 100), (0, 0, 0, 0))
    picture.paste("red", (0, 0, 50, 100))
    for data in (
        packed(picture, "PNG"),
        packed(picture.quantize(8), "PNG"),
        packed(picture, "GIF"),
        packed(picture, "WEBP"),
    ):
        found = inspect(data)
        assert shown(found.data).convert("RGBA").getpixel((80, 50))[3] == 0
        assert min(shown(found.thumbnail).convert("RGB").getpixel((80, 50))) > 245


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3000, 1), (321, 7), (5000, 40)])
def test_odd_sizes(size):
    found = inspect(packed(Image.new("RGB", size, "red"), "PNG"))
    assert (found.width, found.height) == size
    assert max(shown(found.thumbnail).size) <= 320


def test_the_thumbnail_is_a_small_webp():
    small = shown(inspect(packed(draw(size=(900, 500)))).thumbnail)
    assert (small.format, small.size) == ("WEBP", (320, 178))
    assert close(small.reduce(4), draw(size=(900, 500)).resize((320, 178)).reduce(4))


# --- What is refused
@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (b"hello", "not a picture"),
        (b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>', "SVG"),
        (b"<!doctype html><title>404</title>", "web page"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "HEIC"),
        (b"%PDF-1.7", "not a picture"),
        (packed(draw(), "TIFF"), "not a picture"),
    ],
)
def test_what_is_not_a_picture_is_refused_in_words(data, words):
    with pytest.raises(BadImage, match=words):
        inspect(data)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "GIF", "WEBP", "AVIF", "BMP"])
def test_a_cut_off_picture_is_refused(format):
    data = packed(draw(), format)
    for share in (0.2, 0.5, 0.9):
        with pytest.raises(BadImage):
            inspect(data[: int(len(data) * share)])


def test_limits_are_kept():
    data = packed(draw())
    with pytest.raises(BadImage, match="MB allowed"):
        inspect(data, max_bytes=1000)
    with pytest.raises(BadImage, match="256 x 192"):
        inspect(data, max_pixels=256 * 192 - 1)
    assert inspect(data, max_bytes=len(data), max_pixels=256 * 192)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("side", [10_000, 60_000])
def test_a_bomb_is_refused_before_it_is_decoded(side):
    data = bytearray(packed(Image.new("1", (8, 8)), "PNG"))
    data[16:24] = struct.pack(">II", side, side)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    with pytest.raises(BadImage, match="more than the 40"):
        inspect(bytes(data))


def test_a_jpeg_of_endless_scans_is_refused():
    data = packed(draw(), progressive=True)
    scan = data[data.rindex(b"\xff\xda") : -2]
    with pytest.raises(BadImage, match="scans"):
        inspect(data[:-2] + scan * 300 + data[-2:])


SAMPLES = [
    packed(draw(size=(64, 48)), exif=exif(6)),
    packed(draw(size=(64, 48)), comment=SECRET, progressive=True),
    packed(draw(size=(64, 48)).convert("CMYK")),
    packed(draw(size=(64, 48)), "PNG", exif=exif(3)),
    packed(draw(size=(64, 48)).quantize(16), "PNG"),
    packed(draw(size=(64, 48)), "GIF", save_all=True, append_images=[draw(2, (64, 48))]),
    packed(draw(size=(64, 48)), "WEBP", exif=exif(), xmp=SECRET),
    packed(draw(size=(64, 48)), "WEBP", lossless=True),
    packed(draw(size=(64, 48)), "AVIF"),
    packed(draw(size=(64, 48)), "BMP"),
]


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.sampled_from(SAMPLES),
    st.lists(st.tuples(st.floats(0, 0.999), st.binary(max_size=6), st.integers(0, 8)), min_size=1, max_size=6),
)
def test_damage_never_raises_anything_else(data, wounds):
    for place, bytes_in, bytes_out in wounds:
        at = int(place**2 * len(data))  # headers are the more interesting part
        data = data[:at] + bytes_in + data[at + bytes_out :]
    try:
        found = inspect(data)
    except BadImage:
        return
    assert shown(found.data).size == (found.width, found.height)
    assert inspect(found.data).data == found.data


# --- Where it lies
def test_storing_twice_is_harmless(tmp_path):
    storage = FileSystemStorage(tmp_path, file_permissions_mode=0o640)
    found = inspect(packed(draw()))
    store(found, storage)
    store(found, storage)
    files = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file())
    assert files == [path_of(found.sha256, "jpeg"), thumb_path_of(found.sha256)]
    assert files[0] == f"images/{found.sha256[:2]}/{found.sha256}.jpg"
    assert (tmp_path / files[0]).read_bytes() == found.data
    assert (tmp_path / files[0]).stat().st_mode & 0o777 == 0o640


def test_a_storage_without_paths_will_do():
    storage = InMemoryStorage()
    found = inspect(packed(draw()))
    store(found, storage)
    store(found, storage)
    assert storage.open(path_of(found.sha256, found.format)).read() == found.data


def test_nothing_half_written_stays(tmp_path, monkeypatch):
    def full(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr("annotate.images.os.replace", full)
    with pytest.raises(OSError, match="No space"):
        store(inspect(packed(draw())), FileSystemStorage(tmp_path))
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


# --- Near-duplicates
def test_the_fingerprint_is_image_hashs_phash():
    for seed in range(30):
        picture = draw(seed, (400, 300))
        small = thumbnail(picture)
        ours = fingerprint(small)
        assert -(2**63) <= ours < 0
        assert ours % 2**64 == int(
            str(imagehash.phash(small.convert("L").resize((32, 32), Image.Resampling.LANCZOS))), 16
        )
        assert bits_apart(ours, int(str(imagehash.phash(picture)), 16)) <= 2


def test_pages_are_positive_and_plain_pictures_zero():
    assert all(fingerprint(page(seed)) > 0 for seed in range(20))
    noise = np.random.default_rng(1).normal(200, 3, (320, 320)).astype(np.uint8)
    for plain in (Image.new("RGB", (9, 9), "black"), Image.new("RGB", (320, 200), "white"), Image.fromarray(noise)):
        assert fingerprint(plain.convert("RGB")) == PLAIN


def found_again(change) -> float:
    pairs = [(thumbnail(draw(seed)), thumbnail(change(draw(seed)))) for seed in range(40)]
    return sum(bits_apart(fingerprint(one), fingerprint(other)) <= NEAR for one, other in pairs) / len(pairs)


@pytest.mark.parametrize(
    "change",
    [
        lambda picture: caption(picture, "WEN MOON", 170),
        lambda picture: shown(packed(picture, quality=40)),
        lambda picture: shown(packed(picture.resize((128, 96)), quality=60)),
        lambda picture: ImageEnhance.Brightness(picture).enhance(1.2),
        lambda picture: picture.crop((3, 2, 253, 190)),
    ],
    ids=["caption", "jpeg", "half size", "brighter", "cropped"],
)
def test_a_changed_copy_is_near(change):
    assert found_again(change) >= 0.95


def test_different_pictures_are_not_near():
    hashes = [fingerprint(thumbnail(draw(seed))) for seed in range(120)]
    groups = Groups(enumerate(hashes))
    assert all(groups.near(known) == [group] for group, known in enumerate(hashes))


def test_pages_of_one_layout_are_not_one_picture():
    hashes = [fingerprint(page(seed)) for seed in range(100)]
    placed = Groups().place(hashes, count(1).__next__)
    assert len(set(placed.groups)) > 90
    again = fingerprint(thumbnail(shown(packed(page(5), quality=70))))
    assert bits_apart(again, hashes[5]) <= NEAR_PAGE


def flip(fingerprint: int, *bits: int) -> int:
    for bit in bits:
        fingerprint ^= 1 << bit
    return fingerprint


PICTURE = -0x123456789ABCDEF0
PAGE = 0x123456789ABCDEF0


def test_near_reaches_as_far_as_measured():
    groups = Groups([(7, PICTURE), (8, PAGE), (9, PLAIN)])
    assert groups.near(flip(PICTURE, *range(NEAR))) == [7]
    assert groups.near(flip(PICTURE, *range(NEAR + 1))) == []
    assert groups.near(flip(PAGE, *range(NEAR_PAGE))) == [8]
    assert groups.near(flip(PAGE, *range(NEAR_PAGE + 1))) == []
    assert groups.near(PLAIN) == []


def test_a_page_seen_as_a_picture_is_still_near_itself():
    groups = Groups([(8, PAGE)])
    assert groups.near(flip(PAGE - 2**63, 3)) == [8]
    assert groups.near(flip(PAGE - 2**63, *range(5))) == []


def test_a_picture_between_two_groups_joins_them():
    one, between, other = PICTURE, flip(PICTURE, *range(8)), flip(PICTURE, *range(16))
    groups = Groups([(1, one), (2, other), (2, flip(other, 60))])
    placed = groups.place([between, flip(other, 60)], count(10).__next__)
    assert placed.groups == [1, 1]
    assert placed.merged == {2: 1}
    assert groups.near(other) == [1]


def test_pictures_of_one_batch_find_each_other():
    far = flip(PICTURE, *range(0, 60, 2))
    placed = Groups().place([PICTURE, far, PLAIN, flip(PICTURE, 1), PLAIN], count(10).__next__)
    assert placed.groups == [10, 11, None, 10, None]
    assert placed.merged == {}


def test_merging_twice_leads_to_the_last_home():
    links = [flip(PICTURE, *range(8 * step)) for step in range(6)]
    groups = Groups([(3, links[4]), (2, links[2]), (1, links[0])])
    placed = groups.place([links[3], links[1]], count(10).__next__)
    assert placed.groups == [1, 1]
    assert placed.merged == {3: 1, 2: 1}


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 12))
def test_whatever_is_within_reach_shares_a_group(seed, already):
    rng = random.Random(seed)
    hashes = [PICTURE]
    for _ in range(30):
        hashes.append(flip(rng.choice(hashes), *rng.sample(range(63), rng.randrange(1, 14))))
    groups = Groups((n, known) for n, known in enumerate(hashes[:already]))
    placed = groups.place(hashes[already:], count(100).__next__)
    members = [placed.merged.get(n, n) for n in range(already)] + placed.groups
    for one in range(len(hashes)):
        for other in range(already, len(hashes)):
            if bits_apart(hashes[one], hashes[other]) <= NEAR:
                assert members[one] == members[other]


def test_inspected_is_what_the_database_needs():
    found = inspect(packed(draw()))
    assert isinstance(found, Inspected)
    assert -(2**63) <= found.fingerprint < 2**63
