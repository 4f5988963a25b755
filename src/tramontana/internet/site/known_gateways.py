"""The gateways that a site knows: those of its configuration, and what it has heard of them since it joined."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from tramontana.internet.control_channel import GatewayAt
from tramontana.internet.driver import StateDamaged, StateDirectory
from tramontana.internet.settings import GatewayPlace, SiteSettings

GATEWAYS = "gateways"
"""The file of the state directory in which those that were heard of are kept."""
MOST_REMADE, REMADE_PERIOD_S = 3, 300.0
"""So often the agent is made anew for other gateways in so long: whatever a gateway says, the site is not kept busy with itself."""


def with_known_gateways(settings: SiteSettings) -> SiteSettings:
    """Settings with the gateways that this site has heard of since it joined. Raises `StateDamaged`."""
    found = StateDirectory(settings.state).read_places(GATEWAYS) if settings.joined else []
    if not found:
        return settings
    configured = {place.id: place.address_6 for place in settings.gateway}
    try:
        places = [GatewayPlace.model_validate(each) for each in found]
        kept = [place.model_copy(update={"address_6": place.address_6 or configured.get(place.id)}) for place in places]
        return SiteSettings.model_validate({**settings.model_dump(), "gateway": [place.model_dump() for place in kept]})
    except ValueError as error:
        raise StateDamaged(f"the gateways kept in {settings.state} are damaged ({error}); remove that file: they come anew") from error


def forget_gateways(state: Path) -> None:
    """Where the server has just said anew which there are."""
    (state / f"{GATEWAYS}.json").unlink(missing_ok=True)


def heard_gateways(
    known: Sequence[GatewayPlace], told: Iterable[GatewayAt], teller: str, fault: Callable[[str], str | None]
) -> tuple[GatewayPlace, ...]:
    """The gateways that there are once `teller` has spoken. New ones count, with a certificate; that one is elsewhere, only by its own
    word; one goes by its revocation alone. So no gateway can take the others from this site.

    fault: what is wrong with the certificate of a device.
    """
    places = {place.id: place for place in known}
    for each in told:
        if any(other.number == each.number and other.id != each.id for other in places.values()):
            continue
        if each.id not in places:
            if fault(each.id) is None:
                places[each.id] = GatewayPlace(id=each.id, number=each.number, address=each.address, address_6=each.address_6)
        elif each.id == teller:
            address_6 = each.address_6 or places[each.id].address_6
            places[each.id] = places[each.id].model_copy(update={"number": each.number, "address": each.address, "address_6": address_6})
    return tuple(place for place in places.values() if fault(place.id) != "revoked")


def wait_until_remade_s(made: Sequence[float], now: float) -> float:
    """made: when agents were made, the last one last."""
    return max(0.0, made[-MOST_REMADE] + REMADE_PERIOD_S - now) if len(made) >= MOST_REMADE else 0.0
