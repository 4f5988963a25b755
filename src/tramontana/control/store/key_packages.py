"""Key packages: each handed out once, the last-resort one again and again; and whom a Welcome admits."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from tramontana.control.store.schema import devices, key_packages

CLAIM_KEPT_S = 30 * 86400.0
"""How long a claimed package's reference is remembered, so that a Welcome to it can still be delivered."""
DEVICES_AT_ONCE = 500
"""SQLite bounds the number of parameters."""


@dataclass(frozen=True, slots=True)
class Offered:
    """A package as its device offers it."""

    reference: bytes
    message: bytes
    expires_at: float


async def replace(connection: AsyncConnection, device_id: str, single_use: Sequence[Offered], last_resort: Offered) -> None:
    """Put these in place of everything that the device still offered. One that was handed out before is not offered again."""
    mine = key_packages.c.device_id == device_id
    await connection.execute(delete(key_packages).where(mine, key_packages.c.claimed_at.is_(None)))
    await connection.execute(update(key_packages).where(mine).values(package=None))
    known = {row.reference: row.last_resort for row in await connection.execute(select(key_packages).where(mine))}
    for position, offered in enumerate((*single_use, last_resort)):
        is_last_resort = offered is last_resort
        if offered.reference not in known:
            row = {
                "reference": offered.reference,
                "device_id": device_id,
                "last_resort": is_last_resort,
                "package": offered.message,
                "position": position,
                "expires_at": offered.expires_at,
            }
            await connection.execute(insert(key_packages).values(row))
        elif is_last_resort and known[offered.reference]:
            await connection.execute(
                update(key_packages).where(key_packages.c.reference == offered.reference).values(package=offered.message)
            )


async def has_offered(connection: AsyncConnection, device_id: str) -> bool:
    """Whether the device has put key packages on offer before."""
    query = select(key_packages.c.device_id).where(key_packages.c.device_id == device_id).limit(1)
    return (await connection.execute(query)).first() is not None


async def count_offering(connection: AsyncConnection, device_ids: Collection[str]) -> int:
    """How many of these devices others can call: the desk of a custodian offers no key packages."""
    found, listed = 0, sorted(device_ids)
    for start in range(0, len(listed), DEVICES_AT_ONCE):
        of = key_packages.c.device_id.in_(listed[start : start + DEVICES_AT_ONCE])
        found += (await connection.execute(select(func.count(key_packages.c.device_id.distinct())).where(of))).scalar_one()
    return found


async def remaining(connection: AsyncConnection, device_id: str, now: float) -> int:
    """Single-use packages that can still be handed out."""
    available = (key_packages.c.device_id == device_id, key_packages.c.package.is_not(None), key_packages.c.expires_at > now)
    query = select(func.count()).select_from(key_packages).where(*available, key_packages.c.last_resort.is_(False))
    return int((await connection.execute(query)).scalar_one())


@dataclass(frozen=True, slots=True)
class Claimed:
    """A package that was handed out, as MLSMessage."""

    account_id: str
    device_id: str
    message: bytes


async def claim_of(connection: AsyncConnection, account_ids: Collection[str], without: Collection[str], now: float) -> list[Claimed]:
    """One package of each device of these accounts, but for the devices in `without`. Devices that offer none are left out."""
    rows = await connection.execute(
        select(devices.c.account_id, key_packages.c.device_id, key_packages.c.reference, key_packages.c.package, key_packages.c.last_resort)
        .join_from(key_packages, devices)
        .where(devices.c.account_id.in_(account_ids), key_packages.c.package.is_not(None), key_packages.c.expires_at > now)
        .where(devices.c.revoked_at.is_(None), devices.c.rejected_at.is_(None), devices.c.certified_until > now)
        .order_by(devices.c.enrolled_at, key_packages.c.device_id, key_packages.c.last_resort, key_packages.c.position)
    )
    claimed: dict[str, Claimed] = {}
    again: list[bytes] = []
    used_up: list[bytes] = []
    for row in rows.all():
        if row.device_id not in claimed and row.device_id not in without:
            claimed[row.device_id] = Claimed(row.account_id, row.device_id, row.package)
            (again if row.last_resort else used_up).append(row.reference)
    handed_out = update(key_packages).values(claimed_at=now)
    await connection.execute(handed_out.where(key_packages.c.reference.in_(again)))
    await connection.execute(handed_out.values(package=None).where(key_packages.c.reference.in_(used_up)))
    return list(claimed.values())


async def claimed_by_reference(connection: AsyncConnection, references: Iterable[bytes]) -> Mapping[bytes, str]:
    """The devices behind references that were handed out: {reference: device_id}."""
    query = select(key_packages.c.reference, key_packages.c.device_id).where(
        key_packages.c.reference.in_(list(references)), key_packages.c.claimed_at.is_not(None)
    )
    return {row.reference: row.device_id for row in await connection.execute(query)}


async def forget_device(connection: AsyncConnection, device_id: str) -> None:
    """A device that is out offers nothing, and no Welcome admits it any more."""
    await connection.execute(delete(key_packages).where(key_packages.c.device_id == device_id))


async def forget_old_claims(connection: AsyncConnection, now: float) -> None:
    await connection.execute(delete(key_packages).where(key_packages.c.package.is_(None), key_packages.c.claimed_at < now - CLAIM_KEPT_S))
