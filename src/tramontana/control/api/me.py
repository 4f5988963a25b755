"""The device that asks: itself, its key packages, its access and path."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from tramontana.control.api import models
from tramontana.control.api.access import EnrolledOf, ServicesOf
from tramontana.control.offers import check_key_packages
from tramontana.control.problem import Problem, problems
from tramontana.control.store import accounts, key_packages

router = APIRouter(prefix="/api/v1", tags=["me"])


@router.get("/me", responses=problems("not_logged_in"))
async def me(sender: EnrolledOf, services: ServicesOf) -> models.Me:
    """One's own account and device."""
    device = await _device(services, sender.device_id)
    return models.Me(
        account_id=device.account_id,
        display_name=device.display_name,
        precedence_ceiling=device.ceiling.label,
        device_id=device.device_id,
        signature_public_key=device.signature_public_key,
    )


async def _device(services: ServicesOf, device_id: str) -> accounts.Device:
    async with services.store.read() as connection:
        device = await accounts.device(connection, device_id)
    if device is None:
        raise Problem("not_logged_in")
    return device


@router.put("/me/key-packages", status_code=204, response_class=Response, responses=problems("not_logged_in", "key_package_refused"))
async def put_key_packages(body: models.KeyPackages, sender: EnrolledOf, services: ServicesOf) -> None:
    """Replace the key packages on offer."""
    now = services.clock()
    device = await _device(services, sender.device_id)
    single_use, last_resort = check_key_packages(device, body.key_packages, body.last_resort, now)
    async with services.store.write() as connection:
        is_first = not await key_packages.has_offered(connection, device.device_id)
        await key_packages.replace(connection, device.device_id, single_use, last_resort)
    if is_first:
        services.hub.directory_changed()


@router.get("/me/key-packages", responses=problems("not_logged_in"))
async def remaining_key_packages(sender: EnrolledOf, services: ServicesOf) -> models.KeyPackagesRemaining:
    """How many single-use key packages are left."""
    async with services.store.read() as connection:
        return models.KeyPackagesRemaining(remaining=await key_packages.remaining(connection, sender.device_id, services.clock()))


@router.get("/access-options", responses=problems("not_logged_in"))
async def access_options(sender: EnrolledOf, services: ServicesOf) -> models.AccessOptions:
    """Places and carriers to choose from, and what is chosen."""
    device = await _device(services, sender.device_id)
    place_id, carrier_id = services.sky.access_of(device.place_id, device.carrier_id)
    return models.AccessOptions(
        places=services.sky.place_options(),
        carriers=services.sky.carrier_options(),
        chosen=models.Access(place_id=place_id, carrier_id=carrier_id),
    )


@router.put(
    "/me/access", status_code=204, response_class=Response, responses=problems("not_logged_in", "unknown_access", "media_unavailable")
)
async def put_access(body: models.Access, sender: EnrolledOf, services: ServicesOf) -> None:
    """Choose place and carrier; a call in progress moves to the new path."""
    if not services.sky.is_offered(body.place_id, body.carrier_id):
        raise Problem("unknown_access")
    async with services.store.write() as connection:
        await accounts.set_access(connection, sender.device_id, body.place_id, body.carrier_id)
    await services.calls.access_changed(sender.device_id)


@router.get("/me/path", responses=problems("not_logged_in"))
async def my_path(sender: EnrolledOf, services: ServicesOf, seconds: Annotated[int, Query(ge=15, le=600)] = 120) -> models.MyPath:
    """The simulated path from now on."""
    device = await _device(services, sender.device_id)
    profile = await services.sky.profile(*services.sky.access_of(device.place_id, device.carrier_id), services.clock(), float(seconds))
    return models.MyPath(profile=models.PathProfileShape.model_validate_json(profile.to_json()), simulated=True)
