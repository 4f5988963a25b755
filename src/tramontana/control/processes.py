"""This server process among those that share its store: who is connected where, and what events did not say.

Events are hints. Every few seconds each process looks at the store for what hints may have missed: mail for the devices connected
here, newer connections of theirs elsewhere, sessions that have ended, processes that have stopped. With one process alone there is
nobody to miss, and nothing of this happens.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tramontana.control.frames import CLOSE_NOT_LOGGED_IN, CLOSE_REPLACED
from tramontana.control.hub import Elsewhere, Hub, Outbox
from tramontana.control.store import connections
from tramontana.control.store.accounts import new_id
from tramontana.control.store.database import Store, StoreUnavailable

LOOK_EVERY_S = 5.0
"""How late mail may come when the hint of it was lost unseen."""
LOOK_EVERY_DEGRADED_S = 1.0
"""The same while no event comes through."""
COUNT_EVERY = 12
"""Everybody connected elsewhere is read at one look in so many, and whenever hints were lost."""
STOPPED_AFTER_S = 15.0
"""A process whose heartbeat has not changed for so long has stopped."""

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Seen:
    """A heartbeat, and since when it has stood still on our clock."""

    beat: int
    since: float


class Processes:
    """Claims connections for this process and keeps its view of the others."""

    def __init__(self, store: Store, hub: Hub, clock: Callable[[], float]) -> None:
        self.process_id = new_id()
        self._store = store
        self._hub = hub
        self._clock = clock
        self._is_alone = hub.state == "alone"
        self._released: dict[str, int] = {}
        self._beats: dict[str, _Seen] = {}
        self._look_now = asyncio.Event()
        self._count_now = True
        hub.on_gap = self._handle_gap

    def _handle_gap(self) -> None:
        self._count_now = True
        self._look_now.set()

    async def claim(self, device_id: str) -> int:
        """The serial of a new connection of a device to this process: the highest one stays. Raises `StoreUnavailable`."""
        if self._is_alone:
            return 0
        return await self._store.beside(lambda connection: connections.claim(connection, device_id, self.process_id), durable=False)

    def release(self, outbox: Outbox) -> None:
        """A connection has ended; the store hears of it soon."""
        if not self._is_alone:
            self._released[outbox.device_id] = max(outbox.serial, self._released.get(outbox.device_id, 0))
            self._look_now.set()

    async def run(self) -> None:
        """Look at the store again and again, until cancelled; then nobody is connected here any more."""
        if self._is_alone:
            return
        looks = 0
        try:
            while True:
                try:
                    self._look_now.clear()
                    looks += 1
                    await self._look(count=self._count_now or looks % COUNT_EVERY == 1 or self._hub.state == "degraded")
                except StoreUnavailable as error:
                    logger.error("looking for what events missed: %s", error)
                except Exception:
                    logger.exception("looking for what events missed failed; it is tried again")
                try:
                    async with asyncio.timeout(LOOK_EVERY_DEGRADED_S if self._hub.state == "degraded" else LOOK_EVERY_S):
                        await self._look_now.wait()
                    await asyncio.sleep(0.1)  # many connections that end at once are one look
                except TimeoutError:
                    pass
        finally:
            await self._leave()

    async def _leave(self) -> None:
        try:
            await self._forget(self.process_id)
        except StoreUnavailable as error:
            logger.warning("leaving: %s; the other processes notice within %.0f s", error, STOPPED_AFTER_S)

    async def _forget(self, process_id: str) -> None:
        await self._store.beside(lambda connection: connections.forget_process(connection, process_id))

    async def _look(self, *, count: bool) -> None:
        now = self._clock()
        released, self._released = self._released, {}
        here = {outbox.device_id: outbox for outbox in self._hub.connected_here()}
        before = self._hub.connected_elsewhere()
        try:
            if released:
                await self._store.beside(lambda connection: connections.release(connection, released), durable=False)
            known = await self._store.beside(lambda connection: connections.beat(connection, self.process_id, now), durable=False)
        except StoreUnavailable:
            self._released = {**released, **self._released}
            raise
        if not known and here:  # we stood still for so long that we were taken for dead
            held = {device_id: outbox.serial for device_id, outbox in here.items()}
            await self._store.beside(lambda connection: connections.hold(connection, held, self.process_id), durable=False)
        async with self._store.read() as connection:
            rows = {row.device_id: row for row in await connections.of_devices(connection, here)}
            with_mail = await connections.with_mail(connection, self.process_id)
            without_session = await connections.without_session(connection, self.process_id, now)
            alive, stopped = self._judge(await connections.beats(connection), now)
            elsewhere = await connections.of_processes(connection, alive) if count or stopped else None
        for device_id, outbox in here.items():
            row = rows.get(device_id)
            if row is not None and (row.serial > outbox.serial or row.process_id not in (None, self.process_id)):
                outbox.close(CLOSE_REPLACED)
        self._hub.look(with_mail)
        for device_id in without_session:
            if device_id in here:
                here[device_id].close(CLOSE_NOT_LOGGED_IN)
        if elsewhere is not None:
            self._hub.set_elsewhere({row.device_id: Elsewhere(account_id, row.serial) for row, account_id in elsewhere}, before)
            self._count_now = False
        if stopped and await self._store.leads():
            for process_id in stopped:
                logger.warning("server process %s has stopped without a word", process_id[:8])
                await self._forget(process_id)

    def _judge(self, beats: Mapping[str, int], now: float) -> tuple[list[str], list[str]]:
        """Other processes that live, and those that have stopped."""
        self._beats = {
            process_id: seen if (seen := self._beats.get(process_id)) is not None and seen.beat == beat else _Seen(beat, now)
            for process_id, beat in beats.items()
            if process_id != self.process_id
        }
        stopped = [process_id for process_id, seen in self._beats.items() if now - seen.since >= STOPPED_AFTER_S]
        return [process_id for process_id in self._beats if process_id not in stopped], stopped
