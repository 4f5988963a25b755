"""axe-core in a real browser over every page and state: no violation, in light and dark, small and large."""

from __future__ import annotations

from collections.abc import Iterator
from time import time

import pytest
from playwright.sync_api import Browser, Page

from web.tests.ui.fake_server import Api, hexadecimal
from web.tests.ui.watched import AXE, Watched

SCENES = [
    "opening",
    "enrol",
    "enrolRefused",
    "enrolWorking",
    "list",
    "empty",
    "thread",
    "threadMissed",
    "threadEmpty",
    "files",
    "missed",
    "group",
    "groupLeft",
    "groupMembers",
    "newGroup",
    "keyChanged",
    "offline",
    "faults",
    "incoming",
    "ringing",
    "connecting",
    "active",
    "muted",
    "interrupted",
    "undecryptable",
    "outage",
    "fibre",
    "ended",
    "failed",
    "folded",
    "access",
    "protection",
    "unprotected",
    "locked",
    "lockedWrong",
    "approval",
    "revoked",
    "equivocation",
    "zeroised",
    "flashIncoming",
    "waiting",
    "givingWay",
    "preempted",
    "conference",
    "conferenceOver",
    "conferencePreempted",
    "conferenceFolded",
    "conferenceRings",
    "talkFree",
    "talkTaken",
    "talkMine",
    "talkQueued",
    "talkLost",
]
VIEWS = [
    "sky",
    "warnings",
    "sites",
    "sos",
    "texts",
    "invitations",
    "approvals",
    "people",
    "conversations",
    "calls",
    "exercises",
    "planning",
    "log",
    "audit",
]
LOADED = {view: ".table" for view in VIEWS} | {"sky": ".sky-table", "calls": ".call-card", "sos": ".sos-row", "warnings": ".warning-row"}
LOOKS = [("light", 1280, 800), ("dark", 360, 640)]


@pytest.fixture(params=LOOKS, ids=lambda look: f"{look[0]}-{look[1]}")
def look(request: pytest.FixtureRequest, browser: Browser, server: tuple[str, Api]) -> Iterator[Watched]:
    scheme, width, height = request.param
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme=scheme,
        locale="it-IT" if scheme == "dark" else "en-GB",
        reduced_motion="reduce",
    )
    yield Watched(context.new_page(), server[0])
    context.close()


def violations(page: Page) -> list[str]:
    """What axe-core finds, one line each; nothing is excluded."""
    page.evaluate(AXE.read_text())
    found = page.evaluate("async () => (await axe.run(document, { resultTypes: ['violations'] })).violations")
    return [f"{each['id']} ({each['impact']}): {node['target']} {node['failureSummary']}" for each in found for node in each["nodes"]]


def overflow(page: Page) -> int:
    """By how many pixels the page is wider than its window."""
    pixels: int = page.evaluate("() => document.documentElement.scrollWidth - window.innerWidth")
    return max(0, pixels)


@pytest.mark.parametrize("scene", SCENES)
def test_telephone(look: Watched, scene: str) -> None:
    page = look.scene(scene)
    assert violations(page) == []
    assert overflow(page) == 0


@pytest.mark.parametrize("view", VIEWS)
def test_console(look: Watched, view: str) -> None:
    page = look.console(view)
    page.wait_for_selector(LOADED[view])
    assert violations(page) == []
    assert overflow(page) == 0


def test_an_alarm_above_a_view(look: Watched, server: tuple[str, Api]) -> None:
    server[1].alarms = [{"device_id": hexadecimal(72), "account_id": hexadecimal(52), "display_name": "Ada", "raised_at": time()}]
    try:
        page = look.console("calls")
        page.wait_for_selector(".console-alarms .notice")
        assert violations(page) == []
        assert overflow(page) == 0
    finally:
        server[1].alarms = []


def test_a_site_in_detail(look: Watched) -> None:
    page = look.console("sites")
    page.locator(".row-button").first.click()
    page.wait_for_selector(".site-history li")
    assert violations(page) == []
    assert overflow(page) == 0


def test_case_of_somebody_in_need(look: Watched) -> None:
    page = look.console("sos")
    page.fill("#sos-desk", "Sala 1")
    page.locator(".sos-row").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("#sos-answer")
    assert violations(page) == []
    assert overflow(page) == 0


def test_a_sealed_text(look: Watched) -> None:
    page = look.scene("thread")
    page.locator(".sealed-button").press("Enter")
    page.fill("#sealed-body", "x")
    page.locator(".sealed-actions .button").last.press("Enter")
    page.wait_for_selector("#sealed-hex")
    assert violations(page) == []
    assert overflow(page) == 0


def test_a_text_being_written_that_is_too_long(look: Watched) -> None:
    page = look.console("texts")
    page.fill("#texts-body", "ж" * 700)
    page.wait_for_selector("#texts-count.field-error")
    page.locator(".texts-preempted summary").press("Enter")
    page.wait_for_selector(".texts-preempted[open]")
    assert violations(page) == []
    assert overflow(page) == 0


def test_a_warning_in_detail_and_one_being_written(look: Watched) -> None:
    page = look.console("warnings")
    page.locator(".warning-row").first.press("Enter")
    page.wait_for_selector(".warning-details .table")
    assert violations(page) == []
    assert overflow(page) == 0
    page.locator(".page > .button").press("Enter")
    page.wait_for_selector(".warning-compose .maplibregl-canvas")
    assert violations(page) == []
    assert overflow(page) == 0


@pytest.mark.parametrize("locale", ["en-GB", "it-IT"])
def test_head_of_the_console_is_one_line_at_1280(browser: Browser, server: tuple[str, Api], locale: str) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 800}, locale=locale)
    page = Watched(context.new_page(), server[0]).console("invitations")
    tops: list[float] = page.locator(".console-nav, .console-tools, .console-brand").evaluate_all(
        "parts => parts.map(part => { const { top, height } = part.getBoundingClientRect(); return top + height / 2; })"
    )
    context.close()
    assert max(tops) - min(tops) < 2


def test_new_invitation(look: Watched) -> None:
    page = look.console("invitations")
    page.locator("form button[type=submit]").click()
    page.wait_for_selector(".fresh .qr")
    assert violations(page) == []
    assert overflow(page) == 0


def test_change_of_rights(look: Watched) -> None:
    page = look.console("people")
    page.locator("td .button-small").first.click()
    page.wait_for_selector("dialog .change-rights")
    assert violations(page) == []
    assert overflow(page) == 0


@pytest.mark.parametrize("path", ["/", "/console"])
def test_doors(look: Watched, path: str) -> None:
    look.page.goto(look.origin + path)
    look.page.wait_for_selector("h1")
    assert violations(look.page) == []
    assert overflow(look.page) == 0
