"""A running site: the kill switch first, then the uplinks, then tunnels; keys over a control connection outside them."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from tramontana.carriers.catalogue import carrier
from tramontana.errors import LocalError, TramontanaError
from tramontana.internet import kill_switch
from tramontana.internet.control_channel import (
    Acceptance,
    Alive,
    ChannelRefused,
    GatewayAt,
    Gateways,
    Introduction,
    Length,
    LogPart,
    LogWanted,
    Refusal,
    Renewal,
    Reported,
)
from tramontana.internet.driver import (
    ALIVE_S,
    KEEPALIVE_S,
    PIECE_BYTES,
    SILENT_S,
    TICK_S,
    PeerPlan,
    StateDamaged,
    StateDirectory,
    TunnelEnd,
    boot_id,
    close_quietly,
    now_s,
    position_of,
    read_identity,
    renewed,
    serve_status,
    standing_fault,
    unix_s,
)
from tramontana.internet.flow_class import FlowClass, VoiceService
from tramontana.internet.key_renewal import Message, SiteKey
from tramontana.internet.ladder import Rung
from tramontana.internet.linux import firewall, links, outlook_process, tcp_proxy
from tramontana.internet.linux.carrier_events import CarrierEvents
from tramontana.internet.linux.dhcp import DhcpClient
from tramontana.internet.linux.flow_marks import FlowMarks, LocalNetwork
from tramontana.internet.linux.flow_routes import EVERYTHING
from tramontana.internet.linux.namespace import Namespace, allow_files
from tramontana.internet.linux.site_ladder import LadderTunnel, SiteLadder
from tramontana.internet.linux.site_uplinks import Heard, SiteTunnel, SiteUplinks
from tramontana.internet.linux.tls_stream import connect, open_stream
from tramontana.internet.linux.tunnel_socket import counters
from tramontana.internet.linux.wireguard import WireGuard, public_key_of, wireguard_here
from tramontana.internet.log_file import LogFile
from tramontana.internet.outlook import Outlook, parse_announcements, planned
from tramontana.internet.overlay import (
    CONTROL_PORT,
    GATEWAY_END,
    HTTPS_PORT,
    WIREGUARD_PORT,
    TunnelId,
    copy_address,
    site_interface,
    site_port,
    tunnel_address,
)
from tramontana.internet.policy import Policy, Rule, parse_policy
from tramontana.internet.probe import METERED, UNMETERED
from tramontana.internet.report import (
    MAX_WORDS,
    MOST_SWITCHES,
    MOST_TUNNELS,
    Carrying,
    SignedReport,
    SiteReport,
    Switched,
    Tunnel,
    sign_report,
)
from tramontana.internet.settings import GatewayPlace, SiteSettings, Uplink
from tramontana.internet.site.page import driver as page_driver
from tramontana.internet.site.page.render import Language, page
from tramontana.internet.stream import CONTROL
from tramontana.internet.tcp_proxy import ProxySettings, Role
from tramontana.internet.tunnel_keys import Event, Opened, Said, SiteConversation, check_standing
from tramontana.internet.uplink_choice import Changed
from tramontana.keys.refused import Refused
from tramontana.precedence import Precedence

GATEWAYS = "gateways"
"""The file of the state directory in which those that were heard of are kept."""
REPORT_PERIOD_S = 30.0
"""A site reports so often; 10,000 of them are 333 reports a second at the server."""
REPORT_SOONEST_S = 2.0
RETRY_S = 2.0
MOST_REMADE, REMADE_PERIOD_S = 3, 300.0
"""So often the agent is made anew for other gateways in so long: whatever a gateway says, the site is not kept busy with itself."""
USAGE_PERIOD_S = 10.0
FORESEEN_SHOWN = 20
UNSOLD_BPS = 1e9
"""More than any uplink of a site carries: shaping then follows what is measured."""

log = logging.getLogger("tramontana.site")


class SiteAgent:
    """Made from settings; `prepare` makes the machine a site, `run` keeps it one."""

    def __init__(self, settings: SiteSettings, wireguard: WireGuard | None = None) -> None:
        """Raises `LocalError`, `Refused`."""
        self.state = StateDirectory(settings.state)
        self.settings = settings = with_known_gateways(settings)
        self.gateways_changed = asyncio.Event()
        """Gateways came or went: this agent is to be ended, and another one made."""
        self._gateways_heard = settings.gateway
        self.trust = LogFile(settings.log, settings.organisation)
        self.own = renewed(read_identity(settings.device_key, settings.certificate, self.trust.root), self.trust, settings.certificate)
        check_standing(self.own.certificate, self.trust, "site", unix_s())
        self.main, self.underlay = Namespace(), Namespace(settings.underlay)
        self.wireguard = wireguard or wireguard_here()
        self.tunnels = {
            (gateway.number, uplink.index): self._tunnel(gateway, uplink) for gateway in settings.gateway for uplink in settings.uplink
        }
        self.channels = {gateway.number: _Channel(self, gateway) for gateway in settings.gateway}
        self.carriers = {uplink.index: carrier(uplink.carrier) for uplink in settings.uplink}
        self.policy = self._read_policy()
        self.uplinks: SiteUplinks | None = None
        """While the agent runs: it chooses, and owns the routes into the tunnels."""
        self._choosing: asyncio.Future[None] | None = None
        self._keyed: dict[TunnelId, bool] = {}
        self._links: dict[int, bool] = {}
        """Whether each uplink's interface has a carrier."""
        self._mtus: dict[TunnelId, int] = {}
        self.dhcp = dhcp_clients(settings)
        self.ladder: SiteLadder | None = None
        """While the agent runs: by which way the packets of each tunnel reach its gateway."""
        self._announced: Outlook = {}
        self._forecast: Outlook = {}
        self._announced_as_of: float | None = None
        self._announced_fault: str | None = None
        self.usage = self.state.read_usage()
        self.fault: str | None = None

    def _tunnel(self, gateway: GatewayPlace, uplink: Uplink) -> TunnelEnd[SiteKey]:
        settings = self.settings
        plan = PeerPlan((gateway.reached_over(uplink), WIREGUARD_PORT + uplink.index), ("0.0.0.0/0", "::/0"), KEEPALIVE_S)
        tunnel = TunnelId(self.own.device_id, gateway.id, uplink.index)
        name = site_interface(settings.tag, gateway.number, uplink.index)
        timing = settings.renewal.timing()
        return TunnelEnd(tunnel, name, plan, self.wireguard, self.state, lambda keys: SiteKey(keys, timing))

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
        firewall.apply_rules(self.underlay, kill_switch.uplink_rules(uplinks, gateways, dhcp))
        links.batch(self.underlay, ["link set lo up"])  # the TLS relay is reached there
        links.ensure_rules(self.underlay, uplinks)
        for name in ("all", "default", *uplinks.values()):
            self.underlay.set_sysctl(f"ipv4/conf/{name}/rp_filter", 0)  # answers come to addresses whose route has a mark
        self.underlay.set_sysctl("ipv4/ip_forward", 0)
        for uplink in settings.uplink:
            links.batch(self.underlay, _uplink_lines(uplink))
        for client in self.dhcp:
            client.ensure()
        if settings.local_address is not None:
            lan = settings.local[0]
            links.batch(self.main, [f"address replace {settings.local_address} dev {lan}", f"link set {lan} up"])
        self.main.set_sysctl("ipv4/ip_forward", 1)
        self.main.set_sysctl("ipv6/conf/all/forwarding", 1)
        for tunnel in self.tunnels.values():
            self._ensure_tunnel(tunnel)

    def _ensure_tunnel(self, tunnel: TunnelEnd[SiteKey]) -> None:
        """Its interface, as it has to be. Raises `HostRefused`."""
        uplink = tunnel.id.uplink
        self.wireguard.ensure(tunnel.interface, self.underlay, self.main)
        private_key = self.state.private_key(tunnel.interface)
        port = self._site_port(tunnel.id)
        self.wireguard.configure(tunnel.interface, self.main, private_key=private_key, listen_port=port, mark=uplink)
        own, other = self._addresses(tunnel)
        lines = (
            f"address replace {own}/32 dev {tunnel.interface}",
            f"link set {tunnel.interface} mtu {self.mtu(tunnel.id)} up",
            f"route replace {other}/32 dev {tunnel.interface} src {own}",
            f"route replace {copy_address(IPv4Address(other))}/128 dev {tunnel.interface}",
        )
        links.batch(self.main, lines)
        self.main.set_sysctl(f"ipv4/conf/{tunnel.interface}/rp_filter", 2)  # answers may come by another tunnel
        tunnel.start()

    def _site_port(self, tunnel: TunnelId) -> int:
        number = next(gateway.number for gateway in self.settings.gateway if gateway.id == tunnel.gateway)
        return site_port(number, tunnel.uplink)

    def _addresses(self, tunnel: TunnelEnd[SiteKey]) -> tuple[str, str]:
        """This end's, the gateway's."""
        number = next(gateway.number for gateway in self.settings.gateway if gateway.id == tunnel.id.gateway)
        own, other = (tunnel_address(number, tunnel.id.uplink, host) for host in (self.settings.number, GATEWAY_END))
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
            tasks.create_task(self._count())
            tasks.create_task(self._choose())
            if self.settings.lookout is not None:
                carriers = tuple(dict.fromkeys(uplink.carrier for uplink in self.settings.uplink))
                tasks.create_task(outlook_process.follow(self.settings.lookout, carriers, self._foresee))
            if self.settings.joined:
                tasks.create_task(self._report())
            if self.settings.page_port is not None:
                tasks.create_task(page_driver.serve(self.settings.local, self.settings.page_port, self._page))
            tasks.create_task(tcp_proxy.keep(self._proxy() if self.settings.tcp_proxy else None, self._proxy_socket))
            self.ladder = self._make_ladder()
            tasks.create_task(self.ladder.run())

    def _proxy(self) -> ProxySettings:
        return ProxySettings(
            role=Role.SITE, inside=self.settings.local, networks=self.settings.networks, status_socket=str(self._proxy_socket)
        )

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
        tunnel = next(each for each in self.tunnels.values() if each.id == id)
        self._mtus[id] = min(mtu, self.settings.mtu)
        links.batch(self.main, [f"link set {tunnel.interface} mtu {self._mtus[id]}"])
        for channel in self.channels.values():
            channel.say_length(id)

    def mtu(self, tunnel: TunnelId) -> int:
        """Of its interface."""
        return self._mtus.get(tunnel, self.settings.mtu)

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
            uplinks.set_used(self.usage.octets)
            self._tell_planned()
            await uplinks.run()
        except LocalError as error:
            log.warning("the choice of uplinks begins anew: %s", error)

    def _foresee(self, outlook: Outlook) -> None:
        self._forecast = outlook
        self._tell_planned()

    def _read_announced(self) -> None:
        """What carriers announced, if the file is another one than before. A bad file changes nothing, and is told of once."""
        path = self.settings.announced
        if path is None:
            return
        try:
            as_of = path.stat().st_mtime if path.exists() else None
            if as_of == self._announced_as_of:
                return
            self._announced_as_of = as_of
            text = "" if as_of is None else path.read_text()
            self._announced = parse_announcements(text, (each.carrier for each in self.settings.uplink), str(path))
            self._announced_fault = None
        except (OSError, UnicodeDecodeError, LocalError) as error:
            self._announced_fault = f"announced outages: {error}"
            log.warning("%s", self._announced_fault)
        self._tell_planned()

    def _tell_planned(self) -> None:
        if self.uplinks is not None:
            to_clock_s = time.monotonic() - unix_s()
            for live in self.uplinks.status():
                found = planned((self._announced, self._forecast), live.tunnel.carrier.id, to_clock_s)
                self.uplinks.set_planned(live.tunnel.id, found)

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

    async def _count(self) -> None:
        """What each carrier carried this month, for the policy's caps."""
        carriers = {uplink.interface: uplink.carrier for uplink in self.settings.uplink}
        while True:
            with self.underlay.entered():
                seen = {interface: sum(octets) for interface, octets in counters().items()}
            self.usage.count(seen, carriers, boot_id(), unix_s())
            if self.uplinks is not None:
                self.uplinks.set_used(self.usage.octets)
            try:
                self.state.write_usage(self.usage)
            except OSError as error:
                log.warning("the usage of this month cannot be stored: %s", error.strerror)
            await asyncio.sleep(USAGE_PERIOD_S)

    async def _tick(self) -> None:
        while True:
            self._read_announced()
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
        finally:
            self._close_what_is_revoked()
            for client in self.dhcp:
                client.ensure()
            for tunnel in self.tunnels.values():
                if not self.wireguard.is_alive(tunnel.interface, self.main):
                    log.warning("the interface %s is gone and is made again", tunnel.interface)
                    self._ensure_tunnel(tunnel)
                    if self._choosing is not None:
                        self._choosing.cancel()  # its sockets are bound to the interface that is gone
                tunnel.look(self.wireguard.peers(tunnel.interface, self.main))
                self.tell_keyed(tunnel)

    def tell_keyed(self, tunnel: TunnelEnd[SiteKey]) -> None:
        """Traffic goes only where a key is in force, and leaves in the same turn where none is any more."""
        is_used = self.uplinks is not None and any(each.tunnel.id == tunnel.id for each in self.uplinks.status())
        if self.uplinks is not None and is_used and self._keyed.get(tunnel.id) != tunnel.is_keyed:
            self._keyed[tunnel.id] = tunnel.is_keyed
            self.uplinks.set_keyed(tunnel.id, tunnel.is_keyed)

    def _close_what_is_revoked(self) -> None:
        own = standing_fault(self.trust, self.own.device_id, "site", unix_s())
        for gateway in self.settings.gateway:
            fault = own or standing_fault(self.trust, gateway.id, "gateway", unix_s())
            if fault is not None:
                self.channels[gateway.number].refuse(f"{'this site' if own else 'the gateway'}: {fault}")

    def hear_of_gateways(self, told: tuple[GatewayAt, ...], teller: str) -> None:
        """What the gateway with this id says of all of them."""
        left = heard_gateways(self._gateways_heard, told, teller, lambda each: standing_fault(self.trust, each, "gateway", unix_s()))
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
        status = self.condition()
        carriers = {uplink.index: uplink.carrier for uplink in self.settings.uplink}
        carrying, now = status["carrying"], unix_s()
        return SiteReport(
            at=now,
            log_size=self.trust.size,
            carrying=None if carrying is None else Carrying(**carrying, carrier=carriers[carrying["uplink"]]),
            blocked=None if status["blocked"] is None else status["blocked"][:MAX_WORDS],
            tunnels=tuple(_tunnel_report(each, carriers) for each in status["tunnels"][:MOST_TUNNELS]),
            switches=tuple(
                Switched(
                    at=now - each["ago_s"],
                    before=carriers.get(each["from"]),
                    after=carriers.get(each["to"]),
                    reason=each["reason"][:MAX_WORDS],
                )
                for each in status["history"]
                if FlowClass.DATA_ROUTINE.label in each["flows"]
            )[-MOST_SWITCHES:],
            position=position_of(self.settings),
        )

    def introduction(self, gateway: GatewayPlace) -> Introduction:
        ends = {tunnel.id.uplink: tunnel for tunnel in self.tunnels.values() if tunnel.id.gateway == gateway.id}
        keys = {uplink: public_key_of(self.state.private_key(tunnel.interface)) for uplink, tunnel in ends.items()}
        ids = {uplink: tunnel.key.keys.ids for uplink, tunnel in ends.items()}
        return Introduction(self.own.certificate.encoded, self.settings.number, self.settings.networks, keys, ids)

    def status(self) -> dict[str, Any]:
        """For `tramontana site status`."""
        dropped = {
            "main": firewall.counted_packets(self.main, "inet", kill_switch.MAIN_TABLE),
            "uplinks": firewall.counted_packets(self.underlay, "netdev", kill_switch.UPLINK_TABLE),
        }
        return {**self.condition(), "dropped": dropped}

    def condition(self) -> dict[str, Any]:
        """The same without what takes a command to find out, for the site's page and its reports."""
        choice = None if self.uplinks is None else self.uplinks.choice
        carrying = None if choice is None else choice.assigned[FlowClass.DATA_ROUTINE]
        blocked = None
        if carrying is None:
            reasons = {str(tunnel.status()["blocked"]) for tunnel in self.tunnels.values()} - {"None"}
            chosen = "the site has only just started" if choice is None else choice.blocked.get(FlowClass.DATA_ROUTINE, "")
            # A fault of the agent must not hide why a gateway refuses.
            blocked = "; ".join(filter(None, [self.fault, chosen, *sorted(reasons)]))
        return {
            "role": "site",
            "id": self.own.device_id,
            "name": self.own.certificate.grant.display_name,
            "carrying": None if carrying is None else {"gateway": carrying.gateway, "uplink": carrying.uplink},
            "blocked": blocked,
            "blocked_flows": [] if choice is None else _by_reason(choice.blocked),
            "fault": self.fault,
            "month": {"of": self.usage.month, "octets": {carrier: round(octets) for carrier, octets in self.usage.octets.items()}},
            "links": {uplink.interface: self._links.get(uplink.index) for uplink in self.settings.uplink},
            "gateways": [channel.status() for channel in self.channels.values()],
            "tunnels": [{**tunnel.status(), **self._measured(tunnel.id), **self._rung(tunnel.id)} for tunnel in self.tunnels.values()],
            "foreseen": self._foreseen(),
            "announced_fault": self._announced_fault,
            "history": [] if choice is None else [_changed(change) for change in choice.history],
        }

    def needs_tls(self, gateway: GatewayPlace, uplink: Uplink) -> bool:
        """Whether this uplink's network lets nothing else through to the gateway, as far as is known."""
        return self.ladder is not None and self.ladder.rung(self.tunnels[gateway.number, uplink.index].id) is Rung.TLS_443

    def _rung(self, tunnel: TunnelId) -> dict[str, Any]:
        return {} if self.ladder is None else {**self.ladder.status(tunnel), "mtu": self.mtu(tunnel)}

    def _foreseen(self) -> list[dict[str, Any]]:
        """What is still to come, the next first."""
        now = unix_s()
        sources = (self._announced, self._forecast)
        coming = [(each.start - now, carrier, each) for source in sources for carrier, found in source.items() for each in found]
        return [
            {"carrier": carrier, "in_s": round(in_s, 1), "for_s": round(each.end - each.start, 2), "reason": each.reason}
            for in_s, carrier, each in sorted(coming, key=lambda found: found[:2])
            if each.end > now
        ][:FORESEEN_SHOWN]

    def _measured(self, tunnel: TunnelId) -> dict[str, Any]:
        """What the probes of a tunnel say."""
        found = next((each for each in self.uplinks.status() if each.tunnel.id == tunnel), None) if self.uplinks else None
        if found is None:
            return {"health": None, "round_trip_s": None, "loss": None}
        return {"health": found.health.value, "round_trip_s": found.estimate.srtt_s, "loss": found.estimate.loss}


