"""Compiled kernels of beam assignment on bare arrays: a greedy one, and augmenting paths (Dinic 1970) to the greatest total.

Satellites and cells are the two sides of a network: a satellite gives at most `beams`, a pair carries at most `channels`, and a cell takes
at most what it wants. `first` and `satellite` are the lists of pairs by cell, `back` and `pair` the same by satellite. With
NUMBA_DISABLE_JIT=1 everything runs as plain Python.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tramontana.space._compile import compiled

Ints = NDArray[np.int32]
Longs = NDArray[np.int64]


@compiled
def greedy(first: Longs, satellite: Ints, order: Longs, wanted: Ints, channels: int, spare: Ints, used: Ints) -> int:
    """Round after round, each cell that still wants a beam takes one from the satellite in view with most beams to spare.

    order: (C,) cells, the one that chooses first leads every round. spare: (N,) and used: (E,) are changed. Returns the beams given.
    """
    given = 0
    open_cells = order.copy()
    remaining = open_cells.shape[0]
    turn = 0
    while remaining > 0:
        kept = 0
        for k in range(remaining):
            cell = open_cells[k]
            if wanted[cell] <= turn:
                continue
            best, most = -1, 0
            for e in range(first[cell], first[cell + 1]):
                if used[e] < channels and spare[satellite[e]] > most:
                    best, most = e, spare[satellite[e]]
            if best < 0:
                continue
            used[best] += 1
            spare[satellite[best]] -= 1
            given += 1
            open_cells[kept] = cell
            kept += 1
        remaining = kept
        turn += 1
    return given


@compiled
def by_satellite(satellite: Ints, back: Longs, pair: Ints) -> None:
    """The pairs (E,) in the order of their satellites: back (N + 1,) is the first entry of each satellite, pair (E,) is filled."""
    back[:] = 0
    for e in range(satellite.shape[0]):
        back[satellite[e] + 1] += 1
    for s in range(1, back.shape[0]):
        back[s] += back[s - 1]
    fill = back.copy()
    for e in range(satellite.shape[0]):
        pair[fill[satellite[e]]] = e
        fill[satellite[e]] += 1


@compiled
def augment(
    first: Longs, satellite: Ints, cell: Ints, back: Longs, pair: Ints, lacking: Ints, channels: int, spare: Ints, used: Ints
) -> int:
    """Raise `used` (E,) to the greatest total. lacking: (C,) beams that each cell still wants. Returns how many were added.

    Each phase labels cells and satellites by their distance from the lacking cells, then pushes one beam at a time along shortest paths:
    from a cell over a pair with room to a satellite, which gives a spare beam or takes one back from another cell.
    """
    cells, satellites = first.shape[0] - 1, back.shape[0] - 1
    level = np.empty(cells + satellites, dtype=np.int32)
    queue = np.empty(cells + satellites, dtype=np.int32)
    at = np.empty(cells + satellites, dtype=np.int64)
    path = np.empty(cells + satellites, dtype=np.int32)
    added = 0
    while True:
        level[:] = -1
        tail = 0
        for c in range(cells):
            if lacking[c] > 0:
                level[c] = 0
                queue[tail] = c
                tail += 1
        head, reached = 0, False
        while head < tail:
            node = queue[head]
            head += 1
            if node < cells:
                for e in range(first[node], first[node + 1]):
                    other = cells + satellite[e]
                    if used[e] < channels and level[other] < 0:
                        level[other] = level[node] + 1
                        queue[tail] = other
                        tail += 1
            elif spare[node - cells] > 0:
                reached = True
            else:
                for k in range(back[node - cells], back[node - cells + 1]):
                    other = cell[pair[k]]
                    if used[pair[k]] > 0 and level[other] < 0:
                        level[other] = level[node] + 1
                        queue[tail] = other
                        tail += 1
        if not reached:
            return added
        at[:cells] = first[:cells]
        at[cells:] = back[:satellites]
        for start in range(cells):
            while lacking[start] > 0:
                node, depth = start, 0
                while True:
                    if node >= cells and spare[node - cells] > 0:
                        break
                    advanced = False
                    if node < cells:
                        while at[node] < first[node + 1]:
                            e = at[node]
                            other = cells + satellite[e]
                            if used[e] < channels and level[other] == level[node] + 1:
                                advanced = True
                                break
                            at[node] += 1
                    else:
                        while at[node] < back[node - cells + 1]:
                            e = pair[at[node]]
                            other = cell[e]
                            if used[e] > 0 and level[other] == level[node] + 1:
                                advanced = True
                                break
                            at[node] += 1
                    if advanced:
                        path[depth] = e
                        depth += 1
                        node = other
                    elif depth == 0:
                        break
                    else:
                        level[node] = -1  # a dead end for the rest of this phase
                        depth -= 1
                        node = cells + satellite[path[depth]] if node < cells else cell[path[depth]]
                if node < cells:
                    break
                spare[node - cells] -= 1
                for k in range(depth):
                    used[path[k]] += 1 if k % 2 == 0 else -1
                lacking[start] -= 1
                added += 1
