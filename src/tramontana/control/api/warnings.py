"""Public warnings: submit, approve, follow; what an area and a text take; CAP in and out.

What is submitted and decided is signed by the person's device over the octets of the content (docs/protocols.md, "Warnings").
"""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Request, Response
from pydantic import Field

from tramontana.cell import area as areas
from tramontana.cell import cap, cell_broadcast
from tramontana.cell.broadcast_plan import REPETITIONS, PlanRules, Pointing
from tramontana.cell.warning import State
from tramontana.cell.warning_content import MAX_OCTETS, Content, ContentRefused
from tramontana.control.api.access import ServicesOf, WarnerOf, WarningReaderOf, limit
from tramontana.control.broadcast_sky import Block
from tramontana.control.problem import Problem, problems
from tramontana.control.services import Services
from tramontana.control.shapes import Id, Shape, Signature, Statement, UnixSeconds, base64_bytes
from tramontana.control.store import accounts
from tramontana.control.store import warnings as rows
from tramontana.errors import LocalError, TramontanaError

router = APIRouter(prefix="/api/v1/warnings", tags=["warnings"])
PathId = Annotated[Id, Path()]
Octets = Annotated[bytes, *base64_bytes(1, MAX_OCTETS)]
REFUSALS = ("not_logged_in", "not_certified", "certificate_expired", "not_warner", "no_organisation", "not_found", "warning_refused")
READS = ("not_logged_in", "not_certified", "certificate_expired", "not_warner", "not_found")
MAX_NAMES = 20
PLANNED_WITHIN_S = 86400.0
"""Elements say little about later, and nobody looks back further."""


class Submission(Shape):
    """A warning as its author signed it."""

    content: Octets = Field(description="UTF-8 JSON of `WarningContent`: the signature is over the SHA-256 of exactly these octets")
    statement: Statement
    signature: Signature


class DecisionMade(Shape):
    """What a person decided about a submission."""

    decision: Literal["approve", "reject", "withdraw"]
    statement: Statement
    signature: Signature


class DecisionShown(Shape):
    """A signed decision, and whose it is."""

    decision: str
    account_id: Id
    display_name: str
    at: UnixSeconds


class WarningShown(Shape):
    """A warning and where it is."""

    warning_id: Id
    state: State = Field(strict=False)
    content: Octets
    submitted_at: UnixSeconds
    approved_at: UnixSeconds | None
    expires_at: UnixSeconds | None
    ended_at: UnixSeconds | None
    serial_number: int | None = Field(description="TS 23.041 §9.4.1.2.1, as it is on the air")
    decisions: list[DecisionShown]


class CellShown(Shape):
    """What is known of a warning in one cell of one controller."""

    controller: str
    cell: str = Field(description="location area code and cell identity")
    message_identifier: int
    state: Literal["asked", "on-air", "failed", "off-air"]
    attempts: int
    reason: str
    at: UnixSeconds
    on_air_at: UnixSeconds | None = Field(description="when the controller confirmed it the first time")
    off_air_at: UnixSeconds | None


class WarningDetails(WarningShown):
    """The same with every cell."""

    cells: list[CellShown]


class ControllerShown(Shape):
    """A base-station controller."""

    name: str
    cells: int
    connected: bool
    fault: str


class WarningSetup(Shape):
    """What there is to warn with."""

    organisation_id: Id | None
    controllers: list[ControllerShown]
    population_known: bool
    areas: list[str] = Field(description="named areas that the operator has loaded")


class TextCount(Shape):
    """What a text takes as cell broadcast."""

    alphabet: Literal["gsm-7", "ucs-2"]
    characters: int
    capacity: int
    pages: int
    fits: bool
    needs_ucs_2: str = Field(description="the characters that the GSM 7 bit alphabet lacks")


class PreviewRequest(Shape):
    """What is being written."""

    texts: Annotated[list[Annotated[str, Field(max_length=5000)]], Field(max_length=4)] = Field(default_factory=list)
    polygons: Annotated[list[list[list[float]]], Field(max_length=areas.MAX_POLYGONS)] | None = None


class ControllerCells(Shape):
    """How many cells of a controller are heard in an area."""

    controller: str
    cells: int
    connected: bool


