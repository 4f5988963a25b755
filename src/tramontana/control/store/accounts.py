"""Accounts, their devices, and where each device pretends to be."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from tramontana.control.store.schema import accounts, certificates, devices, key_packages, service
from tramontana.keys.identity import VerifiedEnrolment
from tramontana.precedence import Precedence, PrecedenceLabel

State = Literal["pending", "certified", "expired", "revoked", "rejected"]


def new_id() -> str:
    """16 random bytes in lower-case hex: ids of accounts, devices, conversations, invitations."""
    return secrets.token_hex(16)


@dataclass(frozen=True, slots=True)
class Device:
    """A device with its account. `mailbox_seq` and `acked_seq` bound what waits in its mailbox."""

    device_id: str
    account_id: str
    display_name: str
    signature_public_key: bytes
    enrolled_at: float
    mailbox_seq: int
    acked_seq: int
    place_id: str | None
    carrier_id: str | None
    path_seed: int
    front_port: int | None
    account_created_at: float
    precedence_ceiling: PrecedenceLabel
    """The person's, for others to see."""
    certified_ceiling: PrecedenceLabel | None
    """What its own certificate gives it."""
    serial: str | None
    certified_until: float | None
    revoked_at: float | None
    rejected_at: float | None

    def state(self, now: float) -> State:
        """Whether it is in, and if not, why."""
        if self.revoked_at is not None:
            return "revoked"
        if self.rejected_at is not None:
            return "rejected"
        if self.certified_until is None:
            return "pending"
        return "certified" if now < self.certified_until else "expired"

    @property
    def ceiling(self) -> Precedence:
        """The highest level at which it may call: that of its own certificate, routine without one."""
        return Precedence.parse(self.certified_ceiling) if self.certified_ceiling else Precedence.ROUTINE

    @property
    def pending(self) -> int:
        return self.mailbox_seq - self.acked_seq


_DEVICE = (
    select(
        devices.c.device_id,
        devices.c.account_id,
        accounts.c.display_name,
        devices.c.signature_public_key,
        devices.c.enrolled_at,
        devices.c.mailbox_seq,
        devices.c.acked_seq,
        devices.c.place_id,
        devices.c.carrier_id,
        devices.c.path_seed,
        devices.c.front_port,
        accounts.c.created_at.label("account_created_at"),
        accounts.c.precedence_ceiling,
        certificates.c.precedence_ceiling.label("certified_ceiling"),
        devices.c.serial,
        devices.c.certified_until,
        devices.c.revoked_at,
        devices.c.rejected_at,
    )
    .join_from(devices, accounts)
    .join(certificates, certificates.c.serial == devices.c.serial, isouter=True)
)


async def service_id(connection: AsyncConnection, now: float) -> str:
    """The id of this service, made once."""
    known: str | None = (await connection.execute(select(service.c.service_id))).scalar_one_or_none()
    if known is None:
        known = new_id()
        await connection.execute(insert(service).values(id=1, service_id=known, created_at=now))
    return known


async def service_secret(connection: AsyncConnection) -> bytes:
    """32 random bytes that the server processes of this service share, made once. Call it in a `write`, after `service_id`."""
    known: bytes | None = (await connection.execute(select(service.c.secret))).scalar_one()
    if known is None:
        known = secrets.token_bytes(32)
        await connection.execute(update(service).values(secret=known))
    return known


async def create(connection: AsyncConnection, enrolment: VerifiedEnrolment, now: float, of_account: str | None = None) -> tuple[str, str]:
    """A new device, of a new account or of a known one: (account_id, device_id)."""
    account_id, device_id = of_account or new_id(), new_id()
    if of_account is None:
        await connection.execute(insert(accounts).values(account_id=account_id, display_name=enrolment.display_name, created_at=now))
    await connection.execute(
        insert(devices).values(
            device_id=device_id,
            account_id=account_id,
            signature_public_key=enrolment.signature_public_key,
            enrolled_at=now,
            path_seed=secrets.randbits(53),
        )
    )
    return account_id, device_id


