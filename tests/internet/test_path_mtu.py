"""The search for the longest datagram on paths that lose, narrow and widen, under a virtual clock."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tramontana.internet.path_mtu import CHECK_S, GRAIN, IP_OCTETS, LEAST_INNER, SEARCH_AGAIN_S, UDP_OCTETS, PathMtu, inner_mtu

STEP_S = 0.25


class Path:
    """Passes packets up to `mtu` octets, and loses some by chance."""

    def __init__(self, mtu: int, *, loss: float = 0.0, version: int = 4, seed: int = 1, known: int | None = None) -> None:
        self.mtu, self.loss, self.version = mtu, loss, version
        self.alive = True
        self.rng = np.random.default_rng(seed)
        self.now = 0.0
        self.search = PathMtu(version, self.now, known=known)
        self.sent = 0

    def run(self, seconds: float) -> None:
        overhead = IP_OCTETS[self.version] + UDP_OCTETS
        coming: list[int] = []
        for _ in range(round(seconds / STEP_S)):
            for payload in coming:
                self.search.handle_echo(payload)
            due = self.search.due(self.now)
            self.sent += sum(due)
            coming = [each for each in due if self.alive and each + overhead <= self.mtu and self.rng.random() >= self.loss]
            self.now += STEP_S


def test_a_usual_path_is_believed_at_once_and_costs_little() -> None:
    path = Path(1500)
    assert path.search.outer == 1500
    path.run(3600)
    assert path.search.outer == 1500
    assert path.search.is_proven
    assert path.sent < 200_000  # octets in an hour


@pytest.mark.parametrize(
    ("version", "outer", "inner"), [(4, 1500, 1440), (6, 1500, 1420), (4, 1400, 1328), (6, 1400, 1312), (4, 1300, 1280)]
)
def test_what_is_padded_inside_fits(version: int, outer: int, inner: int) -> None:
    assert inner_mtu(outer, version) == inner


@settings(max_examples=60, deadline=None)
@given(mtu=st.integers(1340, 1500), loss=st.sampled_from([0.0, 0.02, 0.3]), seed=st.integers(0, 10_000))
def test_a_narrow_path_is_found_and_never_believed_to_be_wider(mtu: int, loss: float, seed: int) -> None:
    path = Path(mtu, loss=loss, seed=seed)
    path.run(60 if loss < 0.1 else 600)
    assert path.search.outer <= mtu
    if loss < 0.1:
        assert path.search.outer > mtu - GRAIN


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), loss=st.sampled_from([0.1, 0.3, 0.5]))
def test_loss_alone_is_not_taken_for_a_narrow_path(seed: int, loss: float) -> None:
    wrong = 0
    path = Path(1500, loss=loss, seed=seed)
    for _ in range(20):
        path.run(60)
        wrong += path.search.outer < 1500
    assert wrong <= 10  # where chance was against it, the path is found again


def test_a_path_that_narrows_is_noticed_and_one_that_widens_is_found() -> None:
    path = Path(1500)
    path.run(120)
    path.mtu = 1400
    path.run(CHECK_S + 60)
    assert 1400 - GRAIN < path.search.outer <= 1400
    path.mtu = 1500
    path.run(SEARCH_AGAIN_S + CHECK_S + 60)
    assert path.search.outer > 1500 - GRAIN


def test_a_dead_path_is_no_narrow_one() -> None:
    path = Path(1500)
    path.run(60)
    path.alive = False
    path.run(1800)
    assert path.search.outer == 1500
    path.alive = True
    path.run(60)
    assert path.search.outer == 1500


def test_what_was_found_before_is_believed_until_it_is_disproved() -> None:
    path = Path(1400, known=1396)
    assert path.search.outer == 1396
    path.run(60)
    assert path.search.outer == 1396
    path.mtu = 1350
    path.run(CHECK_S + 60)
    assert 1350 - GRAIN < path.search.outer <= 1350


def test_a_path_too_narrow_for_ipv6_ends_at_the_least() -> None:
    path = Path(1200)
    path.run(300)
    assert inner_mtu(path.search.outer, 4) == LEAST_INNER
