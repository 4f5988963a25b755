"""A browser without network for an hour: what was written meanwhile comes, the keys that changed are caught up, and one can call.

Real: the browser, its network (taken away by Chromium itself), server, custodians, texts, commits, the call and its sound. Shifted: the
hour. Bruno's page has Playwright's clock, which runs as every clock does and is put forward by an hour while he is offline; so all
timers of the phone that would have come due in that hour do, and afterwards its clock is an hour ahead of the server's. The server's
clock and the media worker's stay.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from playwright.sync_api import Playwright, expect

from tests.system.conftest import Line, Recordings
from tests.system.phones import NEEDS_CHROMIUM, NEEDS_SPEECH, PATIENCE_MS, RAW_MICROPHONE, Phone, phone
from tests.system.service import running
from tests.system.test_call import short_code, talk
from tests.system.test_faults import expect_understood
from tests.system.test_precedence import Administrator

pytestmark = [pytest.mark.system, NEEDS_CHROMIUM, NEEDS_SPEECH]
HOUR = "01:00:00"
POLL_MS = 200
OFFLINE = "No connection to the server"


def commits(administrator: Administrator) -> int:
    """How many commits the server has accepted, of whatever conversation."""
    return sum(entry["action"] == "commit.accepted" for entry in administrator.get("/audit"))


def expect_waiting(of: Phone, text: str) -> None:
    row = of.page.get_by_role("listitem").filter(has_text=text)
    expect(row.get_by_text("Waiting", exact=True)).to_be_visible(timeout=PATIENCE_MS)


def test_an_hour_without_network(playwright: Playwright, recordings: Recordings, tmp_path: Path) -> None:
    with (
        running(tmp_path / "data") as service,
        phone(playwright, "Ada", recordings.ship, RAW_MICROPHONE) as ada,
        phone(playwright, "Bruno", recordings.perugia, RAW_MICROPHONE) as bruno,
        Administrator.of(service) as administrator,
    ):
        bruno.page.clock.install()
        first, second = service.invitations()
        ada.enrol(first)
        bruno.enrol(second)
        ada.open_thread("Bruno")
        bruno.open_thread("Ada")
        ada.write("Bruno", "Before the storm")
        bruno.expect_text("Before the storm")

        bruno.page.context.set_offline(True)
        bruno.page.clock.fast_forward(HOUR)
        bruno.expect_text(OFFLINE)
        assert bruno.page.evaluate("Date.now()") / 1000 - time.time() > 3590
        before = commits(administrator)
        ada.write("Bruno", "The road is closed")
        # Ada gets a further device meanwhile: an entry of the log, and a commit that lets it into the conversation.
        browser = ada.page.context.browser
        assert browser is not None
        tablet = Phone(browser.new_context(locale="en-GB").new_page(), "Ada")
        link = administrator.post("/invitations", {"note": "Tablet", "account_id": administrator.account_of("Ada")})["link"]
        tablet.enrol(service.authorise(link))
        while commits(administrator) == before:
            ada.page.wait_for_timeout(POLL_MS)
        ada.write("Bruno", "Take the bridge")
        tablet.open_thread("Bruno")
        tablet.expect_text("Take the bridge")  # so it was sealed under keys that Bruno's phone has not got yet
        expect(tablet.page.get_by_text("The road is closed")).to_have_count(0)
        tablet.page.context.close()
        bruno.write("Ada", "Written in the dark")
        expect_waiting(bruno, "Written in the dark")
        expect(bruno.page.get_by_text("Take the bridge")).to_have_count(0)

        bruno.page.context.set_offline(False)
        for text in ("The road is closed", "Take the bridge"):
            bruno.expect_text(text)
        expect(bruno.page.get_by_text(OFFLINE)).to_have_count(0)
        ada.expect_text("Written in the dark")
        # Both are in the same epoch again: a call has its keys from it.
        talk(bruno, ada)
        assert short_code(ada) == short_code(bruno)
        expect_understood(Line(service, ada, bruno), recordings)
