"""What the system tests share: recordings, a browser driver, and a service with two enrolled phones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Playwright, sync_playwright

from tests.system.audio import speak
from tests.system.phones import RAW_MICROPHONE, Phone, phone
from tests.system.service import Service, running


@dataclass(frozen=True)
class Recordings:
    """Two people who say different things: what each fake microphone reads aloud, in a loop."""

    ship: Path
    perugia: Path


@dataclass(frozen=True)
class Line:
    """A service and two phones that know each other."""

    service: Service
    ada: Phone
    bruno: Phone


@pytest.fixture(scope="session")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Recordings:
    folder = tmp_path_factory.mktemp("recordings")
    ship = (
        "The duty officer of the ship reports a calm sea south of Malta. Wind from the north west, twelve knots. "
        "We continue towards Augusta and expect to arrive before noon."
    )
    perugia = (
        "Civil protection in Perugia speaking. The road to Norcia is closed after the landslide, "
        "and the second team waits for the helicopter near the river."
    )
    return Recordings(speak(ship, "en-gb", folder / "ship.wav"), speak(perugia, "en-us", folder / "perugia.wav"))


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    """For one file of tests: while it is there, nothing asynchronous runs in this process, and another file may want to."""
    with sync_playwright() as driver:
        yield driver


@pytest.fixture
def line(playwright: Playwright, recordings: Recordings, tmp_path: Path) -> Iterator[Line]:
    """Ada speaks from the ship, Bruno from Perugia; both are enrolled and see each other."""
    with (
        running(tmp_path / "data") as service,
        phone(playwright, "Ada", recordings.ship, RAW_MICROPHONE) as ada,
        phone(playwright, "Bruno", recordings.perugia, RAW_MICROPHONE) as bruno,
    ):
        first, second = service.invitations()
        ada.enrol(first)
        bruno.enrol(second)
        ada.open_thread("Bruno")
        bruno.open_thread("Ada")
        yield Line(service, ada, bruno)
