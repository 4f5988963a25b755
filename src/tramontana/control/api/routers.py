"""What sites and gateways ask for: their places."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import APIRouter

from tramontana.control.api import router_models as models
from tramontana.control.api.access import GatewayOf, ServicesOf, SiteOf, limit
from tramontana.control.problem import problems
from tramontana.control.store import routers

router = APIRouter(prefix="/api/v1", tags=["routers"])
REFUSALS = ("not_logged_in", "not_certified", "certificate_expired", "not_a_router")


@router.put("/me/site", responses=problems(*REFUSALS, "place_taken", "no_number"))
async def place_site(body: models.SiteWish, site: SiteOf, services: ServicesOf) -> models.SiteAssigned:
    """Ask for the site's number and networks, and the gateways. Asked again, the answer is the same."""
    limit(services, "audited", site.account_id, services.limits.audited)
    place = await services.routers.place_site(site, body.networks)
    return models.SiteAssigned(number=place.number, networks=[str(each) for each in place.networks], gateways=_gateways(place.gateways))


@router.put("/me/gateway", responses=problems(*REFUSALS, "place_taken", "no_number"))
async def place_gateway(body: models.GatewayWish, gateway: GatewayOf, services: ServicesOf) -> models.GatewayAssigned:
    """Say at which address sites reach this gateway, and ask for its number."""
    limit(services, "audited", gateway.account_id, services.limits.audited)
    return models.GatewayAssigned(number=await services.routers.place_gateway(gateway, body.address))


@router.get("/gateways/places", responses=problems(*REFUSALS))
async def places(_gateway: GatewayOf, services: ServicesOf) -> models.Places:
    """The sites that gateways serve, and all gateways."""
    found = await services.routers.places()
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


def _gateways(found: Sequence[routers.Gateway]) -> list[models.GatewayPlace]:
    return [
        models.GatewayPlace(device_id=each.device_id, display_name=each.display_name, number=each.number, address=each.address)
        for each in found
    ]
