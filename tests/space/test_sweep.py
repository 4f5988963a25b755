"""Chunks of work here, in processes, and on a Dask cluster: the same answers in order, errors as they were raised."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from functools import partial

import pytest

from tramontana.errors import LocalError
from tramontana.space.sweep import ClusterError, map_chunks

CHUNKS = [5, 3, 1, 4]
square = partial(pow, exp=2)  # importable by every worker, unlike a function of this test
invert = partial(operator.truediv, 1.0)


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    """The address of a cluster on this machine."""
    distributed = pytest.importorskip("distributed", reason="the optional packages of a Dask cluster are not installed")
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=1, processes=False, host="127.0.0.1", dashboard_address="127.0.0.1:0", protocol="tcp"
        ) as cluster,
    ):
        yield cluster.scheduler_address


@pytest.mark.parametrize("workers", [1, 2])
def test_answers_come_in_the_order_of_the_chunks(workers: int) -> None:
    told: list[tuple[int, int]] = []
    assert map_chunks(square, CHUNKS, workers=workers, progress=lambda done, of: told.append((done, of))) == [25, 9, 1, 16]
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert map_chunks(square, [], workers=workers) == []


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_ends_the_work(workers: int) -> None:
    with pytest.raises(ZeroDivisionError):
        map_chunks(invert, [1, 0, 2], workers=workers)
    with pytest.raises(LocalError, match="at least one worker"):
        map_chunks(invert, [1], workers=0)


def test_the_same_on_a_cluster(scheduler: str) -> None:
    told: list[tuple[int, int]] = []
    assert map_chunks(square, CHUNKS, dask_address=scheduler, progress=lambda done, of: told.append((done, of))) == [25, 9, 1, 16]
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]
    with pytest.raises(ZeroDivisionError):
        map_chunks(invert, [1, 0, 2], dask_address=scheduler)


def test_a_cluster_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tramontana.space.sweep._CLUSTER_TIMEOUT_S", 0.2)
    with pytest.raises(ClusterError, match="no Dask scheduler answers"):
        map_chunks(square, CHUNKS, dask_address="tcp://127.0.0.1:1")
