"""Hard days, in real browsers: a phone opened under threat, lost and recovered, not to be disturbed, without room for a call; a guest."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner
from playwright.sync_api import Browser, Playwright, expect

from tests.system.conftest import Recordings
from tests.system.phones import NEEDS_CHROMIUM, NEEDS_SPEECH, PATIENCE_MS, WATCH, Phone, chromium
from tests.system.service import Service, running
from tests.system.test_call import talk
from tests.system.test_precedence import CARRIER, Administrator
from tests.system.test_revocation import expect_last_word, revoke
from tramontana.cli.demonstration import DESKS, PASSPHRASE_NAME
from tramontana.cli.main import tramontana
from tramontana.cli.organisation_key import organisation_dir
from tramontana.keys.organisation import verify_root
from tramontana.precedence import Precedence

pytestmark = [pytest.mark.system, NEEDS_CHROMIUM, NEEDS_SPEECH]
OWN_WORDS = "harbour lantern seven olive"
OTHER_WORDS = "yes of course officer here"
SECRET = "The convoy leaves at four"


@dataclass(frozen=True)
class House:
    """One service, and three people who know each other; the minister may call at Flash."""

    service: Service
    administrator: Administrator
    browser: Browser
    ada: Phone
    bruno: Phone
    minister: Phone

    @property
    def organisation(self) -> Path:
        return organisation_dir(None, self.service.data.absolute())

    def at_desk(self, number: int, *command: str, key: bool = False) -> str:
        """What this custodian of the demonstration reads after `tramontana custodian …`."""
        secret = str(self.organisation / PASSPHRASE_NAME)
        whose = ("--data", str(self.service.data), "--home", str(self.organisation / DESKS[number]), "--passphrase-file", secret)
        with_key = ("--organisation", str(self.organisation), "--key-passphrase-file", secret) if key else ()
        name, *arguments = command
        return run("custodian", name, *whose, *with_key, *arguments)

    def waiting(self, person: Phone) -> tuple[str, str]:
        """Request, as the custodians' list names it, and device code, as the person's own page shows it."""
        expect(person.page.get_by_role("heading", name="Waiting for approval")).to_be_visible(timeout=PATIENCE_MS)
        listed = self.at_desk(0, "list")
        found = re.search(rf"^([0-9a-f]{{8}})  {re.escape(person.name)} ", listed, re.M)
        assert found is not None, listed
        return found[1], person.page.locator(".device-code").inner_text()


def new_phone(browser: Browser, name: str) -> Phone:
    """With a store of its own."""
    context = browser.new_context(locale="en-GB", permissions=["microphone"], viewport={"width": 1100, "height": 800})
    context.add_init_script(WATCH)
    return Phone(context.new_page(), name)


def run(*command: str) -> str:
    ran = CliRunner().invoke(tramontana, list(command))
    assert ran.exception is None, f"{command}\n{ran.output}{ran.exception}"
    return ran.stdout


@pytest.fixture(scope="module")
def house(playwright: Playwright, recordings: Recordings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with ExitStack() as stack:
        service = stack.enter_context(running(tmp_path_factory.mktemp("hard-days") / "data"))
        administrator = stack.enter_context(Administrator.of(service))
        browser = stack.enter_context(chromium(playwright, f"--use-file-for-fake-audio-capture={recordings.ship}"))
        people = {}
        for name in ("Ada", "Bruno", "Minister"):
            people[name] = new_phone(browser, name)
            ceiling = Precedence.FLASH if name == "Minister" else Precedence.ROUTINE
            people[name].enrol(service.authorise(administrator.post("/invitations", {"note": name})["link"], ceiling))
        yield House(service, administrator, browser, *people.values())


def open_protection(of: Phone) -> None:
    of.page.get_by_role("button", name="Protection of this telephone").click()


def close_call(of: Phone) -> None:
    of.page.get_by_role("group", name="Call controls").get_by_role("button", name="Close").click()


def set_quiet(of: Phone, *, quiet: bool) -> None:
    open_protection(of)
    dialog = of.page.get_by_role("dialog", name="Protection")
    switch = dialog.get_by_role("checkbox", name="Calls do not ring on this device")
    switch.click()
    expect(switch).to_be_checked(checked=quiet, timeout=PATIENCE_MS)
    dialog.get_by_role("button", name="Close").click()


def choose_passphrase(of: Phone, section: str, label: str, action: str, words: str) -> None:
    region = of.page.get_by_role("region", name=section)
    region.get_by_label(label).fill(words)
    region.get_by_label("Once more").fill(words)
    region.get_by_role("button", name=action).click()


def lock(of: Phone) -> None:
    of.page.get_by_role("button", name="Lock now").click()
    expect(of.page.get_by_role("heading", name="This telephone is locked")).to_be_visible(timeout=PATIENCE_MS)


def unlock(of: Phone, words: str) -> None:
    of.page.get_by_label("Passphrase").fill(words)
    of.page.get_by_role("button", name="Open").click()
    expect(of.page.get_by_role("heading", name="Contacts")).to_be_visible(timeout=PATIENCE_MS)


def test_under_threat_a_phone_opens_empty_and_alarms(house: House) -> None:
    ada, bruno, administrator = house.ada, house.bruno, house.administrator
    ada.open_thread("Bruno")
    ada.write("Bruno", SECRET)
    bruno.expect_text(SECRET)
    open_protection(ada)
    choose_passphrase(ada, "Passphrase", "New passphrase", "Seal with this passphrase", OWN_WORDS)
    expect(ada.page.get_by_role("button", name="Lock now")).to_be_visible(timeout=PATIENCE_MS)
    ada.page.get_by_text("Set the passphrase for duress").click()
    choose_passphrase(ada, "Under threat", "Passphrase for duress", "Save", OTHER_WORDS)
    expect(ada.page.get_by_role("region", name="Under threat").get_by_text("Saved")).to_be_visible(timeout=PATIENCE_MS)
    devices = ada.page.get_by_role("region", name="Your devices in").get_by_role("listitem")
    [shown] = devices.all_inner_texts()
    lock(ada)
    assert all(entry["action"] != "device.duress" for entry in administrator.get("/audit"))

    unlock(ada, OTHER_WORDS)
    ada.expect_text("Nobody else yet.")
    administrator.wait_for_audit("device.duress")
    [alarm] = [entry for entry in administrator.get("/audit") if entry["action"] == "device.duress"]
    assert alarm["subject"] == f"account {administrator.account_of('Ada')}"
    assert [each["display_name"] for each in administrator.get("/alarms")] == ["Ada"]
    assert "ALARM     Ada was made to open the phone" in house.at_desk(0, "list")
    for hidden in (SECRET, "Bruno", "Minister"):
        expect(ada.page.get_by_text(hidden)).to_have_count(0)
    # Whoever looks where the phone shows its protection sees what every phone shows.
    open_protection(ada)
    expect(devices).to_have_text([shown])
    lock(ada)

    unlock(ada, OWN_WORDS)
    ada.open_thread("Bruno")
    ada.expect_text(SECRET)
    ada.write("Bruno", "I am safe")
    bruno.expect_text("I am safe")


def test_two_custodians_bring_back_a_person_whose_phone_is_lost(house: House) -> None:
    ada, bruno, administrator = house.ada, house.bruno, house.administrator
    ada.write("Bruno", "Before it was lost")
    bruno.expect_text("Before it was lost")
    [lost] = administrator.devices_of("Ada")
    revoke(house.service, lost, "left in a taxi")
    expect_last_word(ada, "This telephone was revoked")

    found = new_phone(house.browser, "Ada")
    found.page.goto(administrator.post("/invitations", {"note": "Ada again", "account_id": administrator.account_of("Ada")})["link"])
    found.page.get_by_label("Your name").fill("Ada")
    found.page.get_by_role("button", name="Set up").click()
    request, code = house.waiting(found)
    assert "1 more custodian has to approve." in house.at_desk(0, "approve", "--code", code, request, key=True)
    expect(found.page.get_by_role("heading", name="Waiting for approval")).to_be_visible()
    assert "Certificate issued" in house.at_desk(1, "approve", "--code", code, request, key=True)

    expect(found.page.get_by_role("heading", name="Contacts")).to_be_visible(timeout=PATIENCE_MS)
    bruno.open_thread("Ada")
    bruno.expect_text("Ada has a new telephone")
    found.open_thread("Bruno")
    found.write("Bruno", "It is me again")
    bruno.expect_text("It is me again")
    bruno.write("Ada", "Welcome back")
    found.expect_text("Welcome back")
    expect(found.page.get_by_text("Before it was lost")).to_have_count(0)


def test_who_does_not_want_to_be_disturbed_hears_a_flash_call(house: House) -> None:
    bruno, minister = house.bruno, house.minister
    set_quiet(bruno, quiet=True)
    minister.open_thread("Bruno")
    minister.page.get_by_label("Precedence of the call").select_option(label="Immediate")
    minister.call("Bruno")
    minister.expect_text("Not available now")
    expect(bruno.page.get_by_role("button", name="Missed calls, 1 new")).to_be_visible(timeout=PATIENCE_MS)
    expect(bruno.page.get_by_role("button", name="Answer")).to_have_count(0)
    close_call(minister)

    minister.page.get_by_label("Precedence of the call").select_option(label="Flash")
    minister.call("Bruno")
    bruno.expect_text("Flash call")
    bruno.answer()
    for each in (bruno, minister):
        each.expect_audio()
    minister.hang_up()
    for each in (bruno, minister):
        close_call(each)
    set_quiet(bruno, quiet=False)


def test_where_a_call_has_no_room_a_voice_message_goes(house: House) -> None:
    bruno, minister, administrator = house.bruno, house.minister, house.administrator
    administrator.rules(carrier_bps={CARRIER: 12_000})
    minister.open_thread("Bruno")
    minister.page.get_by_label("Precedence of the call").select_option(label="Routine")  # a higher one would wait its turn
    minister.call("Bruno")
    minister.expect_text("There is no room for this call")
    minister.page.get_by_role("button", name="Leave a voice message").click()
    recorder = minister.page.get_by_role("group", name="Voice message")
    expect(recorder.get_by_role("timer")).to_have_text(re.compile(r"^0:0[2-9]$"), timeout=PATIENCE_MS)
    recorder.get_by_role("button", name="Send").click()
    bruno.open_thread("Minister")
    bruno.page.get_by_role("button", name=re.compile("^Play Voice message, 0:")).click()
    bruno.page.wait_for_function("() => document.querySelector('audio.file-voice')?.currentTime > 1", timeout=PATIENCE_MS)
    administrator.rules(carrier_bps={})


def test_a_guest_of_another_organisation_writes_and_calls_until_it_ends(house: House, tmp_path: Path) -> None:
    bruno, administrator = house.bruno, house.administrator
    (tmp_path / "pass").write_text("a passphrase of the allies\n")
    (tmp_path / "pass").chmod(0o600)
    allies = ("--organisation", str(tmp_path / "allies"), "--passphrase-file", str(tmp_path / "pass"))
    run("init", "--data", str(house.service.data), *allies, "--name", "Allies")
    root = tmp_path / "allies" / "organisation.root"
    fingerprint = verify_root(root.read_bytes()).fingerprint_text
    with_key = ("--organisation", str(house.organisation), "--passphrase-file", str(house.organisation / PASSPHRASE_NAME))
    limits = ("--fingerprint", fingerprint, "--unit", "Coast Guard", "--ceiling", "priority", "--days", "90")
    (tmp_path / "allies.json").write_text(
        run("organisation", "cross-certify", "--data", str(house.service.data), *with_key, *limits, str(root))
    )
    house.at_desk(0, "federate", str(tmp_path / "allies.json"))
    serial = re.match(r"([0-9a-f]{32})  Allies:", house.at_desk(0, "federations"))
    assert serial is not None

    liaison = new_phone(house.browser, "Liaison")
    asked = {"note": "liaison officer", "unit": "Coast Guard", "precedence_ceiling": "priority"}
    liaison.page.goto(administrator.post("/invitations", asked)["link"])
    liaison.page.get_by_label("Your name").fill("Liaison")
    liaison.page.get_by_role("button", name="Set up").click()
    request, code = house.waiting(liaison)
    house.at_desk(0, "approve", "--no-issue", "--days", "60", "--code", code, request)
    (tmp_path / "guest.json").write_text(house.at_desk(0, "guest", request))
    expect(liaison.page.get_by_role("heading", name="Waiting for approval")).to_be_visible()
    signed = run("organisation", "certify-guest", "--data", str(house.service.data), *allies, "--code", code, str(tmp_path / "guest.json"))
    (tmp_path / "signed.json").write_text(signed)
    assert "Guest certified" in house.at_desk(0, "admit", str(tmp_path / "signed.json"))

    expect(liaison.page.get_by_role("heading", name="Contacts")).to_be_visible(timeout=PATIENCE_MS)
    liaison.open_thread("Bruno")
    liaison.write("Bruno", "From the coast guard")
    bruno.open_thread("Liaison (Allies)")
    bruno.expect_text("From the coast guard")
    bruno.write("Liaison (Allies)", "Welcome aboard")
    liaison.expect_text("Welcome aboard")
    offered = liaison.page.get_by_label("Precedence of the call").get_by_role("option").all_inner_texts()
    assert offered == ["Routine", "Priority"]
    talk(liaison, bruno)
    expect(bruno.page.get_by_role("heading", name="Liaison (Allies)")).to_be_visible()

    house.at_desk(0, "unfederate", "--reason", "exercise over", serial[1], key=True)
    expect_last_word(liaison, "This telephone was revoked")
    bruno.expect_text("The other telephone was revoked")
    close_call(bruno)
    bruno.expect_text("A telephone of Liaison (Allies) was revoked")
