"""Alarms that a device can raise without being recognised by whoever looks over its owner's shoulder."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from tramontana.control.store.schema import accounts, devices, duress_alarms

OUTSTANDING_S = 7 * 86400.0
"""How long an alarm is shown that nobody has followed up."""


@dataclass(frozen=True, slots=True)
class Alarm:
    """Whose secret it is. `raised_at` is None before the first time."""

    device_id: str
    account_id: str
    raised_at: float | None


@dataclass(frozen=True, slots=True)
class Raised:
    """An alarm that somebody has to follow up."""

    device_id: str
    account_id: str
    display_name: str
    raised_at: float


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


async def outstanding(connection: AsyncConnection, now: float) -> list[Raised]:
    """Alarms, the newest first, until the device is revoked, its person sets another secret, or `OUTSTANDING_S` are over."""
    query = (
        select(duress_alarms.c.device_id, devices.c.account_id, accounts.c.display_name, duress_alarms.c.raised_at)
        .join_from(duress_alarms, devices)
        .join(accounts)
        .where(duress_alarms.c.raised_at > now - OUTSTANDING_S, devices.c.revoked_at.is_(None))
        .order_by(duress_alarms.c.raised_at.desc(), duress_alarms.c.device_id)
    )
    return [Raised(row.device_id, row.account_id, row.display_name, row.raised_at) for row in await connection.execute(query)]


async def raised(connection: AsyncConnection, device_id: str, now: float) -> None:
    """Keep when the alarm was last recorded."""
    await connection.execute(update(duress_alarms).where(duress_alarms.c.device_id == device_id).values(raised_at=now))
