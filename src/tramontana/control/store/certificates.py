"""The organisation's public half, and the certificates of devices as rows: what the rules and the directory need of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import and_, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from tramontana.control.store.schema import accounts, certificates, devices, federations, log_entries, organisation
from tramontana.keys.certificate import FOUNDING_LEAVES, Certificate
from tramontana.keys.register import Standing
from tramontana.precedence import Precedence


@dataclass(frozen=True, slots=True)
class Installed:
    """Both public, as signed statements."""

    root: bytes
    log_key: bytes


@dataclass(frozen=True, slots=True)
class Row:
    """A certificate as the directory and the console show it. `encoded` is the signed statement."""

    serial: str
    log_index: int
    device_id: str
    account_id: str
    display_name: str
    unit: str
    roles: str
    precedence_ceiling: str
    not_before: int
    not_after: int
    revoked_at: float | None
    revocation_index: int | None
    federation: str | None
    encoded: bytes

    def standing(self) -> Standing:
        roles = tuple(self.roles.split(","))
        whose = (self.serial, self.account_id, self.device_id, roles)
        is_revoked = self.revoked_at is not None
        return Standing(*whose, self.not_before, self.not_after, self.log_index, is_revoked, self.federation or "")


_ROW = select(certificates, log_entries.c.entry.label("encoded")).join_from(certificates, log_entries)


async def installed(connection: AsyncConnection) -> Installed | None:
    row = (await connection.execute(select(organisation.c.root, organisation.c.log_key))).mappings().first()
    return Installed(**row) if row else None


async def install(connection: AsyncConnection, root: bytes, log_key: bytes, now: float) -> None:
    await connection.execute(insert(organisation).values(id=1, root=root, log_key=log_key, installed_at=now))


async def last_of_devices(connection: AsyncConnection, device_ids: Collection[str]) -> Mapping[str, Row]:
    """The last certificate of each of these devices that has one."""
    query = _ROW.join(devices, devices.c.serial == certificates.c.serial).where(devices.c.device_id.in_(device_ids))
    return {row["device_id"]: Row(**row) for row in (await connection.execute(query)).mappings()}


async def last_of_account(connection: AsyncConnection, account_id: str) -> Sequence[Row]:
    """The last certificates of an account's devices."""
    query = _ROW.join(devices, devices.c.serial == certificates.c.serial).where(devices.c.account_id == account_id)
    return [Row(**row) for row in (await connection.execute(query)).mappings()]


async def all_in_order(connection: AsyncConnection) -> Sequence[Row]:
    """Every certificate that was ever issued, as the log has them."""
    return [Row(**row) for row in (await connection.execute(_ROW.order_by(certificates.c.log_index))).mappings()]


async def by_serial(connection: AsyncConnection, serial: str) -> Row | None:
    row = (await connection.execute(_ROW.where(certificates.c.serial == serial))).mappings().first()
    return Row(**row) if row else None


async def is_serial_known(connection: AsyncConnection, serial: str) -> bool:
    for table in (certificates, federations):
        if (await connection.execute(select(table.c.serial).where(table.c.serial == serial))).first() is not None:
            return True
    return False


async def founders(connection: AsyncConnection) -> Collection[str]:
    """Accounts of the founding custodians so far."""
    query = select(certificates.c.account_id).where(certificates.c.log_index.in_(FOUNDING_LEAVES))
    return (await connection.execute(query)).scalars().all()


async def custodian_devices(connection: AsyncConnection, now: float) -> Sequence[str]:
    """The devices whose certificate in force has the role."""
    in_force = and_(devices.c.revoked_at.is_(None), devices.c.certified_until > now)
    query = select(devices.c.device_id, certificates.c.roles).join_from(devices, certificates, devices.c.serial == certificates.c.serial)
    rows = await connection.execute(query.where(in_force, certificates.c.roles.like("%custodian%")))
    return [row.device_id for row in rows if "custodian" in row.roles.split(",")]


