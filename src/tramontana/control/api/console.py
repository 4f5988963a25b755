"""What the console's map shows: the sky, satellite positions, serving links. All of it simulated or as filed, and labelled."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from tramontana.control.api import models
from tramontana.control.api.access import AdministratorOf, ServicesOf
from tramontana.control.problem import Problem, problems

router = APIRouter(prefix="/api/v1/console", tags=["console"])
At = Annotated[float | None, Query(description="POSIX seconds; now, if left out. At most a day away from now.", allow_inf_nan=False)]
MAX_DISTANCE_S = 86400.0
BINARY: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}
}


def _instant(services: ServicesOf, at: float | None) -> float:
    now = services.clock()
    if at is None:
        return now
    if abs(at - now) > MAX_DISTANCE_S:
        raise Problem("invalid_request", "`at` must lie within a day of now.")
    return at


@router.get("/sky", responses=problems("not_logged_in"))
async def sky(_session: AdministratorOf, services: ServicesOf) -> models.SkySummary:
    """Constellation, places, gateways and points of presence."""
    return await services.sky.summary(services.clock())


@router.get("/positions", response_class=Response, responses={**problems("not_logged_in"), **BINARY})
async def positions(_session: AdministratorOf, services: ServicesOf, at: At = None) -> Response:
    """Satellite positions over one slot, little-endian: `uint32 count`, `uint32 steps`, `float64 start_unix_s`, `float64 step_s`,
    then `float32[steps][count][3]`, ITRS kilometres."""
    instant = _instant(services, at)
    body = await services.sky.positions(instant)
    remaining_s = max(1, int(services.sky.slot_end(instant) - services.clock()))
    return Response(body, media_type="application/octet-stream", headers={"Cache-Control": f"private, max-age={remaining_s}"})


@router.get("/links", responses=problems("not_logged_in"))
async def links(_session: AdministratorOf, services: ServicesOf, at: At = None) -> models.Links:
    """The serving satellite of each place in one slot."""
    return await services.sky.links(_instant(services, at))
