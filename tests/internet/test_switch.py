"""SWITCH over a network that loses, doubles and delays, with restarts at both ends: the gateway believes one tunnel, soon the right one."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tramontana.internet.flow_class import FlowClass
from tramontana.internet.probe import MalformedDatagram
from tramontana.internet.switch import (
    COPIES,
    Assignment,
    SiteRoutes,
    SwitchSender,
    encode_switch,
    encode_switched,
    parse_switch,
    parse_switched,
)

SITE = "a" * 32
VOICE, DATA = FlowClass.VOICE_ROUTINE, FlowClass.DATA_ROUTINE


@given(st.integers(0, 2**64 - 1), st.lists(st.integers(0, 255), min_size=len(FlowClass), max_size=len(FlowClass)))
def test_assignments_read_back_as_written(sequence: int, uplinks: list[int]) -> None:
    assignment = Assignment(sequence, tuple(uplinks))
    assert parse_switch(encode_switch(assignment)) == assignment
    assert parse_switched(encode_switched(assignment)) == assignment


@given(st.binary(max_size=40))
def test_other_datagrams_are_refused(datagram: bytes) -> None:
    message = encode_switch(Assignment(1))
    if len(datagram) != len(message) or datagram[0] != message[0]:
        with pytest.raises(MalformedDatagram, match="no SWITCH"):
            parse_switch(datagram)
    with pytest.raises(MalformedDatagram, match="no SWITCHED"):
        parse_switched(message)


def test_it_is_sent_three_times_at_once_and_then_repeated_until_acknowledged() -> None:
    sender = SwitchSender()
    sender.assign({VOICE: 2}, 0.0, 1000)
    at: list[float] = []
    while sender.next_send_at < 5.0:
        at.append(sender.next_send_at)
        message = sender.due(sender.next_send_at)
        assert message is not None
    assert len([t for t in at if t < 0.05]) == COPIES
    assert 5 <= len(at) <= 10
    _, answer = SiteRoutes().handle_switch(SITE, parse_switch(message or b""))
    sender.handle_switched(parse_switched(answer), 5.0, 6000)
    assert sender.due(1e9) is None


def test_a_site_that_lost_its_counter_and_its_clock_goes_above_what_the_gateway_holds() -> None:
    routes = SiteRoutes({SITE: Assignment.of(10**12, {VOICE: 1})})
    sender = SwitchSender()
    sender.assign({VOICE: 2}, 0.0, 5)
    changed, answer = routes.handle_switch(SITE, sender.assignment)
    assert not changed
    sender.handle_switched(parse_switched(answer), 0.0, 5)
    changed, answer = routes.handle_switch(SITE, sender.assignment)
    sender.handle_switched(parse_switched(answer), 0.0, 5)
    assert changed
    assert sender.acknowledged
    assert routes.in_force[SITE].uplink(VOICE) == 2


def test_a_gateway_that_forgot_is_told_again() -> None:
    routes, sender = SiteRoutes(), SwitchSender()
    sender.assign({VOICE: 2}, 0.0, 5)
    sender.handle_switched(parse_switched(routes.handle_switch(SITE, sender.assignment)[1]), 0.0, 5)
    sender.handle_echo(routes.sequence(SITE), 1.0)
    assert sender.due(1.0) is None
    assert routes.forget(SITE)
    sender.handle_echo(routes.sequence(SITE), 2.0)
    assert sender.due(2.0) == encode_switch(sender.assignment)


def test_a_switch_of_an_earlier_life_that_comes_late_does_not_stay_in_force() -> None:
    routes, sender = SiteRoutes(), SwitchSender()
    sender.assign({VOICE: 2}, 0.0, 1_000_000)
    late = sender.assignment
    sender = SwitchSender()  # disk and clock were lost
    sender.assign({VOICE: 1}, 0.0, 0)
    sender.handle_switched(parse_switched(routes.handle_switch(SITE, sender.assignment)[1]), 0.0, 0)
    routes.handle_switch(SITE, late)
    sender.handle_echo(routes.sequence(SITE), 1.0)
    assert sender.due(1.0) is not None
    routes.handle_switch(SITE, sender.assignment)
    assert routes.in_force[SITE].uplink(VOICE) == 1


class World(RuleBasedStateMachine):
    """One site, one gateway, a network that keeps every datagram for ever and delivers what it likes, when and as often as it likes."""

    def __init__(self) -> None:
        super().__init__()
        self.now, self.unix_ms, self.kept = 0.0, 1_000_000, 0
        self.site, self.routes = SwitchSender(), SiteRoutes()
        self.to_gateway: list[bytes] = []
        self.to_site: list[bytes] = []
        self.wanted: dict[FlowClass, int] = {}
        self.highest_in_force = 0

    @rule(voice=st.integers(1, 3), data=st.integers(0, 3))
    def assign(self, voice: int, data: int) -> None:
        self.wanted = {VOICE: voice, DATA: data}
        self.site.assign(self.wanted, self.now, self.unix_ms)
        self.kept = self.site.sequence

    @rule(seconds=st.sampled_from([0.0, 0.005, 0.2, 3.0]))
    def send(self, seconds: float) -> None:
        self.now += seconds
        self.unix_ms += round(seconds * 1000)
        if message := self.site.due(self.now):
            self.to_gateway.append(message)

    @rule(pick=st.integers(0, 10**6))
    def deliver_to_gateway(self, pick: int) -> None:
        if self.to_gateway:
            _, answer = self.routes.handle_switch(SITE, parse_switch(self.to_gateway[pick % len(self.to_gateway)]))
            self.to_site.append(answer)

    @rule(pick=st.integers(0, 10**6))
    def deliver_to_site(self, pick: int) -> None:
        if self.to_site:
            self.site.handle_switched(parse_switched(self.to_site[pick % len(self.to_site)]), self.now, self.unix_ms)

    @rule(keeps=st.booleans(), clock_ms=st.integers(0, 2_000_000))
    def restart_site(self, keeps: bool, clock_ms: int) -> None:
        self.unix_ms = clock_ms
        self.site = SwitchSender(self.kept if keeps else 0)
        self.site.assign(self.wanted, self.now, self.unix_ms)
        self.kept = self.site.sequence

    @rule()
    def in_the_end_they_agree(self) -> None:
        """As soon as the network delivers at all: four exchanges are enough from any state."""
        for _ in range(4):
            self.now += 2.0
            if message := self.site.due(self.now):
                _, answer = self.routes.handle_switch(SITE, parse_switch(message or b""))
                self.site.handle_switched(parse_switched(answer), self.now, self.unix_ms)
            self.site.handle_echo(self.routes.sequence(SITE), self.now)
        if self.wanted:
            assert self.routes.in_force[SITE].uplinks == Assignment.of(0, self.wanted).uplinks

    @invariant()
    def what_is_in_force_never_goes_back(self) -> None:
        assert self.routes.sequence(SITE) >= self.highest_in_force
        self.highest_in_force = self.routes.sequence(SITE)

    @invariant()
    def an_acknowledged_switch_is_in_force(self) -> None:
        if self.site.acknowledged and self.site.sequence and self.wanted:
            assert self.routes.sequence(SITE) >= self.site.sequence


TestWorld = World.TestCase
TestWorld.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


class TwoGateways(RuleBasedStateMachine):
    """One site that moves classes between two gateways, over a network that keeps every datagram and delivers what it likes."""

    def __init__(self) -> None:
        super().__init__()
        self.now, self.unix_ms, self.highest = 0.0, 1_000_000, 0
        self.senders = {gateway: SwitchSender() for gateway in "AB"}
        self.routes = {gateway: SiteRoutes() for gateway in "AB"}
        self.wanted: dict[FlowClass, tuple[str, int]] = {}
        self.under_way: list[tuple[str, bytes]] = []
        self.answers: list[tuple[str, bytes]] = []
        self.seen = dict.fromkeys("AB", 0)

    @rule(voice=st.tuples(st.sampled_from("AB"), st.integers(1, 3)), data=st.tuples(st.sampled_from("AB"), st.integers(1, 3)))
    def choose(self, voice: tuple[str, int], data: tuple[str, int]) -> None:
        """As the driver announces it: each gateway its part, the one that loses everything as well."""
        self.wanted = {VOICE: voice, DATA: data}
        for gateway, sender in self.senders.items():
            part = {flow: uplink for flow, (at, uplink) in self.wanted.items() if at == gateway}
            sender.assign(part, self.now, max(self.unix_ms, self.highest + 1))
            self.highest = max(self.highest, sender.sequence)

    @rule(seconds=st.sampled_from([0.0, 0.005, 0.2, 3.0]))
    def send(self, seconds: float) -> None:
        self.now += seconds
        self.unix_ms += round(seconds * 1000)
        for gateway, sender in self.senders.items():
            if message := sender.due(self.now):
                self.under_way.append((gateway, message))

    @rule(pick=st.integers(0, 10**6))
    def deliver(self, pick: int) -> None:
        if self.under_way:
            gateway, message = self.under_way[pick % len(self.under_way)]
            self.answers.append((gateway, self.routes[gateway].handle_switch(SITE, parse_switch(message))[1]))

    @rule(pick=st.integers(0, 10**6))
    def answer(self, pick: int) -> None:
        if self.answers:
            gateway, message = self.answers[pick % len(self.answers)]
            self.senders[gateway].handle_switched(parse_switched(message), self.now, self.unix_ms)

    def holds(self, gateway: str, flow: FlowClass) -> int:
        in_force = self.routes[gateway].in_force.get(SITE)
        return 0 if in_force is None else in_force.uplink(flow)

    @rule()
    def in_the_end_one_gateway_has_each_class(self) -> None:
        """As soon as the network delivers: the one that the site chose, and no other believes that it has it."""
        for _ in range(4):
            self.now += 2.0
            for gateway, sender in self.senders.items():
                if message := sender.due(self.now):
                    _, answer = self.routes[gateway].handle_switch(SITE, parse_switch(message))
                    sender.handle_switched(parse_switched(answer), self.now, self.unix_ms)
                sender.handle_echo(self.routes[gateway].sequence(SITE), self.now)
        for flow, (chosen, uplink) in self.wanted.items():
            assert {gateway: self.holds(gateway, flow) for gateway in "AB"} == {**dict.fromkeys("AB", 0), chosen: uplink}

    @invariant()
    def two_that_both_were_told_never_have_the_same_class(self) -> None:
        """While the network holds words back the one that lost it may not know yet; it never takes it back by an old word."""
        told = all(sender.sequence and sender.acknowledged for sender in self.senders.values())
        for flow in self.wanted if told else ():
            assert sum(self.holds(gateway, flow) != 0 for gateway in "AB") == 1
        for gateway, routes in self.routes.items():
            assert routes.sequence(SITE) >= self.seen[gateway]
            self.seen[gateway] = routes.sequence(SITE)


TestTwoGateways = TwoGateways.TestCase
TestTwoGateways.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
