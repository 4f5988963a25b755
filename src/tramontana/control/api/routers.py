"""What sites and gateways ask for and report, and how the console shows them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Path

from tramontana.carriers.catalogue import KNOWN
from tramontana.control.api import router_models as models
from tramontana.control.api.access import AdministratorOf, GatewayOf, ServicesOf, SiteOf, limit
from tramontana.control.problem import Problem, problems
from tramontana.control.routers import Reported
from tramontana.control.shapes import Id
from tramontana.control.store import log, routers
from tramontana.internet.report import GatewayReport, Position, SignedReport, SiteReport, Tunnel
from tramontana.internet.words import italian

router = APIRouter(prefix="/api/v1", tags=["routers"])
REFUSALS = ("not_logged_in", "not_certified", "certificate_expired", "not_a_router")


@router.put("/me/site", responses=problems(*REFUSALS, "place_taken", "no_number", "no_organisation"))
async def place_site(body: models.SiteWish, site: SiteOf, services: ServicesOf) -> models.SiteAssigned:
    """Ask for the site's number and networks, and the gateways. Asked again, the answer is the same."""
    limit(services, "audited", site.account_id, services.limits.audited)
    async with services.store.read() as connection:
        organisation_id = (await services.custody.organisation(connection)).root.organisation_id
    place = await services.routers.place_site(site, body.networks, organisation_id)
    return models.SiteAssigned(number=place.number, networks=[str(each) for each in place.networks], gateways=_gateways(place.gateways))


@router.put("/me/gateway", responses=problems(*REFUSALS, "place_taken", "no_number"))
async def place_gateway(body: models.GatewayWish, gateway: GatewayOf, services: ServicesOf) -> models.GatewayAssigned:
    """Say at which address sites reach this gateway, and ask for its number."""
    limit(services, "audited", gateway.account_id, services.limits.audited)
    return models.GatewayAssigned(number=await services.routers.place_gateway(gateway, body.address, body.address_6))


@router.get("/gateways/places", responses=problems(*REFUSALS))
async def places(_gateway: GatewayOf, services: ServicesOf, since: models.Revision = "") -> models.Places:
    """The sites that gateways serve, and all gateways. since: of sites, whatever may not be in that revision, and some that are."""
    found = await services.routers.places(since)
    sites = [
        models.SitePlace(
            device_id=site.device_id,
            display_name=site.display_name,
            unit=site.unit,
            number=site.number,
            networks=[str(each) for each in site.networks],
        )
        for site in found.sites
    ]
    return models.Places(revision=found.revision, sites=sites, gateways=_gateways(found.gateways))


@router.post("/gateways/reports", responses=problems(*REFUSALS, "no_organisation"))
async def hand_on_reports(body: models.HandedReports, gateway: GatewayOf, services: ServicesOf) -> models.ReportsTaken:
    """Hand on what sites, and the gateway itself, report. The newest of each is kept."""
    refused = 0
    if body.reports:
        async with services.store.read() as connection:
            organisation_id = (await services.custody.organisation(connection)).root.organisation_id
        given = [SignedReport(each.device_id, each.report, each.signature) for each in body.reports]
        refused = await services.routers.take_reports(gateway, organisation_id, given)
    return models.ReportsTaken(refused=refused, revision=await services.routers.revision())


@router.get("/admin/routers", responses=problems("not_logged_in"))
async def shown_routers(_session: AdministratorOf, services: ServicesOf) -> models.RoutersShown:
    """Every site and gateway, and what it said last."""
    places, reported = await services.routers.places(), await services.routers.reported()
    async with services.store.read() as connection:
        log_size = await log.size(connection)
    return models.RoutersShown(
        sites=[
            models.SiteShown(
                device_id=site.device_id,
                display_name=site.display_name,
                unit=site.unit,
                number=site.number,
                networks=[str(each) for each in site.networks],
                state=_site_state(reported.get(site.device_id)),
            )
            for site in places.sites
        ],
        gateways=[
            models.GatewayShown(
                device_id=each.device_id,
                display_name=each.display_name,
                number=each.number,
                address=each.address,
                address_6=each.address_6,
                state=_gateway_state(reported.get(each.device_id)),
            )
            for each in places.gateways
        ],
        carriers=[models.CarrierName(carrier_id=each.id, name=each.name) for each in KNOWN],
        log_size=log_size,
    )


@router.get("/admin/routers/{device_id}", responses=problems("not_logged_in", "not_found"))
async def site_details(device_id: Annotated[Id, Path()], _session: AdministratorOf, services: ServicesOf) -> models.SiteDetails:
    """What one site said last of its tunnels, and of how it came to use them."""
    found = (await services.routers.reported()).get(device_id)
    if found is None or not isinstance(found.report, SiteReport):
        raise Problem("not_found")
    switches = [
        models.SiteSwitch(at=each.at, before=each.before, after=each.after, reason=_words(each.reason))
        for each in reversed(found.report.switches)
    ]
    return models.SiteDetails(tunnels=[_tunnel(each) for each in found.report.tunnels], switches=switches)


def _words(sentence: str) -> models.Words:
    return models.Words(en=sentence, it=italian(sentence))


def _position(found: Position | None) -> models.RouterPosition | None:
    return None if found is None else models.RouterPosition(latitude_deg=found.latitude_deg, longitude_deg=found.longitude_deg)


def _tunnel(found: Tunnel) -> models.SiteTunnel:
    return models.SiteTunnel(
        gateway_id=found.gateway,
        uplink=found.uplink,
        carrier_id=found.carrier,
        up=found.up,
        health=found.health,
        delay_ms=found.delay_ms,
        loss=found.loss,
        key_age_s=found.key_age_s,
        handshake_age_s=found.handshake_age_s,
    )


def _site_state(found: Reported | None) -> models.SiteSummary | None:
    if found is None or not isinstance(found.report, SiteReport):
        return None
    report, carrying = found.report, found.report.carrying
    tunnel = next(
        (each for each in report.tunnels if carrying and (each.gateway, each.uplink) == (carrying.gateway, carrying.uplink)), None
    )
    return models.SiteSummary(
        at=found.report.at,
        received_at=found.received_at,
        log_size=report.log_size,
        tunnel=None if tunnel is None else _tunnel(tunnel),
        blocked=None if report.blocked is None else _words(report.blocked),
        tunnels=len(report.tunnels),
        tunnels_up=sum(each.up for each in report.tunnels),
        position=_position(report.position),
    )


def _gateway_state(found: Reported | None) -> models.GatewayState | None:
    if found is None or not isinstance(found.report, GatewayReport):
        return None
    report = found.report
    return models.GatewayState(
        at=found.report.at,
        received_at=found.received_at,
        log_size=report.log_size,
        sites=report.sites,
        fault=report.fault,
        position=_position(report.position),
    )


def _gateways(found: Sequence[routers.Gateway]) -> list[models.GatewayPlace]:
    return [
        models.GatewayPlace(
            device_id=each.device_id, display_name=each.display_name, number=each.number, address=each.address, address_6=each.address_6
        )
        for each in found
    ]
