"""A sealed text in one piece: a browser's phone, the server, an operator's gateway, `tramontana text` beside a modem, and back.

The way between is what ships have: one text is lost on it, one comes twice.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Playwright, expect

from tests.cell.couriers import keep_password
from tests.cell.kannel import free_ports, missing, server_file
from tests.system.gateway import Gateway, gateway
from tests.system.phones import NEEDS_CHROMIUM, PATIENCE_MS, Phone, chromium
from tests.system.service import Service, running
from tests.system.test_headless_phone import PATIENCE_S, enrolled
from tests.system.test_precedence import Administrator
from tramontana.precedence import Precedence

pytestmark = [pytest.mark.system, NEEDS_CHROMIUM, pytest.mark.skipif(missing() is not None, reason=missing() or "")]
SHIP, BOAT = "+881612345678", "+881712345678"
OURS = "43200000"
SEALED = """
[sealed]
prefix = "43200"
"""
ORDER, LOST, COURSE = "Rotta per Lampedusa, 40 persone a bordo.", "Velocità 12 nodi.", "Nuova rotta 210."
UNHEARD, ANSWER, LAST = "Non vi sento.", "Ricevuto. Arrivo alle 18:40.", "Siamo in porto."


class Ship:
    """A device without a browser, and the machine that it stands on."""

    def __init__(self, home: Path, password: Path) -> None:
        self.home, self._password = home, password

    def text(self, command: str, *arguments: str, expected: int = 0) -> subprocess.CompletedProcess[str]:
        kept = ["--data", str(self.home / "device"), "--passphrase-file", str(self.home / "passphrase")]
        whole = [sys.executable, "-m", "tramontana.cli.main", "text", command, *kept, *arguments]
        done = subprocess.run(whole, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
        assert done.returncode == expected, done.stderr
        return done

    def opens(self, datagram: bytes) -> list[str]:
        return bodies(self.text("open", "--json", datagram.hex()))

    def seals(self, body: str) -> bytes:
        return bytes.fromhex(self.text("seal", "Office", body).stdout)

    def by_modem(self, port: int) -> tuple[str, ...]:
        return "--via", f"smpp://modem@127.0.0.1:{port}", "--password-file", str(self._password)


def bodies(done: subprocess.CompletedProcess[str]) -> list[str]:
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert all(row["from"] == "Office" for row in rows)
    return [row["body"] for row in rows]


@dataclass
class House:
    service: Service
    administrator: Administrator
    network: Gateway
    smpp_port: int
    office: Phone
    ship: Ship

    def dialog(self) -> Locator:
        """The one in which the office writes sealed texts to the ship."""
        self.office.page.get_by_role("button", name="Sealed text to Ship").click()
        return self.office.page.get_by_role("dialog", name="Sealed text to Ship")

    def meet(self, number: str, *, ours: str = OURS) -> Locator:
        """Ship and office tell each other their numbers while there is a network; the office's dialog."""
        self.ship.text("meet", "Office", "--number", number)
        dialog = self.dialog()
        dialog.get_by_role("button", name="Take sealed texts on a number of the server's").click(timeout=PATIENCE_MS)
        expect(dialog.get_by_text(f"Sealed texts reach this device at {ours}.")).to_be_visible(timeout=PATIENCE_MS)
        assert f"number {ours}" in self.ship.text("meet", "Office").stdout
        return dialog

    def write(self, dialog: Locator, body: str, number: str, level: str = "Routine") -> None:
        dialog.get_by_label("Text", exact=True).fill(body)
        dialog.get_by_label("Precedence of the text").select_option(label=level)
        dialog.get_by_role("button", name=f"Send to {number}").click()
        expect(dialog.get_by_text("The sealed text is")).to_be_visible(timeout=PATIENCE_MS)
        expect(dialog.get_by_label("Text", exact=True)).to_have_value("")

    def levels(self) -> list[object]:
        """With which precedence sealed texts went to the server, the oldest first."""
        return [entry["details"]["precedence"] for entry in self.administrator.get("/audit") if entry["action"] == "text.sealed"]  # type: ignore[index]

    def shown_once(self, body: str) -> None:
        expect(self.office.page.get_by_role("region", name="Ship").get_by_text(body)).to_have_count(1, timeout=PATIENCE_MS)