class _Channel:
    """The control connection to one gateway, over whichever uplink it comes about."""

    def __init__(self, agent: SiteAgent, gateway: GatewayPlace) -> None:
        self._agent, self._gateway = agent, gateway
        self._over: Uplink | None = None
        self._last: tuple[Uplink, bool] | None = None
        """The way of the last connection: over which uplink, and whether inside TLS."""
        self._words = "not connected yet"
        self._refused: str | None = None
        self._conversation: SiteConversation | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._is_accepted = False
        self._held: Acceptance | None = None
        """Of a gateway whose certificate this site's log does not know yet."""

    @property
    def _tunnels(self) -> dict[int, TunnelEnd[SiteKey]]:
        return {tunnel.id.uplink: tunnel for tunnel in self._agent.tunnels.values() if tunnel.id.gateway == self._gateway.id}

    async def run(self) -> None:
        ways = [(uplink, tls) for uplink in self._agent.settings.uplink for tls in (False, True)]
        while True:
            for uplink, tls in sorted(ways, key=self._rank):
                try:
                    await self._connect(uplink, tls)
                except (OSError, TimeoutError, TramontanaError) as error:
                    self._words = str(error) or "no answer in time"
                    log.info("gateway %s over %s%s: %s", self._gateway.id, uplink.interface, " by TLS" if tls else "", self._words)
                finally:
                    self._disconnected()
            await asyncio.sleep(RETRY_S)

    def _rank(self, way: tuple[Uplink, bool]) -> tuple[bool, bool]:
        """What worked last first, then TLS where the tunnel needs it as well."""
        uplink, tls = way
        return way != self._last, tls != self._agent.needs_tls(self._gateway, uplink)

    async def _connect(self, uplink: Uplink, tls: bool) -> None:
        """tls: inside TLS at port 443, where the network blocks the channel's own port."""
        gateway = self._gateway
        connection = await connect(self._agent.underlay, uplink.index, gateway.reached_over(uplink), HTTPS_PORT if tls else CONTROL_PORT)
        if tls:
            reader, writer = await open_stream(connection, CONTROL, gateway.id, self._agent.trust)
        else:
            reader, writer = await asyncio.open_connection(sock=connection)
        try:
            self._over, self._last, self._writer = uplink, (uplink, tls), writer
            may_learn = self._agent.settings.joined
            self._conversation = SiteConversation(self._agent.own, self._gateway.id, self._agent.trust, may_learn=may_learn)
            self._flush()
            await self._read(reader, self._conversation)
        finally:
            await close_quietly(writer)

    async def _read(self, reader: asyncio.StreamReader, conversation: SiteConversation) -> None:
        heard_at = alive_at = now_s()
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(ALIVE_S):
                    data = await reader.read(PIECE_BYTES)
                if not data:
                    raise ChannelRefused("the gateway hung up")
                heard_at = now_s()
                for event in conversation.receive_data(data, unix_s()):
                    self._handle(event, conversation)
            if now_s() >= heard_at + SILENT_S:
                raise ChannelRefused("nothing comes from the gateway any more")
            if self._is_accepted and now_s() >= alive_at + ALIVE_S:
                alive_at = now_s()
                conversation.check_peer(unix_s())
                conversation.say(Alive())
            self._flush()

    def _handle(self, event: Event, conversation: SiteConversation) -> None:
        match event:
            case Opened():
                conversation.say(self._agent.introduction(self._gateway))
            case Said(Acceptance() as acceptance) if not self._is_accepted:
                try:
                    conversation.check_peer(unix_s())
                except Refused:
                    self._held = acceptance
                    conversation.say(LogWanted(self._agent.trust.size))
                else:
                    self._accepted(acceptance, conversation)
            case Said(LogPart() as part) if self._agent.settings.joined:
                self._learn(part, conversation)
            case Said(Gateways(gateways)) if self._agent.settings.joined and self._is_accepted:
                self._agent.hear_of_gateways(gateways, self._gateway.id)
            case Said(Refusal(reason, sentence)):
                self.refuse(f"{reason}: {sentence}")
                raise ChannelRefused(f"the gateway refuses: {sentence}")
            case Said(Renewal(uplink, message)) if self._is_accepted and uplink in self._tunnels:
                tunnel = self._tunnels[uplink]
                tunnel.perform(tunnel.key.handle_message(message, now_s()))
            case _:
                pass  # alive, or of a newer version

    def _learn(self, part: LogPart, conversation: SiteConversation) -> None:
        """Entries of the log, or that there are some. Raises `Refused`, `Forked`, `LocalError`."""
        trust = self._agent.trust
        is_on = trust.extend(part.start, part.entries) or not part.entries
        if trust.size < part.size and is_on:
            conversation.say(LogWanted(trust.size))
        elif self._held is not None:
            conversation.check_peer(unix_s())
            self._accepted(self._held, conversation)
        elif not self._is_accepted:
            before = self._agent.own
            self._agent.own = renewed(before, trust, self._agent.settings.certificate)
            if self._agent.own != before:
                raise ChannelRefused("this site has a newer certificate, and shows that one now")

    def _accepted(self, acceptance: Acceptance, conversation: SiteConversation) -> None:
        self._is_accepted, self._refused, self._held = True, None, None
        self._words = "open"
        for uplink, tunnel in self._tunnels.items():
            public_key = acceptance.public_keys.get(uplink)
            if public_key is None:
                tunnel.fault = f"the gateway does not serve uplink {uplink}"
                continue
            tunnel.fault = None
            tunnel.meet(public_key)
            tunnel.send = lambda message, uplink=uplink: self._say_renewal(uplink, message)
            tunnel.exchange = lambda number, id=tunnel.id: conversation.exchange(id, number, unix_s())
            tunnel.perform(tunnel.key.handle_channel_up(acceptance.key_ids.get(uplink, frozenset()), now_s()))
            self.say_length(tunnel.id)

    def say_length(self, tunnel: TunnelId) -> None:
        """How long the packets of one of its tunnels may be."""
        if self._conversation is not None and self._is_accepted and tunnel.gateway == self._gateway.id:
            self._conversation.say(Length(tunnel.uplink, self._agent.mtu(tunnel)))
            self._flush()

    def _say_renewal(self, uplink: int, message: Message) -> None:
        if self._conversation is not None:
            self._conversation.say(Renewal(uplink, message))
            self._flush()

    @property
    def is_open(self) -> bool:
        return self._is_accepted

    def hand_over(self, report: SignedReport) -> None:
        """Give a report to the gateway, for the server."""
        if self._conversation is not None:
            self._conversation.say(Reported(report.report, report.signature))
            self._flush()

    def refuse(self, why: str) -> None:
        """This site or this gateway is out: nothing of their tunnels stays. Raises `HostRefused`."""
        if self._refused == why:
            return
        log.warning("tunnels to gateway %s are closed: %s", self._gateway.id, why)
        self._refused = why
        for tunnel in self._tunnels.values():
            tunnel.forget()
            tunnel.fault = why
            self._agent.tell_keyed(tunnel)
        if self._writer is not None:
            self._writer.close()

    def _flush(self) -> None:
        if self._conversation is not None and self._writer is not None:
            self._writer.write(self._conversation.data_to_send())

    def _disconnected(self) -> None:
        self._conversation, self._writer, self._is_accepted, self._held = None, None, False, None
        for tunnel in self._tunnels.values():
            tunnel.send = tunnel.exchange = None
            tunnel.key.handle_channel_down()

    def status(self) -> dict[str, Any]:
        is_open = self._is_accepted
        return {
            "gateway": self._gateway.id,
            "address": str(self._gateway.address),
            "control": "open" if is_open else self._words,
            "over_uplink": self._over.index if is_open and self._over else None,
            "inside_tls": self._last[1] if is_open and self._last else None,
            "refused": self._refused,
        }


