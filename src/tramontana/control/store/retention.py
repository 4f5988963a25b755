"""How long the server keeps what is not delivered, and who called whom."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from tramontana.control.store.calls import ENDED_CALL_KEPT_S
from tramontana.control.store.schema import retention

DAY_S = 86400.0


@dataclass(frozen=True, slots=True)
class Retention:
    """undelivered_days: None keeps a message until it is delivered. attachments_days: from their announcement on.

    texts_days: of texts over message centres with which nothing is to be done any more. sos_days: of cases since they were closed.
    """

    undelivered_days: int | None = None
    call_records_days: int = round(ENDED_CALL_KEPT_S / DAY_S)
    attachments_days: int = 30
    texts_days: int = 90
    sos_days: int = 365


async def current(connection: AsyncConnection) -> Retention:
    row = (await connection.execute(select(*(retention.c[name] for name in Retention.__slots__)))).mappings().first()
    return Retention(**row) if row else Retention()


async def change(connection: AsyncConnection, wanted: Retention) -> None:
    values = asdict(wanted)
    if (await connection.execute(update(retention).values(values))).rowcount == 0:
        await connection.execute(insert(retention).values(id=1, **values))
