"""Small path profiles for tests."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tramontana.path_profile import PathProfile

START = 1_800_000_000.0
"""POSIX seconds at which the sample profiles begin, unless a test says otherwise."""


def profile(
    times: Sequence[float],
    *,
    delay_s: Sequence[float],
    up_bps: Sequence[float],
    down_bps: Sequence[float] | None = None,
    loss: Sequence[float] | None = None,
    serving: Sequence[int] | None = None,
    outages: Sequence[tuple[float, float]] = (),
    start: float = START,
) -> PathProfile:
    """A profile with samples at `start + times`; outages are (start, end) on the same axis."""
    n = len(times)
    return PathProfile(
        place="test",
        carrier="test",
        source="simulated, for a test",
        point_of_presence="test",
        satellite_names=("A", "B"),
        gateway_names=(),
        time_unix_s=start + np.asarray(times, dtype=np.float64),
        one_way_delay_s=np.asarray(delay_s, dtype=np.float64),
        capacity_down_bps=np.asarray(up_bps if down_bps is None else down_bps, dtype=np.float64),
        capacity_up_bps=np.asarray(up_bps, dtype=np.float64),
        loss=np.asarray([0.0] * n if loss is None else loss, dtype=np.float64),
        elevation_deg=np.full(n, 50.0),
        serving=np.asarray([0] * n if serving is None else serving, dtype=np.int32),
        gateway=np.full(n, -1, dtype=np.int32),
        outage_start_unix_s=start + np.asarray([o[0] for o in outages], dtype=np.float64),
        outage_end_unix_s=start + np.asarray([o[1] for o in outages], dtype=np.float64),
        handover_unix_s=np.asarray([], dtype=np.float64),
    )


def steady(
    *, delay_s: float = 0.0, bps: float = 1e12, loss: float = 0.0, outages: Sequence[tuple[float, float]] = (), start: float = START
) -> PathProfile:
    """One state for an hour."""
    return profile([0.0, 3600.0], delay_s=[delay_s] * 2, up_bps=[bps] * 2, loss=[loss] * 2, outages=outages, start=start)
