"""The carriers that Tramontana knows from the start. Real operators, public facts; what their paths do here is simulated."""

from __future__ import annotations

from tramontana.carriers.carrier import Carrier, CarrierKind, Price
from tramontana.errors import LocalError
from tramontana.space.fleet import Fleet
from tramontana.space.ground import mediterranean

_GROUND = tuple(dict.fromkeys(gateway.country for gateway in mediterranean().gateways))
_ASSUMED_GROUND = "assumption: it lands at Starlink's gateways of tramontana.space.ground, its own are not modelled"

STARLINK = Carrier(
    id="starlink",
    name="Starlink",
    operator="SpaceX",
    kind=CarrierKind.LEO,
    jurisdiction="US",
    landing_countries=_GROUND,
    price=Price(
        low=287.0, high=None, currency="EUR", source="Mobile Priority plan in France, starting price: boote.com article 46899, early 2025"
    ),
    source="licence: FCC 21-48; gateways: tramontana.space.ground",
)

ONEWEB = Carrier(
    id="oneweb",
    name="OneWeb",
    operator="Eutelsat",
    kind=CarrierKind.LEO,
    jurisdiction="GB",
    landing_countries=_GROUND,
    price=None,
    source=f"system filed by the United Kingdom, access to the market of the United States: FCC 17-77; {_ASSUMED_GROUND}",
)

KUIPER = Carrier(
    id="kuiper",
    name="Amazon Kuiper",
    operator="Amazon",
    kind=CarrierKind.LEO,
    jurisdiction="US",
    landing_countries=_GROUND,
    price=None,
    source=f"licence: FCC 20-102; {_ASSUMED_GROUND}",
)

IRIDIUM = Carrier(
    id="iridium",
    name="Iridium",
    operator="Iridium Communications",
    kind=CarrierKind.LEO,
    jurisdiction="US",
    landing_countries=_GROUND,
    price=None,
    source=f"company of McLean, Virginia, United States; {_ASSUMED_GROUND}",
)

IRIS2 = Carrier(
    id="iris2",
    name="IRIS²",
    operator="SpaceRISE",
    kind=CarrierKind.LEO,
    jurisdiction="EU",
    landing_countries=_GROUND,
    price=None,
    source=(
        "programme of the European Union, service announced for 2030 (advanced-television.com, 5 January 2026); EU stands for its law, "
        f"under which contracts will name a country; {_ASSUMED_GROUND}"
    ),
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

O3B_MPOWER = Carrier(
    id="o3b-mpower",
    name="O3b mPOWER",
    operator="SES",
    kind=CarrierKind.MEO,
    jurisdiction="LU",
    landing_countries=("GR",),
    price=None,
    source=(
        "company of Betzdorf, Luxembourg; ground station at Thermopylae, Greece, run by OTE: paperjam.lu, satellitetoday.com, April 2021; "
        "other stations are not in reach of a satellite that serves the Mediterranean here"
    ),
)

MOBILE_4G = Carrier(
    id="4g",
    name="4G",
    operator="any Italian mobile operator",
    kind=CarrierKind.MOBILE,
    jurisdiction="IT",
    landing_countries=("IT",),
    price=None,
    source="generic: a 4G router in coverage, led to the nearest point of presence; no operator is meant",
)

KNOWN: tuple[Carrier, ...] = (STARLINK, ONEWEB, KUIPER, IRIDIUM, IRIS2, O3B_MPOWER, SICRAL_2, FIBRE, MOBILE_4G)
"""All of them. A low-orbit one can be used only while its fleet is loaded: see `offered`."""

CARRIERS: tuple[Carrier, ...] = (STARLINK, SICRAL_2, FIBRE)
"""What is offered over the built-in constellation."""

_NAMES_BEGIN = {
    "STARLINK": STARLINK,
    "GEN1 AS FILED": STARLINK,
    "ONEWEB": ONEWEB,
    "KUIPER": KUIPER,
    "IRIDIUM": IRIDIUM,
    "IRIS2": IRIS2,
}


def carrier(carrier_id: str) -> Carrier:
    """The carrier with this id; raises `LocalError` that lists the known ones."""
    for known in KNOWN:
        if known.id == carrier_id:
            return known
    raise LocalError(f"unknown carrier {carrier_id!r}: use one of {', '.join(known.id for known in KNOWN)}")


def carrier_of(fleet: Fleet) -> Carrier:
    """Whose fleet this is, told from the names of more than half of its satellites.

    A fleet of nobody known, such as a national constellation on paper, is a carrier of its own under its label: id ``loaded-fleet``, under
    no known jurisdiction, so that a policy that asks for one forbids it.
    """
    names = [name.upper() for name in fleet.names]
    for prefix, known in _NAMES_BEGIN.items():
        if 2 * sum(name.startswith(prefix) for name in names) > len(names):
            return known
    return Carrier(
        id="loaded-fleet",
        name=fleet.label,
        operator="not known",
        kind=CarrierKind.LEO,
        jurisdiction="",
        landing_countries=_GROUND,
        price=None,
        source=f"{fleet.source}; {_ASSUMED_GROUND}",
    )


def offered(fleet: Fleet) -> tuple[Carrier, ...]:
    """What can be used while this fleet is loaded: its own carrier first, then those that need none."""
    return (carrier_of(fleet), SICRAL_2, FIBRE)
