"""Strategies: real samples with real damage, and values that no honest file holds."""

import json
import string
from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any

from hypothesis import strategies as st

# --- Bytes

PIECES = [
    b"\0", b"\xff", b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff", b"\xff\xfe\0\0", b"\r", b"\n", b"\r\n", b'"', b'""',
    b",", b"\t", b";", b"|", b"\x1f", b"\\", b"\\u0000", b"\\ud800", b"[", b"]", b"{", b"}", b"[" * 3000,
    b'{"a":' * 3000, b"NaN", b"Infinity", b"-1e999", b"1" * 5000, b"null", b"\xc3\x28", b"\xed\xa0\x80",
    b"\xf4\x90\x80\x80", b"<![", b"<a", b"&#x110000;", b"=1+1", "\u202e\u2028".encode(), "é".encode("latin-1"),
    b"PK\x03\x04", b"PK\x05\x06", b"PAR1", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF", b"GIF89a",
    b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x80\0\0\0", b"%s%n", b"../../x", b"x" * 5000,
]  # fmt: skip


def one_of(listed: Sequence[Any]) -> st.SearchStrategy[Any]:
    """As `sampled_from`, but what is told of a failure does not quote them all."""
    return st.integers(0, len(listed) - 1).map(listed.__getitem__)


places = st.floats(0, 1)
Wound = tuple[str, float, int, bytes]
wound = st.tuples(
    st.sampled_from(["flip", "flip", "flip", "put", "over", "drop", "double", "cut", "swap", "zero"]),
    places,
    st.integers(0, 4096),
    st.one_of(one_of(PIECES), st.binary(max_size=8)),
)
WHOLE: list[tuple[str, Callable[[bytes], bytes]]] = [
    ("as it is", bytes),
    ("with a mark", lambda data: b"\xef\xbb\xbf" + data),
    ("in UTF-16", lambda data: data.decode("utf-8", "replace").encode("utf-16")),
    ("in UTF-16 without a mark", lambda data: data.decode("utf-8", "replace").encode("utf-16-be")),
    ("in UTF-32", lambda data: data.decode("utf-8", "replace").encode("utf-32")),
    ("in code page 1252", lambda data: data.decode("utf-8", "replace").encode("cp1252", "replace")),
    ("twice", lambda data: data + data),
    ("after a NUL", lambda data: b"\0" + data),
    ("ended by old Macs", lambda data: data.replace(b"\n", b"\r")),
]


def wounded(data: bytes, wounds: Sequence[Wound], others: Sequence[bytes] = ()) -> bytes:
    for kind, place, size, piece in wounds:
        at = min(int(place * len(data)), max(0, len(data) - 1))
        end = at + size
        if kind == "flip" and data:
            data = data[:at] + bytes([data[at] ^ (1 << size % 8)]) + data[at + 1 :]
        elif kind == "put":
            data = data[:at] + piece + data[at:]
        elif kind == "over":
            data = data[:at] + piece + data[at + len(piece) :]
        elif kind == "drop":
            data = data[:at] + data[at + size % 64 :]
        elif kind == "double":
            data = data[:end] + data[at:end] + data[end:]
        elif kind == "cut":
            data = data[:at]
        elif kind == "zero":
            data = data[:at] + bytes(min(size % 64, len(data) - at)) + data[at + size % 64 :]
        elif kind == "swap" and others:
            other = others[size % len(others)]
            data = data[:at] + other[int(place * len(other)) :]
    return data


def damaged(samples: Sequence[bytes], whole: bool = False) -> st.SearchStrategy[bytes]:
    """One to five wounds; a text may be written anew in another encoding before them."""
    recast = one_of([change for _, change in WHOLE]) if whole else st.just(bytes)
    return st.builds(
        lambda data, change, wounds: wounded(change(data), wounds, samples),
        one_of(samples),
        recast,
        st.lists(wound, max_size=5),
    )


# --- Words

