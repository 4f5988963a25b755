"""The call registry's rows: who is in a call and since when, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from tramontana.control.store.schema import accounts, call_participants, calls, devices
from tramontana.precedence import PrecedenceLabel

ENDED_CALL_KEPT_S = 30 * 86400.0


@dataclass(frozen=True, slots=True)
class Participant:
    """A device that is in a call now."""

    call_id: str
    device_id: str
    account_id: str
    display_name: str
    joined_at: float
    expires_at: float
    place_id: str | None
    carrier_id: str | None


@dataclass(frozen=True, slots=True)
class Call:
    """A call that was registered; `participants` are those that are in it now."""

    call_id: str
    conversation_id: str
    precedence: PrecedenceLabel
    began_at: float
    joined_by_two: bool
    ended_at: float | None
    preempted: bool
    forwarder: str | None
    participants: tuple[Participant, ...] = ()


_CALL = select(
    calls.c.call_id,
    calls.c.conversation_id,
    calls.c.precedence,
    calls.c.began_at,
    calls.c.joined_by_two,
    calls.c.ended_at,
    calls.c.preempted,
    calls.c.forwarder,
)


async def _participants(connection: AsyncConnection, *conditions: object) -> list[Participant]:
    query = (
        select(
            call_participants.c.call_id,
            call_participants.c.device_id,
            devices.c.account_id,
            accounts.c.display_name,
            call_participants.c.joined_at,
            call_participants.c.expires_at,
            devices.c.place_id,
            devices.c.carrier_id,
        )
        .join_from(call_participants, devices)
        .join(accounts)
        .where(call_participants.c.left_at.is_(None), *conditions)  # type: ignore[arg-type]
        .order_by(call_participants.c.joined_at, call_participants.c.device_id)
    )
    return [Participant(**row) for row in (await connection.execute(query)).mappings()]


async def find(connection: AsyncConnection, call_id: str) -> Call | None:
    row = (await connection.execute(_CALL.where(calls.c.call_id == call_id))).mappings().first()
    if row is None:
        return None
    return Call(**row, participants=tuple(await _participants(connection, call_participants.c.call_id == call_id)))


async def of_conversation(connection: AsyncConnection, conversation_id: str) -> Call | None:
    """The oldest call of a conversation that has not ended."""
    query = select(calls.c.call_id).where(calls.c.conversation_id == conversation_id, calls.c.ended_at.is_(None)).order_by(calls.c.began_at)
    call_id = (await connection.execute(query.limit(1))).scalar()
    return await find(connection, call_id) if call_id is not None else None


async def in_progress(connection: AsyncConnection) -> Sequence[Call]:
    """All calls that have not ended, oldest first."""
    rows = (await connection.execute(_CALL.where(calls.c.ended_at.is_(None)).order_by(calls.c.began_at))).mappings().all()
    live = select(calls.c.call_id).where(calls.c.ended_at.is_(None))
    present: dict[str, list[Participant]] = {}
    for participant in await _participants(connection, call_participants.c.call_id.in_(live)):
        present.setdefault(participant.call_id, []).append(participant)
    return [Call(**row, participants=tuple(present.get(row["call_id"], ()))) for row in rows]


async def of_device(connection: AsyncConnection, device_id: str) -> Sequence[str]:
    """The calls that a device is in now."""
    mine = (call_participants.c.device_id == device_id, call_participants.c.left_at.is_(None))
    query = select(call_participants.c.call_id).join_from(call_participants, calls).where(*mine, calls.c.ended_at.is_(None))
    return (await connection.execute(query)).scalars().all()


async def forwarder_of_device(connection: AsyncConnection, device_id: str) -> str | None:
    """The forwarder of the call that a device is in, "address:port", or None."""
    mine = (call_participants.c.device_id == device_id, call_participants.c.left_at.is_(None), calls.c.ended_at.is_(None))
    query = select(calls.c.forwarder).join_from(call_participants, calls).where(*mine)
    return (await connection.execute(query.order_by(call_participants.c.joined_at.desc()))).scalars().first()


async def pin_forwarder(connection: AsyncConnection, call_id: str, before: str | None, chosen: str) -> str:
    """Pin a call to a forwarder, unless somebody else has pinned it since; gives the one that it is pinned to now."""
    is_as_before = calls.c.forwarder.is_(None) if before is None else calls.c.forwarder == before
    await connection.execute(update(calls).where(calls.c.call_id == call_id, is_as_before).values(forwarder=chosen))
    agreed = (await connection.execute(select(calls.c.forwarder).where(calls.c.call_id == call_id))).scalar_one()
    return agreed or chosen


async def begin(connection: AsyncConnection, call_id: str, conversation_id: str, precedence: str, now: float) -> None:
    row = {"call_id": call_id, "conversation_id": conversation_id, "precedence": precedence, "began_at": now, "joined_by_two": False}
    await connection.execute(insert(calls).values(row))


async def join(connection: AsyncConnection, call_id: str, device_id: str, now: float, expires_at: float) -> None:
    """Join, come back or refresh."""
    mine = (call_participants.c.call_id == call_id, call_participants.c.device_id == device_id)
    known = await connection.execute(update(call_participants).where(*mine).values(left_at=None, expires_at=expires_at))
    if known.rowcount == 0:
        row = {"call_id": call_id, "device_id": device_id, "joined_at": now, "expires_at": expires_at}
        await connection.execute(insert(call_participants).values(row))


async def mark_joined_by_two(connection: AsyncConnection, call_id: str) -> None:
    await connection.execute(update(calls).where(calls.c.call_id == call_id).values(joined_by_two=True))


async def leave(connection: AsyncConnection, call_id: str, device_id: str, now: float) -> bool:
    """False where the device was not in the call."""
    mine = (call_participants.c.call_id == call_id, call_participants.c.device_id == device_id, call_participants.c.left_at.is_(None))
    return (await connection.execute(update(call_participants).where(*mine).values(left_at=now))).rowcount == 1


async def end(connection: AsyncConnection, call_id: str, now: float, *, preempted: bool = False) -> None:
    await connection.execute(update(calls).where(calls.c.call_id == call_id).values(ended_at=now, preempted=preempted))
    present = (call_participants.c.call_id == call_id, call_participants.c.left_at.is_(None))
    await connection.execute(update(call_participants).where(*present).values(left_at=now))


async def forget_ended(connection: AsyncConnection, before: float) -> None:
    """Calls that ended before."""
    old = select(calls.c.call_id).where(calls.c.ended_at < before)
    await connection.execute(delete(call_participants).where(call_participants.c.call_id.in_(old)))
    await connection.execute(delete(calls).where(calls.c.ended_at < before))
