"""What is out of order: satellites, planes, gateways, points of presence and single lasers, as an input of every question."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tramontana.errors import LocalError
from tramontana.space.ground import Ground
from tramontana.space.routing.planes import Planes


@dataclass(frozen=True, slots=True)
class Failures:
    """Removed things. Nothing takes their place: the satellites around a gap keep their lasers as they were."""

    satellites: frozenset[int] = frozenset()
    """By index in the fleet."""
    planes: frozenset[int] = frozenset()
    """By number in `Router.planes(at)`."""
    gateways: frozenset[str] = frozenset()
    points_of_presence: frozenset[str] = frozenset()
    lasers: frozenset[tuple[int, int]] = frozenset()
    """Links by the two satellites, in either order; one that does not exist is down anyway."""

    def failed_satellites(self, planes: Planes) -> NDArray[np.bool_]:
        """(N,) the satellites that are gone, alone or with their plane. Raises `LocalError` for one that was never there."""
        count = planes.plane.shape[0]
        if any(not 0 <= satellite < count for satellite in self.satellites):
            raise LocalError(f"a failed satellite must be given by its index in the fleet, 0 to {count - 1}")
        failed = np.zeros(count, dtype=np.bool_)
        failed[list(self.satellites)] = True
        for plane in self.planes:
            failed[planes.satellites(plane)] = True
        return failed

    def failed_links(self, indptr: NDArray[np.int32], neighbour: NDArray[np.int32]) -> NDArray[np.bool_]:
        """(M,) the directed links of a CSR graph whose laser is down."""
        tail = np.repeat(np.arange(indptr.shape[0] - 1, dtype=np.int64), np.diff(indptr))
        keys = [a << 32 | b for pair in self.lasers for a, b in (pair, pair[::-1])]
        return np.asarray(np.isin(tail << 32 | neighbour, np.array(keys, dtype=np.int64)), dtype=np.bool_)

    def check(self, ground: Ground) -> None:
        """Raise `LocalError` for a gateway or point of presence that the ground does not have: a misspelt failure must not pass as none."""
        for kind, failed, rows in (
            ("gateway", self.gateways, ground.gateways),
            ("point of presence", self.points_of_presence, ground.points_of_presence),
        ):
            unknown = failed - {row.id for row in rows}
            if unknown:
                raise LocalError(f"unknown {kind} {sorted(unknown)[0]!r}: use one of {', '.join(row.id for row in rows)}")


NOTHING = Failures()
