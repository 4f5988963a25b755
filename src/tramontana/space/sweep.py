"""Long work in pieces: a function over chunks, in this process, in several, or on a Dask cluster, always with the answers in order.

The function and the chunks are pickled for other processes, so the function is one of a module or an object of a class of a module. Worker
processes are started fresh (not forked): a program that uses them needs the usual ``if __name__ == "__main__"``.
"""

from __future__ import annotations

import importlib
import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from tramontana.errors import LocalError, RemoteError

Chunk = TypeVar("Chunk")
Answer = TypeVar("Answer")
Progress = Callable[[int, int], None]
"""Called in the caller's thread with how many chunks are done and how many there are."""
Answered = Callable[[int, Answer], None]
"""Called in the caller's thread with the index of a chunk and its answer, as they come."""

_CLUSTER_TIMEOUT_S = 10


class ClusterError(RemoteError):
    """The Dask cluster cannot be used; the message says why. Check its address, or leave the address out to compute on this machine."""


def map_chunks(
    function: Callable[[Chunk], Answer],
    chunks: Sequence[Chunk],
    *,
    workers: int = 1,
    dask_address: str | None = None,
    progress: Progress | None = None,
    answered: Answered[Answer] | None = None,
) -> list[Answer]:
    """`function` of every chunk, in the order of the chunks.

    workers: processes on this machine; 1 computes here. dask_address: of a Dask scheduler, as ``tcp://host:8786``, instead of workers.
    An error of one chunk ends the work and is raised. Raises `ClusterError` for a cluster that does not answer.
    """
    if workers < 1:
        raise LocalError("at least one worker is needed")
    if dask_address is not None:
        return _on_cluster(function, chunks, dask_address, progress, answered)
    if workers == 1 or len(chunks) < 2:
        answers = []
        for index, chunk in enumerate(chunks):
            answers.append(function(chunk))
            if answered is not None:
                answered(index, answers[-1])
            if progress is not None:
                progress(len(answers), len(chunks))
        return answers
    with ProcessPoolExecutor(min(workers, len(chunks)), mp_context=multiprocessing.get_context("spawn")) as pool:
        futures = [pool.submit(function, chunk) for chunk in chunks]
        try:
            _count(futures, progress, answered)
            return [future.result() for future in futures]
        except BrokenProcessPool as error:
            raise LocalError("a worker process ended before its work did, perhaps for lack of memory: use fewer workers") from error
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _count(futures: list[Future[Answer]], progress: Progress | None, answered: Answered[Answer] | None) -> None:
    """Wait for all, raise the first error as soon as it happens."""
    index = {future: number for number, future in enumerate(futures)}
    for done, future in enumerate(as_completed(futures), start=1):
        answer = future.result()
        if answered is not None:
            answered(index[future], answer)
        if progress is not None:
            progress(done, len(futures))


def _on_cluster(
    function: Callable[[Chunk], Answer],
    chunks: Sequence[Chunk],
    address: str,
    progress: Progress | None,
    answered: Answered[Answer] | None,
) -> list[Answer]:
    try:
        distributed: Any = importlib.import_module("distributed")
    except ImportError as error:
        raise LocalError("a Dask cluster needs the optional packages: pip install 'tramontana[cluster]'") from error
    try:
        client: Any = distributed.Client(address, timeout=_CLUSTER_TIMEOUT_S, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ClusterError(f"no Dask scheduler answers at {address}: {error}. Check the address, or leave it out") from error
    with client:
        shared = client.scatter(function, broadcast=True)
        futures = [client.submit(_call, shared, chunk, pure=False) for chunk in chunks]
        index = {future.key: number for number, future in enumerate(futures)}
        try:
            for done, future in enumerate(distributed.as_completed(futures, loop=client.loop), start=1):
                answer = future.result()
                if answered is not None:
                    answered(index[future.key], answer)
                if progress is not None:
                    progress(done, len(futures))
            return [future.result() for future in futures]
        except BaseException:
            client.cancel(futures)
            raise


def _call(function: Callable[[Chunk], Answer], chunk: Chunk) -> Answer:
    return function(chunk)
