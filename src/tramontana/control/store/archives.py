"""Archives: accounts that custodians certified for keeping what is said, and the kinds of conversation that an administrator gave them.

The unit in an archive's certificate is what it may keep: conversations in which somebody of that unit takes part; of an archive without
a unit, all. The server only follows that rule; phones check it against the log and let no other archive in.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from tramontana.control.store.conversations import Kind
from tramontana.control.store.schema import accounts, archive_kinds, certificates, devices

ROLE = "archive"


@dataclass(frozen=True, slots=True)
class Archive:
    """An account with an archive's certificate. `certified_until`: of the certificate that ends last, POSIX seconds."""

    account_id: str
    display_name: str
    unit: str
    certified_until: int
    kinds: tuple[Kind, ...]


async def certified(connection: AsyncConnection) -> Sequence[Archive]:
    """Accounts with a device whose last certificate has the role and is not revoked, by name. An expired one comes back by renewal."""
    query = select(
        certificates.c.account_id, accounts.c.display_name, certificates.c.unit, certificates.c.roles, certificates.c.not_after
    ).join_from(certificates, devices, devices.c.serial == certificates.c.serial)
    query = query.join(accounts, accounts.c.account_id == certificates.c.account_id)
    rows = await connection.execute(query.where(certificates.c.revoked_at.is_(None), certificates.c.roles.like(f"%{ROLE}%")))
    kinds: dict[str, list[Kind]] = {}
    for kept in await connection.execute(select(archive_kinds).order_by(archive_kinds.c.kind)):
        kinds.setdefault(kept.account_id, []).append(kept.kind)
    found: dict[str, Archive] = {}
    for row in sorted((row for row in rows if ROLE in row.roles.split(",")), key=lambda row: row.not_after):
        of_account = tuple(kinds.get(row.account_id, ()))
        found[row.account_id] = Archive(row.account_id, row.display_name, row.unit, row.not_after, of_account)
    return sorted(found.values(), key=lambda archive: (archive.display_name, archive.account_id))


async def keep(connection: AsyncConnection, account_id: str, kinds: Collection[Kind], now: float) -> None:
    """Give an archive exactly these kinds, for conversations to come."""
    await connection.execute(delete(archive_kinds).where(archive_kinds.c.account_id == account_id))
    if kinds:
        rows = [{"account_id": account_id, "kind": kind, "created_at": now} for kind in sorted(kinds)]
        await connection.execute(insert(archive_kinds), rows)


async def of_new(connection: AsyncConnection, kind: Kind, members: Collection[str], *, founding: bool) -> frozenset[str]:
    """The archives that come with these new members. founding: of a new conversation; then those of the whole organisation come too."""
    switched_on = select(archive_kinds.c.account_id).where(archive_kinds.c.kind == kind).limit(1)
    if (await connection.execute(switched_on)).first() is None:
        return frozenset()
    given = [archive for archive in await certified(connection) if kind in archive.kinds]
    query = select(certificates.c.unit).distinct().join_from(certificates, devices, devices.c.serial == certificates.c.serial)
    units = set((await connection.execute(query.where(certificates.c.account_id.in_(members)))).scalars())
    return frozenset(archive.account_id for archive in given if (founding if archive.unit == "" else archive.unit in units))
