"""The path player as the server uses it: one front per phone. The in-memory twin stands in for it in tests."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from tramontana.emulation.client.driver import PathPlayerUnavailable
from tramontana.path_profile import PathProfile


class PathPlayer(Protocol):
    """Plays path profiles between phones and the relay. Requests raise `PathPlayerUnavailable` or `PathPlayerRefused`.

    The real one is `tramontana.emulation.client.driver.PathPlayerClient`.
    """

    async def run(self) -> None:
        """Stay connected until cancelled; requests are answered while this runs."""

    async def attach(self, flow: str, profile: PathProfile, *, seed: int, upstream: tuple[str, int], port: int | None = None) -> int:
        """Open a flow's front or replace its profile; returns the front's UDP port, `port` if that is free."""

    async def detach(self, flow: str) -> None:
        """Close a flow's front. An unknown flow is no error."""

    async def stats(self) -> Mapping[str, Mapping[str, Any]]:
        """The counts of every flow."""


@dataclass(slots=True)
class AttachedFlow:
    """What the twin remembers of a flow."""

    profile: PathProfile
    seed: int
    upstream: tuple[str, int]
    port: int
    attached: int = 1


class MemoryPlayer:
    """A path player that plays nothing and remembers what it was told."""

    def __init__(self) -> None:
        self.flows: dict[str, AttachedFlow] = {}
        self.is_down = False
        self._next_port = 40000

    def _check(self) -> None:
        if self.is_down:
            raise PathPlayerUnavailable("the path player is down")

    async def run(self) -> None:
        await asyncio.Event().wait()

    def lose_everything(self) -> None:
        """Be a player that was started again."""
        self.flows.clear()

    async def attach(self, flow: str, profile: PathProfile, *, seed: int, upstream: tuple[str, int], port: int | None = None) -> int:
        self._check()
        known = self.flows.get(flow)
        if known is not None:
            known.profile, known.upstream, known.attached = profile, upstream, known.attached + 1
            return known.port
        if port is None:
            port, self._next_port = self._next_port, self._next_port + 1
        self.flows[flow] = AttachedFlow(profile, seed, upstream, port)
        return port

    async def detach(self, flow: str) -> None:
        self._check()
        self.flows.pop(flow, None)

    async def stats(self) -> Mapping[str, Mapping[str, Any]]:
        self._check()
        return {flow: {"up": {}, "down": {}} for flow in self.flows}
