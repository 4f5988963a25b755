"""The figures of an alternative beyond its cost: what the simulation gave, what that costs, and what is lost when something goes wrong.

Each is part of the tree of figures: `plan explain` shows it with its formula, down to the simulation or the input that it rests on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tramontana.planning.busy_hour import CASES, mean_carried
from tramontana.planning.figure import Figure, Simulated, constant
from tramontana.planning.losses import Loss, Serving, left_after
from tramontana.planning.measures import BUSY_STEP_S, LEAST_BPS, Demand, Measures, MeasureSky, Service, measure, weighted
from tramontana.planning.sky import SkyDesign
from tramontana.planning.study import Alternative, Study
from tramontana.planning.units import unit

Runner: TypeAlias = Callable[[MeasureSky, Sequence[SkyDesign]], list[Measures]]

WHOLE: Final = ("whole", "")
AT_HOME: Final = ("at home", "")
"""Landing at gateways of the study's country only."""
WITH_LASERS: Final = ("with lasers", "")

LASERS: Final = ", lasers where no gateway is in view"
"""What the names of figures end with that count traffic passed on by laser (laser_service.py)."""

AVAILABLE: Final = "available when complete"
OVER_YEARS: Final = "available over all years"
MEDIAN: Final = "round trip, median"
SLOW: Final = "round trip, 99th percentile"
CARRIED: Final = "share of the demand carried, likely"
RATE: Final = "carried at the busy hour"
BY_DAY: Final = "present value by day of service"
BY_RATE: Final = "present value by Mbit/s at the busy hour and year"


@dataclass(frozen=True, slots=True)
class Found:
    """What the skies of one alternative give, whole, landing at home only, and after each loss; None: nothing serves any more."""

    whole: Service
    at_home: Service | None
    after: Mapping[str, Service | None]
    with_lasers: Service | None
    """Whole, with lasers; None where no sky of it has any."""
    after_with_lasers: Mapping[str, Service | None]
    """Empty where no sky of it has lasers."""


def measure_all(study: Study, run: Runner) -> dict[str, Found]:
    """By alternative; one without a sky is left out. Every sky in every state is measured once, all in one run."""
    if study.demand is None:
        return {}
    country = study.head.country
    asked: dict[tuple[str, tuple[str, str]], Sequence[Serving]] = {}
    for one in study.alternatives:
        if not one.skies:
            continue
        asked[one.id, WHOLE] = one.skies
        if country is not None:
            home = [replace(serving, sky=replace(serving.sky, landing_countries=(country,))) for serving in one.skies]
            asked[one.id, AT_HOME] = [serving for serving in home if serving.sky.can_land()]
        for loss in study.losses:
            asked[one.id, ("loss", loss.id)] = left_after(loss, one.skies)
        if one.lasers:
            lit = [replace(serving, sky=replace(serving.sky, lasers=serving.sky in one.lasers)) for serving in one.skies]
            asked[one.id, WITH_LASERS] = lit
            for loss in study.losses:
                asked[one.id, ("loss with lasers", loss.id)] = left_after(loss, lit)
    got = measure(asked, study.demand, study.head.years, run)
    return {
        one.id: Found(
            got[one.id, WHOLE],
            got.get((one.id, AT_HOME)),
            {loss.id: got.get((one.id, ("loss", loss.id))) for loss in study.losses},
            got.get((one.id, WITH_LASERS)),
            {loss.id: got.get((one.id, ("loss with lasers", loss.id))) for loss in study.losses if one.lasers},
        )
        for one in study.alternatives
        if one.skies
    }


def measured_figures(study: Study, one: Alternative, found: Found) -> list[Figure]:
    """All figures of an alternative that rest on the simulation, in the order in which a report shows them. Unknown ones are left out."""
    if study.demand is None:
        return []
    figures = _Figures(study, study.demand, one, found)
    figures.service(found.whole, "")
    figures.home()
    figures.busy_hour()
    figures.worth()
    if found.with_lasers is not None:
        figures.service(found.with_lasers, LASERS)
    for loss in study.losses:
        figures.lost(loss, found.after[loss.id])
        if found.with_lasers is not None:
            figures.lost(loss, found.after_with_lasers[loss.id], LASERS)
    return list(figures.known.values())


def carried_shares(found: Service, busy_bps: NDArray[np.float64] | None) -> tuple[float, ...]:
    """Of the whole demand, by case (`CASES`), the mean over time; NaN where not known."""
    if busy_bps is None:
        return (math.nan,) * len(CASES)
    return mean_carried(found.complete.carried, busy_bps)


def saturated(found: Service, case: str = "likely") -> NDArray[np.float64]:
    """(P,) share of the time in which a place gets less than it asks for, in one of `CASES`; NaN where not known."""
    share = found.complete.carried[CASES.index(case)]
    return np.where(np.isnan(share).any(axis=0), np.nan, (share < 1.0).mean(axis=0))


