"""The pictures of README and docs/journey.md, in the order of the journey: `make screenshots`

It starts a site of its own under var/screenshots and lets its demo project go the whole way by the pages (voters, two
people, a dataset, a tiny model, evaluations, pre-labelling), which takes seven minutes on two cores, and looks at each
page. SITE=the login link of a running site takes that one instead, whose demo project has a dataset v1, a run,
evaluations and a pre-labelling.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from urllib.parse import urlsplit

from PIL import Image
from playwright.sync_api import Page, ViewportSize, expect, sync_playwright

from tests.browser.chromium import found
from tests.ports import free_port

ROOT = Path(__file__).resolve().parent.parent.parent
DOCS, VAR = ROOT / "docs", ROOT / "var" / "screenshots"
SIZE, TALLER = ViewportSize(width=1280, height=800), ViewportSize(width=1280, height=1000)
LARGEST = 150_000  # bytes of a picture
COLOURS = (256, 128, 64, 32)
PATIENCE = 20 * 60  # seconds for a step, on a machine that is busy
AUDITED = "70"  # % of what the voters settle: in minutes as much as a project of months has
DECISIONS = 100  # of each person
READ = 1800  # milliseconds
ERRS = 40  # once in so many decisions
PLAIN = "’"  # what comes after it are emoji
THRESHOLD = "0.7"  # a tiny model is seldom surer
KEYS = {"bearish": "1", "neutral": "2", "bullish": "3"}
SEEDS = ("1", "2", "7")
RIVALS = ("consensus", "majority", "text")
TABLE = """id,tweet,label,posted_at,gpt-4o-mini,gpt-4o-mini_confidence,gemini-2.5-flash-lite
1,gm. we are so back,bullish,2025-11-14T09:00Z,bullish,0.93,bullish
2,my portfolio is a crime scene,bearish,2025-11-14T09:02Z,bearish,0.88,neutral
3,sold it all, gm,bearish,2025-11-14T09:05Z,neutral,0.71,bearish
4,buying this dip with the rent,bullish,2025-11-14T09:09Z,bearish,0.52,bullish
"""


def main(login_link: str) -> None:
    with site() if not login_link else given(login_link) as (link, grow):
        address = "{0.scheme}://{0.netloc}".format(urlsplit(link))
        expect.set_options(timeout=60_000)  # the queues have the same cores
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=found(), args=["--no-sandbox"])

            def opened() -> Page:
                """A browser of somebody's own."""
                page = browser.new_page(viewport=SIZE, color_scheme="light", base_url=address, reduced_motion="reduce")
                page.set_default_timeout(60_000)
                return page

            page = opened()
            page.goto(link)
            grow(page, opened)
            for name, look in PAGES.items():
                look(page)
                take(page, name)
            browser.close()


@contextmanager
def given(login_link: str) -> Iterator[tuple[str, "Grow"]]:
    yield login_link, lambda page, opened: None


@contextmanager
def site() -> Iterator[tuple[str, "Grow"]]:
    """From the first start on. What takes long is said, because somebody waits for it."""
    shutil.rmtree(VAR, ignore_errors=True)
    VAR.mkdir(parents=True)
    port = free_port()
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
    "VAR_DIR": str(VAR), "LOG_LEVEL": "ERROR"
}  # fmt: skip


Grow = Callable[[Page, Callable[[], Page]], None]


