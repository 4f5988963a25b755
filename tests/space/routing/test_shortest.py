"""Shortest delays: sweeps, heap search and scipy agree to the last bit, on grids, on ragged fleets and on graphs that are no grid."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import dijkstra

from tramontana.space.fleet import Fleet, Floats
from tramontana.space.ground import Ground
from tramontana.space.routing import shortest
from tramontana.space.routing.failures import NOTHING
from tramontana.space.routing.lasers import LaserLinks
from tramontana.space.routing.router import Router, Source
from tramontana.space.routing.shortest import LANDS, UNREACHABLE, next_hops, searched_delays_s, shortest_delays_s
from tramontana.space.shells import FILED_EPOCH_UNIX_S

AT = FILED_EPOCH_UNIX_S + 3000.0


def scipy_delays_s(lasers: LaserLinks, seeds_s: Floats) -> Floats:
    """The sources as nodes of their own behind the satellites."""
    n, s = seeds_s.shape
    tail = np.repeat(np.arange(n), np.diff(lasers.indptr))
    up = np.isfinite(lasers.delay_s)
    satellite, source = np.nonzero(np.isfinite(seeds_s))
    graph = csr_matrix(
        (
            np.concatenate([lasers.delay_s[up], seeds_s[satellite, source]]),
            (np.concatenate([tail[up], n + source]), np.concatenate([lasers.neighbour[up], satellite])),
        ),
        shape=(n + s, n + s),
    )
    return np.asarray(dijkstra(graph, directed=True, indices=n + np.arange(s))[:, :n].T)


@st.composite
def graphs(draw: st.DrawFn) -> tuple[LaserLinks, Floats]:
    """Any undirected graph with positive delays, some links down, and seeds anywhere; the sweep orders have nothing to do with it."""
    n = draw(st.integers(1, 30))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    pairs = {tuple(sorted(p)) for p in rng.integers(0, n, (draw(st.integers(0, 80)), 2)).tolist() if p[0] != p[1]}
    ends = np.array(sorted(pairs) + [p[::-1] for p in sorted(pairs)], dtype=np.int32).reshape(-1, 2)
    delay = rng.choice([1e-3, 2e-3, 2.5e-3, np.inf], len(pairs)) if draw(st.booleans()) else rng.uniform(1e-4, 1e-2, len(pairs))
    order = np.lexsort((ends[:, 1], ends[:, 0]))
    indptr = np.concatenate([[0], np.cumsum(np.bincount(ends[:, 0], minlength=n))]).astype(np.int32)
    orders = np.stack([rng.permutation(n) for _ in range(2)]).astype(np.int32)
    lasers = LaserLinks(0.0, indptr, ends[order, 1].copy(), np.tile(delay, 2)[order], orders)
    sources = draw(st.integers(1, 40))
    seeds = np.where(rng.random((n, sources)) < 0.2, rng.uniform(1e-3, 5e-3, (n, sources)), np.inf)
    seeds.flags.writeable = False
    return lasers, seeds


@settings(max_examples=60, deadline=None)
@given(graphs())
def test_any_graph_equals_scipy(graph: tuple[LaserLinks, Floats]) -> None:
    lasers, seeds_s = graph
    expected = scipy_delays_s(lasers, seeds_s)
    assert np.array_equal(shortest_delays_s(lasers, seeds_s), expected)
    assert np.array_equal(searched_delays_s(lasers, seeds_s), expected)


@pytest.mark.parametrize("name", ["grid_fleet", "ragged_fleet"])
def test_fleets_equal_scipy(name: str, ground: Ground, request: pytest.FixtureRequest) -> None:
    fleet: Fleet = request.getfixturevalue(name)
    router = Router(fleet, ground)
    sources: list[Source] = [*ground.places, *ground.gateways, 0, len(fleet) - 1]
    for at in (AT, AT + 7 * 3600.0):
        ours = router.distances(at, sources)
        lasers = router.lasers(at)
        seeds_s = router._seeds(router._snapshot(at, NOTHING), sources)
        assert np.array_equal(ours.T, scipy_delays_s(lasers, seeds_s))
        assert np.isfinite(ours).any()


@settings(max_examples=40, deadline=None)
@given(graphs())
def test_next_hops_walk_to_the_source_in_the_shortest_time(graph: tuple[LaserLinks, Floats]) -> None:
    lasers, seeds_s = graph
    distance_s = shortest_delays_s(lasers, seeds_s)
    hops = next_hops(lasers, seeds_s, distance_s)
    for source in range(seeds_s.shape[1]):
        for node in range(seeds_s.shape[0]):
            if not np.isfinite(distance_s[node, source]):
                assert hops[source, node] == UNREACHABLE
                continue
            way = [node]
            while hops[source, way[-1]] != LANDS:
                way.append(int(hops[source, way[-1]]))
                assert len(way) <= seeds_s.shape[0]
            delay = seeds_s[way[-1], source]
            for here, there in zip(way[-2::-1], way[:0:-1], strict=True):
                span = slice(lasers.indptr[here], lasers.indptr[here + 1])
                delay += lasers.delay_s[span][lasers.neighbour[span] == there].min()
            assert delay == distance_s[node, source]


def test_without_an_end_to_the_sweeps_the_search_takes_over(monkeypatch: pytest.MonkeyPatch, ragged_fleet: Fleet, ground: Ground) -> None:
    router = Router(ragged_fleet, ground)
    expected = router.distances(AT, ground.gateways)
    monkeypatch.setattr(shortest, "_MOST_SWEEPS", 1)
    assert np.array_equal(router.distances(AT, ground.gateways), expected)
