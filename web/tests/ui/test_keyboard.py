"""The telephone and the console by keyboard alone, and what must happen around them: secrets out of the address, language, focus."""

from __future__ import annotations

import re
from time import time
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from web.tests.ui.fake_server import Api, hexadecimal
from web.tests.ui.watched import Watched


def focused(page: Page) -> str:
    """Text or label of what holds the focus; nothing where the page as a whole has it, as after the focused button went away."""
    text: str = page.evaluate(
        """() => {
          const { activeElement: at } = document;
          return at === document.body ? '' : at.getAttribute('aria-label') || at.innerText || at.id;
        }"""
    )
    return text.strip()


def tab_to(page: Page, wanted: str, at_most: int = 40) -> None:
    """Press Tab until the focus is on something with this text or label."""
    seen = []
    for _ in range(at_most):
        page.keyboard.press("Tab")
        seen.append(focused(page))
        if wanted in seen[-1]:
            return
    raise AssertionError(f"no {wanted!r} by Tab; there were {seen}")


def test_answer_talk_and_hang_up(watched: Watched) -> None:
    page = watched.scene("incoming")
    dialog = page.get_by_role("alertdialog", name="Incoming call")
    expect(dialog).to_be_visible()
    assert focused(page) == "Answer"
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    expect(dialog).to_be_visible()
    stops = set()
    for _ in range(6):
        page.keyboard.press("Tab")
        stops.add(page.evaluate("() => document.activeElement === document.body || !!document.activeElement.closest('dialog')"))
    assert stops == {True}
    page.get_by_role("button", name="Answer").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Read these six digits to each other")).to_be_visible()
    expect(dialog).to_have_count(0)
    tab_to(page, "Mute")
    page.keyboard.press("Space")
    expect(page.get_by_role("button", name="Muted")).to_have_attribute("aria-pressed", "true")
    tab_to(page, "Hang up")
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")  # of an impatient finger: it must not call again
    expect(page.get_by_text("Call ended").first).to_be_visible()
    tab_to(page, "Close")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Close")).to_have_count(0)
    expect(page.get_by_role("navigation", name="Contacts")).to_be_visible()
    assert watched.asked() == ["answer", "setMuted true", "hangUp", "hangUp"]


def test_call_with_precedence(watched: Watched) -> None:
    page = watched.scene("threadEmpty")
    tab_to(page, "Precedence of the call")
    for _ in range(3):
        page.keyboard.press("ArrowDown")
    # Flash override is above this person's ceiling.
    assert page.get_by_role("combobox", name="Precedence of the call").locator("option").all_inner_texts() == [
        "Routine",
        "Priority",
        "Immediate",
        "Flash",
    ]
    tab_to(page, "Call Civil protection Catania")
    page.keyboard.press("Enter")
    expect(page.locator(".call").get_by_text("Flash", exact=True)).to_be_visible()
    assert watched.asked() == ["call a5 flash"]


def test_a_call_that_gives_way_can_be_left_or_kept(watched: Watched) -> None:
    page = watched.scene("givingWay")
    expect(page.get_by_role("alert").filter(has_text="Flash call from Embassy Tunis")).to_be_visible()
    tab_to(page, "Decline it")
    page.keyboard.press("Shift+Tab")
    assert focused(page) == "Answer now"
    page.keyboard.press("Enter")
    assert watched.asked() == ["answer"]


def test_decline(watched: Watched) -> None:
    page = watched.scene("incoming")
    page.keyboard.press("Shift+Tab")
    assert focused(page) == "Decline"
    page.keyboard.press("Enter")
    expect(page.get_by_role("alertdialog")).to_have_count(0)
    assert watched.asked() == ["decline"]


def test_write_a_text(watched: Watched) -> None:
    page = watched.scene("list")
    tab_to(page, "Civil protection Catania")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Civil protection Catania")).to_be_focused()
    tab_to(page, "composer")
    page.keyboard.type("Two lines")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("of text")
    page.keyboard.press("Enter")
    sent = page.locator(".entry").filter(has_text="Two lines")
    expect(sent).to_contain_text("Delivered")
    expect(page.get_by_role("textbox")).to_be_focused()
    expect(page.get_by_role("textbox")).to_have_value("")
    expect(page.get_by_role("status").filter(has_text="Delivered to Civil protection Catania.")).to_have_count(1)
    assert watched.asked() == ["sendText a5 Two lines\nof text"]


