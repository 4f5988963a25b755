"""The delivery service against a model that a reader can check at a glance: lists in memory, no SQL, no concurrency."""

from __future__ import annotations

import asyncio
import secrets
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from sqlalchemy import update

from tests.control import mls_bytes
from tramontana.control.delivery import EPOCHS_BACK, Delivery, Sender
from tramontana.control.hub import Hub
from tramontana.control.problem import Problem
from tramontana.control.store import accounts, audit, certificates, conversations, key_packages, mailbox
from tramontana.control.store.database import Store
from tramontana.control.store.schema import devices
from tramontana.keys.identity import DeviceKey, VerifiedEnrolment

T = TypeVar("T")
NAMES = ("Ada", "Bea", "Eve", "Bea")
EVE = 2
DEVICES = st.sampled_from(range(len(NAMES)))
"""Ada and Bea are members, Bea with two devices; Eve is not."""
SENDERS = st.sampled_from([0, 0, 1, 1, 3, 3, EVE])
OFFSETS = st.sampled_from([0, 0, 0, 0, 0, 0, -1, -2, -3, 1])


class DeliveryModel(RuleBasedStateMachine):
    """Commits that admit and remove, messages, acknowledgements, revocations and restarts in any order."""

    @initialize(founded=st.sampled_from([True, True, False]))
    def start(self, founded: bool) -> None:
        self.directory = tempfile.TemporaryDirectory()
        self.loop = asyncio.Runner()
        self.now = 1000.0
        self.open()
        self.senders: list[Sender] = []
        for name in NAMES:
            known = [sender.account_id for sender, other in zip(self.senders, NAMES, strict=False) if other == name]
            self.senders.append(self.run(self.enrol(name, known[0] if known else None)))
        self.conversation = self.run(self.direct())
        # The model.
        self.epoch: int | None = None
        self.joined: dict[int, int] = {}
        self.boxes: list[list[tuple[str, bytes]]] = [[] for _ in NAMES]
        self.acked = [0 for _ in NAMES]
        self.revoked: set[int] = set()
        self.commits: dict[int, tuple[int, bytes, bytes | None]] = {}
        self.messages: dict[tuple[int, str], bytes] = {}
        if founded:  # a walk is short, and what it is about begins when several are in the group
            for bea in (1, 3):
                self.commit(sender=0, offset=0, welcomes=True, other=bea, leaves="nobody", repeats=False)

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

    async def enrol(self, name: str, account_id: str | None) -> Sender:
        async with self.store.write() as connection:
            account, device = await accounts.create(
                connection, VerifiedEnrolment(bytes(32), DeviceKey.generate().public_bytes, name), self.now, account_id
            )
            certified = {"certified_until": 1e12, "serial": device}
            await connection.execute(update(devices).where(devices.c.device_id == device).values(certified))
        return Sender(device, account)

    async def direct(self) -> str:
        async with self.store.write() as connection:
            found = await conversations.direct(connection, self.senders[0].account_id, self.senders[1].account_id, self.now)
        return found.conversation_id

    async def claimed_reference(self, device: int) -> bytes:
        """Of a key package that the device offered and somebody claimed; nobody is handed one of a device that is out."""
        message = secrets.token_bytes(40)
        offered = [key_packages.Offered(mls_bytes.reference(message + bytes([n])), message, 1e12) for n in range(2)]
        async with self.store.write() as connection:
            await key_packages.replace(connection, self.senders[device].device_id, offered[:1], offered[1])
            others = [sender.device_id for number, sender in enumerate(self.senders) if number != device]
            await key_packages.claim_of(connection, {self.senders[device].account_id}, others, self.now)
        return offered[0].reference

    def refusal(self, work: Awaitable[object]) -> str | None:
        try:
            self.run(work)
        except Problem as problem:
            return problem.code
        return None

    @rule(
        sender=SENDERS,
        offset=OFFSETS,
        welcomes=st.booleans(),
        other=DEVICES,
        leaves=st.sampled_from(["nobody", "nobody", "nobody", "other", "other and sender"]),
        repeats=st.booleans(),
    )
    def commit(self, sender: int, offset: int, welcomes: bool, other: int, leaves: str, repeats: bool) -> None:
        if sender in self.revoked:
            return  # its sessions have ended: nothing of it comes as far as this
        removes: set[int] = {"nobody": set(), "other": {other}, "other and sender": {other, sender}}[leaves]
        current = self.epoch or 0
        epoch = max(0, current + offset)
        welcome = mls_bytes.welcome([self.run(self.claimed_reference(other))]) if welcomes else None
        commit = mls_bytes.private_message(self.conversation, epoch, mls_bytes.COMMIT)
        if repeats and epoch in self.commits:
            _, commit, welcome = self.commits[epoch]
        gone = [self.senders[device].device_id for device in sorted(removes)]
        got = self.refusal(self.delivery.submit_commit(self.senders[sender], self.conversation, epoch, commit, welcome, gone))

        if sender == EVE:
            expected: str | None = "not_found"
        elif self.commits.get(epoch) == (sender, commit, welcome):
            expected = None
        elif epoch != current:
            expected = "epoch_taken" if epoch < current else "epoch_out_of_range"
        elif self.epoch is not None and sender not in self.joined:
            expected = "not_joined"
        elif sender in removes or not removes <= self.joined.keys():
            expected = "removal_refused"
        elif welcome and (other in (sender, EVE) or other in self.revoked):
            expected = "welcome_refused"
        else:
            expected = None
            self.commits[epoch] = (sender, commit, welcome)
            for device in self.joined:  # those that it removes, too: it is the last thing that they get
                if device != sender and not (welcome and device == other):
                    self.put(device, "commit", commit)
            for device in removes:
                del self.joined[device]
            if self.epoch is None:
                self.joined[sender] = epoch + 1
            if welcome:
                self.joined[other] = epoch + 1
                self.put(other, "welcome", welcome)
            self.epoch = epoch + 1
        assert got == expected

    def put(self, device: int, kind: str, payload: bytes) -> None:
        if device not in self.revoked:  # it may be in the group until a commit takes it out, and gets nothing any more
            self.boxes[device].append((kind, payload))

    @precondition(lambda self: not self.revoked)  # one is enough to live with; the others go on
    @rule(device=DEVICES)
    def revoke(self, device: int) -> None:
        """As `Custody.revoke` puts a device out."""
        device_id = self.senders[device].device_id

        async def work() -> None:
            async with self.store.write() as connection:
                assert await certificates.revoke(connection, device_id, device_id, 0, self.now)
                await key_packages.forget_device(connection, device_id)
                await mailbox.empty(connection, device_id)

        self.run(work())
        self.revoked.add(device)
        self.acked[device] = len(self.boxes[device])

    @rule(sender=SENDERS, offset=OFFSETS, message_id=st.sampled_from(["a" * 32, "b" * 32, None]), repeats=st.booleans())
    def message(self, sender: int, offset: int, message_id: str | None, repeats: bool) -> None:
        if sender in self.revoked:
            return
        current = self.epoch or 0
        epoch = max(0, current + offset)
        message_id = message_id or secrets.token_hex(16)
        message = mls_bytes.private_message(self.conversation, epoch, mls_bytes.APPLICATION)
        if repeats and (sender, message_id) in self.messages:
            message = self.messages[sender, message_id]
        got = self.refusal(self.delivery.submit_message(self.senders[sender], self.conversation, message_id, message))

        if sender == EVE:
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
                    self.put(device, "application", message)
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


