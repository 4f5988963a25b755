"""Mailboxes: one ordered queue per device; a payload is stored once and kept until its last receiver has acknowledged it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import and_, delete, exists, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from tramontana.control.frames import ItemKind
from tramontana.control.store.schema import devices, mailbox, messages, sent_messages

MAX_PENDING_ITEMS = 10_000
"""Above this a mailbox takes nothing more until its device comes online."""
MAX_ITEMS_OF_ONE_SENDER = 2_500
MAX_BYTES_OF_ONE_SENDER = 64 << 20
"""What one device may leave in the mailbox of another, so that it can neither shut others out nor fill the disk."""
SHARE_CHECKED_FROM = 128
"""With fewer items pending nobody can be above a share: 128 of the largest payloads (380 KiB) are 48 MiB."""
MESSAGE_ID_KEPT_S = 30 * 86400.0
"""How long a message id makes repeats harmless."""


@dataclass(frozen=True, slots=True)
class Item:
    """One item of a mailbox."""

    seq: int
    conversation_id: str
    kind: ItemKind
    sender_device_id: str
    payload: bytes
    accepted_at: float


@dataclass(frozen=True, slots=True)
class Sent:
    """A message that was accepted under a message id."""

    conversation_id: str
    digest: bytes
    accepted_at: float


class MailboxFull(Exception):
    """A receiver's mailbox takes nothing more; the transaction must be rolled back."""


async def put(
    connection: AsyncConnection, receivers: Iterable[str], *, conversation_id: str, kind: ItemKind, sender: str, payload: bytes, now: float
) -> None:
    """Store a payload and queue it for each receiver; may run beside others. Raises `MailboxFull`."""
    targets = list(receivers)
    if not targets:
        return
    row = {"conversation_id": conversation_id, "kind": kind, "sender_device_id": sender, "payload": payload, "accepted_at": now}
    key = (await connection.execute(insert(messages).values(row).returning(messages.c.message_key))).scalar_one()
    await _lock(connection, targets)
    bumped = await connection.execute(
        update(devices)
        .where(devices.c.device_id.in_(targets), devices.c.revoked_at.is_(None))  # one that was revoked gets nothing more
        .values(mailbox_seq=devices.c.mailbox_seq + 1)
        .returning(devices.c.device_id, devices.c.mailbox_seq, devices.c.acked_seq)
    )
    items, crowded = [], []
    for device in bumped.all():
        pending = device.mailbox_seq - device.acked_seq
        if pending > MAX_PENDING_ITEMS:
            raise MailboxFull
        if pending > SHARE_CHECKED_FROM:
            crowded.append(device.device_id)
        items.append({"device_id": device.device_id, "seq": device.mailbox_seq, "message_key": key})
    if crowded:
        await _check_shares(connection, crowded, sender, len(payload))
    if items:
        await connection.execute(insert(mailbox), items)
    else:  # nobody would ever acknowledge it
        await connection.execute(delete(messages).where(messages.c.message_key == key))


async def _lock(connection: AsyncConnection, device_ids: Sequence[str]) -> None:
    """Lock the counters of mailboxes, in one order for every writer, so that two never wait for each other.

    SQLite has locked everything already and ignores it.
    """
    query = select(devices.c.device_id).where(devices.c.device_id.in_(device_ids)).order_by(devices.c.device_id)
    await connection.execute(query.with_for_update(key_share=True))


async def _check_shares(connection: AsyncConnection, receivers: Sequence[str], sender: str, payload_bytes: int) -> None:
    """Raises `MailboxFull` where one more item is more than a sender may leave in one of these mailboxes."""
    items, octets = func.count(), func.sum(func.length(messages.c.payload))
    shares = (
        select(mailbox.c.device_id)
        .join_from(mailbox, messages)
        .where(mailbox.c.device_id.in_(receivers), messages.c.sender_device_id == sender)
        .group_by(mailbox.c.device_id)
        .having(or_(items >= MAX_ITEMS_OF_ONE_SENDER, octets + payload_bytes > MAX_BYTES_OF_ONE_SENDER))
    )
    if (await connection.execute(shares.limit(1))).first() is not None:
        raise MailboxFull


async def items_after(connection: AsyncConnection, device_id: str, after: int, limit: int) -> Sequence[Item]:
    """At most `limit` items after a sequence number, in order."""
    query = (
        select(
            mailbox.c.seq,
            messages.c.conversation_id,
            messages.c.kind,
            messages.c.sender_device_id,
            messages.c.payload,
            messages.c.accepted_at,
        )
        .join_from(mailbox, messages)
        .where(mailbox.c.device_id == device_id, mailbox.c.seq > after)
        .order_by(mailbox.c.seq)
        .limit(limit)
    )
    return [Item(**row) for row in (await connection.execute(query)).mappings()]


