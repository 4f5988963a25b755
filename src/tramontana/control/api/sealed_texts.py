"""Sealed texts of a device that has a network, to and from phones that have none: one binary short message each (docs/sms.md).

The server carries octets that it cannot read, and learns which device wrote to which number.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Response
from pydantic import Field

from tramontana.cell.beam_time import Rank
from tramontana.cell.forwarding import text_state
from tramontana.control.api.access import AuditedDeviceOf, DeviceOf, ServicesOf
from tramontana.control.api.texts import PhoneNumber, TextQueued
from tramontana.control.problem import Problem, problems
from tramontana.control.shapes import Id, Shape, UnixSeconds, base64_bytes
from tramontana.control.store import accounts, audit, sealed_texts
from tramontana.control.store import texts as rows
from tramontana.control.texts import BoxFull, NoRoute
from tramontana.keys.sealed_text import HEADER_BYTES, MOST_BYTES, TAG_BYTES
from tramontana.precedence import Precedence, PrecedenceLabel

router = APIRouter(prefix="/api/v1/me/sealed-texts", tags=["sealed texts"])
Datagram = Annotated[bytes, *base64_bytes(HEADER_BYTES + TAG_BYTES, MOST_BYTES)]


class SealedNumber(Shape):
    number: str = Field(description="at which the operators' networks reach this device")


class SealedTextRequest(Shape):
    """`request_id` makes a repeated request harmless. Without an answer of the centre the same octets are sent again: they open once."""

    destination: PhoneNumber
    datagram: Datagram = Field(repr=False)
    precedence: PrecedenceLabel = "routine"
    request_id: Id


class SealedTextShown(Shape):
    text_id: Id
    source: str = Field(description="the number that the operator says it came from")
    datagram: Datagram = Field(repr=False)
    received_at: UnixSeconds


class SealedTextState(Shape):
    state: str


class SealedTextsTaken(Shape):
    text_ids: list[Id] = Field(max_length=sealed_texts.MOST_WAITING)


@router.post("/number", responses=problems("not_logged_in", "not_certified", "no_sealed_numbers"))
async def claim_number(sender: AuditedDeviceOf, services: ServicesOf) -> SealedNumber:
    """The number of this device; the first time it is given one."""
    numbers = services.texts.operators.sealed_numbers
    async with services.store.write() as connection:
        known = await sealed_texts.number_of(connection, sender.device_id)
        number = await sealed_texts.give_number(connection, sender.device_id, numbers, services.clock())
        if number is None:
            raise Problem("no_sealed_numbers")
        if number != known:
            actor = audit.device_actor(sender.device_id)
            await audit.append(connection, now=services.clock(), actor=actor, action="text.number_given", details={"number": number})
    return SealedNumber(number=number)


@router.post(
    "",
    status_code=201,
    responses=problems("not_logged_in", "not_certified", "no_route", "precedence_refused", "no_sealed_numbers", "mailbox_full"),
)
async def send_sealed_text(body: SealedTextRequest, sender: AuditedDeviceOf, services: ServicesOf) -> TextQueued:
    """Send a sealed text as one short message; to a number of this server it goes at once. It is on disk when this answers."""
    level = Precedence.parse(body.precedence)
    try:
        async with services.store.write() as connection:
            device = await accounts.device(connection, sender.device_id)
            if device is None or level > device.ceiling:
                raise Problem("precedence_refused")
            source = await sealed_texts.number_of(connection, sender.device_id)
            if source is None:
                raise Problem("no_sealed_numbers")
            queued = await services.texts.put_sealed(
                connection,
                device_id=sender.device_id,
                source=source,
                destination=body.destination,
                datagram=body.datagram,
                rank=Rank.of(level),
                request_id=body.request_id,
            )
            actor, subject = audit.device_actor(sender.device_id), f"text {queued.text_id}"
            details = {"precedence": body.precedence}
            await audit.append(connection, now=services.clock(), actor=actor, action="text.sealed", subject=subject, details=details)
    except NoRoute:
        raise Problem("no_route") from None
    except BoxFull:
        raise Problem("mailbox_full") from None
    if queued.device_id is not None:
        services.texts.on_sealed(queued.device_id)
    services.texts.wake()
    return TextQueued(text_id=queued.text_id, wait_s=queued.wait_s)


@router.get("/sent/{text_id}", responses=problems("not_logged_in", "not_certified", "not_found"))
async def sealed_text_state(text_id: Annotated[Id, Path()], sender: DeviceOf, services: ServicesOf) -> SealedTextState:
    """What became of a text that this device sent."""
    async with services.store.read() as connection:
        found = await rows.find(connection, text_id)
        if found is None or found.origin != rows.sealed_origin(sender.device_id):
            raise Problem("not_found")
        return SealedTextState(state=text_state(await rows.parts_of(connection, text_id)))


@router.get("", responses=problems("not_logged_in", "not_certified"))
async def sealed_texts_waiting(sender: DeviceOf, services: ServicesOf) -> list[SealedTextShown]:
    """Sealed texts for this device, the oldest first. A `sealed_text` frame says that there are new ones."""
    async with services.store.read() as connection:
        found = await sealed_texts.waiting(connection, sender.device_id)
    return [
        SealedTextShown(text_id=each.text_id, source=each.source, datagram=each.datagram, received_at=each.received_at) for each in found
    ]


@router.post("/taken", status_code=204, response_class=Response, responses=problems("not_logged_in", "not_certified"))
async def take_sealed_texts(body: SealedTextsTaken, sender: DeviceOf, services: ServicesOf) -> None:
    """The device has stored these: they are deleted here."""
    async with services.store.write() as connection:
        await sealed_texts.taken(connection, sender.device_id, body.text_ids)
