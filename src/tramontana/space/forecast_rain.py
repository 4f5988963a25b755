"""Rain in a forecast: as it is now, relaxing to the climate.

The state X of the weather at a site is normal with correlation exp(-β|τ|) (`links.series`). Known to be x now, after τ it is normal with
mean x·exp(-βτ) and variance 1 − exp(-2βτ): that is the whole forecast. A link is out where X is above the state at which its margin is
used up.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from tramontana.space.candidates import Candidates
from tramontana.space.fleet import Floats
from tramontana.space.links import LinkBudget, capacity_bps, slant_range_m
from tramontana.space.links.normal import deviate_of, upper_tail
from tramontana.space.links.series import RAIN_DECAY_PER_S
from tramontana.space.profiles import PathModel
from tramontana.space.visibility import EARTH_MEAN_RADIUS_M
from tramontana.space.weather import Fade

STATES = np.linspace(0.0, 4.4, 177)
"""Where a limit may lie: 0.001 % of a year, the rarest rain that is predicted, is at 4.26."""
NEVER = 6.0  # one in a billion
_ELEVATIONS_DEG = np.arange(5.0, 90.1, 2.5)
_ALTITUDE_STEP_M = 50e3

ATOMS = np.array([deviate_of(1.0 - share) for share in (0.05, 0.15, 0.25, 0.35, 0.45, 0.55, 0.65, 0.75, 0.85, 0.95)])
"""Equally probable values of a standard normal."""
upper_tails = np.vectorize(upper_tail, otypes=[np.float64])


def relaxed(state_now: float, elapsed_s: Floats) -> tuple[Floats, Floats]:
    """Mean and deviation, (T,) each, of the state of the weather after a while."""
    fall = np.exp(-RAIN_DECAY_PER_S * elapsed_s)
    return state_now * fall, np.sqrt(np.maximum(0.0, 1.0 - fall**2))


class RainOutlook:
    """The weather of one model's place and gateways from an instant on."""

    def __init__(self, model: PathModel, now_unix_s: float) -> None:
        self._model, self._now = model, now_unix_s
        self._state_now = lru_cache(maxsize=None)(lambda fade: float(fade.normal(np.array([now_unix_s]))[0]))
        self._limits = lru_cache(maxsize=None)(_limits)
        radio, place = model.radio, model.place
        self._user = tuple(
            (budget, model.weather.at_place(place, budget.link, model.options.climate)) for budget in (radio.user_down, radio.user_up)
        )

    def user_out(self, times: Floats, could: Candidates) -> Floats:
        """(T, C) probability that rain at the place breaks the user link of a candidate."""
        return self._out(self._user, times, could.elevation_deg, could.range_m)

    def feeder_out(self, times: Floats, could: Candidates) -> Floats:
        """(T, C) probability that no gateway that a candidate sees has a feeder link that holds; 0 over lasers."""
        out = np.where(could.landings.any(axis=1), np.ones(could.delay_s.shape), 0.0)
        for index in np.flatnonzero(could.landings.any(axis=0)).tolist():
            lands = could.landings[:, index]
            out[:, lands] *= self.gateway_out(index, times, could)[:, lands]
        return out

    def nearest_out(self, times: Floats, could: Candidates) -> Floats:
        """(T, C) probability that the feeder links at the gateway of least delay are out; 0 over lasers."""
        out = np.zeros(could.delay_s.shape)
        for index in np.unique(could.gateway[could.landings.any(axis=1)]).tolist():
            at = could.gateway == index
            out[:, at] = self.gateway_out(index, times, could)[:, at]
        return out

    def gateway_out(self, index: int, times: Floats, could: Candidates) -> Floats:
        """(T, C) probability that the feeder links between a gateway and candidates are out."""
        elevation, range_m = could.gateway_view(self._model, index)
        return self._out(self._feeder(index), times, elevation, range_m)

    def user_fades_db(self, times: Floats, could: Candidates) -> tuple[Floats, Floats]:
        """Attenuation of the two user links at equally probable states of the weather, (T, C, A) each."""
        mean, deviation = self._state(self._user[0][1], times)
        states = (mean[:, None] + deviation[:, None] * ATOMS)[:, None, :]
        down, up = (fade.at_normal_db(states, could.elevation_deg[:, :, None]) for _, fade in self._user)
        return down, up

    def feeder_shares(self, times: Floats, could: Candidates) -> tuple[Floats, Floats]:
        """What the feeder links carry of what they carry under a clear sky, (T, C) each, in the median state of the weather."""
        shares = (np.ones(could.delay_s.shape), np.ones(could.delay_s.shape))
        for index in np.unique(could.gateway[could.landings.any(axis=1)]).tolist():
            at = could.gateway == index
            elevation, range_m = (view[:, at] for view in could.gateway_view(self._model, index))
            fades = [fade for _, fade in self._feeder(index)]
            states = [self._state(fade, times)[0][:, None] for fade in fades]
            clear = (fades[0].clear_db(elevation), fades[1].clear_db(elevation))
            wet = tuple(fade.at_normal_db(state, elevation) for fade, state in zip(fades, states, strict=True))
            for share, left in zip(shares, self._model.radio.feeder_share(elevation, range_m, clear, (wet[0], wet[1])), strict=True):
                share[:, at] = np.where(left > 0, left, 1.0)  # one that is out is in `feeder_out`, and its traffic lands elsewhere
        return shares

    def _feeder(self, index: int) -> tuple[tuple[LinkBudget, Fade], ...]:
        radio, weather = self._model.radio, self._model.weather
        return tuple((budget, weather.at_gateway(index, budget.link)) for budget in (radio.feeder_down, radio.feeder_up))

    def _state(self, fade: Fade, times: Floats) -> tuple[Floats, Floats]:
        """Mean and deviation, (T,) each, of the state at instants from now on."""
        return relaxed(self._state_now(fade), times - self._now)

    def _out(self, links: tuple[tuple[LinkBudget, Fade], ...], times: Floats, elevation: Floats, range_m: Floats) -> Floats:
        """(T, C) probability that the weaker of two links that share one weather is out."""
        mean, deviation = self._state(links[0][1], times)
        if not elevation.size:
            return np.zeros(elevation.shape)
        altitude_m = _altitude_m(elevation, range_m)
        limit = np.min([np.interp(elevation, _ELEVATIONS_DEG, self._limits(*link, altitude_m)) for link in links], axis=0)
        above = (limit - mean[:, None]) / np.maximum(deviation[:, None], 1e-9)
        return np.asarray(upper_tails(above), dtype=np.float64)


def _limits(budget: LinkBudget, fade: Fade, altitude_m: float) -> Floats:
    """(E,) the state of the weather from which on a link to that altitude carries nothing, by `_ELEVATIONS_DEG`."""
    elevation = _ELEVATIONS_DEG[:, None]
    holds = capacity_bps(budget, elevation, slant_range_m(altitude_m, elevation), fade.at_normal_db(STATES, elevation)) > 0
    return np.asarray(np.where(holds.all(axis=1), NEVER, STATES[np.argmin(holds, axis=1)]), dtype=np.float64)


def _altitude_m(elevation_deg: Floats, range_m: Floats) -> float:
    """Median altitude of satellites seen so, rounded to 50 km: limits are tabulated for it."""
    rise = range_m * np.sin(np.radians(elevation_deg))
    altitude = np.sqrt(EARTH_MEAN_RADIUS_M**2 + range_m**2 + 2 * EARTH_MEAN_RADIUS_M * rise) - EARTH_MEAN_RADIUS_M
    return max(_ALTITUDE_STEP_M, float(np.round(np.median(altitude) / _ALTITUDE_STEP_M)) * _ALTITUDE_STEP_M)
