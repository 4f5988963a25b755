"""Both ends of a tunnel's key renewal in a simulated world.

Messages are lost, doubled and late, either end is killed at any step, and the path goes.

The world's WireGuard is deliberately simple: a handshake succeeds exactly if both ends have the same key in force.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tramontana.internet.key_renewal import (
    Action,
    Exchange,
    GatewayKey,
    KeyState,
    Message,
    PresharedKey,
    Send,
    SetKey,
    SiteKey,
    Store,
    Timing,
    TunnelKeys,
    Word,
)

TIMING = Timing()
STEP_S = 1.0
HANDSHAKE_EVERY_S = 120.0  # WireGuard's Rekey-After-Time
SESSION_S = 180.0  # Reject-After-Time
RETRY_S = 5.0  # Rekey-Timeout
BOUND_S = 2 * TIMING.dead_s + TIMING.proof_s + 4 * TIMING.seek_s
"""After the last disturbance, without any message: both have given up, and the site has tried both keys twice."""


@dataclass
class Host:
    """What survives a crash of the agent: the stored keys, and WireGuard itself."""

    stored: TunnelKeys = field(default_factory=TunnelKeys)
    wireguard: PresharedKey | None = None


class World:
    """Two agents, a channel between them, one WireGuard tunnel."""

    def __init__(self) -> None:
        self.now = 0.0
        self.site_host, self.gateway_host = Host(), Host()
        self.site, self.gateway = SiteKey(TunnelKeys(), TIMING), GatewayKey(TunnelKeys(), TIMING)
        self.channel_up = False
        self.path_up = True
        self.to_site: list[Message] = []
        self.to_gateway: list[Message | PresharedKey] = []
        self.session_at: float | None = None
        self.tried_at = -RETRY_S
        self.keys_made = 0
        self.misses_handshakes = ""
        self.crash_after: int | None = None
        """The agent that acts next dies after so many actions."""
        self.longest_gap_s = 0.0
        self.had_session = False

    # Carrying out

    def act(self, host: Host, actions: list[Action], *, is_site: bool) -> None:
        for count, action in enumerate(actions):
            if self.crash_after is not None and count >= self.crash_after:
                self.crash_after = None
                self.crash(is_site=is_site)
                return
            match action:
                case Store(keys):
                    host.stored = keys
                case SetKey(key):
                    host.wireguard = key
                case Send(message):
                    assert host.stored == (self.site if is_site else self.gateway).keys, "something was sent before it was stored"
                    if self.channel_up:
                        (self.to_gateway if is_site else self.to_site).append(message)
                case Exchange(number):
                    self.keys_made += 1
                    key = PresharedKey(number, hashlib.sha256(self.keys_made.to_bytes(8, "big")).digest())
                    self.act(host, self.site.handle_exchanged(key, self.now), is_site=True)
                    # The proposal carries the key.
                    self.to_gateway = [
                        key if isinstance(each, Message) and each == Message(Word.PROPOSE, key.number, key.id) else each
                        for each in self.to_gateway
                    ]
        self.crash_after = None

    def crash(self, *, is_site: bool) -> None:
        self.cut_channel()
        if is_site:
            self.site = SiteKey(self.site_host.stored, TIMING)
            self.site_host.wireguard = self.site.keys.in_force
        else:
            self.gateway = GatewayKey(self.gateway_host.stored, TIMING)
            self.gateway_host.wireguard = self.gateway.keys.in_force

    def cut_channel(self) -> None:
        self.channel_up = False
        self.site.handle_channel_down()

    def connect(self) -> None:
        if self.channel_up:
            return
        self.channel_up = True
        self.act(self.gateway_host, self.gateway.handle_channel_up(self.site.keys.ids, self.now), is_site=False)
        if self.channel_up:
            self.act(self.site_host, self.site.handle_channel_up(self.gateway.keys.ids, self.now), is_site=True)

    def deliver_to_gateway(self, position: int, *, keep: bool = False) -> None:
        message = self.to_gateway[position] if keep else self.to_gateway.pop(position)
        if isinstance(message, PresharedKey):
            self.act(self.gateway_host, self.gateway.handle_proposal(message, self.now), is_site=False)
        else:
            self.act(self.gateway_host, self.gateway.handle_message(message, self.now), is_site=False)

    def deliver_to_site(self, position: int, *, keep: bool = False) -> None:
        message = self.to_site[position] if keep else self.to_site.pop(position)
        self.act(self.site_host, self.site.handle_message(message, self.now), is_site=True)

    def deliver_all(self) -> None:
        while self.to_gateway or self.to_site:
            if self.to_gateway:
                self.deliver_to_gateway(0)
            if self.to_site:
                self.deliver_to_site(0)

    # Time

    def tick(self, *, deliver: bool = False) -> None:
        self.now += STEP_S
        age = None if self.session_at is None else self.now - self.session_at
        if self.path_up and (age is None or age >= HANDSHAKE_EVERY_S) and self.now >= self.tried_at + RETRY_S:
            self.tried_at = self.now
            key = self.site_host.wireguard
            if key is not None and key == self.gateway_host.wireguard:
                self.session_at, self.had_session = self.now, True
                if self.misses_handshakes != "gateway":
                    self.act(self.gateway_host, self.gateway.handle_handshake(self.now), is_site=False)
                if self.misses_handshakes != "site":
                    self.act(self.site_host, self.site.handle_handshake(self.now), is_site=True)
        if self.session_at is not None and self.path_up:
            self.longest_gap_s = max(self.longest_gap_s, self.now - self.session_at - SESSION_S)
        self.act(self.site_host, self.site.handle_timer(self.now), is_site=True)
        self.act(self.gateway_host, self.gateway.handle_timer(self.now), is_site=False)
        if deliver:
            self.deliver_all()

    def run(self, seconds: float, *, deliver: bool = False) -> None:
        for _ in range(int(seconds / STEP_S)):
            self.tick(deliver=deliver)

    # What must hold at every moment

    def check(self) -> None:
        site, gateway = self.site.keys, self.gateway.keys
        assert self.site_host.wireguard == site.in_force
        assert self.gateway_host.wireguard == gateway.in_force
        # Whatever one end has in force, the other end holds as well: there is always a way back.
        if site.in_force is not None and gateway.in_force is not None:
            assert gateway.in_force.id in site.ids

    def has_same_key(self) -> bool:
        return self.site_host.wireguard is not None and self.site_host.wireguard == self.gateway_host.wireguard


class Renewals(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.world = World()

    @initialize()
    def up(self) -> None:
        self.world.connect()
        self.world.run(10, deliver=True)
        assert self.world.has_same_key()

    @rule(seconds=st.integers(1, 130), deliver=st.booleans())
    def wait(self, seconds: int, deliver: bool) -> None:
        self.world.run(seconds, deliver=deliver)

    @rule(seconds=st.integers(1, 4))
    def wait_shortly(self, seconds: int) -> None:
        self.world.run(seconds)

    @rule(is_site=st.booleans(), state=st.sampled_from([KeyState.PROPOSED, KeyState.CONFIRMED, KeyState.SET, KeyState.PROVEN]))
    def come_to(self, is_site: bool, state: KeyState) -> None:
        """Go on, message by message, until one end is in this state of a renewal."""
        world = self.world
        world.connect()
        for _ in range(300):
            world.tick()
            for _ in range(8):
                if (world.site if is_site else world.gateway).keys.state is state:
                    return
                if world.to_gateway:
                    world.deliver_to_gateway(0)
                elif world.to_site:
                    world.deliver_to_site(0)

    @rule(seconds=st.sampled_from([20, 120, 150, 180, 360]), misses=st.sampled_from(["site", "gateway", "neither"]))
    def alone(self, seconds: int, misses: str) -> None:
        """The channel is gone for a while, and handshakes are seen by one end alone."""
        self.world.cut_channel()
        self.world.misses_handshakes = misses
        self.world.run(seconds)

    @precondition(lambda self: self.world.to_gateway)
    @rule(data=st.data(), fate=st.sampled_from(["arrives", "arrives", "arrives", "lost", "twice"]))
    def to_gateway(self, data: st.DataObject, fate: str) -> None:
        position = data.draw(st.integers(0, len(self.world.to_gateway) - 1))
        if fate == "lost":
            self.world.to_gateway.pop(position)
        else:
            self.world.deliver_to_gateway(position, keep=fate == "twice")

    @precondition(lambda self: self.world.to_site)
    @rule(data=st.data(), fate=st.sampled_from(["arrives", "arrives", "arrives", "lost", "twice"]))
    def to_site(self, data: st.DataObject, fate: str) -> None:
        position = data.draw(st.integers(0, len(self.world.to_site) - 1))
        if fate == "lost":
            self.world.to_site.pop(position)
        else:
            self.world.deliver_to_site(position, keep=fate == "twice")

    @rule(is_site=st.booleans(), after=st.integers(0, 3))
    def crash_during_the_next_step(self, is_site: bool, after: int) -> None:
        if after == 0:
            self.world.crash(is_site=is_site)
        else:
            self.world.crash_after = after

    @rule()
    def connection_ends(self) -> None:
        self.world.cut_channel()

    @rule()
    def connection_comes(self) -> None:
        self.world.connect()

    @rule(up=st.booleans())
    def path(self, up: bool) -> None:
        self.world.path_up = up

    @rule(towards=st.sampled_from(["site", "gateway", "neither"]))
    def one_way(self, towards: str) -> None:
        """Data in one direction is lost: one end alone sees that a handshake ended."""
        self.world.misses_handshakes = towards

    @invariant()
    def there_is_always_a_way_back(self) -> None:
        self.world.check()

    def teardown(self) -> None:
        """With the channel gone for good and the path there, both ends come to one key by themselves, and stay with it."""
        world = self.world
        world.crash_after, world.path_up, world.misses_handshakes = None, True, ""
        world.cut_channel()
        had_key = world.site_host.wireguard is not None and world.gateway_host.wireguard is not None
        agreed = world.site.keys.agreed is not None and world.gateway.keys.agreed is not None
        if had_key and agreed:
            world.run(BOUND_S)
            for _ in range(int(2 * SESSION_S)):
                world.tick()
                world.check()
                assert world.has_same_key()
        # With the channel it takes a few messages, whatever came before.
        world.to_site.clear()
        world.to_gateway.clear()
        world.connect()
        world.run(4 * TIMING.first_proof_s, deliver=True)
        assert world.has_same_key()
        before = world.site_host.wireguard
        world.run(5 * HANDSHAKE_EVERY_S, deliver=True)
        assert world.has_same_key()
        assert before is not None
        assert world.site_host.wireguard is not None
        assert world.site_host.wireguard.number > before.number


TestRenewals = Renewals.TestCase
TestRenewals.settings = settings(max_examples=80, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def settled() -> World:
    world = World()
    world.connect()
    world.run(10, deliver=True)
    assert world.has_same_key()
    return world


def renewing(world: World, state: KeyState) -> None:
    """Deliver message by message until the gateway is in this state of a renewal."""
    for _ in range(400):
        world.tick()
        while world.to_gateway or world.to_site:
            if world.to_gateway:
                world.deliver_to_gateway(0)
                if world.gateway.keys.state is state:
                    return
            if world.to_site:
                world.deliver_to_site(0)
    raise AssertionError("no renewal began")


def test_keys_are_renewed_with_each_handshake_and_the_session_never_ends() -> None:
    world = settled()
    world.run(20 * HANDSHAKE_EVERY_S, deliver=True)
    assert world.site.keys.last_number == world.gateway.keys.last_number
    assert world.gateway.keys.last_number >= 20
    assert world.longest_gap_s <= 0


def test_no_traffic_before_the_first_key() -> None:
    world = World()
    world.run(600)
    assert world.site_host.wireguard is None
    assert world.gateway_host.wireguard is None
    assert not world.had_session


def test_a_renewal_that_only_the_gateway_set_is_taken_back_before_the_session_ends() -> None:
    world = settled()
    renewing(world, KeyState.SET)
    world.cut_channel()
    world.to_site.clear()
    assert not world.has_same_key()
    world.run(TIMING.proof_s + 2)
    assert world.has_same_key()
    world.run(3600)
    assert world.longest_gap_s <= 0


def test_an_agent_that_dies_between_the_two_sets_comes_back_without_an_outage() -> None:
    for is_site in (True, False):
        world = settled()
        renewing(world, KeyState.SET)
        world.to_site.clear()
        world.crash(is_site=is_site)
        world.run(60)
        world.connect()
        world.run(3600, deliver=True)
        assert world.has_same_key()
        assert world.longest_gap_s <= 0


def test_a_stranger_to_all_keys_begins_anew() -> None:
    """One end lost its disk: no key is in common, none stays in force."""
    world = settled()
    world.cut_channel()
    world.gateway_host.stored = TunnelKeys()
    world.crash(is_site=False)
    world.connect()
    assert world.site_host.wireguard is None
    world.run(10, deliver=True)
    assert world.has_same_key()


def test_a_late_proposal_of_a_key_that_lost_is_not_taken_up() -> None:
    world = settled()
    renewing(world, KeyState.CONFIRMED)
    candidate = world.gateway.keys.candidate
    assert candidate is not None
    lost = Message(Word.REVERT, candidate.number, candidate.id)
    world.act(world.gateway_host, world.gateway.handle_message(lost, world.now), is_site=False)
    assert world.gateway.handle_proposal(candidate, world.now) == [Send(Message(Word.REVERTED, candidate.number, candidate.id))]


def test_the_key_shows_nowhere() -> None:
    key = PresharedKey(1, bytes(range(32)))
    assert bytes(range(32)).hex() not in repr(key)
    assert repr(bytes(range(32)))[2:-1] not in repr(TunnelKeys(agreed=key))


def test_a_handshake_that_only_the_gateway_saw_leads_the_site_back_to_the_new_key() -> None:
    """The site gave up on the new key, the gateway on the old one, and nothing tells: the site tries both."""
    world = settled()
    renewing(world, KeyState.SET)
    world.deliver_all()
    world.cut_channel()
    world.misses_handshakes = "site"
    world.run(TIMING.proof_s + 1)
    world.misses_handshakes = ""
    assert world.gateway.keys.candidate is None
    assert world.site.keys.state is KeyState.REVERTED
    assert not world.has_same_key()
    world.run(BOUND_S)
    for _ in range(int(2 * SESSION_S)):
        world.tick()
        assert world.has_same_key()