async def acknowledge(connection: AsyncConnection, device_id: str, seq: int) -> Sequence[int]:
    """Forget everything up to `seq`, and every payload that nobody waits for any more; may run beside others.

    Returns the payloads that somebody seems to wait for. Who acknowledges at the same time cannot be seen from inside a transaction:
    `forget_unreferenced` looks once more after it.
    """
    done = and_(mailbox.c.device_id == device_id, mailbox.c.seq <= seq)
    keys = (await connection.execute(select(mailbox.c.message_key).where(done))).scalars().all()
    await connection.execute(delete(mailbox).where(done))
    await forget_unreferenced(connection, keys)
    behind = and_(devices.c.device_id == device_id, devices.c.acked_seq < seq, devices.c.mailbox_seq >= seq)
    await connection.execute(update(devices).where(behind).values(acked_seq=seq))
    kept: list[int] = []
    for batch in _batches(keys):
        kept += (await connection.execute(select(messages.c.message_key).where(messages.c.message_key.in_(batch)))).scalars()
    return kept


def _batches(keys: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(keys), 500):  # databases bound the number of parameters
        yield keys[start : start + 500]


async def forget_unreferenced(connection: AsyncConnection, keys: Sequence[int]) -> None:
    """Forget those of these payloads that nobody waits for."""
    waited_for = exists(select(mailbox.c.seq).where(mailbox.c.message_key == messages.c.message_key))
    for batch in _batches(keys):
        # Locked in one order, without waiting for whoever forgets the same.
        lock = select(messages.c.message_key).where(messages.c.message_key.in_(batch), ~waited_for)
        unreferenced = lock.order_by(messages.c.message_key).with_for_update(skip_locked=True)
        await connection.execute(delete(messages).where(messages.c.message_key.in_(unreferenced)))


async def forget_all_unreferenced(connection: AsyncConnection) -> None:
    """Forget every payload that nobody waits for: what a process that died between acknowledging and forgetting has left."""
    waited_for = exists(select(mailbox.c.seq).where(mailbox.c.message_key == messages.c.message_key))
    await connection.execute(delete(messages).where(~waited_for))


async def empty(connection: AsyncConnection, device_id: str) -> None:
    """Drop whatever waits for a device that is out."""
    await acknowledge(connection, device_id, (await positions(connection, device_id))[1])


async def forget_undelivered(connection: AsyncConnection, before: float) -> None:
    """Drop what was accepted before and nobody fetched: the organisation does not keep it longer."""
    old = select(messages.c.message_key).where(messages.c.accepted_at < before)
    await connection.execute(delete(mailbox).where(mailbox.c.message_key.in_(old)))
    waited_for = exists(select(mailbox.c.seq).where(mailbox.c.message_key == messages.c.message_key))
    await connection.execute(delete(messages).where(messages.c.accepted_at < before, ~waited_for))


async def positions(connection: AsyncConnection, device_id: str) -> tuple[int, int]:
    """(last item acknowledged, last item ever put in)."""
    query = select(devices.c.acked_seq, devices.c.mailbox_seq).where(devices.c.device_id == device_id)
    row = (await connection.execute(query)).one()
    return int(row.acked_seq), int(row.mailbox_seq)


async def pending_after(connection: AsyncConnection, device_id: str, after: int) -> int:
    query = select(func.count()).select_from(mailbox).where(mailbox.c.device_id == device_id, mailbox.c.seq > after)
    return int((await connection.execute(query)).scalar_one())


async def sent(connection: AsyncConnection, sender: str, message_id: str) -> Sent | None:
    query = select(sent_messages.c.conversation_id, sent_messages.c.digest, sent_messages.c.accepted_at)
    mine = (sent_messages.c.sender_device_id == sender, sent_messages.c.message_id == message_id)
    row = (await connection.execute(query.where(*mine))).mappings().first()
    return Sent(**row) if row else None


async def remember_sent(connection: AsyncConnection, sender: str, message_id: str, message: Sent) -> None:
    row = {"conversation_id": message.conversation_id, "digest": message.digest, "accepted_at": message.accepted_at}
    await connection.execute(insert(sent_messages).values(sender_device_id=sender, message_id=message_id, **row))


async def forget_old_message_ids(connection: AsyncConnection, now: float) -> None:
    await connection.execute(delete(sent_messages).where(sent_messages.c.accepted_at < now - MESSAGE_ID_KEPT_S))
