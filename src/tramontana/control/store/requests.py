"""Requests for certificates and what custodians decided of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import and_, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from tramontana.control.store.accounts import new_id
from tramontana.control.store.schema import approvals, certificate_requests, devices

Kind = Literal["enrolment", "change"]
State = Literal["pending", "issued", "rejected"]
MAX_LISTED = 500


@dataclass(frozen=True, slots=True)
class Proposal:
    """What is asked for; custodians may decide otherwise."""

    unit: str = ""
    roles: tuple[str, ...] = ("member",)
    precedence_ceiling: str = "routine"


MEMBER = Proposal()


@dataclass(frozen=True, slots=True)
class Request:
    """A request with its device. `invitation_sha256` and `proof` are those of the enrolment, None for a change."""

    request_id: str
    kind: Kind
    state: State
    account_id: str
    device_id: str
    signature_public_key: bytes
    display_name: str
    unit: str
    roles: str
    precedence_ceiling: str
    created_at: float
    invitation_sha256: bytes | None
    proof: bytes | None


@dataclass(frozen=True, slots=True)
class Decision:
    """What a custodian's device signed."""

    request_id: str
    device_id: str
    decision: Literal["approve", "reject"]
    statement: bytes
    signature: bytes
    at: float


_REQUEST = select(certificate_requests, devices.c.account_id, devices.c.signature_public_key).join_from(certificate_requests, devices)


async def create(
    connection: AsyncConnection,
    kind: Kind,
    device_id: str,
    display_name: str,
    proposal: Proposal,
    now: float,
    *,
    invitation_sha256: bytes | None = None,
    proof: bytes | None = None,
) -> str:
    """Returns the request's id."""
    request_id = new_id()
    row = {
        "request_id": request_id,
        "kind": kind,
        "device_id": device_id,
        "display_name": display_name,
        "unit": proposal.unit,
        "roles": ",".join(sorted(proposal.roles)),
        "precedence_ceiling": proposal.precedence_ceiling,
        "created_at": now,
        "invitation_sha256": invitation_sha256,
        "proof": proof,
    }
    await connection.execute(insert(certificate_requests).values(row))
    return request_id


async def find(connection: AsyncConnection, request_id: str) -> Request | None:
    row = (await connection.execute(_REQUEST.where(certificate_requests.c.request_id == request_id))).mappings().first()
    return Request(**row) if row else None


async def pending_of_device(connection: AsyncConnection, device_id: str) -> Request | None:
    mine = and_(certificate_requests.c.device_id == device_id, certificate_requests.c.state == "pending")
    row = (await connection.execute(_REQUEST.where(mine).order_by(certificate_requests.c.created_at.desc()))).mappings().first()
    return Request(**row) if row else None


async def listed(connection: AsyncConnection, state: State) -> Sequence[Request]:
    """The oldest first."""
    query = _REQUEST.where(certificate_requests.c.state == state).order_by(certificate_requests.c.created_at).limit(MAX_LISTED)
    return [Request(**row) for row in (await connection.execute(query)).mappings()]


async def settle(connection: AsyncConnection, request_id: str, state: State) -> bool:
    """Close a pending one. Exactly one caller gets True."""
    pending = (certificate_requests.c.request_id == request_id, certificate_requests.c.state == "pending")
    return (await connection.execute(update(certificate_requests).where(*pending).values(state=state))).rowcount == 1


async def decide(connection: AsyncConnection, decision: Decision) -> bool:
    """Keep what a custodian signed. False where he has decided already."""
    mine = (approvals.c.request_id == decision.request_id, approvals.c.device_id == decision.device_id)
    if (await connection.execute(select(approvals.c.at).where(*mine))).first() is not None:
        return False
    row = {
        "request_id": decision.request_id,
        "device_id": decision.device_id,
        "decision": decision.decision,
        "statement": decision.statement,
        "signature": decision.signature,
        "at": decision.at,
    }
    await connection.execute(insert(approvals).values(row))
    return True


async def decisions(connection: AsyncConnection, request_id: str) -> Sequence[Decision]:
    query = select(approvals).where(approvals.c.request_id == request_id).order_by(approvals.c.at, approvals.c.device_id)
    return [Decision(**row) for row in (await connection.execute(query)).mappings()]


async def reject_device(connection: AsyncConnection, device_id: str, now: float) -> None:
    """An enrolment that was rejected: the device never comes in."""
    await connection.execute(update(devices).where(devices.c.device_id == device_id).values(rejected_at=now))
