"""Field units: where they are, as TAK servers tell it. Positions are of persons: few may look, and the audit trail says who did."""

from __future__ import annotations

from dataclasses import asdict
from typing import Literal

from fastapi import APIRouter
from pydantic import Field

from tramontana.cell.silence import Silence
from tramontana.cell.units import Unit
from tramontana.control.api.access import ServicesOf, UnitReaderOf
from tramontana.control.problem import problems
from tramontana.control.shapes import Shape, UnixSeconds

router = APIRouter(prefix="/api/v1/units", tags=["units"])


class TakLinkShown(Shape):
    """A TAK server."""

    name: str
    connected: bool
    fault: str
    sends: tuple[Literal["sos", "warnings"], ...]
    receive_only: bool = Field(description="nothing is ever sent there")


class UnitShown(Shape):
    """The last position of a unit."""

    link: str
    uid: str
    kind: str = Field(description="the type of its Cursor-on-Target event")
    callsign: str
    latitude_deg: float
    longitude_deg: float
    height_m: float | None = Field(description="above the ellipsoid")
    radius_m: float | None = Field(description="it is within so many metres; null where nobody said")
    course_deg: float | None
    speed_m_s: float | None
    emergency: bool
    must_not_emit: bool = Field(description="nothing is sent to this unit and nothing of it is passed on")
    at: UnixSeconds
    stale_at: UnixSeconds = Field(description="until when the position holds")


class UnitPage(Shape):
    """Everybody who was heard, and the links they were heard on."""

    links: list[TakLinkShown]
    kept_s: float = Field(description="how long a position is kept after it has gone stale")
    units: list[UnitShown]


def _shown(unit: Unit, silence: Silence) -> UnitShown:
    shown = {name: value for name, value in asdict(unit).items() if name in UnitShown.model_fields}
    return UnitShown.model_validate(shown | {"must_not_emit": silence.of_unit(unit.callsign, unit.uid)})


@router.get("", responses=problems("not_logged_in", "not_certified", "certificate_expired", "not_operator"))
async def list_units(viewer: UnitReaderOf, services: ServicesOf) -> UnitPage:
    """Where field units are. Audited, once an hour for each who sees any."""
    units = await services.tak.positions(viewer)
    links = [TakLinkShown.model_validate(asdict(link)) for link in services.tak.links()]
    return UnitPage(links=links, kept_s=services.tak.servers.kept_s, units=[_shown(unit, services.tak.servers.silence) for unit in units])