def test_call_back_who_was_missed_and_do_not_be_disturbed(watched: Watched) -> None:
    page = watched.scene("list")
    missed = page.get_by_role("button", name="Missed calls, 2 new")
    missed.press("Enter")
    dialog = page.get_by_role("dialog", name="Missed calls")
    dialog.get_by_role("button", name="Mark all as seen").press("Enter")
    expect(dialog.get_by_role("button", name="Mark all as seen")).to_have_count(0)
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    page.get_by_role("button", name="Protection of this telephone").press("Enter")
    page.get_by_role("checkbox", name="Calls do not ring on this device").press("Space")
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="do not disturb is on")).to_be_visible()
    page.get_by_role("button", name="Missed calls", exact=True).press("Enter")
    dialog.get_by_role("button", name="Call back Patrol vessel P402").press("Enter")
    expect(dialog).to_have_count(0)
    asked = [line for line in watched.asked() if not line.startswith("markRead")]
    assert asked == ["callsSeen c1,c2", "setQuiet true", "callsSeen c2", "call a3 routine"]


def test_show_a_picture_and_end_a_transfer(watched: Watched) -> None:
    page = watched.scene("files")
    page.get_by_role("button", name="Show picture bridge on SS 685.jpg").press("Enter")
    expect(page.get_by_role("img", name="bridge on SS 685.jpg")).to_be_visible()
    hide = page.get_by_role("button", name="Hide picture bridge on SS 685.jpg")
    expect(hide).to_be_focused()
    hide.press("Enter")
    expect(page.get_by_role("img", name="bridge on SS 685.jpg")).to_have_count(0)
    page.get_by_role("listitem").filter(has_text="blocked roads").get_by_role("button", name="Cancel").press("Enter")
    expect(page.get_by_role("listitem").filter(has_text="blocked roads").get_by_role("progressbar")).to_have_count(0)
    asked = [line for line in watched.asked() if not line.startswith("markRead")]
    assert asked == ["fetchFile a1 f0", "cancelTransfer a1 f1"]


def test_make_a_group_change_it_and_leave(watched: Watched) -> None:
    page = watched.scene("list")
    page.get_by_role("button", name="New group").press("Enter")
    dialog = page.get_by_role("dialog", name="New group")
    make = dialog.get_by_role("button", name="Make the group")
    make.press("Enter")
    expect(dialog.get_by_label("Name of the group")).to_be_focused()
    page.keyboard.type("Convoy north")
    make.press("Enter")
    expect(dialog.get_by_role("alert")).to_contain_text("Choose at least one person")
    expect(dialog.get_by_role("checkbox", name="Field post Norcia")).to_have_count(0)  # its key has changed
    dialog.get_by_role("checkbox", name="Crisis room").press("Space")
    make.press("Enter")
    expect(page.get_by_role("heading", name="Convoy north")).to_be_focused()
    page.get_by_role("button", name="Members and name").press("Enter")
    members = page.get_by_role("dialog", name="Convoy north")
    members.get_by_role("checkbox", name="Embassy Tunis").press("Space")
    add = members.get_by_role("button", name="Add", exact=True)
    expect(add).to_be_enabled()
    add.press("Enter")
    members.get_by_role("button", name="Remove Embassy Tunis").press("Enter")
    members.get_by_role("button", name="Leave the group").press("Enter")
    members.get_by_role("button", name="Leave now").press("Enter")
    expect(members).to_have_count(0)
    expect(page.get_by_text("You left this group")).to_be_visible()
    expect(page.get_by_role("textbox")).to_have_count(0)
    asked = [line for line in watched.asked() if not line.startswith("markRead")]
    assert asked == ["createGroup group Convoy north a1", "addMembers g9 a2", "removeMember g9 a2", "leaveGroup g9"]


def test_a_group_shows_its_archive_and_who_has_read(watched: Watched) -> None:
    page = watched.scene("group")
    expect(page.get_by_text("This conversation is archived by Archive of the ministry")).to_be_visible()
    expect(page.locator(".entry").filter(has_text="Two lorries")).to_contain_text("Delivered 2/3 · Read 1/3")
    page.get_by_role("button", name="Members and name").press("Enter")
    row = page.get_by_role("listitem").filter(has_text="Archive of the ministry")
    expect(row.get_by_text("Archive", exact=True)).to_be_visible()
    expect(row.get_by_role("button")).to_have_count(0)


