"""From the key press to the next post on the screen: a real browser over a real server, near and 300 ms away.

Drawn posts with their pictures; a decision every 0.6 seconds, with the keys 1, 2 and 3. The clock runs from the
browser's own time of the key press until the frame in which another post stands, its picture decoded, is handed over.
"""

import os
import sys
from typing import Any

from tests.bench import ground

DECISIONS = 200
PACE = 600  # milliseconds
PORT = 8790
FAR = 300  # milliseconds there and back
FAR_OFF = f"{FAR} ms away"

CLOCK = """
window.times = [];
const one = (name) => document.querySelector(`#review ${name}`);
const now = () => [one("[data-text]").textContent, one("[data-stage] img")];
addEventListener("keydown", (event) => {
  if (!"123".includes(event.key)) return;
  const [before, picture] = now();
  const look = () => {
    const [text, image] = now();
    const there = (text !== before || image !== picture) && (!image || (image.complete && image.naturalWidth));
    if (!there || !one("[data-waiting]").hidden) return requestAnimationFrame(look);
    const handedOver = new MessageChannel();
    handedOver.port1.onmessage = () => window.times.push(performance.now() - event.timeStamp);
    handedOver.port2.postMessage(0);
  };
  requestAnimationFrame(look);
}, true);
"""


def make_queue(posts: int) -> tuple[str, dict[str, str]]:
    from itertools import islice

    from annotate.first_start import demo_rows
    from annotate.importing.load import Loader, batches
    from annotate.models import Disagreement, ImportRun, Post
    from tests.make import make_member, make_project

    project = make_project("Screen", audit_rate=0, check_rate=0, double_rate=0)
    run = ImportRun.objects.create(project=project, name="drawn", state="queued", holdout=False)
    run.claim()
    for batch in batches(islice(demo_rows(), posts)):
        Loader(run).load(batch)
    Post.objects.filter(project=project).update(state="contested", label=None, label_source="")
    waiting = Post.objects.filter(project=project).values_list("pk", flat=True)
    Disagreement.objects.bulk_create(Disagreement(project=project, post_id=pk, why="split") for pk in waiting)
    return project.slug, ground.session_cookie(make_member(project))


def measure(
    browser: Any, address: str, slug: str, cookies: dict[str, str], latency: int, decisions: int
) -> list[float]:
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    context.add_cookies([{"name": name, "value": value, "url": address} for name, value in cookies.items()])
    page = context.new_page()
    page.add_init_script(CLOCK)
    page.goto(f"{address}/p/{slug}/review")
    page.wait_for_timeout(2000)
    if latency:
        network = context.new_cdp_session(page)
        network.send("Network.enable")
        conditions = {"offline": False, "latency": latency, "downloadThroughput": -1, "uploadThroughput": -1}
        network.send("Network.emulateNetworkConditions", conditions)
    for number in range(decisions):
        page.wait_for_timeout(PACE)
        page.keyboard.press(str(1 + number % 3))
    page.wait_for_timeout(PACE + 5 * latency)
    times: list[float] = page.evaluate("window.times")
    context.close()
    return [time / 1000 for time in times]


def main(decisions: int) -> None:
    ground.django_on_fresh_database("review_screen")
    from playwright.sync_api import sync_playwright

    from annotate.models import Review
    from tests.browser.chromium import found

    rows = [
        (name, latency, *make_queue(decisions + 10)) for name, latency in (("beside the server", 0), (FAR_OFF, FAR))
    ]
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"  # Playwright keeps an event loop on this thread
    with ground.server(port=PORT) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found(), args=["--disable-background-networking"])
        print(f"{decisions} decisions, one every {PACE} ms, Chromium {browser.version}: key press to next post painted")
        for name, latency, slug, cookies in rows:
            times = measure(browser, address, slug, cookies, latency, decisions)
            kept = Review.objects.filter(project__slug=slug).count()
            print(f"  {name:18} {ground.milliseconds(times)}, longest {1000 * max(times):.1f} ms")
            if len(times) != decisions or kept != decisions:
                sys.exit(f"{decisions} keys were pressed, {len(times)} posts were painted, {kept} answers are stored")
        browser.close()


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else DECISIONS)
