"""Rows of warnings: the records that `cell.warning` has rules for, the signed decisions, and what is known of them in each cell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import RowMapping, bindparam, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from tramontana.cell import warning_content
from tramontana.cell.cell_broadcast import SerialNumber
from tramontana.cell.warning import CODE_RESTS_S, State, Warning
from tramontana.control.store.schema import warning_cells, warning_decisions, warnings

LISTED = 200
CellKey = tuple[str, str, int, str]
"""Warning, controller, message identifier, cell."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A record with the octets of its content, as they were signed."""

    warning: Warning
    content: bytes


@dataclass(frozen=True, slots=True)
class Decision:
    """What a person's device signed."""

    warning_id: str
    decision: str
    account_id: str
    device_id: str
    statement: bytes
    signature: bytes
    at: float


@dataclass(frozen=True, slots=True)
class InCell:
    """What is known of a warning in a cell. on_air_at: when it was confirmed the first time."""

    warning_id: str
    controller: str
    message_identifier: int
    cell: str
    state: str
    attempts: int
    reason: str
    at: float
    on_air_at: float | None
    off_air_at: float | None

    @property
    def key(self) -> CellKey:
        return self.warning_id, self.controller, self.message_identifier, self.cell


async def find(connection: AsyncConnection, warning_id: str) -> Stored | None:
    """One warning."""
    row = (await connection.execute(select(warnings).where(warnings.c.warning_id == warning_id))).mappings().first()
    return _stored(row) if row else None


async def listed(connection: AsyncConnection) -> list[Stored]:
    """The newest warnings, newest first."""
    rows = await connection.execute(select(warnings).order_by(warnings.c.submitted_at.desc(), warnings.c.warning_id).limit(LISTED))
    return [_stored(row) for row in rows.mappings()]


async def pending(connection: AsyncConnection) -> list[Stored]:
    """Warnings that time may end, and those that may still be on the air somewhere."""
    live = (State.SUBMITTED.value, State.ON_AIR.value, State.AUTHORISED.value)
    rows = await connection.execute(select(warnings).where(warnings.c.state.in_(live)))
    return [_stored(row) for row in rows.mappings()]


async def codes(connection: AsyncConnection, now: float) -> tuple[frozenset[int], int]:
    """Message codes that phones may remember, and the code given last (0 before the first)."""
    since = now - CODE_RESTS_S
    kept = (warnings.c.ended_at.is_(None)) | (warnings.c.ended_at > since)
    query = select(warnings.c.message_code).where(warnings.c.message_code.is_not(None), kept)
    remembered = frozenset((await connection.execute(query)).scalars())
    newest = select(warnings.c.message_code).where(warnings.c.message_code.is_not(None)).order_by(warnings.c.approved_at.desc()).limit(1)
    return remembered, (await connection.execute(newest)).scalar_one_or_none() or 0


async def create(connection: AsyncConnection, warning: Warning, content: bytes) -> None:
    """A new record. Raises `IntegrityError` for an id that is taken."""
    await connection.execute(
        insert(warnings).values(
            warning_id=warning.warning_id,
            content=content,
            author_account_id=warning.author,
            submitted_at=warning.submitted_at,
            **_life(warning),
        )
    )


async def save(connection: AsyncConnection, warning: Warning) -> None:
    """The record after something happened to it."""
    await connection.execute(update(warnings).where(warnings.c.warning_id == warning.warning_id).values(**_life(warning)))


async def decide(connection: AsyncConnection, decision: Decision) -> None:
    """Keep a signed decision."""
    row = {name: getattr(decision, name) for name in Decision.__slots__}
    await connection.execute(insert(warning_decisions).values(row))


async def decisions(connection: AsyncConnection, warning_ids: Iterable[str]) -> list[Decision]:
    """The signed decisions about warnings, in order of time."""
    query = select(warning_decisions).where(warning_decisions.c.warning_id.in_(list(warning_ids))).order_by(warning_decisions.c.at)
    return [Decision(**row) for row in (await connection.execute(query)).mappings()]


async def cells(connection: AsyncConnection, warning_id: str) -> list[InCell]:
    """What is known of a warning, cell by cell."""
    query = select(warning_cells).where(warning_cells.c.warning_id == warning_id)
    query = query.order_by(warning_cells.c.controller, warning_cells.c.cell, warning_cells.c.message_identifier)
    return [InCell(**row) for row in (await connection.execute(query)).mappings()]


async def not_off_air(connection: AsyncConnection) -> list[tuple[InCell, SerialNumber]]:
    """Cells where a message is or may be on the air, with its revision: what a new process has to take over."""
    query = (
        select(warning_cells, warnings.c.message_code, warnings.c.update_number)
        .join_from(warning_cells, warnings)
        .where(warning_cells.c.state != "off-air", warnings.c.message_code.is_not(None))
        .order_by(warnings.c.approved_at.desc())
    )
    found = []
    for row in (await connection.execute(query)).mappings():
        fields = {name: row[name] for name in InCell.__slots__}
        found.append((InCell(**fields), SerialNumber(row["message_code"], row["update_number"])))
    return found


async def by_serial(connection: AsyncConnection) -> dict[tuple[int, int], str]:
    """Message code and update number to the warning that had them last."""
    query = select(warnings.c.message_code, warnings.c.update_number, warnings.c.warning_id)
    query = query.where(warnings.c.message_code.is_not(None), warnings.c.state != State.DONE.value).order_by(warnings.c.approved_at)
    return {(row.message_code, row.update_number): row.warning_id for row in await connection.execute(query)}


async def keep_cells(connection: AsyncConnection, new: Sequence[InCell], changed: Sequence[InCell]) -> None:
    """Rows that are not there yet, and rows that are."""
    if new:
        await connection.execute(insert(warning_cells), [_in_cell(row) for row in new])
    if changed:
        same = [warning_cells.c[name] == bindparam(f"at_{name}") for name in ("warning_id", "controller", "message_identifier", "cell")]
        values: dict[str, Any] = {
            name: bindparam(f"to_{name}") for name in ("state", "attempts", "reason", "at", "on_air_at", "off_air_at")
        }
        rows: list[Mapping[str, Any]] = [
            {f"at_{name}": getattr(row, name) for name in ("warning_id", "controller", "message_identifier", "cell")}
            | {f"to_{name}": getattr(row, name) for name in values}
            for row in changed
        ]
        await connection.execute(update(warning_cells).where(*same).values(values), rows)


def _in_cell(row: InCell) -> dict[str, Any]:
    return {name: getattr(row, name) for name in InCell.__slots__}


def _life(warning: Warning) -> dict[str, Any]:
    serial = warning.serial
    return {
        "state": warning.state.value,
        "message_code": None if serial is None else serial.message_code,
        "update_number": None if serial is None else serial.update_number,
        "approved_at": warning.approved_at,
        "expires_at": warning.expires_at,
        "ended_at": warning.ended_at,
    }


def _stored(row: RowMapping) -> Stored:
    serial = None if row["message_code"] is None else SerialNumber(row["message_code"], row["update_number"])
    content = bytes(row["content"])
    warning = Warning(
        row["warning_id"],
        State(row["state"]),
        warning_content.parse(content),
        row["author_account_id"],
        row["submitted_at"],
        serial,
        row["approved_at"],
        row["expires_at"],
        row["ended_at"],
    )
    return Stored(warning, content)