@pytest.mark.parametrize("scene", ["group", "muted", "incoming", "conference", "talkTaken", "conferenceRings"])
def test_nobody_speaks_unaware_of_an_archive(watched: Watched, scene: str) -> None:
    page = watched.scene(scene)
    expect(page.get_by_text("This conversation is archived by Archive of the ministry, which keeps what is said here.")).to_be_visible()


def test_send_again_and_call_back(watched: Watched) -> None:
    page = watched.scene("thread")
    page.get_by_role("button", name="Send again").press("Enter")
    expect(page.locator(".entry").filter(has_text="Generator fuel")).to_contain_text("Sent")
    page = watched.scene("threadMissed")
    page.get_by_role("button", name="Call back").press("Enter")
    expect(page.get_by_role("heading", name="Embassy Tunis")).to_be_focused()
    expect(page.get_by_role("button", name="Cancel call")).to_be_visible()


def test_a_changed_key_blocks_calls_and_texts(watched: Watched) -> None:
    page = watched.scene("keyChanged")
    expect(page.get_by_role("alert")).to_contain_text("key has changed")
    expect(page.get_by_role("button", name="Call Field post Norcia")).to_be_disabled()
    expect(page.get_by_role("textbox")).to_have_count(0)


def test_undecryptable_media_cannot_be_missed(watched: Watched) -> None:
    page = watched.scene("undecryptable")
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("cannot be decrypted")
    expect(alert).to_be_in_viewport()
    expect(page.get_by_text("Encrypted sound arrives")).to_have_count(0)


def test_simulation_is_always_labelled(watched: Watched) -> None:
    for scene in ("list", "active", "outage", "fibre"):
        page = watched.scene(scene)
        expect(page.get_by_text("Simulated", exact=True).first).to_be_visible()


def test_back_leads_from_thread_to_list_in_a_small_window(watched: Watched) -> None:
    watched.page.set_viewport_size({"width": 390, "height": 844})
    page = watched.scene("list")
    page.get_by_role("button", name="Patrol vessel P402").click()
    expect(page.get_by_role("heading", name="Patrol vessel P402")).to_be_visible()
    expect(page.get_by_role("navigation", name="Contacts")).to_be_hidden()
    page.get_by_role("button", name="Back to contacts").press("Enter")
    expect(page.get_by_role("navigation", name="Contacts")).to_be_visible()


def test_enrolment_by_link(watched: Watched) -> None:
    token, organisation = "k" * 43, "r" * 43
    page = watched.page
    page.goto(f"{watched.origin}/tests/ui/phone.html?scene=enrol#invite={token}&org={organisation}")
    expect(page.get_by_text("Invitation received")).to_be_visible()
    assert token not in page.url
    page.get_by_role("button", name="Set up").press("Enter")
    expect(page.get_by_role("textbox", name="Your name")).to_be_focused()
    expect(page.get_by_role("alert")).to_contain_text("Write the name")
    page.keyboard.type("  Prefecture of Rieti ")
    page.keyboard.press("Enter")
    expect(page.get_by_role("navigation", name="Contacts")).to_be_visible()
    assert watched.asked() == [f"enrol invite={token}&org={organisation} Prefecture of Rieti"]


def test_enrolment_by_hand_refuses_what_is_no_invitation(watched: Watched) -> None:
    page = watched.scene("enrol")
    page.get_by_label("Your name").fill("Prefecture of Rieti")
    page.get_by_label("Invitation", exact=True).fill("hello")
    page.keyboard.press("Enter")
    expect(page.get_by_label("Invitation", exact=True)).to_be_focused()
    expect(page.get_by_role("alert")).to_contain_text("This is not a whole invitation")
    assert watched.asked() == []


def test_language_is_kept_and_declared(watched: Watched) -> None:
    page = watched.scene("list")
    assert page.evaluate("() => document.documentElement.lang") == "en"
    page.get_by_role("button", name="Italiano").press("Enter")
    expect(page.get_by_role("navigation", name="Contatti")).to_be_visible()
    page = watched.scene("list")
    expect(page.get_by_role("navigation", name="Contatti")).to_be_visible()
    assert page.evaluate("() => document.documentElement.lang") == "it"