def with_known_gateways(settings: SiteSettings) -> SiteSettings:
    """Settings with the gateways that this site has heard of since it joined. Raises `StateDamaged`."""
    found = StateDirectory(settings.state).read_places(GATEWAYS) if settings.joined else []
    if not found:
        return settings
    configured = {place.id: place.address_6 for place in settings.gateway}
    try:
        places = [GatewayPlace.model_validate(each) for each in found]
        kept = [place.model_copy(update={"address_6": place.address_6 or configured.get(place.id)}) for place in places]
        return SiteSettings.model_validate({**settings.model_dump(), "gateway": [place.model_dump() for place in kept]})
    except ValueError as error:
        raise StateDamaged(f"the gateways kept in {settings.state} are damaged ({error}); remove that file: they come anew") from error


def forget_gateways(state: Path) -> None:
    """Where the server has just said anew which there are."""
    (state / f"{GATEWAYS}.json").unlink(missing_ok=True)


def heard_gateways(
    known: Sequence[GatewayPlace], told: Iterable[GatewayAt], teller: str, fault: Callable[[str], str | None]
) -> tuple[GatewayPlace, ...]:
    """The gateways that there are once `teller` has spoken. New ones count, with a certificate; that one is elsewhere, only by its own
    word; one goes by its revocation alone. So no gateway can take the others from this site.

    fault: what is wrong with the certificate of a device.
    """
    places = {place.id: place for place in known}
    for each in told:
        if any(other.number == each.number and other.id != each.id for other in places.values()):
            continue
        if each.id not in places:
            if fault(each.id) is None:
                places[each.id] = GatewayPlace(id=each.id, number=each.number, address=each.address)
        elif each.id == teller:
            places[each.id] = places[each.id].model_copy(update={"number": each.number, "address": each.address})
    return tuple(place for place in places.values() if fault(place.id) != "revoked")


