"""Invitations: a random token, kept as SHA-256 only, that enrols one device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from tramontana.control.store.accounts import new_id
from tramontana.control.store.requests import MEMBER, Proposal
from tramontana.control.store.schema import devices, invitations

INVITATION_LIFETIME_S = 7 * 86400.0

Origin = Literal["administrator", "command", "start"]
State = Literal["open", "used", "withdrawn", "expired"]


@dataclass(frozen=True, slots=True)
class Invitation:
    """An invitation without its token."""

    invitation_id: str
    origin: Origin
    note: str
    created_at: float
    expires_at: float
    used_at: float | None
    withdrawn_at: float | None
    device_id: str | None
    account_id: str | None
    """Whose device it became."""
    of_account: str | None
    """Whose further device it is for."""
    unit: str
    roles: str
    precedence_ceiling: str

    @property
    def proposal(self) -> Proposal:
        return Proposal(self.unit, tuple(self.roles.split(",")), self.precedence_ceiling)

    def state(self, now: float) -> State:
        if self.used_at is not None:
            return "used"
        if self.withdrawn_at is not None:
            return "withdrawn"
        return "expired" if now >= self.expires_at else "open"


_INVITATION = select(
    invitations.c.invitation_id,
    invitations.c.origin,
    invitations.c.note,
    invitations.c.created_at,
    invitations.c.expires_at,
    invitations.c.used_at,
    invitations.c.withdrawn_at,
    invitations.c.device_id,
    devices.c.account_id,
    invitations.c.account_id.label("of_account"),
    invitations.c.unit,
    invitations.c.roles,
    invitations.c.precedence_ceiling,
).join_from(invitations, devices, isouter=True)


async def create(
    connection: AsyncConnection,
    token_sha256: bytes,
    *,
    origin: Origin,
    note: str,
    now: float,
    proposal: Proposal = MEMBER,
    of_account: str | None = None,
) -> tuple[str, float]:
    """(invitation_id, when it expires)."""
    row = {"invitation_id": new_id(), "origin": origin, "note": note, "created_at": now, "expires_at": now + INVITATION_LIFETIME_S}
    proposed = {"unit": proposal.unit, "roles": ",".join(sorted(proposal.roles)), "precedence_ceiling": proposal.precedence_ceiling}
    await connection.execute(insert(invitations).values(token_sha256=token_sha256, account_id=of_account, **row, **proposed))
    return str(row["invitation_id"]), now + INVITATION_LIFETIME_S


async def by_token(connection: AsyncConnection, token_sha256: bytes) -> Invitation | None:
    row = (await connection.execute(_INVITATION.where(invitations.c.token_sha256 == token_sha256))).mappings().first()
    return Invitation(**row) if row else None


async def listed(connection: AsyncConnection) -> Sequence[Invitation]:
    """All, newest first."""
    rows = await connection.execute(_INVITATION.order_by(invitations.c.created_at.desc(), invitations.c.invitation_id))
    return [Invitation(**row) for row in rows.mappings()]


async def use_up(connection: AsyncConnection, invitation_id: str, device_id: str, now: float) -> bool:
    """Mark as used. False where it is used, withdrawn or expired already: exactly one caller gets True."""
    done = await connection.execute(
        update(invitations)
        .where(
            invitations.c.invitation_id == invitation_id,
            invitations.c.used_at.is_(None),
            invitations.c.withdrawn_at.is_(None),
            invitations.c.expires_at > now,
        )
        .values(used_at=now, device_id=device_id)
    )
    return done.rowcount == 1


async def withdraw(connection: AsyncConnection, invitation_id: str, now: float) -> bool:
    """Withdraw an unused one. False where there is none."""
    unused = (invitations.c.used_at.is_(None), invitations.c.withdrawn_at.is_(None))
    done = await connection.execute(
        update(invitations).where(invitations.c.invitation_id == invitation_id, *unused).values(withdrawn_at=now)
    )
    return done.rowcount == 1


async def withdraw_unused_of_starts(connection: AsyncConnection, now: float) -> int:
    """Withdraw what earlier starts of the server printed and nobody used. Returns how many."""
    unused = (invitations.c.used_at.is_(None), invitations.c.withdrawn_at.is_(None))
    done = await connection.execute(update(invitations).where(invitations.c.origin == "start", *unused).values(withdrawn_at=now))
    return done.rowcount