@contextmanager
def walk(*, founded: bool) -> Iterator[DeliveryModel]:
    """The machine on a path that it takes seldom by itself; after each step its invariant is asked."""
    model = DeliveryModel()
    model.start(founded=founded)
    try:
        yield model
    finally:
        model.teardown()


def test_a_removed_device_gets_its_removal_and_nothing_more_until_it_is_welcomed_again() -> None:
    with walk(founded=True) as model:
        steps: tuple[Callable[[], None], ...] = (
            lambda: model.commit(sender=0, offset=0, welcomes=False, other=3, leaves="other", repeats=False),
            lambda: model.commit(sender=0, offset=-1, welcomes=False, other=3, leaves="nobody", repeats=True),
            lambda: model.message(sender=1, offset=0, message_id=None, repeats=False),
            lambda: model.commit(sender=1, offset=0, welcomes=False, other=0, leaves="nobody", repeats=False),
            lambda: model.message(sender=3, offset=0, message_id=None, repeats=False),
            lambda: model.commit(sender=3, offset=0, welcomes=False, other=0, leaves="other", repeats=False),
            lambda: model.commit(sender=1, offset=0, welcomes=False, other=3, leaves="other", repeats=False),
            lambda: model.commit(sender=1, offset=0, welcomes=True, other=3, leaves="nobody", repeats=False),
            lambda: model.message(sender=0, offset=-1, message_id=None, repeats=False),
            lambda: model.message(sender=3, offset=0, message_id=None, repeats=False),
            lambda: model.commit(sender=3, offset=0, welcomes=True, other=1, leaves="other", repeats=False),
        )
        for step in steps:
            step()
            model.mailboxes_hold_what_was_not_acknowledged()


def test_what_only_devices_that_are_out_would_get_is_not_kept() -> None:
    """Nobody is left to acknowledge it, so nobody would ever make the server forget it."""
    with walk(founded=False) as model:
        model.commit(sender=0, offset=0, welcomes=True, other=1, leaves="nobody", repeats=False)
        model.revoke(device=1)
        model.message(sender=0, offset=0, message_id=None, repeats=False)
        model.mailboxes_hold_what_was_not_acknowledged()
        model.commit(sender=0, offset=0, welcomes=False, other=1, leaves="other", repeats=False)
        model.mailboxes_hold_what_was_not_acknowledged()


DeliveryModel.TestCase.settings = settings(max_examples=15, stateful_step_count=30, deadline=None)
TestDeliveryModel = DeliveryModel.TestCase
