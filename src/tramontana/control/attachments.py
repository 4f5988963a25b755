"""Attachments: sealed chunks that a device puts here before it tells a conversation of them, and that the members fetch.

The server sees ciphertext, its size and its conversation. Whoever the message that tells of an attachment goes to may fetch it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncConnection

from tramontana.control.delivery import Sender
from tramontana.control.problem import Problem
from tramontana.control.store import attachments, conversations, retention
from tramontana.control.store.attachments import Attachment
from tramontana.control.store.database import Store
from tramontana.keys.attachment import SEALED_CHUNK_BYTES, TAG_BYTES

MAX_CHUNKS = 4096


@dataclass(frozen=True, slots=True)
class AttachmentRules:
    """Sealed octets: of one attachment, and of all that an account has here."""

    most_octets: int = 32 << 20
    quota_octets: int = 512 << 20


@dataclass(frozen=True, slots=True)
class Progress:
    """An attachment and the chunks of it that are here."""

    attachment: Attachment
    stored: tuple[int, ...]


def octets_of_chunk(attachment: Attachment, number: int) -> int:
    """How long this chunk has to be: all are full but the last one."""
    last = attachment.octets - (attachment.chunks - 1) * SEALED_CHUNK_BYTES
    return last if number == attachment.chunks - 1 else SEALED_CHUNK_BYTES


class Attachments:
    """Takes and hands out chunks of authenticated devices. Every method raises `Problem`."""

    def __init__(self, store: Store, rules: AttachmentRules, clock: Callable[[], float]) -> None:
        self._store = store
        self._rules = rules
        self._clock = clock

    async def announce(self, sender: Sender, conversation_id: str, attachment_id: str, octets: int) -> Progress:
        """Make place for an attachment. Announcing it again changes nothing and tells what has arrived."""
        if octets > self._rules.most_octets:
            raise Problem(
                "attachment_too_large", f"An attachment may have at most {self._rules.most_octets >> 20} MiB. Send a smaller one."
            )
        chunks = -(-octets // SEALED_CHUNK_BYTES)
        if octets - (chunks - 1) * SEALED_CHUNK_BYTES <= TAG_BYTES:
            raise Problem("invalid_request", "The last chunk would be empty.")
        now = self._clock()
        async with self._store.write() as connection:
            await self._must_be_in(connection, sender, conversation_id)
            known = await attachments.find(connection, attachment_id)
            if known is not None:
                if (known.account_id, known.conversation_id, known.octets) != (sender.account_id, conversation_id, octets):
                    raise Problem("attachment_exists")
                return Progress(known, tuple(await attachments.stored(connection, attachment_id)))
            if await attachments.octets_of_account(connection, sender.account_id) + octets > self._rules.quota_octets:
                raise Problem("attachment_quota")
            kept_s = (await retention.current(connection)).attachments_days * retention.DAY_S
            made = Attachment(attachment_id, conversation_id, sender.account_id, octets, chunks, None, now + kept_s)
            await attachments.announce(connection, made, now)
        return Progress(made, ())

    async def put(self, sender: Sender, conversation_id: str, attachment_id: str, number: int, ciphertext: bytes) -> None:
        """Keep a chunk. The same again is harmless; another one in its place is refused."""
        await self._store.beside(lambda connection: self._put(connection, sender, conversation_id, attachment_id, number, ciphertext))

    async def _put(
        self, connection: AsyncConnection, sender: Sender, conversation_id: str, attachment_id: str, number: int, ciphertext: bytes
    ) -> None:
        await self._must_be_in(connection, sender, conversation_id)
        found = await attachments.find(connection, attachment_id)
        mine = found is not None and (found.account_id, found.conversation_id) == (sender.account_id, conversation_id)
        if found is None or not mine or number >= found.chunks:
            raise Problem("not_found")
        if len(ciphertext) != (wanted := octets_of_chunk(found, number)):
            raise Problem("invalid_request", f"Chunk {number} has {len(ciphertext)} octets; by the announced size it has {wanted}.")
        known = await attachments.chunk(connection, attachment_id, number)
        if known is None:
            await attachments.keep_chunk(connection, attachment_id, number, ciphertext)
        elif known != ciphertext:
            raise Problem("attachment_exists")

    async def progress(self, sender: Sender, conversation_id: str, attachment_id: str) -> Progress:
        """What there is of an attachment, for its sender and for whom it is sent to."""
        async with self._store.read() as connection:
            found = await self._entitled(connection, sender, conversation_id, attachment_id)
            return Progress(found, tuple(await attachments.stored(connection, attachment_id)))

    async def chunk(self, sender: Sender, conversation_id: str, attachment_id: str, number: int) -> bytes:
        async with self._store.read() as connection:
            await self._entitled(connection, sender, conversation_id, attachment_id)
            found = await attachments.chunk(connection, attachment_id, number)
        if found is None:
            raise Problem("not_found")
        return found

    async def withdraw(self, sender: Sender, conversation_id: str, attachment_id: str) -> None:
        """Forget one's own attachment, complete or not. Forgetting what is not there is no fault."""
        async with self._store.write() as connection:
            found = await attachments.find(connection, attachment_id)
            if found is not None:
                if (found.account_id, found.conversation_id) != (sender.account_id, conversation_id):
                    raise Problem("not_found")
                await attachments.forget(connection, attachment_id)

    async def _must_be_in(self, connection: AsyncConnection, sender: Sender, conversation_id: str) -> None:
        conversation = await conversations.find(connection, conversation_id)
        if conversation is None or sender.account_id not in conversation.members:
            raise Problem("not_found")
        if sender.device_id not in await conversations.joined_devices(connection, conversation_id):
            raise Problem("not_joined")

    async def _entitled(self, connection: AsyncConnection, sender: Sender, conversation_id: str, attachment_id: str) -> Attachment:
        """The rule of messages: members' devices that had joined by the epoch of the message that tells of it, and its sender's account."""
        conversation = await conversations.find(connection, conversation_id)
        found = await attachments.find(connection, attachment_id)
        if (
            conversation is None
            or found is None
            or found.conversation_id != conversation_id
            or sender.account_id not in conversation.members
        ):
            raise Problem("not_found")
        since = (await conversations.joined_devices(connection, conversation_id)).get(sender.device_id)
        if since is None:
            raise Problem("not_joined")
        told = found.epoch is not None and since <= found.epoch
        if not told and found.account_id != sender.account_id:
            raise Problem("not_found")
        return found
