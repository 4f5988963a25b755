"""Several hubs that hear of each other through events, as the hubs of several server processes do."""

from __future__ import annotations

import asyncio

import pytest

from tramontana.control import events
from tramontana.control.frames import CLOSE_NOT_LOGGED_IN, CLOSE_REPLACED, DirectoryChanged, encode
from tramontana.control.hub import MAX_PUSHED, Elsewhere, Hub, Outbox

pytestmark = pytest.mark.anyio

ADA, BEA = "a" * 32, "b" * 32
PHONE, TABLET, OTHER = "1" * 32, "2" * 32, "3" * 32
CONVERSATION = "c" * 32


class Process:
    """A hub with its way to the others."""

    def __init__(self, peers: list[events.MemoryEvents]) -> None:
        self.events = events.MemoryEvents(peers)
        self.hub = Hub(self.events)


def two() -> tuple[Process, Process]:
    peers: list[events.MemoryEvents] = []
    return Process(peers), Process(peers)


async def settle() -> None:
    await asyncio.sleep(0)
    await asyncio.sleep(0)


def quiet(outbox: Outbox) -> Outbox:
    """The outbox of a socket that has told everything so far."""
    outbox.wake.clear()
    outbox.mail = outbox.directory = False
    outbox.presence.clear()
    return outbox


@pytest.mark.parametrize(
    "event",
    [
        events.Mail(device_ids=[PHONE, TABLET]),
        events.Attached(device_id=PHONE, account_id=ADA, serial=7),
        events.Detached(device_id=PHONE, serial=7),
        events.DirectoryChanged(),
        events.Closed(device_ids=[PHONE], code=4401),
        events.CallsChanged(),
        events.CallChanged(account_ids=[ADA, BEA], conversation_id=CONVERSATION),
        events.Pushed(device_ids=[PHONE], frame='{"type":"floor"}'),
    ],
)
def test_events_come_back_as_they_were(event: events.Event) -> None:
    assert events.parse(events.encode(event)) == event


@pytest.mark.parametrize("text", [b"", b"{}", b'{"type":"mail"}', b'{"type":"mail","device_ids":["x"]}', b'{"type":"unknown"}', b"\xff"])
def test_what_is_no_event_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - pydantic's, whatever its words
        events.parse(text)


async def test_mail_and_frames_reach_devices_of_other_processes() -> None:
    first, second = two()
    here, there = Outbox(PHONE, ADA, 1), Outbox(OTHER, BEA, 1)
    first.hub.attach(here)
    second.hub.attach(there)
    await settle()
    quiet(here), quiet(there)
    first.hub.mail([PHONE, OTHER])
    first.hub.push([OTHER], encode(DirectoryChanged()))
    await settle()
    assert here.mail
    assert there.mail
    assert list(there.pushed) == ['{"type":"directory"}']
    assert not here.pushed


async def test_a_slow_device_gets_the_newest_frames() -> None:
    hub = Hub()
    slow = Outbox(PHONE, ADA)
    hub.attach(slow)
    for number in range(MAX_PUSHED + 3):
        hub.push([PHONE], str(number))
    assert list(slow.pushed) == [str(number) for number in range(3, MAX_PUSHED + 3)]


async def test_a_newer_socket_elsewhere_closes_the_older_and_the_account_stays_online() -> None:
    first, second = two()
    watching = Outbox(OTHER, BEA, 1)
    older, newer = Outbox(PHONE, ADA, 1), Outbox(PHONE, ADA, 2)
    first.hub.attach(watching)
    first.hub.attach(older)
    await settle()
    quiet(watching)
    second.hub.attach(newer)
    await settle()
    assert older.close_code == CLOSE_REPLACED
    first.hub.detach(older)
    await settle()
    assert newer.close_code is None
    assert first.hub.is_device_online(PHONE)
    assert second.hub.is_device_online(PHONE)
    assert watching.presence == {}  # Ada never went


