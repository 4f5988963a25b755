"""A running gateway: answers control connections, holds the tunnels of many sites, and routes."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AsyncExitStack, suppress
from functools import partial
from ipaddress import IPv4Address, ip_network
from itertools import count
from typing import Any

from tramontana.errors import LocalError, TramontanaError
from tramontana.internet import kill_switch, zeroise
from tramontana.internet.addresses import Network, is_private, overlapped
from tramontana.internet.control_channel import Acceptance, GatewayAt, Gateways, Introduction, LogPart, Refusal, Sealed
from tramontana.internet.door import Door
from tramontana.internet.driver import (
    KEEPALIVE_S,
    TICK_S,
    PeerPlan,
    StateDirectory,
    TunnelEnd,
    close_quietly,
    do_all,
    look_at,
    nested_status,
    now_s,
    position_of,
    read_identity,
    renewed,
    serve_status,
    standing_fault,
    unix_s,
)
from tramontana.internet.flow_class import FlowClass
from tramontana.internet.gateway.channel.driver import Connection
from tramontana.internet.gateway.machine import remove_tunnels
from tramontana.internet.key_renewal import GatewayKey
from tramontana.internet.linux import firewall, links, tcp_proxy, traffic_control
from tramontana.internet.linux.flow_marks import FlowMarks
from tramontana.internet.linux.found import connected_networks
from tramontana.internet.linux.gateway_front import serving
from tramontana.internet.linux.gateway_uplinks import GatewaySite, GatewayUplinks
from tramontana.internet.linux.listening import listener
from tramontana.internet.linux.metrics_server import serve_metrics
from tramontana.internet.linux.namespace import HostRefused, Namespace, allow_files
from tramontana.internet.linux.wireguard import WireGuard, layers_here, public_key_of, wireguard_here
from tramontana.internet.log_file import LogFile
from tramontana.internet.metrics import ShapedCount, exposition, gateway_families
from tramontana.internet.overlay import (
    CONTROL_PORT,
    GATEWAY_END,
    LAYER_OCTETS,
    LEAST_OUTER_MTU,
    MAX_UPLINK_INDEX,
    OUTER,
    WIREGUARD_PORT,
    Layer,
    TunnelId,
    between,
    copy_address,
    gateway_interface,
    tunnel_address,
)
from tramontana.internet.report import MAX_WORDS, GatewayReport, SignedReport, sign_report
from tramontana.internet.settings import GatewaySettings, SettingsRefused, SitePlace
from tramontana.internet.tcp_proxy import ProxySettings, Role
from tramontana.internet.tunnel_keys import WrongPeer, check_standing, is_nested

SITES = "sites"
"""The file of the state directory in which those that the server named are kept."""

log = logging.getLogger("tramontana.gateway")


class GatewayAgent:
    """Made from settings; `prepare` makes the machine a gateway, `run` keeps it one."""

    def __init__(self, settings: GatewaySettings, wireguard: WireGuard | None = None) -> None:
        """Raises `LocalError`, `Refused`; `Zeroised` where its keys are to be destroyed."""
        self.settings = settings
        self.trust = LogFile(settings.log, settings.organisation)
        self.own = renewed(read_identity(settings.device_key, settings.certificate, self.trust.root), self.trust, settings.certificate)
        zeroise.check(self.trust, self.own.device_id, settings.state, unix_s())
        check_standing(self.own.certificate, self.trust, "gateway", unix_s())
        self.is_nested = is_nested(self.own.certificate.grant.roles)
        self.here, self.between = Namespace(), Namespace(between(settings.tag))
        tools = layers_here() if self.is_nested else (wireguard_here(),) * 2
        self.outer_wireguard, self.wireguard = (wireguard or each for each in tools)
        self.state = StateDirectory(settings.state)
        if settings.joined:
            kept = _with_sites(settings, self.state.read_places(SITES)).site
            self.settings = settings = _with_sites(settings, [place.model_dump() for place in self._served(kept)])
        self.places = {place.id: place for place in settings.site}
        self.branches = {place.id: branch for branch, place in enumerate(settings.site, start=1)}
        """Each site's place in traffic control."""
        self.gateways: tuple[GatewayAt, ...] = ()
        """All of them, for sites to know; none before the server has said so."""
        self.tunnels: dict[TunnelId, TunnelEnd[GatewayKey]] = {}
        self._unforgotten: set[TunnelId] = set()
        """Which are no more, while the disk keeps their keys still."""
        for tunnel in self.state.tunnels():
            is_ours = tunnel.gateway == self.own.device_id and tunnel.site in self.places and tunnel.uplink in self._indexes
            # Of a site that was revoked while the disk refused to forget its key nothing is opened again
            if is_ours and self._site_fault(tunnel.site) is None:
                self.tunnels[tunnel] = self._tunnel(tunnel)
            else:
                self._unforgotten.add(tunnel)
        self.reports: dict[str, SignedReport] = {}
        """The last of each site that was not handed on to the server yet; whoever hands them on takes them out."""
        self.connections: dict[str, Connection] = {}
        """By site."""
        self.uplinks: GatewayUplinks | None = None
        """While the agent runs: it answers probes, and owns the routes to the sites' networks."""
        self.lengths: dict[tuple[str, int], int] = {}
        """Octets of the longest packet, by site and uplink, where the site said it."""
        self._routing: asyncio.Task[None] | None = None
        self._admitted: set[str] = set()
        self._is_prepared = True
        """Not while the machine refuses what the last places need."""
        self._log_size = self.trust.size
        self.door = Door()
        """Connections that have not introduced themselves."""
        self.fault: str | None = None

    @property
    def _indexes(self) -> list[int]:
        """Of its interfaces: of the uplinks that it serves, and with `OUTER` of the outer tunnels, which come first."""
        return [*(uplink + OUTER for uplink in self.settings.uplinks if self.is_nested), *self.settings.uplinks]

    def interface(self, index: int) -> str:
        layer = Layer.OUTER if index > MAX_UPLINK_INDEX else Layer.INNER if self.is_nested else Layer.PLAIN
        return gateway_interface(self.settings.tag, index % OUTER, layer)

    def _at(self, index: int) -> tuple[WireGuard, Namespace, Namespace]:
        """What makes this interface, where its socket is, and where it is used."""
        if index > MAX_UPLINK_INDEX:
            return self.outer_wireguard, self.here, self.between
        return self.wireguard, self.between if self.is_nested else self.here, self.here

    def _tunnel(self, id: TunnelId) -> TunnelEnd[GatewayKey]:
        place, timing = self.places[id.site], self.settings.renewal.timing()
        own = tunnel_address(self.settings.number, id.carried.uplink, place.number)
        allowed = (f"{own}/32",) if id.is_outer else (f"{own}/32", *map(str, place.networks))
        tool, _, used_in = self._at(id.uplink)
        plan = PeerPlan(None, allowed, KEEPALIVE_S)
        return TunnelEnd(id, self.interface(id.uplink), plan, tool, self.state, lambda keys: GatewayKey(keys, timing), used_in)

    # The machine

    def prepare(self) -> None:
        """Rules, interfaces, addresses; twice changes nothing. Raises `HostRefused`."""
        settings = self.settings
        networks = [str(network) for place in settings.site for network in place.networks]
        block = f"{tunnel_address(settings.number, 0, 0)}/14"
        rules = kill_switch.gateway_rules(
            [self.interface(uplink) for uplink in settings.uplinks],
            settings.outside,
            [block, *networks],
            site_to_site=settings.site_to_site,
            services=settings.services,
        )
        firewall.apply_rules(self.here, rules)
        branches = {
            self.branches[place.id]: [
                *place.networks,
                *(ip_network(self._address(uplink, place.number)) for uplink in settings.uplinks),
            ]
            for place in settings.site
        }
        FlowMarks([self.interface(uplink) for uplink in settings.uplinks], believed=True, branches=branches).apply()
        self.here.set_sysctl("ipv4/ip_forward", 1)
        self.here.set_sysctl("ipv6/conf/all/forwarding", 1)
        remove_tunnels(settings, self.wireguard, nested=not self.is_nested)
        if self.is_nested:
            self.between.ensure()
            ports = {self.interface(uplink + OUTER): WIREGUARD_PORT + uplink for uplink in settings.uplinks}
            firewall.apply_rules(self.between, kill_switch.between_rules(ports, serving=True))
        for index in self._indexes:
            self._ensure_interface(index)

    @property
    def _mtu(self) -> int:
        """Of the interfaces that carry traffic."""
        return max(self.settings.mtu, LEAST_OUTER_MTU) - LAYER_OCTETS if self.is_nested else self.settings.mtu

    def _ensure_interface(self, index: int) -> None:
        """index: as `_indexes`."""
        name, uplink, is_outer = self.interface(index), index % OUTER, index > MAX_UPLINK_INDEX
        tool, sockets_in, used_in = self._at(index)
        tool.ensure(name, sockets_in, used_in)
        tool.configure(name, used_in, private_key=self.state.private_key(name), listen_port=WIREGUARD_PORT + uplink, mark=0)
        own = tunnel_address(self.settings.number, uplink, GATEWAY_END)
        block = tunnel_address(self.settings.number, uplink, 0)
        lines = [
            f"address replace {own}/32 dev {name}",
            f"link set {name} mtu {self._mtu + (LAYER_OCTETS if is_outer else 0)} up",
            f"route replace {block}/18 dev {name} src {own}",
        ]
        if not is_outer:
            lines.append(f"route replace {copy_address(block)}/114 dev {name}")
        links.batch(used_in, lines)
        used_in.set_sysctl(f"ipv4/conf/{name}/rp_filter", 2)  # a site may send by one tunnel and be answered by another
        for tunnel in self.tunnels.values():
            if tunnel.id.uplink == index:
                tunnel.start()

    # Running

    async def run(self) -> None:
        """Until it is cancelled. Tunnels and rules stay as they are then. Raises `Zeroised`, in a group."""
        allow_files()
        self.prepare()
        proxy_socket = self.settings.state / tcp_proxy.STATUS_SOCKET
        proxy = ProxySettings(
            role=Role.GATEWAY,
            inside=tuple(self.interface(uplink) for uplink in self.settings.uplinks),
            outside=self.settings.outside,
            status_socket=str(proxy_socket),
        )
        async with AsyncExitStack() as open_, asyncio.TaskGroup() as tasks:
            for address in self.settings.addresses:
                await open_.enter_async_context(
                    await asyncio.start_server(self._serve, sock=listener(address, CONTROL_PORT, self.settings.outside))
                )
            if self.settings.port_443:
                interfaces = [self.interface(uplink) for uplink in self.settings.uplinks]
                at = self.settings.addresses, self.settings.outside
                front = serving(self.own, self.trust, *at, self.settings.uplinks, interfaces, self.state.path, self._serve)
                await open_.enter_async_context(front)
            await open_.enter_async_context(await serve_status(self.state, self.status))
            if self.settings.metrics_port is not None:
                tasks.create_task(serve_metrics(self.settings.metrics_port, self.metrics))
            tasks.create_task(tcp_proxy.keep(proxy if self.settings.tcp_proxy else None, proxy_socket))
            while True:
                zeroise.check(self.trust, self.own.device_id, self.settings.state, unix_s())
                try:
                    self._route(tasks)
                    self.look()
                    self.fault = None
                except TramontanaError as error:
                    self.fault = str(error)
                    log.warning("%s", error)
                await asyncio.sleep(TICK_S)

    def _route(self, tasks: asyncio.TaskGroup) -> None:
        """Answer probes and obey SWITCH; anew where an interface was made anew, because sockets are bound to it."""
        if self._routing is not None and not self._routing.done():
            return
        devices = {uplink: (self.interface(uplink), str(self._address(uplink, GATEWAY_END))) for uplink in self.settings.uplinks}
        self.uplinks = GatewayUplinks(devices, routes_file=self.settings.state / "routes.json")
        self._admitted.clear()
        self._admit()
        self._routing = tasks.create_task(_route_until_fault(self.uplinks))

    def _admit(self) -> None:
        """Route the networks of every site that counts. Raises `HostRefused`."""
        assert self.uplinks is not None
        for place in self.settings.site:
            if place.id not in self._admitted and self._site_fault(place.id) is None:
                addresses = {uplink: str(self._address(uplink, place.number)) for uplink in self.settings.uplinks}
                lengths = {uplink: octets for (site, uplink), octets in self.lengths.items() if site == place.id}
                self.uplinks.add(GatewaySite(place.id, place.networks, addresses, self.branches[place.id], lengths))
                self._admitted.add(place.id)

    def set_places(self, sites: Sequence[SitePlace], gateways: tuple[GatewayAt, ...]) -> None:
        """What the server says of the sites and gateways that there are. A site that it leaves out stays while its certificate counts; one
        that is elsewhere now is cut off, and comes back.

        Raises `SettingsRefused` where they contradict each other, `HostRefused`.
        """
        sites = self._served(sites)
        if gateways != self.gateways:
            self.gateways = gateways
            self._say_to_all(Gateways(gateways))
        left_out = {place.id: place for place in self.places.values() if standing_fault(self.trust, place.id, "site", unix_s()) is None}
        wanted = left_out | {place.id: place for place in sites}
        if wanted == self.places:
            return
        settings = _with_sites(self.settings, [place.model_dump() for place in wanted.values()])
        for site in [each for each, place in self.places.items() if wanted.get(each) != place]:
            self._cut_off(site, lambda: Refusal("moved", "the server gives this site no place any more, or another one"))
            del self.branches[site]
        free = (branch for branch in count(1) if branch not in set(self.branches.values()))
        for site in [each for each in wanted if each not in self.branches]:
            self.branches[site] = next(free)
        self.settings, self.places, self._is_prepared = settings, wanted, False
        self._prepare_for_places()
        if self.uplinks is not None:
            self._admit()

    def _prepare_for_places(self) -> None:
        """They are kept once the machine is ready for them. Raises `HostRefused`: `look` tries again."""
        if not self._is_prepared:
            self.prepare()
            self.state.write_places(SITES, self.places.values())
            self._is_prepared = True
            log.info("there are %d sites", len(self.places))

    def _served(self, sites: Sequence[SitePlace]) -> list[SitePlace]:
        """Those that this gateway can serve: a route to a site must not lead away what is next to the gateway. Raises `HostRefused`."""
        own = [*connected_networks(), *map(ip_network, self.settings.addresses)]
        faults = {place.id: fault for place in sites if (fault := network_fault(place.networks, own)) is not None}
        for site, fault in faults.items():
            log.error("the site %s is not served: %s", site, fault)
        return [place for place in sites if place.id not in faults]

    def hand_on_log(self) -> None:
        """Tell the sites that there is more of the log."""
        if self.settings.joined:
            self._say_to_all(LogPart(self.trust.size))

    def _say_to_all(self, message: Sealed) -> None:
        for connection in list(self.connections.values()):
            with suppress(TramontanaError):
                connection.say(message)

    def set_length(self, site: str, uplink: int, octets: int) -> None:
        """How long packets to this site may be over this uplink."""
        octets, before = min(octets, self._mtu), self.lengths.get((site, uplink), self._mtu)
        self.lengths[site, uplink] = octets
        if octets != before and self.uplinks is not None and site in self._admitted:
            self.uplinks.set_length(site, uplink, octets)

    def _address(self, uplink: int, host: int) -> IPv4Address:
        return tunnel_address(self.settings.number, uplink, host)

    def look(self) -> None:
        """What has changed, and what is due. Raises `LocalError`, `Refused`."""
        try:
            self.trust.refresh()
            if self.trust.size != self._log_size:
                self._log_size = self.trust.size
                log.info("the organisation's log has grown to %d entries", self._log_size)
                self.own = renewed(self.own, self.trust, self.settings.certificate)
                self.hand_on_log()
            self._prepare_for_places()
            if self.uplinks is not None:
                self._admit()
        finally:
            do_all([self._close_what_is_revoked, self._forget_keys, *(partial(self._look_at, index) for index in self._indexes)])

    def _look_at(self, index: int) -> None:
        name = self.interface(index)
        tool, _, used_in = self._at(index)
        if not tool.is_alive(name, used_in):
            log.warning("the interface %s is gone and is made again", name)
            self._ensure_interface(index)
            if self._routing is not None and used_in == self.here:
                self._routing.cancel()
        look_at(tool, name, used_in, [tunnel for tunnel in self.tunnels.values() if tunnel.id.uplink == index])

    def _close_what_is_revoked(self) -> None:
        """Raises `LocalError`, after all of it was tried."""
        own = standing_fault(self.trust, self.own.device_id, "gateway", unix_s(), nested=self.is_nested)
        sites = {tunnel.site for tunnel in self.tunnels} | set(self.connections) | self._admitted
        faults = {site: fault for site in sites if (fault := own or self._site_fault(site)) is not None}
        do_all(partial(self._close, site, fault) for site, fault in faults.items())

    def _close(self, site: str, fault: str) -> None:
        log.warning("site %s is cut off: %s", site, fault)
        sentence = f"the certificate of this site does not count any more ({fault})"
        self._cut_off(site, lambda: self.refusal_of(site, fault, sentence))

    def refusal_of(self, site: str, reason: str, sentence: str) -> Refusal:
        """With the organisation's own word where there is one, which may order the site to destroy its keys. Raises `LocalError`."""
        revocation = self.trust.revocation(site) if reason == "revoked" else None
        return Refusal(reason, sentence, revocation=b"" if revocation is None else revocation.encoded)

    def _site_fault(self, site: str) -> str | None:
        return standing_fault(self.trust, site, "site", unix_s(), nested=self.is_nested)

    def _cut_off(self, site: str, refusal: Callable[[], Refusal]) -> None:
        """Peers first: from here on not one packet passes. Whatever fails, the rest is done. refusal: made last, as it may have to be read.

        Raises `LocalError`.
        """
        tunnels = [self.tunnels.pop(tunnel.id) for tunnel in self.of_site(site)]
        self._unforgotten |= {tunnel.id for tunnel in tunnels}
        do_all([*(tunnel.forget for tunnel in tunnels), partial(self._unroute, site), partial(self._turn_away, site, refusal)])

    def _forget_keys(self) -> None:
        """Raises `PrivateFileError`; what the disk does not let go is tried again with the next look."""
        for tunnel in self._unforgotten - set(self.tunnels):
            self.state.forget_tunnel(tunnel)
        self._unforgotten.clear()

    def _unroute(self, site: str) -> None:
        if self.uplinks is not None and site in self._admitted:
            self._admitted.discard(site)
            self.uplinks.remove(site)

    def _turn_away(self, site: str, refusal: Callable[[], Refusal]) -> None:
        connection = self.connections.pop(site, None)
        if connection is not None:
            try:
                connection.refuse(refusal())
            finally:
                connection.close()

    def introduce(self, connection: Connection, introduction: Introduction) -> Acceptance:
        """A site with a certificate that counts is there. Raises `WrongPeer` if it is none of this gateway's."""
        place = self.places.get(connection.site)
        if place is None:
            raise WrongPeer("unknown_site", "this gateway does not know the site; add it to the gateway's configuration")
        if (introduction.number, introduction.networks) != (place.number, place.networks):
            raise WrongPeer(
                "other_settings", f"the site says number {introduction.number} and other networks than this gateway knows of it"
            )
        previous = self.connections.pop(connection.site, None)
        if previous is not None:
            previous.close()
        self.connections[connection.site] = connection
        served = [index for index in introduction.public_keys if index in self._indexes]
        for uplink in served:
            id = TunnelId(connection.site, self.own.device_id, uplink)
            tunnel = self.tunnels.setdefault(id, self._tunnel(id))
            tunnel.meet(introduction.public_keys[uplink])
            tunnel.send = lambda message, uplink=uplink: connection.say_renewal(uplink, message)
            tunnel.perform(tunnel.key.handle_channel_up(introduction.key_ids[uplink], now_s()))
        public_keys = {uplink: public_key_of(self.state.private_key(self.interface(uplink))) for uplink in served}
        return Acceptance(public_keys, {each.id.uplink: each.key.keys.ids for each in self.of_site(connection.site)})

    def of_site(self, site: str) -> list[TunnelEnd[GatewayKey]]:
        return [tunnel for tunnel in self.tunnels.values() if tunnel.id.site == site]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sender = writer.get_extra_info("peername") or ("",)
        stranger = self.door.enter(str(sender[0]), writer.transport.abort)
        connection = Connection(self, writer, lambda: self.door.leave(stranger))
        try:
            await connection.run(reader)
        except (OSError, TimeoutError, TramontanaError) as error:
            log.info("a control connection of %s ended: %s", connection.site or "nobody known", error or "nothing came in time")
        finally:
            self.door.leave(stranger)
            if self.connections.get(connection.site) is connection:
                del self.connections[connection.site]
                for tunnel in self.of_site(connection.site):
                    tunnel.send = None
            await close_quietly(writer)

    def report(self) -> SignedReport:
        """What the gateway says of itself to the server."""
        fault = None if self.fault is None else self.fault[:MAX_WORDS]
        made = GatewayReport(
            at=unix_s(), log_size=self.trust.size, sites=len(self.connections), fault=fault, position=position_of(self.settings)
        )
        return sign_report(made, self.own.device_id, self.trust.root.organisation_id, self.own.key)

    def status(self) -> dict[str, Any]:
        """For the console and `tramontana gateway status`."""
        return {
            "role": "gateway",
            "id": self.own.device_id,
            "name": self.own.certificate.grant.display_name,
            "fault": self.fault,
            "malformed": 0 if self.uplinks is None else self.uplinks.malformed,
            "sites": [self._site_status(place) for place in self.places.values()],
        }

    def _site_status(self, place: SitePlace) -> dict[str, Any]:
        return {
            "site": place.id,
            "number": place.number,
            "control": "open" if place.id in self.connections else "not connected",
            "carrying": self._carrying(place.id),
            "switches": 0 if self.uplinks is None else self.uplinks.switches.get(place.id, 0),
            "probe_age_s": self._probe_age_s(place.id),
            "tunnels": self._tunnels_status(place.id),
        }

    def _tunnels_status(self, site: str) -> list[dict[str, Any]]:
        found = {tunnel.id: tunnel.status() for tunnel in self.of_site(site)}
        return [nested_status(status, found[id.outer]) if id.outer in found else status for id, status in found.items() if not id.is_outer]

    async def metrics(self) -> str:
        """For Prometheus."""
        shaped, proxy = await asyncio.to_thread(self._counted)
        status = self.status()
        return exposition(gateway_families(status, shaped, proxy))

    def _counted(self) -> tuple[list[ShapedCount], dict[str, Any] | None]:
        """What each site was sent through its share of each tunnel, and the TCP proxy's status. In a thread: it asks the system's tools."""
        found = []
        sites = {branch: site for site, branch in self.branches.items()}
        for uplink in self.settings.uplinks:
            with suppress(HostRefused):
                counted = traffic_control.branch_counters(self.interface(uplink))
                found += [ShapedCount(sites[branch], uplink, *each) for branch, each in counted.items() if branch in sites]
        return found, tcp_proxy.read_status(self.settings.state / tcp_proxy.STATUS_SOCKET)

    def _probe_age_s(self, site: str) -> float | None:
        heard_at = None if self.uplinks is None else self.uplinks.heard_at.get(site)
        return None if heard_at is None else round(time.monotonic() - heard_at, 3)

    def _carrying(self, site: str) -> int | None:
        """By which uplink routine data goes to it."""
        in_force = None if self.uplinks is None else self.uplinks.routes.in_force.get(site)
        return None if in_force is None else in_force.uplink(FlowClass.DATA_ROUTINE) or None


async def _route_until_fault(uplinks: GatewayUplinks) -> None:
    """What the machine refuses once ends no agent: `GatewayAgent.run` begins anew, and the routes stay as they are until then."""
    try:
        await uplinks.run()
    except LocalError as error:
        log.warning("the routes to the sites begin anew: %s", error)


def network_fault(networks: Iterable[Network], own: Sequence[Network]) -> str | None:
    """Why a gateway in these networks of its own routes no such networks to a site."""
    for network in networks:
        if not is_private(network):
            return f"{network} is no private network (RFC 1918, RFC 4193)"
        if (other := overlapped(network, own)) is not None:
            return f"{network} overlaps {other}, where this gateway is itself; give the site another network"
    return None


def _with_sites(settings: GatewaySettings, sites: list[Any]) -> GatewaySettings:
    """Raises `SettingsRefused`."""
    try:
        return GatewaySettings.model_validate({**settings.model_dump(), "site": sites})
    except ValueError as error:
        raise SettingsRefused(f"the sites that the server names contradict each other ({error}); tell its operator") from error
