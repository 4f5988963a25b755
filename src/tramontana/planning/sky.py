"""A sky as a study describes it: satellites, the ground that they may land on, beams, and what has been taken away from it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tramontana.errors import LocalError
from tramontana.planning.busy_hour import Beams
from tramontana.space.designs import design
from tramontana.space.fleet import Fleet
from tramontana.space.ground import Gateway, Ground, PointOfPresence, mediterranean
from tramontana.space.shells import Shell, generate

_ORDER_OF_DEATH_SEED: Final = 7
"""Satellites die in one fixed random order: of more that die, the first ones are the same, so more never leaves better service."""


@dataclass(frozen=True, slots=True)
class Without:
    """What is not there any more. Satellites: that share of the fleet, spread over it at random; planes: those that served most."""

    gateways: frozenset[str] = frozenset()
    points_of_presence: frozenset[str] = frozenset()
    countries: frozenset[str] = frozenset()
    """Whose gateways and points of presence are closed."""
    planes: int = 0
    satellites: float = 0.0


NOTHING: Final = Without()


@dataclass(frozen=True, slots=True)
class SkyDesign:
    """Satellites by the id of a built-in design, or shells of one's own; and the countries whose gateways may be used (none named: all)."""

    design_id: str | None
    shells: tuple[Shell, ...]
    landing_countries: tuple[str, ...]
    gateways: tuple[Gateway, ...] = ()
    """The study's own, beside the built-in ones."""
    points_of_presence: tuple[PointOfPresence, ...] = ()
    beams: Beams | None = None
    """None: what it carries is not known."""
    without: Without = NOTHING
    lasers: bool = False
    """Whether satellites pass traffic on to each other where none in view of a place sees a gateway (laser_service.py)."""

    def whole_fleet(self) -> Fleet:
        """As designed, with those that are gone: lasers are wired by it, and the neighbours of a gap keep theirs. Raises `LocalError`."""
        if self.design_id is not None:
            return design(self.design_id).fleet()
        return generate(self.shells, label="as the study designs it", source="the study", name_prefix="NATIONAL")

    def fleet(self) -> Fleet:
        """Without the satellites that are gone; the planes are taken out where it is known which served. Raises `LocalError`."""
        whole = self.whole_fleet()
        return whole.take(self.left()) if self.without.satellites else whole

    def planes(self) -> NDArray[np.int64]:
        """(N,) the plane of each satellite of `fleet`, counted through all shells."""
        shells = self.shells if self.design_id is None else design(self.design_id).shells
        each = [one.satellites_per_plane for one in shells for _ in range(one.planes)]
        planes = np.repeat(np.arange(len(each)), each)
        return planes[self.left()] if self.without.satellites else planes

    def left(self) -> NDArray[np.intp]:
        """(N,) indices in `whole_fleet` of the satellites of `fleet`."""
        shells = self.shells if self.design_id is None else design(self.design_id).shells
        count = sum(one.satellite_count for one in shells)
        order = np.random.default_rng(_ORDER_OF_DEATH_SEED).permutation(count)
        gone = min(round(self.without.satellites * count), count - 1)  # a fleet of none is no fleet: the last one stays
        return np.sort(order[gone:])

    def ground(self) -> Ground:
        """Raises `LocalError` where no gateway, or nothing to hand over to, is left."""
        known, gone = mediterranean(), self.without
        gateways = (*known.gateways, *self.gateways)
        standing = tuple(one for one in gateways if one.id not in gone.gateways and one.country not in gone.countries)
        landing = tuple(one for one in standing if self._may_land(one.country))
        points = tuple(
            one
            for one in (*known.points_of_presence, *self.points_of_presence)
            if one.id not in gone.points_of_presence and one.country not in gone.countries
        )
        if not landing or not points:
            countries = ", ".join(sorted({one.country for one in standing}))
            raise LocalError(f"no gateway stands in {', '.join(self.landing_countries)}; there are gateways in {countries}")
        return Ground(known.places, landing, tuple(one for one in points if self._may_land(one.country)) or points)

    def can_land(self) -> bool:
        """Whether any gateway is left."""
        try:
            self.ground()
        except LocalError:
            return False
        return True

    def check(self, gateways: Collection[str] = (), points_of_presence: Collection[str] = ()) -> None:
        """Raise `LocalError` for a name that the ground does not have: a misspelt loss must not pass as none."""
        known = mediterranean()
        for kind, asked, rows in (
            ("gateway", gateways, (*known.gateways, *self.gateways)),
            ("point of presence", points_of_presence, (*known.points_of_presence, *self.points_of_presence)),
        ):
            names = [row.id for row in rows]
            if unknown := sorted(set(asked) - set(names)):
                raise LocalError(f"there is no {kind} {unknown[0]}; use one of {', '.join(names)}")

    def _may_land(self, country: str) -> bool:
        return not self.landing_countries or country in self.landing_countries
