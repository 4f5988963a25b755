"""Texts over message centres: send one, look where it is, decide what nobody else can decide."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query
from pydantic import Field

from tramontana.cell.beam_time import Rank
from tramontana.cell.forwarding import State, text_state
from tramontana.cell.short_message import TextTooLong
from tramontana.control.api.access import AdministratorOf, ServicesOf
from tramontana.control.problem import Problem, problems
from tramontana.control.shapes import Id, Shape, UnixSeconds
from tramontana.control.store import audit
from tramontana.control.store import texts as rows
from tramontana.control.texts import NoRoute
from tramontana.precedence import Precedence, PrecedenceLabel

router = APIRouter(prefix="/api/v1/texts", tags=["texts"])
PhoneNumber = Annotated[str, Field(pattern=r"^\+?[0-9]{2,20}$")]


class TextRequest(Shape):
    """`request_id` makes a repeated request harmless. `if_unknown`: what happens when nobody can know whether the centre took it."""

    destination: PhoneNumber
    body: str = Field(min_length=1, max_length=1600)
    precedence: PrecedenceLabel = "routine"
    request_id: str = Field(min_length=1, max_length=64)
    if_unknown: Literal["hold", "again"] = "hold"
    beam: str = Field(default="", max_length=64)


class TextQueued(Shape):
    text_id: Id
    wait_s: float | None = Field(description="about how long it waits for its turn; null where nobody can say")


class TextShown(Shape):
    text_id: Id
    origin: str
    link: str
    destination: str
    body: str
    rank: str
    created_at: UnixSeconds
    state: str
    messages: list[str] = Field(description="the states of its short messages")


class LinkShown(Shape):
    name: str
    state: str
    messages: dict[str, int] = Field(description="by state")
    beams: dict[str, int] = Field(description="messages that wait, by beam")


class TextPage(Shape):
    links: list[LinkShown]
    texts: list[TextShown]


@router.post("", status_code=201, responses=problems("not_logged_in", "no_route", "text_too_long"))
async def send_text(body: TextRequest, _session: AdministratorOf, services: ServicesOf) -> TextQueued:
    """Send a text. It is on disk when this answers."""
    try:
        async with services.store.write() as connection:
            queued = await services.texts.put(
                connection,
                origin=audit.ADMINISTRATOR,
                destination=body.destination,
                body=body.body,
                rank=Rank.of(Precedence.parse(body.precedence)),
                beam=body.beam,
                if_unknown=body.if_unknown,
                request_id=body.request_id,
            )
            details = {"precedence": body.precedence}
            subject = f"text {queued.text_id}"
            await audit.append(
                connection, now=services.clock(), actor=audit.ADMINISTRATOR, action="text.sent", subject=subject, details=details
            )
    except NoRoute:
        raise Problem("no_route") from None
    except TextTooLong as error:
        raise Problem("text_too_long", str(error)) from None
    services.texts.wake()
    return TextQueued(text_id=queued.text_id, wait_s=queued.wait_s)


@router.get("", responses=problems("not_logged_in"))
async def list_texts(
    _session: AdministratorOf,
    services: ServicesOf,
    unsettled: Annotated[bool, Query(description="only those of which nobody knows whether they arrived")] = False,
) -> TextPage:
    """Links with what waits for them, and the newest texts."""
    async with services.store.read() as connection:
        found = await rows.listed(connection, unsettled=unsettled)
        counts = await rows.counts(connection)
    bound, waiting = services.texts.bound(), services.texts.queue_lengths()
    links = [
        LinkShown(
            name=name,
            state=bound.get(name, "elsewhere"),
            messages={state: number for (link, state), number in counts.items() if link == name},
            beams=beams,
        )
        for name, beams in waiting.items()
    ]
    texts = [
        TextShown(
            text_id=text.text_id,
            origin=text.origin,
            link=text.link,
            destination=text.destination,
            body=text.body,
            rank=Rank(text.rank).name.lower().replace("_", "-"),
            created_at=text.created_at,
            state=text_state(states),
            messages=list(states),
        )
        for text, states in found
    ]
    return TextPage(links=links, texts=texts)


@router.post("/{text_id}/again", status_code=204, responses=problems("not_logged_in", "not_found", "text_settled"))
async def send_again(text_id: Annotated[Id, Path()], _session: AdministratorOf, services: ServicesOf) -> None:
    """Send the unknown messages of a text once more; the phone may get them twice."""
    await _decide(services, text_id, ("unknown",), "send again", "text.sent_again")


@router.post("/{text_id}/withdraw", status_code=204, responses=problems("not_logged_in", "not_found", "text_settled"))
async def withdraw_text(text_id: Annotated[Id, Path()], _session: AdministratorOf, services: ServicesOf) -> None:
    """Send no more of a text: what waits is withdrawn, and what is unknown is settled as such."""
    await _decide(services, text_id, ("queued", "unknown"), "withdrawn", "text.withdrawn")


async def _decide(
    services: ServicesOf, text_id: str, of: tuple[State, ...], happening: Literal["send again", "withdrawn"], action: str
) -> None:
    async with services.store.write() as connection:
        if await rows.find(connection, text_id) is None:
            raise Problem("not_found")
        keys = await rows.keys_of(connection, text_id, of)
        changed = await rows.apply(connection, happening, services.clock(), keys=keys) if keys else []
        if not changed:
            raise Problem("text_settled")
        details = {"messages": len(changed)}
        subject = f"text {text_id}"
        await audit.append(connection, now=services.clock(), actor=audit.ADMINISTRATOR, action=action, subject=subject, details=details)
    services.texts.wake()
