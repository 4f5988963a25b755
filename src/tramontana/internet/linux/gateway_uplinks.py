"""The gateway's driver of uplinks: answers probes, obeys SWITCH, shapes what it sends to each site.

Which site a datagram is from follows from the tunnel address it came from: WireGuard lets a peer use its own addresses only.
"""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Final

from tramontana.internet.copies import CopyRequests
from tramontana.internet.flow_class import FlowClass
from tramontana.internet.linux import flow_marks, flow_routes, traffic_control
from tramontana.internet.linux.flow_marks import Network
from tramontana.internet.linux.tunnel_socket import Counters, open_socket, received, send
from tramontana.internet.probe import PROBE_TYPE, Echo, MalformedDatagram, Probe, Responder
from tramontana.internet.qos import plan
from tramontana.internet.switch import Assignment, SiteRoutes, parse_switch

SHAPING_PERIOD_S: Final = 1.0


@dataclass(frozen=True)
class GatewaySite:
    """A site as the gateway's agent admitted it. addresses: its tunnel address by uplink; branch: its place in traffic control, 1–4095."""

    id: str
    networks: Sequence[Network]
    addresses: Mapping[int, str]
    branch: int
    lengths: Mapping[int, int] = field(default_factory=dict)
    """Octets of the longest packet, by uplink; where it is not known that of the interface counts."""