@pytest.mark.parametrize("order", [(1, 2), (2, 1)])
async def test_of_two_sockets_that_come_at_once_the_higher_serial_stays(order: tuple[int, int]) -> None:
    first, second = two()
    a, b = Outbox(PHONE, ADA, order[0]), Outbox(PHONE, ADA, order[1])
    first.hub.attach(a)
    second.hub.attach(b)  # neither has heard of the other yet
    await settle()
    assert sorted((a.serial, a.close_code) for a in (a, b)) == [(1, CLOSE_REPLACED), (2, None)]


async def test_a_socket_that_was_overtaken_before_it_attached_is_closed() -> None:
    hub = Hub()
    newer, older = Outbox(PHONE, ADA, 2), Outbox(PHONE, ADA, 1)
    hub.attach(newer)
    hub.attach(older)
    assert (newer.close_code, older.close_code) == (None, CLOSE_REPLACED)


async def test_presence_counts_the_devices_of_all_processes() -> None:
    first, second = two()
    watching = Outbox(OTHER, BEA, 1)
    phone, tablet = Outbox(PHONE, ADA, 1), Outbox(TABLET, ADA, 1)
    first.hub.attach(watching)
    first.hub.attach(phone)
    second.hub.attach(tablet)
    await settle()
    assert (len(first.hub.devices_online), len(second.hub.devices_online)) == (3, 3)
    assert quiet(watching) is watching
    first.hub.detach(phone)
    await settle()
    assert watching.presence == {}
    second.hub.detach(tablet)
    await settle()
    assert watching.presence == {ADA: False}
    assert not second.hub.is_account_online(ADA)


async def test_sockets_are_closed_and_the_directory_told_everywhere() -> None:
    first, second = two()
    there = Outbox(PHONE, ADA, 1)
    second.hub.attach(there)
    await settle()
    quiet(there)
    first.hub.directory_changed()
    first.hub.close([PHONE], CLOSE_NOT_LOGGED_IN)
    await settle()
    assert there.directory
    assert there.close_code == CLOSE_NOT_LOGGED_IN


async def test_members_at_every_process_are_told_of_a_conversation_and_its_call_and_nobody_else() -> None:
    first, second = two()
    ada, bea = Outbox(PHONE, ADA, 1), Outbox(OTHER, BEA, 1)
    first.hub.attach(ada)
    second.hub.attach(bea)
    await settle()
    for subject, change in (("conversations", first.hub.conversation_changed), ("calls", first.hub.call_changed)):
        quiet(ada), quiet(bea)
        change([BEA], CONVERSATION)
        await settle()
        assert getattr(bea, subject) == {CONVERSATION}
        assert bea.wake.is_set()
        assert not getattr(ada, subject)
        change([ADA], CONVERSATION)
        assert getattr(ada, subject) == {CONVERSATION}


async def test_what_was_lost_is_made_up_for_from_the_store() -> None:
    first, second = two()
    gaps: list[str] = []
    first.hub.on_gap = lambda: gaps.append("first")
    first.events.cut()
    assert first.hub.state == "degraded"
    second.hub.attach(Outbox(PHONE, ADA, 4))
    await settle()
    assert not first.hub.is_device_online(PHONE)
    first.events.heal()
    await settle()
    assert gaps == ["first"]
    before = first.hub.connected_elsewhere()
    first.hub.set_elsewhere({PHONE: Elsewhere(ADA, 4)}, before)
    assert first.hub.is_account_online(ADA)
    before = first.hub.connected_elsewhere()
    second.hub.attach(Outbox(OTHER, BEA, 1))
    await settle()
    first.hub.set_elsewhere({}, before)  # the store was read before Bea came
    assert not first.hub.is_account_online(ADA)
    assert first.hub.is_account_online(BEA)


async def test_a_process_hears_that_calls_changed() -> None:
    first, second = two()
    heard: list[str] = []
    second.hub.on_calls_changed = lambda: heard.append("second")
    first.hub.on_calls_changed = lambda: heard.append("first")
    first.hub.calls_changed()
    await settle()
    assert heard == ["second"]
