"""Bearer sessions of devices and administrators, and one-time administrator links. Tokens are kept as SHA-256 only."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from tramontana.control.store.among import among
from tramontana.control.store.schema import administrator_links, certificates, devices, sessions, used_challenges

DEVICE_SESSION_S = 12 * 3600.0
ADMINISTRATOR_SESSION_S = 8 * 3600.0
ADMINISTRATOR_LINK_S = 15 * 60.0
AUDITOR_SESSION_S = 365 * 86400.0
"""An auditor follows the log from outside for as long as that; he reads the log and nothing else."""
MAX_SESSIONS_PER_DEVICE = 8


@dataclass(frozen=True, slots=True)
class Session:
    """A live session. Only a device has what stands after the role. `certified_until` is None while it is pending."""

    role: Literal["device", "administrator", "auditor"]
    device_id: str | None
    account_id: str | None
    expires_at: float
    certified_until: float | None
    certified_roles: str | None

    @property
    def roles(self) -> frozenset[str]:
        """Of the certificate."""
        return frozenset((self.certified_roles or "").split(","))


@dataclass(frozen=True, slots=True)
class AuditorLink:
    """An auditor's link that reads the log now, without its token."""

    auditor_id: str
    created_at: float
    expires_at: float


def auditor_id_of(token_sha256: bytes) -> str:
    """How an auditor's link is named in lists and the audit trail: half of the digest opens nothing."""
    return token_sha256.hex()[:32]


async def use_challenge(connection: AsyncConnection, challenge: bytes, expires_at: float) -> bool:
    """Use a login challenge up. Exactly one caller gets True. Call it in a `write`."""
    digest = hashlib.sha256(challenge).digest()
    known = select(used_challenges.c.expires_at).where(used_challenges.c.challenge_sha256 == digest)
    if (await connection.execute(known)).first() is not None:
        return False
    await connection.execute(insert(used_challenges).values(challenge_sha256=digest, expires_at=expires_at))
    return True


async def begin_device(connection: AsyncConnection, token_sha256: bytes, device_id: str, now: float) -> float:
    """Begin a session and end the device's oldest ones above `MAX_SESSIONS_PER_DEVICE`. Returns when it expires."""
    row = {"token_sha256": token_sha256, "role": "device", "device_id": device_id, "created_at": now, "expires_at": now + DEVICE_SESSION_S}
    await connection.execute(insert(sessions).values(row))
    kept = select(sessions.c.token_sha256).where(sessions.c.device_id == device_id).order_by(sessions.c.created_at.desc())
    surplus = (await connection.execute(kept.offset(MAX_SESSIONS_PER_DEVICE))).scalars().all()
    await connection.execute(delete(sessions).where(sessions.c.token_sha256.in_(surplus)))
    return now + DEVICE_SESSION_S


async def begin_administrator(connection: AsyncConnection, token_sha256: bytes, now: float) -> float:
    """Begin an administrator's session. Returns when it expires."""
    expires_at = now + ADMINISTRATOR_SESSION_S
    row = {"token_sha256": token_sha256, "role": "administrator", "device_id": None, "created_at": now, "expires_at": expires_at}
    await connection.execute(insert(sessions).values(row))
    return expires_at


async def begin_auditor(connection: AsyncConnection, token_sha256: bytes, now: float) -> float:
    """Begin a session that reads the log. Returns when it expires."""
    expires_at = now + AUDITOR_SESSION_S
    row = {"token_sha256": token_sha256, "role": "auditor", "device_id": None, "created_at": now, "expires_at": expires_at}
    await connection.execute(insert(sessions).values(row))
    return expires_at


async def auditor_links(connection: AsyncConnection, now: float) -> list[AuditorLink]:
    """Those that read the log now, newest first."""
    return [AuditorLink(auditor_id_of(token), *times) for token, *times in await _auditors(connection, now)]


async def end_auditor(connection: AsyncConnection, auditor_id: str, now: float) -> bool:
    """Let a link read no more from now on; False where none of this name reads the log."""
    found = [token for token, *_ in await _auditors(connection, now) if auditor_id_of(token) == auditor_id]
    await connection.execute(delete(sessions).where(sessions.c.role == "auditor", sessions.c.token_sha256.in_(found)))
    return bool(found)


async def _auditors(connection: AsyncConnection, now: float) -> list[tuple[bytes, float, float]]:
    query = select(sessions.c.token_sha256, sessions.c.created_at, sessions.c.expires_at)
    query = query.where(sessions.c.role == "auditor", sessions.c.expires_at > now).order_by(sessions.c.created_at.desc())
    return [(row.token_sha256, row.created_at, row.expires_at) for row in await connection.execute(query)]


async def end_of_device(connection: AsyncConnection, device_id: str) -> None:
    await connection.execute(delete(sessions).where(sessions.c.device_id == device_id))


async def find(connection: AsyncConnection, tokens_sha256: Collection[bytes], now: float) -> Mapping[bytes, Session]:
    """The live sessions of tokens."""
    query = (
        select(
            sessions.c.token_sha256,
            sessions.c.role,
            sessions.c.device_id,
            devices.c.account_id,
            sessions.c.expires_at,
            devices.c.certified_until,
            certificates.c.roles.label("certified_roles"),
        )
        .join_from(sessions, devices, isouter=True)
        .join(certificates, certificates.c.serial == devices.c.serial, isouter=True)
        .where(among(connection, sessions.c.token_sha256, tokens_sha256), sessions.c.expires_at > now)
        .where(devices.c.revoked_at.is_(None), devices.c.rejected_at.is_(None))
    )
    return {row.token_sha256: Session(*row[1:]) for row in await connection.execute(query)}


async def create_administrator_link(connection: AsyncConnection, token_sha256: bytes, now: float) -> float:
    """Store a one-time link. Returns when it expires."""
    expires_at = now + ADMINISTRATOR_LINK_S
    await connection.execute(insert(administrator_links).values(token_sha256=token_sha256, created_at=now, expires_at=expires_at))
    return expires_at


async def use_administrator_link(connection: AsyncConnection, token_sha256: bytes, now: float) -> bool:
    """Use a link up. Exactly one caller gets True, before it expires."""
    done = await connection.execute(
        update(administrator_links)
        .where(
            administrator_links.c.token_sha256 == token_sha256,
            administrator_links.c.used_at.is_(None),
            administrator_links.c.expires_at > now,
        )
        .values(used_at=now)
    )
    return done.rowcount == 1


async def forget_expired(connection: AsyncConnection, now: float) -> None:
    await connection.execute(delete(sessions).where(sessions.c.expires_at <= now))
    await connection.execute(delete(used_challenges).where(used_challenges.c.expires_at <= now))
    await connection.execute(delete(administrator_links).where(administrator_links.c.expires_at <= now - 86400.0))
