import io
import stat
import struct
import zipfile
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from annotate.importing.archive import BadMember, open_archive
from annotate.importing.rows import Unreadable

LOCAL, CENTRAL, END = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"


def zipped(*members: tuple[str | zipfile.ZipInfo, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as file:
        for name, data in members:
            file.writestr(name, data, compress_type=method)
    return out.getvalue()


def patched(data: bytes, offset: int, value: bytes, start: bytes = CENTRAL) -> bytes:
    """Overwrite part of the last header of a kind."""
    at = data.rindex(start) + offset
    return data[:at] + value + data[at + len(value) :]


@pytest.fixture
def opened(tmp_path):
    archives = []

    def open_bytes(data: bytes, **limits):
        path = tmp_path / "upload.zip"
        path.write_bytes(data)
        archives.append(open_archive(path, **limits))
        return archives[-1]

    yield open_bytes
    for archive in archives:
        archive.__exit__(None, None, None)


def test_files_are_listed_in_order_and_read(opened):
    archive = opened(zipped(("posts.csv", b"id\n1\n"), ("images/", b""), ("images/b.jpg", b"b"), ("a.jpg", b"a")))
    assert archive.names() == ["posts.csv", "images/b.jpg", "a.jpg"]
    assert archive.read("images/b.jpg", 10) == b"b"
    assert archive.refused == []


def test_clutter_is_passed_over(opened):
    names = ["__MACOSX/._a.jpg", "x/.DS_Store", "Thumbs.db", "x/desktop.ini", "x/._b.jpg", "x/c.jpg"]
    archive = opened(zipped(*[(name, b"x") for name in names]))
    assert archive.names() == ["x/c.jpg"]
    assert archive.refused == []


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../a.jpg", "leads out"),
        ("x/../../a.jpg", "leads out"),
        ("..", "leads out"),
        ("/etc/passwd", "absolute"),
        ("C:/a.jpg", "absolute"),
        ("c:a.jpg", "absolute"),
        ("x\\a.jpg", "backslashes"),
        ("..\\a.jpg", "backslashes"),
        ("a\n.jpg", "control"),
        ("more.zip", "inside the archive"),
        ("x/more.TAR.GZ", "inside the archive"),
    ],
)
def test_odd_names_are_refused_one_by_one(opened, name, reason):
    archive = opened(zipped((name, b"x"), ("good.jpg", b"y")))
    assert archive.names() == ["good.jpg"]
    assert [refused for refused, _ in archive.refused] == [name]
    assert reason in archive.refused[0][1]


def test_a_name_cut_by_a_nul_is_refused(opened):
    archive = opened(zipped(("a.jpgX.exe", b"x")).replace(b"a.jpgX.exe", b"a.jpg\0.exe"))
    assert archive.names() == []
    assert "control" in archive.refused[0][1]


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_links_and_devices_are_refused(opened, kind):
    link = zipfile.ZipInfo("link.jpg")
    link.external_attr = (kind | 0o777) << 16
    archive = opened(zipped((link, b"/etc/passwd")))
    assert archive.names() == []
    assert "link" in archive.refused[0][1]


def test_encrypted_files_are_refused(opened):
    archive = opened(patched(zipped(("a.jpg", b"x")), 8, b"\x01\0"))
    assert "encrypted" in archive.refused[0][1]


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_unusual_packing_is_refused(opened, method):
    archive = opened(zipped(("a.jpg", b"x"), method=method))
    assert "unusual" in archive.refused[0][1]


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_of_two_files_of_one_name_the_first_counts(opened):
    archive = opened(zipped(("a.jpg", b"first"), ("a.jpg", b"second")))
    assert archive.read("a.jpg", 10) == b"first"
    assert archive.refused == [("a.jpg", "a file of this name came before it")]


def test_utf8_names_are_read_even_where_the_tool_forgot_to_say_so(opened):
    data = zipped(("xxxxxxx.jpg", b"x"), ("öl.jpg", b"y")).replace(b"xxxxxxx", "zürich".encode())
    assert opened(data).names() == ["zürich.jpg", "öl.jpg"]


def test_names_in_code_page_437_are_read_as_such(opened):
    assert opened(zipped(("xyz.jpg", b"x")).replace(b"xyz", b"x\x81z")).names() == ["xüz.jpg"]


# --- Sizes
def test_the_limit_is_on_what_comes_out(opened):
    archive = opened(zipped(("a.bin", b"x" * 5000)))
    assert len(archive.read("a.bin", 5000)) == 5000
    with pytest.raises(BadMember, match="allowed"):
        archive.read("a.bin", 4999)


@pytest.mark.parametrize("claim", [10, 4999])
def test_a_file_larger_than_it_claims_is_not_believed(opened, claim):
    archive = opened(patched(zipped(("a.bin", b"x" * 5000)), 24, struct.pack("<I", claim)))
    with pytest.raises(BadMember, match="damaged"):
        archive.read("a.bin", 6000)


def test_a_bomb_is_refused(opened):
    with pytest.raises(Unreadable, match="bombs"):
        opened(zipped(("zeros.csv", b"\0" * 20_000_000)))
    assert opened(zipped(("zeros.csv", b"\0" * 500_000))).names()


