"""Availability: the share of a year in which a path holds, from coverage, rain on both hops, and handovers.

Rain: ITU-R statistics of an average year at the site and at its gateway (`space.links`), weighted over the elevations at which the site is
served. On one hop both directions stand in the same rain, so the worse one counts; the two hops are independent. A gateway in the rain is
not left for another one: cautious.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tramontana.space.fleet import Floats
from tramontana.space.ground import Ground
from tramontana.space.links import (
    KA_FEEDER_DOWN,
    KA_FEEDER_UP,
    KU_USER_DOWN,
    KU_USER_UP,
    LinkBudget,
    RainClimate,
    attenuation_db,
    capacity_bps,
    link_availability,
    slant_range_m,
)
from tramontana.space.parameters import PathParameters
from tramontana.space.serving import SLOT_S
from tramontana.space.studies.latency import NOBODY, Served, handovers
from tramontana.space.studies.sites import Sites
from tramontana.space.visibility import EARTH_MEAN_RADIUS_M

USER_HOP = (KU_USER_DOWN, KU_USER_UP)
FEEDER_HOP = (KA_FEEDER_DOWN, KA_FEEDER_UP)
_ELEVATIONS_DEG = np.arange(20.0, 91.0, 5.0)  # nodes; between them availability is linear
HOURS_A_YEAR = 8766.0


@dataclass(frozen=True, eq=False)
class Availability:
    """Shares of time, (P,), 0 to 1; NaN where a site is never served."""

    served: Floats
    user_hop: Floats
    """The user link holds in the rain, while served."""
    feeder_hop: Floats
    handover: Floats
    """Not in the outage of a handover."""
    all: Floats
    attenuation_db: Floats
    """On the user downlink at the median serving elevation, exceeded for the rest of the time asked for."""
    carrier_down_bps: Floats
    """What one user carrier carries through that attenuation."""


def availability_of(
    served: Served, sites: Sites, ground: Ground, parameters: PathParameters, *, least_bps: float, percent: float
) -> Availability:
    """The parts of availability and their product.

    least_bps: what a carrier must still carry on every link. percent: of the time, for the attenuation. Raises `LinkError` for a rate that
    no step of coding carries.
    """
    altitude_m = _altitude_m(served)
    climate = RainClimate.at(sites.latitude_deg, sites.longitude_deg, np.clip(sites.height_m, -500, 20_000))
    gateways = RainClimate.at(*(np.array([getattr(g, axis) for g in ground.gateways]) for axis in ("latitude_deg", "longitude_deg")))
    user, feeder = (_hop(hop, places, altitude_m, least_bps) for hop, places in ((USER_HOP, climate), (FEEDER_HOP, gateways)))
    covered = served.satellite != NOBODY
    user_hop, feeder_hop, attenuation, rate = (np.full(len(sites), np.nan) for _ in range(4))
    for site in np.flatnonzero(covered.any(axis=1)).tolist():
        at = covered[site]
        elevation = served.elevation_deg[site, at].astype(np.float64)
        user_hop[site] = np.mean(np.interp(elevation, _ELEVATIONS_DEG, user[site]))
        landing, landing_elevation = served.gateway[site, at], served.gateway_elevation_deg[site, at].astype(np.float64)
        holds = [np.interp(landing_elevation[landing == g], _ELEVATIONS_DEG, feeder[g]) for g in np.unique(landing).tolist()]
        feeder_hop[site] = np.mean(np.concatenate(holds))
        middle = float(np.median(elevation))
        attenuation[site] = attenuation_db(climate[site], KU_USER_DOWN.link, middle, 100 - percent)
        rate[site] = capacity_bps(KU_USER_DOWN, middle, slant_range_m(altitude_m, middle), attenuation[site])
    slots = covered.shape[1]
    outage_s = handovers(served) * parameters.handover_outage_s.value
    handover = 1 - np.minimum(outage_s / (max(slots - 1, 1) * SLOT_S), 1.0)
    share = np.mean(covered, axis=1)
    return Availability(
        served=share,
        user_hop=user_hop,
        feeder_hop=feeder_hop,
        handover=handover,
        all=np.where(share > 0, share * np.nan_to_num(user_hop) * np.nan_to_num(feeder_hop) * handover, 0.0),
        attenuation_db=attenuation,
        carrier_down_bps=rate,
    )


def _altitude_m(served: Served) -> float:
    """Median height of the serving satellites over a sphere, from range and elevation; ranges at other elevations follow from it."""
    known = np.isfinite(served.range_m)
    if not known.any():
        return 550e3  # nothing is served: no figure rests on it
    reach, sine = served.range_m[known].astype(np.float64), np.sin(np.radians(served.elevation_deg[known].astype(np.float64)))
    radius = np.sqrt(EARTH_MEAN_RADIUS_M**2 + reach**2 + 2 * EARTH_MEAN_RADIUS_M * reach * sine)
    return float(np.median(radius) - EARTH_MEAN_RADIUS_M)


def _hop(budgets: tuple[LinkBudget, ...], climate: RainClimate, altitude_m: float, least_bps: float) -> Floats:
    """(P, E) share of a year in which every direction of the hop holds, at the nodes of elevation."""
    range_m = slant_range_m(altitude_m, _ELEVATIONS_DEG)
    rows = [link_availability(budget, climate[:, None], _ELEVATIONS_DEG, range_m, least_bps) for budget in budgets]
    return np.asarray(np.min(rows, axis=0), dtype=np.float64)
