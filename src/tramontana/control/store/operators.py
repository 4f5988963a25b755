"""Operators: people whose certificate has the role, by whom cases of people in need are carried."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from tramontana.control.store.schema import accounts, certificates, devices

ROLE = "operator"


@dataclass(frozen=True, slots=True)
class OperatorPerson:
    account_id: str
    display_name: str

    @property
    def label(self) -> str:
        """How a case and its entries name this person: two people with one name differ by their accounts."""
        return f"{self.display_name[:28]} ({self.account_id[:8]})"


async def person(connection: AsyncConnection, account_id: str) -> OperatorPerson:
    query = select(accounts.c.account_id, accounts.c.display_name).where(accounts.c.account_id == account_id)
    return OperatorPerson(*(await connection.execute(query)).one())


async def certified(connection: AsyncConnection, now: float) -> list[OperatorPerson]:
    """Accounts with a device whose certificate is in force and has the role, by name."""
    query = select(certificates.c.account_id, accounts.c.display_name, certificates.c.roles)
    query = query.join_from(certificates, devices, devices.c.serial == certificates.c.serial)
    query = query.join(accounts, accounts.c.account_id == certificates.c.account_id)
    in_force = (certificates.c.revoked_at.is_(None), devices.c.revoked_at.is_(None), certificates.c.not_after > now)
    rows = (await connection.execute(query.where(*in_force, certificates.c.roles.like(f"%{ROLE}%")))).all()
    found = {row.account_id: OperatorPerson(row.account_id, row.display_name) for row in rows if ROLE in row.roles.split(",")}
    return sorted(found.values(), key=lambda each: (each.display_name, each.account_id))
