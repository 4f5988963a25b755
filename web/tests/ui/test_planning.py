"""Reports of planning in the console: opened and closed by keyboard, shown in a sandbox where no script runs, and in a tab of their own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from web.tests.ui.fake_server import Api
from web.tests.ui.test_accessibility import overflow, violations
from web.tests.ui.watched import Watched

BLOCKED = "Blocked script execution"  # what Chromium says of the script in the fake report: it is what is wanted


@pytest.fixture(params=["light", "dark"])
def watched(request: pytest.FixtureRequest, browser: Browser, server: tuple[str, Api]) -> Iterator[Watched]:
    dark = request.param == "dark"
    context = browser.new_context(
        viewport={"width": 360, "height": 640} if dark else {"width": 1280, "height": 800},
        color_scheme="dark" if dark else "light",
        locale="it-IT" if dark else "en-GB",
        reduced_motion="reduce",
    )
    yield Watched(context.new_page(), server[0])
    context.close()


def test_a_report_opens_by_keyboard_in_a_sandbox(watched: Watched) -> None:
    page = watched.console("planning")
    first = page.locator(".planning-open").first
    first.press("Enter")
    expect(page.get_by_role("heading", level=2)).to_be_focused()
    frame = page.frame_locator(".planning-frame")
    expect(frame.get_by_role("heading", level=1)).to_have_text("Italy 2025: which sky")
    expect(frame.locator("#said")).to_have_text("No script has run.")
    # Its style is applied, and its own links work.
    expect(frame.get_by_role("heading", level=1)).to_have_css("color", "rgb(17, 34, 51)")
    frame.get_by_role("link").press("Enter")
    expect(frame.locator("#source")).to_be_in_viewport()
    assert overflow(page) == 0
    assert [fault for fault in watched.faults if BLOCKED not in fault] == []
    # The sandbox keeps axe out of the frame, where the tests of the report look; all around it is looked at here.
    page.evaluate("() => document.querySelector('.planning-frame').remove()")
    assert violations(page) == []
    first.press("Enter")
    expect(page.get_by_role("heading", level=2)).to_have_count(0)


def test_in_a_tab_of_its_own_it_is_in_the_sandbox_too(watched: Watched) -> None:
    page = watched.console("planning")
    page.locator(".planning-open").last.press("Enter")
    with page.context.expect_page() as opened:
        page.locator(".planning-report a").press("Enter")
    alone = opened.value
    alone.wait_for_load_state()
    expect(alone.locator("#said")).to_have_text("No script has run.")