def test_choose_place_and_carrier(watched: Watched) -> None:
    page = watched.scene("list")
    strip = page.get_by_role("button", name="Starlink")
    strip.press("Enter")
    dialog = page.get_by_role("dialog", name="Place and carrier")
    expect(dialog).to_be_visible()
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(strip).to_be_focused()
    strip.press("Enter")
    page.get_by_role("combobox", name="Place").select_option(label="Lampedusa · 35.50° N, 12.61° E")
    page.get_by_role("radio", name="Fibre").check()
    page.get_by_role("button", name="Use these").press("Enter")
    expect(dialog).to_have_count(0)
    assert watched.asked() == ["chooseAccess lampedusa fibre"]


def test_console_makes_shows_once_and_withdraws_an_invitation(watched: Watched) -> None:
    page = watched.console("invitations")
    assert "admin=" not in page.url
    page.get_by_role("textbox", name="For whom").fill("Prefecture of Rieti")
    page.keyboard.press("Enter")
    expect(page.get_by_text("#invite=")).to_be_visible()
    page.get_by_role("button", name="Done").press("Enter")
    expect(page.get_by_text("#invite=")).to_have_count(0)
    row = page.get_by_role("row").filter(has_text="Prefecture of Rieti")
    row.get_by_role("button").press("Enter")
    dialog = page.get_by_role("dialog", name="Withdraw this invitation?")
    dialog.get_by_role("button", name="Withdraw").press("Enter")
    expect(row).to_contain_text("Withdrawn")


def test_console_says_what_archives_keep(watched: Watched, server: tuple[str, Api]) -> None:
    page = watched.console("conversations")
    form = page.locator("form.archive").filter(has_text="Archive of the coast guard")
    save = form.get_by_role("button", name="Save what Archive of the coast guard keeps")
    expect(form).to_contain_text("somebody of the unit “Coast guard” takes part")
    expect(save).to_be_disabled()
    form.get_by_role("checkbox", name="New conversations of two").press("Space")
    save.press("Enter")
    expect(page.locator("[aria-live]").filter(has_text="Saved")).to_have_count(1)
    [(method, path, body)] = taken(server[1])
    assert (method, path.split("/")[-2], body) == ("PUT", "archives", {"kinds": ["direct", "group"]})


def test_console_makes_a_talk_group_and_keeps_its_members(watched: Watched, server: tuple[str, Api]) -> None:
    page = watched.console("conversations")
    page.get_by_role("combobox", name="Owner").select_option(label="Crisis room")
    page.get_by_role("checkbox", name="Field post Norcia").press("Space")
    page.get_by_role("button", name="Make the talk group").press("Enter")
    group = page.get_by_role("region", name="Talk group of Crisis room, 3 members")
    group.get_by_role("combobox", name="Priority of Patrol vessel P402").select_option(label="Only listens")
    expect(group.get_by_role("row").filter(has_text="Crisis room").get_by_role("checkbox")).to_be_disabled()
    group.get_by_role("button", name="Remove Field post Norcia").press("Enter")
    expect(page.locator("[aria-live]").filter(has_text="Field post Norcia is removed")).to_have_count(1)
    waiting = page.get_by_role("region", name="Talk group of Field post Norcia, 2 members")
    expect(waiting).to_contain_text("It waits for the telephone of Field post Norcia.")
    waiting.get_by_role("combobox", name="Add a person").select_option(label="Crisis room")
    waiting.get_by_role("button", name="Add").press("Enter")
    expect(page.locator("[aria-live]").filter(has_text="Crisis room is added")).to_have_count(1)
    made, listens, removed, added = taken(server[1])
    assert (made[0], made[2]["owner"], made[2]["members"]) == ("POST", hexadecimal(50), [hexadecimal(53)])
    assert listens == ("PUT", f"/api/v1/admin/talk-groups/{hexadecimal(151)}/members/{hexadecimal(52)}", {"owner": False, "floor": "none"})
    assert removed == ("DELETE", f"/api/v1/admin/talk-groups/{hexadecimal(151)}/members/{hexadecimal(53)}", None)
    assert added == ("PUT", f"/api/v1/admin/talk-groups/{hexadecimal(152)}/members/{hexadecimal(50)}", {"owner": False, "floor": None})


