"""Who is connected, here and at other server processes, and what each device connected here still has to be told.

Nothing is queued for a slow device: its outbox holds at most one flag per subject (mailbox, directory, a conversation, its call), one
presence per account and a few frames that are worthless later. What is in the mailbox is read from the store when the socket can take it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from tramontana.control import events
from tramontana.control.frames import CLOSE_REPLACED

MAX_PUSHED = 64
"""Frames that wait for a slow device; the oldest gives way."""


class Outbox:
    """What one connected device has not been told yet. `serial` orders the connections of a device over all processes."""

    def __init__(self, device_id: str, account_id: str, serial: int = 0) -> None:
        self.device_id = device_id
        self.account_id = account_id
        self.serial = serial
        self.wake = asyncio.Event()
        self.wake.set()  # a mailbox may hold something from before
        self.mail = True
        self.directory = False
        self.conversations: set[str] = set()
        self.calls: set[str] = set()
        self.presence: dict[str, bool] = {}
        self.pushed: deque[str] = deque(maxlen=MAX_PUSHED)
        self.close_code: int | None = None

    def close(self, code: int) -> None:
        """Ask the socket's task to close it."""
        if self.close_code is None:
            self.close_code = code
        self.wake.set()


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """A device that is connected to another process."""

    account_id: str
    serial: int


