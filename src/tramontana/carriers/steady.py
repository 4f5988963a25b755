"""Paths on which nothing moves: geostationary and fibre. Only rain changes them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tramontana.forecast import EventKind, Forecast, ForecastEvent, Quantiles
from tramontana.path_profile import NO_SATELLITE, PathProfile
from tramontana.space.fleet import Floats
from tramontana.space.forecast import LONGEST_FORECAST_S, Measurements, lost_now, lost_probability, model_error_s, quantiles
from tramontana.space.forecast_events import LEAST_CONFIDENCE
from tramontana.space.forecast_rain import ATOMS, NEVER, STATES, relaxed, upper_tails
from tramontana.space.links import bits_per_symbol
from tramontana.space.profiles import check_span, merge, outage_windows, sample_times_unix_s
from tramontana.space.weather import Fade

STEADY_STEP_S = 15.0  # samples only carry the state on; rain hardly changes in between


@dataclass(frozen=True, eq=False)
class SteadyRain:
    """Rain over a terminal and over the hub that it reaches by one satellite; the fades of both add up on one path."""

    terminal: Fade
    hub: Fade
    terminal_elevation_deg: float
    hub_elevation_deg: float
    clear_es_n0_db: float

    def share(self, times_unix_s: Floats) -> Floats:
        """(T,) what is left of the clear-sky rate, 0–1."""
        terminal = self.terminal.total_db(times_unix_s, np.full(times_unix_s.shape, self.terminal_elevation_deg))
        hub = self.hub.total_db(times_unix_s, np.full(times_unix_s.shape, self.hub_elevation_deg))
        return self._left(terminal + hub)

    def share_in_states(self, terminal: Floats, hub: Floats) -> Floats:
        """The same for given states of the weather over both; they broadcast."""
        terminal_db = self.terminal.at_normal_db(terminal, np.full((), self.terminal_elevation_deg))
        return self._left(terminal_db + self.hub.at_normal_db(hub, np.full((), self.hub_elevation_deg)))

    def _left(self, fade_db: Floats) -> Floats:
        return np.asarray(bits_per_symbol(self.clear_es_n0_db - fade_db) / bits_per_symbol(self.clear_es_n0_db), dtype=np.float64)


@dataclass(frozen=True, eq=False)
class SteadyPath:
    """One state for all time, or one outage where the carrier does not reach the place or may not be used."""

    place: str
    carrier: str
    source: str
    point_of_presence: str
    satellite: str | None
    hub: str | None
    reached: bool
    delay_s: float
    down_bps: float
    up_bps: float
    loss: float
    elevation_deg: float
    notes: tuple[str, ...]
    rain: SteadyRain | None = None

    def profile(self, start_unix_s: float, duration_s: float) -> PathProfile:
        """The path over [start, start + duration), a sample every 15 s. Raises `LocalError` for a bad span."""
        check_span(start_unix_s, duration_s)
        times = sample_times_unix_s(start_unix_s, duration_s, STEADY_STEP_S)
        share = np.full(times.shape, float(self.reached))
        if self.rain is not None and self.reached:
            share = self.rain.share(times)
        up = share > 0
        end_unix_s = start_unix_s + duration_s
        windows = merge(outage_windows(times, ~up, end_unix_s), start_unix_s, end_unix_s)
        here = self.reached
        return PathProfile(
            place=self.place,
            carrier=self.carrier,
            source=self.source,
            point_of_presence=self.point_of_presence if here else "",
            satellite_names=(self.satellite,) if self.satellite else (),
            gateway_names=(self.hub,) if self.hub else (),
            time_unix_s=times,
            one_way_delay_s=np.full(times.shape, self.delay_s if here else np.nan),
            capacity_down_bps=self.down_bps * share,
            capacity_up_bps=self.up_bps * share,
            loss=np.where(up, self.loss, 1.0),
            elevation_deg=np.full(times.shape, self.elevation_deg if here else np.nan),
            serving=np.full(times.shape, 0 if here and self.satellite else NO_SATELLITE, dtype=np.int32),
            gateway=np.full(times.shape, 0 if here and self.hub else NO_SATELLITE, dtype=np.int32),
            outage_start_unix_s=windows[:, 0],
            outage_end_unix_s=windows[:, 1],
            handover_unix_s=np.array([], dtype=np.float64),
            notes=self.notes,
        )

    def forecast(self, now_unix_s: float, horizon_s: float, measured: Measurements | None = None) -> Forecast:
        """The path over [now, now + horizon), a sample a second; rain as now, then relaxing. Raises `LocalError` for a bad span."""
        check_span(now_unix_s, horizon_s, longest_s=LONGEST_FORECAST_S)
        times = sample_times_unix_s(now_unix_s, horizon_s, 1.0)
        if not self.reached:
            share, out = np.zeros((times.shape[0], 3)), np.ones(times.shape)
        elif self.rain is None:
            share, out = np.ones((times.shape[0], 3)), np.zeros(times.shape)
        else:
            share, out = _rain_outlook(self.rain, times)
        if lost_now(measured, now_unix_s):
            out = np.maximum(out, lost_probability(times - now_unix_s))
        error_s = model_error_s(self.profile, measured, now_unix_s) if self.reached else None
        spread = np.zeros(3) if error_s is None else np.quantile(error_s, [0.1, 0.5, 0.9])
        delay = np.full((times.shape[0], 3), self.delay_s if self.reached else np.nan) + spread
        return Forecast(
            place=self.place,
            carrier=self.carrier,
            source=f"forecast of {self.source}",
            made_unix_s=now_unix_s,
            known_until_unix_s=now_unix_s + horizon_s,
            time_unix_s=times,
            delay_s=Quantiles(*delay.T),
            capacity_down_bps=Quantiles(*(self.down_bps * share).T),
            capacity_up_bps=Quantiles(*(self.up_bps * share).T),
            outage_probability=out,
            events=self._events(times, out),
            notes=self.notes,
        )

    def _events(self, times: Floats, out: Floats) -> tuple[ForecastEvent, ...]:
        start, end = float(times[0]), float(times[-1]) + 1.0
        if not self.reached:
            effect = "the carrier does not reach this place, or the policy forbids it"
            return (ForecastEvent(EventKind.COVERAGE_GAP, start, end, 1.0, end - start, effect),)
        worst = float(np.max(out))
        if self.rain is None or worst < LEAST_CONFIDENCE:
            return ()
        at = float(times[int(np.argmax(out >= LEAST_CONFIDENCE))])
        return (ForecastEvent(EventKind.RAIN, at, end, worst, end - at, "rain at the place or the hub that no coding bridges"),)


def _rain_outlook(rain: SteadyRain, times: Floats) -> tuple[Floats, Floats]:
    """Quantiles (T, 3) of the share of the clear-sky rate, and the probability (T,) that nothing is left."""
    now = times[:1]
    means, deviations, out = [], [], np.zeros(times.shape)
    other = np.zeros(1)
    for fade, alone in (
        (rain.terminal, rain.share_in_states(STATES, other)),
        (rain.hub, rain.share_in_states(other, STATES)),
    ):
        mean, deviation = relaxed(float(fade.normal(now)[0]), times - times[0])
        limit = STATES[int(np.argmin(alone > 0))] if not np.all(alone > 0) else NEVER
        out = 1.0 - (1.0 - out) * (1.0 - upper_tails((limit - mean) / np.maximum(deviation, 1e-9)))
        means.append(mean[:, None, None])
        deviations.append(deviation[:, None, None])
    share = rain.share_in_states(means[0] + deviations[0] * ATOMS[:, None], means[1] + deviations[1] * ATOMS).reshape(times.shape[0], -1)
    return quantiles(share, np.ones(share.shape)), np.asarray(out, dtype=np.float64)
