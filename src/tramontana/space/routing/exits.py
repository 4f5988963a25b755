"""Ways out of the constellation, and the routes to them: one by a search from the user, or several disjoint ones by a flow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tramontana.space.fleet import Floats
from tramontana.space.routing.disjoint import FlowNetwork, disjoint_paths
from tramontana.space.routing.lasers import LaserLinks

Ints = NDArray[np.int32]
Share = Literal["nothing", "satellites"]

NO_GATEWAY = -1


@dataclass(frozen=True, slots=True)
class Exit:
    """A way out: the last satellite, and what follows on the ground, by index."""

    satellite: int
    down_s: float
    gateway: int = NO_GATEWAY
    """`NO_GATEWAY`: straight down to the terminal of the other place."""
    point_of_presence: int = -1
    fibre_s: float = 0.0

    @property
    def delay_s(self) -> float:
        return self.down_s + self.fibre_s


@dataclass(frozen=True, slots=True)
class Way:
    """The satellites of a route in order, and how it leaves the last one."""

    satellites: tuple[int, ...]
    exit: Exit


def best_exit(exits: list[Exit], distance_s: Floats) -> Exit | None:
    """The exit of the shortest route; of equal ones that of the first gateway and satellite. distance_s: (N,) from the user."""
    reachable = [way_out for way_out in exits if np.isfinite(distance_s[way_out.satellite])]
    return min(reachable, key=lambda e: (float(distance_s[e.satellite]) + e.delay_s, e.gateway, e.satellite), default=None)


def traced_way(previous: Ints, way_out: Exit) -> Way:
    """The shortest route to an exit, read backwards from the tree of a search: (N,) the satellite before each, -1 for the first."""
    satellites = [way_out.satellite]
    while previous[satellites[-1]] >= 0:
        satellites.append(int(previous[satellites[-1]]))
    return Way(tuple(satellites[::-1]), way_out)


def disjoint_ways(lasers: LaserLinks, entry: Ints, up_s: Floats, exits: list[Exit], count: int, share: Share) -> list[Way]:
    """Up to `count` ways of least total delay. entry: (C,) the satellites that the user sees; up_s: (C,) delays to them.

    Each satellite and each gateway is two nodes, in and out; the arc between them has room for one route, or for all of them where routes
    may share satellites. Every radio link and every laser has room for one.
    """
    n = lasers.indptr.shape[0] - 1
    landing = [e for e in exits if e.gateway != NO_GATEWAY]
    straight = [e for e in exits if e.gateway == NO_GATEWAY]
    fibre_s = {e.gateway: e.fibre_s for e in landing}
    g = max(fibre_s, default=NO_GATEWAY) + 1
    source, sink, gateway_in = 2 * n, 2 * n + 1, 2 * n + 2
    standing = np.isfinite(lasers.delay_s)
    tail = np.repeat(np.arange(n), np.diff(lasers.indptr))[standing]
    # From, to, cost and room of each kind of arc: through a satellite or gateway, user link, laser, gateway link, fibre, other user's link.
    blocks = (
        (
            np.concatenate([np.arange(n), gateway_in + np.arange(g)]),
            np.concatenate([n + np.arange(n), gateway_in + g + np.arange(g)]),
            np.zeros(n + g),
            1 if share == "nothing" else count,
        ),
        (np.full(entry.shape[0], source), entry, up_s, 1),
        (n + tail, lasers.neighbour[standing], lasers.delay_s[standing], 1),
        ([n + e.satellite for e in landing], [gateway_in + e.gateway for e in landing], [e.down_s for e in landing], 1),
        ([gateway_in + g + k for k in fibre_s], [sink] * len(fibre_s), list(fibre_s.values()), count),
        ([n + e.satellite for e in straight], [sink] * len(straight), [e.down_s for e in straight], 1),
    )
    network = FlowNetwork(
        nodes=2 * n + 2 + 2 * g,
        tail=np.concatenate([np.asarray(block[0], dtype=np.int32) for block in blocks]),
        head=np.concatenate([np.asarray(block[1], dtype=np.int32) for block in blocks]),
        cost=np.concatenate([np.asarray(block[2], dtype=np.float64) for block in blocks]),
        room=np.concatenate([np.full(len(block[0]), block[3], dtype=np.int32) for block in blocks]),
    )
    by_ends = {(e.satellite, e.gateway): e for e in exits}
    ways = []
    for path in disjoint_paths(network, source, sink, count):
        satellites = tuple(node for node in path if node < n)
        gateway = next((node - gateway_in for node in path if node >= gateway_in), NO_GATEWAY)
        ways.append(Way(satellites, by_ends[satellites[-1], gateway]))
    return ways