@contextmanager
def house(playwright: Playwright, folder: Path) -> Iterator[House]:
    """An office in a browser and a ship that have met and told their numbers; a gateway is bound to the server."""
    keep_password(folder)
    (port,) = free_ports(1)
    (folder / "operators.toml").write_text(server_file(port, {"kannel": "+8816", "modem": "+8817"}) + SEALED)
    with ExitStack() as stack:
        service = stack.enter_context(running(folder / "data", "--operators", str(folder / "operators.toml")))
        administrator = stack.enter_context(Administrator.of(service))
        network = stack.enter_context(gateway(folder, port))
        browser = stack.enter_context(chromium(playwright))
        office = Phone(browser.new_page(locale="en-GB", viewport={"width": 1100, "height": 800}), "Office")
        links = [administrator.post("/invitations", {"note": name})["link"] for name in ("Office", "Ship")]
        service.authorise_all(links, Precedence.IMMEDIATE)
        office.enrol(links[0])
        ship = Ship(enrolled(folder / "ship", links[1], "Ship"), folder / "password")
        office.open_thread("Ship")
        yield House(service, administrator, network, port, office, ship)


def test_a_text_from_a_browser_over_a_gateway_to_a_modem_and_back(playwright: Playwright, tmp_path: Path) -> None:
    with house(playwright, tmp_path) as here:
        ship, network = here.ship, here.network
        dialog = here.meet(SHIP)  # from here on the ship has its modem alone

        for number, body in enumerate((ORDER, LOST, COURSE), 1):
            here.write(dialog, body, SHIP, "Immediate" if body == LOST else "Routine")
            network.until(lambda gateway, number=number: len(gateway.octets) == number)  # type: ignore[misc]
        assert here.levels() == ["routine", "immediate", "routine"]
        order, _, course = network.octets
        assert ship.opens(order) == [ORDER]
        assert ship.opens(course) == [COURSE]  # the one between was lost
        again = ship.text("open", "--json", order.hex(), expected=1)
        assert (again.stdout, "seen before" in again.stderr) == ("", True)
        dialog.get_by_role("button", name="Close").click()

        ship.seals(UNHEARD)  # lost as well
        answer = ship.seals(ANSWER)
        for _ in range(2):
            network.send_octets(SHIP, OURS, answer)
        here.shown_once(ANSWER)
        last = ship.seals(LAST)
        network.send_octets(SHIP, OURS, last)  # behind the repeated one: when it is shown, that one has been judged
        here.shown_once(LAST)
        here.shown_once(ANSWER)
        expect(here.office.page.get_by_text(UNHEARD)).to_have_count(0)


def test_a_text_over_our_own_message_centre_and_one_over_numbers_of_the_server(playwright: Playwright, tmp_path: Path) -> None:
    with house(playwright, tmp_path) as here:
        ship, modem = here.ship, here.ship.by_modem(here.smpp_port)
        dialog = here.meet(BOAT)
        here.write(dialog, ORDER, BOAT)
        dialog.get_by_role("button", name="Close").click()
        assert bodies(ship.text("receive", "--json", "--count", "1", *modem)) == [ORDER]
        ship.text("send", "Office", ANSWER, *modem, "--from", BOAT)
        here.shown_once(ANSWER)

        told = ship.text("meet", "Office", "--number", "server")  # in harbour
        assert f"number {OURS}" in told.stdout
        dialog = here.dialog()
        expect(dialog.get_by_role("button", name="Send to 43200001")).to_be_visible(timeout=PATIENCE_MS)
        here.write(dialog, COURSE, "43200001")
        dialog.get_by_role("button", name="Close").click()
        assert bodies(ship.text("receive", "--json", "--count", "1", "--via", "server")) == [COURSE]
        ship.text("send", "Office", LAST, "--via", "server")
        here.shown_once(LAST)
        expect(here.office.page.get_by_role("region", name="Ship").get_by_text("Not delivered")).to_have_count(0)
