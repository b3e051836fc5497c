"""Import of 10,000 text rows with two votes each, and of posts with pictures of about 40 KB.

Baselines in the same run: the bare COPY of the same rows into two plain tables, and bare decoding of the same pictures.
"""

import csv
import io
import os
import random
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.bench import ground

ROWS = 10_000
PICTURES = 1_500
LABELS = ("bearish", "neutral", "bullish")


def write_rows(path: Path, count: int, seed: int = 1) -> None:
    dice = random.Random(seed)
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "text", "created_at", "gpt-4o-mini", "gemini"])
        for n in range(count):
            first = dice.choice(LABELS)
            second = first if dice.random() < 0.85 else dice.choice(LABELS)
            text = f"{n} to the moon, or not, who knows " + " ".join(
                dice.choices(("rug", "dip", "pump", "gm", "hold", "sell"), k=12)
            )
            rows.writerow([f"p{seed}-{n}", text, "2025-11-14T10:00:00Z", first, second])


def bare_copy(path: Path) -> None:
    from django.db import connection

    with connection.cursor() as cursor, path.open() as file:
        cursor.execute("CREATE TEMP TABLE bare (id text, text text, at timestamptz, one text, two text)")
        with cursor.copy("COPY bare FROM STDIN WITH (FORMAT csv, HEADER)") as copy:
            copy.write(file.read())
        cursor.execute("DROP TABLE bare")


def draw_pictures(path: Path, count: int) -> list[bytes]:
    """Photograph-like noise over shapes, so that JPEG has as much to do as with a real meme."""
    import numpy as np
    from PIL import Image, ImageDraw

    dice = random.Random(3)
    kept = []
    with zipfile.ZipFile(path, "w") as archive:
        for n in range(count):
            noise = np.random.default_rng(n).normal(128, 16, (640, 640, 3)).clip(0, 255).astype("uint8")
            image = Image.fromarray(noise).resize((640, 640))
            pen = ImageDraw.Draw(image)
            for _ in range(12):
                box = sorted(dice.choices(range(640), k=2)) + sorted(dice.choices(range(640), k=2))
                pen.rectangle((box[0], box[2], box[1], box[3]), fill=tuple(dice.choices(range(256), k=3)))
            out = io.BytesIO()
            image.save(out, "JPEG", quality=72)
            archive.writestr(f"{n}.jpg", out.getvalue())
            kept.append(out.getvalue())
    return kept


def bare_decode(pictures: list[bytes]) -> None:
    from PIL import Image

    for data in pictures:
        Image.open(io.BytesIO(data)).load()


def load(path: Path, slug: str) -> None:
    from django.core.management import call_command

    call_command("import_posts", str(path), project=slug, stdout=io.StringIO())


def main() -> None:
    ground.django_on_fresh_database("import")
    from tests.make import make_project

    with TemporaryDirectory() as folder:
        texts(Path(folder), make_project)
        pictures(Path(folder), make_project)


def texts(folder: Path, make_project) -> None:  # type: ignore[no-untyped-def]
    path = folder / "rows.csv"
    write_rows(path, ROWS)
    load(path, make_project("Warm-up").slug)
    bare = min(ground.seconds(lambda: bare_copy(path)) for _ in range(3))
    ours = [ground.seconds(lambda: load(path, make_project().slug)) for _ in range(5)]
    print(
        f"{ROWS:,} text rows with two votes: median {ground.median(ours):.2f} s, worst {max(ours):.2f} s; "
        f"a bare COPY of the file takes {bare:.3f} s"
    )
    again = make_project()
    load(path, again.slug)
    print(f"the same file a second time: {ground.seconds(lambda: load(path, again.slug)):.2f} s")
    before = ground.peak_megabytes()
    large = folder / "large.csv"
    write_rows(large, 20 * ROWS, seed=2)
    took = ground.seconds(lambda: load(large, make_project().slug))
    print(
        f"{20 * ROWS:,} rows: {20 * ROWS / took:,.0f} rows a second; "
        f"peak memory {before:.0f} MB before, {ground.peak_megabytes():.0f} MB after"
    )


def pictures(folder: Path, make_project) -> None:  # type: ignore[no-untyped-def]
    path = folder / "pictures.zip"
    drawn = draw_pictures(path, PICTURES)
    average = sum(map(len, drawn)) / len(drawn) / 1024
    bare = ground.seconds(lambda: bare_decode(drawn))
    before = ground.peak_megabytes()
    cpu = os.times()
    took = ground.seconds(lambda: load(path, make_project().slug))
    spent = os.times().user + os.times().system - cpu.user - cpu.system
    print(
        f"{PICTURES:,} pictures of {average:.0f} KB: {PICTURES / took:.0f} a second, "
        f"{1000 * spent / PICTURES:.1f} ms CPU each; bare decoding on one core {PICTURES / bare:.0f} a second; "
        f"peak memory {before:.0f} MB before, {ground.peak_megabytes():.0f} MB after"
    )
    print(
        f"the same pictures again, into another project: "
        f"{PICTURES / ground.seconds(lambda: load(path, make_project().slug)):.0f} a second"
    )


if __name__ == "__main__":
    main()
