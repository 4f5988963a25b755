"""Devices come and go by the custodians' word: one is revoked in mid-call and destroys itself, a further one of a person comes in."""

from __future__ import annotations

import subprocess
import sys

import pytest
from playwright.sync_api import Playwright, expect

from tests.system.conftest import Line, Recordings
from tests.system.phones import NEEDS_CHROMIUM, NEEDS_SPEECH, PATIENCE_MS, Phone, phone
from tests.system.service import Service
from tests.system.test_call import talk
from tests.system.test_precedence import Administrator
from tramontana.cli.demonstration import DESKS, PASSPHRASE_NAME
from tramontana.cli.organisation_key import organisation_dir

pytestmark = [pytest.mark.system, NEEDS_CHROMIUM, NEEDS_SPEECH]
COMMAND_TIMEOUT_S = 120


def revoke(service: Service, device_id: str, reason: str) -> None:
    """What a custodian types, at the desk of the demonstration's first one."""
    organisation = organisation_dir(None, service.data.absolute())
    secret = str(organisation / PASSPHRASE_NAME)
    whose = ("--home", str(organisation / DESKS[0]), "--passphrase-file", secret)
    with_key = ("--organisation", str(organisation), "--key-passphrase-file", secret)
    command = ("tramontana.cli.main", "custodian", "revoke", "--data", str(service.data), *whose, *with_key, "--reason", reason, device_id)
    done = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S, check=False)
    assert "Revoked, entry" in done.stdout, done.stdout + done.stderr


def expect_last_word(of: Phone, title: str) -> None:
    expect(of.page.get_by_role("heading", name=title)).to_be_visible(timeout=PATIENCE_MS)


def test_revoked_in_mid_call_with_the_order_to_destroy_itself(line: Line) -> None:
    ada, bruno, service = line.ada, line.bruno, line.service
    ada.write("Bruno", "Before the airport")
    bruno.expect_text("Before the airport")
    talk(ada, bruno)
    with Administrator.of(service) as administrator:
        (device,) = administrator.devices_of("Bruno")
        revoke(service, device, "zeroise: stolen at the airport")
        ada.expect_text("The other telephone was revoked")
        expect_last_word(bruno, "This telephone was destroyed")
        service.wait_for_line("0 calls in progress", timeout_s=60)
        administrator.wait_for_audit("device.zeroised")
    ada.page.get_by_role("button", name="Close", exact=True).click()
    ada.expect_text("A telephone of Bruno was revoked")
    expect(bruno.page.get_by_text("Before the airport")).to_have_count(0)

    # Nothing is sealed for it any more: what is written waits for a device that is trusted.
    ada.write("Bruno", "Are you there?")
    expect(ada.page.get_by_role("listitem").get_by_text("Waiting", exact=True)).to_be_visible()
    bruno.page.reload()
    expect(bruno.page.get_by_role("heading", name="Set up your telephone")).to_be_visible(timeout=PATIENCE_MS)


def test_a_further_device_comes_in_and_the_first_one_goes(line: Line, playwright: Playwright, recordings: Recordings) -> None:
    ada, bruno, service = line.ada, line.bruno, line.service
    ada.write("Bruno", "On one device")
    bruno.expect_text("On one device")
    with Administrator.of(service) as administrator, phone(playwright, "Bruno", recordings.perugia) as tablet:
        (first,) = administrator.devices_of("Bruno")
        link = administrator.post("/invitations", {"note": "Tablet", "account_id": administrator.account_of("Bruno")})["link"]
        tablet.enrol(service.authorise(link))
        bruno.expect_text("You have a new device")
        ada.expect_text("Bruno has a new telephone")
        tablet.open_thread("Ada")
        tablet.write("Ada", "From the tablet")  # it waits until a member has let the tablet into the conversation
        for each in (ada, bruno):
            each.expect_text("From the tablet")
        ada.write("Bruno", "On both devices")
        for each in (bruno, tablet):
            each.expect_text("On both devices")
        expect(tablet.page.get_by_text("On one device")).to_have_count(0)

        revoke(service, first, "left in a taxi")
        expect_last_word(bruno, "This telephone was revoked")
        ada.expect_text("A telephone of Bruno was revoked")
        ada.write("Bruno", "For the tablet alone")
        tablet.expect_text("For the tablet alone")
        bruno.page.reload()
        expect_last_word(bruno, "This telephone was revoked")
        expect(bruno.page.get_by_text("For the tablet alone")).to_have_count(0)
        assert len(administrator.devices_of("Bruno")) == 2, "both stay listed, one of them as revoked"
