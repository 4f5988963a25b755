"""The delivery service (RFC 9750 §5): at most one accepted commit per epoch, every message once and in order.

It reads the outside of MLS messages only. A commit is accepted, recorded and put into every mailbox in one transaction, so rivals see
either all of it or nothing; what was accepted survives the death of the process.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncConnection

from tramontana.control.hub import Hub
from tramontana.control.problem import Problem
from tramontana.control.store import attachments, audit, conversations, key_packages, mailbox, trees
from tramontana.control.store.database import Store
from tramontana.keys.mls.framing import SUITE, ContentType, FramingError, Welcome, parse_private_message, parse_welcome

EPOCHS_BACK = 2
"""Application messages of the current epoch and this many before it are accepted."""


@dataclass(frozen=True, slots=True)
class Sender:
    """The authenticated device that submits something."""

    device_id: str
    account_id: str


@dataclass(frozen=True, slots=True)
class Accepted:
    """The answer to a commit: the epoch from now on."""

    epoch: int
    accepted_at: float


def _digest(commit: bytes, welcome: bytes | None) -> bytes:
    return hashlib.sha256(hashlib.sha256(commit).digest() + hashlib.sha256(welcome or b"").digest()).digest()


def _read_head(conversation_id: str, message: bytes, content_type: ContentType) -> int:
    """The epoch in the framing. Raises `Problem`."""
    try:
        head = parse_private_message(message)
    except FramingError as error:
        raise Problem("bad_mls_message", str(error)) from error
    if head.group_id != bytes.fromhex(conversation_id):
        raise Problem("bad_mls_message", "the group id in the message is not this conversation's")
    if head.content_type is not content_type:
        raise Problem("bad_mls_message", f"the message carries {head.content_type.name.lower()}, not {content_type.name.lower()}")
    return head.epoch


def _read_welcome(message: bytes | None) -> Welcome | None:
    if message is None:
        return None
    try:
        welcome = parse_welcome(message)
    except FramingError as error:
        raise Problem("bad_mls_message", str(error)) from error
    if welcome.cipher_suite != SUITE:
        raise Problem("bad_mls_message", f"the welcome is of cipher suite {welcome.cipher_suite:#06x}, not {SUITE:#06x}")
    return welcome


class Delivery:
    """Takes commits and messages of authenticated devices and puts them into mailboxes."""

    def __init__(self, store: Store, hub: Hub, clock: Callable[[], float]) -> None:
        self._store = store
        self._hub = hub
        self._clock = clock

    async def submit_commit(
        self,
        sender: Sender,
        conversation_id: str,
        epoch: int,
        commit: bytes,
        welcome: bytes | None,
        removed: Collection[str] = (),
    ) -> Accepted:
        """Accept the first commit of an epoch. A repeat of the accepted one gets the same answer; a rival gets `epoch_taken`.

        removed: the devices that the commit takes out of the group, which only its sender can tell. They get this commit and nothing
        after it. Raises `Problem`.
        """
        now = self._clock()
        if _read_head(conversation_id, commit, ContentType.COMMIT) != epoch:
            raise Problem("bad_mls_message", "the epoch in the message is not the epoch of the request")
        admission = _read_welcome(welcome)
        digest = _digest(commit, welcome)
        taken_at: int | None = None
        receivers: set[str] = set()
        async with self._store.write() as connection:
            conversation = await self._conversation(connection, sender, conversation_id)
            current = conversation.epoch or 0
            if epoch != current:
                earlier = await conversations.commit_of(connection, conversation_id, epoch)
                if earlier and (earlier.device_id, earlier.digest) == (sender.device_id, digest):
                    return Accepted(epoch + 1, earlier.accepted_at)
                if epoch > current:
                    raise Problem("epoch_out_of_range", epoch=current)
                taken_at = current
                details = {"epoch": epoch, "current": current}
                await self._audit(connection, sender, "commit.refused", conversation_id, details, now)
            else:
                receivers = await self._accept(connection, sender, conversation, epoch, commit, welcome, admission, removed, digest, now)
        if taken_at is not None:
            raise Problem("epoch_taken", epoch=taken_at)
        self._hub.mail(receivers)
        return Accepted(epoch + 1, now)

    async def _accept(
        self,
        connection: AsyncConnection,
        sender: Sender,
        conversation: conversations.Conversation,
        epoch: int,
        commit: bytes,
        welcome: bytes | None,
        admission: Welcome | None,
        removed: Collection[str],
        digest: bytes,
        now: float,
    ) -> set[str]:
        conversation_id = conversation.conversation_id
        joined = await conversations.joined_devices(connection, conversation_id)
        if conversation.epoch is not None and sender.device_id not in joined:
            raise Problem("not_joined")
        if sender.device_id in removed or not joined.keys() >= set(removed):
            raise Problem("removal_refused")
        welcomed = await self._welcomed(connection, sender, conversation_id, admission)
        await conversations.accept_commit(connection, conversation_id, epoch, conversations.Commit(sender.device_id, digest, now))
        await conversations.part(connection, conversation_id, removed)
        joining = welcomed | ({sender.device_id} if conversation.epoch is None else set())
        await conversations.join(connection, conversation_id, joining, epoch + 1)
        others = set(joined) - welcomed - {sender.device_id}
        try:
            for kind, targets, payload in (("commit", others, commit), ("welcome", welcomed, welcome)):
                if targets and payload is not None:
                    await mailbox.put(
                        connection,
                        targets,
                        conversation_id=conversation_id,
                        kind="commit" if kind == "commit" else "welcome",
                        sender=sender.device_id,
                        payload=payload,
                        now=now,
                    )
        except mailbox.MailboxFull as error:
            raise Problem("mailbox_full") from error
        await trees.keep_only(connection, conversation_id, epoch + 1, sender.device_id)
        details = {"epoch": epoch, "welcomed": sorted(welcomed), "removed": sorted(removed)}
        await self._audit(connection, sender, "commit.accepted", conversation_id, details, now)
        return others | welcomed

    async def _welcomed(self, connection: AsyncConnection, sender: Sender, conversation_id: str, admission: Welcome | None) -> set[str]:
        if admission is None:
            return set()
        by_reference = await key_packages.claimed_by_reference(connection, admission.new_members)
        members = await conversations.member_devices(connection, conversation_id)
        welcomed = set(by_reference.values())
        if len(by_reference) != len(admission.new_members) or not welcomed <= members or sender.device_id in welcomed:
            raise Problem("welcome_refused")
        return welcomed

    async def offer_tree(self, sender: Sender, conversation_id: str, epoch: int, tree: bytes) -> None:
        """Keep the ratchet tree that this device's next commit leads to. Raises `Problem`."""
        if len(tree) > trees.MAX_TREE_BYTES:
            raise Problem("too_large")
        async with self._store.write() as connection:
            conversation = await self._conversation(connection, sender, conversation_id)
            if conversation.epoch is not None and sender.device_id not in await conversations.joined_devices(connection, conversation_id):
                raise Problem("not_joined")
            if epoch != (conversation.epoch or 0) + 1:
                raise Problem("epoch_out_of_range", epoch=conversation.epoch or 0)
            await trees.offer(connection, conversation_id, epoch, sender.device_id, tree, self._clock())

    async def submit_message(
        self, sender: Sender, conversation_id: str, message_id: str, message: bytes, told: Collection[str] = ()
    ) -> float:
        """Accept an application message once; a repeat gets the first answer. Returns when it was accepted. Raises `Problem`.

        told: attachments that the message tells of: whoever it goes to may fetch them from now on.
        """
        now = self._clock()
        epoch = _read_head(conversation_id, message, ContentType.APPLICATION)
        digest = hashlib.sha256(message).digest()
        sent = mailbox.Sent(conversation_id, digest, now)
        # Beside other messages: what this reads only a commit changes, and the rows that it writes are locked in order.
        accepted_at, receivers = await self._store.beside(
            lambda connection: self._accept_message(connection, sender, message_id, sent, epoch, message, told)
        )
        self._hub.mail(receivers)
        return accepted_at

    async def _accept_message(
        self,
        connection: AsyncConnection,
        sender: Sender,
        message_id: str,
        sent: mailbox.Sent,
        epoch: int,
        message: bytes,
        told: Collection[str],
    ) -> tuple[float, set[str]]:
        """When the message was accepted, now or before, and the devices that it was put into the mailbox of."""
        conversation = await self._conversation(connection, sender, sent.conversation_id)
        known = await mailbox.sent(connection, sender.device_id, message_id)
        if known is not None:
            if (known.conversation_id, known.digest) != (sent.conversation_id, sent.digest):
                raise Problem("message_id_reused")
            return known.accepted_at, set()
        joined = await conversations.joined_devices(connection, sent.conversation_id)
        if sender.device_id not in joined:
            raise Problem("not_joined")
        current = conversation.epoch or 0
        if not current - EPOCHS_BACK <= epoch <= current:
            raise Problem("epoch_out_of_range", epoch=current)
        if not await attachments.release(connection, told, sender.account_id, sent.conversation_id, epoch):
            raise Problem("attachment_missing")
        await mailbox.remember_sent(connection, sender.device_id, message_id, sent)
        # A device that joined later than the message's epoch could not decrypt it. One whose account was taken off the list is not
        # out of the group before the commit that removes it, but it gets no content from now on.
        entitled = await conversations.member_devices(connection, sent.conversation_id) - {sender.device_id}
        receivers = {device_id for device_id, since in joined.items() if since <= epoch and device_id in entitled}
        try:
            await mailbox.put(
                connection,
                receivers,
                conversation_id=sent.conversation_id,
                kind="application",
                sender=sender.device_id,
                payload=message,
                now=sent.accepted_at,
            )
        except mailbox.MailboxFull as error:
            raise Problem("mailbox_full") from error
        return sent.accepted_at, receivers

    async def _conversation(self, connection: AsyncConnection, sender: Sender, conversation_id: str) -> conversations.Conversation:
        conversation = await conversations.find(connection, conversation_id)
        if conversation is None or sender.account_id not in conversation.members:
            raise Problem("not_found")
        return conversation

    async def _audit(
        self, connection: AsyncConnection, sender: Sender, action: str, conversation_id: str, details: Mapping[str, object], now: float
    ) -> None:
        actor = audit.device_actor(sender.device_id)
        await audit.append(connection, now=now, actor=actor, action=action, subject=f"conversation {conversation_id}", details=details)
