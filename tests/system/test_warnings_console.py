"""Warnings as two persons make them in the console: drawn on the map, counted, approved by somebody else, replaced, cancelled.

Both sign with the phones in their own browsers; a base-station controller listens on a real port and says what its cells broadcast.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from playwright.sync_api import Browser, Locator, Page, Playwright, Route, expect

from tests.cell.cbsp_peer import Peer
from tests.control.test_serve import run
from tests.control.test_warnings import BOTH, PLACES, Station, network_file
from tests.system.console import Person, console_link
from tests.system.phones import NEEDS_CHROMIUM, PATIENCE_MS, chromium
from tests.system.service import running
from tests.system.test_precedence import Administrator

pytestmark = [pytest.mark.system, NEEDS_CHROMIUM]
AMATRICE = (42.63, 13.29)
HALF_A_DEGREE = 0.5
ITALIAN = "Scossa forte. Uscite di casa con calma e andate nelle aree di attesa."
ENGLISH = "Strong earthquake. Leave your homes calmly and go to the waiting areas."


class Controller:
    """The controller, in a thread of its own: the browser's driver has the test's."""

    def __init__(self, station: Station, portal: BlockingPortal) -> None:
        self.station, self._portal = station, portal

    def until(self, is_so: Callable[[Peer], bool]) -> None:
        self._portal.call(self.station.until, lambda: is_so(self.station.peer))

    def broadcasts(self, *identifiers: int) -> None:
        """Until both cells of Amatrice broadcast exactly these messages."""
        self.until(lambda _: self.station.air() == dict.fromkeys(identifiers, BOTH))


@contextmanager
def controller() -> Iterator[Controller]:
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(Station().listening()) as station:
        yield Controller(station, portal)


class Warner(Person):
    """Who signs warnings in the console."""

    def __init__(self, browser: Browser, name: str, invitation: str, console: str) -> None:
        super().__init__(browser, name, invitation, console, "Warnings")
        expect(self.page.get_by_text(f"You sign as {name}.")).to_be_visible(timeout=PATIENCE_MS)

    def write(self, event: str, italian: str, english: str) -> Locator:
        """A new warning; its form."""
        self.page.get_by_role("button", name="Write a warning").click()
        form = self.page.get_by_role("form", name="New warning")
        form.get_by_label("What happened").fill(event)
        form.get_by_label("Text in Italian").fill(italian)
        form.get_by_label("Text in English").fill(english)
        return form

    def submit(self) -> None:
        self.page.get_by_role("button", name="Sign and submit for approval").click()
        self.expect_state("Waits for approval")

    def choose(self, event: str, kind: str) -> None:
        """Show the newest warning of this name and kind."""
        row = self.page.get_by_role("listitem").get_by_role("button")
        for words in (event, kind):
            row = row.filter(has=self.page.get_by_text(words, exact=True))
        row.first.click(timeout=PATIENCE_MS)

    def expect_state(self, state: str) -> None:
        expect(self.details.get_by_role("heading", level=2)).to_contain_text(state, timeout=PATIENCE_MS)

    @property
    def details(self) -> Locator:
        return self.page.get_by_role("article")

    def approve(self, button: str) -> None:
        approve = self.details.get_by_role("button", name=button)
        expect(approve).to_be_disabled()
        self.details.get_by_label("I have read the texts and looked at the area").check()
        approve.click()


def draw(page: Page, form: Locator, centre: tuple[float, float], half: float) -> None:
    """Click a square on the map: two corners first, by which the test learns where the map has which point."""
    canvas = page.get_by_role("region", name="Map of the area")  # MapLibre names its canvas so
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    assert box is not None
    points = form.get_by_label("Corners of the area")
    middle = box["width"] / 2, box["height"] / 2

    def click(x: float, y: float) -> tuple[float, float]:
        before = points.input_value()
        canvas.click(position={"x": x, "y": y})
        expect(points).not_to_have_value(before)
        latitude, longitude = points.input_value().splitlines()[-1].split(", ")
        return float(latitude), float(longitude)

    here, there = click(*middle), click(middle[0] - 60, middle[1] - 60)
    form.get_by_role("button", name="Clear the area").click()
    expect(points).to_have_value("")
    per_degree = 60 / (there[0] - here[0]), 60 / (here[1] - there[1])  # pixels northwards and eastwards, around the middle
    for north, east in ((half, -half), (half, half), (-half, half), (-half, -half)):
        x = middle[0] + (centre[1] + east - here[1]) * per_degree[1]
        y = middle[1] - (centre[0] + north - here[0]) * per_degree[0]
        latitude, longitude = click(x, y)
        assert abs(latitude - centre[0] - north) < 0.2
        assert abs(longitude - centre[1] - east) < 0.2


def test_two_persons_warn_replace_and_cancel(playwright: Playwright, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    (tmp_path / "places.csv").write_text(PLACES)
    with controller() as bsc, chromium(playwright) as browser:
        (tmp_path / "network.toml").write_text(network_file(bsc.station.port))
        loaded = run("warn", "load", "--data", data, "--network", tmp_path / "network.toml", "--population", tmp_path / "places.csv")
        assert "1 controllers with 3 cells" in loaded.stdout, loaded.stderr
        with running(data) as service, Administrator.of(service) as administrator:
            links = [administrator.post("/invitations", {"note": name})["link"] for name in ("Ada", "Bruno")]
            service.authorise_all(links, roles=("approver", "member", "operator"))
            consoles = [console_link(data, f"http://127.0.0.1:{service.port}") for _ in links]
            ada, bruno = (Warner(browser, *each) for each in zip(("Ada", "Bruno"), links, consoles, strict=True))
            expect(ada.page.get_by_role("list", name="Base-station controllers")).to_contain_text("connected rieti · 3 cells")
            a_warning(ada, bruno, bsc)
            an_update(ada, bruno, bsc)
            a_cancellation(ada, bruno, bsc)
            an_exercise(ada, bruno, bsc)


def a_warning(ada: Warner, bruno: Warner, bsc: Controller) -> None:
    form = ada.write("Earthquake", "Attenzione: l’area è chiusa", ENGLISH)
    expect(form).to_contain_text("27 of 615 characters; pages: 1. These characters halve the room: ’")
    form.get_by_label("Text in Italian").fill("a" * 1396)
    expect(form).to_contain_text("1396 of 1395 characters; pages: 16. Too long: shorten it.")
    form.get_by_label("Text in Italian").fill(ITALIAN)
    expect(form).to_contain_text(f"{len(ITALIAN)} of 1395 characters; pages: 1.")
    draw(ada.page, form, AMATRICE, HALF_A_DEGREE)
    expect(form).to_contain_text("2,474 (Amatrice)")
    expect(form).to_contain_text("rieti: 2")
    form.get_by_label("Name of the area").fill("Monti della Laga")
    form.get_by_role("button", name="Plan satellites").click()
    plan = ada.page.get_by_role("region", name="Satellite broadcast plan")
    expect(plan).to_contain_text("Simulated", timeout=2 * PATIENCE_MS)
    expect(plan.get_by_text(re.compile(r"[1-9]\d* km² .*outside"))).to_be_visible()
    ada.submit()

    # The author has the role of an approver, and may not approve his own; nor does a page help that was made to offer it.
    expect(ada.details.get_by_text("Another approver decides on it.")).to_be_visible()
    expect(ada.details.get_by_role("button", name="Approve and send")).to_have_count(0)
    with believing_it_is_anothers(ada.page):
        ada.approve("Approve and send")
        expect(ada.details.get_by_role("alert")).to_contain_text("another")
    assert bsc.station.air() == {}

    bruno.choose("Earthquake", "Warning")
    expect(bruno.details.get_by_text(ITALIAN)).to_be_visible()
    expect(bruno.details.get_by_text("Submitted by Ada")).to_be_visible()
    bruno.approve("Approve and send")
    bruno.expect_state("On the air")
    bsc.broadcasts(4370, 4383)
    for each in (ada, bruno):  # two cells, each in two languages
        expect(each.details.get_by_text("4 on the air, 0 failed, 4 in all.")).to_be_visible(timeout=PATIENCE_MS)


@contextmanager
def believing_it_is_anothers(page: Page) -> Iterator[None]:
    """The page is told that somebody else submitted the warning."""

    def lie(route: Route) -> None:
        answer = route.fetch()
        shown = answer.json()
        for made in shown["decisions"]:
            made["account_id"] = "0" * 32
        route.fulfill(response=answer, body=json.dumps(shown))

    address = re.compile(r"/api/v1/warnings/[0-9a-f]{32}$")
    page.route(address, lie)
    yield
    page.unroute_all(behavior="wait")  # the page asks again and again: an answer may be on its way just now


def an_update(ada: Warner, bruno: Warner, bsc: Controller) -> None:
    before = bsc.station.peer.air.copy()
    form = ada.write("Earthquake, second shock", ITALIAN, "A second shock is likely. Stay outside.")
    form.get_by_label("Replaces").select_option(label="Earthquake")
    form.get_by_label("Corners of the area").fill("43.1, 12.8\n43.1, 13.8\n42.1, 13.8\n42.1, 12.8")
    form.get_by_label("Name of the area").fill("Monti della Laga")
    expect(form).to_contain_text("2,474 (Amatrice)")
    ada.submit()
    bruno.choose("Earthquake, second shock", "Update")
    expect(bruno.details.get_by_role("region", name="What this takes off the air")).to_contain_text(ENGLISH)
    bruno.approve("Approve and replace")
    bruno.expect_state("On the air")
    bsc.until(lambda peer: len(peer.air) == len(before) and not peer.air & before)
    assert bsc.station.air() == dict.fromkeys((4370, 4383), BOTH)
    expect(ada.page.get_by_role("listitem").filter(has_text="Replaced")).to_have_count(1)


def a_cancellation(ada: Warner, bruno: Warner, bsc: Controller) -> None:
    ada.details.get_by_role("button", name="Submit its cancellation").click()
    ada.expect_state("Waits for approval")
    assert bsc.station.air() == dict.fromkeys((4370, 4383), BOTH)
    bruno.choose("Earthquake, second shock", "Cancellation")
    bruno.approve("Approve and cancel")
    bruno.expect_state("Done")
    bsc.broadcasts()
    expect(ada.page.get_by_role("listitem").filter(has_text="Cancelled")).to_have_count(1)


def an_exercise(ada: Warner, bruno: Warner, bsc: Controller) -> None:
    form = ada.write("Exercise of October", ITALIAN, "")
    form.get_by_label("An exercise").check()
    expect(form.get_by_label("Level")).to_be_disabled()
    form.get_by_label("Corners of the area").fill("43.1, 12.8\n43.1, 13.8\n42.1, 13.8\n42.1, 12.8")
    form.get_by_label("Name of the area").fill("Monti della Laga")
    ada.submit()
    bruno.choose("Exercise of October", "Warning")
    expect(bruno.details).to_contain_text("Exercise (4381)")
    expect(bruno.page.get_by_role("button", pressed=True).filter(has_text="Exercise of October").locator(".badge-warn")).to_have_text(
        "Exercise"
    )
    bruno.approve("Approve and send")
    bruno.expect_state("On the air")
    bsc.broadcasts(4381)