def test_a_bomb_that_quotes_the_same_bytes_is_refused(opened):
    data = zipped(("a.txt", b"x" * 100), ("b.txt", b"x" * 100))
    with pytest.raises(Unreadable, match="overlap"):
        opened(patched(data, 42, struct.pack("<I", 0)))


def test_too_much_and_too_many_are_refused(opened):
    data = zipped(*[(f"{n}.txt", b"x" * 100) for n in range(20)])
    with pytest.raises(Unreadable, match="20 files"):
        opened(data, max_members=19)
    with pytest.raises(Unreadable, match="unpacks to"):
        opened(data, max_total=1999)
    assert len(opened(data, max_members=20, max_total=2000).names()) == 20


def test_a_huge_table_of_contents_is_refused_before_it_is_read(opened):
    data = zipped(*[(f"{n:0200}.txt", b"") for n in range(1200)])
    with pytest.raises(Unreadable, match="too many files"):
        opened(data, max_members=100)


# --- Damage
@pytest.mark.parametrize(
    ("data", "words"),
    [(b"", "not a ZIP"), (b"id,text\n1,gm\n", "not a ZIP"), (b"Rar!\x1a\x07\x00", "not a ZIP")],
)
def test_what_is_no_zip_is_refused(opened, data, words):
    with pytest.raises(Unreadable, match=words):
        opened(data)


@pytest.mark.parametrize("share", [0.05, 0.5, 0.95])
def test_an_upload_that_broke_off_is_told(opened, share):
    data = zipped(("a.txt", bytes(range(256)) * 20), ("b.txt", b"x"))
    with pytest.raises(Unreadable, match="damaged or was not uploaded"):
        opened(data[: int(share * len(data))])


def test_one_damaged_file_leaves_the_others(opened):
    data = zipped(("a.txt", b"AAAA"), ("b.txt", b"BBBB"), method=zipfile.ZIP_STORED).replace(b"AAAA", b"AXAA")
    archive = opened(data)
    assert archive.read("b.txt", 10) == b"BBBB"
    with pytest.raises(BadMember, match=r"'a.txt' is damaged"):
        archive.read("a.txt", 10)
    with pytest.raises(BadMember, match="no file"):
        archive.read("c.txt", 10)


def test_a_name_as_long_as_a_page_is_told_in_a_sentence(opened):
    data = zipped((f"{'[' * 3000}.txt", b"AAAA"), method=zipfile.ZIP_STORED).replace(b"AAAA", b"AXAA")
    archive = opened(data)
    with pytest.raises(BadMember, match=r"…' is damaged") as refusal:
        archive.read(archive.names()[0], 10)
    assert len(str(refusal.value)) < 300


def test_files_are_read_by_several_threads_at_once(opened):
    archive = opened(zipped(*[(f"{n}.txt", str(n).encode() * 20_000) for n in range(50)]))
    with ThreadPoolExecutor(4) as pool:
        read = list(pool.map(lambda name: archive.read(name, 10**6), archive.names()))
    assert read == [str(n).encode() * 20_000 for n in range(50)]


SAMPLE = zipped(("posts.csv", b"id,text\n" * 30), ("images/a.jpg", bytes(range(256))), ("ü.txt", b"x"))


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(
        st.tuples(st.integers(0, len(SAMPLE) - 1), st.binary(max_size=5), st.integers(0, 5)), min_size=1, max_size=5
    )
)
def test_damage_never_raises_anything_else(tmp_path, wounds):
    data = SAMPLE
    for at, bytes_in, bytes_out in wounds:
        data = data[:at] + bytes_in + data[at + bytes_out :]
    path = tmp_path / "damaged.zip"
    path.write_bytes(data)
    try:
        archive = open_archive(path)
    except Unreadable:
        return
    with archive:
        for name in archive.names():
            try:
                archive.read(name, 10_000)
            except BadMember:
                continue


# --- Tables
@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("data/posts.csv", "posts.csv"),
        ("my posts (final).JSONL", "my_posts__final_.jsonl"),
        ("x/.csv", "_csv"),
        ("größe.csv", "größe.csv"),
        ("a" * 200 + ".csv", "a" * 80 + ".csv"),
        ("𝔘" * 200 + ".csv", "𝔘" * 40 + ".csv"),
        ("posts.csv; rm -rf", "posts.csvrmrf"),
    ],
)
def test_a_table_is_streamed_out_under_a_safe_name(opened, tmp_path, name, safe):
    folder = tmp_path / "work"
    folder.mkdir()
    path = opened(zipped((name, b"id\n" * 1000))).extract_table(name, folder)
    assert path == folder / safe
    assert path.read_bytes() == b"id\n" * 1000


def test_a_damaged_table_leaves_nothing_behind(opened, tmp_path):
    folder = tmp_path / "work"
    folder.mkdir()
    data = zipped(("posts.csv", b"AAAA"), method=zipfile.ZIP_STORED).replace(b"AAAA", b"AXAA")
    with pytest.raises(Unreadable, match="damaged"):
        opened(data).extract_table("posts.csv", folder)
    assert list(folder.iterdir()) == []
