"""The operator's console in a real browser."""

from __future__ import annotations

import re
from pathlib import Path

from playwright.sync_api import Browser, Page, expect

from tests.control.test_serve import run
from tests.system.phones import PATIENCE_MS


def console_link(data: Path, origin: str) -> str:
    printed = run("admin-link", "--data", data, "--origin", origin)
    found = re.search(r"http\S+", printed.stdout)
    assert found is not None, printed.stderr
    return found.group()


class Person:
    """Somebody whose phone is enrolled in the browser in which he opens a page of the console."""

    def __init__(self, browser: Browser, name: str, invitation: str, console: str, view: str) -> None:
        self.name = name
        self.page: Page = browser.new_context(locale="en-GB", viewport={"width": 1280, "height": 900}, reduced_motion="reduce").new_page()
        self.page.set_default_timeout(PATIENCE_MS)
        self.page.goto(invitation)
        self.page.get_by_label("Your name").fill(name)
        self.page.get_by_role("button", name="Set up").click()
        expect(self.page.get_by_role("heading", name="Contacts")).to_be_visible(timeout=PATIENCE_MS)
        self.page.goto(console)
        self.page.get_by_role("link", name=view).click()