def wait_until_remade_s(made: Sequence[float], now: float) -> float:
    """made: when agents were made, the last one last."""
    return max(0.0, made[-MOST_REMADE] + REMADE_PERIOD_S - now) if len(made) >= MOST_REMADE else 0.0


def dhcp_clients(settings: SiteSettings) -> list[DhcpClient]:
    """Of the uplinks that ask the network for their address."""
    underlay = Namespace(settings.underlay)
    gateways = [address for gateway in settings.gateway for address in gateway.addresses]
    return [DhcpClient(underlay, uplink.interface, uplink.index, settings.state, gateways) for uplink in settings.uplink if uplink.dhcp]


def close(settings: SiteSettings) -> None:
    """Let nothing out of the main namespace but into tunnels, whatever else is wrong: a revoked or damaged site starts closed.

    Raises `HostRefused`.
    """
    interfaces = [site_interface(settings.tag, gateway.number, uplink.index) for gateway in settings.gateway for uplink in settings.uplink]
    firewall.apply_rules(Namespace(), kill_switch.main_rules(settings.local, interfaces))


def take_down(settings: SiteSettings, wireguard: WireGuard | None = None) -> None:
    """Make the machine as it was: tunnels first, then the uplinks' namespace, the kill switch last. Raises `HostRefused`."""
    settings = with_known_gateways(settings)
    tool, main, underlay = wireguard or wireguard_here(), Namespace(), Namespace(settings.underlay)
    tcp_proxy.stop(settings.state / tcp_proxy.STATUS_SOCKET)
    for gateway in settings.gateway:
        for uplink in settings.uplink:
            tool.remove(site_interface(settings.tag, gateway.number, uplink.index), main)
    for client in dhcp_clients(settings):
        client.stop()
    if underlay.exists:
        with suppress(TramontanaError):
            links.batch(underlay, [f"link set {uplink.interface} down" for uplink in settings.uplink])
        for uplink in settings.uplink:
            if links.has_link(underlay, uplink.interface):
                links.move_link(uplink.interface, underlay, main)
        underlay.remove()
    firewall.apply_rules(main, f"table inet {kill_switch.MAIN_TABLE}\ndelete table inet {kill_switch.MAIN_TABLE}\n")


