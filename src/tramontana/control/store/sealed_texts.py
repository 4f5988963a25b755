"""Sealed texts that pass through: at which number of ours a device takes them, and what waits for it. Ciphertext and numbers, no more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from sqlalchemy import delete, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from tramontana.control.store.accounts import new_id
from tramontana.control.store.schema import devices, sealed_numbers, sealed_texts

MOST_WAITING = 200
"""For one device; its number is known to whoever was written to, and anybody may send octets to a number."""
KEPT_S = 7 * 86400.0
"""Longer than keys of an epoch that is over live (keys/sealed_text.py): what is older nobody could open."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A sealed text for a device."""

    text_id: str
    source: str
    datagram: bytes
    received_at: float


async def number_of(connection: AsyncConnection, device_id: str) -> str | None:
    """At which of our numbers a device takes sealed texts."""
    query = select(sealed_numbers.c.number).where(sealed_numbers.c.device_id == device_id)
    return cast("str | None", (await connection.execute(query)).scalar())


async def give_number(connection: AsyncConnection, device_id: str, numbers: Sequence[str], now: float) -> str | None:
    """The device's number, one of `numbers`; the lowest free one where it has none yet, None where all are taken."""
    if (known := await number_of(connection, device_id)) is not None and known in numbers:
        return known
    await connection.execute(delete(sealed_numbers).where(sealed_numbers.c.device_id == device_id))
    taken = set((await connection.execute(select(sealed_numbers.c.number))).scalars())
    free = next((number for number in numbers if number not in taken), None)
    if free is not None:
        await connection.execute(insert(sealed_numbers).values(number=free, device_id=device_id, given_at=now))
    return free


async def device_at(connection: AsyncConnection, number: str) -> str | None:
    """The device with this number, unless it was revoked."""
    joined = select(sealed_numbers.c.device_id).join(devices, devices.c.device_id == sealed_numbers.c.device_id)
    query = joined.where(sealed_numbers.c.number == number, devices.c.revoked_at.is_(None))
    return cast("str | None", (await connection.execute(query)).scalar())


async def keep(connection: AsyncConnection, device_id: str, source: str, datagram: bytes, now: float) -> bool:
    """Keep a text until its device has it; False where too many wait."""
    mine = select(func.count()).select_from(sealed_texts).where(sealed_texts.c.device_id == device_id)
    if (await connection.execute(mine)).scalar_one() >= MOST_WAITING:
        return False
    row = {"text_id": new_id(), "device_id": device_id, "source": source, "datagram": datagram, "received_at": now}
    await connection.execute(insert(sealed_texts).values(row))
    return True


async def waiting(connection: AsyncConnection, device_id: str) -> list[Waiting]:
    """What a device has not taken yet, the oldest first."""
    names = [sealed_texts.c[name] for name in Waiting.__slots__]
    query = select(*names).where(sealed_texts.c.device_id == device_id).order_by(sealed_texts.c.received_at, sealed_texts.c.text_id)
    return [Waiting(**row) for row in (await connection.execute(query)).mappings()]


async def taken(connection: AsyncConnection, device_id: str, text_ids: Sequence[str]) -> None:
    """The device has stored these."""
    await connection.execute(delete(sealed_texts).where(sealed_texts.c.device_id == device_id, sealed_texts.c.text_id.in_(text_ids)))


async def forget_old(connection: AsyncConnection, now: float) -> None:
    await connection.execute(delete(sealed_texts).where(sealed_texts.c.received_at < now - KEPT_S))
