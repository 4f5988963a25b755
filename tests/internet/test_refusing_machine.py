"""A machine that refuses something for a while ends no agent: it is tried again."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import subprocess
import time
from typing import Any

import pytest

from tests.internet.routers import Ministry
from tramontana.internet.ladder import Networks
from tramontana.internet.linux import links, site_ladder, tcp_relay
from tramontana.internet.linux.namespace import HostRefused, Namespace, run
from tramontana.internet.linux.site_ladder import LadderTunnel, SiteLadder
from tramontana.internet.linux.wireguard import UserspaceWireGuard
from tramontana.internet.overlay import TunnelId


def no_files(*_args: object, **_more: object) -> Any:
    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


def test_a_command_that_cannot_be_started_is_a_refusal_of_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", no_files)
    with pytest.raises(HostRefused, match="cannot be started"):
        run(["ip", "link"])


def test_a_tunnel_that_cannot_be_started_is_a_refusal_of_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "has_link", lambda *_: False)
    monkeypatch.setattr(subprocess, "Popen", no_files)
    with pytest.raises(HostRefused, match="cannot be started"):
        UserspaceWireGuard()._start("gw1", Namespace())


def test_rules_that_were_refused_are_applied_by_a_later_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    async def main() -> None:
        applied = asyncio.Event()

        def apply(_namespace: Namespace, rules: str) -> None:
            calls.append(rules)
            if len(calls) < 3:
                raise HostRefused("no more files")
            applied.set()

        monkeypatch.setattr(site_ladder, "apply_rules", apply)
        monkeypatch.setattr(site_ladder, "RETRY_S", 0.0)
        monkeypatch.setattr(site_ladder, "PERIOD_S", 0.001)
        ladder = SiteLadder(Namespace(), Ministry().register, [], Networks(), lambda _id: None, lambda _it: None, lambda _id, _mtu: None)
        running = asyncio.ensure_future(ladder.run())
        done, _ = await asyncio.wait({running, asyncio.ensure_future(applied.wait())}, return_when=asyncio.FIRST_COMPLETED)
        assert running not in done
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(asyncio.wait_for(main(), 60))
    assert len(calls) == 3


def test_a_turn_survives_sockets_and_interfaces_that_refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    class Scouts:
        scout = knock = no_files

    refuses, lengths = [True], list[int]()

    def set_mtu(_id: TunnelId, octets: int) -> None:
        if refuses[0]:
            raise HostRefused("no such interface")
        lengths.append(octets)

    monkeypatch.setattr(SiteLadder, "_scouts", lambda *_: Scouts())
    tunnel = LadderTunnel(TunnelId("ab" * 16, "cd" * 16, 1), "wan", "192.0.2.1", 51836)
    ladder = SiteLadder(Namespace(), Ministry().register, [tunnel], Networks(), lambda _id: None, lambda _it: None, set_mtu)
    (way,) = ladder._ways.values()
    begin = time.monotonic()
    for second in range(60):
        ladder._turn(way, begin + second)
    assert not lengths
    refuses[0] = False
    Scouts.scout = Scouts.knock = lambda *_: None
    ladder._turn(way, begin + 61)
    assert lengths == [way.mtu]


def test_a_relay_that_cannot_be_made_leaves_no_pipe_open(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        pairs = [socket.socketpair() for _ in range(2)]
        pipes: list[tuple[int, int]] = []
        pipe2 = os.pipe2

        def one_pipe(flags: int) -> tuple[int, int]:
            if pipes:
                no_files()
            pipes.append(pipe2(flags))
            return pipes[-1]

        monkeypatch.setattr(os, "pipe2", one_pipe)
        with pytest.raises(OSError, match="Too many"):
            tcp_relay.Relay(pairs[0][0], pairs[1][0], lambda _one, _other: None)
        for end in pipes[0]:
            with pytest.raises(OSError, match="Bad file"):
                os.fstat(end)
        for _, far in pairs:
            far.close()

    asyncio.run(main())
