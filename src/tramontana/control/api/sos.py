"""SOS: cases for the operators of a control room.

An operator is a workplace of the console, under the name that it gives itself: whoever has the console's session may act for any of
them, and the audit trail says which name was used.
"""

from __future__ import annotations

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
from tramontana.control.api.access import AdministratorOf, ServicesOf
from tramontana.control.problem import Problem, problems
from tramontana.control.services import Services
from tramontana.control.shapes import Id, Shape, UnixSeconds
from tramontana.control.store import audit, sos
from tramontana.control.store.sos import Stored

router = APIRouter(prefix="/api/v1/sos", tags=["sos"])
Desk = Annotated[
    str, Field(min_length=1, max_length=40, pattern=r"^[^\x00-\x1f\x7f]*$", description="the workplace that acts, as the room calls it")
]
CaseId = Annotated[Id, Path()]


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
    desk: Desk
    version: int | None = Field(default=None, description="of the case that the operator saw; another one is refused")


class HandOver(DeskAction):
    to: Desk


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


@router.get("/cases", responses=problems("not_logged_in"))
async def list_cases(_session: AdministratorOf, services: ServicesOf, closed: Annotated[bool, Query()] = False) -> CasePage:
    """Open cases, or all of them, the latest change first."""
    async with services.store.read() as connection:
        found = await sos.listed(connection, closed=closed)
    return CasePage(
        one_way=services.sos.one_way,
        emergency_numbers=list(services.texts.operators.emergency_numbers),
        cases=[_shown(each, services) for each in found],
    )


@router.get("/cases/{case_id}", responses=problems("not_logged_in", "not_found"))
async def read_case(case_id: CaseId, _session: AdministratorOf, services: ServicesOf) -> CaseWithEntries:
    """One case with everything that was said."""
    async with services.store.read() as connection:
        found = await sos.find(connection, case_id)
        entries = await sos.entries(connection, case_id)
    if found is None:
        raise Problem("not_found")
    shown = [EntryShown(at=row.at, kind=row.kind, author=row.author, body=row.body, messages=states) for row, states in entries]
    return CaseWithEntries(case=_shown(found, services), entries=shown)


async def _act(services: Services, case_id: str, body: DeskAction, action: str, work: Callable[[Case, float], Outcome]) -> CaseShown:
    try:
        kept = await services.sos.act(case_id, body.version, body.desk, action, work)
    except sos_case.NotNow as error:
        raise Problem("case_elsewhere", f"{error}.") from None
    except TextTooLong as error:
        raise Problem("text_too_long", f"{error}.") from None
    if kept is None:
        raise Problem("not_found")
    return _shown(kept, services)


REFUSALS = problems("not_logged_in", "not_found", "case_elsewhere")


@router.post("/cases/{case_id}/take", responses=REFUSALS)
async def take_case(case_id: CaseId, body: DeskAction, _session: AdministratorOf, services: ServicesOf) -> CaseShown:
    """Take a case that nobody has, or that was offered to this workplace."""
    return await _act(services, case_id, body, "taken", lambda case, now: sos_case.take(case, body.desk, now))


@router.post("/cases/{case_id}/offer", responses=REFUSALS)
async def offer_case(case_id: CaseId, body: HandOver, _session: AdministratorOf, services: ServicesOf) -> CaseShown:
    """Offer a case to another workplace; it stays here until that one takes it."""
    return await _act(services, case_id, body, "offered", lambda case, now: sos_case.offer(case, body.desk, body.to, now))


@router.post("/cases/{case_id}/release", responses=REFUSALS)
async def release_case(case_id: CaseId, body: DeskAction, _session: AdministratorOf, services: ServicesOf) -> CaseShown:
    """Give a case back to the queue."""
    return await _act(services, case_id, body, "released", lambda case, now: sos_case.release(case, body.desk, now))


@router.post("/cases/{case_id}/answer", responses=REFUSALS | problems("text_too_long"))
async def answer_case(case_id: CaseId, body: Answer, _session: AdministratorOf, services: ServicesOf) -> CaseShown:
    """Write to the person."""
    return await _act(services, case_id, body, "answered", lambda case, now: sos_case.write(case, body.desk, body.body, now))


@router.post("/cases/{case_id}/position", responses=REFUSALS)
async def locate_case(case_id: CaseId, body: Located, _session: AdministratorOf, services: ServicesOf) -> CaseShown:
    """Set the position by hand."""
    there = Position(body.latitude, body.longitude, body.accuracy_m, "operator")
    return await _act(services, case_id, body, "located", lambda case, now: sos_case.locate(case, body.desk, there, now))


@router.post("/cases/{case_id}/close", responses=REFUSALS)
async def close_case(case_id: CaseId, body: Closing, _session: AdministratorOf, services: ServicesOf) -> CaseShown:
    """Close a case. A text from its phone opens it again."""
    return await _act(
        services, case_id, body, "closed", lambda case, now: sos_case.close(case, body.desk, body.because, now, tell=body.tell)
    )


EXPORT: dict[int | str, dict[str, object]] = {200: {"content": {"application/xml": {"schema": {"type": "string"}}}}}


@router.get(
    "/cases/{case_id}/export",
    response_class=Response,
    responses={**problems("not_logged_in", "not_found", "case_without_position"), **EXPORT},
)
async def export_case(
    case_id: CaseId,
    _session: AdministratorOf,
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
            if form == "cot":
                octets = cursor_on_target(found.case, case_id, now, with_phone=with_phone)
            else:
                octets = cap_alert(found.case, case_id, services.texts.operators.system_id.lower(), now, with_phone=with_phone)
        except NoPosition as error:
            raise Problem("case_without_position", f"{error}.") from None
        details = {"form": form, "with_phone": with_phone}
        subject = f"case {case_id}"
        await audit.append(connection, now=now, actor=audit.ADMINISTRATOR, action="sos.exported", subject=subject, details=details)
    return Response(octets, media_type="application/xml")
