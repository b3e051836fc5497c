"""Small, real files of each kind that comes in from outside, to be damaged."""

import csv
import io
import json
import zipfile
from functools import cache
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

# --- Records

POSTS: list[dict[str, Any]] = [
    {
        "id": f"p{n}",
        "text": f"to the moon {n}, “naïve” \U0001f680",
        "created_at": "2025-11-14 09:00:00",
        "source": "biz",
        "label": "bullish",
        "incongruous": "no",
        "gpt-4o_label": "bullish",
        "gpt-4o_confidence": 0.9,
        "gpt-4o_reason": "rockets",
        "gemini": "bearish",
        "likes": n,
        "lang": "en",
    }
    for n in range(3)
]
RANKED: list[dict[str, Any]] = [
    {
        "id": f"p{n}",
        "text": f"gm {n}",
        "convnext_top1": "bullish",
        "convnext_p1": 0.7,
        "convnext_top2": "bearish",
        "convnext_p2": 0.2,
        "predictions": [{"label": "bullish", "score": 0.6}, {"label": "neutral", "score": 0.3}],
    }
    for n in range(3)
]
CELLS: list[dict[str, Any]] = [
    {
        "id": f"p{n}",
        "text": f"gm {n}",
        "votes": {
            "convnext": {"label": "bullish", "probabilities": {"bullish": 0.7, "bearish": 0.3}},
            "vit": "bearish",
        },
    }
    for n in range(2)
]
CONVERSATIONS: list[dict[str, Any]] = [
    {
        "id": 1,
        "messages": [
            {"role": "system", "content": "Say."},
            {"role": "user", "content": "<image>gm"},
            {"role": "assistant", "content": "bullish\nReason: up"},
        ],
        "images": ["a.png"],
        "metadata": {
            "label_source": "review",
            "split": "train",
            "at": "2025-11-14T09:00:00Z",
            "source": "biz",
            "meta": {"a": 1},
        },
    },
    {
        "conversations": [
            {
                "from": "human",
                "value": [
                    {"type": "text", "text": "gn"},
                    {"type": "image_url", "image_url": {"url": "http://x.example/a.png"}},
                ],
            },
            {"from": "gpt", "value": "bearish"},
            {"from": "human", "value": "why?"},
        ]
    },
]
TASKS: list[dict[str, Any]] = [
    {
        "id": 7,
        "project": 3,
        "data": {"body": "gm", "image": "/data/upload/1/a.png"},
        "inner_id": 1,
        "annotations": [
            {
                "completed_by": {"email": "a@b.example"},
                "was_cancelled": False,
                "result": [
                    {"type": "choices", "from_name": "label", "to_name": "text", "value": {"choices": ["bullish"]}}
                ],
            }
        ],
        "predictions": [{"model_version": "gpt", "score": 0.7, "result": [{"value": {"choices": ["bearish"]}}]}],
    },
    {
        "data": {"id": "p1", "text": "gn", "image": "", "source": "biz", "date": "2025-11-14"},
        "meta": {"label": "neutral", "label_source": "review"},
        "annotations": [
            {
                "completed_by": 4,
                "result": [
                    {"from_name": "label", "type": "choices", "value": {"choices": ["neutral"]}},
                    {"from_name": "note", "type": "textarea", "value": {"text": ["hm"]}},
                ],
            }
        ],
        "predictions": [{"model_version": "gpt", "score": 2, "result": []}],
    },
]
THREAD: list[dict[str, Any]] = [
    {
        "posts": [
            {
                "no": 1,
                "resto": 0,
                "time": 1763110800,
                "sub": "rate",
                "com": 'gm<br>&gt;up <span class="quote">x</span>',
                "tim": 1763110800123,
                "ext": ".png",
                "country": "CH",
            },
            {"no": 2, "resto": 1, "time": 1763110900, "com": '<a href="#p1">&gt;&gt;1</a> no'},
        ]
    },
    {"page": 1, "threads": [{"no": 3, "time": 1763110900, "com": "gn", "resto": 0, "replies": 4}]},
]
OURS: list[dict[str, Any]] = [
    {
        "id": "p1",
        "text": "gm",
        "image": "",
        "label": "bullish",
        "label_source": "review",
        "split": "train",
        "at": "2025-11-14T09:00:00+00:00",
        "source": "biz",
        "incongruous": False,
        "template": "Wojak",
        "meta": {"likes": 3},
        "votes": [
            {
                "voter": "gpt",
                "label": "bullish",
                "confidence": 0.9,
                "reason": "up",
                "probabilities": {"bullish": 0.9, "bearish": 0.1},
                "text_reading": "bullish",
                "image_reading": "",
                "incongruous": None,
                "at": "2025-11-14T09:00:00+00:00",
            }
        ],
        "reviews": [
            {
                "reviewer": "ada",
                "label": "bullish",
                "instead": "",
                "why": "",
                "note": "",
                "incongruous": True,
                "final": True,
                "saw": ["gpt"],
                "seconds": 3.5,
                "at": "2025-11-14T09:00:00+00:00",
            }
        ],
    },
]

# --- Pictures

SIZE = (24, 18)
TOLD = b"taken at 47.37N 8.54E by Ada"  # what no stored picture may still say


