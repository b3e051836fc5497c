"""A real Chromium before a live server. Whatever a page complains of in its console fails the test."""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as site
from django.core.signals import request_finished, request_started
from django.test import Client
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, expect, sync_playwright

from annotate.models import User

from .chromium import MISSING, found

AXE = (Path(__file__).parent.parent / "vendor" / "axe.min.js").read_text()
# All of its rules for WCAG 2.2 AA, of which one is off by default, and its good practice.
RUN_AXE = """
axe.run({resultTypes: ["violations"], rules: {"target-size": {enabled: true}}}).then((found) => found.violations)
"""
expect.set_options(timeout=15_000)  # other tests may train models on the same two cores
OFFLINE = [
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE localhost , EXCLUDE 127.0.0.1",
    "--no-proxy-server",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# Chromium names a broken content policy in words that change; this says it in ours.
SAY_WHAT_THE_POLICY_REFUSED = """
document.addEventListener("securitypolicyviolation", (event) =>
  console.error(`Content-Security-Policy: ${event.effectiveDirective} refused ${event.blockedURI} ${event.sample}`));
"""


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Playwright keeps an event loop on this thread, and Django would take our queries for asynchronous code."""
    path = found()
    if path is None:
        pytest.fail(MISSING, pytrace=False)
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=OFFLINE)
        yield browser
        browser.close()
    del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@pytest.fixture
def complaints() -> list[str]:
    """What the page's console said in red; a test that provokes an error clears it."""
    return []


@pytest.fixture
def screen() -> dict[str, Any]:
    """What differs between the browsers of a module: its size, its touch, whether it runs scripts."""
    return {}


@pytest.fixture
def _answered(live_server: Any) -> Iterator[None]:
    """A page may leave a request behind, and one that is under way holds up the emptying of the tables."""
    under_way: list[bool] = []
    started, finished = (lambda **_: under_way.append(True)), (lambda **_: under_way and under_way.pop())
    request_started.connect(started)
    request_finished.connect(finished)
    yield
    calm = 0
    for _ in range(500):
        calm = 0 if under_way else calm + 1
        if calm == 5:
            break
        time.sleep(0.01)
    request_started.disconnect(started)
    request_finished.disconnect(finished)


@pytest.fixture
def new_context(
    browser: Browser, live_server: Any, screen: dict[str, Any], _answered: None
) -> Iterator[Callable[[], BrowserContext]]:
    """Each is a browser of its own, with its own cookies."""
    opened = []

    def new() -> BrowserContext:
        # Without motion there is no half-faded state for a test to meet.
        here = {"base_url": live_server.url, "reduced_motion": "reduce", "locale": "en-GB", "timezone_id": "UTC"}
        context = browser.new_context(**here, **screen)
        context.set_default_timeout(30_000)
        opened.append(context)
        return context

    yield new
    for context in opened:
        context.close()


@pytest.fixture
def context(new_context: Callable[[], BrowserContext]) -> BrowserContext:
    return new_context()


@pytest.fixture
def open_page(live_server: Any, complaints: list[str]) -> Callable[[BrowserContext], Page]:
    """A tab whose complaints are heard."""

    def console(message: ConsoleMessage) -> None:
        refused_form = "status of 422" in message.text  # the browser reports it, and the page says what to mend
        if message.type == "error" and not refused_form:
            complaints.append(f"{message.text} ({message.location.get('url', '')})")

    def request(asked: Request) -> None:
        if not asked.url.startswith((live_server.url, "data:", "blob:")):
            complaints.append(f"The page asked for {asked.url}")

    def opened(context: BrowserContext) -> Page:
        page = context.new_page()
        page.add_init_script(SAY_WHAT_THE_POLICY_REFUSED)
        page.on("console", console)
        page.on("request", request)
        page.on("pageerror", lambda error: complaints.append(f"Uncaught: {error}"))
        return page

    return opened


@pytest.fixture
def page(context: BrowserContext, open_page: Callable[[BrowserContext], Page], complaints: list[str]) -> Iterator[Page]:
    page = open_page(context)
    yield page
    page.wait_for_load_state()
    assert not complaints, "The page complained:\n" + "\n".join(complaints)


@pytest.fixture
def login(live_server: Any) -> Callable[[Page, User], None]:
    def log_in(page: Page, user: User) -> None:
        client = Client()
        client.force_login(user)
        name = site.SESSION_COOKIE_NAME
        page.context.add_cookies([{"name": name, "value": client.cookies[name].value, "url": live_server.url}])

    return log_in


@pytest.fixture
def axe() -> Callable[[Page], None]:
    return everybody_can_read


def everybody_can_read(page: Page) -> None:
    """In both colour schemes; by the debugger's door, so that the page's content policy need not let axe in."""
    page.evaluate(AXE)
    seen: dict[str, list[str]] = {}
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        for violation in page.evaluate(RUN_AXE):
            seen.setdefault(described(violation), []).append(scheme)
    if seen:
        told = [f"{' and '.join(schemes)}: {violation}" for violation, schemes in seen.items()]
        pytest.fail(f"{page.url} is not for everybody:\n" + "\n".join(told), pytrace=False)


def described(violation: dict[str, Any]) -> str:
    nodes = [f"    {' '.join(map(str, node['target']))}\n      {reason(node)}" for node in violation["nodes"]]
    return "\n".join([f"{violation['id']}: {violation['help']}", *nodes])


def reason(node: dict[str, Any]) -> str:
    return "; ".join(line.strip() for line in node["failureSummary"].splitlines()[1:])
