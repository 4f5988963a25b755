"""On whom an alternative depends, and what is left of it when one of them withdraws or something breaks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from tramontana.planning.estimate import Source
from tramontana.planning.sky import SkyDesign


@dataclass(frozen=True, slots=True)
class Party:
    """A company or an agency, and whose law it is under (ISO 3166-1 alpha-2); several countries where all of them must agree."""

    name: str
    countries: tuple[str, ...]
    sources: tuple[Source, ...]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Dependence:
    """None: nobody is known, or there is no such part."""

    operator: Party | None = None
    factory: Party | None = None
    launch: Party | None = None

    def roles(self) -> Iterator[tuple[str, Party]]:
        """Those that are known, by role."""
        for role in ("operator", "factory", "launch"):
            party = getattr(self, role)
            if party is not None:
                yield role, party


@dataclass(frozen=True, slots=True)
class Serving:
    """A sky, and the years of the study in which it serves, both included."""

    sky: SkyDesign
    first: int
    last: int
    dependence: Dependence = Dependence()
    lifetime_years: float | None = None
    """Of a satellite; needed where its launches may end."""


@dataclass(frozen=True, slots=True)
class Loss:
    """One thing that goes wrong. Who withdraws is named; gateways, points of presence and planes are what breaks."""

    id: str
    title: str
    operator: str | None = None
    country: str | None = None
    """Its operators stop, its gateways and points of presence close, and nothing is built or launched by it for `years`."""
    launch: str | None = None
    """The provider launches nothing for `years`."""
    years: float = 0.0
    gateways: frozenset[str] = frozenset()
    points_of_presence: frozenset[str] = frozenset()
    """Themselves, or the cables to them."""
    planes: int = 0
    """Of each sky, those that served most."""


def left_after(loss: Loss, servings: Iterable[Serving]) -> list[Serving]:
    """What still serves."""
    return [left for one in servings if (left := _left(loss, one)) is not None]


def _left(loss: Loss, one: Serving) -> Serving | None:
    stops = one.dependence.operator
    if stops is not None and ((loss.operator is not None and stops.name == loss.operator) or loss.country in stops.countries):
        return None
    gone = one.sky.without
    sky = replace(
        one.sky,
        without=replace(
            gone,
            gateways=gone.gateways | loss.gateways,
            points_of_presence=gone.points_of_presence | loss.points_of_presence,
            countries=gone.countries | ({loss.country} if loss.country is not None else frozenset()),
            planes=gone.planes + loss.planes,
        ),
    )
    if not sky.can_land():
        return None
    if not renewal_ends(loss, one.dependence):
        return replace(one, sky=sky)
    if one.first > 1:  # not launched yet: it comes later
        first = one.first + math.ceil(loss.years)
        return replace(one, sky=sky, first=first) if first <= one.last else None
    if one.lifetime_years is None:
        raise ValueError("a sky whose launches may end needs the lifetime of its satellites")
    died = min(1.0, loss.years / one.lifetime_years)
    return None if died >= 1.0 else replace(one, sky=replace(sky, without=replace(sky.without, satellites=died)))


def renewal_ends(loss: Loss, dependence: Dependence) -> bool:
    """Whether nothing new reaches orbit: the launch provider, or the country of factory or launch, is lost."""
    launch = dependence.launch
    if loss.launch is not None and launch is not None and launch.name == loss.launch:
        return True
    return any(party is not None and loss.country in party.countries for party in (dependence.factory, launch))
