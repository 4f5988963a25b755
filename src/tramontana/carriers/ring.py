"""Paths over a ring of satellites above the equator, in medium orbit: geometry, and rain at both ends."""

from __future__ import annotations

from dataclasses import dataclass
from math import pi, sqrt
from typing import Final

import numpy as np

from tramontana.forecast import EventKind, Forecast, ForecastEvent, Quantiles
from tramontana.path_profile import NO_SATELLITE, PathProfile
from tramontana.space.fleet import Floats
from tramontana.space.forecast import LONGEST_FORECAST_S
from tramontana.space.ground import Place
from tramontana.space.links import bits_per_symbol
from tramontana.space.profiles import check_span, merge, outage_windows, sample_times_unix_s
from tramontana.space.visibility import SPEED_OF_LIGHT_M_PER_S, look_angles
from tramontana.space.weather import Fade

EARTH_GM_M3_PER_S2: Final = 3.986004418e14  # WGS 84
EARTH_ROTATION_RAD_PER_S: Final = 7.292115e-5  # WGS 84
EQUATORIAL_RADIUS_M: Final = 6_378_137.0  # WGS 84
RING_STEP_S: Final = 5.0  # a satellite crosses the sky in hours


@dataclass(frozen=True, slots=True)
class Ring:
    """Satellites evenly spaced on one circle above the equator."""

    satellite_name: str
    count: int
    altitude_m: float

    def positions_itrs_m(self, times_unix_s: Floats) -> Floats:
        """(T, count, 3) metres. The first satellite stands over Greenwich at POSIX time 0: an assumption, the phase is as good as any."""
        radius_m = EQUATORIAL_RADIUS_M + self.altitude_m
        turn = sqrt(EARTH_GM_M3_PER_S2 / radius_m**3) - EARTH_ROTATION_RAD_PER_S
        longitude = turn * times_unix_s[:, None] + 2 * pi * np.arange(self.count) / self.count
        return np.stack([radius_m * np.cos(longitude), radius_m * np.sin(longitude), np.zeros(longitude.shape)], axis=-1)


@dataclass(frozen=True, eq=False)
class RingRain:
    """Rain over the terminal and over the gateway; the fades of both add up on one path."""

    terminal: Fade
    gateway: Fade
    clear_es_n0_db: float

    def share(self, times_unix_s: Floats, terminal_elevation_deg: Floats, gateway_elevation_deg: Floats) -> Floats:
        """(T,) what is left of the clear-sky rate, 0–1."""
        fade_db = self.terminal.total_db(times_unix_s, terminal_elevation_deg) + self.gateway.total_db(times_unix_s, gateway_elevation_deg)
        return np.asarray(bits_per_symbol(self.clear_es_n0_db - fade_db) / bits_per_symbol(self.clear_es_n0_db), dtype=np.float64)


@dataclass(frozen=True, eq=False)
class RingPath:
    """A path from a place over whichever satellite of a ring stands best between it and the gateway."""

    ring: Ring
    place: Place
    carrier: str
    source: str
    point_of_presence: str
    gateway: Place
    minimum_elevation_deg: float
    permitted: bool
    ground_delay_s: float
    """Everything but the way through the air."""
    down_bps: float
    up_bps: float
    loss: float
    notes: tuple[str, ...]
    rain: RingRain | None = None

    def profile(self, start_unix_s: float, duration_s: float) -> PathProfile:
        """The path over [start, start + duration), a sample every 5 s. Raises `LocalError` for a bad span."""
        check_span(start_unix_s, duration_s)
        return self._over(sample_times_unix_s(start_unix_s, duration_s, RING_STEP_S), start_unix_s + duration_s)

    def forecast(self, now_unix_s: float, horizon_s: float) -> Forecast:
        """The path over [now, now + horizon), a sample a second; orbits are known, nothing spreads. Raises `LocalError`."""
        check_span(now_unix_s, horizon_s, longest_s=LONGEST_FORECAST_S)
        path = self._over(sample_times_unix_s(now_unix_s, horizon_s, 1.0), now_unix_s + horizon_s)
        gaps = zip(path.outage_start_unix_s.tolist(), path.outage_end_unix_s.tolist(), strict=True)
        events = [
            *(ForecastEvent(EventKind.HANDOVER, at, at, 1.0, 0.0, "another satellite serves") for at in path.handover_unix_s.tolist()),
            *(ForecastEvent(EventKind.COVERAGE_GAP, a, b, 1.0, b - a, "no satellite carries, or the policy forbids it") for a, b in gaps),
        ]
        return Forecast(
            place=path.place,
            carrier=path.carrier,
            source=f"forecast of {path.source}",
            made_unix_s=now_unix_s,
            known_until_unix_s=now_unix_s + horizon_s,
            time_unix_s=path.time_unix_s,
            delay_s=Quantiles(*[path.one_way_delay_s] * 3),
            capacity_down_bps=Quantiles(*[path.capacity_down_bps] * 3),
            capacity_up_bps=Quantiles(*[path.capacity_up_bps] * 3),
            outage_probability=np.where(path.capacity_down_bps > 0, 0.0, 1.0),
            events=tuple(sorted(events, key=lambda event: event.at_unix_s)),
            notes=path.notes,
        )

    def _over(self, times: Floats, end_unix_s: float) -> PathProfile:
        positions = self.ring.positions_itrs_m(times)
        elevation, range_m = self._seen(self.place, positions)
        gateway_elevation, gateway_range_m = self._seen(self.gateway, positions)
        lower = np.minimum(elevation, gateway_elevation)
        best = np.argmax(lower, axis=1)
        rows = np.arange(times.shape[0])
        up = (lower[rows, best] >= self.minimum_elevation_deg) & self.permitted
        delay = (range_m + gateway_range_m)[rows, best] / SPEED_OF_LIGHT_M_PER_S + self.ground_delay_s
        share = up.astype(np.float64)
        if self.rain is not None:
            share *= self.rain.share(times, elevation[rows, best], gateway_elevation[rows, best])
        windows = merge(outage_windows(times, share <= 0, end_unix_s), float(times[0]), end_unix_s)
        changed = np.flatnonzero((best[1:] != best[:-1]) & up[1:] & up[:-1]) + 1
        return PathProfile(
            place=self.place.id,
            carrier=self.carrier,
            source=self.source,
            point_of_presence=self.point_of_presence if up.any() else "",
            satellite_names=tuple(f"{self.ring.satellite_name} {number + 1}" for number in range(self.ring.count)),
            gateway_names=(self.gateway.name,),
            time_unix_s=times,
            one_way_delay_s=np.where(up, delay, np.nan),
            capacity_down_bps=self.down_bps * share,
            capacity_up_bps=self.up_bps * share,
            loss=np.where(share > 0, self.loss, 1.0),
            elevation_deg=np.where(up, elevation[rows, best], np.nan),
            serving=np.where(up, best, NO_SATELLITE).astype(np.int32),
            gateway=np.where(up, 0, NO_SATELLITE).astype(np.int32),
            outage_start_unix_s=windows[:, 0],
            outage_end_unix_s=windows[:, 1],
            handover_unix_s=times[changed],
            notes=self.notes,
        )

    def _seen(self, place: Place, positions: Floats) -> tuple[Floats, Floats]:
        elevation, _, range_m = look_angles(place.latitude_deg, place.longitude_deg, place.height_m, positions)
        return elevation, range_m
