"""What custodians do: look at requests, approve, reject, issue, revoke, cross-certify."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response
from sqlalchemy.ext.asyncio import AsyncConnection

from tramontana.control.api import custody_models
from tramontana.control.api.access import CustodianOf, EnrolledOf, ServicesOf, SessionOf, limit
from tramontana.control.problem import problems
from tramontana.control.services import Services
from tramontana.control.shapes import Id
from tramontana.control.store import audit, certificates, requests

router = APIRouter(prefix="/api/v1/custody", tags=["custody"])
PathId = Annotated[Id, Path()]
State = Annotated[requests.State, Query()]
REFUSALS = ("not_logged_in", "not_certified", "certificate_expired", "not_custodian", "no_organisation", "not_found", "certificate_refused")


async def listed(services: Services, connection: AsyncConnection, state: requests.State) -> list[custody_models.CertificateRequest]:
    """Requests with what was decided of them."""
    shown = []
    for found in await requests.listed(connection, state):
        decisions = [made for made in await requests.decisions(connection, found.request_id) if made.decision == "approve"]
        of_custodians = await certificates.last_of_devices(connection, [made.device_id for made in decisions])
        others = [row for row in await certificates.last_of_account(connection, found.account_id) if row.device_id != found.device_id]
        shown.append(
            custody_models.CertificateRequest(
                request_id=found.request_id,
                kind=found.kind,
                state=found.state,
                account_id=found.account_id,
                device_id=found.device_id,
                signature_public_key=found.signature_public_key,
                display_name=found.display_name,
                unit=found.unit,
                roles=found.roles.split(","),  # type: ignore[arg-type]
                precedence_ceiling=found.precedence_ceiling,  # type: ignore[arg-type]
                created_at=found.created_at,
                further_device=bool(others),
                approvals_needed=await services.custody.approvals_needed(connection, found),
                invitation_sha256=found.invitation_sha256,
                proof=found.proof,
                approvals=[
                    custody_models.ApprovalShown(
                        device_id=made.device_id,
                        statement=made.statement,
                        signature=made.signature,
                        certificate=of_custodians[made.device_id].encoded,
                    )
                    for made in decisions
                    if made.device_id in of_custodians
                ],
            )
        )
    return shown


@router.get("/requests", responses=problems(*REFUSALS))
async def certificate_requests(
    _custodian: CustodianOf, services: ServicesOf, state: State = "pending"
) -> list[custody_models.CertificateRequest]:
    """Requests for certificates, the oldest first."""
    async with services.store.read() as connection:
        return await listed(services, connection, state)


@router.post("/requests", status_code=201, responses=problems(*REFUSALS))
async def ask_for_change(body: custody_models.ChangeRequest, custodian: CustodianOf, services: ServicesOf) -> custody_models.RequestMade:
    """Ask for a new certificate of a device: another unit, other roles, another ceiling, or a renewal."""
    limit(services, "audited", custodian.account_id, services.limits.audited)
    proposal = requests.Proposal(body.unit, tuple(body.roles), body.precedence_ceiling)
    return custody_models.RequestMade(
        request_id=await services.custody.ask_for_change(
            audit.device_actor(custodian.device_id), body.device_id, body.display_name, proposal
        )
    )


@router.post("/requests/{request_id}/approvals", status_code=204, response_class=Response, responses=problems(*REFUSALS))
async def approve(request_id: PathId, body: custody_models.Decision, custodian: CustodianOf, services: ServicesOf) -> None:
    """Approve what the statement says."""
    limit(services, "audited", custodian.account_id, services.limits.audited)
    await services.custody.approve(custodian, request_id, body.statement, body.signature)


@router.post("/requests/{request_id}/rejection", status_code=204, response_class=Response, responses=problems(*REFUSALS))
async def reject(request_id: PathId, body: custody_models.Decision, custodian: CustodianOf, services: ServicesOf) -> None:
    """Reject a request."""
    limit(services, "audited", custodian.account_id, services.limits.audited)
    await services.custody.reject(custodian, request_id, body.statement, body.signature)


@router.post("/certificates", status_code=201, responses=problems(*REFUSALS))
async def issue(
    body: custody_models.IssuedCertificate, session: SessionOf, sender: EnrolledOf, services: ServicesOf
) -> custody_models.Logged:
    """Log a certificate that the organisation signed. A founding custodian brings his own."""
    limit(services, "audited", sender.account_id, services.limits.audited)
    is_certified = session.certified_until is not None and services.clock() < session.certified_until
    is_custodian = is_certified and "custodian" in session.roles
    log_index = await services.custody.issue(sender, body.request_id, body.certificate, is_custodian=is_custodian)
    return custody_models.Logged(log_index=log_index)


@router.post("/revocations", status_code=201, responses=problems(*REFUSALS))
async def revoke(body: custody_models.IssuedRevocation, custodian: CustodianOf, services: ServicesOf) -> custody_models.Logged:
    """Log a revocation that the organisation signed; the device is out at once."""
    limit(services, "audited", custodian.account_id, services.limits.audited)
    return custody_models.Logged(log_index=await services.custody.revoke(custodian, body.revocation))


@router.post("/federations", status_code=201, responses=problems(*REFUSALS))
async def federate(body: custody_models.IssuedFederation, custodian: CustodianOf, services: ServicesOf) -> custody_models.Logged:
    """Log a cross-certification of another organisation."""
    limit(services, "audited", custodian.account_id, services.limits.audited)
    return custody_models.Logged(log_index=await services.custody.federate(custodian, body.federation, body.organisation))
