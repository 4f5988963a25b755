"""Compiled kernels on bare arrays: geometry of links, shortest delays. Their callers validate; nothing here does.

A graph is in CSR form: the links of node n are `indptr[n]:indptr[n + 1]`, with `neighbour` and `delay_s` beside each other; infinity is a
link that is down. With NUMBA_DISABLE_JIT=1 everything runs as plain Python.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tramontana.space._compile import compiled

Floats = NDArray[np.float64]
Ints = NDArray[np.int32]


_NONE = -1


@compiled
def laser_lengths(
    position_m: Floats, pairs: Ints, longest_m: float, grazing_equatorial_m: float, grazing_polar_m: float, out_m: Floats
) -> None:
    """Length of each laser link (E,), infinite beyond the range or where the line dips into the ellipsoid of grazing altitude.

    position_m: (N, 3) ITRS, NaN for a satellite that is gone.
    """
    stretch = grazing_equatorial_m / grazing_polar_m
    for e in range(pairs.shape[0]):
        a, b = pairs[e, 0], pairs[e, 1]
        ax, ay, az = position_m[a, 0], position_m[a, 1], position_m[a, 2]
        dx, dy, dz = position_m[b, 0] - ax, position_m[b, 1] - ay, position_m[b, 2] - az
        length = np.sqrt(dx * dx + dy * dy + dz * dz)
        # In axes stretched along the pole the ellipsoid is a sphere.
        az *= stretch
        dz *= stretch
        square = dx * dx + dy * dy + dz * dz
        share = -(ax * dx + ay * dy + az * dz) / square if square > 0.0 else 0.0
        share = min(1.0, max(0.0, share))
        lx, ly, lz = ax + share * dx, ay + share * dy, az + share * dz
        clear = lx * lx + ly * ly + lz * lz >= grazing_equatorial_m * grazing_equatorial_m
        out_m[e] = length if length <= longest_m and clear else np.inf  # NaN compares false


@compiled
def count_in_view(
    station_m: Floats, up: Floats, sine_minimum: Floats, longest_m: Floats, position_m: Floats, out_count: NDArray[np.int64]
) -> None:
    """How many satellites each station can use, (S,). up: (S, 3) zenith; sine_minimum: of the least elevation; longest_m: range limit."""
    for s in range(station_m.shape[0]):
        out_count[s] = 0
        for n in range(position_m.shape[0]):
            dx = position_m[n, 0] - station_m[s, 0]
            dy = position_m[n, 1] - station_m[s, 1]
            dz = position_m[n, 2] - station_m[s, 2]
            slant = np.sqrt(dx * dx + dy * dy + dz * dz)
            if dx * up[s, 0] + dy * up[s, 1] + dz * up[s, 2] >= sine_minimum[s] * slant and slant <= longest_m[s]:
                out_count[s] += 1


@compiled
def fill_in_view(
    station_m: Floats,
    up: Floats,
    sine_minimum: Floats,
    longest_m: Floats,
    position_m: Floats,
    first: NDArray[np.int64],
    out_satellite: Ints,
    out_range_m: Floats,
) -> None:
    """The satellites that `count_in_view` counted, by ascending index, and their slant ranges; those of station s begin at first[s]."""
    for s in range(station_m.shape[0]):
        at = first[s]
        for n in range(position_m.shape[0]):
            dx = position_m[n, 0] - station_m[s, 0]
            dy = position_m[n, 1] - station_m[s, 1]
            dz = position_m[n, 2] - station_m[s, 2]
            slant = np.sqrt(dx * dx + dy * dy + dz * dz)
            if dx * up[s, 0] + dy * up[s, 1] + dz * up[s, 2] >= sine_minimum[s] * slant and slant <= longest_m[s]:
                out_satellite[at] = n
                out_range_m[at] = slant
                at += 1


@compiled
def sweep(
    indptr: Ints, neighbour: Ints, delay_s: Floats, orders: Ints, distance_s: Floats, dirty: NDArray[np.bool_], most_sweeps: int
) -> int:
    """Lower `distance_s` (N, S), which holds the seeds, to shortest delays from S sources at once; returns the sweeps, -1 if not done.

    Fast sweeping: nodes are relaxed in the orders (K, N) of the grid in turn, until nothing changes. The sources of a node lie side by
    side, so the inner loop is vector code. A fixed point is the exact answer on any graph; the orders only make it come early.
    `dirty` (N,) marks the nodes with a neighbour that is lower than when they were last visited: at the start those beside a seed.
    """
    sources = distance_s.shape[1]
    for number in range(most_sweeps):
        order = orders[number % orders.shape[0]]
        for at in range(order.shape[0]):
            node = order[at]
            if not dirty[node]:
                continue
            dirty[node] = False
            lower = 0
            for link in range(indptr[node], indptr[node + 1]):
                delay = delay_s[link]
                if delay == np.inf:
                    continue
                other = neighbour[link]
                for s in range(sources):
                    before = distance_s[node, s]
                    through = distance_s[other, s] + delay
                    better = through < before
                    distance_s[node, s] = through if better else before
                    lower += better
            if lower > 0:
                for link in range(indptr[node], indptr[node + 1]):
                    dirty[neighbour[link]] = True
        if not dirty.any():
            return number + 1
    return _NONE


@compiled
def _push(heap_key: Floats, heap_node: Ints, size: int, key: float, node: int) -> int:
    at = size
    while at > 0:
        parent = (at - 1) // 2
        if heap_key[parent] < key or (heap_key[parent] == key and heap_node[parent] <= node):
            break
        heap_key[at], heap_node[at] = heap_key[parent], heap_node[parent]
        at = parent
    heap_key[at], heap_node[at] = key, node
    return size + 1


@compiled
def _pop(heap_key: Floats, heap_node: Ints, size: int) -> int:
    """Drop the root; returns the new size."""
    size -= 1
    key, node = heap_key[size], heap_node[size]
    at = 0
    while True:
        child = 2 * at + 1
        if child >= size:
            break
        right = child + 1
        if right < size and (
            heap_key[right] < heap_key[child] or (heap_key[right] == heap_key[child] and heap_node[right] < heap_node[child])
        ):
            child = right
        if key < heap_key[child] or (key == heap_key[child] and node <= heap_node[child]):
            break
        heap_key[at], heap_node[at] = heap_key[child], heap_node[child]
        at = child
    heap_key[at], heap_node[at] = key, node
    return size


@compiled
def dijkstra(
    indptr: Ints, neighbour: Ints, delay_s: Floats, seed_node: Ints, seed_delay_s: Floats, out_distance_s: Floats, out_previous: Ints
) -> None:
    """Shortest delays (N,) from one source that reaches `seed_node` in `seed_delay_s`, and the node before each: -1 for a seed or none.

    Binary heap; equal delays leave it by node index, so the tree is the same on every machine.
    """
    room = neighbour.shape[0] + seed_node.shape[0]
    heap_key, heap_node = np.empty(room, dtype=np.float64), np.empty(room, dtype=np.int32)
    size = 0
    out_distance_s[:] = np.inf
    out_previous[:] = _NONE
    for i in range(seed_node.shape[0]):
        if seed_delay_s[i] < out_distance_s[seed_node[i]]:
            out_distance_s[seed_node[i]] = seed_delay_s[i]
            size = _push(heap_key, heap_node, size, seed_delay_s[i], seed_node[i])
    while size > 0:
        key, node = heap_key[0], heap_node[0]
        size = _pop(heap_key, heap_node, size)
        if key > out_distance_s[node]:
            continue
        for link in range(indptr[node], indptr[node + 1]):
            through = key + delay_s[link]
            other = neighbour[link]
            if through < out_distance_s[other]:
                out_distance_s[other] = through
                out_previous[other] = node
                size = _push(heap_key, heap_node, size, through, other)


@compiled
def next_hops(indptr: Ints, neighbour: Ints, delay_s: Floats, distance_s: Floats, seed_s: Floats, lands: int, out: Ints) -> None:
    """For each node and source (N, S) the neighbour that comes next on the way to the source.

    `lands` where the source itself is next (the distance is the seed), -1 where it cannot be reached. The distances must be final, and
    every delay above zero, or two nodes could name each other.
    """
    for node in range(distance_s.shape[0]):
        for s in range(distance_s.shape[1]):
            best = distance_s[node, s]
            out[node, s] = lands if best < np.inf and seed_s[node, s] == best else _NONE
        for link in range(indptr[node], indptr[node + 1]):
            delay = delay_s[link]
            if delay == np.inf:
                continue
            other = neighbour[link]
            for s in range(distance_s.shape[1]):
                distance = distance_s[node, s]
                if out[node, s] == _NONE and distance < np.inf and distance_s[other, s] + delay == distance:
                    out[node, s] = other


@compiled
def join_stations(
    first: NDArray[np.int64], satellite: Ints, delay_s: Floats, distance_s: Floats, out_delay_s: Floats, out_satellite: Ints
) -> None:
    """Delay between every station and every source (P, S) over the best satellite that the station sees, and that satellite.

    `first` (P + 1,), `satellite`, `delay_s`: what each station sees; distance_s: (N, S) from the sources.
    """
    for p in range(first.shape[0] - 1):
        out_delay_s[p, :] = np.inf
        out_satellite[p, :] = _NONE
        for at in range(first[p], first[p + 1]):
            node, delay = satellite[at], delay_s[at]
            for s in range(distance_s.shape[1]):
                through = distance_s[node, s] + delay
                if through < out_delay_s[p, s]:
                    out_delay_s[p, s] = through
                    out_satellite[p, s] = node


@compiled
def disjoint_flow(indptr: Ints, head: Ints, cost: Floats, room: Ints, opposite: Ints, source: int, sink: int, most: int) -> int:
    """Send up to `most` units from source to sink at least cost; returns how many fit. `room` (A,) is updated in place.

    Every arc has an opposite one of negated cost, without room at first. Johnson's potentials keep reduced costs from going negative.
    """
    nodes = indptr.shape[0] - 1
    potential = np.zeros(nodes)
    distance = np.empty(nodes)
    came_by = np.empty(nodes, dtype=np.int32)
    heap_key, heap_node = np.empty(head.shape[0] + 1), np.empty(head.shape[0] + 1, dtype=np.int32)
    sent = 0
    while sent < most:
        distance[:] = np.inf
        came_by[:] = _NONE
        distance[source] = 0.0
        size = _push(heap_key, heap_node, 0, 0.0, source)
        while size > 0:
            key, node = heap_key[0], heap_node[0]
            size = _pop(heap_key, heap_node, size)
            if key > distance[node]:
                continue
            for arc in range(indptr[node], indptr[node + 1]):
                if room[arc] <= 0:
                    continue
                other = head[arc]
                # Rounding can leave a reduced cost a little below zero.
                through = key + max(0.0, cost[arc] + potential[node] - potential[other])
                if through < distance[other]:
                    distance[other] = through
                    came_by[other] = arc
                    size = _push(heap_key, heap_node, size, through, other)
        if distance[sink] == np.inf:
            break
        for node in range(nodes):
            potential[node] += min(distance[node], distance[sink])
        node = sink
        while node != source:
            arc = came_by[node]
            room[arc] -= 1
            room[opposite[arc]] += 1
            node = head[opposite[arc]]
        sent += 1
    return sent
