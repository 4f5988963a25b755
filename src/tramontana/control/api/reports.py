"""Reports of planning in the console: which there are, and a link to each that a frame can open."""

from __future__ import annotations

import asyncio
import math
from typing import Annotated

from fastapi import APIRouter, Path, Query, Response
from pydantic import Field

from tramontana.control.api.access import AdministratorOf, ServicesOf
from tramontana.control.problem import Problem, problems
from tramontana.control.reports import LINK_S, NAME, POLICY
from tramontana.control.shapes import Shape, UnixSeconds

router = APIRouter(prefix="/api/v1/planning", tags=["console"])
Name = Annotated[str, Path(pattern=f"^{NAME}$")]


class PlanningReport(Shape):
    name: str
    title: str
    published_at: UnixSeconds
    size_bytes: int = Field(ge=0)


class ReportLink(Shape):
    path: str = Field(description="of this server, for a frame or a tab; it needs no session, and holds until `expires_at`")
    expires_at: UnixSeconds


@router.get("/reports", responses=problems("not_logged_in"))
async def planning_reports(_session: AdministratorOf, services: ServicesOf) -> list[PlanningReport]:
    """The reports that were given to this server with `tramontana plan publish`, the newest first."""
    found = await asyncio.to_thread(services.reports.listed)
    return [PlanningReport(name=one.name, title=one.title, published_at=one.published_unix_s, size_bytes=one.size_bytes) for one in found]


@router.post("/reports/{name}/link", responses=problems("not_logged_in", "not_found"))
async def planning_report_link(name: Name, _session: AdministratorOf, services: ServicesOf) -> ReportLink:
    """A link to one report, for a few minutes."""
    if await asyncio.to_thread(services.reports.content, name) is None:
        raise Problem("not_found")
    until = math.ceil(services.clock()) + LINK_S
    return ReportLink(path=f"{router.prefix}/reports/{name}/page?until={until}&seal={services.reports.seal(name, until)}", expires_at=until)


@router.get("/reports/{name}/page", include_in_schema=False)
async def planning_report_page(
    name: Name, services: ServicesOf, until: Annotated[int, Query(ge=0, le=2**53)], seal: Annotated[str, Query(max_length=64)]
) -> Response:
    """The page, in its sandbox."""
    holds = services.reports.opens(name, until, seal, services.clock())
    content = await asyncio.to_thread(services.reports.content, name) if holds else None
    if content is None:
        raise Problem("not_found")
    headers = {"Content-Security-Policy": POLICY, "X-Frame-Options": "SAMEORIGIN"}
    return Response(content, media_type="text/html; charset=utf-8", headers=headers)
