"""A running site: the kill switch first, then the uplinks, then tunnels; keys over a control connection outside them."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import asdict
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from tramontana.carriers.catalogue import carrier
from tramontana.errors import LocalError, TramontanaError
from tramontana.internet import kill_switch, zeroise
from tramontana.internet.control_channel import (
    GatewayAt,
    Introduction,
)
from tramontana.internet.dish import DishState
from tramontana.internet.driver import (
    KEEPALIVE_S,
    TICK_S,
    PeerPlan,
    StateDirectory,
    TunnelEnd,
    do_all,
    look_at,
    nested_status,
    now_s,
    read_identity,
    renewed,
    serve_status,
    standing_fault,
    unix_s,
)
from tramontana.internet.flow_class import FlowClass, VoiceService
from tramontana.internet.key_renewal import SiteKey
from tramontana.internet.ladder import Rung
from tramontana.internet.linux import dish_process, firewall, flow_marks, links, mptcp, outlook_process, tcp_proxy
from tramontana.internet.linux.carrier_events import CarrierEvents
from tramontana.internet.linux.flow_marks import FlowMarks, LocalNetwork
from tramontana.internet.linux.flow_routes import EVERYTHING
from tramontana.internet.linux.namespace import Namespace, allow_files
from tramontana.internet.linux.site_ladder import LadderTunnel, SiteLadder
from tramontana.internet.linux.site_uplinks import Heard, SiteTunnel, SiteUplinks
from tramontana.internet.linux.wireguard import WireGuard, layers_here, public_key_of, wireguard_here
from tramontana.internet.log_file import LogFile
from tramontana.internet.overlay import (
    GATEWAY_END,
    LAYER_OCTETS,
    LEAST_OUTER_MTU,
    WIREGUARD_PORT,
    Layer,
    TunnelId,
    between,
    copy_address,
    site_interface,
    site_port,
    tunnel_address,
)
from tramontana.internet.policy import Policy, Rule, parse_policy
from tramontana.internet.probe import METERED, UNMETERED
from tramontana.internet.report import MOST_HOURS, SiteReport, sign_report
from tramontana.internet.settings import GatewayPlace, SiteSettings, Uplink
from tramontana.internet.several import flows_over_several
from tramontana.internet.site.channel.driver import Channel
from tramontana.internet.site.condition import by_reason, changed, copies_status, report_of
from tramontana.internet.site.foreseen.driver import Foreseen
from tramontana.internet.site.known_gateways import GATEWAYS, heard_gateways, with_known_gateways
from tramontana.internet.site.machine import dhcp_clients, remove_tunnels, uplink_lines
from tramontana.internet.site.page import driver as page_driver
from tramontana.internet.site.page.render import Language, page
from tramontana.internet.site.service.driver import Service
from tramontana.internet.tcp_proxy import ProxySettings, Role
from tramontana.internet.tunnel_keys import check_standing, is_nested
from tramontana.keys.certificate import UnverifiedRevocation
from tramontana.precedence import Precedence

REPORT_PERIOD_S = 30.0
"""A site reports so often; 10,000 of them are 333 reports a second at the server."""
REPORT_SOONEST_S = 2.0
UNSOLD_BPS = 1e9
"""More than any uplink of a site carries: shaping then follows what is measured."""

log = logging.getLogger("tramontana.site")


class SiteAgent:
    """Made from settings; `prepare` makes the machine a site, `run` keeps it one."""

    def __init__(self, settings: SiteSettings, wireguard: WireGuard | None = None) -> None:
        """Raises `LocalError`, `Refused`; `Zeroised` where its keys are to be destroyed."""
        self.state = StateDirectory(settings.state)
        self.settings = settings = with_known_gateways(settings)
        self.gateways_changed = asyncio.Event()
        """Gateways came or went: this agent is to be ended, and another one made."""
        self._gateways_heard = settings.gateway
        self.trust = LogFile(settings.log, settings.organisation)
        self.own = renewed(read_identity(settings.device_key, settings.certificate, self.trust.root), self.trust, settings.certificate)
        zeroise.check(self.trust, self.own.device_id, settings.state, unix_s())
        check_standing(self.own.certificate, self.trust, "site", unix_s())
        self.main, self.underlay = Namespace(), Namespace(settings.underlay)
        self.is_nested = is_nested(self.own.certificate.grant.roles)
        self.between = Namespace(between(settings.tag))
        """Between the layers of nested tunnels."""
        tools = layers_here() if self.is_nested else (wireguard_here(),) * 2
        self.outer_wireguard, self.wireguard = (wireguard or each for each in tools)
        places = [(gateway, uplink) for gateway in settings.gateway for uplink in settings.uplink]
        inner = Layer.INNER if self.is_nested else Layer.PLAIN
        self.tunnels = {(gateway.number, uplink.index): self._tunnel(gateway, uplink, inner) for gateway, uplink in places}
        """What traffic goes into."""
        self.outer = {
            self.tunnels[gateway.number, uplink.index].id: self._tunnel(gateway, uplink, Layer.OUTER)
            for gateway, uplink in places
            if self.is_nested
        }
        """Around which tunnel of these."""
        self.channels = {gateway.number: Channel(self, gateway) for gateway in settings.gateway}
        self.carriers = {uplink.index: carrier(uplink.carrier) for uplink in settings.uplink}
        self.policy = self._read_policy()
        self.uplinks: SiteUplinks | None = None
        """While the agent runs: it chooses, and owns the routes into the tunnels."""
        self._choosing: asyncio.Future[None] | None = None
        self._keyed: dict[TunnelId, bool] = {}
        self._links: dict[int, bool] = {}
        """Whether each uplink's interface has a carrier."""
        self._several: set[TunnelId] = set()
        """Over which tunnels connections of classes that may use several go beside their own."""
        self._mtus: dict[TunnelId, int] = {}
        self.dhcp = dhcp_clients(settings)
        self.dishes = {
            uplink.index: dish_process.Dish(self.underlay, uplink.index, str(uplink.dish), settings.state / f"dish-{uplink.index}.sock")
            for uplink in settings.uplink
            if uplink.dish is not None
        }
        self.ladder: SiteLadder | None = None
        """While the agent runs: by which way the packets of each tunnel reach its gateway."""
        self.foreseen = Foreseen(self, settings.uplink, settings.announced)
        self.service = Service(self, settings.uplink)
        self.fault: str | None = None

    def _tunnel(self, gateway: GatewayPlace, uplink: Uplink, layer: Layer) -> TunnelEnd[SiteKey]:
        settings = self.settings
        end = str(tunnel_address(gateway.number, uplink.index, GATEWAY_END))
        at = end if layer is Layer.INNER else gateway.reached_over(uplink)
        allowed = (f"{end}/32",) if layer is Layer.OUTER else ("0.0.0.0/0", "::/0")
        plan = PeerPlan((at, WIREGUARD_PORT + uplink.index), allowed, KEEPALIVE_S)
        tunnel = TunnelId(self.own.device_id, gateway.id, uplink.index)
        name = site_interface(settings.tag, gateway.number, uplink.index, layer)
        timing = settings.renewal.timing()
        is_outer = layer is Layer.OUTER
        tool, used_in = (self.outer_wireguard, self.between) if is_outer else (self.wireguard, self.main)
        return TunnelEnd(tunnel.outer if is_outer else tunnel, name, plan, tool, self.state, lambda keys: SiteKey(keys, timing), used_in)

    @property
    def _ends(self) -> list[TunnelEnd[SiteKey]]:
        """Outer tunnels first: inner ones live over them."""
        return [*self.outer.values(), *self.tunnels.values()]

    def ends(self, gateway: str) -> dict[int, TunnelEnd[SiteKey]]:
        """Of the tunnels to this gateway, by uplink; outer ones by uplink and `OUTER`."""
        return {tunnel.id.uplink: tunnel for tunnel in self._ends if tunnel.id.gateway == gateway}

    def _read_policy(self) -> Policy:
        if self.settings.policy is None:
            return Policy(prefer=tuple(dict.fromkeys(found.id for found in self.carriers.values())), rules=(Rule(name="anything"),))
        try:
            return parse_policy(self.settings.policy.read_text())
        except OSError as error:
            raise LocalError(f"cannot read the policy {self.settings.policy} ({error.strerror})") from error

    # The machine

    def prepare(self) -> None:
        """The kill switch before anything else; then uplinks, tunnels. Twice changes nothing. Raises `HostRefused`."""
        settings = self.settings
        interfaces = [tunnel.interface for tunnel in self.tunnels.values()]
        firewall.apply_rules(self.main, kill_switch.main_rules(settings.local, interfaces))
        ceiling = Precedence.parse(settings.ceiling)
        local = [LocalNetwork(network, ceiling) for network in settings.networks]
        voice = [VoiceService(place.network, place.first_port, place.last_port) for place in settings.voice]
        FlowMarks(interfaces, believed=False, local=local, voice=voice).apply()
        self.underlay.ensure()
        for uplink in settings.uplink:
            links.move_link(uplink.interface, self.main, self.underlay)
        uplinks = {uplink.index: uplink.interface for uplink in settings.uplink}
        gateways = [address for gateway in settings.gateway for address in gateway.addresses]
        dhcp = {uplink.index for uplink in settings.uplink if uplink.dhcp}
        dishes = {uplink.index: uplink.dish for uplink in settings.uplink if uplink.dish is not None}
        firewall.apply_rules(self.underlay, kill_switch.uplink_rules(uplinks, gateways, dhcp, dishes))
        links.batch(self.underlay, ["link set lo up"])  # the TLS relay is reached there
        links.ensure_rules(self.underlay, uplinks)
        for name in ("all", "default", *uplinks.values()):
            self.underlay.set_sysctl(f"ipv4/conf/{name}/rp_filter", 0)  # answers come to addresses whose route has a mark
        self.underlay.set_sysctl("ipv4/ip_forward", 0)
        for uplink in settings.uplink:
            links.batch(self.underlay, uplink_lines(uplink))
        for client in self.dhcp:
            client.ensure()
        lan, own = settings.local[0], (settings.local_address, settings.local_address_6)
        if given := [f"address replace {address} dev {lan}" for address in own if address is not None]:
            links.batch(self.main, [*given, f"link set {lan} up"])
        self.main.set_sysctl("ipv4/ip_forward", 1)
        self.main.set_sysctl("ipv6/conf/all/forwarding", 1)
        remove_tunnels(settings, self.wireguard, nested=not self.is_nested)
        if self.is_nested:
            self.between.ensure()
            ports = {tunnel.interface: WIREGUARD_PORT + id.uplink for id, tunnel in self.outer.items()}
            firewall.apply_rules(self.between, kill_switch.between_rules(ports, serving=False))
        for tunnel in self._ends:
            self._ensure_tunnel(tunnel)

    def _ensure_tunnel(self, tunnel: TunnelEnd[SiteKey]) -> None:
        """Its interface, as it has to be. Raises `HostRefused`."""
        is_outer = tunnel.id.is_outer
        tool = self.outer_wireguard if is_outer else self.wireguard
        is_inner = self.is_nested and not is_outer
        tool.ensure(tunnel.interface, self.between if is_inner else self.underlay, tunnel.used_in)
        id = tunnel.id.carried
        mark = 0 if is_inner else id.uplink
        private_key = self.state.private_key(tunnel.interface)
        tool.configure(tunnel.interface, tunnel.used_in, private_key=private_key, listen_port=self._site_port(id), mark=mark)
        own, other = self._addresses(tunnel)
        mtu = self.mtu(id) + (LAYER_OCTETS if is_outer else 0)
        lines = [
            f"address replace {own}/32 dev {tunnel.interface}",
            f"link set {tunnel.interface} mtu {mtu} up",
            f"route replace {other}/32 dev {tunnel.interface} src {own}",
        ]
        if not is_outer:
            lines.append(f"route replace {copy_address(IPv4Address(other))}/128 dev {tunnel.interface}")
        links.batch(tunnel.used_in, lines)
        tunnel.used_in.set_sysctl(f"ipv4/conf/{tunnel.interface}/rp_filter", 2)  # answers may come by another tunnel
        tunnel.start()

    def _site_port(self, tunnel: TunnelId) -> int:
        number = next(gateway.number for gateway in self.settings.gateway if gateway.id == tunnel.gateway)
        return site_port(number, tunnel.uplink)

    def _addresses(self, tunnel: TunnelEnd[SiteKey]) -> tuple[str, str]:
        """This end's, the gateway's."""
        number = next(gateway.number for gateway in self.settings.gateway if gateway.id == tunnel.id.gateway)
        own, other = (tunnel_address(number, tunnel.id.carried.uplink, host) for host in (self.settings.number, GATEWAY_END))
        return str(own), str(other)

    # Running

    async def run(self) -> None:
        """Until it is cancelled: tunnels, routes into them and the kill switch stay, and the next agent goes on with them."""
        allow_files()
        self.prepare()
        server = await serve_status(self.state, self.status)
        async with server, asyncio.TaskGroup() as tasks:
            for channel in self.channels.values():
                tasks.create_task(channel.run())
            tasks.create_task(self._tick())
            tasks.create_task(self._watch_links())
            tasks.create_task(self.service.count())
            tasks.create_task(self.service.record_hours())
            tasks.create_task(self._choose())
            for dish in self.dishes.values():
                tasks.create_task(dish.follow(self._hear_dish))
            if self.settings.lookout is not None:
                carriers = tuple(dict.fromkeys(uplink.carrier for uplink in self.settings.uplink))
                tasks.create_task(outlook_process.follow(self.settings.lookout, carriers, self.foreseen.predict))
            if self.settings.joined:
                tasks.create_task(self._report())
            if self.settings.page_port is not None:
                tasks.create_task(page_driver.serve(self.settings.local, self.settings.page_port, self._page))
            tasks.create_task(tcp_proxy.keep(self._proxy() if self.settings.tcp_proxy else None, self._proxy_socket))
            mptcp.remove()  # of an agent before this one, whose policy may have been another
            if self.settings.tcp_proxy and flows_over_several(self.policy) and mptcp.is_supported():
                tasks.create_task(self._use_several())
            self.ladder = self._make_ladder()
            tasks.create_task(self.ladder.run())

    def _proxy(self) -> ProxySettings:
        return ProxySettings(
            role=Role.SITE,
            inside=self.settings.local,
            networks=self.settings.networks,
            several=flows_over_several(self.policy),
            status_socket=str(self._proxy_socket),
        )

    async def _use_several(self) -> None:
        """Connections whose class may use several uplinks get a way over each that is good and allowed."""
        while True:
            found = {} if self.uplinks is None else self.uplinks.several(self._several)
            if self.uplinks is not None and set(found) != self._several:
                numbers = {gateway.id: gateway.number for gateway in self.settings.gateway}
                wanted = {
                    mptcp.endpoint_number(numbers[id.gateway], id.uplink): (tunnel.address, tunnel.device) for id, tunnel in found.items()
                }
                try:
                    await asyncio.to_thread(mptcp.apply, wanted)
                    self._several = set(found)
                except LocalError as error:  # connections then use what they have; the policy is asked again in a moment
                    log.warning("connections over several uplinks: %s", error)
            await asyncio.sleep(TICK_S)

    @property
    def _proxy_socket(self) -> Path:
        return self.settings.state / tcp_proxy.STATUS_SOCKET

    def _make_ladder(self) -> SiteLadder:
        tunnels = []
        for gateway in self.settings.gateway:
            for uplink in self.settings.uplink:
                id = self.tunnels[gateway.number, uplink.index].id
                tunnels.append(LadderTunnel(id, uplink.interface, gateway.reached_over(uplink), self._site_port(id)))
        networks, keep = self.state.read_networks(), self.state.write_networks
        return SiteLadder(self.underlay, self.trust, tunnels, networks, self._heard, keep, self._set_mtu)

    def _set_mtu(self, id: TunnelId, mtu: int) -> None:
        """The way takes tunnel packets of so many octets; the gateway has to know as well. Raises `HostRefused`."""
        tunnel, outer = next(each for each in self.tunnels.values() if each.id == id), self.outer.get(id)
        self._mtus[id] = self._carried_mtu(min(mtu, self.settings.mtu))
        if outer is not None:
            links.batch(self.between, [f"link set {outer.interface} mtu {self._mtus[id] + LAYER_OCTETS}"])
        links.batch(self.main, [f"link set {tunnel.interface} mtu {self._mtus[id]}"])
        for channel in self.channels.values():
            channel.say_length(id)

    def mtu(self, tunnel: TunnelId) -> int:
        """Of its interface."""
        return self._mtus.get(tunnel, self._carried_mtu(self.settings.mtu))

    def _carried_mtu(self, mtu: int) -> int:
        """Of what carries traffic, where the way's packets may be so long that `mtu` octets fit into the first tunnel."""
        return max(mtu, LEAST_OUTER_MTU) - LAYER_OCTETS if self.is_nested else mtu

    def _heard(self, tunnel: TunnelId) -> Heard | None:
        return None if self.uplinks is None else self.uplinks.heard(tunnel)

    async def _choose(self) -> None:
        """Let the choice of uplinks run; anew where an interface went or was made anew, whose routes went with it."""
        while True:
            self.uplinks = SiteUplinks(self.policy, EVERYTHING, sequence_file=self.settings.state / "sequence")
            self._keyed.clear()
            running = asyncio.ensure_future(self._choose_until_fault(self.uplinks))
            self._choosing = running
            try:
                await asyncio.wait([running])
            finally:
                running.cancel()
                self.uplinks = None
            await asyncio.sleep(TICK_S)

    async def _choose_until_fault(self, uplinks: SiteUplinks) -> None:
        try:
            for tunnel in self.tunnels.values():
                rank = [gateway.id for gateway in self.settings.gateway].index(tunnel.id.gateway)
                own, other = self._addresses(tunnel)
                uplink = next(each for each in self.settings.uplink if each.index == tunnel.id.uplink)
                found = self.carriers[uplink.index]
                budget = METERED if uplink.metered or found.id in self.policy.caps else UNMETERED
                uplinks.add(SiteTunnel(tunnel.id, tunnel.interface, own, other, found, _sold_bps(uplink), budget, rank))
                self.tell_keyed(tunnel)  # before it begins: it goes on with routes that it finds in tunnels with a key
            for index, up in self._links.items():
                uplinks.set_link(index, up)
            uplinks.set_used(self.service.usage.octets)
            self.foreseen.tell()
            await uplinks.run()
        except LocalError as error:
            log.warning("the choice of uplinks begins anew: %s", error)

    def _hear_dish(self, uplink: int, state: DishState | None) -> None:
        if self.uplinks is not None:
            self.uplinks.set_dish(uplink, state)

    async def _watch_links(self) -> None:
        """A pulled cable moves traffic before any probe is missed."""
        index = {uplink.interface: uplink.index for uplink in self.settings.uplink}

        def changed(interface: str, up: bool) -> None:
            log.info("%s %s", interface, "has a carrier" if up else "has no carrier")
            self._links[index[interface]] = up
            if self.uplinks is not None:
                self.uplinks.set_link(index[interface], up)

        events = CarrierEvents(self.underlay, list(index), changed)
        events.listen()
        try:
            while True:
                await asyncio.sleep(TICK_S)
                events.look()
        finally:
            events.close()

    async def _tick(self) -> None:
        while True:
            zeroise.check(self.trust, self.own.device_id, self.settings.state, unix_s())
            self.foreseen.read()
            try:
                self.look()
                self.fault = None
            except TramontanaError as error:
                self.fault = str(error)
                log.warning("%s", error)
            await asyncio.sleep(TICK_S)

    def look(self) -> None:
        """What has changed, and what is due. Raises `LocalError`, `Refused`."""
        try:
            self.trust.refresh()
            self.own = renewed(self.own, self.trust, self.settings.certificate)
            if is_nested(self.own.certificate.grant.roles) != self.is_nested:
                self.gateways_changed.set()
        finally:
            turns = [client.ensure for client in self.dhcp] + [partial(self._look_at, tunnel) for tunnel in self._ends]
            do_all([self._close_what_is_revoked, *turns])

    def _look_at(self, tunnel: TunnelEnd[SiteKey]) -> None:
        tool = self.outer_wireguard if tunnel.id.is_outer else self.wireguard
        if not tool.is_alive(tunnel.interface, tunnel.used_in):
            log.warning("the interface %s is gone and is made again", tunnel.interface)
            self._ensure_tunnel(tunnel)
            if self._choosing is not None and not tunnel.id.is_outer:
                self._choosing.cancel()  # its sockets are bound to the interface that is gone
        try:
            look_at(tool, tunnel.interface, tunnel.used_in, [tunnel])
        finally:
            self.tell_keyed(tunnel)

    def tell_keyed(self, tunnel: TunnelEnd[SiteKey]) -> None:
        """Traffic goes only where a key is in force, in both layers if there are two, and leaves at once where none is any more."""
        id = tunnel.id.carried
        is_used = self.uplinks is not None and any(each.tunnel.id == id for each in self.uplinks.status())
        is_keyed = all(each.is_keyed for each in self._ends if each.id.carried == id)
        if self.uplinks is not None and is_used and self._keyed.get(id) != is_keyed:
            self._keyed[id] = is_keyed
            self.uplinks.set_keyed(id, is_keyed)

    def _close_what_is_revoked(self) -> None:
        """Raises `LocalError`, after all of it was tried."""
        own = standing_fault(self.trust, self.own.device_id, "site", unix_s(), nested=self.is_nested)
        faults = {gateway.number: own or self._gateway_fault(gateway.id) for gateway in self.settings.gateway}
        who = "this site" if own else "the gateway"
        do_all(partial(self.channels[number].refuse, f"{who}: {fault}") for number, fault in faults.items() if fault is not None)

    def _gateway_fault(self, gateway: str) -> str | None:
        return standing_fault(self.trust, gateway, "gateway", unix_s(), nested=self.is_nested)

    def obey(self, revocation: bytes) -> None:
        """What is to be the organisation's statement about this site, by whoever's hands. Raises `Refused`."""
        if UnverifiedRevocation(revocation).verify(self.trust.root).device_id == self.own.device_id:
            self.trust.obey(revocation)

    def hear_of_gateways(self, told: tuple[GatewayAt, ...], teller: str) -> None:
        """What the gateway with this id says of all of them."""
        left = heard_gateways(self._gateways_heard, told, teller, self._gateway_fault)
        if left and left != self._gateways_heard:
            self._gateways_heard = left
            self.state.write_places(GATEWAYS, left)
            self.gateways_changed.set()

    def _page(self, language: Language) -> str:
        names = {index: found.name for index, found in self.carriers.items()}
        return page(self.condition(), names, {gateway.id: gateway.number for gateway in self.settings.gateway}, language)

    async def _report(self) -> None:
        """To the server, by the hands of whichever gateway there is: now and then, and soon after what carries has changed."""
        told, at = None, -REPORT_PERIOD_S
        while True:
            open_channel = next((channel for channel in self.channels.values() if channel.is_open), None)
            if open_channel is not None:
                try:
                    made = self.report()
                except ValueError as error:
                    log.error("no report can be made: %s", error)
                    return
                state = made.carrying, made.blocked
                if state != told or now_s() >= at + REPORT_PERIOD_S:
                    open_channel.hand_over(sign_report(made, self.own.device_id, self.trust.root.organisation_id, self.own.key))
                    told, at = state, now_s()
            await asyncio.sleep(REPORT_SOONEST_S)

    def report(self) -> SiteReport:
        """What the site says of itself to the server."""
        return report_of(self.condition(), self.settings, self.trust.size, self.service.record.to_report(MOST_HOURS), unix_s())

    def introduction(self, gateway: GatewayPlace) -> Introduction:
        ends = self.ends(gateway.id)
        keys = {uplink: public_key_of(self.state.private_key(tunnel.interface)) for uplink, tunnel in ends.items()}
        ids = {uplink: tunnel.key.keys.ids for uplink, tunnel in ends.items()}
        return Introduction(self.own.certificate.encoded, self.settings.number, self.settings.networks, keys, ids)

    def status(self) -> dict[str, Any]:
        """For `tramontana site status`."""
        dropped = {
            "main": firewall.counted_packets(self.main, "inet", kill_switch.MAIN_TABLE),
            "uplinks": firewall.counted_packets(self.underlay, "netdev", kill_switch.UPLINK_TABLE),
        }
        return {**self.condition(), "dropped": dropped, "copied": self._copied()}

    def _copied(self) -> list[dict[str, Any]]:
        """What copies took of each tunnel since the machine started: the price of a second carrier."""
        found = flow_marks.copied(self.main)
        ends = [(tunnel.id, found[tunnel.interface]) for tunnel in self.tunnels.values() if tunnel.interface in found]
        return [{"gateway": id.gateway, "uplink": id.uplink, **asdict(took)} for id, took in ends]

    def condition(self) -> dict[str, Any]:
        """The same without what takes a command to find out, for the site's page and its reports."""
        choice = None if self.uplinks is None else self.uplinks.choice
        carrying = None if choice is None else choice.assigned[FlowClass.DATA_ROUTINE]
        blocked = None
        if carrying is None:
            reasons = {str(self._status(tunnel)["blocked"]) for tunnel in self.tunnels.values()} - {"None"}
            chosen = "the site has only just started" if choice is None else choice.blocked.get(FlowClass.DATA_ROUTINE, "")
            # A fault of the agent must not hide why a gateway refuses.
            blocked = "; ".join(filter(None, [self.fault, chosen, *sorted(reasons)]))
        return {
            "role": "site",
            "id": self.own.device_id,
            "name": self.own.certificate.grant.display_name,
            "carrying": None if carrying is None else {"gateway": carrying.gateway, "uplink": carrying.uplink},
            "blocked": blocked,
            "blocked_flows": [] if choice is None else by_reason(choice.blocked),
            "fault": self.fault,
            "month": self.service.month(),
            "links": {uplink.interface: self._links.get(uplink.index) for uplink in self.settings.uplink},
            "gateways": [channel.status() for channel in self.channels.values()],
            "layers": [self.outer_wireguard.name, self.wireguard.name] if self.is_nested else [self.wireguard.name],
            "tunnels": [{**self._status(tunnel), **self._measured(tunnel.id), **self._rung(tunnel.id)} for tunnel in self.tunnels.values()],
            "copies": copies_status(choice),
            "several": sorted(id.uplink for id in self._several),
            "dishes": [dish.status() for dish in self.dishes.values()],
            "foreseen": self.foreseen.status(),
            "announced_fault": self.foreseen.fault,
            "history": [] if choice is None else [changed(change, time.monotonic()) for change in choice.history],
        }

    def _status(self, tunnel: TunnelEnd[SiteKey]) -> dict[str, Any]:
        outer = self.outer.get(tunnel.id)
        return tunnel.status() if outer is None else nested_status(tunnel.status(), outer.status())

    def needs_tls(self, gateway: GatewayPlace, uplink: Uplink) -> bool:
        """Whether this uplink's network lets nothing else through to the gateway, as far as is known."""
        return self.ladder is not None and self.ladder.rung(self.tunnels[gateway.number, uplink.index].id) is Rung.TLS_443

    def _rung(self, tunnel: TunnelId) -> dict[str, Any]:
        return {} if self.ladder is None else {**self.ladder.status(tunnel), "mtu": self.mtu(tunnel)}

    def _measured(self, tunnel: TunnelId) -> dict[str, Any]:
        """What the probes of a tunnel say."""
        found = next((each for each in self.uplinks.status() if each.tunnel.id == tunnel), None) if self.uplinks else None
        if found is None:
            return {"health": None, "round_trip_s": None, "loss": None}
        return {"health": found.health.value, "round_trip_s": found.estimate.srtt_s, "loss": found.estimate.loss}


def _sold_bps(uplink: Uplink) -> tuple[float, float]:
    up, down = (UNSOLD_BPS if mbps is None else mbps * 1e6 for mbps in (uplink.up_mbps, uplink.down_mbps))
    return up, down