def test_console_asks_custodians_for_a_higher_precedence(watched: Watched, server: tuple[str, Api]) -> None:
    page = watched.console("people")
    page.get_by_role("button", name="Change the rights of Field post Norcia").press("Enter")
    dialog = page.get_by_role("dialog", name="New rights for Field post Norcia")
    expect(dialog.get_by_role("status")).to_have_text("One custodian has to approve this.")
    dialog.get_by_role("combobox", name="Precedence up to").select_option(label="Flash")
    expect(dialog.get_by_role("status")).to_have_text("Two custodians have to approve this.")
    dialog.get_by_role("button", name="Ask the custodians").press("Enter")
    expect(dialog).to_have_count(0)
    rights = {"display_name": "Field post Norcia", "unit": "Coast guard", "roles": ["member"], "precedence_ceiling": "flash"}
    assert taken(server[1]) == [("POST", "/api/v1/admin/requests", {"device_id": hexadecimal(73), **rights})]


def test_a_phone_opened_under_duress_is_told_above_every_view(watched: Watched, server: tuple[str, Api]) -> None:
    server[1].alarms = [{"device_id": hexadecimal(72), "account_id": hexadecimal(52), "display_name": "Ada", "raised_at": time() - 40}]
    try:
        for view in ("sky", "calls"):
            page = watched.console(view)
            alarm = page.get_by_role("alert").filter(has_text="Ada was made to open the telephone")
            expect(alarm).to_be_visible()
            expect(alarm).to_contain_text(f"tramontana custodian revoke --reason REASON {hexadecimal(72)}")
    finally:
        server[1].alarms = []
    expect(page.get_by_role("alert")).to_have_count(0, timeout=20_000)


def taken(api: Api) -> list[tuple[str, str, Any]]:
    """What was asked of the made-up administration since this was last looked at."""
    changes, api.changes = api.changes, []
    return changes


def test_console_session_survives_a_reload_and_ends_at_will(watched: Watched) -> None:
    page = watched.console("people")
    page.reload()
    expect(page.get_by_role("row").filter(has_text="Crisis room")).to_be_visible()
    page.get_by_role("button", name="Sign out").press("Enter")
    expect(page.get_by_role("heading", name="Operator's console")).to_be_visible()
    page.reload()
    expect(page.get_by_role("heading", name="Operator's console")).to_be_visible()


def test_console_says_that_a_link_was_refused(watched: Watched) -> None:
    page = watched.page
    page.goto(f"{watched.origin}/console#admin=" + "B" * 43)
    expect(page.get_by_role("alert")).to_contain_text("The link was refused")
    assert "admin=" not in page.url
    watched.faults.clear()  # the refusal itself, which Chromium logs


def test_sky_table_gives_what_the_map_gives(watched: Watched) -> None:
    page = watched.console("sky")
    expect(page.locator(".maplibregl-canvas")).to_be_visible()
    row = page.get_by_role("row").filter(has_text="Rome")
    expect(row).to_contain_text("Milano")
    expect(row).to_contain_text("ms")
    expect(page.get_by_role("row").filter(has_text="south of Crete")).to_contain_text("No coverage")
    expect(page.get_by_text("Simulated radio path")).to_be_visible()
    rome = row.get_by_role("button", name="Rome")
    rome.press("Enter")
    expect(rome).to_have_attribute("aria-pressed", "true")


def test_sky_without_webgl_says_so_and_keeps_the_table(watched: Watched) -> None:
    watched.page.add_init_script(
        "HTMLCanvasElement.prototype.getContext = new Proxy(HTMLCanvasElement.prototype.getContext,"
        "{ apply: (get, self, [kind, ...rest]) => kind.startsWith('webgl') ? null : get.call(self, kind, ...rest) })"
    )
    page = watched.console("sky")
    expect(page.get_by_text("This browser offers no WebGL 2")).to_be_visible()
    expect(page.get_by_role("row").filter(has_text="Rome")).to_contain_text("Milano")


def test_who_approves_an_update_reads_what_it_takes_off_the_air(watched: Watched) -> None:
    page = watched.console("warnings")
    page.get_by_role("button", name="Aftershocks").press("Enter")
    details = page.get_by_role("article").filter(has_text="Aftershocks")
    expect(details.get_by_text("Altre scosse possibili.")).to_be_visible()
    expect(details.get_by_text("Read from the CAP message CP-2 of civil.protection.")).to_be_visible()
    before = details.get_by_role("region", name="What this takes off the air")
    expect(before).to_contain_text("Earthquake")
    expect(before.get_by_text("Allontanarsi dagli edifici.")).to_be_visible()
    expect(before.get_by_text("it is not under the signature")).to_be_visible()


