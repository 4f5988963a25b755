"""Link budgets: from a satellite at an elevation and a range, through the weather, to bits per second."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tramontana.space.links.attenuation import LinkError, RainLink
from tramontana.space.links.coding import MODCODS, bits_per_symbol, required_es_n0_db
from tramontana.space.parameters import Parameter
from tramontana.space.visibility import EARTH_MEAN_RADIUS_M, SPEED_OF_LIGHT_M_PER_S

Floats = NDArray[np.float64]

BOLTZMANN_DBW_PER_HZ_K = -228.5991672  # 10 lg 1.380649e-23, exact in the SI
MEDIUM_TEMPERATURE_K = 275.0  # P.618-13 §3: effective temperature of a raining medium
REFERENCE_BANDWIDTH_HZ = 4e3  # in which flux densities below 15 GHz are stated
LARGEST_MARGIN_DB = 100.0
_WORSE_WHEN_HIGH = frozenset({"noise_temperature_k", "losses_db", "implementation_margin_db", "scan_exponent"})
NO_SCAN_LOSS = Parameter(0.0, 0.0, 1.5, "", "a dish: it points, no scan loss")


@dataclass(frozen=True, slots=True)
class LinkBudget:
    """One direction of one radio link, per carrier. Replace a figure with `dataclasses.replace`.

    The gain of the receiving or sending array on the ground falls as the cosine of the angle from its zenith to the power
    `scan_exponent` (0: a dish that points). On a downlink with `ground_flux` the satellite lowers its power to hold that flux density
    at the place, whatever the range.
    """

    name: str
    direction: Literal["down", "up"]
    link: RainLink
    bandwidth_hz: Parameter
    symbols_per_hz: Parameter
    """Useful symbols per second and hertz: roll-off or cyclic prefix, pilots."""
    eirp_dbw: Parameter
    """The most that one carrier gets."""
    receive_gain_dbi: Parameter
    noise_temperature_k: Parameter
    """Of the receiving system under a clear sky."""
    losses_db: Parameter
    """Pointing, polarisation, output back-off beyond the EIRP stated."""
    carrier_to_interference_db: Parameter
    implementation_margin_db: Parameter
    """Distance of the real modem from the ideal thresholds."""
    scan_exponent: Parameter = NO_SCAN_LOSS
    ground_flux_dbw_per_m2_4khz: Parameter | None = None

    def assumptions(self) -> tuple[str, ...]:
        """One line for each figure that nobody published."""
        rows = ((f.name, getattr(self, f.name)) for f in fields(self))
        return tuple(
            f"{self.name}: {name} {p.value:g} {p.unit} ({p.low:g} to {p.high:g}): {p.source}"
            for name, p in rows
            if isinstance(p, Parameter) and p.is_assumption
        )

    def extreme(self, best: bool) -> LinkBudget:
        """Every figure at the better, or worse, end of its range at once: the truth lies between the two."""
        ends: dict[str, Any] = {}
        for f in fields(self):
            figure = getattr(self, f.name)
            if isinstance(figure, Parameter):
                ends[f.name] = replace(figure, value=figure.high if best != (f.name in _WORSE_WHEN_HIGH) else figure.low)
        return replace(self, **ends)

    @property
    def eirp_density_dbw_per_4khz(self) -> float:
        return self.eirp_dbw.value - 10 * math.log10(self.bandwidth_hz.value / REFERENCE_BANDWIDTH_HZ)

    @property
    def top_bps(self) -> float:
        """What the carrier carries at the highest step."""
        return self.bandwidth_hz.value * self.symbols_per_hz.value * MODCODS[-1].bits_per_symbol


def slant_range_m(altitude_m: ArrayLike, elevation_deg: ArrayLike) -> Floats:
    """Range of a satellite at an altitude over a sphere of the mean radius; within 0.4 % of the ellipsoid for low orbits."""
    sin_el = np.sin(np.radians(np.asarray(elevation_deg, dtype=np.float64)))
    radius = EARTH_MEAN_RADIUS_M + np.asarray(altitude_m, dtype=np.float64)
    cos_el_squared = 1 - sin_el**2
    return np.asarray(np.sqrt(radius**2 - EARTH_MEAN_RADIUS_M**2 * cos_el_squared) - EARTH_MEAN_RADIUS_M * sin_el)


def free_space_loss_db(frequency_hz: float, range_m: ArrayLike) -> Floats:
    """20 lg(4πd/λ)."""
    return np.asarray(20 * np.log10(4 * np.pi * _positive("range_m", range_m) * frequency_hz / SPEED_OF_LIGHT_M_PER_S))


def carrier_to_noise_db(budget: LinkBudget, elevation_deg: ArrayLike, range_m: ArrayLike, attenuation_db: ArrayLike) -> Floats:
    """C/(N+I) in the bandwidth of a carrier, dB; the arguments broadcast.

    The attenuation (total, as `attenuation.attenuation_db` gives it) weakens the carrier; on a downlink it also warms the receiver
    (P.618-13 §3) and fades wanted and unwanted satellites alike; on an uplink it leaves the interference from elsewhere as it is.
    """
    elevation = _positive("elevation_deg", elevation_deg)
    fade = np.asarray(attenuation_db, dtype=np.float64)
    if np.any(np.isnan(fade)) or np.any(fade < 0):
        raise LinkError("attenuation_db must be numbers of at least 0")
    distance = _positive("range_m", range_m)
    band = budget.bandwidth_hz.value
    eirp = np.full(distance.shape, budget.eirp_dbw.value)
    if budget.ground_flux_dbw_per_m2_4khz is not None:
        carrier_flux = budget.ground_flux_dbw_per_m2_4khz.value + 10 * np.log10(band / REFERENCE_BANDWIDTH_HZ)
        eirp = np.minimum(eirp, carrier_flux + 10 * np.log10(4 * np.pi * distance**2))
    scan = -10 * budget.scan_exponent.value * np.log10(np.sin(np.radians(np.minimum(elevation, 90.0))))
    temperature = np.asarray(budget.noise_temperature_k.value)
    interference = np.asarray(budget.carrier_to_interference_db.value)
    if budget.direction == "down":
        temperature = temperature + MEDIUM_TEMPERATURE_K * (1 - 10 ** (-fade / 10))
    else:
        interference = interference - fade
    figure = budget.receive_gain_dbi.value - 10 * np.log10(temperature)
    loss = free_space_loss_db(budget.link.frequency_hz, distance) + budget.losses_db.value + scan + fade
    thermal = eirp - loss + figure - BOLTZMANN_DBW_PER_HZ_K - 10 * np.log10(band)
    return np.asarray(-10 * np.log10(10 ** (-thermal / 10) + 10 ** (-interference / 10)))


def capacity_bps(budget: LinkBudget, elevation_deg: ArrayLike, range_m: ArrayLike, attenuation_db: ArrayLike) -> Floats:
    """What one carrier carries by adaptive coding, bit/s; 0 where not even the most robust step holds. The arguments broadcast."""
    ratio = carrier_to_noise_db(budget, elevation_deg, range_m, attenuation_db) - budget.implementation_margin_db.value
    return np.asarray(bits_per_symbol(ratio) * budget.bandwidth_hz.value * budget.symbols_per_hz.value)


def margin_db(budget: LinkBudget, elevation_deg: ArrayLike, range_m: ArrayLike, least_bps: float = 1.0) -> Floats:
    """The greatest total attenuation at which one carrier still carries `least_bps`, dB (to 1e-6 dB, at most 100).

    -inf where it carries less under a clear sky already. Raises `LinkError` when no step can carry so much.
    """
    needed = required_es_n0_db(least_bps / (budget.bandwidth_hz.value * budget.symbols_per_hz.value))
    if not np.isfinite(needed):
        raise LinkError(f"{budget.name} carries at most {budget.top_bps / 1e6:.0f} Mbit/s a carrier: ask for less than {least_bps:g} bit/s")
    needed += budget.implementation_margin_db.value
    shape = np.broadcast_shapes(np.shape(elevation_deg), np.shape(range_m))
    low, high = np.zeros(shape), np.full(shape, LARGEST_MARGIN_DB)
    for _ in range(27):  # 100 dB halved 27 times: below 1e-6
        middle = 0.5 * (low + high)
        holds = carrier_to_noise_db(budget, elevation_deg, range_m, middle) >= needed
        low, high = np.where(holds, middle, low), np.where(holds, high, middle)
    closes = carrier_to_noise_db(budget, elevation_deg, range_m, 0.0) >= needed
    return np.asarray(np.where(closes, low, -np.inf))


def _positive(name: str, values: ArrayLike) -> Floats:
    array = np.asarray(values, dtype=np.float64)
    if not np.all(np.isfinite(array) & (array > 0)):
        raise LinkError(f"{name} must be finite and above 0: ask only about satellites above the horizon")
    return array
