"""Mailboxes: one ordered queue per device; a payload is stored once and kept until its last receiver has acknowledged it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import and_, bindparam, delete, exists, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from tramontana.control.frames import ItemKind
from tramontana.control.store.among import among, pair_among
from tramontana.control.store.schema import devices, mailbox, messages, sent_messages

MAX_PENDING_ITEMS = 10_000
"""Above this a mailbox takes nothing more until its device comes online."""
MAX_ITEMS_OF_ONE_SENDER = 2_500
MAX_BYTES_OF_ONE_SENDER = 64 << 20
"""What one device may leave in the mailbox of another, so that it can neither shut others out nor fill the disk."""
SHARE_CHECKED_FROM = 32
"""With fewer items pending nobody can be above a share: 32 of the largest payloads (1,536 KiB) are 48 MiB."""
MESSAGE_ID_KEPT_S = 30 * 86400.0
"""How long a message id makes repeats harmless."""
NEAR_ITEMS = 64
"""Items after the last acknowledged one that a look of many devices goes through: who has more on the way looks alone."""
SHARED_PAYLOADS = 64
"""Payloads that one look of many devices reads: 96 MiB of the largest."""


@dataclass(frozen=True, slots=True)
class Item:
    """One item of a mailbox. `message_key`: of its payload."""

    seq: int
    conversation_id: str
    kind: ItemKind
    sender_device_id: str
    payload: bytes = field(repr=False)
    accepted_at: float
    message_key: int


@dataclass(frozen=True, slots=True)
class Sent:
    """A message that was accepted under a message id."""

    conversation_id: str
    digest: bytes
    accepted_at: float


@dataclass(frozen=True, slots=True)
class Letter:
    """One payload for the mailboxes of several devices."""

    conversation_id: str
    kind: ItemKind
    sender_device_id: str
    payload: bytes = field(repr=False)
    accepted_at: float
    receivers: frozenset[str]


@dataclass(slots=True)
class _Counter:
    """Of one mailbox: the last item put in, how many wait, and what each sender has put in since the shares were counted."""

    seq: int
    pending: int
    items: dict[str, int] = field(default_factory=dict)
    octets: dict[str, int] = field(default_factory=dict)


async def put(connection: AsyncConnection, letters: Sequence[Letter]) -> Sequence[bool]:
    """Store payloads and queue each for its receivers, in this order; may run beside others.

    False for a letter that a mailbox had no room for: nobody has got it then.
    """
    targets = frozenset().union(*(letter.receivers for letter in letters))
    boxes = await _locked(connection, targets) if targets else {}
    taken: list[bool] = []
    queued: list[tuple[Letter, list[tuple[str, int]]]] = []  # with each receiver and its sequence number
    for letter in letters:
        receivers = [device_id for device_id in sorted(letter.receivers) if device_id in boxes]
        taken.append(await _has_room(connection, boxes, letter, receivers))
        if not taken[-1] or not receivers:  # nobody would ever acknowledge it
            continue
        for device_id in receivers:
            box = boxes[device_id]
            box.seq, box.pending = box.seq + 1, box.pending + 1
            box.items[letter.sender_device_id] = box.items.get(letter.sender_device_id, 0) + 1
            box.octets[letter.sender_device_id] = box.octets.get(letter.sender_device_id, 0) + len(letter.payload)
        queued.append((letter, [(device_id, boxes[device_id].seq) for device_id in receivers]))
    if queued:
        await _queue(connection, queued)
    return taken


async def _locked(connection: AsyncConnection, device_ids: Collection[str]) -> dict[str, _Counter]:
    """The counters of mailboxes, locked in one order for every writer, so that two never wait for each other.

    SQLite has locked everything already and ignores it. A device that was revoked gets nothing more: it is left out.
    """
    query = select(devices.c.device_id, devices.c.mailbox_seq, devices.c.acked_seq).where(devices.c.revoked_at.is_(None))
    query = query.where(among(connection, devices.c.device_id, device_ids)).order_by(devices.c.device_id)
    rows = await connection.execute(query.with_for_update(key_share=True))
    return {row.device_id: _Counter(row.mailbox_seq, row.mailbox_seq - row.acked_seq) for row in rows}


async def _has_room(connection: AsyncConnection, boxes: Mapping[str, _Counter], letter: Letter, receivers: Sequence[str]) -> bool:
    """Whether one more item is within what a mailbox takes, and within what its sender may leave there."""
    if any(boxes[device_id].pending >= MAX_PENDING_ITEMS for device_id in receivers):
        return False
    crowded = [device_id for device_id in receivers if boxes[device_id].pending >= SHARE_CHECKED_FROM]
    if not crowded:
        return True
    sender = letter.sender_device_id
    shares = (
        select(mailbox.c.device_id, func.count().label("items"), func.sum(func.length(messages.c.payload)).label("octets"))
        .join_from(mailbox, messages)
        .where(among(connection, mailbox.c.device_id, crowded), messages.c.sender_device_id == sender)
        .group_by(mailbox.c.device_id)
    )
    stored = {row.device_id: (row.items, row.octets) for row in await connection.execute(shares)}
    for device_id in crowded:
        box, (items, octets) = boxes[device_id], stored.get(device_id, (0, 0))
        if items + box.items.get(sender, 0) >= MAX_ITEMS_OF_ONE_SENDER:
            return False
        if octets + box.octets.get(sender, 0) + len(letter.payload) > MAX_BYTES_OF_ONE_SENDER:
            return False
    return True


async def _queue(connection: AsyncConnection, queued: Sequence[tuple[Letter, Sequence[tuple[str, int]]]]) -> None:
    rows = [
        {
            "conversation_id": letter.conversation_id,
            "kind": letter.kind,
            "sender_device_id": letter.sender_device_id,
            "payload": letter.payload,
            "accepted_at": letter.accepted_at,
        }
        for letter, _ in queued
    ]
    stored = insert(messages).returning(messages.c.message_key, sort_by_parameter_order=True)
    keys = (await connection.execute(stored, rows)).scalars().all()
    more = Counter(device_id for _, numbered in queued for device_id, _ in numbered)
    for count in sorted(set(more.values())):
        of_these = among(connection, devices.c.device_id, [device_id for device_id, its in more.items() if its == count])
        await connection.execute(update(devices).where(of_these).values(mailbox_seq=devices.c.mailbox_seq + count))
    items = [
        {"device_id": device_id, "seq": seq, "message_key": key}
        for key, (_, numbered) in zip(keys, queued, strict=True)
        for device_id, seq in numbered
    ]
    await connection.execute(insert(mailbox), items)


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
            messages.c.message_key,
        )
        .join_from(mailbox, messages)
        .where(mailbox.c.device_id == device_id, mailbox.c.seq > after)
        .order_by(mailbox.c.seq)
        .limit(limit)
    )
    return [Item(**row) for row in (await connection.execute(query)).mappings()]


@dataclass(frozen=True, slots=True)
class Look:
    """A device asks for at most `limit` items after a sequence number."""

    device_id: str
    after: int
    limit: int


@dataclass(frozen=True, slots=True)
class Found:
    """The answer to a look: items in order, and whether the mailbox may hold more after them."""

    items: Sequence[Item]
    may_be_more: bool


async def items_of_many(connection: AsyncConnection, looks: Sequence[Look]) -> Sequence[Found | None]:
    """What each look finds; a payload that many wait for is read once.

    None where a device has to look alone: it has so much on the way, or waits for so much, that others should not wait with it.
    """
    near = and_(mailbox.c.device_id == devices.c.device_id, mailbox.c.seq <= devices.c.acked_seq + NEAR_ITEMS)
    query = select(devices.c.device_id, devices.c.mailbox_seq, mailbox.c.seq, mailbox.c.message_key)
    query = query.join_from(devices, mailbox, near, isouter=True)
    query = query.where(among(connection, devices.c.device_id, {look.device_id for look in looks})).order_by(mailbox.c.seq)
    last: dict[str, int] = {}
    waiting: dict[str, list[tuple[int, int]]] = {}
    for row in await connection.execute(query):
        last[row.device_id] = row.mailbox_seq
        if row.seq is not None:
            waiting.setdefault(row.device_id, []).append((row.seq, row.message_key))
    found: list[Sequence[tuple[int, int]] | None] = []
    wanted: set[int] = set()
    for look in looks:
        mine = [each for each in waiting.get(look.device_id, ()) if each[0] > look.after][: look.limit]
        keys = {key for _, key in mine}
        beyond = not mine and last.get(look.device_id, 0) > look.after
        if beyond or len(wanted | keys) > SHARED_PAYLOADS:
            found.append(None)
        else:
            wanted |= keys
            found.append(mine)
    payloads = select(messages).where(among(connection, messages.c.message_key, wanted))
    read = {row.message_key: row for row in await connection.execute(payloads)} if wanted else {}

    def item(seq: int, key: int) -> Item:
        row = read[key]
        return Item(seq, row.conversation_id, row.kind, row.sender_device_id, row.payload, row.accepted_at, key)

    return [
        Found(
            [item(seq, key) for seq, key in mine],
            may_be_more=last.get(look.device_id, 0) > (mine[-1][0] if mine else look.after),
        )
        if mine is not None
        else None
        for look, mine in zip(looks, found, strict=True)
    ]


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """A device has everything up to `seq`; `keys` are the payloads of all that it had not acknowledged before."""

    device_id: str
    seq: int
    keys: Sequence[int]


async def acknowledge_many(connection: AsyncConnection, acknowledgements: Collection[Acknowledgement]) -> None:
    """Forget what these devices have; may run beside others.

    The payloads are left to `forget_unreferenced` after the commit: who acknowledges at the same time cannot be seen from inside.
    """
    rows = [{"device": each.device_id, "upto": each.seq} for each in sorted(acknowledgements, key=lambda each: each.device_id)]
    upto = bindparam("upto", type_=mailbox.c.seq.type)
    await connection.execute(delete(mailbox).where(mailbox.c.device_id == bindparam("device"), mailbox.c.seq <= upto), rows)
    behind = and_(devices.c.device_id == bindparam("device"), devices.c.acked_seq < upto, devices.c.mailbox_seq >= upto)
    await connection.execute(update(devices).where(behind).values(acked_seq=upto), rows)


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
        kept += (await connection.execute(select(messages.c.message_key).where(among(connection, messages.c.message_key, batch)))).scalars()
    return kept


def _batches(keys: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(keys), 500):  # databases bound the number of parameters
        yield keys[start : start + 500]


async def forget_unreferenced(connection: AsyncConnection, keys: Collection[int]) -> None:
    """Forget those of these payloads that nobody waits for."""
    waited_for = exists(select(mailbox.c.seq).where(mailbox.c.message_key == messages.c.message_key))
    for batch in _batches(sorted(keys)):
        # Locked in one order, without waiting for whoever forgets the same.
        lock = select(messages.c.message_key).where(among(connection, messages.c.message_key, batch), ~waited_for)
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


async def sent(connection: AsyncConnection, names: Collection[tuple[str, str]]) -> dict[tuple[str, str], Sent]:
    """Those of these (sender, message id) that were accepted."""
    mine = pair_among(connection, (sent_messages.c.sender_device_id, sent_messages.c.message_id), names)
    rows = (await connection.execute(select(sent_messages).where(mine))).all()
    return {(row.sender_device_id, row.message_id): Sent(row.conversation_id, row.digest, row.accepted_at) for row in rows}


async def remember_sent(connection: AsyncConnection, named: Mapping[tuple[str, str], Sent]) -> None:
    """Messages by (sender, message id) that were accepted now."""
    rows = [
        {
            "sender_device_id": sender,
            "message_id": message_id,
            "conversation_id": message.conversation_id,
            "digest": message.digest,
            "accepted_at": message.accepted_at,
        }
        for (sender, message_id), message in sorted(named.items(), key=lambda each: each[0])
    ]
    if rows:
        await connection.execute(insert(sent_messages), rows)


async def forget_old_message_ids(connection: AsyncConnection, now: float) -> None:
    await connection.execute(delete(sent_messages).where(sent_messages.c.accepted_at < now - MESSAGE_ID_KEPT_S))
