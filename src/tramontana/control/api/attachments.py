"""Sealed attachments, chunk by chunk."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from tramontana.control.api import models
from tramontana.control.api.access import DeviceOf, ServicesOf
from tramontana.control.attachments import MAX_CHUNKS, Progress
from tramontana.control.problem import problems
from tramontana.control.shapes import Id

router = APIRouter(prefix="/api/v1/conversations/{conversation_id}/attachments/{attachment_id}", tags=["conversations"])
PathId = Annotated[Id, Path()]
Number = Annotated[int, Path(ge=0, lt=MAX_CHUNKS)]
_OCTETS = {"requestBody": {"required": True, "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}}


def _shape(progress: Progress) -> models.Attachment:
    found = progress.attachment
    return models.Attachment(
        attachment_id=found.attachment_id,
        octets=found.octets,
        chunks=found.chunks,
        stored=list(progress.stored),
        expires_at=found.expires_at,
    )


@router.put(
    "",
    responses=problems("not_logged_in", "not_found", "not_joined", "attachment_exists", "attachment_too_large", "attachment_quota"),
)
async def announce_attachment(
    conversation_id: PathId, attachment_id: PathId, body: models.AttachmentRequest, sender: DeviceOf, services: ServicesOf
) -> models.Attachment:
    """Make place for an attachment under an id drawn at random; a repeat tells which chunks have arrived."""
    return _shape(await services.attachments.announce(sender, conversation_id, attachment_id, body.octets))


@router.get("", responses=problems("not_logged_in", "not_found", "not_joined"))
async def attachment(conversation_id: PathId, attachment_id: PathId, sender: DeviceOf, services: ServicesOf) -> models.Attachment:
    """What there is of an attachment, for whoever the message that tells of it went to, and for its sender."""
    return _shape(await services.attachments.progress(sender, conversation_id, attachment_id))


@router.delete("", status_code=204, response_class=Response, responses=problems("not_logged_in", "not_found"))
async def withdraw_attachment(conversation_id: PathId, attachment_id: PathId, sender: DeviceOf, services: ServicesOf) -> None:
    """Delete one's own attachment, complete or not."""
    await services.attachments.withdraw(sender, conversation_id, attachment_id)


@router.put(
    "/chunks/{number}",
    status_code=204,
    response_class=Response,
    openapi_extra=_OCTETS,
    responses=problems("not_logged_in", "not_found", "not_joined", "attachment_exists"),
)
async def put_chunk(
    conversation_id: PathId, attachment_id: PathId, number: Number, request: Request, sender: DeviceOf, services: ServicesOf
) -> None:
    """One sealed chunk, in any order. The same again is harmless."""
    await services.attachments.put(sender, conversation_id, attachment_id, number, await request.body())


@router.get(
    "/chunks/{number}",
    response_class=Response,
    responses={200: {"content": {"application/octet-stream": {}}}, **problems("not_logged_in", "not_found", "not_joined")},
)
async def chunk(conversation_id: PathId, attachment_id: PathId, number: Number, sender: DeviceOf, services: ServicesOf) -> Response:
    """One sealed chunk."""
    return Response(await services.attachments.chunk(sender, conversation_id, attachment_id, number), media_type="application/octet-stream")