async def device(connection: AsyncConnection, device_id: str) -> Device | None:
    row = (await connection.execute(_DEVICE.where(devices.c.device_id == device_id))).mappings().first()
    return Device(**row) if row else None


async def device_by_key(connection: AsyncConnection, signature_public_key: bytes) -> Device | None:
    row = (await connection.execute(_DEVICE.where(devices.c.signature_public_key == signature_public_key))).mappings().first()
    return Device(**row) if row else None


async def all_devices(connection: AsyncConnection, *, reachable_at: float | None = None) -> Sequence[Device]:
    """Every device, those of one account next to each other, accounts by name.

    reachable_at: those alone that are certified at this time and have offered key packages, so that others can begin a conversation.
    """
    query = _DEVICE.order_by(accounts.c.display_name, accounts.c.account_id, devices.c.enrolled_at)
    if reachable_at is not None:
        in_force = (devices.c.revoked_at.is_(None), devices.c.rejected_at.is_(None), devices.c.certified_until > reachable_at)
        query = query.where(devices.c.device_id.in_(select(key_packages.c.device_id)), *in_force)
    rows = await connection.execute(query)
    return [Device(**row) for row in rows.mappings()]


async def revoked_since(connection: AsyncConnection, since: float) -> Sequence[str]:
    """Devices that were revoked after an instant."""
    return (await connection.execute(select(devices.c.device_id).where(devices.c.revoked_at > since))).scalars().all()


async def restored_since(connection: AsyncConnection, since: float) -> Sequence[str]:
    """Devices in force of which a certificate was revoked after an instant."""
    query = select(devices.c.device_id).join(certificates, certificates.c.device_id == devices.c.device_id)
    return (
        (await connection.execute(query.where(certificates.c.revoked_at > since, devices.c.revoked_at.is_(None)).distinct()))
        .scalars()
        .all()
    )


async def devices_of(connection: AsyncConnection, account_ids: Collection[str]) -> Sequence[Device]:
    """The devices of these accounts, the oldest first."""
    query = _DEVICE.where(devices.c.account_id.in_(account_ids)).order_by(devices.c.enrolled_at, devices.c.device_id)
    return [Device(**row) for row in (await connection.execute(query)).mappings()]


async def set_precedence_ceiling(connection: AsyncConnection, account_id: str, ceiling: Precedence) -> None:
    """The highest level at which a person may call, as the directory shows it: the highest of his devices' certificates."""
    await connection.execute(update(accounts).where(accounts.c.account_id == account_id).values(precedence_ceiling=ceiling.label))


async def names(connection: AsyncConnection, account_ids: Collection[str]) -> dict[str, str]:
    """Display names by account."""
    query = select(accounts.c.account_id, accounts.c.display_name).where(accounts.c.account_id.in_(account_ids))
    return {row.account_id: row.display_name for row in await connection.execute(query)}


async def exists(connection: AsyncConnection, account_id: str) -> bool:
    return (await connection.execute(select(accounts.c.account_id).where(accounts.c.account_id == account_id))).first() is not None


async def count_existing(connection: AsyncConnection, account_ids: Collection[str]) -> int:
    """How many of these accounts there are."""
    query = select(func.count()).select_from(accounts).where(accounts.c.account_id.in_(account_ids))
    return int((await connection.execute(query)).scalar_one())


async def set_access(connection: AsyncConnection, device_id: str, place_id: str, carrier_id: str) -> None:
    await connection.execute(update(devices).where(devices.c.device_id == device_id).values(place_id=place_id, carrier_id=carrier_id))


async def set_front_port(connection: AsyncConnection, device_id: str, port: int) -> None:
    await connection.execute(update(devices).where(devices.c.device_id == device_id).values(front_port=port))
