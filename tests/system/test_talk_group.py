"""A talk group of fifty: two browsers speak, fifty phones without a browser listen in one process, one of them comes late.

Real: server, relay process, path player, forwarder, both browsers, MLS, SFrame, floor control, all fifty devices with keys of their own.
A sender numbers his frames inside what he seals; so each listener's count says what was lost on the way, wherever that was.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest
from playwright.sync_api import Playwright, expect

from tests.system.conftest import Recordings
from tests.system.phones import NEEDS_CHROMIUM, NEEDS_SPEECH, PATIENCE_MS, Phone, phone
from tests.system.service import running
from tests.system.test_conference import found_group
from tests.system.test_precedence import Administrator
from tramontana.device import key_packages
from tramontana.device.device import Device
from tramontana.device.driver import OnlineDevice, ask_once
from tramontana.device.enrolment import Invitation, enrol
from tramontana.device.membership import names_of
from tramontana.device.store import MemoryStore
from tramontana.phone.headless.listener.driver import Listener
from tramontana.precedence import Precedence

pytestmark = [pytest.mark.system, NEEDS_CHROMIUM, NEEDS_SPEECH]
T = TypeVar("T")
LISTENERS = 50
FRAMES = 100
TITLE = "Strait"
PATIENCE_S = 180.0
POLL_S = 0.1
LOOK_AGAIN_S = 1.0
AT_A_TIME = 4


class Hall:
    """The listeners, in an event loop of a thread of its own: Playwright has this one."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._began = time.monotonic()
        self._few = asyncio.Semaphore(AT_A_TIME)
        self._running: list[concurrent.futures.Future[None]] = []
        self.listeners: list[Listener] = []

    def say(self, what: str) -> None:
        """How long a step took; pytest -rP shows it."""
        print(f"{time.monotonic() - self._began:6.1f} s: {what}", flush=True)

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE_S)

    def start(self, *work: Coroutine[Any, Any, None]) -> None:
        self._running += [asyncio.run_coroutine_threadsafe(each, self._loop) for each in work]

    def enrol(self, links: dict[str, str]) -> None:
        """A device for each name, from an address of its own, as fifty phones have: it waits for the custodians."""

        async def one(number: int, name: str, link: str) -> Listener:
            async with self._few:
                return await enrolled(number, name, link)

        async def enrolled(number: int, name: str, link: str) -> Listener:
            store, address = MemoryStore(), f"127.0.1.{number}"
            invitation = Invitation.parse(link)
            await ask_once(invitation.origin, enrol(store, invitation, name), address)
            return Listener(Device(store), local_address=address)

        async def everybody() -> list[Listener]:
            return list(await asyncio.gather(*(one(number, *each) for number, each in enumerate(links.items(), 1))))

        self.listeners = self.do(everybody())

    def prepare(self) -> None:
        """Once they are certified: the log is read, and key packages are at the server. One asks until then, as asking costs the server."""

        async def one(online: OnlineDevice) -> None:
            async with self._few:
                await online.follow()
                await online.ask(online.device.replenish(online.now()))

        async def everybody() -> None:
            first, names = self.listeners[0].online, [each.online.device.enrolment.device_id for each in self.listeners]
            while any(first.device.membership.standing(name, first.now()) != "certified" for name in names):
                await asyncio.sleep(LOOK_AGAIN_S)
                await first.follow()
            await asyncio.gather(*(one(each.online) for each in self.listeners))

        self.do(everybody())

    def go_online(self) -> None:
        self.start(*(each.run() for each in self.listeners))
        self.until(lambda each: each.online.online.is_set(), "is online")

    def until(self, holds: Callable[[Listener], bool], what: str, count: int | None = None) -> None:
        """Wait until it holds of the first so many, or of all."""
        deadline = time.monotonic() + PATIENCE_S
        wanted = self.listeners[:count]
        while not all(holds(each) for each in wanted):
            for each in self._running:
                if each.done():
                    each.result()
            assert time.monotonic() < deadline, f"{what} holds of {sum(map(holds, wanted))} of {len(wanted)} listeners only"
            time.sleep(POLL_S)
        self.say(f"everybody {what}")

    def close(self) -> None:
        async def cancel() -> None:
            mine = [each for each in asyncio.all_tasks() if each is not asyncio.current_task()]
            for each in mine:
                each.cancel()
            await asyncio.wait(mine)

        if asyncio.run_coroutine_threadsafe(asyncio.sleep(0, result=bool(self._running)), self._loop).result(PATIENCE_S):
            self.do(cancel())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE_S)
        self._loop.close()


@contextmanager
def hall() -> Iterator[Hall]:
    made = Hall()
    try:
        yield made
    finally:
        made.close()