def wait(for_what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not for_what():
        if time.monotonic() > deadline:
            sys.exit("Waited too long.")
        time.sleep(0.2)


def grow(page: Page, opened: Callable[[], Page]) -> None:
    """The demo's voters have been asked at the first start; people, a model and its measures come now."""
    for step in (voted, audited, lambda page: reviewed(page, joined(page, opened())), frozen, trained, measured, asked):
        step(page)


def voted(page: Page) -> None:
    say("Waiting for the demo's voters.")
    wait(lambda: funnel(page)["waiting"] == 0)


def funnel(page: Page) -> dict[str, int]:
    told: dict[str, int] = page.request.get("/api/projects/demo").json()["funnel"]
    return told


def audited(page: Page) -> None:
    """Of a handful of audits the page of quality says, rightly, that they tell little."""
    page.goto("/p/demo/settings")
    page.get_by_label("Audited blind, in %").fill(AUDITED)
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Saved.")).to_be_visible()


def joined(page: Page, newcomer: Page) -> Page:
    page.goto("/p/demo/people")
    page.get_by_label("For whom").fill("Kim")
    page.get_by_role("button", name="Make an invitation").click()
    newcomer.goto(page.get_by_label("Link of the invitation").input_value())
    newcomer.get_by_label("Username").fill("kim")
    newcomer.get_by_label("Password", exact=True).fill("seven green candles")
    newcomer.get_by_label("The same again").fill("seven green candles")
    newcomer.get_by_role("button", name="Join").click()
    return newcomer


def reviewed(*pages: Page) -> None:
    say(f"{len(pages)} people decide {DECISIONS} posts each.")
    truth = drawn(pages[0])
    people = [Person(page, truth, errs=number) for number, page in enumerate(pages)]
    for page in pages:
        page.goto("/p/demo/review")
        expect(page.locator("#review [name=tab]")).not_to_have_value("")  # its script runs
        page.wait_for_load_state("networkidle")
    for _ in range(DECISIONS):
        pages[0].wait_for_timeout(READ)
        for person in people:
            person.decide()
    for page in pages:
        page.wait_for_load_state("networkidle")


def drawn(page: Page) -> dict[str, dict[str, object]]:
    """What each post was drawn as, by its text: the demo tells it to whoever wants to compare."""
    found, after = {}, ""
    while True:
        listed = page.request.get(f"/api/projects/demo/posts?limit=500&after={after}").json()
        for post in listed["posts"]:
            found[post["text"]] = page.request.get(f"/api/projects/demo/posts/{post['id']}").json()["meta"]
        if not (after := listed["after"]):
            return found


@dataclass
class Person:
    """Somebody who knows, and errs now and then."""

    page: Page
    truth: dict[str, dict[str, object]]
    errs: int  # when for the first time
    decided: int = field(default=0)

    def decide(self) -> None:
        before = self.sees()
        known = self.truth[before[0]]
        self.decided += 1
        label = "neutral" if self.decided % ERRS == self.errs else str(known["drawn as"])
        if known["incongruous"]:
            self.page.keyboard.press("s")
        self.page.keyboard.press(KEYS[label])
        wait(lambda: self.sees() != before)

    def sees(self) -> tuple[str, str]:
        """Two posts may say the same, but not of the same picture."""
        picture = self.page.locator("[data-stage] img").get_attribute("src")
        return self.page.locator("[data-text]").inner_text(), str(picture)


def frozen(page: Page) -> None:
    say("Freezing a dataset.")
    page.goto("/p/demo/datasets/new")
    page.get_by_label("Validation, in %").fill("20")
    page.get_by_label("Name").fill("v1")
    page.get_by_role("button", name="Freeze").click()
    expect(page.get_by_role("heading", name="Download")).to_be_visible(timeout=PATIENCE * 1000)


def trained(page: Page) -> None:
    """More than once: how well so small a model learns from so few posts hangs on the order in which it meets them."""
    for seed in SEEDS:
        say("Training a tiny model.")
        page.goto("/p/demo/runs/new?dataset=v1&recipe=tiny")
        rare = page.locator("form#run details:not([open]) > summary")
        while rare.count():
            rare.first.click()
        page.get_by_label("Seed", exact=True).fill(seed)
        page.get_by_role("button", name="Train", exact=True).click()
        expect(page.get_by_role("heading", name="Receipt")).to_be_visible(timeout=PATIENCE * 1000)


def best(page: Page) -> int:
    """By the validation split, as one chooses."""
    runs = page.request.get("/api/projects/demo/runs").json()
    return int(max(runs, key=lambda run: run["scores"].get("macro_f1", 0))["id"])


def measured(page: Page) -> None:
    say("Measuring the best of them beside others.")
    who = (f"run-{best(page)}", *RIVALS)
    page.goto("/p/demo/evaluations/new")
    places = page.get_by_label("Posts", exact=True)
    places.select_option(places.locator("option", has_text="Locked test set").get_attribute("value"))
    for box in page.locator("input[name=predictor]").all():
        box.set_checked(box.get_attribute("value") in who)
    page.get_by_role("button", name="Ask them").click()
    wait(lambda: states(page) == ["done"] * len(who))


def states(page: Page) -> list[str]:
    return [one["state"] for one in page.request.get("/api/projects/demo/evaluations").json()]


def asked(page: Page) -> None:
    say("Asking it about what is contested still.")
    page.goto(f"/p/demo/prelabellings/new?run={best(page)}")
    page.get_by_label(re.compile("^Those that voters contest")).check()
    page.get_by_label("Threshold").fill(THRESHOLD)
    page.get_by_role("button", name="Ask the model").click()
    expect(page.get_by_role("heading", name="What a threshold means here")).to_be_visible(timeout=PATIENCE * 1000)


def say(sentence: str) -> None:
    print(sentence, flush=True)


# --- What is looked at, in order


def opened(path: str) -> Callable[[Page], None]:
    return lambda page: settle(page, path)


def review(page: Page) -> None:
    """Of a post that any machine's fonts can write."""
    settle(page, "/p/demo/review")
    person = Person(page, drawn(page), errs=ERRS)
    while max(person.sees()[0], default="") > PLAIN:
        person.decide()
    page.wait_for_load_state("networkidle")


def settle(page: Page, path: str) -> None:
    page.set_viewport_size(SIZE)
    page.goto(path)
    page.wait_for_load_state("networkidle")


def preview(page: Page) -> None:
    settle(page, "/p/demo/imports/new")
    page.set_input_files("input[type=file]", {"name": "tweets.csv", "mimeType": "text/csv", "buffer": TABLE.encode()})
    page.get_by_role("button", name="Upload and preview").click()
    page.wait_for_url(re.compile(r"/imports/\d+$"))
    page.wait_for_load_state("networkidle")


def story(page: Page) -> None:
    """Best of one that machines agreed on and people put right."""
    posts = page.locator("main a[href*='/posts/']")
    settle(page, "/p/demo/quality/decided?why=audit&verdict=wrong")
    if not posts.count():
        settle(page, "/p/demo/posts?source=review")
    posts.first.click()
    page.wait_for_load_state("networkidle")
    page.set_viewport_size(TALLER)


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
    "review": review,
    "post": story,
    "quality": opened("/p/demo/quality"),
    "dataset": opened("/p/demo/datasets/v1"),
    "run": lambda page: settle(page, f"/p/demo/runs/{best(page)}"),
    "evaluations": opened("/p/demo/evaluations"),
    "prelabelling": latest("/p/demo/prelabellings", r"/prelabellings/\d+$"),
}


def take(page: Page, name: str) -> None:
    """As few colours as it takes to be small: a page is flat, and a repository is forever."""
    shot = Image.open(BytesIO(page.screenshot())).convert("RGB")
    for colours in COLOURS:
        packed = BytesIO()
        # The colours of labels are rare on a page, and the usual way gives them up first.
        few = shot.quantize(colours, Image.Quantize.MAXCOVERAGE, kmeans=1, dither=Image.Dither.NONE)
        few.save(packed, "PNG", optimize=True)
        if packed.tell() <= LARGEST:
            break
    (DOCS / f"{name}.png").write_bytes(packed.getvalue())
    print(f"docs/{name}.png, {packed.tell() // 1024} KB", flush=True)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "")
