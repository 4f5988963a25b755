"""Several routes that share no satellite, or no link: minimum-cost flow by successive shortest paths (Suurballe 1974, Bhandari 1999).

Taking the shortest route away and searching again can miss a second one that exists; the flow cannot, and its total delay is the least.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tramontana.space.routing import _kernels

Floats = NDArray[np.float64]
Ints = NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class FlowNetwork:
    """A directed network of A arcs between nodes 0 to `nodes` - 1, each with a cost ≥ 0 and room for so many routes."""

    nodes: int
    tail: Ints
    """(A,)"""
    head: Ints
    """(A,)"""
    cost: Floats
    """(A,)"""
    room: Ints
    """(A,)"""


def disjoint_paths(network: FlowNetwork, source: int, sink: int, count: int) -> list[list[int]]:
    """Up to `count` paths from source to sink as node lists that respect the room of every arc, of least total cost."""
    arcs = network.tail.shape[0]
    tail = np.concatenate([network.tail, network.head])
    order = np.argsort(tail, kind="stable")
    place = np.empty(2 * arcs, dtype=np.int32)
    place[order] = np.arange(2 * arcs)
    indptr = np.zeros(network.nodes + 1, dtype=np.int32)
    np.cumsum(np.bincount(tail, minlength=network.nodes), out=indptr[1:])
    head = np.concatenate([network.head, network.tail])[order].astype(np.int32)
    cost = np.concatenate([network.cost, -network.cost])[order]
    room = np.concatenate([network.room, np.zeros(arcs, dtype=np.int32)])[order].astype(np.int32)
    opposite = place[(order + arcs) % (2 * arcs)]
    found = _kernels.disjoint_flow(indptr, head, cost, room, opposite, source, sink, count)
    used = network.room - room[place[:arcs]]
    return [_follow(network, indptr, order, used, source, sink) for _ in range(found)]


def _follow(network: FlowNetwork, indptr: Ints, order: NDArray[np.intp], used: Ints, source: int, sink: int) -> list[int]:
    """Walk one unit of flow from the source to the sink, and take it out."""
    arcs = used.shape[0]
    path = [source]
    while path[-1] != sink:
        leaving = order[indptr[path[-1]] : indptr[path[-1] + 1]]
        arc = next(a for a in leaving.tolist() if a < arcs and used[a] > 0)
        used[arc] -= 1
        path.append(int(network.head[arc]))
    return path
