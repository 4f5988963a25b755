"""The driver of a site's ladders: scouts, knocks, the TLS relay, and the rules that put each tunnel on its rung."""

from __future__ import annotations

import asyncio
import logging
import math
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final

from tramontana.errors import LocalError, TramontanaError
from tramontana.internet import rung_rules
from tramontana.internet.knock import ScoutKey
from tramontana.internet.ladder import Action, Ladder, Move, Networks, Remember, Rung, Scout
from tramontana.internet.linux.firewall import apply_rules
from tramontana.internet.linux.namespace import HostRefused, Namespace
from tramontana.internet.linux.scout_socket import ScoutSocket
from tramontana.internet.linux.site_uplinks import Heard
from tramontana.internet.linux.tls_stream import Relay, connect, open_stream
from tramontana.internet.linux.underlay_network import UnderlayNetwork, network_of
from tramontana.internet.overlay import HTTPS_PORT, TunnelId
from tramontana.internet.path_mtu import ETHERNET, PathMtu, inner_mtu
from tramontana.internet.rung_rules import TunnelRung
from tramontana.internet.tunnel_keys import Trust

PERIOD_S: Final = 0.25
NETWORK_PERIOD_S: Final = 3.0
KNOCK_PERIOD_S: Final = 0.5
"""Of knocks while no probe comes back: the flow may have got another address on the way."""
QUIET_S: Final = 1.0
LINGER_S: Final = 5.0
"""So long a stream that is not used any more still delivers what is under way."""
ASK_PERIOD_S: Final = 2.0
SILENT_S: Final = 6.0
"""A stream in use that says nothing for so long is made anew."""
RETRY_S: Final = 1.0

log = logging.getLogger("tramontana.site")


@dataclass(frozen=True, slots=True)
class LadderTunnel:
    """A tunnel as the ladder sees it."""

    id: TunnelId
    interface: str
    """The uplink's."""
    gateway: str
    """Its address."""
    site_port: int
    """From which WireGuard sends."""


class _Way:
    def __init__(self, tunnel: LadderTunnel, scouts: ScoutSocket, now: float) -> None:
        self.tunnel, self.scouts = tunnel, scouts
        self.ladder = Ladder(now)
        self.version = 6 if ":" in tunnel.gateway else 4
        self.length = PathMtu(self.version, now)
        self.mtu: int | None = None
        """Of the tunnel's interface, as it was set last."""
        self.knock_at = -math.inf
        self.datagrams: socket.socket | None = None
        """On loopback, where the rules lead the tunnel's packets on the rung of TLS."""
        self.relay: Relay | None = None
        self.leading: asyncio.Task[None] | None = None
        self.lead_at = -math.inf
        """Not before then is a stream opened again."""
        self.wanted_until = -math.inf
        self.ask_at = -math.inf
        self.heard_at = now
        self.reason = "at the start"

    @property
    def rung(self) -> TunnelRung:
        port = None if self.datagrams is None else int(self.datagrams.getsockname()[1])
        tunnel = self.tunnel
        return TunnelRung(tunnel.id.uplink, tunnel.interface, tunnel.gateway, tunnel.site_port, self.ladder.rung, port)


