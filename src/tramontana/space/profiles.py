"""From who-carries-when to a path profile: delay, capacity, loss and outages along the ways of a place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tramontana.errors import LocalError
from tramontana.path_profile import NO_SATELLITE, PathProfile
from tramontana.space.fleet import Fleet, Floats
from tramontana.space.ground import Ground, Place
from tramontana.space.orbits import Propagator
from tramontana.space.parameters import PathParameters
from tramontana.space.path_options import PathOptions
from tramontana.space.radio import Radio
from tramontana.space.serving import slot_of, slot_start_unix_s
from tramontana.space.ways import Reach, Way, geometry
from tramontana.space.weather import Weather

SAMPLE_STEP_S = 1.0
LONGEST_PROFILE_S = 31 * 86400.0
"""2.9 million samples, about 250 MB of arrays. `Sky.path_profiles` goes on for as long as you like, a piece at a time."""

Bools = NDArray[np.bool_]


def check_span(start_unix_s: float, duration_s: float, longest_s: float = LONGEST_PROFILE_S) -> None:
    """Raise `LocalError` unless the span is finite, positive and not longer than `longest_s`."""
    if not (np.isfinite(start_unix_s) and np.isfinite(duration_s) and 0 < duration_s <= longest_s):
        raise LocalError(f"a path profile needs a finite start and a duration between 0 and {longest_s:.0f} s")


def sample_times_unix_s(start_unix_s: float, duration_s: float, step_s: float, boundaries: Floats | None = None) -> Floats:
    """Ascending instants in [start, start + duration): every step from the start, and the boundaries within."""
    end = start_unix_s + duration_s
    regular = start_unix_s + np.arange(int(np.ceil(duration_s / step_s))) * step_s
    both = regular if boundaries is None else np.union1d(regular, boundaries)
    return np.asarray(both[(both >= start_unix_s) & (both < end)], dtype=np.float64)


@dataclass(frozen=True, eq=False)
class PathModel:
    """Everything about a place's path that does not depend on the span asked for."""

    fleet: Fleet
    ground: Ground
    place: Place
    carrier: str
    parameters: PathParameters
    options: PathOptions
    fixed_delay_s: Floats
    """(G,) access and backhaul over each gateway."""
    hop_s: float
    """Processing for each laser."""
    reach: Reach
    propagator: Propagator
    weather: Weather

    @property
    def radio(self) -> Radio:
        return self.options.radio

    @property
    def rains(self) -> bool:
        """Whether rain is asked for and does anything to these links."""
        return self.options.rain and self.radio.fixed_bps is None

    def profile(self, start_unix_s: float, duration_s: float) -> PathProfile:
        """The path over [start, start + duration). Raises `LocalError` for a bad span."""
        check_span(start_unix_s, duration_s)
        end_unix_s = start_unix_s + duration_s
        first = slot_of(start_unix_s)
        slots = range(first, slot_of(end_unix_s) + 1)
        starts = np.array([slot_start_unix_s(slot) for slot in slots])
        ways = self.ways(range(first - 1, slots.stop))
        before, ways = ways[0], ways[1:]
        times = sample_times_unix_s(start_unix_s, duration_s, SAMPLE_STEP_S, starts)
        n = times.shape[0]
        columns = {name: np.full(n, np.nan) for name in _COLUMNS}
        serving, gateway = np.full(n, NO_SATELLITE, dtype=np.int32), np.full(n, NO_SATELLITE, dtype=np.int32)
        satellites: dict[int, int] = {}  # fleet index → index into the profile's names
        handovers: list[float] = []
        handover_windows: list[tuple[float, float]] = []
        edges = np.searchsorted(times, np.append(starts, slot_start_unix_s(slots.stop)))
        for row, way in enumerate(ways):
            slot_start = float(starts[row])
            if (way and way.ends) != (before and before.ends):
                if way is not None:
                    handover_windows.append((slot_start, slot_start + self.parameters.handover_outage_s.value))
                if start_unix_s <= slot_start < end_unix_s:
                    handovers.append(slot_start)
            before = way
            span = slice(int(edges[row]), int(edges[row + 1]))
            if way is None or span.start == span.stop:
                continue
            seen = geometry(way, self.place, self.ground.gateways[way.gateway], times[span], self.propagator.track_itrs_m, self.hop_s)
            columns["delay"][span] = seen.air_s + self.fixed_delay_s[way.gateway]
            for name in _COLUMNS[1:]:
                columns[name][span] = getattr(seen, name)
            serving[span] = satellites.setdefault(way.entry, len(satellites))
            gateway[span] = way.gateway

        down, up = self.rates_bps(times, gateway, columns)
        covered = np.isfinite(columns["delay"])
        hidden = self.hidden(columns["azimuth_deg"], columns["elevation_deg"])
        out = ~covered | hidden | (down <= 0) | (up <= 0)
        windows = merge([*outage_windows(times, out, end_unix_s), *handover_windows], start_unix_s, end_unix_s)
        used = sorted(
            {self.ground.points_of_presence[self.ground.point_of_presence_of_gateway[g]].name for g in set(gateway[covered].tolist())}
        )
        return PathProfile(
            place=self.place.id,
            carrier=self.carrier,
            source=self.source(any(way is not None and len(way.satellites) > 1 for way in ways)),
            point_of_presence=", ".join(used),
            satellite_names=tuple(self.fleet.names[i] for i in satellites),
            gateway_names=tuple(g.name for g in self.ground.gateways),
            time_unix_s=times,
            one_way_delay_s=columns["delay"],
            capacity_down_bps=np.where(out, 0.0, down),
            capacity_up_bps=np.where(out, 0.0, up),
            loss=np.where(out, 1.0, self.parameters.random_loss.value),
            elevation_deg=columns["elevation_deg"],
            serving=serving,
            gateway=gateway,
            outage_start_unix_s=windows[:, 0],
            outage_end_unix_s=windows[:, 1],
            handover_unix_s=np.array(handovers, dtype=np.float64),
            notes=self.notes(),
        )

    def ways(self, slots: Sequence[int]) -> list[Way | None]:
        """The way in each slot; a bent pipe whose gateway is rained out as the slot begins lands at the next best that is not."""
        ways = [self.reach.way(self.place, slot) for slot in slots]
        if not self.rains:
            return ways
        bent = [row for row, way in enumerate(ways) if way is not None and len(way.satellites) == 1]
        pairs = [(slots[row], way) for row in bent if (way := ways[row]) is not None]
        for row, (slot, way), landing in zip(bent, pairs, self._feeders_hold(pairs), strict=True):
            if landing:
                continue
            others = [Way(way.satellites, g) for g in self.reach.landings(way.entry, slot) if g != way.gateway]
            dry = self._feeders_hold([(slot, other) for other in others])
            ways[row] = next((other for other, holds in zip(others, dry, strict=True) if holds), way)
        return ways

    def rates_bps(self, times: Floats, gateway: NDArray[np.int32], seen: dict[str, Floats]) -> tuple[Floats, Floats]:
        """Down and up of one user at every sample, (T,) bit/s; 0 without coverage, in rain that no coding bridges."""
        down, up = np.zeros(times.shape), np.zeros(times.shape)
        covered = gateway >= 0
        elevation, range_m = seen["elevation_deg"][covered], seen["range_m"][covered]
        fades = (np.zeros(elevation.shape), np.zeros(elevation.shape))
        if self.rains:
            fade_down, fade_up = (
                self.weather.at_place(self.place, budget.link, self.options.climate).total_db(times[covered], elevation)
                for budget in (self.radio.user_down, self.radio.user_up)
            )
            fades = (fade_down, fade_up)
        down[covered], up[covered] = self.radio.user_bps(self.parameters, self.options.load, elevation, range_m, fades)
        if self.rains:
            for index in np.unique(gateway[covered]).tolist():
                at = gateway == index
                left = self.feeder_share(index, times[at], seen["gateway_elevation_deg"][at], seen["gateway_range_m"][at])
                down[at] *= left[0]
                up[at] *= left[1]
        return down, up

    def feeder_share(self, gateway: int, times: Floats, elevation_deg: Floats, range_m: Floats) -> tuple[Floats, Floats]:
        """What the weather over a gateway leaves of its feeder links at instants, 0–1, down and up."""
        down, up = (self.weather.at_gateway(gateway, budget.link) for budget in (self.radio.feeder_down, self.radio.feeder_up))
        return self.radio.feeder_share(
            elevation_deg,
            range_m,
            (down.clear_db(elevation_deg), up.clear_db(elevation_deg)),
            (down.total_db(times, elevation_deg), up.total_db(times, elevation_deg)),
        )

    def hidden(self, azimuth_deg: Floats, elevation_deg: Floats) -> Bools:
        """Whether a satellite there is behind an obstacle of the place; NaN, no satellite, is not."""
        mask = self.options.obstructions
        if mask is None:
            return np.zeros(elevation_deg.shape, dtype=np.bool_)
        sectors = mask.elevation_deg.shape[0]
        sector = (np.nan_to_num(azimuth_deg) * (sectors / 360.0)).astype(np.intp) % sectors
        return np.asarray(elevation_deg < mask.elevation_deg[sector], dtype=np.bool_)

    def source(self, by_laser: bool) -> str:
        """The label on screen: what the figures rest on."""
        extras = [", partly over lasers"] * by_laser + [", seeded rain of the climate"] * self.rains
        return f"simulated, {self.fleet.label}{''.join(extras)}"

    def notes(self) -> tuple[str, ...]:
        """Every simulated ingredient and every assumption, for people."""
        weather = (
            "rain: a seeded series with the statistics of ITU-R P.618 for the place and the gateways, not the weather of a real day"
            if self.rains
            else "weather: a clear sky at every hour"
        )
        capacity = "capacity: the published median, moved by the link budget at the elevation, divided by the load"
        if self.radio.fixed_bps is not None:
            capacity = "capacity: fixed figures, divided by the load"
        load = f"load {self.options.load.value:g} {self.options.load.unit}: {self.options.load.source}"
        return (*self.options.notes, weather, capacity, load, *self.parameters.assumptions(), *self.radio.assumptions())

    def _feeders_hold(self, pairs: Sequence[tuple[int, Way]]) -> list[bool]:
        """Whether the feeder links of bent pipes carry anything as their slots begin."""
        hold = [True] * len(pairs)
        at = np.array([slot_start_unix_s(slot) for slot, _ in pairs])
        seen = [
            geometry(way, self.place, self.ground.gateways[way.gateway], at[row : row + 1], self.propagator.track_itrs_m, 0.0)
            for row, (_, way) in enumerate(pairs)
        ]
        for gateway in {way.gateway for _, way in pairs}:
            rows = [row for row, (_, way) in enumerate(pairs) if way.gateway == gateway]
            elevation = np.array([seen[row].gateway_elevation_deg[0] for row in rows])
            range_m = np.array([seen[row].gateway_range_m[0] for row in rows])
            down, up = self.feeder_share(gateway, at[rows], elevation, range_m)
            for row, fine in zip(rows, ((down > 0) & (up > 0)).tolist(), strict=True):
                hold[row] = fine
        return hold


_COLUMNS = ("delay", "elevation_deg", "azimuth_deg", "range_m", "gateway_elevation_deg", "gateway_range_m")


def outage_windows(times: Floats, out: Bools, end_unix_s: float) -> list[tuple[float, float]]:
    """Spans from the first sample of an outage to the first one after it; the last sample holds until the end."""
    edges = np.diff(np.concatenate([[False], out, [False]]).astype(np.int8))
    until = np.append(times, end_unix_s)
    return list(zip(times[edges[:-1] == 1].tolist(), until[np.flatnonzero(edges == -1)].tolist(), strict=True))


def merge(windows: Sequence[tuple[float, float]], start: float, end: float) -> Floats:
    """(M, 2) ascending, disjoint windows clipped to [start, end]; touching ones become one."""
    merged: list[list[float]] = []
    for window_start, window_end in sorted(windows):
        a, b = max(window_start, start), min(window_end, end)
        if a >= b:
            continue
        if merged and a <= merged[-1][1]:
            merged[-1][1] = max(merged[-1][1], b)
        else:
            merged.append([a, b])
    return np.array(merged, dtype=np.float64).reshape(-1, 2)
