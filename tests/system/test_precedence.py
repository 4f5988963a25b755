"""A path with room for one call: a flash call ends a routine one, both its phones say so, and a routine call cannot."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Playwright, expect

from tests.system.conftest import Recordings
from tests.system.phones import NEEDS_CHROMIUM, NEEDS_SPEECH, Phone, phone
from tests.system.service import Service, running
from tests.system.test_call import talk
from tramontana.precedence import Precedence

pytestmark = [pytest.mark.system, NEEDS_CHROMIUM, NEEDS_SPEECH]
CARRIER = "starlink"  # of a phone that chooses none

# The tones that the page plays, by the frequencies of their oscillators.
HEAR_TONES = """
(() => {
  window.testTones = [];
  const { start } = OscillatorNode.prototype;
  OscillatorNode.prototype.start = function (...when) {
    testTones.push(this.frequency.value);
    return start.apply(this, when);
  };
})();
"""


class Administrator:
    """The administrator at the HTTP interface."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http

    @classmethod
    @contextmanager
    def of(cls, service: Service) -> Iterator[Administrator]:
        origin, _, token = service.administrator_link().partition("/console#admin=")
        with httpx.Client(base_url=f"{origin}/api/v1/admin", timeout=60) as http:
            answer = http.post("/sessions", json={"token": token})
            http.headers["Authorization"] = f"Bearer {answer.raise_for_status().json()['token']}"
            yield cls(http)

    def get(self, path: str) -> list[dict[str, object]]:
        found = self._http.get(path).raise_for_status().json()
        return list(found["entries"] if path == "/audit" else found)

    def put(self, path: str, body: object) -> None:
        self._http.put(path, json=body).raise_for_status()

    def post(self, path: str, body: object) -> dict[str, str]:
        return dict(self._http.post(path, json=body).raise_for_status().json())

    def devices_of(self, name: str) -> list[str]:
        return [str(device["device_id"]) for device in self._account(name)["devices"]]  # type: ignore[attr-defined]

    def account_of(self, name: str) -> str:
        return str(self._account(name)["account_id"])

    def _account(self, name: str) -> dict[str, object]:
        return next(account for account in self.get("/accounts") if account["display_name"] == name)

    def wait_for_audit(self, action: str, timeout_s: float = 60) -> None:
        """Until the audit trail has such an entry; fails the test if none comes."""
        deadline = time.monotonic() + timeout_s
        while all(entry["action"] != action for entry in self.get("/audit")):
            assert time.monotonic() < deadline, f"the audit trail has no {action}"
            time.sleep(0.5)

    def rules(self, **changes: object) -> None:
        self.put("/call-rules", {**self._http.get("/call-rules").raise_for_status().json(), **changes})


@contextmanager
def four_phones(playwright: Playwright, recordings: Recordings, data: Path) -> Iterator[tuple[Service, Administrator, dict[str, Phone]]]:
    with ExitStack() as stack:
        service = stack.enter_context(running(data))
        administrator = stack.enter_context(Administrator.of(service))
        phones = {}
        for name in ("Ada", "Bruno", "Embassy", "Minister"):
            each = stack.enter_context(phone(playwright, name, recordings.ship, HEAR_TONES))
            ceiling = Precedence.FLASH if name == "Minister" else Precedence.ROUTINE
            each.enrol(service.authorise(administrator.post("/invitations", {"note": name})["link"], ceiling))
            phones[name] = each
        yield service, administrator, phones


def test_a_flash_call_ends_a_routine_one_and_a_routine_one_cannot(playwright: Playwright, recordings: Recordings, tmp_path: Path) -> None:
    with four_phones(playwright, recordings, tmp_path / "data") as (_, administrator, phones):
        ada, bruno, embassy, minister = phones.values()
        # All four are at one place over one carrier, where two phones of one call have room, and no third.
        administrator.rules(carrier_bps={CARRIER: 200_000})
        ada.open_thread("Bruno")
        minister.open_thread("Embassy")
        expect(ada.page.get_by_label("Precedence of the call")).to_have_count(0)
        talk(ada, bruno)

        minister.call("Embassy")
        minister.expect_text("There is no room for this call")
        minister.page.get_by_role("button", name="Close").click()
        ada.expect_audio()

        minister.page.get_by_label("Precedence of the call").select_option(label="Flash")
        minister.call("Embassy")
        for each in (ada, bruno):
            each.expect_text("This call had to end for one of higher precedence: Flash")
            assert {440, 620} <= set(each.page.evaluate("testTones"))
        embassy.expect_text("Flash call")
        embassy.answer()
        for each in (embassy, minister):
            each.expect_audio()
            expect(each.page.get_by_text("Flash", exact=True).filter(visible=True).first).to_be_visible()

        ended = [entry for entry in administrator.get("/audit") if entry["action"] in ("call.refused", "call.preempted")]
        assert [entry["action"] for entry in ended] == ["call.refused", "call.preempted"]
        assert [(call["precedence"], len(list(call["participants"]))) for call in administrator.get("/calls")] == [("flash", 2)]  # type: ignore[call-overload]
