"""From who-serves-when to a path profile: delays along the serving passes, outages at handovers and without coverage."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tramontana.errors import LocalError
from tramontana.path_profile import NO_SATELLITE, PathProfile
from tramontana.space.fleet import Fleet, Floats
from tramontana.space.ground import Ground, Place
from tramontana.space.parameters import PathParameters
from tramontana.space.serving import Assignment, slot_of, slot_start_unix_s
from tramontana.space.visibility import SPEED_OF_LIGHT_M_PER_S, look_angles

SAMPLE_STEP_S = 1.0
LONGEST_PROFILE_S = 7 * 86400.0


def check_span(start_unix_s: float, duration_s: float) -> None:
    """Raise `LocalError` unless the span is finite, positive and not longer than `LONGEST_PROFILE_S`."""
    if not (np.isfinite(start_unix_s) and np.isfinite(duration_s) and 0 < duration_s <= LONGEST_PROFILE_S):
        raise LocalError(f"a path profile needs a finite start and a duration between 0 and {LONGEST_PROFILE_S:.0f} s")


def sample_times_unix_s(start_unix_s: float, duration_s: float, step_s: float, boundaries: Floats | None = None) -> Floats:
    """Ascending instants in [start, start + duration): every step from the start, and the boundaries within."""
    end = start_unix_s + duration_s
    regular = start_unix_s + np.arange(int(np.ceil(duration_s / step_s))) * step_s
    both = regular if boundaries is None else np.union1d(regular, boundaries)
    return np.asarray(both[(both >= start_unix_s) & (both < end)], dtype=np.float64)


def bent_pipe_profile(
    *,
    fleet: Fleet,
    ground: Ground,
    place: Place,
    carrier: str,
    start_unix_s: float,
    duration_s: float,
    parameters: PathParameters,
    fixed_delay_s: Floats,
    assign: Callable[[int], Assignment | None],
    track_itrs_m: Callable[[int, Floats], Floats],
) -> PathProfile:
    """Assemble the profile of a low-orbit carrier whose traffic goes user, satellite, gateway, point of presence.

    fixed_delay_s: (G,) access and backhaul over each gateway. assign: slot number → who serves.
    track_itrs_m: satellite index and (T,) instants → (T, 3) metres.
    """
    check_span(start_unix_s, duration_s)
    end_unix_s = start_unix_s + duration_s
    first = slot_of(start_unix_s)
    slots = range(first, slot_of(end_unix_s) + 1)
    starts = np.array([slot_start_unix_s(s) for s in slots])
    times = sample_times_unix_s(start_unix_s, duration_s, SAMPLE_STEP_S, starts)
    n = times.shape[0]

    delay, elevation = np.full(n, np.nan), np.full(n, np.nan)
    serving, gateway = np.full(n, NO_SATELLITE, dtype=np.int32), np.full(n, NO_SATELLITE, dtype=np.int32)
    satellites: dict[int, int] = {}  # fleet index → index into the profile's names
    handovers: list[float] = []
    outages: list[tuple[float, float]] = []
    outage_s = parameters.handover_outage_s.value

    before = assign(first - 1)
    edges = np.searchsorted(times, np.append(starts, slot_start_unix_s(slots.stop)))
    for row, slot in enumerate(slots):
        now, slot_start = assign(slot), float(starts[row])
        if now is None:
            outages.append((slot_start, slot_start_unix_s(slot + 1)))
        elif now != before:
            outages.append((slot_start, slot_start + outage_s))
        if now != before and start_unix_s <= slot_start < end_unix_s:
            handovers.append(slot_start)
        before = now
        span = slice(int(edges[row]), int(edges[row + 1]))
        if now is None or span.start == span.stop:
            continue
        position = track_itrs_m(now.satellite, times[span])
        elevation[span], _, user_range = look_angles(place.latitude_deg, place.longitude_deg, place.height_m, position)
        site = ground.gateways[now.gateway]
        _, _, gateway_range = look_angles(site.latitude_deg, site.longitude_deg, 0.0, position)
        delay[span] = (user_range + gateway_range) / SPEED_OF_LIGHT_M_PER_S + fixed_delay_s[now.gateway]
        serving[span] = satellites.setdefault(now.satellite, len(satellites))
        gateway[span] = now.gateway

    covered = np.isfinite(delay)
    windows = _merge(outages, start_unix_s, end_unix_s)
    used = sorted({ground.points_of_presence[ground.point_of_presence_of_gateway[g]].name for g in set(gateway[covered].tolist())})
    return PathProfile(
        place=place.id,
        carrier=carrier,
        source=f"simulated, {fleet.label}",
        point_of_presence=", ".join(used),
        satellite_names=tuple(fleet.names[i] for i in satellites),
        gateway_names=tuple(g.name for g in ground.gateways),
        time_unix_s=times,
        one_way_delay_s=delay,
        capacity_down_bps=np.where(covered, parameters.capacity_down_bps.value, 0.0),
        capacity_up_bps=np.where(covered, parameters.capacity_up_bps.value, 0.0),
        loss=np.where(covered, parameters.random_loss.value, 1.0),
        elevation_deg=elevation,
        serving=serving,
        gateway=gateway,
        outage_start_unix_s=windows[:, 0],
        outage_end_unix_s=windows[:, 1],
        handover_unix_s=np.array(handovers, dtype=np.float64),
        notes=parameters.assumptions(),
    )


def _merge(windows: list[tuple[float, float]], start: float, end: float) -> Floats:
    """(M, 2) ascending, disjoint windows clipped to [start, end]; touching ones become one. Input is ascending by start."""
    merged: list[list[float]] = []
    for window_start, window_end in windows:
        a, b = max(window_start, start), min(window_end, end)
        if a >= b:
            continue
        if merged and a <= merged[-1][1]:
            merged[-1][1] = max(merged[-1][1], b)
        else:
            merged.append([a, b])
    return np.array(merged, dtype=np.float64).reshape(-1, 2)
