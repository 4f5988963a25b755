"""A terminal, or the process that asks it, that misbehaves: the site goes on without its word, and asks anew."""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from tramontana.internet.dish import DishState
from tramontana.internet.linux import dish_process
from tramontana.internet.linux.dish_process import LONGEST_FAULT, Dish
from tramontana.internet.linux.namespace import Namespace

pytestmark = pytest.mark.anyio

ENDLESS = "import sys; sys.stdout.write('x' * (3 << 20)); sys.stdout.flush(); sys.stdin.read()"
WORDY = "print('no such terminal ' * 1000)"
PYTHON = sys.executable


async def followed(dish: Dish, times: int) -> list[DishState | None]:
    told: list[DishState | None] = []
    enough = asyncio.Event()

    def hear(_uplink: int, state: DishState | None) -> None:
        told.append(state)
        if len(told) >= times:
            enough.set()

    following = asyncio.create_task(dish.follow(hear))
    try:
        async with asyncio.timeout(60):
            await enough.wait()
        assert not following.done()
    finally:
        following.cancel()
        with suppress(asyncio.CancelledError):
            await following
    return told


@pytest.mark.parametrize(("program", "fault"), [(ENDLESS, "limit"), (WORDY, "no such terminal"), (None, "No such file")])
async def test_whatever_its_process_does_it_is_begun_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str | None, fault: str
) -> None:
    stand_in = tmp_path / "python"
    if program is not None:
        (tmp_path / "program.py").write_text(program)
        stand_in.write_text(f"#!/bin/sh\nexec {PYTHON} {tmp_path / 'program.py'}\n")
        stand_in.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(stand_in))
    monkeypatch.setattr(dish_process, "RESTART_S", 0.01)
    dish = Dish(Namespace(), 1, "127.0.0.1", tmp_path / "dish.sock")
    assert await followed(dish, 3) == [None] * 3
    assert dish.fault is not None
    assert fault in dish.fault
    assert len(dish.fault) <= LONGEST_FAULT
    assert dish.status()["state"] is None