async def add(connection: AsyncConnection, certificate: Certificate, log_index: int, federation: str) -> None:
    """The new last certificate of its device; the name in it is the account's from now on. federation: "" but for a guest."""
    grant = certificate.grant
    row = {
        "serial": certificate.serial,
        "log_index": log_index,
        "device_id": grant.device_id,
        "account_id": grant.account_id,
        "display_name": grant.display_name,
        "unit": grant.unit,
        "roles": ",".join(grant.roles),
        "precedence_ceiling": grant.ceiling.label,
        "not_before": certificate.not_before,
        "not_after": grant.not_after,
        "federation": federation or None,
    }
    await connection.execute(insert(certificates).values(row))
    changed = {"serial": certificate.serial, "certified_until": float(grant.not_after), "revoked_at": None, "rejected_at": None}
    await connection.execute(update(devices).where(devices.c.device_id == grant.device_id).values(changed))
    await connection.execute(update(accounts).where(accounts.c.account_id == grant.account_id).values(display_name=grant.display_name))


async def revoke(connection: AsyncConnection, serial: str, device_id: str, log_index: int, now: float) -> bool:
    """Returns whether the device is out: a certificate that was replaced already puts nobody out."""
    mine = certificates.c.serial == serial
    await connection.execute(update(certificates).where(mine).values(revoked_at=now, revocation_index=log_index))
    last = (devices.c.device_id == device_id, devices.c.serial == serial)
    return (await connection.execute(update(devices).where(*last).values(revoked_at=now))).rowcount == 1


async def ceiling_of_account(connection: AsyncConnection, account_id: str) -> Precedence:
    """The highest of its devices' certificates that are not revoked."""
    levels = [row.precedence_ceiling for row in await last_of_account(connection, account_id) if row.revoked_at is None]
    return max((Precedence.parse(level) for level in levels), default=Precedence.ROUTINE)


@dataclass(frozen=True, slots=True)
class FederationRow:
    """A cross-certification. `encoded` is the signed statement, `root` that of the other organisation."""

    encoded: bytes
    root: bytes
    revoked_at: float | None = None


async def federations_in_force(connection: AsyncConnection) -> Sequence[FederationRow]:
    """Those that are not revoked, in the order of the log."""
    query = select(log_entries.c.entry, federations.c.root).join_from(federations, log_entries)
    rows = await connection.execute(query.where(federations.c.revoked_at.is_(None)).order_by(federations.c.log_index))
    return [FederationRow(row.entry, row.root) for row in rows]


async def federations_of(connection: AsyncConnection, serials: Collection[str]) -> Mapping[str, FederationRow]:
    """Those with these serials, in force or not."""
    query = select(federations, log_entries.c.entry).join_from(federations, log_entries).where(federations.c.serial.in_(serials))
    return {row.serial: FederationRow(row.entry, row.root, row.revoked_at) for row in await connection.execute(query)}


async def peer_roots(connection: AsyncConnection) -> Sequence[bytes]:
    """Of all organisations that were ever cross-certified."""
    return (await connection.execute(select(federations.c.root).distinct())).scalars().all()


async def of_federation(connection: AsyncConnection, serial: str) -> Sequence[Row]:
    """The guests' certificates that stand under a cross-certification."""
    mine = (certificates.c.federation == serial, certificates.c.revoked_at.is_(None))
    return [Row(**row) for row in (await connection.execute(_ROW.where(*mine))).mappings()]


async def add_federation(connection: AsyncConnection, serial: str, root: bytes, log_index: int) -> None:
    await connection.execute(insert(federations).values(serial=serial, root=root, log_index=log_index))


async def revoke_federation(connection: AsyncConnection, serial: str, now: float) -> bool:
    """False where there is none in force."""
    mine = (federations.c.serial == serial, federations.c.revoked_at.is_(None))
    return (await connection.execute(update(federations).where(*mine).values(revoked_at=now))).rowcount == 1
