"""Calls: who is in one, and the way to the media relay."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from tramontana.control.api import models
from tramontana.control.api.access import AuditedDeviceOf, DeviceOf, ServicesOf
from tramontana.control.problem import problems
from tramontana.control.shapes import Id
from tramontana.precedence import Precedence

router = APIRouter(prefix="/api/v1", tags=["calls"])


@router.put(
    "/calls/{call_id}",
    responses=problems(
        "not_logged_in",
        "not_found",
        "precedence_refused",
        "call_ended",
        "call_preempted",
        "call_elsewhere",
        "call_waiting",
        "no_capacity",
        "media_unavailable",
    ),
)
async def join_call(
    call_id: Annotated[Id, Path()], body: models.CallRequest, sender: AuditedDeviceOf, services: ServicesOf, request: Request
) -> models.CallGrant:
    """Join or refresh a call. A device is in one call at a time: joining another leaves the one before.

    A conference or talk group has one call at a time: while it is in progress, a new id joins it, and the answer names it.
    `precedence` counts where this begins the call; the answer tells the level that the call has. With `call_waiting` the phone asks again
    after Retry-After: the call keeps its place while it does.
    """
    level = Precedence.parse(body.precedence)
    granted = await services.calls.join(sender, call_id, body.conversation_id, level, request.url.hostname or "", ringing=body.ringing)
    grant = granted.grant
    return models.CallGrant(
        call_id=granted.call_id,
        precedence=granted.precedence.label,
        ice_servers=[models.IceServer(urls=list(grant.urls), username=grant.username, credential=grant.credential)],
        expires_at=grant.expires_at,
        simulated=grant.simulated,
    )


@router.post(
    "/calls/{call_id}/connection",
    responses=problems("not_logged_in", "not_found", "call_not_forwarded", "offer_refused", "media_unavailable"),
)
async def connect_call(
    call_id: Annotated[Id, Path()], body: models.ConnectionRequest, sender: AuditedDeviceOf, services: ServicesOf, request: Request
) -> models.ConnectionAnswer:
    """Connect to the forwarder of a conference or talk group that one has joined: an offer, and its answer.

    Again with an offer of the same peer connection it is an ICE restart; of a new one, it takes the place of the old.
    """
    connected = await services.forwarders.connect(sender, call_id, body.offer, request.url.hostname or "")
    return models.ConnectionAnswer(answer=connected.answer, kind=connected.kind.value, slots=connected.slots)


@router.delete("/calls/{call_id}", status_code=204, response_class=Response, responses=problems("not_logged_in"))
async def leave_call(call_id: Annotated[Id, Path()], sender: DeviceOf, services: ServicesOf) -> None:
    """Leave a call; leaving one that one is not in is no error."""
    await services.calls.leave(sender, call_id)
    await services.forwarders.leave(sender.device_id, call_id)
