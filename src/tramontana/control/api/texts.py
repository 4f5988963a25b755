"""Texts over message centres: send one, look where it is, decide what nobody else can decide."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query
from pydantic import Field
from sqlalchemy import Row

from tramontana.cell.beam_time import BeamQueue, Rank
from tramontana.cell.forwarding import State, text_state
from tramontana.cell.short_message import TextTooLong
from tramontana.control.api.access import AdministratorOf, ServicesOf
from tramontana.control.problem import Problem, problems
from tramontana.control.shapes import Id, Shape, UnixSeconds
from tramontana.control.store import audit, retention
from tramontana.control.store import texts as rows
from tramontana.control.texts import NO_LIMIT_PER_S, NoRoute, Texts
from tramontana.precedence import Precedence, PrecedenceLabel

router = APIRouter(prefix="/api/v1/texts", tags=["texts"])
PhoneNumber = Annotated[str, Field(pattern=r"^\+?[0-9]{2,20}$")]
PREEMPTED_SHOWN = 20


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


class MessageShown(Shape):
    state: State
    since: UnixSeconds
    error: str = Field(description="of the centre's receipt, where it gave one")


class TextShown(Shape):
    text_id: Id
    origin: str = Field(description="`administrator`, `sos CASE`, `link NAME`, `sealed DEVICE`, `receipt`")
    link: str
    source: str
    destination: str
    body: str = Field(description="empty where it is sealed")
    rank: str
    beam: str
    created_at: UnixSeconds
    expires_at: UnixSeconds = Field(description="until when it is tried")
    state: State
    wait_s: float | None = Field(description="about how long its last message still waits; null where none does, or nobody can say")
    messages: list[MessageShown]


class BeamShown(Shape):
    name: str = Field(description="empty: the operator's network as a whole")
    messages_per_s: float | None = Field(description="null: the link is the limit")
    waiting: dict[str, int] = Field(description="messages by the rank under which they wait")
    wait_s: float | None = Field(description="about how long a routine text would wait now")


class LinkShown(Shape):
    name: str
    kind: Literal["centre", "peer"] = Field(description="a centre that we bind to, or a system that binds to ours")
    state: str
    window: int | None = Field(description="messages that may await the centre's answer at once")
    messages: dict[str, int] = Field(description="by state")
    beams: list[BeamShown]


class PreemptedShown(Shape):
    at: UnixSeconds
    text_id: Id
    link: str
    beam: str
    rank: str
    by_rank: str


class TextPage(Shape):
    texts: list[TextShown]
    next: str | None = Field(description="where the next page begins; null at the end")


class LinksPage(Shape):
    links: list[LinkShown]
    preempted: list[PreemptedShown] = Field(
        description="texts with a part on the air that had to wait for something higher, the newest first"
    )
    sender: str = Field(description="the number that texts come from")
    kept_days: int = Field(description="how long settled texts are kept")


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


@router.get("/links", responses=problems("not_logged_in"))
async def list_links(_session: AdministratorOf, services: ServicesOf) -> LinksPage:
    """Links to message centres and to those who bind to ours, what waits in each beam, and what was pre-empted there."""
    async with services.store.read() as connection:
        counts = await rows.counts(connection)
        preempted = await audit.newest(connection, "text.preempted", PREEMPTED_SHOWN)
        kept = await retention.current(connection)
    bound, centres = services.texts.bound(), {rules.centre.name: rules for rules in services.texts.operators.centres}
    links = [
        LinkShown(
            name=name,
            kind="centre" if name in centres else "peer",
            state=bound.get(name, "elsewhere"),
            window=centres[name].centre.settings.window if name in centres else None,
            messages={state: number for (link, state), number in counts.items() if link == name},
            beams=[_beam(beam, queue) for beam, queue in beams.items()],
        )
        for name, beams in services.texts.queues().items()
    ]
    shown = [_preempted(entry) for entry in preempted]
    return LinksPage(links=links, preempted=shown, sender=services.texts.operators.sender, kept_days=kept.texts_days)


def _beam(name: str, queue: BeamQueue) -> BeamShown:
    waiting = {_label(rank): queue.waiting(rank) for rank in reversed(Rank) if queue.waiting(rank)}
    limit = queue.messages_per_s if queue.messages_per_s < NO_LIMIT_PER_S else None
    return BeamShown(name=name, messages_per_s=limit, waiting=waiting, wait_s=queue.wait_s(Rank.ROUTINE, ""))


def _label(rank: Rank) -> str:
    return rank.name.lower().replace("_", "-")


def _preempted(entry: audit.Entry) -> PreemptedShown:
    details = json.loads(entry.details)
    ranks = {name: details[name].replace("_", "-") for name in ("rank", "for")}
    return PreemptedShown(
        at=entry.at,
        text_id=entry.subject.removeprefix("text "),
        link=details["link"],
        beam=details["beam"],
        rank=ranks["rank"],
        by_rank=ranks["for"],
    )


@router.get("", responses=problems("not_logged_in"))
async def list_texts(
    _session: AdministratorOf,
    services: ServicesOf,
    show: Annotated[rows.Show, Query(description="texts with a message in such a state")] = "all",
    search: Annotated[str, Query(max_length=100, description="in numbers and words")] = "",
    after: Annotated[str, Query(pattern=r"^([0-9]{1,12}(\.[0-9]{1,9})?,[0-9a-f]{32})?$", description="`next` of the page before")] = "",
    most: Annotated[int, Query(ge=1, le=rows.MAX_LISTED)] = rows.MAX_LISTED,
) -> TextPage:
    """Texts that go out, the newest first."""
    at, _, text_id = after.partition(",")
    async with services.store.read() as connection:
        place = (float(at), text_id) if after else None
        found, following = await rows.listed(connection, show=show, search=search, after=place, most=most)
    return TextPage(
        texts=[_shown(text, messages, services.texts) for text, messages in found],
        next=None if following is None else f"{following[0]!r},{following[1]}",
    )


def _shown(text: Row[Any], messages: Sequence[Row[Any]], texts: Texts) -> TextShown:
    waits = [texts.wait_of(text.link, text.beam, each.message_key) for each in messages if each.state == "queued"]
    return TextShown(
        text_id=text.text_id,
        origin=text.origin,
        link=text.link,
        source=text.source,
        destination=text.destination,
        body=text.body,
        rank=_label(Rank(text.rank)),
        beam=text.beam,
        created_at=text.created_at,
        expires_at=text.expires_at,
        state=text_state([each.state for each in messages]),
        wait_s=max((wait for wait in waits if wait is not None), default=None),
        messages=[MessageShown(state=each.state, since=each.state_at, error=each.error or "") for each in messages],
    )


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
