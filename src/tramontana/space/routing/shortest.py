"""Shortest delays from many sources at once over the laser network of one instant."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tramontana.space.fleet import Floats
from tramontana.space.routing import _kernels
from tramontana.space.routing.lasers import LaserLinks
from tramontana.space.routing.stations import StationLinks

Ints = NDArray[np.int32]

LANDS = -2
"""Next hop of a satellite that sees the source itself."""
UNREACHABLE = -1

_SOURCES_AT_ONCE = 64  # few passes over the graph, and the delays of 10,000 satellites still fit a cache
_MOST_SWEEPS = 256  # the grids of real fleets need 20 to 40; beyond, a heap search ends sooner


def shortest_delays_s(lasers: LaserLinks, seeds_s: Floats) -> Floats:
    """(N, S) shortest delays from S sources; seeds_s: (N, S) delay of the link from each source to each satellite, infinite for none.

    Exact: equal to the last bit to a search with a heap, because both add up the delays of a path in the same order.
    """
    distance_s = np.empty_like(seeds_s)
    for start in range(0, seeds_s.shape[1], _SOURCES_AT_ONCE):
        columns = slice(start, start + _SOURCES_AT_ONCE)
        block = seeds_s[:, columns].copy(order="C")
        dirty = np.zeros(seeds_s.shape[0], dtype=np.bool_)
        seeded = np.isfinite(block).any(axis=1)
        dirty[lasers.neighbour[np.repeat(seeded, np.diff(lasers.indptr))]] = True
        if _kernels.sweep(lasers.indptr, lasers.neighbour, lasers.delay_s, lasers.orders, block, dirty, _MOST_SWEEPS) < 0:
            block = searched_delays_s(lasers, seeds_s[:, columns])
        distance_s[:, columns] = block
    return distance_s


def searched_delays_s(lasers: LaserLinks, seeds_s: Floats) -> Floats:
    """The same by one heap search for each source: slower, and indifferent to the shape of the graph."""
    out = np.empty_like(seeds_s)
    previous, column = np.empty(seeds_s.shape[0], dtype=np.int32), np.empty(seeds_s.shape[0])
    for source in range(seeds_s.shape[1]):
        node = np.flatnonzero(np.isfinite(seeds_s[:, source])).astype(np.int32)
        _kernels.dijkstra(lasers.indptr, lasers.neighbour, lasers.delay_s, node, seeds_s[node, source], column, previous)
        out[:, source] = column
    return out


def next_hops(lasers: LaserLinks, seeds_s: Floats, distance_s: Floats) -> Ints:
    """(S, N) the satellite that comes next on the way to each source, `LANDS` or `UNREACHABLE`; of equal ones the smallest index."""
    out = np.empty(distance_s.shape, dtype=np.int32)
    _kernels.next_hops(lasers.indptr, lasers.neighbour, lasers.delay_s, distance_s, seeds_s, LANDS, out)
    return np.ascontiguousarray(out.T)


def join(links: StationLinks, distance_s: Floats) -> tuple[Floats, Ints]:
    """Delay between any two of the stations (S, S) whose `distance_s` (N, S) this is, and the satellite by which the first enters.

    0 and -1 on the diagonal, infinity and -1 where there is no way.
    """
    count = links.first.shape[0] - 1
    delay_s, entry = np.empty((count, count)), np.empty((count, count), dtype=np.int32)
    _kernels.join_stations(links.first, links.satellite, links.delay_s, distance_s, delay_s, entry)
    np.fill_diagonal(delay_s, 0.0)
    np.fill_diagonal(entry, UNREACHABLE)
    return delay_s, entry
