"""Positions of a whole fleet at any instants, fast: SGP4 at regular nodes and cubic Hermite interpolation between them in ITRS.

Nodes lie at whole multiples of the step since 1970, whoever asks for whatever span, so positions do not depend on how time is cut into
chunks. On a round orbit the error against SGP4 itself is at most (rate·step)⁴/384 times the radius: at 500 km 8 m for nodes 120 s apart,
0.6 m at 60 s. SGP4's velocity leaves drag out, which adds metres on orbits that decay or thrust: of 10,359 real satellites 99.5 % stay
within 7 m and 1 m, and the worst reached 19 m and 4 m (tests/space/test_ephemeris.py). The elements are wrong by kilometres (`ageing`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tramontana.errors import LocalError
from tramontana.space._kernels import hermite
from tramontana.space.fleet import Fleet, Floats
from tramontana.space.orbits import EARTH_ROTATION_RAD_PER_S, Propagator

NODE_STEP_S = 120.0
_LONGEST_STEP_S = 300.0
_HERMITE_BOUND = 1 / 384  # of h⁴ max|f⁗|: the error bound of cubic Hermite interpolation


@dataclass(frozen=True, eq=False)
class Nodes:
    """States of N satellites at K consecutive nodes; interpolates between the first and the last."""

    first_unix_s: float
    step_s: float
    position_itrs_m: Floats
    """(K, N, 3); NaN where SGP4 gives none (decayed)."""
    velocity_itrs_m_per_s: Floats
    """(K, N, 3), in the turning frame."""

    def positions_itrs_m(self, unix_s: Floats, out: Floats | None = None) -> Floats:
        """(T, N, 3) metres at instants within the nodes; raises `LocalError` outside. out: where to write them, if given.

        A satellite without a state at one of the two nodes around an instant is NaN: decay begins up to one step early.
        """
        count, satellites, _ = self.position_itrs_m.shape
        first, share = self._locate(unix_s)
        result = np.empty((first.shape[0], satellites, 3)) if out is None else out
        flat = (count, satellites * 3)
        hermite(
            self.position_itrs_m.reshape(flat),
            self.velocity_itrs_m_per_s.reshape(flat),
            self.step_s,
            first,
            share,
            result.reshape(first.shape[0], satellites * 3),
        )
        return result

    def position_of(self, satellite: NDArray[np.intp], unix_s: Floats) -> Floats:
        """(M, 3) metres: satellite m (an index into these nodes) at its own instant m."""
        first, share = self._locate(unix_s)
        s = share[:, None]
        begin, end = self.position_itrs_m[first, satellite], self.position_itrs_m[first + 1, satellite]
        leaving, arriving = self.velocity_itrs_m_per_s[first, satellite], self.velocity_itrs_m_per_s[first + 1, satellite]
        ahead = s * s * (3.0 - 2.0 * s)
        bend = (s * (1.0 - s) * (1.0 - s)) * leaving + (s * s * (s - 1.0)) * arriving
        return np.asarray((1.0 - ahead) * begin + ahead * end + bend * self.step_s, dtype=np.float64)

    def _locate(self, unix_s: Floats) -> tuple[NDArray[np.int64], Floats]:
        """The node before each instant and the share of the step passed since, (T,) each."""
        times = np.asarray(unix_s, dtype=np.float64)
        # Counted from 1970 and not from the first node, so that the last digits do not depend on the chunk.
        node = np.floor(times / self.step_s)
        first = node - round(self.first_unix_s / self.step_s)
        last = self.position_itrs_m.shape[0] - 1
        end = times == self.first_unix_s + last * self.step_s
        if not bool(np.all((first >= 0) & ((first < last) | end))):  # NaN compares false
            raise LocalError(
                "the instants must be finite and lie within the nodes of this chunk: ask the ephemeris for nodes that hold them"
            )
        node = np.where(end, node - 1, node)
        return np.where(end, first - 1, first).astype(np.int64), (times - node * self.step_s) / self.step_s


class Ephemeris:
    """Positions of one fleet. Holds the initialised SGP4 records, no states: memory is that of what is asked for."""

    def __init__(self, fleet: Fleet, *, step_s: float = NODE_STEP_S, propagator: Propagator | None = None) -> None:
        """step_s: between nodes, at most 300. propagator: that of the same fleet, to share its records."""
        if not 0 < step_s <= _LONGEST_STEP_S:
            raise LocalError(f"the step between nodes must lie between 0 and {_LONGEST_STEP_S:.0f} s, not {step_s}")
        self.fleet = fleet
        self.step_s = float(step_s)
        self.propagator = propagator or Propagator(fleet)

    @property
    def interpolation_error_m(self) -> Floats:
        """(N,) greatest distance of an interpolated position from SGP4's own, for orbits that are nearly round."""
        rate = self.propagator.max_angular_rate_rad_per_s + EARTH_ROTATION_RAD_PER_S
        return np.asarray(_HERMITE_BOUND * (rate * self.step_s) ** 4 * self.propagator.apogee_radius_m, dtype=np.float64)

    def nodes(self, start_unix_s: float, end_unix_s: float, satellites: NDArray[np.intp] | None = None) -> Nodes:
        """The states at all nodes around [start, end]: (end − start)/step + 2 of them at most, 48 bytes a satellite each.

        satellites: indices into the fleet; all where it is not given.
        """
        if not (np.isfinite(start_unix_s) and np.isfinite(end_unix_s) and start_unix_s <= end_unix_s):
            raise LocalError("a span of time must be finite and must not end before it starts")
        first = int(np.floor(start_unix_s / self.step_s))
        last = max(first + 1, int(np.ceil(end_unix_s / self.step_s)))
        instants: Floats = np.arange(first, last + 1, dtype=np.float64) * self.step_s
        position, velocity = self.propagator.states_itrs(instants, satellites)
        return Nodes(first * self.step_s, self.step_s, position, velocity)

    def positions_itrs_m(self, unix_s: Floats) -> Floats:
        """(T, N, 3) metres ITRS at any finite instants, in any order; NaN where SGP4 gives none (decayed).

        All nodes between the first and the last instant are computed: for instants far apart ask `Propagator` instead.
        """
        times = np.atleast_1d(np.asarray(unix_s, dtype=np.float64))
        if times.size == 0:
            return np.empty((0, len(self.fleet), 3))
        return self.nodes(float(np.min(times)), float(np.max(times))).positions_itrs_m(times)

    def chunks(self, unix_s: Floats, instants_a_chunk: int) -> Iterator[tuple[Floats, Nodes]]:
        """Ascending instants in groups, each with the nodes that hold it: bounded memory for long spans."""
        if instants_a_chunk < 1:
            raise LocalError("a chunk holds at least one instant")
        for start in range(0, unix_s.shape[0], instants_a_chunk):
            times = unix_s[start : start + instants_a_chunk]
            yield times, self.nodes(float(times[0]), float(times[-1]))
