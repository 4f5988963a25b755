"""Rows of warnings: the records that `cell.warning` has rules for, the signed decisions, and what is known of them in each cell."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import RowMapping, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from tramontana.cell import warning_content
from tramontana.cell.cell_broadcast import SerialNumber
from tramontana.cell.warning import CODE_RESTS_S, LAPSES_AFTER_S, State, Warning
from tramontana.cell.warning_content import ContentRefused
from tramontana.control.store.schema import warning_cells, warning_decisions, warnings

LISTED = 200
_KEY = ("warning_id", "controller", "message_identifier", "cell")
CellKey = tuple[str, str, int, str]
"""Warning, controller, message identifier, cell."""

logger = logging.getLogger(__name__)


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
    """The newest warnings, newest first, without those whose content is refused by the rules of today."""
    rows = await connection.execute(select(warnings).order_by(warnings.c.submitted_at.desc(), warnings.c.warning_id).limit(LISTED))
    found = []
    for row in rows.mappings():
        try:
            found.append(_stored(row))
        except ContentRefused as error:
            logger.error("warning %s is not listed, because its content is refused by this release: %s", row["warning_id"], error)
    return found


async def overdue(connection: AsyncConnection, now: float) -> list[str]:
    """Warnings that time may have ended by now (`cell.warning.overdue` says whether it did)."""
    waits = (warnings.c.state == State.SUBMITTED.value) & (warnings.c.submitted_at <= now - LAPSES_AFTER_S)
    lives = warnings.c.state.in_((State.ON_AIR.value, State.AUTHORISED.value)) & (warnings.c.expires_at <= now)
    return list((await connection.execute(select(warnings.c.warning_id).where(waits | lives))).scalars())


async def on_air(connection: AsyncConnection) -> list[str]:
    """Warnings that shall be on the air, in the order in which they were approved."""
    query = select(warnings.c.warning_id).where(warnings.c.state == State.ON_AIR.value).order_by(warnings.c.approved_at)
    return list((await connection.execute(query)).scalars())


async def ended(connection: AsyncConnection, now: float) -> list[str]:
    """Warnings that were on the air and ended so lately that their code still rests, the newest first."""
    was_on_air = (State.REPLACED.value, State.CANCELLED.value, State.EXPIRED.value)
    lately = warnings.c.state.in_(was_on_air) & warnings.c.message_code.is_not(None) & (warnings.c.ended_at > now - CODE_RESTS_S)
    return list((await connection.execute(select(warnings.c.warning_id).where(lately).order_by(warnings.c.approved_at.desc()))).scalars())


async def open_submissions(connection: AsyncConnection, account_id: str, now: float) -> int:
    """How many warnings of an author wait for a decision."""
    waits = (warnings.c.state == State.SUBMITTED.value) & (warnings.c.submitted_at > now - LAPSES_AFTER_S)
    query = select(func.count()).select_from(warnings).where(waits, warnings.c.author_account_id == account_id)
    return (await connection.execute(query)).scalar_one()


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


async def cell_keys(connection: AsyncConnection, warning_ids: Iterable[str]) -> set[CellKey]:
    """What has a row already, of some warnings."""
    columns = [warning_cells.c[name] for name in _KEY]
    query = select(*columns).where(warning_cells.c.warning_id.in_(list(warning_ids)))
    return {(row.warning_id, row.controller, row.message_identifier, row.cell) for row in await connection.execute(query)}


async def keep_cells(connection: AsyncConnection, cells: Sequence[InCell]) -> None:
    """Rows as they are now, whether they were there or not."""
    if cells:
        of_dialect = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}[connection.dialect.name]
        statement: postgresql.Insert | sqlite.Insert = of_dialect(warning_cells)  # type: ignore[assignment]  # of one of the two
        values = {name: statement.excluded[name] for name in InCell.__slots__ if name not in _KEY}
        statement = statement.on_conflict_do_update(index_elements=_KEY, set_=values)
        await connection.execute(statement, [_in_cell(row) for row in cells])


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
