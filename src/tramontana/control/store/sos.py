"""Cases of people in need, and their entries: what was said, by whom, when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import Row, and_, delete, func, insert, or_, select, update
from sqlalchemy import case as choice
from sqlalchemy.ext.asyncio import AsyncConnection

from tramontana.cell.forwarding import State
from tramontana.cell.sos_case import Case
from tramontana.control.store.accounts import new_id
from tramontana.control.store.schema import outgoing_messages, sos_cases, sos_entries

MAX_LISTED = 1000
"""On one page."""
CLOSED_KEPT_OPENABLE_S = 86400.0
"""A text within a day of a case's last change belongs to it; later it is a new one."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A case with its id and its version, which goes up with every change."""

    case_id: str
    version: int
    case: Case


def _stored(row: Row[Any]) -> Stored:
    return Stored(row.case_id, row.version, Case.from_json(row.record))


async def of_phone(connection: AsyncConnection, phone: str, now: float) -> Stored | None:
    """The case that a phone's next text belongs to."""
    mine = (sos_cases.c.phone == phone, sos_cases.c.updated_at > now - CLOSED_KEPT_OPENABLE_S)
    row = (await connection.execute(select(sos_cases).where(*mine).order_by(sos_cases.c.number.desc()).limit(1))).first()
    if row is None:  # one that is still open belongs to its phone for good
        still = (sos_cases.c.phone == phone, sos_cases.c.state != "closed")
        row = (await connection.execute(select(sos_cases).where(*still).order_by(sos_cases.c.number.desc()).limit(1))).first()
    return _stored(row) if row else None


async def find(connection: AsyncConnection, case_id: str) -> Stored | None:
    row = (await connection.execute(select(sos_cases).where(sos_cases.c.case_id == case_id))).first()
    return _stored(row) if row else None


_RANK = choice({"waiting": 0, "asking": 1, "in care": 2}, value=sos_cases.c.state, else_=3)
_PLACE = choice((sos_cases.c.state == "closed", -sos_cases.c.number), else_=sos_cases.c.number)


async def listed(
    connection: AsyncConnection, *, closed: bool, after: tuple[int, int] | None = None, most: int = MAX_LISTED
) -> tuple[list[Stored], tuple[int, int] | None]:
    """Who waits, who is asked, who is cared for, the oldest first in each; with `closed` those that are over, the latest first.

    after: where the page before ended. Returns a page and where it ends, None where nothing follows.
    """
    query = select(sos_cases, _RANK.label("rank"), _PLACE.label("place")).order_by(_RANK, _PLACE).limit(most + 1)
    if not closed:
        query = query.where(sos_cases.c.state != "closed")
    if after is not None:
        rank, place = after
        query = query.where(or_(rank < _RANK, and_(_RANK.in_((rank,)), place < _PLACE)))
    rows = (await connection.execute(query)).all()
    page = rows[:most]
    return [_stored(row) for row in page], (page[-1].rank, page[-1].place) if len(rows) > most else None


async def counts(connection: AsyncConnection) -> dict[str, int]:
    """Cases by state."""
    query = select(sos_cases.c.state, func.count()).group_by(sos_cases.c.state)
    return {state: number for state, number in (await connection.execute(query)).all()}


async def of_device(connection: AsyncConnection, imsi: str) -> list[Stored]:
    """Open cases whose phone gave this IMSI."""
    open_with_it = (sos_cases.c.state != "closed", sos_cases.c.record.contains(imsi, autoescape=True))
    rows = (await connection.execute(select(sos_cases).where(*open_with_it))).all()
    return [stored for stored in map(_stored, rows) if stored.case.imsi == imsi]


async def forget_closed(connection: AsyncConnection, before: float, most: int) -> int:
    """Delete cases that were closed before an instant, with all that was said; how many, `most` at most."""
    over = select(sos_cases.c.case_id).where(sos_cases.c.state == "closed", sos_cases.c.updated_at < before)
    ids = list((await connection.execute(over.order_by(sos_cases.c.updated_at).limit(most))).scalars())
    if ids:
        await connection.execute(delete(sos_entries).where(sos_entries.c.case_id.in_(ids)))
        await connection.execute(delete(sos_cases).where(sos_cases.c.case_id.in_(ids)))
    return len(ids)


async def asking(connection: AsyncConnection) -> list[Stored]:
    """Cases with a question under way."""
    return [_stored(row) for row in (await connection.execute(select(sos_cases).where(sos_cases.c.state == "asking"))).all()]


async def next_number(connection: AsyncConnection) -> int:
    return int((await connection.execute(select(func.coalesce(func.max(sos_cases.c.number), 0)))).scalar_one()) + 1


async def add(connection: AsyncConnection, case: Case) -> Stored:
    row = {"case_id": new_id(), "number": case.number, "version": 1, "opened_at": case.opened_at} | _columns(case)
    await connection.execute(insert(sos_cases).values(row))
    return Stored(cast(str, row["case_id"]), 1, case)


def _columns(case: Case) -> dict[str, object]:
    return {"phone": case.phone, "state": case.state, "updated_at": case.updated_at, "record": case.to_json()}


async def keep(connection: AsyncConnection, before: Stored, case: Case) -> Stored | None:
    """Store a changed case; None where somebody else has changed it since it was read."""
    mine = (sos_cases.c.case_id == before.case_id, sos_cases.c.version == before.version)
    changed = await connection.execute(update(sos_cases).where(*mine).values(version=before.version + 1, **_columns(case)))
    return Stored(before.case_id, before.version + 1, case) if changed.rowcount == 1 else None


async def note(
    connection: AsyncConnection, case_id: str, *, at: float, kind: str, author: str, body: str, text_id: str | None = None
) -> None:
    """Add an entry."""
    last = select(func.coalesce(func.max(sos_entries.c.seq), 0)).where(sos_entries.c.case_id == case_id)
    seq = int((await connection.execute(last)).scalar_one()) + 1
    row = {"case_id": case_id, "seq": seq, "at": at, "kind": kind, "author": author[:64], "body": body, "text_id": text_id}
    await connection.execute(insert(sos_entries).values(row))


async def entries(connection: AsyncConnection, case_id: str) -> list[tuple[Row[Any], list[State]]]:
    """The entries in their order, each with the states of the short messages that carried it."""
    rows: Sequence[Row[Any]] = (
        await connection.execute(select(sos_entries).where(sos_entries.c.case_id == case_id).order_by(sos_entries.c.seq))
    ).all()
    states: dict[str, list[State]] = {}
    query = select(outgoing_messages.c.text_id, outgoing_messages.c.state).where(
        outgoing_messages.c.text_id.in_([row.text_id for row in rows if row.text_id])
    )
    for text_id, state in (await connection.execute(query.order_by(outgoing_messages.c.part))).all():
        states.setdefault(text_id, []).append(state)
    return [(row, states.get(row.text_id or "", [])) for row in rows]
