"""The pictures in README, taken of a running site with a dataset v1, a run 1 and some evaluations in its demo project:
make screenshots SITE=http://127.0.0.1:8000/login/1/…
"""

import sys
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import sync_playwright

from tests.browser.chromium import found

DOCS = Path(__file__).resolve().parent.parent.parent / "docs"
PAGES = {
    "home": "/p/demo/",
    "posts": "/p/demo/posts",
    "review": "/p/demo/review",
    "dataset": "/p/demo/datasets/v1",
    "run": "/p/demo/runs/1",
    "evaluations": "/p/demo/evaluations",
}


def main(login_link: str) -> None:
    address = "{0.scheme}://{0.netloc}".format(urlsplit(login_link))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found(), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 800}, color_scheme="light")
        page.goto(login_link)
        for name, path in PAGES.items():
            page.goto(address + path)
            page.wait_for_load_state("networkidle")
            page.screenshot(path=DOCS / f"{name}.png")
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1])
