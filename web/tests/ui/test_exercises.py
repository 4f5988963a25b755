"""Exercises in the console: a run is followed while it is played, a silent player is noticed, and a night is looked at anew."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from web.tests.ui.fake_server import Api, exercise_now
from web.tests.ui.test_accessibility import overflow, violations
from web.tests.ui.watched import Watched


@pytest.fixture
def api(server: tuple[str, Api]) -> Iterator[Api]:
    before = dict(server[1].exercises)
    yield server[1]
    server[1].exercises = before


def words(page: Page) -> str:
    return page.locator(".exercise-words").inner_text()


def test_a_run_is_followed_while_it_is_played(watched: Watched, api: Api) -> None:
    api.exercises = {"amatrice-2016": exercise_now}
    page = watched.console("exercises")
    expect(page.get_by_role("heading", name="Run 2 of 2, Starlink direct-to-cell, 650 satellites")).to_be_visible()
    live = page.locator("section.card")
    expect(live).to_contain_text("91.5%")
    expect(live).to_contain_text("244 of 301")
    expect(live).to_contain_text("1,100 of 1,234, 210 by satellite")
    assert "91.5% of the phones in the area show the warning" in words(page)
    # The worst come first, by people, and what lies outside of the warning is not among them.
    worst = page.get_by_role("region", name="Where most people are not warned yet")
    expect(worst.get_by_role("rowheader")).to_have_text(["Rieti", "Amatrice", "Accumoli"])
    expect(page.get_by_role("region", name="Runs that are over").get_by_role("rowheader")).to_have_text(["without satellites"])
    api.exercises = {"amatrice-2016": lambda now: exercise_now(now, now_s=14_700.0)}
    expect(page.get_by_role("progressbar")).to_have_js_property("value", 14_700)
    # The run is over: it stands beside the other, and the map shows it without being asked.
    api.exercises = {"amatrice-2016": lambda now: exercise_now(now, ended=2)}
    expect(page.get_by_role("region", name="Runs that are over").get_by_role("rowheader")).to_have_count(2)
    expect(page.get_by_role("progressbar")).to_have_count(0)
    expect(page.get_by_role("combobox", name="Shows")).to_have_value("1")


def test_a_player_without_a_word_is_not_said_to_play(watched: Watched, api: Api) -> None:
    api.exercises = {"amatrice-2016": lambda now: exercise_now(now - 120)}
    page = watched.console("exercises")
    expect(page.get_by_role("region", name="Exercises")).to_contain_text("Stopped: no word of its player")
    expect(page.get_by_role("progressbar")).to_have_count(0)


def test_the_night_is_looked_at_again_by_keyboard(watched: Watched, api: Api) -> None:
    api.exercises = {"amatrice-2016": lambda now: exercise_now(now, ended=2)}
    page = watched.console("exercises")
    page.get_by_role("combobox", name="Shows").select_option("cut")
    assert "660 phones hear no site" in words(page)
    time = page.get_by_role("slider", name="Time")
    time.press("ArrowRight")
    assert "1,160 phones hear no site" in words(page)
    page.get_by_role("button", name="Play").press("Enter")
    expect(page.locator(".exercise-words")).to_contain_text("3,660 phones hear no site")
    expect(page.get_by_role("button", name="Play")).to_be_visible()  # it stops at the end
    worst = page.get_by_role("region", name="Where most people hear no site")
    expect(worst.get_by_role("rowheader")).to_have_text(["Amatrice", "Accumoli"])


@pytest.mark.parametrize("narrow", [False, True])
def test_it_is_legible_wide_and_narrow(browser: Browser, server: tuple[str, Api], api: Api, narrow: bool) -> None:
    api.exercises = {"amatrice-2016": exercise_now}
    context = browser.new_context(
        viewport={"width": 360, "height": 640} if narrow else {"width": 1280, "height": 800},
        color_scheme="dark" if narrow else "light",
        locale="it-IT" if narrow else "en-GB",
    )
    watched = Watched(context.new_page(), server[0])
    page = watched.console("exercises")
    page.wait_for_selector(".exercise-map canvas")
    assert violations(page) == []
    assert overflow(page) == 0
    assert watched.faults == []
    context.close()
