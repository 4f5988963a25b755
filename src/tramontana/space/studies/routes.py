"""Routes over time: the way that `routing.Router` finds from each site at each instant, and what a policy costs."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from tramontana.space.fleet import Fleet, Floats
from tramontana.space.ground import Ground, Place, PointOfPresence
from tramontana.space.routing.failures import NOTHING, Failures
from tramontana.space.routing.options import RouterOptions
from tramontana.space.routing.policy import ANYTHING, Policy
from tramontana.space.routing.router import Router
from tramontana.space.routing.routes import NoRoute, Route
from tramontana.space.studies.instants import Instants
from tramontana.space.studies.sites import Sites


@dataclass(frozen=True, eq=False)
class RouteSummary:
    """Statistics of each site over its instants, (P,); NaN where there is no route at any instant."""

    routed_share: Floats
    delay_median_s: Floats
    delay_p95_s: Floats
    satellites_median: Floats
    bent_pipe_share: Floats
    """Of the routes found."""
    policy_cost_median_s: Floats
    policy_cost_greatest_s: Floats
    forbidden_share: Floats
    """Of all instants: a route exists, but the policy forbids every one."""
    landed: tuple[str, ...]
    """Countries landed in at any instant, the most frequent first."""


Answers = tuple[tuple[Route | NoRoute, ...], ...]
"""One row for each instant, one answer for each site."""


@dataclass(frozen=True, eq=False)
class FindRoutes:
    """The work of one piece of time, picklable: the shortest allowed route of every site at every instant."""

    fleet: Fleet
    ground: Ground
    sites: Sites
    destination: Place | PointOfPresence | None = None
    """None: whatever point of presence the best gateway hands over to."""
    policy: Policy = ANYTHING
    failures: Failures = NOTHING
    options: RouterOptions = field(default_factory=RouterOptions)

    def __call__(self, instants: Instants) -> Answers:
        router = Router(self.fleet, self.ground, self.options)
        return tuple(
            tuple(
                router.route(self.sites.place(site, at), self.destination, at, policy=self.policy, failures=self.failures)
                for site in range(len(self.sites))
            )
            for at in instants.times_unix_s.tolist()
        )


def join(pieces: list[Answers]) -> Answers:
    """Pieces of time in order as one."""
    return tuple(row for piece in pieces for row in piece)


def summarise(answers: Answers) -> RouteSummary:
    """Statistics over the instants."""
    rows: list[tuple[float, ...]] = []
    landed: list[str] = []
    for column in zip(*answers, strict=True):
        routes = [answer for answer in column if isinstance(answer, Route)]
        forbidden = sum(isinstance(answer, NoRoute) and answer.unconstrained_delay_s is not None for answer in column)
        countries = [country for route in routes for country in route.landed_countries]
        landed.append(" ".join(sorted(set(countries), key=lambda country: (-countries.count(country), country))))
        delay, cost = [r.delay_s for r in routes], [r.policy_cost_s for r in routes]
        found = (
            (
                *np.percentile(delay, [50, 95]).tolist(),
                float(np.median([len(r.satellites) for r in routes])),
                sum(r.is_bent_pipe for r in routes) / len(routes),
                float(np.median(cost)),
                max(cost),
            )
            if routes
            else (np.nan,) * 6
        )
        rows.append((len(routes) / len(column), *found, forbidden / len(column)))
    return RouteSummary(*np.array(rows, dtype=np.float64).T, landed=tuple(landed))  # type: ignore[misc]
