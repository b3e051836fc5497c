"""Find a Chromium for the browser tests, or install one: `python -m tests.browser.chromium`."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
LOG = Path("var/chromium.log")
MISSING = (
    "No Chromium could be found or installed: install Chromium or Chrome, "
    f"or set CHROMIUM to the path of one (details: {LOG})."
)
Command = list[str]


def found() -> str | None:
    """The path of a browser that is already here."""
    if named := os.environ.get("CHROMIUM"):
        return shutil.which(named)
    return next((path for name in NAMES if (path := shutil.which(name))), None) or playwrights_own()


def playwrights_own() -> str | None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        path = playwright.chromium.executable_path
    return path if Path(path).exists() else None


def install() -> str | None:
    LOG.parent.mkdir(exist_ok=True)
    playwright = [sys.executable, "-m", "playwright", "install", "chromium"]
    for way in (apt(), [playwright]):
        if way and all(succeeds(command) for command in way) and (path := found()):
            return path
    return None


def apt() -> list[Command]:
    """Only where it asks for no password. The list of packages comes first: a fresh container has none."""
    sudo = [] if os.getuid() == 0 else ["sudo", "-n"]
    if not shutil.which("apt-get") or (sudo and not (shutil.which("sudo") and succeeds([*sudo, "true"]))):
        return []
    get = [*sudo, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q"]
    return [[*get, "update"], [*get, "install", "--yes", "--no-install-recommends", "chromium"]]


def succeeds(command: Command) -> bool:
    with LOG.open("a") as log:
        return subprocess.run(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log).returncode == 0


def main() -> None:
    if "CHROMIUM" in os.environ and not found():
        sys.exit(f"CHROMIUM is {os.environ['CHROMIUM']!r}, and there is no such program.")
    if not found():
        print("Installing a Chromium for the browser tests.", flush=True)
        if not install():
            sys.exit(MISSING)


if __name__ == "__main__":
    main()
