"""SOS in the console as the operators of a room work: two persons, each under the name of the phone in his browser, and a gateway.

A text to the emergency number opens a case; one takes it and answers, hands it over, the other one goes on; the trail names both.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Playwright, expect

from tests.cell.couriers import keep_password
from tests.cell.kannel import free_ports, missing, server_file
from tests.system.console import Person, console_link
from tests.system.gateway import gateway
from tests.system.phones import NEEDS_CHROMIUM, PATIENCE_MS, chromium
from tests.system.service import running
from tests.system.test_precedence import Administrator

pytestmark = [pytest.mark.system, NEEDS_CHROMIUM, pytest.mark.skipif(missing() is not None, reason=missing() or "")]
PHONE = "+393331234567"
SOS = """
[sos]
numbers = ["112"]
"""
COMING, NEAR = "Arriviamo da Sommati.", "Siamo alla piazza."


class Operator(Person):
    """Who works on the console's page SOS."""

    def acts_as(self) -> str:
        """Under which name: his own, and no workplace's."""
        said = self.page.get_by_text(f"You act as {self.name} (")
        expect(said).to_be_visible(timeout=PATIENCE_MS)
        expect(self.page.get_by_label("This workplace")).to_have_count(0)
        found = re.search(r"You act as (.*)\.", said.inner_text())
        assert found is not None
        return found.group(1)

    def open_case(self) -> Locator:
        self.page.get_by_role("list", name="Cases").get_by_role("button").first.click()
        return self.page.get_by_role("region", name=re.compile("Case "))

    def answer(self, case: Locator, words: str) -> None:
        case.get_by_label("Answer to the person").fill(words)
        case.get_by_role("button", name="Send").click()
        expect(case.get_by_role("list", name="What was said").get_by_text(words)).to_be_visible(timeout=PATIENCE_MS)


def test_two_operators_carry_a_case_under_their_own_names(playwright: Playwright, tmp_path: Path) -> None:
    keep_password(tmp_path)
    (port,) = free_ports(1)
    (tmp_path / "operators.toml").write_text(server_file(port, {"kannel": "+39"}) + SOS)
    data = tmp_path / "data"
    with (
        running(data, "--operators", str(tmp_path / "operators.toml")) as service,
        Administrator.of(service) as administrator,
        gateway(tmp_path, port) as network,
        chromium(playwright) as browser,
    ):
        links = [administrator.post("/invitations", {"note": name})["link"] for name in ("Ada", "Bruno", "Clara")]
        service.authorise_all(links[:2], roles=("member", "operator"))
        service.authorise(links[2])
        origin = f"http://127.0.0.1:{service.port}"
        ada, bruno, clara = (
            Operator(browser, name, link, console_link(data, origin), "SOS")
            for name, link in zip(("Ada", "Bruno", "Clara"), links, strict=True)
        )
        hers, his = ada.acts_as(), bruno.acts_as()
        # A member without the role is no operator: only her workplace could act.
        expect(clara.page.get_by_text("Clara has no certificate with the role operator")).to_be_visible(timeout=PATIENCE_MS)
        expect(clara.page.get_by_label("This workplace")).to_have_value("")

        network.send(PHONE, "112", "Aiuto, siamo bloccati a 42.6281, 13.2924. Siamo in 3, nessun ferito.")
        case = ada.open_case()
        case.get_by_role("button", name="Take the case").click()
        ada.answer(case, COMING)
        network.until(lambda there: (PHONE, COMING) in there.texts)
        to = case.get_by_label("Hand over to a person or a workplace")
        expect(case.locator("#sos-operators option")).to_have_count(1, timeout=PATIENCE_MS)  # who came after her is asked for now and then
        assert case.locator("#sos-operators option").evaluate_all("all => all.map((each) => each.value)") == [his]
        to.fill(his)
        case.get_by_role("button", name="Offer").click()

        case = bruno.open_case()
        expect(case.get_by_text(f"offered to {his}")).to_be_visible(timeout=PATIENCE_MS)
        case.get_by_role("button", name="Take it over").click()
        bruno.answer(case, NEAR)
        network.until(lambda there: (PHONE, NEAR) in there.texts)
        with bruno.page.expect_download():
            case.get_by_role("button", name="Cursor-on-Target").click()
        case.get_by_role("button", name="Close the case").click()

        by = {"Ada": administrator.devices_of("Ada")[0], "Bruno": administrator.devices_of("Bruno")[0]}
        administrator.wait_for_audit("sos.closed")
        trail = [entry for entry in administrator.get("/audit") if str(entry["action"]).startswith("sos.")]
        acted = [(entry["action"], entry["actor"]) for entry in trail if entry["action"] != "sos.opened"]
        expected = [("taken", "Ada"), ("answered", "Ada"), ("offered", "Ada"), ("taken", "Bruno")]
        expected += [("answered", "Bruno"), ("exported", "Bruno"), ("closed", "Bruno")]
        assert acted == [(f"sos.{action}", f"device {by[name]}") for action, name in expected]
        named = [entry["details"]["operator"] for entry in trail if "operator" in entry["details"]]  # type: ignore[index,operator]
        assert named == [hers] * 3 + [his] * 3
