"""What carriers were worth to sites, hour by hour, as the sites measured it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import delete, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from tramontana.carrier_hours import HOUR_S, CarrierHour
from tramontana.control.store.schema import accounts, carrier_hours, devices

KEPT_DAYS: Final = 400
"""A year and what it takes to argue about its last month."""


@dataclass(frozen=True, slots=True)
class SiteHour:
    """site: the name that its certificate gives it."""

    device_id: str
    site: str
    measured: CarrierHour


async def keep(connection: AsyncConnection, measured: Collection[tuple[str, CarrierHour]]) -> None:
    """By device id. An hour that is there already stays as it is: nobody improves it afterwards."""
    rows = [
        {"device_id": device_id, "hour": each.hour, "carrier": each.carrier, "measured": each.model_dump_json()}
        for device_id, each in measured
    ]
    if rows:
        of_dialect = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}[connection.dialect.name]
        statement: postgresql.Insert | sqlite.Insert = of_dialect(carrier_hours)  # type: ignore[assignment]  # of one of the two
        await connection.execute(statement.on_conflict_do_nothing(), rows)


async def of_carrier(connection: AsyncConnection, carrier: str, first_hour: int, end_hour: int) -> Sequence[SiteHour]:
    """From the first hour to the one before the end, by site and hour."""
    query = (
        select(carrier_hours.c.device_id, accounts.c.display_name, carrier_hours.c.measured)
        .join_from(carrier_hours, devices)
        .join(accounts)
        .where(carrier_hours.c.carrier == carrier, carrier_hours.c.hour >= first_hour, carrier_hours.c.hour < end_hour)
        .order_by(carrier_hours.c.device_id, carrier_hours.c.hour)
    )
    rows = await connection.execute(query)
    return [SiteHour(row.device_id, row.display_name, CarrierHour.model_validate_json(row.measured)) for row in rows]


async def forget(connection: AsyncConnection, now: float) -> None:
    await connection.execute(delete(carrier_hours).where(carrier_hours.c.hour < int(now // HOUR_S) - KEPT_DAYS * 24))