def test_what_phones_are_told_of_a_beam_is_read_and_saved_by_keyboard(watched: Watched, server: tuple[str, Api]) -> None:
    page = watched.console("warnings")
    page.get_by_role("button", name="Write a warning").press("Enter")
    form = page.get_by_role("form", name="New warning")
    form.get_by_label("Corners of the area").fill("43, 13\n43, 14\n42, 14")
    make = form.get_by_role("button", name="Plan satellites")
    expect(make).to_be_enabled()
    make.press("Enter")
    plan = page.get_by_role("region", name="Satellite broadcast plan")
    told = plan.get_by_role("region", name="What phones there are told").get_by_role("row")
    expect(told).to_have_count(4, timeout=30_000)  # the map is drawn in software at the same time
    expect(told.nth(1)).to_contain_text("STARLINK-11075")
    expect(told.nth(1)).to_contain_text("10 s, 5 ms")
    plan.get_by_role("slider").press("ArrowRight")
    expect(told).to_have_count(2, timeout=30_000)
    plan.get_by_label("Block", exact=True).select_option(label="SIB31 of LTE of things")
    form.get_by_label("Corners of the area").fill("43, 13\n43, 15\n42, 14")  # what is written later is not what was planned
    with page.expect_download() as saved:
        plan.get_by_role("button", name="Save the block of beam 4, STARLINK-11118").press("Enter")
    assert re.fullmatch(r"sib31-0004-\d{6}\.bin", saved.value.suggested_filename)
    assert saved.value.path().read_bytes() == b"sib31 1"
    first, second = [body for _, path, body in server[1].changes if path == "/api/v1/warnings/plan"][-2:]
    assert (second["block"], second["polygons"]) == ("sib31", first["polygons"])


def test_texts_are_written_searched_turned_over_and_decided_by_keyboard(watched: Watched, server: tuple[str, Api]) -> None:
    page = watched.console("texts")
    table = page.get_by_role("region", name="Texts, the newest first")
    first = table.get_by_role("row").filter(has_text="+393331234501")
    expect(first).to_contain_text("waits for its turn, about 40 s")
    expect(first).to_contain_text("2 short messages, 1 waiting")
    links = page.get_by_role("region", name="Links one by one")
    expect(links.get_by_role("row").filter(has_text="operator-a")).to_contain_text(
        "3 SOS, 812 Routine · 20 messages/s · a routine text waits about 40 s"
    )
    expect(links.get_by_role("row").filter(has_text="operator-b")).to_contain_text("cannot be reached")

    page.get_by_label("Text", exact=True).focus()
    page.keyboard.type("Portate coperte € ")
    expect(page.get_by_text("19 of 160 characters; 1 short message.")).to_be_visible()
    page.get_by_label("Text", exact=True).fill("ж" * 71)
    expect(page.get_by_text("71 of 134 characters; 2 short messages. These characters halve the room: ж")).to_be_visible()
    page.get_by_label("Telephone number").fill("+39 333 123-4567")
    page.get_by_label("Precedence").select_option("flash")
    page.get_by_role("button", name="Send", exact=True).press("Enter")
    expect(page.get_by_text("The text is queued, about 40 s.").first).to_be_visible()
    ((_, address, sent),) = [change for change in server[1].changes if change[1] == "/api/v1/texts"]
    assert (sent["destination"], sent["precedence"], sent["body"]) == ("+393331234567", "flash", "ж" * 71)
    assert address == "/api/v1/texts"

    page.get_by_role("button", name="Next page").press("Enter")
    expect(table.get_by_role("row").filter(has_text="error 034")).to_contain_text("not delivered")
    expect(page.get_by_role("button", name="Next page")).to_be_disabled()
    page.get_by_role("button", name="Page before").press("Enter")
    page.get_by_role("button", name="Send again to +393331234502: it may arrive twice").press("Enter")
    page.get_by_label("Search in numbers and words").fill("caso 17")
    expect(table.get_by_role("row")).to_have_count(2)
    expect(table).to_contain_text("in SOS case")
    page.get_by_label("Search in numbers and words").fill("")
    page.get_by_label("Show", exact=True).select_option("unknown")
    expect(table.get_by_role("row")).to_have_count(2)
    assert server[1].changes[-1][1].endswith("/again")


