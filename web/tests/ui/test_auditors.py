"""Auditors' links in the console: shown while they read the log, and withdrawn with one press."""

from __future__ import annotations

from playwright.sync_api import expect

from web.tests.ui.fake_server import Api
from web.tests.ui.watched import Watched


def test_an_auditors_link_is_withdrawn(watched: Watched, server: tuple[str, Api]) -> None:
    page = watched.console("log")
    links = page.get_by_role("table", name="Links that read the log now")
    expect(links.get_by_role("row")).to_have_count(3)
    links.get_by_role("button", name="Withdraw the auditor's link “Court of audit” at once").click()
    expect(links.get_by_role("row")).to_have_count(2)
    assert [each["note"] for each in server[1].auditors] == [""]
    page.set_viewport_size({"width": 360, "height": 740})
    wider = page.evaluate("() => document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wider <= 0
