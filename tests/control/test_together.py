"""What many ask for at the same time is done at once, and nobody is left without an answer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from tramontana.control.store.faults import StoreUnavailable
from tramontana.control.together import Together

pytestmark = pytest.mark.anyio


class Work:
    """Doubles numbers; remembers what it was asked at once. While the gate is shut it waits."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.bad: int | None = None

    async def __call__(self, asked: Sequence[int]) -> Sequence[int]:
        self.batches.append(list(asked))
        await self.gate.wait()
        if self.bad in asked:
            raise ZeroDivisionError
        return [2 * each for each in asked]


async def asked(together: Together[int, int], numbers: Sequence[int]) -> list[asyncio.Task[int]]:
    tasks = [asyncio.create_task(together.ask(number)) for number in numbers]
    for _ in range(5):
        await asyncio.sleep(0)
    return tasks


async def test_those_who_wait_are_done_at_once_and_each_gets_its_own_answer() -> None:
    work = Work()
    together = Together(work, most=4, lanes=1)
    work.gate.clear()
    tasks = await asked(together, [1])
    tasks += await asked(together, range(2, 8))
    work.gate.set()
    assert await asyncio.gather(*tasks) == [2, 4, 6, 8, 10, 12, 14]
    assert work.batches == [[1], [2, 3, 4, 5], [6, 7]]


async def test_those_who_ask_in_the_same_moment_are_done_at_once() -> None:
    work = Work()
    together = Together(work)
    assert await asyncio.gather(*(together.ask(number) for number in range(10))) == list(range(0, 20, 2))
    assert work.batches == [list(range(10))]


async def test_what_fails_for_one_does_not_fail_for_the_others() -> None:
    work = Work()
    together = Together(work, lanes=1)
    work.bad = 2
    answers = await asyncio.gather(*(together.ask(number) for number in (1, 2, 3)), return_exceptions=True)
    assert [answers[0], answers[2]] == [2, 6]
    assert isinstance(answers[1], ZeroDivisionError)


async def test_a_store_that_is_away_is_not_asked_again_for_each() -> None:
    calls = 0

    async def away(_asked: Sequence[int]) -> Sequence[int]:
        nonlocal calls
        calls += 1
        raise StoreUnavailable("away")

    together = Together(away)
    answers = await asyncio.gather(*(together.ask(number) for number in range(5)), return_exceptions=True)
    assert calls == 1
    assert all(isinstance(answer, StoreUnavailable) and str(answer) == "away" for answer in answers)
    assert len({id(answer) for answer in answers}) == 5  # raised in five tasks: none is another's


@pytest.mark.parametrize("leaves", [0, 1, 2])
async def test_when_one_leaves_in_the_middle_the_others_get_their_answers_of_the_same_work(leaves: int) -> None:
    work = Work()
    together = Together(work, lanes=1)
    work.gate.clear()
    tasks = await asked(together, [1, 2, 3])
    tasks[leaves].cancel()
    await asyncio.sleep(0)
    work.gate.set()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(answers[leaves], asyncio.CancelledError)
    assert [answer for number, answer in enumerate(answers) if number != leaves] == [
        2 * (number + 1) for number in range(3) if number != leaves
    ]
    assert work.batches == [[1, 2, 3]]


async def test_who_leaves_before_his_turn_is_not_done() -> None:
    work = Work()
    together = Together(work, lanes=1)
    work.gate.clear()
    tasks = await asked(together, [1])
    tasks += await asked(together, [2, 3])
    tasks[1].cancel()
    work.gate.set()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert work.batches == [[1], [3]]


async def test_who_asks_in_the_moment_of_the_last_answer_is_done_too() -> None:
    together = Together(Work(), lanes=1)

    async def again_and_again(number: int) -> list[int]:
        return [await together.ask(number + round) for round in range(20)]

    async with asyncio.timeout(60):
        answers = await asyncio.gather(*(again_and_again(number) for number in range(3)))
    assert answers == [[2 * (number + round) for round in range(20)] for number in range(3)]


async def test_work_that_is_cancelled_leaves_nobody_waiting_and_does_the_next() -> None:
    cancel = True

    async def work(asked: Sequence[int]) -> Sequence[int]:
        if cancel:
            raise asyncio.CancelledError
        return asked

    together = Together(work, most=2, lanes=1)
    answers = await asyncio.gather(*(together.ask(number) for number in range(5)), return_exceptions=True)
    assert all(isinstance(answer, StoreUnavailable) for answer in answers)
    cancel = False
    assert await together.ask(7) == 7
