"""How often a path holds: the user link, the feeder link, and a second gateway when the first is in the rain."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tramontana.space.links.attenuation import LinkError, availability
from tramontana.space.links.budget import LinkBudget, margin_db
from tramontana.space.links.climate import RainClimate
from tramontana.space.links.normal import deviate_of, joint_upper_tail
from tramontana.space.links.series import rain_correlation
from tramontana.space.visibility import great_circle_m

Floats = NDArray[np.float64]


def link_availability(
    budget: LinkBudget, climate: RainClimate, elevation_deg: ArrayLike, range_m: ArrayLike, least_bps: float = 1.0
) -> Floats:
    """The share of an average year, 0–1, in which one carrier carries at least `least_bps`; places, elevations and ranges broadcast."""
    return availability(climate, budget.link, elevation_deg, margin_db(budget, elevation_deg, range_m, least_bps))


def path_availability(user_availability: ArrayLike, feeder_availability: ArrayLike) -> Floats:
    """User and feeder link both hold. They are taken as independent: true beyond some 200 km (`rain_correlation`), cautious below."""
    user, feeder = np.asarray(user_availability, dtype=np.float64), np.asarray(feeder_availability, dtype=np.float64)
    if not (np.all((user >= 0) & (user <= 1)) and np.all((feeder >= 0) & (feeder <= 1))):
        raise LinkError("availabilities must lie between 0 and 1")
    return np.asarray(user * feeder)


def diverse_availability(first: RainClimate, first_availability: float, second: RainClimate, second_availability: float) -> float:
    """The share of a year in which at least one of two sites holds, when either can serve (site diversity), 0–1.

    P.618-13 §2.2.4.1: rain at both sites, then attenuation beyond both margins given rain, each jointly normal with a correlation that
    falls with distance. The conditional probabilities are the sites' own outages over their probabilities of rain, where the
    Recommendation fits a log-normal; a site that is out more often than it rains counts as always out while it rains. Two outages
    rarer than 0.001 % cannot be told: the answer is then a bound.
    """
    for climate in (first, second):
        if climate.shape != ():
            raise LinkError(f"site diversity is between two single places: a climate has shape {climate.shape}, index it first")
    outages, rains = (1 - first_availability, 1 - second_availability), (float(first.rain_probability), float(second.rain_probability))
    if not all(0 <= outage <= 1 for outage in outages):
        raise LinkError("availabilities must lie between 0 and 1")
    if min(rains) == 0:  # a desert without rain on the map: outages are those of gas and cloud, taken as independent
        return 1 - outages[0] * outages[1]
    distance_m = great_circle_m(
        float(first.latitude_deg), float(first.longitude_deg), float(second.latitude_deg), float(second.longitude_deg)
    )
    both_rain = joint_upper_tail(deviate_of(rains[0]), deviate_of(rains[1]), _rain_occurrence_correlation(distance_m))
    limits = [deviate_of(min(outage / rain, 1.0)) for outage, rain in zip(outages, rains, strict=True)]
    both_out = both_rain * joint_upper_tail(limits[0], limits[1], rain_correlation(distance_m))
    return 1 - min(max(both_out, outages[0] * outages[1]), *outages)


def _rain_occurrence_correlation(distance_m: float) -> float:
    """How the occurrence of rain at two places is correlated (P.618-13 §2.2.4.1)."""
    km = distance_m / 1000
    return 0.7 * math.exp(-km / 60) + 0.3 * math.exp(-((km / 700) ** 2))
