"""Administration: invitations, accounts, calls, audit trail."""

from __future__ import annotations

import json
from itertools import groupby
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from tramontana.control import admission
from tramontana.control.api import models
from tramontana.control.api.access import AdministratorOf, ServicesOf
from tramontana.control.problem import Problem, problems
from tramontana.control.shapes import Id
from tramontana.control.store import accounts, audit, call_rules, calls, invitations
from tramontana.precedence import Precedence

router = APIRouter(prefix="/api/v1/admin", tags=["administration"])
AUDIT_PAGE = 200


@router.post("/invitations", status_code=201, responses=problems("not_logged_in"))
async def create_invitation(
    body: models.InvitationRequest, _session: AdministratorOf, services: ServicesOf, request: Request
) -> models.NewInvitation:
    """Make an invitation. Its token is shown this once."""
    made = await admission.invite(services.store, origin="administrator", actor=audit.ADMINISTRATOR, note=body.note, now=services.clock())
    token = made.token.reveal()
    origin = f"{request.url.scheme}://{request.url.netloc}"
    return models.NewInvitation(
        invitation_id=made.invitation_id, token=token, link=f"{origin}/phone#invite={token}", expires_at=made.expires_at
    )


@router.get("/invitations", responses=problems("not_logged_in"))
async def list_invitations(_session: AdministratorOf, services: ServicesOf) -> list[models.Invitation]:
    """All invitations, newest first, without their tokens."""
    now = services.clock()
    async with services.store.read() as connection:
        listed = await invitations.listed(connection)
    return [
        models.Invitation(
            invitation_id=found.invitation_id,
            note=found.note,
            origin=found.origin,
            state=found.state(now),
            created_at=found.created_at,
            expires_at=found.expires_at,
            account_id=found.account_id,
        )
        for found in listed
    ]


@router.delete("/invitations/{invitation_id}", status_code=204, response_class=Response, responses=problems("not_logged_in", "not_found"))
async def withdraw_invitation(invitation_id: Annotated[Id, Path()], _session: AdministratorOf, services: ServicesOf) -> None:
    """Withdraw an invitation that nobody has used."""
    now = services.clock()
    async with services.store.write() as connection:
        if not await invitations.withdraw(connection, invitation_id, now):
            raise Problem("not_found")
        await audit.append(
            connection, now=now, actor=audit.ADMINISTRATOR, action="invitation.withdrawn", subject=f"invitation {invitation_id}"
        )


@router.get("/accounts", responses=problems("not_logged_in"))
async def list_accounts(_session: AdministratorOf, services: ServicesOf) -> list[models.AdminAccount]:
    """Accounts and their devices."""
    async with services.store.read() as connection:
        devices = await accounts.all_devices(connection)
    answer = []
    for account_id, group in groupby(devices, key=lambda device: device.account_id):
        of_account = list(group)
        listed = [
            models.AdminDevice(
                device_id=device.device_id,
                signature_public_key=device.signature_public_key,
                enrolled_at=device.enrolled_at,
                online=services.hub.is_device_online(device.device_id),
                pending=device.pending,
            )
            for device in of_account
        ]
        first = of_account[0]
        answer.append(
            models.AdminAccount(
                account_id=account_id,
                display_name=first.display_name,
                precedence_ceiling=first.precedence_ceiling,
                created_at=first.account_created_at,
                devices=listed,
            )
        )
    return answer


@router.put("/accounts/{account_id}/precedence", status_code=204, response_class=Response, responses=problems("not_logged_in", "not_found"))
async def set_precedence_ceiling(
    account_id: Annotated[Id, Path()], body: models.PrecedenceCeiling, _session: AdministratorOf, services: ServicesOf
) -> None:
    """Set the highest level at which a person may begin a call. Calls in progress keep theirs."""
    async with services.store.write() as connection:
        if not await accounts.set_precedence_ceiling(connection, account_id, Precedence.parse(body.ceiling)):
            raise Problem("not_found")
        await audit.append(
            connection,
            now=services.clock(),
            actor=audit.ADMINISTRATOR,
            action="precedence.ceiling",
            subject=f"account {account_id}",
            details={"ceiling": body.ceiling},
        )
    services.hub.directory_changed()


@router.get("/call-rules", responses=problems("not_logged_in"))
async def read_call_rules(_session: AdministratorOf, services: ServicesOf) -> models.CallRules:
    """How calls are admitted."""
    async with services.store.read() as connection:
        rules = await call_rules.read(connection)
    return models.CallRules(
        call_bps=rules.call_bps, flash_share=rules.flash_share, relay_bps=rules.relay_bps, carrier_bps=dict(rules.carrier_bps)
    )


@router.put("/call-rules", status_code=204, response_class=Response, responses=problems("not_logged_in"))
async def write_call_rules(body: models.CallRules, _session: AdministratorOf, services: ServicesOf) -> None:
    """Change how calls are admitted. Calls that no longer fit end, lowest and youngest first."""
    async with services.store.write() as connection:
        await call_rules.write(connection, call_rules.CallRules(**body.model_dump()))
        details = body.model_dump()
        await audit.append(
            connection, now=services.clock(), actor=audit.ADMINISTRATOR, action="call_rules.changed", subject="", details=details
        )
    await services.calls.recheck()


@router.get("/calls", responses=problems("not_logged_in"))
async def list_calls(_session: AdministratorOf, services: ServicesOf) -> list[models.CallInProgress]:
    """Calls in progress: who and since when, never what."""
    async with services.store.read() as connection:
        in_progress = await calls.in_progress(connection)
    return [
        models.CallInProgress(
            call_id=call.call_id,
            conversation_id=call.conversation_id,
            precedence=call.precedence,
            began_at=call.began_at,
            participants=[
                models.CallParticipant(
                    device_id=participant.device_id,
                    account_id=participant.account_id,
                    display_name=participant.display_name,
                    joined_at=participant.joined_at,
                    online=services.hub.is_device_online(participant.device_id),
                    place_id=place_id,
                    carrier_id=carrier_id,
                )
                for participant in call.participants
                for place_id, carrier_id in [services.sky.access_of(participant.place_id, participant.carrier_id)]
            ],
        )
        for call in in_progress
    ]


@router.get("/audit", responses=problems("not_logged_in"))
async def audit_trail(
    _session: AdministratorOf, services: ServicesOf, after: Annotated[int, Query(ge=0, lt=2**53)] = 0
) -> models.AuditPage:
    """A page of the audit trail, checked against the row before it."""
    async with services.store.read() as connection:
        rows = await audit.entries(connection, after, AUDIT_PAGE + 1)
        previous = await audit.hash_at(connection, after)
    page = rows[:AUDIT_PAGE]
    return models.AuditPage(
        entries=[
            models.AuditEntry(
                seq=row.seq,
                at=row.at,
                actor=row.actor,
                action=row.action,
                subject=row.subject,
                details=json.loads(row.details),
                hash=row.hash.hex(),
            )
            for row in page
        ],
        intact=audit.first_broken(previous, after, page) is None,
        more=len(rows) > AUDIT_PAGE,
    )
