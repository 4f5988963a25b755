"""SOS: cases for the operators of a control room.

An operator is a person: a certified device with the role acts under its account's name, and nobody else can. A console's session acts
for a workplace under the name that it gives itself; such names are not proved, cannot look like a person's, and the trail tells them apart.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Response
from pydantic import Field

from tramontana.cell import sos_case
from tramontana.cell.forwarding import State as MessageState
from tramontana.cell.position import Position
from tramontana.cell.short_message import TextTooLong
from tramontana.cell.sos_case import Case, Outcome
from tramontana.cell.sos_export import NoPosition, cap_alert, cursor_on_target
from tramontana.control.api.access import ServicesOf, SosActor, SosActorOf
from tramontana.control.problem import Problem, problems
from tramontana.control.services import Services
from tramontana.control.shapes import Id, Shape, UnixSeconds
from tramontana.control.sos import MustNotEmit
from tramontana.control.store import audit, operators, sos
from tramontana.control.store.sos import Stored
from tramontana.keys.fields import is_displayable

router = APIRouter(prefix="/api/v1/sos", tags=["sos"])
Desk = Annotated[
    str, Field(min_length=1, max_length=40, pattern=r"^[^\x00-\x1f\x7f]*$", description="the workplace that acts, as the room calls it")
]
CaseId = Annotated[Id, Path()]
_LIKE_A_PERSON = re.compile(r"\([0-9a-f]{8}\)$", re.IGNORECASE)


class PositionShown(Shape):
    latitude: float = Field(ge=-90, le=90)
    longitude: float = Field(ge=-180, le=180)
    accuracy_m: float = Field(gt=0)
    source: str
    name: str


class CaseShown(Shape):
    case_id: Id
    version: int
    number: int
    phone: str
    state: Literal["asking", "waiting", "in care", "closed"]
    language: str | None
    opened_at: UnixSeconds
    updated_at: UnixSeconds
    operator: str
    offered_to: str
    position: PositionShown | None
    people: int | None
    injured: int | None
    repeats: int
    last_text: str
    wait_s: float | None = Field(description="about how long an answer would wait for its turn in the beam; null where nobody can say")


class CasePage(Shape):
    one_way: bool
    emergency_numbers: list[str]
    cases: list[CaseShown]
    counts: dict[str, int] = Field(description="cases by state, whatever the page shows")
    next: str | None = Field(description="where the next page begins; null at the end")


class OperatorShown(Shape):
    account_id: Id
    display_name: str
    label: str = Field(description="how cases and entries name this person")


class EntryShown(Shape):
    at: UnixSeconds
    kind: str
    author: str
    body: str
    messages: list[MessageState] = Field(description="the states of the short messages that carried it")


class CaseWithEntries(Shape):
    case: CaseShown
    entries: list[EntryShown]


class DeskAction(Shape):
    desk: Desk | None = Field(default=None, description="from a console's session only: an operator's device acts for its person")
    version: int | None = Field(default=None, description="of the case that the operator saw; another one is refused")


class HandOver(DeskAction):
    to: Desk = Field(description="a workplace, or an operator's label")


class Answer(DeskAction):
    body: str = Field(min_length=1, max_length=1600)


class Located(DeskAction):
    latitude: float = Field(ge=-90, le=90, allow_inf_nan=False)
    longitude: float = Field(ge=-180, le=180, allow_inf_nan=False)
    accuracy_m: float = Field(default=50.0, gt=0, le=100_000, allow_inf_nan=False)


class Closing(DeskAction):
    because: str = Field(min_length=1, max_length=200)
    tell: bool = True


def _position(position: Position | None) -> PositionShown | None:
    if position is None:
        return None
    return PositionShown(
        latitude=position.latitude,
        longitude=position.longitude,
        accuracy_m=position.accuracy_m,
        source=position.source,
        name=position.name,
    )


def _shown(stored: Stored, services: Services) -> CaseShown:
    case = stored.case
    return CaseShown(
        case_id=stored.case_id,
        version=stored.version,
        number=case.number,
        phone=case.phone,
        state=case.state,
        language=case.language,
        opened_at=case.opened_at,
        updated_at=case.updated_at,
        operator=case.operator,
        offered_to=case.offered_to,
        position=_position(case.position),
        people=case.people,
        injured=case.injured,
        repeats=case.repeats,
        last_text=case.last_text,
        wait_s=services.sos.wait_s(case),
    )


@router.get("/cases", responses=problems("not_logged_in", "not_operator"))
async def list_cases(
    _actor: SosActorOf,
    services: ServicesOf,
    closed: Annotated[bool, Query()] = False,
    after: Annotated[str, Query(pattern=r"^([0-3],-?[0-9]{1,9})?$", description="`next` of the page before")] = "",
    most: Annotated[int, Query(ge=1, le=sos.MAX_LISTED)] = sos.MAX_LISTED,
) -> CasePage:
    """Open cases, or all of them: who waits for an operator first, the longest of all at the top; closed ones last."""
    at = tuple(int(part) for part in after.split(",")) if after else None
    async with services.store.read() as connection:
        found, following = await sos.listed(connection, closed=closed, after=(at[0], at[1]) if at else None, most=most)
        counts = await sos.counts(connection)
    return CasePage(
        counts=counts,
        next=None if following is None else f"{following[0]},{following[1]}",
        one_way=services.sos.one_way,
        emergency_numbers=list(services.texts.operators.emergency_numbers),
        cases=[_shown(each, services) for each in found],
    )


@router.get("/cases/{case_id}", responses=problems("not_logged_in", "not_operator", "not_found"))
async def read_case(case_id: CaseId, _actor: SosActorOf, services: ServicesOf) -> CaseWithEntries:
    """One case with everything that was said."""
    async with services.store.read() as connection:
        found = await sos.find(connection, case_id)
        entries = await sos.entries(connection, case_id)
    if found is None:
        raise Problem("not_found")
    shown = [EntryShown(at=row.at, kind=row.kind, author=row.author, body=row.body, messages=states) for row, states in entries]
    return CaseWithEntries(case=_shown(found, services), entries=shown)


@router.get("/operators", responses=problems("not_logged_in", "not_operator"))
async def list_operators(_actor: SosActorOf, services: ServicesOf) -> list[OperatorShown]:
    """People to whom a case may be handed over."""
    async with services.store.read() as connection:
        found = await operators.certified(connection, services.clock())
    return [OperatorShown(account_id=each.account_id, display_name=each.display_name, label=each.label) for each in found]


def _named(actor: SosActor, body: DeskAction) -> str:
    """Under which name this request acts. Raises `Problem`."""
    if actor.person is not None:
        if body.desk is not None:
            raise Problem("desk_needed")
        return actor.person.label
    if body.desk is None or not is_displayable(body.desk) or _LIKE_A_PERSON.search(unicodedata.normalize("NFKC", body.desk)):
        raise Problem("desk_needed")
    return body.desk


async def _act(
    services: Services, case_id: str, actor: SosActor, body: DeskAction, action: str, work: Callable[[Case, str, float], Outcome]
) -> CaseShown:
    name = _named(actor, body)
    by = audit.device_actor(actor.device_id) if actor.device_id else f"desk {name}"
    try:
        kept = await services.sos.act(case_id, body.version, name, action, lambda case, now: work(case, name, now), by=by)
    except sos_case.NotNow as error:
        raise Problem("case_elsewhere", f"{error}.") from None
    except TextTooLong as error:
        raise Problem("text_too_long", f"{error}.") from None
    except MustNotEmit as error:
        raise Problem("must_not_emit", f"{error}.") from None
    if kept is None:
        raise Problem("not_found")
    return _shown(kept, services)


REFUSALS = problems("not_logged_in", "not_operator", "not_found", "case_elsewhere", "desk_needed", "must_not_emit")


@router.post("/cases/{case_id}/take", responses=REFUSALS)
async def take_case(case_id: CaseId, body: DeskAction, actor: SosActorOf, services: ServicesOf) -> CaseShown:
    """Take a case that nobody has, or that was offered to this workplace."""
    return await _act(services, case_id, actor, body, "taken", lambda case, name, now: sos_case.take(case, name, now))


@router.post("/cases/{case_id}/offer", responses=REFUSALS)
async def offer_case(case_id: CaseId, body: HandOver, actor: SosActorOf, services: ServicesOf) -> CaseShown:
    """Offer a case to another workplace; it stays here until that one takes it."""
    return await _act(services, case_id, actor, body, "offered", lambda case, name, now: sos_case.offer(case, name, body.to, now))


@router.post("/cases/{case_id}/release", responses=REFUSALS)
async def release_case(case_id: CaseId, body: DeskAction, actor: SosActorOf, services: ServicesOf) -> CaseShown:
    """Give a case back to the queue."""
    return await _act(services, case_id, actor, body, "released", lambda case, name, now: sos_case.release(case, name, now))


@router.post("/cases/{case_id}/answer", responses=REFUSALS | problems("text_too_long"))
async def answer_case(case_id: CaseId, body: Answer, actor: SosActorOf, services: ServicesOf) -> CaseShown:
    """Write to the person."""
    return await _act(services, case_id, actor, body, "answered", lambda case, name, now: sos_case.write(case, name, body.body, now))


@router.post("/cases/{case_id}/position", responses=REFUSALS)
async def locate_case(case_id: CaseId, body: Located, actor: SosActorOf, services: ServicesOf) -> CaseShown:
    """Set the position by hand."""
    there = Position(body.latitude, body.longitude, body.accuracy_m, "operator")
    return await _act(services, case_id, actor, body, "located", lambda case, name, now: sos_case.locate(case, name, there, now))


@router.post("/cases/{case_id}/close", responses=REFUSALS)
async def close_case(case_id: CaseId, body: Closing, actor: SosActorOf, services: ServicesOf) -> CaseShown:
    """Close a case. A text from its phone opens it again."""
    return await _act(
        services, case_id, actor, body, "closed", lambda case, name, now: sos_case.close(case, name, body.because, now, tell=body.tell)
    )


EXPORT: dict[int | str, dict[str, object]] = {200: {"content": {"application/xml": {"schema": {"type": "string"}}}}}


@router.get(
    "/cases/{case_id}/export",
    response_class=Response,
    responses={**problems("not_logged_in", "not_operator", "not_found", "case_without_position", "must_not_emit"), **EXPORT},
)
async def export_case(
    case_id: CaseId,
    actor: SosActorOf,
    services: ServicesOf,
    form: Annotated[Literal["cot", "cap"], Query(description="Cursor-on-Target or CAP 1.2")] = "cot",
    with_phone: Annotated[bool, Query()] = False,
) -> Response:
    """The case for another system; audited."""
    now = services.clock()
    async with services.store.write() as connection:
        found = await sos.find(connection, case_id)
        if found is None:
            raise Problem("not_found")
        try:
            services.sos.check_may_emit(found.case)
            if form == "cot":
                octets = cursor_on_target(found.case, case_id, now, with_phone=with_phone)
            else:
                octets = cap_alert(found.case, case_id, services.texts.operators.system_id.lower(), now, with_phone=with_phone)
        except NoPosition as error:
            raise Problem("case_without_position", f"{error}.") from None
        except MustNotEmit as error:
            raise Problem("must_not_emit", f"{error}.") from None
        details = {"form": form, "with_phone": with_phone}
        subject = f"case {case_id}"
        by = audit.device_actor(actor.device_id) if actor.device_id else audit.ADMINISTRATOR
        await audit.append(connection, now=now, actor=by, action="sos.exported", subject=subject, details=details)
    return Response(octets, media_type="application/xml")
