"""Runs child processes, starts one that dies again, and stops all of them together.

The media processes are children of their own so that calls outlive a death of the server.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tramontana.errors import LocalError

SUPERVISOR_PID = "TRAMONTANA_SUPERVISOR_PID"
READY_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 8.0
FIRST_RESTART_DELAY_S = 0.5
MAX_QUICK_DEATHS = 5
QUICK_DEATH_S = 10.0
"""A child that lived shorter died quickly; after MAX_QUICK_DEATHS in a row the supervisor gives up."""


class ChildFailed(LocalError):
    """A part of the service did not start or keeps dying; its own message stands above."""


@dataclass
class Child:
    """One supervised process, a subcommand of `tramontana`.

    It announces itself with a first line of JSON, ``{"ready": {...}}``; every further line goes to `on_line`.
    """

    name: str
    arguments: Sequence[str]
    on_line: Callable[[str], None]
    ready: dict[str, Any] = field(default_factory=dict)
    process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start the process and wait until it is ready. Raises `ChildFailed`."""
        environment = {**os.environ, SUPERVISOR_PID: str(os.getpid()), "PYTHONUNBUFFERED": "1"}
        # A session of its own: Ctrl-C reaches the supervisor alone, which then stops the parts in order.
        self.process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tramontana.cli.main",
            *self.arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            env=environment,
            start_new_session=True,
        )
        assert self.process.stdout is not None
        try:
            line = await asyncio.wait_for(self.process.stdout.readline(), READY_TIMEOUT_S)
        except TimeoutError:
            await self.stop()
            raise ChildFailed(f"the {self.name} was not ready within {READY_TIMEOUT_S:.0f} s") from None
        announced = _parse_ready(line)
        if announced is None:
            await self.stop()
            raise ChildFailed(f"the {self.name} did not start (exit status {self.process.returncode})")
        self.ready = announced

    async def forward_until_exit(self) -> int:
        """Pass its lines on until it ends; returns the exit status."""
        assert self.process is not None
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            self.on_line(line.decode(errors="replace").rstrip("\n"))
        return await self.process.wait()

    async def stop(self) -> None:
        """End the process: politely, then by force."""
        if self.process is None or self.process.returncode is not None:
            return
        self.process.terminate()
        try:
            await asyncio.wait_for(self.process.wait(), STOP_TIMEOUT_S)
        except TimeoutError:
            self.process.kill()
            await self.process.wait()


def _parse_ready(line: bytes) -> dict[str, Any] | None:
    try:
        document: Mapping[str, Any] = json.loads(line)
        return dict(document["ready"])
    except (ValueError, KeyError, TypeError):
        return None


async def keep_running(child: Child, say: Callable[[str], None]) -> None:
    """Forward the child's lines and start it again whenever it ends. Raises `ChildFailed` when it keeps dying."""
    clock = asyncio.get_running_loop().time
    quick_deaths = 0
    while True:
        started = clock()
        status = await child.forward_until_exit()
        quick_deaths = quick_deaths + 1 if clock() - started < QUICK_DEATH_S else 1
        if quick_deaths > MAX_QUICK_DEATHS:
            raise ChildFailed(f"the {child.name} ended {quick_deaths} times in a row (last exit status {status}); giving up")
        delay = FIRST_RESTART_DELAY_S * 2 ** (quick_deaths - 1)
        how = "ended" if status == 0 else "ended unexpectedly"  # a forwarder that was drained ends by itself
        say(f"The {child.name} {how} (exit status {status}); starting it again in {delay:g} s.")
        await asyncio.sleep(delay)
        try:
            await child.start()
        except ChildFailed as error:
            # The death is counted by the next turn of the loop: the process has already ended.
            say(str(error))
        else:
            say(f"The {child.name} runs again.")
