"""Loss and duress: the alarm of a phone that was opened under threat (docs/security.md, "Loss, theft, duress")."""

from __future__ import annotations

import hashlib
import logging
from typing import Annotated

from fastapi import APIRouter, Path, Response

from tramontana.control.api import models
from tramontana.control.api.access import AdministratorOf, CustodianOf, EnrolledOf, ServicesOf, Stranger, limit
from tramontana.control.problem import Problem, problems
from tramontana.control.shapes import Id
from tramontana.control.store import accounts, audit, loss
from tramontana.keys.identity import ZEROISED_CONTEXT, SignatureRefused, encode_statement, verify_signature

router = APIRouter(prefix="/api/v1", tags=["loss"])
for_strangers = APIRouter(prefix="/api/v1", tags=["entry"])

logger = logging.getLogger(__name__)

RECORD_AGAIN_S = 600.0
"""A phone under duress repeats its alarm for as long as it is open; the trail gets a row at most this often."""


@router.put("/me/duress", status_code=204, response_class=Response, responses=problems("not_logged_in"))
async def put_duress_alarm(body: models.DuressAlarmKey, sender: EnrolledOf, services: ServicesOf) -> None:
    """Arm the device's alarm: whoever sends the secret of this digest raises it."""
    async with services.store.write() as connection:
        await loss.arm(connection, sender.device_id, body.secret_sha256)


@for_strangers.post("/presence", status_code=204, response_class=Response, responses=problems())
async def presence(body: models.DuressAlarm, services: ServicesOf, address: Stranger) -> None:
    """A phone that was opened under duress says so, in words that tell an onlooker nothing. Every secret gets the same answer."""
    now = services.clock()
    digest = hashlib.sha256(body.secret).digest()
    async with services.store.read() as connection:
        alarm = await loss.find(connection, digest)
    if alarm is None or (alarm.raised_at is not None and now - alarm.raised_at < RECORD_AGAIN_S):
        return
    async with services.store.write() as connection:
        await loss.raised(connection, alarm.device_id, now)
        await audit.append(
            connection,
            now=now,
            actor=audit.device_actor(alarm.device_id),
            action="device.duress",
            subject=f"account {alarm.account_id}",
            details={"address": address},
        )
    logger.warning("device %s was opened under duress: a custodian has to revoke it", alarm.device_id)


@router.get("/custody/alarms", responses=problems("not_logged_in", "not_certified", "certificate_expired", "not_custodian"))
async def alarms(_custodian: CustodianOf, services: ServicesOf) -> list[models.RaisedAlarm]:
    """Phones that were opened under duress and are in force still, the newest first."""
    return await _outstanding(services)


@router.get("/admin/alarms", responses=problems("not_logged_in"))
async def alarms_in_console(_session: AdministratorOf, services: ServicesOf) -> list[models.RaisedAlarm]:
    """The same, for the console: custodians revoke."""
    return await _outstanding(services)


async def _outstanding(services: ServicesOf) -> list[models.RaisedAlarm]:
    async with services.store.read() as connection:
        found = await loss.outstanding(connection, services.clock())
    return [
        models.RaisedAlarm(device_id=each.device_id, account_id=each.account_id, display_name=each.display_name, raised_at=each.raised_at)
        for each in found
    ]


@for_strangers.get("/devices/{device_id}/revocation", responses=problems("not_found", "no_organisation"))
async def revocation(device_id: Annotated[Id, Path()], services: ServicesOf, _address: Stranger) -> models.SignedRevocation:
    """The revocation of a device. It is read by a device that can no longer log in; whoever does not know the id gets nothing."""
    found = await services.custody.status(device_id)
    if found is None or found.revocation is None:
        raise Problem("not_found")
    return models.SignedRevocation(revocation=found.revocation)


@for_strangers.post(
    "/devices/{device_id}/zeroised", status_code=204, response_class=Response, responses=problems("not_found", "login_refused")
)
async def zeroised(device_id: Annotated[Id, Path()], body: models.Zeroised, services: ServicesOf, address: Stranger) -> None:
    """A device says that it has destroyed its keys and content."""
    now = services.clock()
    async with services.store.read() as connection:
        device = await accounts.device(connection, device_id)
    if device is None:
        raise Problem("not_found")
    statement = encode_statement(ZEROISED_CONTEXT, (services.admission.service_id.encode(), device_id.encode()))
    try:
        verify_signature(device.signature_public_key, body.signature, statement)
    except SignatureRefused as error:
        raise Problem("login_refused") from error
    limit(services, "audited", f"zeroised {device_id}", services.limits.audited)  # whoever heard it may say it again, at no cost to others
    async with services.store.write() as connection:
        actor, subject = audit.device_actor(device_id), f"account {device.account_id}"
        await audit.append(connection, now=now, actor=actor, action="device.zeroised", subject=subject, details={"address": address})
