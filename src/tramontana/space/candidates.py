"""Who could carry a place in a slot, with which probability, and what each would mean: what a forecast is made of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tramontana.space.fleet import Floats
from tramontana.space.profiles import PathModel
from tramontana.space.serving import STAY_PROBABILITY, log_weight, slot_start_unix_s
from tramontana.space.visibility import SPEED_OF_LIGHT_M_PER_S, look_angles

Ints = NDArray[np.intp]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Candidates:
    """C satellites that could carry the place in one slot, at T instants of it. C is 0 without coverage.

    `satellite`, `gateway`, `chance` are (C,), ascending by satellite; the rest (T, C).
    """

    slot: int
    satellite: Ints
    gateway: Ints
    """The gateway at which each would land if it stood in no rain."""
    landings: Bools
    """(C, G) all gateways at which it could land by bent pipe."""
    fresh: Floats
    """(C,) probability that a fresh choice takes it; sums to 1."""
    delay_s: Floats
    elevation_deg: Floats
    range_m: Floats
    hidden: Bools
    """Behind an obstacle."""
    position_m: Floats
    """(T, C, 3) ITRS."""

    @property
    def count(self) -> int:
        return int(self.satellite.shape[0])

    @property
    def by_laser(self) -> bool:
        """Whether the place is carried on by lasers, for want of a gateway in view."""
        return self.count > 0 and not bool(self.landings.any())

    def gateway_view(self, model: PathModel, index: int) -> tuple[Floats, Floats]:
        """Elevation and range, (T, C) each, of the candidates over a gateway."""
        site = model.ground.gateways[index]
        elevation, _, range_m = look_angles(site.latitude_deg, site.longitude_deg, 0.0, self.position_m)
        return elevation, range_m

    def after(self, earlier: Candidates, chance: Floats) -> Floats:
        """(C,) probability that each serves, given the probabilities in the slot before.

        A slot keeps the satellite before it with `STAY_PROBABILITY` while that is still eligible, else the choice is fresh. (The rare
        slots in which it is always fresh are not told apart.)
        """
        kept = np.zeros(self.count)
        _, here, there = np.intersect1d(self.satellite, earlier.satellite, return_indices=True)
        kept[here] = STAY_PROBABILITY * chance[there]
        return np.asarray(kept + (1.0 - float(np.sum(kept))) * self.fresh)

    def change_probability(self, earlier: Candidates, chance: Floats) -> tuple[float, float]:
        """Probability that satellite or gateway differ from the slot before, and that the gateway does."""
        if not self.count or not earlier.count:
            return float(self.count != earlier.count), 0.0
        _, here, there = np.intersect1d(self.satellite, earlier.satellite, return_indices=True)
        lands_as_before = self.gateway[here] == earlier.gateway[there]
        again = STAY_PROBABILITY + (1.0 - STAY_PROBABILITY) * self.fresh[here]
        same_ends = float(np.sum(chance[there] * again * lands_as_before))
        # The gateway of a satellite that stays is its own; that of a fresh choice is independent of the one before.
        anew = chance.copy()
        anew[there] *= 1.0 - STAY_PROBABILITY
        fresh_at = np.bincount(self.gateway, self.fresh, minlength=int(earlier.gateway.max()) + 1)
        same_gateway = STAY_PROBABILITY * float(np.sum(chance[there] * lands_as_before)) + float(anew @ fresh_at[earlier.gateway])
        return _share(1.0 - same_ends), _share(1.0 - same_gateway)


def candidates(model: PathModel, slot: int, times_unix_s: Floats) -> Candidates:
    """Everybody that could carry the model's place in a slot; bent pipes if there is one, else over lasers."""
    reach, place = model.reach, model.place
    satellite = reach.eligible(place, slot)
    gateways = len(model.ground.gateways)
    middle = np.array([slot_start_unix_s(slot + 1) + slot_start_unix_s(slot)]) / 2
    if satellite.shape[0]:
        landing_s = reach.landing_s(satellite, slot)
        gateway = np.argmin(landing_s, axis=0)
        landings = np.isfinite(landing_s).T
        rest_s: Floats | None = None
    else:
        satellite, rest_s, gateway = reach.eligible_by_laser(place, slot)
        landings = np.zeros((satellite.shape[0], gateways), dtype=np.bool_)
    positions = model.propagator.positions_itrs_m(np.append(times_unix_s, middle), satellite)
    elevation, azimuth, user_m = look_angles(place.latitude_deg, place.longitude_deg, place.height_m, positions)
    weight = np.exp(log_weight(elevation[-1], np.linalg.norm(positions[-1], axis=-1)))
    delay_s = user_m[:-1] / SPEED_OF_LIGHT_M_PER_S
    if rest_s is None:
        for index in np.unique(gateway).tolist():
            at, site = gateway == index, model.ground.gateways[index]
            _, _, range_m = look_angles(site.latitude_deg, site.longitude_deg, 0.0, positions[:-1, at])
            delay_s[:, at] += range_m / SPEED_OF_LIGHT_M_PER_S + model.fixed_delay_s[index]
    else:
        delay_s += rest_s + model.parameters.access_one_way_s.value
    return Candidates(
        slot=slot,
        satellite=satellite,
        gateway=gateway,
        landings=landings,
        fresh=weight / np.sum(weight) if satellite.shape[0] else weight,
        delay_s=delay_s,
        elevation_deg=elevation[:-1],
        range_m=user_m[:-1],
        hidden=model.hidden(azimuth[:-1], elevation[:-1]),
        position_m=positions[:-1],
    )


def _share(probability: float) -> float:
    """Within 0 and 1, whatever rounding did."""
    return min(1.0, max(0.0, probability))
