"""Many send at once while the store fails, and some leave in the middle: what was accepted is there, once; nobody waits for ever.

The delivery service and the mailrooms of this release over a real store, without the HTTP before them: `test_scale_faults.py` has it.
"""

from __future__ import annotations

import asyncio
import random
import signal
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy import insert, select

from tests.control import mls_bytes
from tests.control.peers import Postgresql
from tramontana.control.delivery import Delivery, Sender
from tramontana.control.hub import Hub
from tramontana.control.mailroom import Mailroom
from tramontana.control.store import schema, sqlite
from tramontana.control.store.database import Store, StoreUnavailable

pytestmark = pytest.mark.anyio

CONVERSATION = "c" * 32
SENDERS = 24
RECEIVER = f"{SENDERS:032x}"
PATIENCE_S = 240
AGAIN_S = 0.02


class Crowd:
    """Devices of one conversation at epoch 1 that send to each other; one only receives."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._delivery = Delivery(store, Hub(), lambda: 1.0)
        self._mailroom = Mailroom(store)
        self._chance = random.Random(20261127)
        self.accepted: list[bytes] = []
        self.got: list[bytes] = []
        self.refused = self.left = 0
        self.enough = False
        """Nobody begins another message."""

    async def settle(self) -> None:
        everybody = [f"{number:032x}" for number in range(SENDERS + 1)]
        async with self._store.write() as connection:
            accounts = [{"account_id": one, "display_name": one, "created_at": 1.0} for one in everybody]
            await connection.execute(insert(schema.accounts), accounts)
            devices = [
                {"device_id": one, "account_id": one, "signature_public_key": one.encode(), "enrolled_at": 1.0, "path_seed": number}
                for number, one in enumerate(everybody)
            ]
            await connection.execute(insert(schema.devices), devices)
            row = {"conversation_id": CONVERSATION, "kind": "group", "epoch": 1, "creator_device_id": everybody[0], "created_at": 1.0}
            await connection.execute(insert(schema.conversations), [row])
            members = [{"conversation_id": CONVERSATION, "account_id": one} for one in everybody]
            await connection.execute(insert(schema.conversation_members), members)
            joined = [{"conversation_id": CONVERSATION, "device_id": one, "joined_epoch": 1} for one in everybody]
            await connection.execute(insert(schema.conversation_devices), joined)

    async def send(self) -> None:
        """Everybody, one message after the other, until it is enough."""
        await asyncio.gather(*(self._send_of(f"{number:032x}") for number in range(SENDERS)))

    async def more(self) -> None:
        """Wait until as many have been accepted as there are senders."""
        before = len(self.accepted)
        while len(self.accepted) < before + SENDERS:  # noqa: ASYNC110 - filled by the tasks that send
            await asyncio.sleep(AGAIN_S)

    async def more_refused(self) -> None:
        """Wait until the fault was met."""
        before = self.refused
        while self.refused == before:  # noqa: ASYNC110 - counted by the tasks that send
            await asyncio.sleep(AGAIN_S)

    async def _send_of(self, device_id: str) -> None:
        while not self.enough:
            message = mls_bytes.private_message(CONVERSATION, 1, mls_bytes.APPLICATION)
            message_id = self._chance.randbytes(16).hex()
            while True:
                asking = asyncio.create_task(self._delivery.submit_message(Sender(device_id, device_id), CONVERSATION, message_id, message))
                if self._chance.random() < 0.2:  # whoever asks leaves, perhaps in the middle, and comes back with the same
                    await asyncio.sleep(self._chance.random() * AGAIN_S)
                    asking.cancel()
                try:
                    await asking
                    self.accepted.append(message)
                    break
                except StoreUnavailable:
                    self.refused += 1
                except asyncio.CancelledError:
                    self.left += 1
                await asyncio.sleep(AGAIN_S)

    async def receive(self) -> None:
        """As a connected device does: looks, acknowledges, begins again after what it has. Until cancelled."""
        seen = acknowledged = 0
        while True:
            try:
                found = await self._mailroom.items_after(RECEIVER, seen, 50)
                for item in found.items:
                    assert item.seq == seen + 1, "a gap, or one twice"
                    seen = item.seq
                    self.got.append(item.payload)
                if seen > acknowledged:
                    await self._mailroom.acknowledge(RECEIVER, seen, None if self.refused else [item.message_key for item in found.items])
                    acknowledged = seen
            except StoreUnavailable:
                self.refused += 1
            await asyncio.sleep(AGAIN_S)

    async def check(self) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while len(self.got) < len(self.accepted):  # noqa: ASYNC110 - filled by the task that receives
                await asyncio.sleep(AGAIN_S)
        assert Counter(self.got) == Counter(self.accepted)
        assert self.left, "some left in the middle"
        async with self._store.read() as connection:
            kept = (await connection.execute(select(schema.sent_messages.c.digest))).scalars().all()
        assert len(kept) == len(set(kept)) == len(self.accepted)


@asynccontextmanager
async def sending(store: Store) -> AsyncIterator[Crowd]:
    """Everybody sends and one receives; at the end what was accepted is compared with what came."""
    crowd = Crowd(store)
    await crowd.settle()
    async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as group:
        receiving, all_sending = group.create_task(crowd.receive()), group.create_task(crowd.send())
        await crowd.more()
        yield crowd
        await crowd.more()
        crowd.enough = True
        await all_sending
        await crowd.check()
        receiving.cancel()
        await asyncio.wait([receiving], timeout=30)


async def test_postgresql_fails_while_many_send(own_postgresql: Postgresql) -> None:
    name = await own_postgresql.create()
    store = await Store.open(Path(), own_postgresql.address(name))
    cut = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
    try:
        async with sending(store) as crowd:
            for how in (signal.SIGQUIT, signal.SIGINT):
                before = crowd.refused
                await asyncio.to_thread(own_postgresql.restart, how)
                await crowd.more()
                assert crowd.refused > before, "the fault was met"
            for _ in range(5):
                await own_postgresql.execute(cut)
                await crowd.more()
    finally:
        await store.close()


async def test_sqlite_cannot_be_written_while_many_send(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "BUSY_TIMEOUT_S", 0)
    store = await Store.open(tmp_path)
    other = sqlite3.connect(store.path, isolation_level=None, timeout=PATIENCE_S, check_same_thread=False)
    try:
        async with sending(store) as crowd:
            for _ in range(3):
                await asyncio.to_thread(other.execute, "BEGIN IMMEDIATE")  # as a backup program that holds the file
                await crowd.more_refused()
                await asyncio.to_thread(other.execute, "ROLLBACK")
                await crowd.more()
    finally:
        other.close()
        await store.close()