def _by_reason(blocked: Mapping[FlowClass, str]) -> list[dict[str, Any]]:
    reasons: dict[str, list[str]] = {}
    for flow, reason in blocked.items():
        reasons.setdefault(reason, []).append(flow.label)
    return [{"flows": flows, "reason": reason} for reason, flows in reasons.items()]


def _tunnel_report(status: dict[str, Any], carriers: dict[int, str]) -> Tunnel:
    round_trip_s = status["round_trip_s"]
    return Tunnel(
        gateway=status["gateway"],
        uplink=status["uplink"],
        carrier=carriers[status["uplink"]],
        up=status["up"],
        health=status["health"],
        delay_ms=None if round_trip_s is None else round(round_trip_s * 1e3, 1),
        loss=status["loss"],
        key_age_s=status["key_age_s"],
        handshake_age_s=status["last_handshake_age_s"],
    )


def _changed(change: Changed) -> dict[str, Any]:
    return {
        "ago_s": round(time.monotonic() - change.at, 1),  # the clock of the uplinks' driver
        "flows": [flow.label for flow in change.flows],
        "from": change.before.uplink if change.before else None,
        "to": change.after.uplink if change.after else None,
        "reason": change.reason,
    }


def _sold_bps(uplink: Uplink) -> tuple[float, float]:
    up, down = (UNSOLD_BPS if mbps is None else mbps * 1e6 for mbps in (uplink.up_mbps, uplink.down_mbps))
    return up, down


def _uplink_lines(uplink: Uplink) -> list[str]:
    lines = [f"link set {uplink.interface} up"]
    if uplink.address is not None:
        lines.append(f"address replace {uplink.address} dev {uplink.interface}{' nodad' if uplink.address.version == 6 else ''}")
    if uplink.via is not None:
        lines.append(f"route replace default via {uplink.via} dev {uplink.interface} table {uplink.index}")
    return lines