def leaf_of(listener: Listener, conversation_id: str, device_id: str) -> int:
    keys = listener.online.device.conversations.keys(conversation_id)
    assert keys is not None
    (leaf,) = [each.leaf_index for each in keys.members if (names_of(each.credential) or ("", ""))[1] == device_id]
    return leaf


def frames(listener: Listener, leaf: int) -> int:
    """Of this sender, as many as were opened."""
    return sum(each.opened for each in listener.gate.senders.values() if each.leaf == leaf) if listener.gate is not None else 0


def press(speaker: Phone) -> None:
    speaker.page.keyboard.down("Space")
    expect(speaker.page.get_by_text("You have the floor: speak")).to_be_visible(timeout=PATIENCE_MS)


def test_fifty_hear_one_another_comes_late_and_a_higher_precedence_takes_the_floor(
    playwright: Playwright, recordings: Recordings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # One conversation takes one key package of a device, so a thousand are not made and kept here.
    monkeypatch.setattr(key_packages, "WANTED", 2)
    monkeypatch.setattr(key_packages, "FEWEST", 1)
    with (
        hall() as listening,
        running(tmp_path / "data") as service,
        Administrator.of(service) as administrator,
        phone(playwright, "Ada", recordings.ship) as ada,
        phone(playwright, "Minister", recordings.perugia) as minister,
    ):
        notes = [f"Listener {number:02}" for number in range(LISTENERS)]
        links = [administrator.post("/invitations", {"note": note})["link"] for note in notes]
        listening.enrol(dict(zip(notes, service.authorise_all(links), strict=True)))
        listening.say("enrolled")
        listening.prepare()
        listening.say("certified")
        ada.enrol(service.authorise(administrator.post("/invitations", {"note": "Ada"})["link"]))
        minister.enrol(service.authorise(administrator.post("/invitations", {"note": "Minister"})["link"], Precedence.FLASH))
        listening.go_online()
        found_group(ada, ["Minister", *notes], TITLE, "Talk group")
        listening.until(lambda each: TITLE in each.online.device.conversations.talk_groups().values(), "is in the talk group")
        first, late = listening.listeners[0], listening.listeners[-1]
        conversation_id = first.find(TITLE)
        by_ada, by_minister = (administrator.devices_of(name)[0] for name in ("Ada", "Minister"))
        of_ada, of_minister = (leaf_of(first, conversation_id, device) for device in (by_ada, by_minister))

        minister.page.get_by_role("list").get_by_role("button", name=TITLE).first.click()
        for each in (ada, minister):
            each.page.get_by_role("button", name="Listen and talk").click()
            expect(each.page.get_by_text("The floor is free")).to_be_visible(timeout=PATIENCE_MS)
        listening.start(*(each.listen(conversation_id) for each in listening.listeners[:-1]))
        listening.until(lambda each: each.call_id is not None, "is in the call", LISTENERS - 1)

        press(ada)
        listening.until(lambda each: each.floor == by_ada and frames(each, of_ada) >= FRAMES, "has heard Ada", LISTENERS - 1)
        listening.start(late.listen(conversation_id))
        listening.until(lambda each: each.floor == by_ada and frames(each, of_ada) >= FRAMES, "has heard Ada")
        assert frames(late, of_ada) < min(frames(each, of_ada) for each in listening.listeners[:-1])

        minister.page.get_by_label("Precedence of what you say").select_option(label="Flash")
        minister.page.get_by_role("heading", name="Floor").click()  # the space bar is the menu's until then
        press(minister)
        expect(ada.page.get_by_text("Minister took the floor with higher precedence: Flash")).to_be_visible(timeout=PATIENCE_MS)
        listening.until(lambda each: each.floor == by_minister and frames(each, of_minister) >= FRAMES, "has heard the minister")
        ada_so_far = [frames(each, of_ada) for each in listening.listeners]
        listening.until(lambda each: frames(each, of_minister) >= 2 * FRAMES, "has heard more of the minister")
        assert [frames(each, of_ada) for each in listening.listeners] == ada_so_far, "nobody is heard who has lost the floor"
        minister.page.keyboard.up("Space")
        listening.until(lambda each: each.floor is None, "knows that the floor is free")

        senders = [each for listener in listening.listeners if listener.gate for each in listener.gate.senders.values()]
        assert {each.leaf for each in senders} == {of_ada, of_minister}
        heard, lost = sum(each.opened for each in senders), sum(each.lost for each in senders)
        refused = sum(each.gate.refused for each in listening.listeners if each.gate)
        print(f"{LISTENERS} listeners: {heard} frames heard, {lost} lost ({lost / (heard + lost):.2%}), {refused} refused")