class Hub:
    """One outbox per device connected here, and who is connected elsewhere.

    Whatever is said here reaches the devices of all processes. Hints from others may be lost; `processes.py` makes up for it.
    """

    def __init__(self, bus: events.Events | None = None) -> None:
        self._bus = bus or events.LocalEvents()
        self._outboxes: dict[str, Outbox] = {}
        self._elsewhere: dict[str, Elsewhere] = {}
        self._accounts_online: dict[str, set[str]] = {}  # account -> its devices that are connected anywhere
        self.on_gap: Callable[[], None] = lambda: None
        """Called when hints were lost; whoever can look at the store sets it."""
        self.on_calls_changed: Callable[[], None] = lambda: None
        """Called when another process says that calls changed."""
        self.on_directory_changed: Callable[[], None] = lambda: None
        """Called when somebody came, went out or changed, here or elsewhere."""
        self._bus.listen(self)

    def attach(self, outbox: Outbox) -> None:
        """Register a connection; an older one of the same device, here or elsewhere, closes with 4409."""
        older = self._outboxes.get(outbox.device_id)
        if older is not None and older.serial > outbox.serial:
            outbox.close(CLOSE_REPLACED)
            return
        self._outboxes[outbox.device_id] = outbox
        self._elsewhere.pop(outbox.device_id, None)
        if older is not None:
            older.close(CLOSE_REPLACED)
        self._came(outbox.device_id, outbox.account_id)
        self._bus.publish(events.Attached(device_id=outbox.device_id, account_id=outbox.account_id, serial=outbox.serial))

    def detach(self, outbox: Outbox) -> None:
        """Forget a connection, unless a newer one has taken its place."""
        if self._outboxes.get(outbox.device_id) is not outbox:
            return
        del self._outboxes[outbox.device_id]
        self._went(outbox.device_id, outbox.account_id)
        self._bus.publish(events.Detached(device_id=outbox.device_id, serial=outbox.serial))

    def _came(self, device_id: str, account_id: str) -> None:
        devices = self._accounts_online.setdefault(account_id, set())
        if not devices:
            self._announce(account_id, online=True)
        devices.add(device_id)

    def _went(self, device_id: str, account_id: str) -> None:
        devices = self._accounts_online[account_id]
        devices.discard(device_id)
        if not devices:
            del self._accounts_online[account_id]
            self._announce(account_id, online=False)

    def _announce(self, account_id: str, *, online: bool) -> None:
        for outbox in self._outboxes.values():
            if outbox.account_id != account_id:
                outbox.presence[account_id] = online
                outbox.wake.set()

    def mail(self, device_ids: Iterable[str]) -> None:
        """There is something new in these devices' mailboxes."""
        wanted = list(device_ids)
        self._mail(wanted)
        # A device that is connected here and nowhere else needs no other process.
        others = [device_id for device_id in wanted if device_id not in self._outboxes]
        if others:
            self._bus.publish(events.Mail(device_ids=others))

    def _mail(self, device_ids: Iterable[str]) -> None:
        for device_id in device_ids:
            if (outbox := self._outboxes.get(device_id)) is not None:
                outbox.mail = True
                outbox.wake.set()

    def look(self, device_ids: Iterable[str]) -> None:
        """These devices, if they are connected here, are to look into their mailboxes; other processes are not told."""
        self._mail(device_ids)

    def push(self, device_ids: Iterable[str], frame: str) -> None:
        """Send a frame (`frames.encode`) to devices that are connected now, here or elsewhere; it is kept nowhere."""
        wanted = list(device_ids)
        self._push(wanted, frame)
        others = [device_id for device_id in wanted if device_id not in self._outboxes]
        if others:
            self._bus.publish(events.Pushed(device_ids=others, frame=frame))

    def _push(self, device_ids: Iterable[str], frame: str) -> None:
        for device_id in device_ids:
            if (outbox := self._outboxes.get(device_id)) is not None:
                outbox.pushed.append(frame)
                outbox.wake.set()

    def directory_changed(self) -> None:
        """Everybody is to fetch the directory again."""
        self._directory_changed()
        self._bus.publish(events.DirectoryChanged())

    def _directory_changed(self) -> None:
        self.on_directory_changed()
        for outbox in self._outboxes.values():
            outbox.directory = True
            outbox.wake.set()

    def conversation_changed(self, account_ids: Collection[str], conversation_id: str) -> None:
        """Members of a conversation changed: these accounts should look."""
        self._conversation_changed(account_ids, conversation_id)
        self._bus.publish(events.ConversationChanged(account_ids=sorted(account_ids), conversation_id=conversation_id))

    def _conversation_changed(self, account_ids: Iterable[str], conversation_id: str) -> None:
        for outbox in self._outboxes_of(account_ids):
            outbox.conversations.add(conversation_id)
            outbox.wake.set()

    def call_changed(self, account_ids: Collection[str], conversation_id: str) -> None:
        """Who is in the call of a conversation has changed, or it ended: these accounts should look."""
        self._call_changed(account_ids, conversation_id)
        self._bus.publish(events.CallChanged(account_ids=sorted(account_ids), conversation_id=conversation_id))

    def _call_changed(self, account_ids: Iterable[str], conversation_id: str) -> None:
        for outbox in self._outboxes_of(account_ids):
            outbox.calls.add(conversation_id)
            outbox.wake.set()

    def _outboxes_of(self, account_ids: Iterable[str]) -> Iterator[Outbox]:
        """The devices of accounts that are connected here."""
        for account_id in account_ids:
            for device_id in self._accounts_online.get(account_id, ()):
                if (outbox := self._outboxes.get(device_id)) is not None:
                    yield outbox

    def close(self, device_ids: Iterable[str], code: int) -> None:
        """Close the sockets of devices, here and elsewhere: their sessions have ended, or they were revoked. End the sessions first."""
        wanted = list(device_ids)
        self._close(wanted, code)
        if wanted:
            self._bus.publish(events.Closed(device_ids=wanted, code=code))

    def _close(self, device_ids: Iterable[str], code: int) -> None:
        for device_id in device_ids:
            if (outbox := self._outboxes.get(device_id)) is not None:
                outbox.close(code)

    def calls_changed(self) -> None:
        """Tell the other processes that calls changed."""
        self._bus.publish(events.CallsChanged())

    def handle(self, event: events.Event) -> None:
        """An event of another process."""
        match event:
            case events.Mail():
                self._mail(event.device_ids)
            case events.Pushed():
                self._push(event.device_ids, event.frame)
            case events.Attached():
                self._attached_elsewhere(event.device_id, Elsewhere(event.account_id, event.serial))
            case events.Detached():
                self._detached_elsewhere(event.device_id, event.serial)
            case events.DirectoryChanged():
                self._directory_changed()
            case events.ConversationChanged():
                self._conversation_changed(event.account_ids, event.conversation_id)
            case events.CallChanged():
                self._call_changed(event.account_ids, event.conversation_id)
            case events.Closed():
                self._close(event.device_ids, event.code)
            case events.CallsChanged():
                self.on_calls_changed()

    def handle_gap(self) -> None:
        """Events of other processes were lost."""
        self.on_gap()

    def _attached_elsewhere(self, device_id: str, there: Elsewhere) -> None:
        here, known = self._outboxes.get(device_id), self._elsewhere.get(device_id)
        if (here is not None and here.serial > there.serial) or (known is not None and known.serial > there.serial):
            return
        if here is not None:
            del self._outboxes[device_id]
            here.close(CLOSE_REPLACED)
        self._elsewhere[device_id] = there
        self._came(device_id, there.account_id)

    def _detached_elsewhere(self, device_id: str, serial: int) -> None:
        known = self._elsewhere.get(device_id)
        if known is not None and known.serial == serial:
            del self._elsewhere[device_id]
            self._went(device_id, known.account_id)

    def connected_elsewhere(self) -> dict[str, Elsewhere]:
        """Who is connected to other processes, as far as this one knows."""
        return dict(self._elsewhere)

    def set_elsewhere(self, connected: Mapping[str, Elsewhere], known_before: Mapping[str, Elsewhere]) -> None:
        """Who is connected to other processes, as the store has it: makes up for events that were lost.

        known_before: `connected_elsewhere` before the store was read; who came since then may not be in the store's answer.
        """
        for device_id, there in connected.items():
            self._attached_elsewhere(device_id, there)
        for device_id, known in known_before.items():
            if device_id not in connected:
                self._detached_elsewhere(device_id, known.serial)

    def connected_here(self) -> list[Outbox]:
        """The connections of this process."""
        return list(self._outboxes.values())

    def is_device_online(self, device_id: str) -> bool:
        return device_id in self._outboxes or device_id in self._elsewhere

    def is_account_online(self, account_id: str) -> bool:
        return account_id in self._accounts_online

    @property
    def devices_online(self) -> frozenset[str]:
        return frozenset(self._outboxes.keys() | self._elsewhere.keys())

    @property
    def state(self) -> events.State:
        """How the other processes can be reached."""
        return self._bus.state

    def close_all(self, code: int) -> None:
        """Close every socket of this process."""
        for outbox in self.connected_here():
            outbox.close(code)