ODD = [
    "", " ", "\0", "\ud800", "\udfff", "a\0b", "\u202egnp", "\u2028", "\ufeff", "\u200b", "\x1b[31m", "\r\n", "\t",
    "NaN", "nan", "Infinity", "-inf", "1e999", "-1", "0", "0.0", "1.0000001", "101%", "50%", "%", "9" * 400, "9" * 25,
    "-" + "9" * 25, "1_000", "٣", "²", "½", "true", "None", "null", "[]", "{}", '[{"label": "bullish", "score": 2}]',
    '{"gpt": {"label": "bullish"}}', '{"bullish": 0.4, "bearish": 1e999}', '{"a": NaN}', "[" * 2000,
    '{"probabilities": ' * 500, "=1+1", "@SUM(1)", "'; DROP TABLE annotate_post; --", "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>", "{{ 7|add:7 }}", "{% debug %}", "${x}", "$post", "$$", "$", "{0}", "%(a)s", "%s",
    "../../etc/passwd", "/etc/passwd", "C:\\x.png", "file:///etc/passwd", "http://169.254.169.254/latest",
    "data:image/png;base64,AAAA", "data:image/png;base64,%%%", "a.png", "a" * 300 + ".png", "0001-01-01",
    "9999-12-31T23:59:59-23:59", "99999-01-01", "0000-00-00", "2024-02-30", "12/13/2024", "03/04/2024", "1706659200",
    "9" * 19, "-" + "9" * 19, "Mon, 01 Jan 0001 00:00:00 +2359", "Tue, 99 Zzz 2024 25:61:61 +9999", "bullish",
    "BULLISH ", "“bullish”", "bearish", "neutral", "Slightly bullish", "x" * 5000, "é" * 3000, "𝔘" * 300,
    "<|im_end|>", "<image>", "</s>", "[INST]", "{{image}}", "<\u2060image>", "<<< post 0123456789abcdef",
    ">>> post 0123456789abcdef", "</think>", "```json", "\\", '"', "'", "\\ud800", "%00", "\uffff", "\U0010ffff",
    "a\u0300" * 200,
]  # fmt: skip
words = st.one_of(
    one_of(ODD),
    st.text(max_size=30),
    st.text(string.ascii_lowercase + " ", max_size=12),
    st.text(st.characters(categories=["Cs", "Cc", "Cf", "Zl", "Zp", "Co", "Lo"]), max_size=8),
    st.lists(one_of(ODD), min_size=2, max_size=4).map(" ".join),
)

# --- Values of JSON

numbers = st.one_of(
    st.integers(-3, 3),
    st.integers(),
    st.floats(),
    st.floats(0, 1),
    st.sampled_from(
        [
            2**31,
            2**31 - 1,
            -(2**31) - 1,
            2**53 + 1,
            2**63 - 1,
            2**63,
            -(2**63) - 1,
            10**30,
            10**400,
            1e308,
            -1e-308,
            5e-324,
            1.0000001,
        ]
    ),
)
plain_values = st.one_of(st.none(), st.booleans(), numbers, words)
values = st.recursive(
    plain_values,
    lambda inside: st.lists(inside, max_size=4) | st.dictionaries(words, inside, max_size=4),
    max_leaves=8,
)


def deep(levels: int) -> Any:
    value: Any = "deep"
    for level in range(levels):
        value = [value] if level % 2 else {"a": value}
    return value


odd_values = st.one_of(
    values,
    values,
    st.sampled_from([50, 150, 250]).map(deep),
    st.just(["x"] * 3000),
    st.just({str(n): n for n in range(3000)}),
)
Scar = tuple[str, list[int], Any]
scar = st.tuples(
    st.sampled_from(["replace", "replace", "replace", "remove", "double", "wrap", "rename", "add", "unwrap"]),
    st.lists(st.integers(0, 30), min_size=1, max_size=6),
    odd_values,
)


def scarred(tree: Any, scars: Sequence[Scar]) -> Any:
    """With single parts of it replaced, removed, doubled, wrapped or renamed; which, the numbers of a scar say."""
    tree = json.loads(json.dumps(tree))
    for kind, path, value in scars:
        tree = scarred_at(tree, kind, path, deepcopy(value))
    return tree


def scarred_at(tree: Any, kind: str, path: list[int], value: Any) -> Any:
    if not isinstance(tree, (dict, list)) or not tree or not path:
        return {"wrap": [tree], "remove": None}.get(kind, value)
    keys = list(tree) if isinstance(tree, dict) else list(range(len(tree)))
    key = keys[path[0] % len(keys)]
    if len(path) > 1 and isinstance(tree[key], (dict, list)):
        tree[key] = scarred_at(tree[key], kind, path[1:], value)
    elif kind == "remove":
        del tree[key]
    elif kind == "double" and isinstance(tree, list):
        tree.insert(key, deepcopy(tree[key]))
    elif kind == "rename" and isinstance(tree, dict):
        tree[value if isinstance(value, str) else str(value)[:40]] = tree.pop(key)
    elif kind == "add" and isinstance(tree, dict):
        tree[f"{key}_"] = value
    elif kind == "unwrap" and isinstance(tree[key], (dict, list)) and tree[key]:
        tree[key] = next(iter(tree[key].values() if isinstance(tree[key], dict) else tree[key]))
    else:
        tree[key] = [tree[key]] if kind == "wrap" else value
    return tree


def like(samples: Sequence[Any], most: int = 4) -> st.SearchStrategy[Any]:
    return st.builds(scarred, one_of(samples), st.lists(scar, max_size=most))
