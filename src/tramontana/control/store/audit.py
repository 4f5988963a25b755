"""The audit trail: append-only rows, each with a hash over itself and the hash of the row before.

Who changes a row, removes one from the middle or cuts off the end, breaks the chain or leaves the head behind; `verify` finds the
place. The trail holds who, what, when and to whom: never content, tokens or keys.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from tramontana.control.store.schema import audit, audit_head

GENESIS = bytes(32)
CONTEXT = b"tramontana audit 1"
VERIFY_BATCH = 1000

SERVER = "server"
COMMAND = "command line"
ADMINISTRATOR = "administrator"


def device_actor(device_id: str) -> str:
    """How a device is named as an actor."""
    return f"device {device_id}"


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of the trail."""

    seq: int
    at: float
    actor: str
    action: str
    subject: str
    details: str
    """Canonical JSON."""
    hash: bytes


@dataclass(frozen=True, slots=True)
class ChainReport:
    """`first_broken` is the sequence number of the first row that does not follow from the one before, None if all do."""

    rows: int
    first_broken: int | None

    @property
    def intact(self) -> bool:
        return self.first_broken is None


def chain_hash(previous: bytes, seq: int, at: float, actor: str, action: str, subject: str, details: str) -> bytes:
    """SHA-256 over the context, the previous hash and every column, each with its 4-byte length in front."""
    fields = (CONTEXT, previous, str(seq).encode(), repr(at).encode(), actor.encode(), action.encode(), subject.encode(), details.encode())
    return hashlib.sha256(b"".join(len(value).to_bytes(4, "big") + value for value in fields)).digest()


async def append(
    connection: AsyncConnection, *, now: float, actor: str, action: str, subject: str = "", details: Mapping[str, Any] | None = None
) -> None:
    """Add a row in the transaction of what it records, so that neither stands without the other."""
    # The update locks the head row, which puts concurrent writers of other processes in order on every database.
    bumped = (
        await connection.execute(update(audit_head).values(seq=audit_head.c.seq + 1).returning(audit_head.c.seq, audit_head.c.hash))
    ).first()
    seq, previous = (bumped.seq, bumped.hash) if bumped else (1, GENESIS)
    text = json.dumps(dict(details or {}), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    digest = chain_hash(previous, seq, now, actor, action, subject, text)
    row = {"seq": seq, "at": now, "actor": actor, "action": action, "subject": subject, "details": text, "hash": digest}
    await connection.execute(insert(audit).values(row))
    if bumped:
        await connection.execute(update(audit_head).values(hash=digest))
    else:
        await connection.execute(insert(audit_head).values(id=1, seq=seq, hash=digest))


async def entries(connection: AsyncConnection, after: int, limit: int) -> Sequence[Entry]:
    """At most `limit` rows after a sequence number, in order."""
    rows = await connection.execute(select(audit).where(audit.c.seq > after).order_by(audit.c.seq).limit(limit))
    return [Entry(**row) for row in rows.mappings()]


async def newest(connection: AsyncConnection, action: str, limit: int) -> Sequence[Entry]:
    """The newest rows of an action, the newest first."""
    rows = await connection.execute(select(audit).where(audit.c.action == action).order_by(audit.c.seq.desc()).limit(limit))
    return [Entry(**row) for row in rows.mappings()]


async def hash_at(connection: AsyncConnection, seq: int) -> bytes | None:
    """The hash of a row; that of nothing for 0; None where there is no such row."""
    if seq == 0:
        return GENESIS
    return (await connection.execute(select(audit.c.hash).where(audit.c.seq == seq))).scalar_one_or_none()


def first_broken(previous: bytes | None, after: int, rows: Sequence[Entry]) -> int | None:
    """The first of consecutive rows that does not follow from `previous`, the hash of row number `after`."""
    for expected, row in enumerate(rows, start=after + 1):
        if previous is None or row.seq != expected:
            return expected
        if chain_hash(previous, row.seq, row.at, row.actor, row.action, row.subject, row.details) != row.hash:
            return row.seq
        previous = row.hash
    return None


async def verify(connection: AsyncConnection) -> ChainReport:
    """Walk the whole chain and compare its end with the head."""
    seq, previous = 0, GENESIS
    while rows := await entries(connection, seq, VERIFY_BATCH):
        if (broken := first_broken(previous, seq, rows)) is not None:
            return ChainReport(rows[-1].seq, broken)
        seq, previous = rows[-1].seq, rows[-1].hash
    head = (await connection.execute(select(audit_head.c.seq, audit_head.c.hash))).first()
    if (head.seq, head.hash) != (seq, previous) if head else seq != 0:
        return ChainReport(seq, seq + 1)  # rows were cut off at the end
    return ChainReport(seq, None)
