"""The last position of each field unit."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import delete, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from tramontana.cell.units import Key, Unit
from tramontana.control.store.schema import unit_positions

_FIELDS = tuple(Unit.__slots__)


async def listed(connection: AsyncConnection, since: float) -> list[Unit]:
    """Those that held at `since` or later, by callsign."""
    query = select(unit_positions).where(unit_positions.c.stale_at > since).order_by(unit_positions.c.callsign, unit_positions.c.uid)
    return [Unit(**row) for row in (await connection.execute(query)).mappings()]


async def keep(connection: AsyncConnection, units: Sequence[Unit], gone: Sequence[Key]) -> None:
    """Positions as they are now, in the place of those before; `gone` are deleted."""
    if units:
        of_dialect = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}[connection.dialect.name]
        statement: postgresql.Insert | sqlite.Insert = of_dialect(unit_positions)  # type: ignore[assignment]  # of one of the two
        values = {name: statement.excluded[name] for name in _FIELDS if name not in ("link", "uid")}
        statement = statement.on_conflict_do_update(index_elements=("link", "uid"), set_=values)
        await connection.execute(statement, [{name: getattr(unit, name) for name in _FIELDS} for unit in units])
    for link, uid in gone:
        await connection.execute(delete(unit_positions).where(unit_positions.c.link == link, unit_positions.c.uid == uid))


async def any_until(connection: AsyncConnection, until: float) -> bool:
    """Whether there is anybody to forget."""
    query = select(unit_positions.c.uid).where(unit_positions.c.stale_at <= until).limit(1)
    return (await connection.execute(query)).first() is not None


async def forget(connection: AsyncConnection, until: float) -> None:
    """Delete those that held no longer than until then."""
    await connection.execute(delete(unit_positions).where(unit_positions.c.stale_at <= until))