class AreaPreview(Shape):
    """What an area is about."""

    fault: str | None = Field(description="why the area cannot be used, and everything else is empty")
    size_km2: float
    people: int | None = Field(description="null: no population table is loaded")
    places: list[str] = Field(description=f"the {MAX_NAMES} most populous places inside")
    controllers: list[ControllerCells]


class Preview(Shape):
    """Counts of texts, in their order, and the area."""

    texts: list[TextCount]
    area: AreaPreview | None


class PlanRequest(Shape):
    """An area to plan satellites for, from now on, or from the instant of a plan that was made. `block`: in octets for every beam."""

    polygons: Annotated[list[list[list[float]]], Field(max_length=areas.MAX_POLYGONS)]
    pointing: Pointing = Field(default=Pointing.EARTH_FIXED, strict=False)
    repetitions: Annotated[int, Field(ge=1, le=20)] = REPETITIONS
    begins_at: UnixSeconds | None = Field(default=None, description="at most a day away")
    block: Block | None = Field(default=None, description="SIB19 of NR (Release 17) or SIB31 of LTE of things")


class PlannedBeam(Shape):
    """One beam for one dwell."""

    dwell: int = Field(description="counted from 0 at `begins_at`")
    satellite: str
    latitude_deg: float
    longitude_deg: float
    epoch_at: UnixSeconds = Field(description="when the satellite is where phones are told it is")
    valid_s: int = Field(description="how long after it phones may go on from that")
    k_offset_ms: int = Field(description="there and back to the farthest edge of the beam")
    stops_at: UnixSeconds | None = Field(description="when the satellite leaves the cell; null for a beam that is dragged along")
    block: Octets | None = Field(description="BCCH-DL-SCH message, unaligned PER, where one was asked for")


class PlanShown(Shape):
    """A broadcast plan. Simulated: no operator's satellites are commanded by it."""

    simulated: Literal[True] = True
    satellites: str = Field(description="which satellites, in words")
    elements_age_s: float | None = Field(description="null for a constellation on paper")
    begins_at: UnixSeconds
    dwell_s: float
    beam_radius_m: float
    beams: list[PlannedBeam]
    in_view: list[int] = Field(description="satellites that could light some of the area, by dwell")
    reached: list[list[float]] = Field(description="by dwell: the share of phones lit at least once, twice, …")
    complete: bool = Field(description="every point as often as asked")
    counts_people: bool = Field(description="false: no population table is loaded, every small cell weighs the same")
    half_reached_s: float | None
    nine_tenths_reached_s: float | None
    ninety_nine_hundredths_reached_s: float | None
    overspill_km2: float
    overspill_people: int | None


class NamedArea(Shape):
    """An area of the operator's catalogue."""

    name: str
    polygons: list[list[tuple[float, float]]]


def _shown(stored: rows.Stored, decisions: list[rows.Decision], names: dict[str, str]) -> dict[str, object]:
    warning = stored.warning
    return {
        "warning_id": warning.warning_id,
        "state": warning.state,
        "content": stored.content,
        "submitted_at": warning.submitted_at,
        "approved_at": warning.approved_at,
        "expires_at": warning.expires_at,
        "ended_at": warning.ended_at,
        "serial_number": None if warning.serial is None else warning.serial.value,
        "decisions": [
            DecisionShown(decision=made.decision, account_id=made.account_id, display_name=names.get(made.account_id, ""), at=made.at)
            for made in decisions
            if made.warning_id == warning.warning_id
        ],
    }


async def _listed(services: Services, found: list[rows.Stored]) -> list[WarningShown]:
    async with services.store.read() as connection:
        decisions = await rows.decisions(connection, [stored.warning.warning_id for stored in found])
        names = await accounts.names(connection, {made.account_id for made in decisions})
    return [WarningShown.model_validate(_shown(stored, decisions, names)) for stored in found]


async def _found(services: Services, warning_id: str) -> rows.Stored:
    async with services.store.read() as connection:
        stored = await rows.find(connection, warning_id)
    if stored is None:
        raise Problem("not_found")
    return stored


async def _as_it_is(services: Services, warning_id: str) -> WarningShown:
    [shown] = await _listed(services, [await _found(services, warning_id)])
    return shown


@router.get("", responses=problems(*READS))
async def list_warnings(_reader: WarningReaderOf, services: ServicesOf) -> list[WarningShown]:
    """The newest 200 warnings and templates, the newest first."""
    async with services.store.read() as connection:
        found = await rows.listed(connection)
    return await _listed(services, found)