class GatewayUplinks:
    """One gateway. devices: uplink index → (interface, own tunnel address).

    routes_file: where assignments are kept over a restart. octets: (received, sent) of a site in a tunnel, where that can be told; without
    it the interface's counters serve while one site uses it, and (0, 0), "not known", when there are more.
    """

    def __init__(
        self,
        devices: Mapping[int, tuple[str, str]],
        *,
        routes_file: Path | None = None,
        octets: Callable[[str, int], tuple[int, int]] | None = None,
    ) -> None:
        self._devices = dict(devices)
        self._routes_file = routes_file
        self._octets = octets
        self._counters = Counters()
        self._sites: dict[str, GatewaySite] = {}
        self._hand = ThreadPoolExecutor(1, "routes")
        """Sets routes one after the other, while this loop goes on answering every site's probes."""
        self._site_at: dict[tuple[int, str], str] = {}
        self._responders: dict[tuple[str, int], Responder] = {}
        self._shape_kbps: dict[tuple[str, int], int] = {}
        self._shape_changed: set[int] = set()
        self._sockets: dict[int, socket.socket] = {}
        self.routes = SiteRoutes(_kept_routes(routes_file))
        self.switches: dict[str, int] = {}
        """How often each site moved traffic since the start."""
        self._asked: dict[str, Callable[[], object]] = {}
        """What to answer to the sites whose routes are to be set next."""
        self._is_routing = False
        self._requests = CopyRequests()
        self._is_copying = self._copies_changed = False
        self.copies_refused = 0
        """How often the system would not send urgent packets twice; they then went once."""
        self.heard_at: dict[str, float] = {}
        """When each site's last probe came, seconds of `time.monotonic`."""
        self.malformed = 0
        self.keeping_refused = 0
        """How often the disk would not keep the assignments."""
        self.lengths_refused = 0
        """How often the system would not take the length of a route; that of the interface counts then."""

    def add(self, site: GatewaySite) -> None:
        """Admit a site. Its networks are unreachable until it says SWITCH, or go where it said before a restart."""
        self._sites[site.id] = site
        for uplink, address in site.addresses.items():
            self._site_at[uplink, address] = site.id
        self._hand.submit(self._admit, site).result()

    def set_length(self, site_id: str, uplink: int, octets: int) -> None:
        """The way over this uplink takes packets of so many octets; routes say so, and so do the segments that TCP agrees on."""
        before = self._sites[site_id]
        self._sites[site_id] = site = replace(before, lengths={**before.lengths, uplink: octets})
        done = self._hand.submit(self._admit, site)
        done.add_done_callback(self._length_set)

    def _length_set(self, done: Future[None]) -> None:
        if done.exception() is not None:
            self.lengths_refused += 1

    def remove(self, site_id: str) -> None:
        """The site was revoked: its routes and its answers end now."""
        site = self._sites.pop(site_id)
        self._site_at = {key: of for key, of in self._site_at.items() if of != site_id}
        self._shape_kbps = {key: kbps for key, kbps in self._shape_kbps.items() if key[0] != site_id}
        self._shape_changed |= set(site.addresses)
        self.heard_at.pop(site_id, None)
        self._asked.pop(site_id, None)
        if self._requests.forget(site_id):
            self._copy()
        self.switches.pop(site_id, None)
        is_kept = self.routes.forget(site_id)
        self._hand.submit(flow_routes.forget, site.networks).result()
        if is_kept:
            self._hand.submit(self._keep, dict(self.routes.in_force)).result()

    async def run(self) -> None:
        """Until cancelled. Raises `TunnelSocketError`, or `HostRefused` if the system refuses a route."""
        flow_routes.prepare()
        loop = asyncio.get_running_loop()
        self._failed = loop.create_future()
        self._copy()  # for nobody yet: what an agent before this one sent twice, sites ask for anew with their probes
        try:
            for uplink, (device, address) in self._devices.items():
                self._sockets[uplink] = open_socket(device, address)
                loop.add_reader(self._sockets[uplink], self._read, uplink)
            while True:
                await asyncio.wait([self._failed], timeout=SHAPING_PERIOD_S)
                if self._failed.done():
                    self._failed.result()
                if self._requests.handle_timer(time.monotonic()):
                    self._copy()
                await self._shape()
        finally:
            for sock in self._sockets.values():
                loop.remove_reader(sock)
                sock.close()
            self._sockets.clear()
            self._counters.close()

    def _read(self, uplink: int) -> None:
        sock = self._sockets[uplink]
        for datagram, address, port in received(sock):
            site = self._site_at.get((uplink, address))
            if site is None:
                continue
            try:
                if datagram[:1] == bytes([PROBE_TYPE]):
                    send(sock, self._echo(site, uplink, Probe.parse(datagram)).encode(), address, port)
                else:
                    self._switch(site, parse_switch(datagram), partial(send, sock, address=address, port=port))
            except MalformedDatagram:
                self.malformed += 1

    def _echo(self, site: str, uplink: int, probe: Probe) -> Echo:
        now = self.heard_at[site] = time.monotonic()
        if self._shape_kbps.get((site, uplink)) != probe.shape_kbps:
            self._shape_kbps[site, uplink] = probe.shape_kbps
            self._shape_changed.add(uplink)
        if self._requests.handle_probe(site, uplink, probe.copies, now):
            self._copy()
        responder = self._responders.setdefault((site, uplink), Responder())
        return responder.echo(probe, now, *self._counted(site, uplink), self.routes.sequence(site))

    def _switch(self, site: str, asked: Assignment, reply: Callable[[bytes], object]) -> None:
        """The answer goes out when the routes are in place. Whatever comes while others are set is set together afterwards."""
        changed, answer = self.routes.handle_switch(site, asked)
        if not changed:
            reply(answer)
            return
        self.switches[site] = self.switches.get(site, 0) + 1
        self._asked[site] = partial(reply, answer)
        if not self._is_routing:
            self._route_asked()

    def _route_asked(self) -> None:
        asked, self._asked = self._asked, {}
        wanted = [self._ways(self._sites[site], self.routes.in_force[site]) for site in asked if site in self._sites]
        self._is_routing = True
        kept = dict(self.routes.in_force)
        done = asyncio.get_running_loop().run_in_executor(self._hand, self._set_routes, wanted, kept)

        def routed(future: asyncio.Future[None]) -> None:
            self._is_routing = False
            error = future.exception()
            if error is None:
                for reply in asked.values():
                    reply()
                if self._asked:
                    self._route_asked()
            elif not self._failed.done():
                self._failed.set_exception(error)

        done.add_done_callback(routed)

    def _set_routes(
        self, wanted: Sequence[tuple[Sequence[Network], dict[FlowClass, flow_routes.Way]]], kept: Mapping[str, Assignment]
    ) -> None:
        self._keep(kept)
        flow_routes.route_all(wanted)

    def _copy(self) -> None:
        """Send urgent packets of the sites that ask for it twice; what changes meanwhile is seen to afterwards."""
        if self._is_copying:
            self._copies_changed = True
            return
        self._is_copying, self._copies_changed = True, False
        wanted = [
            flow_marks.Copies(
                tuple(sorted(flows)), self._devices[uplink][0], self._sites[site].addresses[uplink], tuple(self._sites[site].networks)
            )
            for (site, uplink), flows in self._requests.wanted.items()
        ]
        done = asyncio.get_running_loop().run_in_executor(self._hand, flow_marks.duplicate, wanted)

        def copied(future: asyncio.Future[None]) -> None:
            self._is_copying = False
            if future.exception() is not None:
                self.copies_refused += 1
            if self._copies_changed:
                self._copy()

        done.add_done_callback(copied)

    def _counted(self, site: str, uplink: int) -> tuple[int, int]:
        if self._octets is not None:
            return self._octets(site, uplink)
        if len(self._sites) > 1:
            return 0, 0
        return self._counters.read().get(self._devices[uplink][0], (0, 0))

    def _admit(self, site: GatewaySite) -> None:
        flow_routes.secure(site.networks)
        flow_routes.route(*self._ways(site, self.routes.in_force.get(site.id, Assignment(0))))  # what stands already is replaced by itself

    def _ways(self, site: GatewaySite, assignment: Assignment) -> tuple[Sequence[Network], dict[FlowClass, flow_routes.Way]]:
        return site.networks, {flow: self._way(site, assignment.uplink(flow)) for flow in FlowClass}

    def _way(self, site: GatewaySite, uplink: int) -> flow_routes.Way:
        device, octets = self._devices.get(uplink, (None, ""))[0], site.lengths.get(uplink)
        return device if device is None or octets is None else flow_routes.Narrow(device, octets)

    async def _shape(self) -> None:
        changed = self._shape_changed & set(self._devices)
        self._shape_changed.clear()
        for uplink in changed:
            wanted = {self._sites[site].branch: kbps for (site, at), kbps in self._shape_kbps.items() if at == uplink and kbps}
            device = self._devices[uplink][0]
            branches = {branch: plan(kbps * 1e3) for branch, kbps in wanted.items()}
            if branches:
                await asyncio.to_thread(traffic_control.apply, device, branches)
            else:
                await asyncio.to_thread(traffic_control.remove, device)

    def _keep(self, in_force: Mapping[str, Assignment]) -> None:
        """In the hand's thread. A disk that refuses keeps no traffic from moving: what is not kept, sites say again after a restart."""
        if self._routes_file is None:
            return
        temporary = self._routes_file.with_suffix(".new")
        try:
            temporary.write_text(json.dumps({site: [a.sequence, *a.uplinks] for site, a in in_force.items()}))
            temporary.replace(self._routes_file)
        except OSError:
            self.keeping_refused += 1


def _kept_routes(file: Path | None) -> dict[str, Assignment]:
    """What can be read of it: a site that is not there says SWITCH again as soon as it sees an ECHO."""
    if file is None or not file.exists():
        return {}
    try:
        kept = json.loads(file.read_text())
        return {str(site): Assignment(int(numbers[0]), tuple(int(n) for n in numbers[1:])) for site, numbers in kept.items()}
    except (ValueError, TypeError, AttributeError, IndexError):
        return {}
