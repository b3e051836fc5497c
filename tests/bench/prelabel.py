"""Pre-labelling with the tiny model: posts a second and memory, at 1,000 and at 10,000 posts, every tenth with a
picture; and what a threshold means and settling cost afterwards.

Baseline: the same process asked about the same posts, all of them in one file and nothing stored. The model is the
demo's; how right it is does not matter here.
"""

import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from tests.bench import ground

SIZES = (1_000, 10_000)
KNOWN = 300
FORMS = 60  # pictures that are drawn; each is shown by many posts


def main() -> None:
    for posts in SIZES:
        subprocess.run([sys.executable, "-m", "tests.bench.prelabel", str(posts)], check=True)


def measure(posts: int) -> None:
    ground.django_on_fresh_database("prelabel")
    from django.conf import settings

    settings.MEDIA_ROOT = settings.VAR_DIR / "media"
    from modeling.models import Evaluation
    from modeling.prelabelling import applying, candidates, prelabelling, thresholds

    project = fill(posts)
    run = trained(project)
    made = prelabelling.ask(project, None, run, queue=False)
    watch = Memory()
    took = ground.seconds(lambda: prelabelling.carry_out(made))
    made.refresh_from_db()
    assert made.state == "done", made.error
    pace = made.used["rate"]
    print(f"{posts:9,} posts: asked and voted on        {took:7.1f} s, {posts / took:6.1f} posts a second; "
          f"the process by itself {pace:.1f}")  # fmt: skip
    print(f"{'':9}  at most on disk at once        {watch.most_files:,} files of posts and pictures")
    print(f"{'':9}  peak memory                    {ground.peak_megabytes():.0f} MB here, "
          f"{watch.child:.0f} MB in the process that holds the model")  # fmt: skip
    watch.over.set()
    bare = alone(made, run)
    print(f"{posts:9,} posts: the process alone (base)  {bare:7.1f} s, {posts / bare:6.1f} posts a second; "
          f"pre-labelling takes {took / bare:.2f} times as long")  # fmt: skip
    meaning: dict[str, Any] = {}
    counted = ground.seconds(lambda: meaning.update(candidates.count(made)))
    reckoned = ground.seconds(lambda: thresholds.reckon(meaning, made.validation, 0.5, 1.5))
    print(f"{posts:9,} posts: what thresholds mean      {counted:7.2f} s to count once, {1000 * reckoned:.1f} ms each")
    assert prelabelling.apply(made, None, threshold=0.5, queue=False, growth=0)
    settled = ground.seconds(lambda: prelabelling.carry_out(made))
    made.refresh_from_db()
    n = sum(made.result["settled"].values())
    print(f"{n:9,} posts: settled, doubts chosen    {settled:7.2f} s, {n / settled:,.0f} a second")
    assert Evaluation.objects.count() == 0
    assert applying.settled(made)


def fill(posts: int) -> Any:
    """Drawn ones: so many that people labelled, to learn from, and the others to be asked about."""
    from annotate import images
    from annotate.demo import draw_posts
    from annotate.models import Image, Post
    from tests.make import EPOCH, make_post, make_project

    project = make_project("Stream", audit_rate=0)
    stored = []
    drawn = list(draw_posts(KNOWN + FORMS))
    for post in drawn:
        seen = images.inspect(post.picture, max_bytes=2**24, max_pixels=2**24)
        images.store(seen)
        image, _ = Image.objects.get_or_create(sha256=seen.sha256, defaults={
            "format": seen.format, "width": seen.width, "height": seen.height, "bytes": len(seen.data),
            "fingerprint": seen.fingerprint,
        })  # fmt: skip
        stored.append(image)
    for number, post in enumerate(drawn[:KNOWN]):
        make_post(project, post.text, post.label, label_source="review", image=stored[number])
    forms = list(zip(drawn[KNOWN:], stored[KNOWN:], strict=True))
    Post.objects.bulk_create(
        [
            Post(project=project, external_id=f"w{n}", text=f"{forms[n % FORMS][0].text} {n}", at=EPOCH,
                 content_hash=f"{n:064x}", image=None if n % 10 else forms[n // 10 % FORMS][1])
            for n in range(posts)
        ],
        batch_size=2000,
    )  # fmt: skip
    return project


def trained(project: Any) -> Any:
    from modeling.datasets import dataset
    from modeling.datasets.recipe import Recipe
    from modeling.training import runner, training_presets

    frozen = dataset.ask(project, None, "v1", Recipe(validation=0.3, test=0), queue=False)
    dataset.carry_out(frozen)
    run = runner.start(project, None, frozen, training_presets.named("tiny").configured(), queue=False)
    runner.carry_out(run)
    assert run.state == "done", run.error
    return run


class Memory:
    """Of the child and of its folder, looked at while it works."""

    def __init__(self) -> None:
        self.child, self.most_files, self.over = 0.0, 0, threading.Event()
        threading.Thread(target=self.look, daemon=True).start()

    def look(self) -> None:
        import psutil
        from django.conf import settings

        while not self.over.wait(0.2):
            for process in psutil.Process().children():
                try:
                    if "modeling.gpu.predict" in process.cmdline():
                        self.child = max(self.child, process.memory_info().rss / 2**20)
                except psutil.Error:
                    continue
            there = Path(settings.VAR_DIR / "prelabelling").glob("*/*/*")
            self.most_files = max(self.most_files, sum(1 for _ in there))


def alone(made: Any, run: Any) -> float:
    """All posts in one file, as an evaluation has them; the time from its first question on."""
    from modeling.export import pictures
    from modeling.gpu.progress import FILE
    from modeling.models import PreLabelling
    from modeling.prelabelling import asking, feeding
    from modeling.training import run_folder

    PreLabelling.objects.filter(pk=made.pk).update(voter=other_voter(run))
    made.refresh_from_db()
    folder = feeding.prepare(made)
    feed = feeding.Feed.of(made, folder, lambda asked: asked)
    posts = list(feeding.unasked(made))
    run_folder.write_members(pictures.by_name({one.image for one in posts if one.image}), folder)
    lines = [json.dumps(feed.line(one)) for one in posts]
    (folder / "posts" / "asked.jsonl").write_text("\n".join(lines) + "\n")
    began = time.perf_counter()
    subprocess.run([*asking.COMMAND, str(folder)], check=True)
    took = time.perf_counter() - began
    told = [json.loads(line) for line in (folder / FILE).read_text().splitlines()]
    assert told[-1]["kind"] == "done"
    PreLabelling.objects.filter(pk=made.pk).update(voter=made_voter(run))
    made.refresh_from_db()
    return took


def other_voter(run: Any) -> Any:
    from annotate.models import Voter

    return Voter.objects.get_or_create(
        project=run.project, name="nobody yet", defaults={"provider": "model", "fingerprint": "0" * 64, "heard": False}
    )[0]


def made_voter(run: Any) -> Any:
    from modeling.prelabelling.prelabelling import voter_of

    return voter_of(run, 0)


if __name__ == "__main__":
    measure(int(sys.argv[1])) if len(sys.argv) > 1 else main()
