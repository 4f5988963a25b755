"""Alarms that a device can raise without being recognised by whoever looks over its owner's shoulder."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from tramontana.control.store.schema import devices, duress_alarms


@dataclass(frozen=True, slots=True)
class Alarm:
    """Whose secret it is. `raised_at` is None before the first time."""

    device_id: str
    account_id: str
    raised_at: float | None


async def arm(connection: AsyncConnection, device_id: str, secret_sha256: bytes) -> None:
    """From now on this secret, and no former one, is the device's alarm."""
    await connection.execute(delete(duress_alarms).where(duress_alarms.c.device_id == device_id))
    await connection.execute(insert(duress_alarms).values(device_id=device_id, secret_sha256=secret_sha256))


async def find(connection: AsyncConnection, secret_sha256: bytes) -> Alarm | None:
    """The alarm of a secret."""
    query = (
        select(duress_alarms.c.device_id, devices.c.account_id, duress_alarms.c.raised_at)
        .join_from(duress_alarms, devices)
        .where(duress_alarms.c.secret_sha256 == secret_sha256)
    )
    row = (await connection.execute(query)).first()
    return Alarm(row.device_id, row.account_id, row.raised_at) if row else None


async def raised(connection: AsyncConnection, device_id: str, now: float) -> None:
    """Keep when the alarm was last recorded."""
    await connection.execute(update(duress_alarms).where(duress_alarms.c.device_id == device_id).values(raised_at=now))