@router.get("/setup", responses=problems(*READS))
async def warning_setup(_reader: WarningReaderOf, services: ServicesOf) -> WarningSetup:
    """Controllers, areas, and whether people can be counted."""
    try:
        async with services.store.read() as connection:
            organisation_id = (await services.custody.organisation(connection)).root.organisation_id
    except Problem:
        organisation_id = None
    data = services.warnings.data
    return WarningSetup(
        organisation_id=organisation_id,
        controllers=[
            ControllerShown(name=status.name, cells=status.cells, connected=status.connected, fault=status.fault)
            for status in services.warnings.controllers()
        ],
        population_known=data.population is not None,
        areas=sorted(data.areas),
    )


@router.get("/areas/{name}", responses=problems(*READS))
async def named_area(name: Annotated[str, Path(max_length=200)], _reader: WarningReaderOf, services: ServicesOf) -> NamedArea:
    """The polygons of a named area."""
    rings = services.warnings.data.areas.get(name)
    if rings is None:
        raise Problem("not_found")
    return NamedArea(name=name, polygons=[list(ring) for ring in rings])


@router.post("/preview", responses=problems(*READS))
async def preview_warning(body: PreviewRequest, _reader: WarningReaderOf, services: ServicesOf) -> Preview:
    """What texts take and whom an area reaches. Nothing is kept."""
    counts = []
    for text in body.texts:
        counted = cell_broadcast.count(text)
        counts.append(
            TextCount(
                alphabet=counted.alphabet.value,
                characters=counted.characters,
                capacity=counted.capacity,
                pages=counted.pages,
                fits=counted.fits,
                needs_ucs_2=counted.needs_ucs_2,
            )
        )
    return Preview(texts=counts, area=None if body.polygons is None else _area(services, body.polygons))


def _area(services: Services, polygons: list[list[list[float]]]) -> AreaPreview:
    try:
        rings = areas.checked([[_pair(point) for point in ring] for ring in polygons])
    except TramontanaError as error:
        return AreaPreview(fault=str(error), size_km2=0.0, people=None, places=[], controllers=[])
    data = services.warnings.data
    people, places = None, []
    if data.population is not None:
        inside = data.population.inside(rings)
        people = int(data.population.people[inside].sum())
        largest = sorted(inside.tolist(), key=lambda index: -int(data.population.people[index]) if data.population else 0)
        places = [data.population.names[index] for index in largest[:MAX_NAMES]]
    connected = {status.name: status.connected for status in services.warnings.controllers()}
    found = [(site.name, len(site.cells_for(rings))) for site in data.network.controllers]
    controllers = [ControllerCells(controller=name, cells=cells, connected=connected[name]) for name, cells in found if cells]
    return AreaPreview(fault=None, size_km2=areas.size_m2(rings) / 1e6, people=people, places=places, controllers=controllers)


def _pair(point: list[float]) -> areas.Point:
    if len(point) != 2:
        raise areas.AreaRefused("a point of a polygon is [latitude, longitude]")
    return point[0], point[1]


@router.post("/plan", responses=problems(*READS, "warning_refused"))
async def plan_broadcast(body: PlanRequest, _reader: WarningReaderOf, services: ServicesOf) -> PlanShown:
    """Which satellites, beams and times would carry a warning to an area. Nothing is kept and nothing is sent."""
    sky, people = services.broadcast_sky, services.warnings.data.population
    now = services.clock()
    begins_at = now if body.begins_at is None else body.begins_at
    if abs(begins_at - now) > PLANNED_WITHIN_S:
        raise Problem("warning_refused", "A plan begins within a day from now.")
    try:
        rings = areas.checked([[_pair(point) for point in ring] for ring in body.polygons])
        made = await sky.plan(rings, people, begins_at, PlanRules(body.pointing, body.repetitions))
        told = await sky.told(made, body.block)
    except LocalError as error:
        raise Problem("warning_refused", str(error)) from error
    outside = None
    if people is not None:
        in_reach = areas.distance_m(rings, people.latitude_deg, people.longitude_deg)
        lit = made.lights(people.latitude_deg, people.longitude_deg)
        outside = int(people.people[lit & (in_reach > 0)].sum())
    return PlanShown(
        satellites=sky.label,
        elements_age_s=sky.fleet.age_s(now),
        begins_at=begins_at,
        dwell_s=made.rules.dwell_s,
        beam_radius_m=made.rules.beam_radius_m,
        beams=[
            PlannedBeam(
                dwell=dwell,
                satellite=sky.fleet.names[beam.satellite],
                latitude_deg=beam.latitude_deg,
                longitude_deg=beam.longitude_deg,
                epoch_at=beam.begin_unix_s,
                valid_s=beam.assistance.validity_s,
                k_offset_ms=beam.assistance.k_offset_ms,
                stops_at=beam.assistance.stops_unix_s,
                block=octets,
            )
            for dwell, (beam, octets) in zip(made.dwell.tolist(), told, strict=True)
        ],
        in_view=made.in_view.tolist(),
        reached=made.reached_share.tolist(),
        complete=made.is_complete,
        counts_people=people is not None,
        half_reached_s=made.reached_after_s(0.5),
        nine_tenths_reached_s=made.reached_after_s(0.9),
        ninety_nine_hundredths_reached_s=made.reached_after_s(0.99),
        overspill_km2=made.overspill_km2,
        overspill_people=outside,
    )


