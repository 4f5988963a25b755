"""The site's driver of uplinks: probes every tunnel, asks `UplinkChoice`, moves routes and tells the gateways.

Everything that is decided is decided by the cores; this module reads the clock, the sockets and the counters, and carries actions out.
If carrying one out fails, all classes are blocked before the error goes on.
"""

from __future__ import annotations

import asyncio
import math
import socket
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tramontana.carriers.carrier import Carrier
from tramontana.errors import LocalError
from tramontana.internet import several
from tramontana.internet.dish import DishState, DishWord
from tramontana.internet.flow_class import FlowClass
from tramontana.internet.linux import flow_marks, flow_routes, traffic_control
from tramontana.internet.linux.flow_marks import Network
from tramontana.internet.linux.tunnel_socket import Counters, open_socket, received, send
from tramontana.internet.overlay import TunnelId
from tramontana.internet.policy import Policy
from tramontana.internet.probe import Echo, Estimate, Health, MalformedDatagram, ProbeBudget, TunnelProbe
from tramontana.internet.qos import ShapedRate, plan
from tramontana.internet.switch import SWITCHED_TYPE, SwitchSender, parse_switched
from tramontana.internet.uplink_choice import (
    Action,
    Blocked,
    Duplicate,
    Hurry,
    PlannedOutage,
    Switch,
    TunnelObservation,
    UplinkChoice,
)

SHAPING_PERIOD_S: Final = 1.0
LONGEST_WAIT_S: Final = 1.0
ASKING_S: Final = 0.1
"""So long probes go fast when a gateway shall begin or end its copies."""
ADOPTION_S: Final = 5.0
"""So long a new agent believes in the routes that it found, while it proves their tunnels."""


@dataclass(frozen=True)
class SiteTunnel:
    """A tunnel as the site's agent made it. `nominal_bps`: (up, down) that the carrier sells, the most that is ever shaped to."""

    id: TunnelId
    device: str
    address: str
    gateway_address: str
    carrier: Carrier
    nominal_bps: tuple[float, float] = (1e9, 1e9)
    budget: ProbeBudget | None = None
    gateway_rank: int = 0


@dataclass(frozen=True)
class TunnelStatus:
    """For the console and the site's own page."""

    tunnel: SiteTunnel
    health: Health
    keyed: bool
    link_up: bool
    estimate: Estimate
    carries: tuple[FlowClass, ...]


@dataclass(frozen=True, slots=True)
class Heard:
    """answered_at: when the newest probe that was answered was sent, seconds of `time.monotonic`."""

    keyed: bool
    dead: bool
    """Though its link has a carrier."""
    answered_at: float | None


class _Live:
    def __init__(self, tunnel: SiteTunnel, now: float) -> None:
        self.tunnel = tunnel
        self.socket: socket.socket = open_socket(tunnel.device, tunnel.address)
        self.probe = TunnelProbe(now, budget=tunnel.budget)
        self.health = Health.UNPROVEN
        self.keyed = False
        self.link_up = True
        self.planned: tuple[PlannedOutage, ...] = ()
        self.up = ShapedRate(tunnel.nominal_bps[0])
        self.down = ShapedRate(tunnel.nominal_bps[1])
        self.shaped = False
        self.shape_kbps = _kbps(self.down)
        """What the gateway is asked to shape to."""


