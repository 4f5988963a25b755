"""Administration: invitations, accounts, requests, the log in words, retention, calls, audit trail."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from itertools import groupby
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response

from tramontana.control import admission
from tramontana.control.api import custody, custody_models, models
from tramontana.control.api.access import AdministratorOf, ServicesOf
from tramontana.control.api.log import MAX_ENTRIES, head_shape
from tramontana.control.problem import Problem, problems
from tramontana.control.shapes import Id
from tramontana.control.store import accounts, attachments, audit, call_rules, calls, certificates, invitations, log, requests, retention
from tramontana.keys.certificate import Certificate, LogKeyStatement, Revocation
from tramontana.keys.federation import Federation, UnverifiedFederation
from tramontana.keys.organisation import Root, device_code, verify_root
from tramontana.keys.register import Entry, read_entry

router = APIRouter(prefix="/api/v1/admin", tags=["administration"])
AUDIT_PAGE = 200


@router.post("/invitations", status_code=201, responses=problems("not_logged_in", "no_organisation", "not_found"))
async def create_invitation(
    body: models.InvitationRequest, _session: AdministratorOf, services: ServicesOf, request: Request
) -> models.NewInvitation:
    """Make an invitation. Its token is shown this once."""
    async with services.store.read() as connection:
        fingerprint = (await services.custody.organisation(connection)).root.fingerprint_text
    made = await admission.invite(
        services.store,
        origin="administrator",
        actor=audit.ADMINISTRATOR,
        note=body.note,
        now=services.clock(),
        proposal=requests.Proposal(body.unit, tuple(body.roles), body.precedence_ceiling),
        of_account=body.account_id,
    )
    token = made.token.reveal()
    link = f"{_origin(request)}/phone#invite={token}&org={fingerprint}"
    return models.NewInvitation(invitation_id=made.invitation_id, token=token, link=link, expires_at=made.expires_at)


def _origin(request: Request) -> str:
    return f"{request.url.scheme}://{request.url.netloc}"


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
            of_account=found.of_account,
            unit=found.unit,
            roles=found.roles.split(","),  # type: ignore[arg-type]
            precedence_ceiling=found.precedence_ceiling,  # type: ignore[arg-type]
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
    now = services.clock()
    async with services.store.read() as connection:
        devices = await accounts.all_devices(connection)
        known = await certificates.last_of_devices(connection, [device.device_id for device in devices])
        installed = await certificates.installed(connection)
        federations = await certificates.federations_of(connection, {row.federation for row in known.values() if row.federation})
    root = verify_root(installed.root) if installed else None
    fingerprint = root.fingerprint if root else None
    guests = {serial: _guest(serial, row, root) for serial, row in federations.items() if root}
    answer = []
    for account_id, group in groupby(devices, key=lambda device: device.account_id):
        of_account = list(group)
        first = of_account[0]
        newest = max((known[d.device_id] for d in of_account if d.device_id in known), key=lambda row: row.log_index, default=None)
        answer.append(
            models.AdminAccount(
                account_id=account_id,
                display_name=first.display_name,
                precedence_ceiling=first.precedence_ceiling,
                created_at=first.account_created_at,
                unit=newest.unit if newest else "",
                roles=newest.roles.split(",") if newest else [],  # type: ignore[arg-type]
                guest=guests.get(newest.federation or "") if newest else None,
                devices=[_device(services, device, known.get(device.device_id), fingerprint, now) for device in of_account],
            )
        )
    return answer


def _guest(serial: str, row: certificates.FederationRow, root: Root) -> models.Guest:
    federation = UnverifiedFederation(row.encoded).verify(root)
    return models.Guest(
        organisation=verify_root(row.root).name, federation=serial, until=federation.not_after, revoked=row.revoked_at is not None
    )


def _device(
    services: ServicesOf, device: accounts.Device, certificate: certificates.Row | None, fingerprint: bytes | None, now: float
) -> models.AdminDevice:
    return models.AdminDevice(
        device_id=device.device_id,
        state=device.state(now),
        serial=device.serial,
        log_index=certificate.log_index if certificate else None,
        not_after=certificate.not_after if certificate else None,
        device_code=device_code(fingerprint, device.signature_public_key) if fingerprint else "",
        signature_public_key=device.signature_public_key,
        enrolled_at=device.enrolled_at,
        online=services.hub.is_device_online(device.device_id),
        pending=device.pending,
    )


@router.get("/requests", responses=problems("not_logged_in"))
async def list_requests(
    _session: AdministratorOf, services: ServicesOf, state: custody.State = "pending"
) -> list[custody_models.CertificateRequest]:
    """Requests for certificates and who has approved them; custodians decide, not the administrator."""
    async with services.store.read() as connection:
        return [found.model_copy(update={"proof": None}) for found in await custody.listed(services, connection, state)]


@router.post("/requests", status_code=201, responses=problems("not_logged_in", "not_found"))
async def propose_change(body: custody_models.ChangeRequest, _session: AdministratorOf, services: ServicesOf) -> custody_models.RequestMade:
    """Ask custodians for a new certificate of a device: another unit, other roles, another ceiling, or a renewal. They decide."""
    proposal = requests.Proposal(body.unit, tuple(body.roles), body.precedence_ceiling)
    request_id = await services.custody.ask_for_change(audit.ADMINISTRATOR, body.device_id, body.display_name, proposal)
    return custody_models.RequestMade(request_id=request_id)


@router.get("/log", responses=problems("not_logged_in", "no_organisation"))
async def list_log(
    _session: AdministratorOf,
    services: ServicesOf,
    start: Annotated[int, Query(ge=0, lt=2**53)] = 0,
    count: Annotated[int, Query(ge=1, le=MAX_ENTRIES)] = MAX_ENTRIES,
) -> custody_models.LogPage:
    """The transparency log in words."""
    async with services.store.read() as connection:
        root = (await services.custody.organisation(connection)).root
        found = await log.entries(connection, start, count)
        head = await log.head(connection, services.custody.log_key, services.clock())
        peers = [verify_root(encoded) for encoded in await certificates.peer_roots(connection)]
    return custody_models.LogPage(head=head_shape(head), entries=[_in_words(entry, root, peers) for entry in found])


def _in_words(entry: log.LogEntry, root: Root, peers: Sequence[Root]) -> custody_models.LogEntryShown:
    kind, words = _words(read_entry(entry.entry, root, peers))
    return custody_models.LogEntryShown(log_index=entry.log_index, added_at=entry.added_at, kind=kind, **words)


def _words(entry: Entry) -> tuple[custody_models.LogKind, dict[str, Any]]:
    match entry:
        case Certificate(grant=grant):
            return "certificate", {
                "serial": entry.serial,
                "account_id": grant.account_id,
                "device_id": grant.device_id,
                "display_name": grant.display_name,
                "unit": grant.unit,
                "roles": list(grant.roles),
                "precedence_ceiling": grant.ceiling.label,
                "not_before": entry.not_before,
                "not_after": grant.not_after,
                "approvers": list(entry.approvers),
            }
        case Revocation():
            words = {"serial": entry.serial, "device_id": entry.device_id or None, "reason": entry.reason}
            return "revocation", words | {"not_before": entry.revoked_at}
        case Federation():
            return "federation", {
                "serial": entry.serial,
                "display_name": entry.peer_name,
                "unit": ",".join(entry.units),
                "roles": list(entry.roles),
                "precedence_ceiling": entry.ceiling.label,
                "not_before": entry.not_before,
                "not_after": entry.not_after,
            }
        case LogKeyStatement():
            return "log_key", {"not_before": entry.not_before}
        case Root():
            return "organisation", {"display_name": entry.name, "not_before": entry.created_at}


@router.get("/retention", responses=problems("not_logged_in"))
async def read_retention(_session: AdministratorOf, services: ServicesOf) -> models.Retention:
    """How long the server keeps what is not delivered, and who called whom."""
    async with services.store.read() as connection:
        kept = await retention.current(connection)
    return models.Retention(**asdict(kept))


@router.put("/retention", status_code=204, response_class=Response, responses=problems("not_logged_in"))
async def change_retention(body: models.Retention, _session: AdministratorOf, services: ServicesOf) -> None:
    """Change it; what is older goes within the hour."""
    wanted = retention.Retention(**body.model_dump())
    async with services.store.write() as connection:
        await retention.change(connection, wanted)
        await attachments.keep_for(connection, wanted.attachments_days * retention.DAY_S)
        details = asdict(wanted)
        await audit.append(connection, now=services.clock(), actor=audit.ADMINISTRATOR, action="retention.changed", details=details)


@router.post("/auditors", status_code=201, responses=problems("not_logged_in"))
async def create_auditor_link(
    body: models.AuditorRequest, _session: AdministratorOf, services: ServicesOf, request: Request
) -> models.AuditorLink:
    """Access for an auditor who follows the log from outside (`tramontana log follow`)."""
    token, expires_at = await admission.auditor_access(services.store, actor=audit.ADMINISTRATOR, note=body.note, now=services.clock())
    return models.AuditorLink(link=f"{_origin(request)}#audit={token.reveal()}", expires_at=expires_at)


@router.get("/auditors", responses=problems("not_logged_in"))
async def list_auditor_links(_session: AdministratorOf, services: ServicesOf) -> list[models.AuditorListed]:
    """Auditors' links that read the log now, newest first, without their tokens."""
    found = await admission.auditor_links(services.store, now=services.clock())
    return [models.AuditorListed(note=note, **asdict(link)) for link, note in found]


@router.delete("/auditors/{auditor_id}", status_code=204, response_class=Response, responses=problems("not_logged_in", "not_found"))
async def withdraw_auditor_link(auditor_id: Annotated[Id, Path()], _session: AdministratorOf, services: ServicesOf) -> None:
    """Let an auditor's link read nothing more, at once."""
    await admission.withdraw_auditor(services.store, auditor_id, actor=audit.ADMINISTRATOR, now=services.clock())


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