@dataclass(frozen=True, slots=True)
class _Figures:
    study: Study
    demand: Demand
    one: Alternative
    found: Found
    known: dict[str, Figure] = field(default_factory=dict)
    """By name, in order."""

    def simulated(self, name: str, value: float, of: str, method: str) -> None:
        """Left out where the simulation gave nothing."""
        if not math.isnan(value):
            self.known[name] = Simulated(name, value, of, method)

    def difference(self, name: str, more: str, less: str) -> None:
        if more in self.known and less in self.known:
            self.known[name] = (self.known[more] - self.known[less]).called(name)

    def service(self, found: Service, named: str) -> None:
        """Availability and delay; ` named` says under which circumstance."""
        shares, hours = self.demand.shares, MeasureSky(self.demand).duration_s / 3600
        every = f"mean over the places by their shares, over {hours:g} h of sky in slots of 15 s"
        if LASERS in named:
            every += ", a slot without a direct link over several satellites by the shortest route"
        rain = f"{every}, with a year's rain (ITU-R P.618) and handovers, at {LEAST_BPS / 1e6:g} Mbit/s or more"
        trip = f"{every}, to the point of presence and back"
        complete = found.complete
        self.simulated(AVAILABLE + named, weighted(complete.available, shares), "", rain)
        over = weighted(found.available_over_years, shares)
        self.simulated(OVER_YEARS + named, over, "", f"{rain}; a year of the study without a sky counts as none")
        self.simulated(MEDIAN + named, weighted(complete.round_trip_s, shares) * 1e3, "ms", trip)
        self.simulated(SLOW + named, weighted(complete.slow_round_trip_s, shares) * 1e3, "ms", trip)

    def home(self) -> None:
        country = self.study.head.country
        if country is None:
            return
        share = weighted(self.found.whole.complete.at_home, self.demand.shares)
        method = f"share of the served time with a gateway in {country}, mean over the places by their shares"
        self.simulated(f"traffic that lands in {country}", share, "", method)
        if self.found.at_home is None:
            return
        only = f", landing in {country} only"
        self.service(self.found.at_home, only)
        for kind in (MEDIAN, SLOW):
            self.difference(f"{kind}: what landing in {country} only adds", kind + only, kind)

    def busy_hour(self) -> None:
        if self.study.busy is None:
            return
        self.known[self.study.busy.words] = self.study.busy
        self.carried(self.found.whole, CASES, "")
        if CARRIED in self.known:
            self.known[RATE] = (self.study.busy * self.known[CARRIED]).called(RATE)

    def carried(self, found: Service, cases: Sequence[str], named: str) -> None:
        words = {"cautious": ("highest", "fewest and slowest"), "likely": ("likely", "likely"), "hopeful": ("lowest", "most and fastest")}
        for case, share in zip(CASES, carried_shares(found, self.demand.busy_bps), strict=True):
            if case in cases:
                demand, beams = words[case]
                method = f"mean over an hour of beam plans {BUSY_STEP_S / 60:g} min apart (docs/beams.md); {demand} demand, {beams} beams"
                self.simulated(f"share of the demand carried, {case}{named}", share, "", method)

    def worth(self) -> None:
        """What a day of service and a Mbit/s cost; none where there is no service to divide by."""
        money, years = self.study.head.currency, constant(float(self.study.head.years), "year", "years of the study")
        worth = self.one.costs.present_value
        if _is_some(self.known.get(OVER_YEARS)):
            days = (self.known[OVER_YEARS] * years).to(unit("day")).called("days of service over the study")
            self.known[days.words] = days
            self.known[BY_DAY] = (worth / days).to(unit(f"{money}/day")).called(BY_DAY)
        if _is_some(self.known.get(CARRIED)):
            self.known[BY_RATE] = (worth / self.known[RATE] / years).to(unit(f"{money}/(Mbit/s)/year")).called(BY_RATE)

    def lost(self, loss: Loss, left: Service | None, lasers: str = "") -> None:
        """lasers: `LASERS` for what is left with them, beside what is whole with them; what beams carry is known of direct links alone."""
        named = f"{lasers}, after: {loss.title}"
        if left is None:
            for kind in (AVAILABLE, OVER_YEARS, *([CARRIED] if CARRIED in self.known and not lasers else [])):
                self.simulated(kind + named, 0.0, "", "nothing serves any more")
        else:
            self.service(left, named)
            if not lasers:
                self.carried(left, ("likely",), named)
        for kind in (AVAILABLE, OVER_YEARS, CARRIED):
            self.difference(f"{kind}: lost{named}", kind + lasers, kind + named)
        self.difference(f"{MEDIAN}: added{named}", MEDIAN + named, MEDIAN + lasers)


def _is_some(figure: Figure | None) -> bool:
    return figure is not None and float(figure.compute().item()) > 0