class SiteUplinks:
    """One site. Everything but `run` may be called at any time from the loop that runs it.

    networks: what lies beyond the tunnels (`flow_routes.EVERYTHING` for a site whose only way out they are). sequence_file: where the
    highest SWITCH sequence is kept. on_actions: told of every decision after it was carried out.
    """

    def __init__(
        self,
        policy: Policy,
        networks: Sequence[Network],
        *,
        sequence_file: Path | None = None,
        shape: bool = True,
        on_actions: Callable[[Sequence[Action]], None] = lambda actions: None,
    ) -> None:
        self.choice = UplinkChoice(policy)
        self._networks = networks
        self._sequence_file = sequence_file
        self._sequence = _kept_sequence(sequence_file)
        self._shape = shape
        self._on_actions = on_actions
        self._live: dict[TunnelId, _Live] = {}
        self._senders: dict[str, SwitchSender] = {}
        self._used: dict[str, float] = {}
        self._dishes: dict[int, DishWord] = {}
        """By uplink, of those whose terminal is asked."""
        self._counters = Counters()
        self._decide_at = -math.inf
        self._shape_at = -math.inf
        self._turned_at = -math.inf
        self._stirred = asyncio.Event()
        self._copies: dict[FlowClass, TunnelId] = {}
        self._hand = ThreadPoolExecutor(1, "duplicates")
        """Sets up copies while this loop finds out whether the suspect tunnel is dead."""
        self.malformed = 0
        """Datagrams in tunnels that were none of ours."""
        self.keeping_refused = 0
        """How often the disk would not keep the sequence."""
        self.copies_refused = 0
        """How often the system would not send urgent packets twice; they then went once."""

    # ---- what the site's agent tells it

    def add(self, tunnel: SiteTunnel) -> None:
        """Use a tunnel from now on; it carries nothing until it is keyed and proven. Raises `TunnelSocketError`."""
        self._live[tunnel.id] = live = _Live(tunnel, time.monotonic())
        self._senders.setdefault(tunnel.id.gateway, SwitchSender(self._sequence))
        asyncio.get_running_loop().add_reader(live.socket, self._read, live)
        self._decide_now()

    def remove(self, tunnel: TunnelId) -> None:
        """A tunnel is taken down: what it carries moves, or is blocked, before this returns."""
        live = self._live.pop(tunnel)
        asyncio.get_running_loop().remove_reader(live.socket)
        live.socket.close()
        self._turn()

    def set_keyed(self, tunnel: TunnelId, keyed: bool) -> None:
        """Whether the tunnel has a post-quantum preshared key in force."""
        self._live[tunnel].keyed = keyed
        self._decide_now()

    def set_link(self, uplink: int, up: bool) -> None:
        """A carrier event of an uplink: all its tunnels are meant."""
        for live in self._live.values():
            if live.tunnel.id.uplink == uplink:
                live.link_up = up
        self._decide_now()

    def set_dish(self, uplink: int, state: DishState | None) -> None:
        """What an uplink's terminal says of itself now; None: it does not answer."""
        now = time.monotonic()
        is_back = self._dishes.setdefault(uplink, DishWord()).handle(state, now)
        for live in self._live.values():
            if live.tunnel.id.uplink == uplink and (is_back or (state is not None and state.outage is not None)):
                live.probe.hurry(now)  # probes bear it out or refute it
        self._decide_now()

    def set_planned(self, tunnel: TunnelId, planned: Iterable[PlannedOutage]) -> None:
        """Predicted outages, on the clock of `time.monotonic`."""
        self._live[tunnel].planned = tuple(planned)
        self._decide_now()

    def set_used(self, used_octets: Mapping[str, float]) -> None:
        """What each carrier carried this month, by its id."""
        self._used = dict(used_octets)
        self._decide_now()

    def status(self) -> list[TunnelStatus]:
        """Every tunnel as it stands."""
        now = time.monotonic()
        return [
            TunnelStatus(
                live.tunnel,
                live.health,
                live.keyed,
                live.link_up,
                live.probe.estimate(now),
                tuple(flow for flow, at in self.choice.assigned.items() if at == id_),
            )
            for id_, live in self._live.items()
        ]

    def several(self, used: Collection[TunnelId]) -> dict[TunnelId, SiteTunnel]:
        """The tunnels that connections over several uplinks are to use now. used: those that they use already."""
        now = time.monotonic()
        observations = {id_: self._observe(live, now) for id_, live in self._live.items()}
        return {id_: self._live[id_].tunnel for id_ in several.ways(self.choice.policy, observations, self.choice.assigned, used)}

    def heard(self, tunnel: TunnelId) -> Heard | None:
        """What the ladder has to know of a tunnel; None of one that was never added."""
        live = self._live.get(tunnel)
        return None if live is None else Heard(live.keyed, live.health is Health.DEAD and live.link_up, live.probe.answered_at)

    async def run(self) -> None:
        """Until cancelled; routes then stay as they are, for the agent that comes after. It goes on with those that it finds.

        Raises `HostRefused` if the system refuses a route; everything is blocked then, as after any other error.
        """
        flow_routes.prepare()
        flow_routes.secure(self._networks)
        self._adopt()
        loop = asyncio.get_running_loop()
        try:
            while True:
                self._turn()
                self._stirred.clear()
                self._due = loop.call_later(self._wait_s(), self._awake)  # a tenth of what `wait_for` costs, fifty times a second
                try:
                    await self._stirred.wait()
                finally:
                    self._due.cancel()
        except Exception:
            self._block()
            raise
        finally:
            if self._copies:
                self._copies.clear()
                self._hand.submit(flow_marks.duplicate, []).add_done_callback(self._duplicated)
            self._hand.shutdown()
            for live in self._live.values():
                asyncio.get_running_loop().remove_reader(live.socket)
                live.socket.close()
            self._live.clear()
            self._counters.close()

    def _adopt(self) -> None:
        """What another agent left routed into tunnels of ours goes on; the rest is blocked."""
        by_device = {live.tunnel.device: id_ for id_, live in self._live.items() if live.keyed}
        found = {flow: by_device[device] for flow, device in flow_routes.current(self._networks).items() if device in by_device}
        flow_routes.route(self._networks, {flow: None for flow in FlowClass if flow not in found})
        now = time.monotonic()
        self.choice.adopt(found, now + ADOPTION_S)
        if found:
            self._announce(now)
            for id_ in set(found.values()):
                self._live[id_].probe.set_carrying(True, now)

    # ---- one turn

    def _awake(self) -> None:
        """Take a turn, unless nothing is due any more: the answers that came meanwhile put off most verdicts."""
        wait_s = self._wait_s()
        if wait_s > 0:
            self._due = asyncio.get_running_loop().call_later(wait_s, self._awake)
        else:
            self._stirred.set()

    def _wait_s(self) -> float:
        """Until something is due that the last turn did not do."""
        probes = [t for live in self._live.values() for t in (live.probe.next_probe_at, live.probe.next_verdict_at(self._turned_at))]
        switches = [sender.next_send_at for sender in self._senders.values()]
        wake = min([self._turned_at + LONGEST_WAIT_S, self._decide_at, *probes, *switches])
        return max(0.0, wake - time.monotonic())

    def _turn(self) -> None:
        """Everything that is due."""
        for live in self._live.values():  # before any verdict: an answer may wait since we were held up
            self._take(live)
        self._turned_at = now = time.monotonic()
        seen = self._counters.read()
        changed = now >= self._decide_at
        for live in self._live.values():
            received_octets, sent_octets = seen.get(live.tunnel.device, (0, 0))
            live.probe.handle_counters(received_octets, sent_octets, now)
            if now >= live.probe.next_probe_at:
                live.probe.shape_kbps = live.shape_kbps if self._shape else 0
                send(live.socket, live.probe.probe(now, sent_octets).encode(), live.tunnel.gateway_address)
            health = live.probe.health(now)
            changed = changed or health is not live.health
            live.health = health
        if changed:
            self._decide(now)
        self._send_switches(now)
        if self._shape and now >= self._shape_at:
            self._shape_all(now)

    def _decide(self, now: float) -> None:
        observations = {id_: self._observe(live, now) for id_, live in self._live.items()}
        actions = self.choice.step(now, observations)
        words = [self._dishes[id_.uplink].next_change_at(now, o.srtt_s) for id_, o in observations.items() if id_.uplink in self._dishes]
        self._decide_at = min(now + LONGEST_WAIT_S, self.choice.next_change_at(now, observations), *words)
        moves = {flow: None for action in actions if isinstance(action, Blocked) for flow in action.flows}
        devices: dict[FlowClass, str | None] = {**moves}
        for action in actions:
            if isinstance(action, Switch):
                devices |= dict.fromkeys(action.flows, self._live[action.to].tunnel.device)
            elif isinstance(action, Hurry):
                self._live[action.tunnel].probe.hurry(now)
        if devices:
            self._announce(now)
            self._send_switches(now)
            try:
                flow_routes.route(self._networks, devices)
            except LocalError:
                self._block()
                raise
            carrying = set(self.choice.assigned.values())
            for id_, live in self._live.items():
                live.probe.set_carrying(id_ in carrying, now)
        self._duplicate([action for action in actions if isinstance(action, Duplicate)], now)
        if actions:
            self._on_actions(actions)

    def _duplicate(self, actions: Sequence[Duplicate], now: float) -> None:
        """Send urgent packets twice, and have the gateway do the same: it is asked in the next probe of that tunnel, which goes at once."""
        if not actions:
            return
        for action in actions:
            for flow in action.flows:
                self._copies.pop(flow, None)
                if action.over is not None:
                    self._copies[flow] = action.over
        for id_, live in self._live.items():
            wanted = frozenset(flow for flow, over in self._copies.items() if over == id_)
            if wanted != live.probe.copies:
                live.probe.copies = wanted
                live.probe.hurry(now, ASKING_S)
        self._hand.submit(flow_marks.duplicate, self._copies_wanted()).add_done_callback(self._duplicated)

    def _copies_wanted(self) -> list[flow_marks.Copies]:
        used = [id_ for id_ in self._live if id_ in self._copies.values()]
        over = {id_: tuple(flow for flow, each in self._copies.items() if each == id_) for id_ in used}
        live = {id_: self._live[id_].tunnel for id_ in over}
        return [flow_marks.Copies(flows, live[id_].device, live[id_].gateway_address, is_counted=True) for id_, flows in over.items()]

    def _duplicated(self, done: Future[None]) -> None:
        if done.exception() is not None:
            self.copies_refused += 1

    def _observe(self, live: _Live, now: float) -> TunnelObservation:
        estimate = live.probe.estimate(now)
        dish = self._dishes.get(live.tunnel.id.uplink)
        return TunnelObservation(
            carrier=live.tunnel.carrier,
            health=live.health,
            keyed=live.keyed,
            link_up=live.link_up,
            outage=None if dish is None else dish.fault(now, live.probe.answered_at, estimate.srtt_s),
            is_doubtful=dish is not None and dish.is_doubtful(now),
            loss=estimate.loss,
            loss_samples=estimate.samples,
            srtt_s=estimate.srtt_s,
            used_octets=self._used.get(live.tunnel.carrier.id, 0.0),
            planned=live.planned,
            gateway_rank=live.tunnel.gateway_rank,
        )

    def _announce(self, now: float) -> None:
        """A SWITCH for each gateway whose part of the assignment changed; the gateway that loses all is told as well."""
        for gateway, sender in self._senders.items():
            uplinks = {flow: at.uplink for flow, at in self.choice.assigned.items() if at is not None and at.gateway == gateway}
            if any(sender.assignment.uplink(flow) != uplinks.get(flow, 0) for flow in FlowClass) or not sender.sequence:
                sender.assign(uplinks, now, max(time.time_ns() // 1_000_000, self._sequence + 1))
                self._keep(sender.sequence)

    def _send_switches(self, now: float) -> None:
        for gateway, sender in self._senders.items():
            if now >= sender.next_send_at and (message := sender.due(now)) is not None:
                for live in self._ways_to(gateway):
                    send(live.socket, message, live.tunnel.gateway_address)

    def _ways_to(self, gateway: str) -> list[_Live]:
        """The tunnels that carry to it; else those that live; else all."""
        ours = {id_: live for id_, live in self._live.items() if id_.gateway == gateway}
        carrying = [live for id_, live in ours.items() if id_ in self.choice.assigned.values()]
        alive = [live for live in ours.values() if live.health in (Health.ALIVE, Health.SUSPECT)]
        return carrying or alive or list(ours.values())

    def _shape_all(self, now: float) -> None:
        self._shape_at = now + SHAPING_PERIOD_S
        for live in self._live.values():
            estimate = live.probe.estimate(now)
            up, down = estimate.capacity_up, estimate.capacity_down
            if live.down.update(down.bps, down.measured_full, estimate.queue_down_s):
                live.shape_kbps = _kbps(live.down)
            if live.up.update(up.bps, up.measured_full, estimate.queue_up_s) or not live.shaped:
                traffic_control.apply(live.tunnel.device, {1: plan(live.up.bps)})
                live.shaped = True

    # ---- datagrams

    def _read(self, live: _Live) -> None:
        self._take(live)
        if live.probe.health(time.monotonic()) is not live.health:
            self._stirred.set()

    def _take(self, live: _Live) -> None:
        for datagram, sender, _ in received(live.socket):
            now = time.monotonic()
            if sender != live.tunnel.gateway_address:
                continue
            try:
                if datagram[:1] == bytes([SWITCHED_TYPE]):
                    self._switched(live, datagram, now)
                else:
                    echo = Echo.parse(datagram)
                    live.probe.handle_echo(echo, now)
                    sender_to = self._senders[live.tunnel.id.gateway]
                    sender_to.handle_echo(echo.switch_sequence, now)
                    self._keep(sender_to.sequence)
            except MalformedDatagram:
                self.malformed += 1

    def _switched(self, live: _Live, datagram: bytes, now: float) -> None:
        sender = self._senders[live.tunnel.id.gateway]
        sender.handle_switched(parse_switched(datagram), now, time.time_ns() // 1_000_000)
        self._keep(sender.sequence)

    # ---- keeping, blocking

    def _decide_now(self) -> None:
        self._decide_at = -math.inf
        self._stirred.set()

    def _block(self) -> None:
        flow_routes.route(self._networks, dict.fromkeys(FlowClass))

    def _keep(self, sequence: int) -> None:
        """A disk that refuses keeps no traffic from moving: after a restart the clock and the gateway's answer give the next one."""
        if sequence > self._sequence:
            self._sequence = sequence
            if self._sequence_file is not None:
                temporary = self._sequence_file.with_suffix(".new")
                try:
                    temporary.write_text(f"{sequence}\n")
                    temporary.replace(self._sequence_file)
                except OSError:
                    self.keeping_refused += 1


def _kbps(rate: ShapedRate) -> int:
    return min(2**32 - 1, round(plan(rate.bps).rate_bps / 1e3))


def _kept_sequence(file: Path | None) -> int:
    """0 if there is none, or it cannot be read: the clock, and the gateway's answer, then give the next one."""
    if file is None or not file.exists():
        return 0
    text = file.read_text(errors="replace").strip()
    return int(text) if text.isdecimal() and len(text) <= 19 else 0
