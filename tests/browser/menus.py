"""The header's menus, as a hand opens them."""

from playwright.sync_api import Page


def by_more(page: Page, name: str) -> None:
    """What is not needed every day."""
    page.locator("header nav summary").click()
    page.get_by_role("link", name=name).click()