def test_cases_have_further_pages(watched: Watched) -> None:
    page = watched.console("sos")
    expect(page.get_by_text("1 wait, 1 in care, 4 closed")).to_be_visible()
    expect(page.get_by_role("button", name="Case 17")).to_be_visible()
    page.get_by_role("button", name="Next page").press("Enter")
    expect(page.get_by_role("button", name="Case 16")).to_be_visible()
    expect(page.get_by_role("button", name="Case 17")).to_have_count(0)
    expect(page.get_by_role("button", name="Next page")).to_be_disabled()
    page.get_by_role("button", name="Page before").press("Enter")
    expect(page.get_by_role("button", name="Case 17")).to_be_visible()


def test_a_workplace_without_a_phone_names_itself_and_hands_a_case_to_a_person(watched: Watched, server: tuple[str, Api]) -> None:
    page = watched.console("sos")
    page.get_by_label("This workplace").fill("Sala 1")
    page.get_by_role("button", name="Case 17").press("Enter")
    case = page.get_by_role("region", name="Case 17")
    to = case.get_by_label("Hand over to a person or a workplace")
    label = case.locator("#sos-operators option").first.evaluate("option => option.value")
    assert label.startswith("Ada (")
    to.fill(label)
    to.press("Enter")
    expect(page.get_by_text(f"Offered to {label}")).to_be_attached()
    path, body = next((path, body) for _, path, body in reversed(server[1].changes) if path.endswith("/offer"))
    assert (path, body) == (f"/api/v1/sos/cases/{'c' * 32}/offer", {"desk": "Sala 1", "to": label})


def test_a_sealed_text_is_written_carried_and_opened_by_keyboard(watched: Watched) -> None:
    page = watched.scene("list")
    page.get_by_role("list").get_by_role("button", name="Patrol vessel P402").first.press("Enter")
    button = page.get_by_role("button", name="Sealed text to Patrol vessel P402")
    button.press("Enter")
    dialog = page.get_by_role("dialog", name="Sealed text to Patrol vessel P402")
    dialog.get_by_label("Text", exact=True).fill("ж" * 59)
    expect(dialog.get_by_text("119 of 117 octets. Too long: shorten it.")).to_be_visible()
    expect(dialog.get_by_role("button", name="Seal only")).to_be_disabled()
    dialog.get_by_label("Text", exact=True).fill("Return to Augusta.")
    expect(dialog.get_by_text("17 of 117 octets.")).to_be_visible()
    dialog.get_by_role("button", name="Seal only").press("Enter")
    expect(dialog.get_by_label("The sealed text in hexadecimal")).to_have_value(" ".join(["1f0b1f0b"] * 15))
    dialog.get_by_role("button", name="Take sealed texts on a number of the server's").press("Enter")
    expect(dialog.get_by_text("Sealed texts reach this device at +390612345.")).to_be_visible()
    dialog.get_by_label("Text", exact=True).fill("Return to Augusta.")
    level = dialog.get_by_label("Precedence of the text")
    expect(level.get_by_role("option")).to_have_text(["Routine", "Priority", "Immediate", "Flash"])  # up to one's own
    level.focus()
    page.keyboard.press("i")
    page.keyboard.press("Tab")
    expect(dialog.get_by_role("button", name="Send to +881612345678")).to_be_focused()
    page.keyboard.press("Enter")
    expect(dialog.get_by_text("The sealed text is queued, about 40 s.")).to_be_visible()
    expect(level).to_have_value("routine")  # more is asked for each time anew
    came = dialog.get_by_label("A sealed text that came, in hexadecimal")
    came.fill("00")
    dialog.get_by_role("button", name="Open", exact=True).press("Enter")
    expect(dialog.get_by_role("alert")).to_contain_text("opens by itself")
    came.fill("1f0b")
    dialog.get_by_role("button", name="Open", exact=True).press("Enter")
    expect(dialog.get_by_text("Patrol vessel P402 wrote: Sea state 4.")).to_be_visible()
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(button).to_be_focused()
    asked = [each for each in watched.asked() if "eal" in each]
    assert asked[0] == "sealText a3 Return to Augusta. by hand"
    assert asked[2:4] == ["sealText a3 Return to Augusta. immediate", "openSealed 00"]