def drawn(mode: str = "RGB", size: tuple[int, int] = SIZE) -> Image.Image:
    picture = Image.linear_gradient("L").resize(size)
    return picture.convert(mode) if mode not in {"I;16"} else picture.convert("I").convert("I;16")


def saved(format: str, mode: str = "RGB", **options: Any) -> bytes:
    out = io.BytesIO()
    drawn(mode).save(out, format, **options)
    return out.getvalue()


@cache
def pictures() -> tuple[bytes, ...]:
    exif = Image.Exif()
    exif[0x010E], exif[0x0112] = TOLD.decode(), 6
    frames = [drawn("P"), drawn("P").rotate(90)]
    return (
        saved("JPEG", exif=exif),
        saved("JPEG", progressive=True, comment=TOLD),
        saved("JPEG", "L"),
        saved("JPEG", "CMYK"),
        saved("PNG", exif=exif),
        saved("PNG", "P"),
        saved("PNG", "RGBA"),
        saved("PNG", "I;16"),
        saved("PNG", "1"),
        saved("PNG", "LA"),
        saved("WEBP", exif=exif),
        saved("WEBP", "RGBA", lossless=True, xmp=TOLD),
        saved("GIF", "P", save_all=True, append_images=frames, comment=TOLD),
        saved("WEBP", save_all=True, append_images=frames),
        saved("BMP"),
        saved("BMP", "P"),
        saved("AVIF", exif=exif),
        saved("AVIF", "RGBA"),
        saved("TIFF"),
        b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
        saved("PNG") + b"PK\x03\x04<?php",
        saved("GIF", "P") + b"/*<script>alert(1)</script>*/",
        saved("JPEG") + saved("PNG"),
        saved("ICO"),
        saved("PPM"),
    )


# --- Files


def as_csv(records: list[dict[str, Any]], delimiter: str = ",", quoting: int = csv.QUOTE_MINIMAL) -> bytes:
    out = io.StringIO()
    written = csv.writer(out, delimiter=delimiter, quoting=quoting)  # type: ignore[arg-type]
    headers = list(dict.fromkeys(name for record in records for name in record))
    written.writerow(headers)
    written.writerows([cell(record.get(name, "")) for name in headers] for record in records)
    return out.getvalue().encode("utf-8", "surrogatepass")


def cell(value: Any) -> str:
    text = json.dumps(value) if isinstance(value, (dict, list)) else str(value)
    return text.replace("\0", "\\0")


def as_json(records: Any) -> bytes:
    """With NaN and Infinity, as Python writes them, and half surrogates escaped."""
    return json.dumps(records).encode()


def as_lines(records: Any) -> bytes:
    return b"\n".join(json.dumps(record).encode() for record in (records if isinstance(records, list) else [records]))


def as_parquet(records: list[dict[str, Any]]) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(records), out)
    return out.getvalue()


def as_zip(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return out.getvalue()


@cache
def files() -> dict[str, tuple[bytes, ...]]:
    """By the format that the product calls each."""
    png, jpeg = pictures()[6], pictures()[1]
    with_pictures = [record | {"image": "a.png"} for record in POSTS[:2]]
    held = [record | {"image": {"bytes": png, "path": "a.png"}} for record in POSTS]
    return {
        "csv": (
            as_csv(POSTS),
            as_csv(POSTS, ";", csv.QUOTE_ALL),
            as_csv(RANKED),
            as_csv(CELLS),
            as_csv(POSTS, "|"),
            b"text\n",
            b"text\ngm\n",
        ),
        "tsv": (as_csv(POSTS, "\t"), as_csv(RANKED, "\t")),
        "json": (as_json(POSTS), as_json({"count": 2, "rows": POSTS}), as_json(RANKED), as_json(CELLS), as_json([])),
        "jsonl": (as_lines(POSTS), as_lines(RANKED), as_lines(CELLS)),
        "parquet": (as_parquet(POSTS), as_parquet(held), as_parquet(RANKED)),
        "sharegpt": (as_json(CONVERSATIONS), as_lines(CONVERSATIONS)),
        "label_studio": (as_json(TASKS), as_lines(TASKS)),
        "fourchan": (as_json(THREAD[0]), as_json([THREAD[1]])),
        "casting_vote": (as_lines(OURS), as_json(OURS)),
        "images": (
            as_zip({"a.png": png, "bullish/b.jpg": jpeg}),
            as_zip({"posts.csv": as_csv(with_pictures), "a.png": png}),
            as_zip({"posts.jsonl": as_lines(OURS), "dataset.json": b"{}"}, zipfile.ZIP_STORED),
            as_zip({"x/train.json": as_json(CONVERSATIONS), "x/a.png": png}),
            as_zip({"data.parquet": as_parquet(POSTS)}),
            png,
            jpeg,
        ),
    }


ENDINGS = {"images": "zip", "sharegpt": "json", "label_studio": "json", "fourchan": "json", "casting_vote": "jsonl"}
RECORDS = {
    "csv": POSTS,
    "tsv": RANKED,
    "json": CELLS,
    "jsonl": RANKED,
    "parquet": POSTS,
    "sharegpt": CONVERSATIONS,
    "label_studio": TASKS,
    "fourchan": THREAD,
    "casting_vote": OURS,
}
