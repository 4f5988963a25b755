"""Who is connected, and what each connected device still has to be told.

Nothing is queued for a slow device: its outbox holds at most one flag per subject (mailbox, directory) and one presence per account.
What is in the mailbox is read from the store when the socket can take it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable


class Outbox:
    """What one connected device has not been told yet."""

    def __init__(self, device_id: str, account_id: str) -> None:
        self.device_id = device_id
        self.account_id = account_id
        self.wake = asyncio.Event()
        self.wake.set()  # a mailbox may hold something from before
        self.mail = True
        self.directory = False
        self.presence: dict[str, bool] = {}
        self.close_code: int | None = None

    def close(self, code: int) -> None:
        """Ask the socket's task to close it."""
        if self.close_code is None:
            self.close_code = code
        self.wake.set()


class Hub:
    """One outbox per connected device."""

    def __init__(self) -> None:
        self._outboxes: dict[str, Outbox] = {}
        self._devices_online: dict[str, int] = {}

    def attach(self, outbox: Outbox, replaced_code: int) -> None:
        """Register a connection; an older one of the same device is asked to close with `replaced_code`."""
        older = self._outboxes.get(outbox.device_id)
        self._outboxes[outbox.device_id] = outbox
        if older is not None:
            older.close(replaced_code)
            return
        count = self._devices_online.get(outbox.account_id, 0)
        self._devices_online[outbox.account_id] = count + 1
        if count == 0:
            self._announce(outbox.account_id, online=True)

    def detach(self, outbox: Outbox) -> None:
        """Forget a connection, unless a newer one has taken its place."""
        if self._outboxes.get(outbox.device_id) is not outbox:
            return
        del self._outboxes[outbox.device_id]
        count = self._devices_online.pop(outbox.account_id) - 1
        if count:
            self._devices_online[outbox.account_id] = count
        else:
            self._announce(outbox.account_id, online=False)

    def _announce(self, account_id: str, *, online: bool) -> None:
        for outbox in self._outboxes.values():
            if outbox.account_id != account_id:
                outbox.presence[account_id] = online
                outbox.wake.set()

    def mail(self, device_ids: Iterable[str]) -> None:
        """There is something new in these devices' mailboxes."""
        for device_id in device_ids:
            if (outbox := self._outboxes.get(device_id)) is not None:
                outbox.mail = True
                outbox.wake.set()

    def directory_changed(self) -> None:
        for outbox in self._outboxes.values():
            outbox.directory = True
            outbox.wake.set()

    def is_device_online(self, device_id: str) -> bool:
        return device_id in self._outboxes

    def is_account_online(self, account_id: str) -> bool:
        return account_id in self._devices_online

    @property
    def devices_online(self) -> int:
        return len(self._outboxes)

    def close_all(self, code: int) -> None:
        for outbox in list(self._outboxes.values()):
            outbox.close(code)
