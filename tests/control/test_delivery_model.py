"""The delivery service against a model that a reader can check at a glance: lists in memory, no SQL, no concurrency."""

from __future__ import annotations

import asyncio
import secrets
import tempfile
from collections.abc import Awaitable
from pathlib import Path
from typing import TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from sqlalchemy import update

from tests.control import mls_bytes
from tramontana.control.delivery import EPOCHS_BACK, Delivery, Sender
from tramontana.control.hub import Hub
from tramontana.control.problem import Problem
from tramontana.control.store import accounts, audit, conversations, key_packages, mailbox
from tramontana.control.store.database import Store
from tramontana.control.store.schema import devices
from tramontana.keys.identity import DeviceKey, VerifiedEnrolment

T = TypeVar("T")
DEVICES = st.sampled_from([0, 1, 2])
"""Ada and Bea are members; Eve is not."""
OFFSETS = st.sampled_from([0, 0, 0, -1, -2, -3, 1])


class DeliveryModel(RuleBasedStateMachine):
    """Commits, messages, acknowledgements and restarts in any order."""

    @initialize()
    def start(self) -> None:
        self.directory = tempfile.TemporaryDirectory()
        self.loop = asyncio.Runner()
        self.now = 1000.0
        self.open()
        self.senders = [self.run(self.enrol(name)) for name in ("Ada", "Bea", "Eve")]
        self.conversation = self.run(self.direct())
        # The model.
        self.epoch: int | None = None
        self.joined: dict[int, int] = {}
        self.boxes: list[list[tuple[str, bytes]]] = [[], [], []]
        self.acked = [0, 0, 0]
        self.commits: dict[int, tuple[int, bytes, bytes | None]] = {}
        self.messages: dict[tuple[int, str], bytes] = {}

    def run(self, work: Awaitable[T]) -> T:
        async def wait() -> T:
            return await work

        return self.loop.run(wait())

    def open(self) -> None:
        self.store = self.run(Store.open(Path(self.directory.name)))
        self.delivery = Delivery(self.store, Hub(), lambda: self.now)

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.run(self.store.close())
            self.loop.close()
            self.directory.cleanup()

    async def enrol(self, name: str) -> Sender:
        async with self.store.write() as connection:
            account, device = await accounts.create(
                connection, VerifiedEnrolment(bytes(32), DeviceKey.generate().public_bytes, name), self.now
            )
            await connection.execute(update(devices).where(devices.c.device_id == device).values(certified_until=1e12))
        return Sender(device, account)

    async def direct(self) -> str:
        async with self.store.write() as connection:
            found = await conversations.direct(connection, self.senders[0].account_id, self.senders[1].account_id, self.now)
        return found.conversation_id

    async def claimed_reference(self, device: int) -> bytes:
        message = secrets.token_bytes(40)
        offered = [key_packages.Offered(mls_bytes.reference(message + bytes([n])), message, 1e12) for n in range(2)]
        async with self.store.write() as connection:
            await key_packages.replace(connection, self.senders[device].device_id, offered[:1], offered[1])
            await key_packages.claim_of(connection, {self.senders[device].account_id}, (), self.now)
        return offered[0].reference

    def refusal(self, work: Awaitable[object]) -> str | None:
        try:
            self.run(work)
        except Problem as problem:
            return problem.code
        return None

    @rule(sender=DEVICES, offset=OFFSETS, welcomes=st.booleans(), repeats=st.booleans())
    def commit(self, sender: int, offset: int, welcomes: bool, repeats: bool) -> None:
        current = self.epoch or 0
        epoch = max(0, current + offset)
        other = 1 - sender if sender < 2 else 0
        welcome = mls_bytes.welcome([self.run(self.claimed_reference(other))]) if welcomes else None
        commit = mls_bytes.private_message(self.conversation, epoch, mls_bytes.COMMIT)
        if repeats and epoch in self.commits:
            _, commit, welcome = self.commits[epoch]
        got = self.refusal(self.delivery.submit_commit(self.senders[sender], self.conversation, epoch, commit, welcome))

        if sender == 2:
            expected: str | None = "not_found"
        elif self.commits.get(epoch) == (sender, commit, welcome):
            expected = None
        elif epoch != current:
            expected = "epoch_taken" if epoch < current else "epoch_out_of_range"
        elif self.epoch is not None and sender not in self.joined:
            expected = "not_joined"
        else:
            expected = None
            self.commits[epoch] = (sender, commit, welcome)
            for device in self.joined:
                if device != sender and not (welcome and device == other):
                    self.boxes[device].append(("commit", commit))
            if self.epoch is None:
                self.joined[sender] = epoch + 1
            if welcome:
                self.joined[other] = epoch + 1
                self.boxes[other].append(("welcome", welcome))
            self.epoch = epoch + 1
        assert got == expected

    @rule(sender=DEVICES, offset=OFFSETS, message_id=st.sampled_from(["a" * 32, "b" * 32, None]), repeats=st.booleans())
    def message(self, sender: int, offset: int, message_id: str | None, repeats: bool) -> None:
        current = self.epoch or 0
        epoch = max(0, current + offset)
        message_id = message_id or secrets.token_hex(16)
        message = mls_bytes.private_message(self.conversation, epoch, mls_bytes.APPLICATION)
        if repeats and (sender, message_id) in self.messages:
            message = self.messages[sender, message_id]
        got = self.refusal(self.delivery.submit_message(self.senders[sender], self.conversation, message_id, message))

        if sender == 2:
            expected: str | None = "not_found"
        elif (sender, message_id) in self.messages:
            expected = None if self.messages[sender, message_id] == message else "message_id_reused"
        elif sender not in self.joined:
            expected = "not_joined"
        elif not current - EPOCHS_BACK <= epoch <= current:
            expected = "epoch_out_of_range"
        else:
            expected = None
            self.messages[sender, message_id] = message
            for device, since in self.joined.items():
                if device != sender and since <= epoch:
                    self.boxes[device].append(("application", message))
        assert got == expected

    @rule(device=DEVICES, share=st.floats(0, 1))
    def acknowledge(self, device: int, share: float) -> None:
        upto = self.acked[device] + int(share * (len(self.boxes[device]) - self.acked[device]))

        async def work() -> None:
            async with self.store.write() as connection:
                await mailbox.acknowledge(connection, self.senders[device].device_id, upto)

        self.run(work())
        self.acked[device] = upto

    @rule()
    def restart(self) -> None:
        self.run(self.store.close())
        self.open()

    @invariant()
    def mailboxes_hold_what_was_not_acknowledged(self) -> None:
        if not hasattr(self, "boxes"):
            return

        async def work() -> None:
            waiting = 0
            async with self.store.read() as connection:
                for number, sender in enumerate(self.senders):
                    items = await mailbox.items_after(connection, sender.device_id, 0, 10_000)
                    expected = list(enumerate(self.boxes[number], start=1))[self.acked[number] :]
                    assert [(item.seq, (item.kind, item.payload)) for item in items] == expected
                    assert await mailbox.positions(connection, sender.device_id) == (self.acked[number], len(self.boxes[number]))
                    waiting += len(items)
                stored = (await connection.exec_driver_sql("SELECT count(*) FROM messages")).scalar_one()
                assert stored <= waiting  # nothing is kept that nobody waits for
                assert (await audit.verify(connection)).intact

        self.run(work())


DeliveryModel.TestCase.settings = settings(max_examples=15, stateful_step_count=25, deadline=None)
TestDeliveryModel = DeliveryModel.TestCase