@router.post(
    "/cap",
    responses=problems(*READS, "warning_refused"),
    openapi_extra={"requestBody": {"required": True, "content": {"application/cap+xml": {"schema": {"type": "string"}}}}},
)
async def read_cap(request: Request, _reader: WarningReaderOf, services: ServicesOf) -> Content:
    """Read a CAP 1.2 document into the content that can be submitted. Nothing is kept and nothing is sent.

    An update or a cancellation of something that is not on the air here is refused.
    """
    try:
        received = cap.parse(await request.body())
        return received.content(cap.replaced(received, await _on_air(services)))
    except (cap.BadCap, cap.Unhandled, ContentRefused) as error:
        raise Problem("warning_refused", str(error)) from error


async def _on_air(services: Services) -> list[tuple[str, list[Content]]]:
    """What is on the air, each with what it replaced one after the other."""
    found = []
    async with services.store.read() as connection:
        for warning_id in await rows.on_air(connection):
            contents: list[Content] = []
            next_id: str | None = warning_id
            while next_id is not None and (stored := await rows.find(connection, next_id)) is not None:
                contents.append(stored.warning.content)
                next_id = stored.warning.content.replaces
            found.append((warning_id, contents))
    return found


@router.put("/{warning_id}", responses=problems(*REFUSALS))
async def submit_warning(warning_id: PathId, body: Submission, person: WarnerOf, services: ServicesOf) -> WarningShown:
    """Submit for approval. What is made from an authorised template is on the air at once. The same again changes nothing."""
    limit(services, "audited", person.account_id, services.limits.audited)
    await services.warnings.submit(person, warning_id, body.content, body.statement, body.signature)
    return await _as_it_is(services, warning_id)


@router.post("/{warning_id}/decisions", responses=problems(*REFUSALS))
async def decide_on_warning(warning_id: PathId, body: DecisionMade, person: WarnerOf, services: ServicesOf) -> WarningShown:
    """Approve what another person submitted, reject it, or withdraw one's own."""
    limit(services, "audited", person.account_id, services.limits.audited)
    await services.warnings.decide(person, warning_id, body.decision, body.statement, body.signature)
    return await _as_it_is(services, warning_id)


@router.get("/{warning_id}", responses=problems(*READS))
async def show_warning(warning_id: PathId, _reader: WarningReaderOf, services: ServicesOf) -> WarningDetails:
    """One warning with what every cell answered."""
    stored = await _found(services, warning_id)
    async with services.store.read() as connection:
        decisions = await rows.decisions(connection, [warning_id])
        names = await accounts.names(connection, {made.account_id for made in decisions})
        cells = await rows.cells(connection, warning_id)
    shown = [CellShown.model_validate({name: getattr(cell, name) for name in CellShown.model_fields}) for cell in cells]
    return WarningDetails.model_validate(_shown(stored, decisions, names) | {"cells": shown})


@router.get("/{warning_id}/cap", responses=problems(*READS, "warning_refused"), response_class=Response)
async def warning_as_cap(warning_id: PathId, _reader: WarningReaderOf, services: ServicesOf) -> Response:
    """An approved warning as a CAP 1.2 document."""
    return Response(await services.warnings.cap(await _found(services, warning_id)), media_type="application/cap+xml")
