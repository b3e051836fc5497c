"""The pictures of README and docs/journey.md, in the order of the journey: `make screenshots`

It starts a site of its own under var/screenshots, lets its demo project go the whole way (voters, people, a dataset, a
tiny model, evaluations, pre-labelling), and looks at each page. SITE=the login link of a running site takes that one
instead, whose demo project has a dataset v1, a run 1, evaluations and a pre-labelling.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from urllib.parse import urlsplit

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from tests.browser.chromium import found

ROOT = Path(__file__).resolve().parent.parent.parent
DOCS, VAR = ROOT / "docs", ROOT / "var" / "screenshots"
SIZE, LARGEST = {"width": 1280, "height": 800}, 150_000  # bytes of a picture
COLOURS = (256, 128, 64, 32)
PATIENCE = 20 * 60  # seconds for a step, on a machine that is busy
DECISIONS = 60
KEYS = {"bearish": "1", "neutral": "2", "bullish": "3"}
PREDICTORS = ("run-1", "consensus", "majority", "text")
TABLE = """id,tweet,mood,posted,gpt-4o-mini,gpt-4o-mini_confidence,gemini-2.5-flash-lite
1,gm. we are so back,bullish,2025-11-14T09:00Z,bullish,0.93,bullish
2,my portfolio is a crime scene,bearish,2025-11-14T09:02Z,bearish,0.88,neutral
3,wen fees lower?,neutral,2025-11-14T09:05Z,neutral,0.71,neutral
4,buying this dip with the rent,bullish,2025-11-14T09:09Z,bearish,0.52,bullish
"""


def main(login_link: str) -> None:
    with site() if not login_link else given(login_link) as (link, grow):
        address = "{0.scheme}://{0.netloc}".format(urlsplit(link))
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=found(), args=["--no-sandbox"])
            page = browser.new_page(viewport=SIZE, color_scheme="light", base_url=address, reduced_motion="reduce")
            page.goto(link)
            grow(page)
            for name, look in PAGES.items():
                look(page)
                take(page, name)
            browser.close()


@contextmanager
def given(login_link: str) -> Iterator[tuple[str, Callable[[Page], None]]]:
    yield login_link, lambda page: None


@contextmanager
def site() -> Iterator[tuple[str, Callable[[Page], None]]]:
    """From the first start on. What takes long is said, because somebody waits for it."""
    shutil.rmtree(VAR, ignore_errors=True)
    VAR.mkdir(parents=True)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    log = VAR / "log.txt"
    with log.open("w") as said:
        up = subprocess.Popen([*MANAGE, "up", "--port", str(port)], cwd=ROOT, env=ALONE, stdout=said, stderr=said)
    try:
        wait(lambda: "Log in once with " in log.read_text() or up.poll() is not None)
        lines = [line for line in log.read_text().splitlines() if line.startswith("Log in once with ")]
        if not lines:
            sys.exit(f"The site did not start: {log.read_text()[-500:]}")
        yield lines[0].split()[-1], grow
    finally:
        up.send_signal(signal.SIGTERM)
        up.wait()


MANAGE = [sys.executable, "manage.py"]
ALONE = {name: value for name, value in os.environ.items() if name not in {"DATABASE_URL", "SITE_URL"}} | {
    "VAR_DIR": str(VAR), "GPU_QUEUE": "off", "LOG_LEVEL": "ERROR"
}  # fmt: skip


def wait(for_what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not for_what():
        if time.monotonic() > deadline:
            sys.exit("Waited too long.")
        time.sleep(0.5)


def grow(page: Page) -> None:
    """The demo's voters have been asked at the first start; people, a model and its measures come now."""
    print("Waiting for the demo's voters.", flush=True)
    wait(lambda: funnel(page)["waiting"] == 0)
    print(f"Deciding {DECISIONS} posts.", flush=True)
    decide(page, DECISIONS)
    for command in (
        "freeze --project demo --name v1",
        "train --project demo --dataset v1 --base tiny",
        *(f"evaluate --project demo --predictor {name} --on holdout" for name in PREDICTORS),
        "prelabel --project demo --run 1 --posts state=contested",
    ):  # fmt: skip
        print(f"manage.py {command}", flush=True)
        ran = subprocess.run(
            [*MANAGE, *command.split()], cwd=ROOT, env=ALONE, capture_output=True, text=True, input="n\n"
        )
        if ran.returncode:
            print(ran.stderr[-500:], flush=True)


def decide(page: Page, posts: int) -> None:
    """As somebody who knows: the demo's posts were drawn, and tell as what."""
    ids, after = {}, ""
    while True:
        listed = page.request.get(f"/api/projects/demo/posts?limit=500&after={after}").json()
        ids |= {post["text"]: post["id"] for post in listed["posts"]}
        if not (after := listed["after"]):
            break
    page.goto("/p/demo/review")
    for _ in range(posts):
        page.wait_for_load_state("networkidle")
        known = page.request.get(f"/api/projects/demo/posts/{ids[page.locator('[data-text]').inner_text()]}").json()
        page.wait_for_timeout(1500)  # reading
        page.keyboard.press(KEYS[known["meta"]["drawn as"]])
        page.wait_for_timeout(500)


def funnel(page: Page) -> dict[str, int]:
    told: dict[str, int] = page.request.get("/api/projects/demo").json()["funnel"]
    return told


# --- What is looked at, in order


def opened(path: str) -> Callable[[Page], None]:
    return lambda page: settle(page, path)


def settle(page: Page, path: str) -> None:
    page.goto(path)
    page.wait_for_load_state("networkidle")


def preview(page: Page) -> None:
    settle(page, "/p/demo/imports/new")
    page.set_input_files("input[type=file]", {"name": "tweets.csv", "mimeType": "text/csv", "buffer": TABLE.encode()})
    page.get_by_role("button", name="Upload and preview").click()
    page.wait_for_url(re.compile(r"/imports/\d+$"))
    page.wait_for_load_state("networkidle")


def story(page: Page) -> None:
    settle(page, "/p/demo/posts?source=review")
    page.locator("main a[href*='/posts/']").first.click()
    page.wait_for_load_state("networkidle")


def latest(path: str, kind: str) -> Callable[[Page], None]:
    """The first of a list."""

    def look(page: Page) -> None:
        settle(page, path)
        addresses = [str(link.get_attribute("href")) for link in page.locator("main a").all()]
        settle(page, next(address for address in addresses if re.search(kind, address)))

    return look


PAGES: dict[str, Callable[[Page], None]] = {
    "import": preview,
    "votes": opened("/p/demo/votes"),
    "home": opened("/p/demo/"),
    "review": opened("/p/demo/review"),
    "post": story,
    "quality": opened("/p/demo/quality"),
    "dataset": opened("/p/demo/datasets/v1"),
    "run": opened("/p/demo/runs/1"),
    "evaluations": opened("/p/demo/evaluations"),
    "prelabelling": latest("/p/demo/prelabellings", r"/prelabellings/\d+$"),
}


def take(page: Page, name: str) -> None:
    """As few colours as it takes to be small: a page is flat, and a repository is forever."""
    shot = Image.open(BytesIO(page.screenshot())).convert("RGB")
    for colours in COLOURS:
        packed = BytesIO()
        shot.quantize(colours, dither=Image.Dither.NONE).save(packed, "PNG", optimize=True)
        if packed.tell() <= LARGEST:
            break
    (DOCS / f"{name}.png").write_bytes(packed.getvalue())
    print(f"docs/{name}.png, {packed.tell() // 1024} KB", flush=True)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "")