class SiteLadder:
    """All tunnels of one site. heard: what the probes in a tunnel say; keep: stores what is remembered. set_mtu: told how long a
    tunnel's packets may be, as far as the way goes."""

    def __init__(
        self,
        underlay: Namespace,
        trust: Trust,
        tunnels: Sequence[LadderTunnel],
        networks: Networks,
        heard: Callable[[TunnelId], Heard | None],
        keep: Callable[[Networks], None],
        set_mtu: Callable[[TunnelId, int], None],
    ) -> None:
        """Raises `HostRefused`, `OSError`."""
        self._underlay, self._trust, self._heard, self._networks, self._keep = underlay, trust, heard, networks, keep
        self._set_mtu = set_mtu
        now = time.monotonic()
        self._ways = {each.id: _Way(each, self._scouts(each), now) for each in tunnels}
        self._places: dict[str, UnderlayNetwork] = {}
        """By the uplink's interface."""
        self._tasks: asyncio.TaskGroup | None = None
        self._apply_at = math.inf
        """When rules are tried again that the machine refused."""

    def _scouts(self, tunnel: LadderTunnel) -> ScoutSocket:
        key = ScoutKey(self._trust.root.fingerprint, tunnel.id.gateway)
        return ScoutSocket(self._underlay, tunnel.id.uplink, tunnel.gateway, tunnel.site_port, key)

    def rung(self, tunnel: TunnelId) -> Rung:
        """On which the tunnel is."""
        return self._ways[tunnel].ladder.rung

    def status(self, tunnel: TunnelId) -> dict[str, Any]:
        """For the site's page and the console."""
        way = self._ways[tunnel]
        return {"rung": way.ladder.rung.label, "rung_reason": way.reason}

    async def run(self) -> None:
        """Until cancelled; the rules stay."""
        loop = asyncio.get_running_loop()
        await self._look_at_networks()  # so that a new agent goes on as the one before did
        self._apply()
        for way in self._ways.values():
            loop.add_reader(way.scouts.socket, self._answered, way)
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                tasks.create_task(self._watch_networks())
                while True:
                    for way in self._ways.values():
                        self._turn(way, time.monotonic())
                    if time.monotonic() >= self._apply_at:
                        self._apply()
                    await asyncio.sleep(PERIOD_S)
        finally:
            for way in self._ways.values():
                loop.remove_reader(way.scouts.socket)
                way.scouts.close()
                if way.datagrams is not None:
                    way.datagrams.close()

    def _apply(self) -> None:
        """If the machine refuses, a later turn tries again."""
        try:
            apply_rules(self._underlay, rung_rules.site_rules(way.rung for way in self._ways.values()))
            self._apply_at = math.inf
        except HostRefused as error:
            log.warning("the ladder's rules: %s", error)
            self._apply_at = time.monotonic() + RETRY_S

    def _answered(self, way: _Way) -> None:
        for rung, octets in way.scouts.answers():
            way.ladder.handle_answer(rung)
            if rung is way.ladder.rung:
                way.length.handle_echo(octets)

    def _turn(self, way: _Way, now: float) -> None:
        """What the machine refuses now, it may do the next time."""
        try:
            self._observe(way, now)
            self._look_after_stream(way, now)
            self._look_after_length(way, now)
        except (OSError, HostRefused) as error:
            log.warning("the tunnel to %s over %s: %s", way.tunnel.id.gateway, way.tunnel.interface, error)

    def _observe(self, way: _Way, now: float) -> None:
        heard = self._heard(way.tunnel.id) or Heard(keyed=False, dead=False, answered_at=None)
        for action in way.ladder.observe(keyed=heard.keyed, dead=heard.dead, answered_at=heard.answered_at, now=now):
            self._perform(way, action, now)
        is_quiet = heard.answered_at is None or now > heard.answered_at + QUIET_S
        if way.ladder.rung is Rung.UDP_443 and heard.keyed and is_quiet and now >= way.knock_at:
            way.knock_at = now + KNOCK_PERIOD_S
            way.scouts.knock()

    def _look_after_length(self, way: _Way, now: float) -> None:
        """A stream takes any; a datagram's way is searched."""
        mtu = inner_mtu(ETHERNET, way.version)
        if way.ladder.rung is not Rung.TLS_443:
            for octets in way.length.due(now):
                way.scouts.scout(way.ladder.rung, octets)
            mtu = inner_mtu(way.length.outer, way.version)
        if mtu != way.mtu:
            self._set_mtu(way.tunnel.id, mtu)
            way.mtu = mtu
            self._remember(way, way.length.outer if way.length.is_proven else None)

    def _remember(self, way: _Way, length: int | None) -> None:
        place = self._places.get(way.tunnel.interface)
        if place is None or not way.ladder.is_proven:
            return
        if self._networks.remember(place.key, way.tunnel.id.gateway, way.ladder.rung, length):
            try:
                self._keep(self._networks)
            except LocalError as error:
                log.warning("what works in which network cannot be stored: %s", error)

    def _perform(self, way: _Way, action: Action, now: float) -> None:
        match action:
            case Scout(rungs):
                for rung in rungs:
                    if rung is not Rung.TLS_443:
                        way.scouts.scout(rung)
                    elif way.relay is not None:
                        way.relay.ask()
                    else:
                        self._lead(way, now)
            case Move(rung, reason):
                way.reason = reason
                log.info("the tunnel to %s over %s goes by %s: %s", way.tunnel.id.gateway, way.tunnel.interface, rung.label, reason)
                self._apply()
                if rung is Rung.UDP_443:
                    way.scouts.knock()
            case Remember():
                self._remember(way, way.length.outer if way.length.is_proven else None)

    # The stream

    def _look_after_stream(self, way: _Way, now: float) -> None:
        """It lives while it is used or asked about, and a little longer."""
        is_used = way.ladder.rung is Rung.TLS_443
        if is_used or Rung.TLS_443 in way.ladder.scouted:
            way.wanted_until = now + LINGER_S
        if is_used and way.relay is None:
            self._lead(way, now)
        if is_used and way.relay is not None and now >= way.ask_at:
            way.ask_at = now + ASK_PERIOD_S
            way.relay.ask()
        is_silent = way.relay is not None and now > way.heard_at + SILENT_S
        if way.leading is not None and (now > way.wanted_until or is_silent):
            way.leading.cancel()

    def _lead(self, way: _Way, now: float) -> None:
        if way.leading is None and now >= way.lead_at and self._tasks is not None:
            way.leading = self._tasks.create_task(self._lead_stream(way))

    async def _lead_stream(self, way: _Way) -> None:
        """One TLS connection, and its relay until it ends."""
        tunnel = way.tunnel
        try:
            connection = await connect(self._underlay, tunnel.id.uplink, tunnel.gateway, HTTPS_PORT)
            reader, writer = await open_stream(connection, tunnel.id.uplink, tunnel.id.gateway, self._trust)
            try:
                if way.datagrams is None:
                    way.datagrams = self._loopback(":" in tunnel.gateway)
                    self._apply()
                way.heard_at = time.monotonic()
                way.relay = Relay(reader, writer, way.datagrams, None, lambda: self._stream_heard(way))
                way.ladder.handle_answer(Rung.TLS_443)
                await way.relay.run()
            finally:
                way.relay = None
                writer.transport.abort()
        except (OSError, TimeoutError, TramontanaError) as error:
            log.info("TLS to gateway %s over %s: %s", tunnel.id.gateway, tunnel.interface, error or "no answer in time")
        finally:
            way.leading, way.lead_at = None, time.monotonic() + RETRY_S

    def _stream_heard(self, way: _Way) -> None:
        way.heard_at = time.monotonic()
        way.ladder.handle_answer(Rung.TLS_443)

    def _loopback(self, is_6: bool) -> socket.socket:
        with self._underlay.entered():
            made = socket.socket(socket.AF_INET6 if is_6 else socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        made.bind(("::1" if is_6 else "127.0.0.1", 0))
        return made

    # Networks

    async def _watch_networks(self) -> None:
        while True:
            await asyncio.sleep(NETWORK_PERIOD_S)
            if await self._look_at_networks():
                self._apply()

    async def _look_at_networks(self) -> bool:
        """Whether a tunnel begins anew."""
        uplinks = {way.tunnel.interface: way.tunnel.id.uplink for way in self._ways.values()}
        is_new = False
        for interface, uplink in uplinks.items():
            with suppress(LocalError):  # it is gone at the moment
                is_new |= self._found(await asyncio.to_thread(network_of, self._underlay, interface, uplink))
        return is_new

    def _found(self, network: UnderlayNetwork) -> bool:
        before = self._places.get(network.interface)
        if before is not None and network.may_be(before):
            self._places[network.interface] = network if network.router else replace(network, router=before.router)
            if before.router or not network.router:
                return False
        else:
            self._places[network.interface] = network
        is_other = before is None or not network.may_be(before)
        now, is_new = time.monotonic(), False
        for way in self._ways.values():
            if way.tunnel.interface != network.interface:
                continue
            remembered = self._networks.remembered(network.key, way.tunnel.id.gateway)
            if is_other or (remembered is not None and remembered is not way.ladder.rung and not way.ladder.is_proven):
                way.ladder.handle_network(remembered, now)
                way.reason = "remembered of this network" if remembered is not None else "first in this network"
                is_new = True
            known = self._networks.length(network.key, way.tunnel.id.gateway)
            if is_other or (known is not None and not way.length.is_proven):
                way.length = PathMtu(way.version, now, known=known)
        return is_new
