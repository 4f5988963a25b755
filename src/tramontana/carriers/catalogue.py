"""The carriers that Tramontana knows from the start. Real operators, public facts; what their paths do here is simulated."""

from __future__ import annotations

from tramontana.carriers.carrier import Carrier, CarrierKind, Price
from tramontana.errors import LocalError

STARLINK = Carrier(
    id="starlink",
    name="Starlink",
    operator="SpaceX",
    kind=CarrierKind.LEO,
    jurisdiction="US",
    landing_countries=("IT", "FR", "ES", "DE", "PL", "TR"),  # the gateways of tramontana.space.ground; a test compares them
    price=Price(
        low=287.0, high=None, currency="EUR", source="Mobile Priority plan in France, starting price: boote.com article 46899, early 2025"
    ),
    source="licence: FCC 21-48; gateways: tramontana.space.ground",
)

SICRAL_2 = Carrier(
    id="sicral-2",
    name="SICRAL 2",
    operator="Ministry of Defence of Italy, with the French DGA",
    kind=CarrierKind.GEO,
    jurisdiction="IT",
    landing_countries=("IT",),
    price=None,
    source="share 62 % Italy, 38 % France, built and operated with Telespazio: Telespazio statement of April 2015 (difesaonline.it)",
)

FIBRE = Carrier(
    id="fibre",
    name="Terrestrial fibre",
    operator="any Italian provider",
    kind=CarrierKind.FIBRE,
    jurisdiction="IT",
    landing_countries=("IT",),
    price=None,
    source="generic: a fibre line at the place, led to the nearest point of presence; no operator is meant",
)

CARRIERS: tuple[Carrier, ...] = (STARLINK, SICRAL_2, FIBRE)


def carrier(carrier_id: str) -> Carrier:
    """The carrier with this id; raises `LocalError` that lists the known ones."""
    for known in CARRIERS:
        if known.id == carrier_id:
            return known
    raise LocalError(f"unknown carrier {carrier_id!r}: use one of {', '.join(known.id for known in CARRIERS)}")
