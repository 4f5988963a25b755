"""The ladder in networks that open and close rungs: a simulated tunnel and its probes, under a virtual clock."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tramontana.internet.ladder import (
    FAILED_FIRST_S,
    PROOF_S,
    PROOF_UP_S,
    ROUND_S,
    UP_FIRST_S,
    Ladder,
    Move,
    Networks,
    Remember,
    Rung,
    Scout,
)

STEP_S = 0.25
DEAD_AFTER_S = 1.5


class World:
    """A network that passes scouts and WireGuard on some rungs. Round trips take one step."""

    def __init__(self, *, remembered: Rung | None = None) -> None:
        self.now = 0.0
        self.scouts = set(Rung)
        self.wireguard = set(Rung)
        self.gateway_lives = True
        self.keyed = True
        self.ladder = Ladder(self.now, remembered)
        self.answered_at: float | None = None
        self.asked: list[Rung] = []
        self.answer_seen: dict[Rung, float] = {}
        self.moves: list[tuple[float, Rung, Rung]] = []
        self.remembered: list[Rung] = []
        self.rose_from: Rung | None = None
        self.silent_s = 0.0
        """The longest silence while the rung before a move upward would have worked."""

    def works(self, rung: Rung) -> bool:
        return self.gateway_lives and self.keyed and rung in self.wireguard

    def step(self) -> None:
        for rung in self.asked:
            if self.gateway_lives and rung in self.scouts:
                self.ladder.handle_answer(rung)
                self.answer_seen[rung] = self.now
        self.asked = []
        if self.works(self.ladder.rung):
            self.answered_at = self.now - STEP_S / 2  # sent half a step ago
        dead = self.keyed and (self.answered_at is None or self.now - self.answered_at > DEAD_AFTER_S)
        for action in self.ladder.observe(keyed=self.keyed, dead=dead, answered_at=self.answered_at, now=self.now):
            match action:
                case Scout(rungs):
                    self.asked += rungs
                case Move(rung, reason):
                    before = self.moves[-1][2] if self.moves else None
                    is_back = "back" in reason
                    assert is_back or self.now - self.answer_seen.get(rung, -1e9) <= ROUND_S + STEP_S, "a rung that did not answer"
                    self.moves.append((self.now, before if before is not None else Rung.UDP, rung))
                case Remember(rung):
                    assert self.works(rung), "remembered without a proof"
                    self.remembered.append(rung)
        self.now += STEP_S

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds / STEP_S)):
            self.step()


def test_an_open_network_is_never_left() -> None:
    world = World()
    world.run(4 * 3600)
    assert world.moves == []
    assert world.remembered == [Rung.UDP]


def test_where_udp_is_blocked_the_tunnel_comes_by_tls_within_one_round_and_rises_when_it_may() -> None:
    world = World()
    world.scouts = world.wireguard = {Rung.TLS_443}
    world.run(ROUND_S + 2 * STEP_S)
    world.run(20)
    assert world.remembered == [Rung.TLS_443]
    world.scouts = world.wireguard = {Rung.TLS_443, Rung.UDP_443}
    world.run(2 * UP_FIRST_S + 2 * ROUND_S)
    world.scouts = world.wireguard = set(Rung)
    world.run(2 * UP_FIRST_S + 2 * ROUND_S)
    assert [rung for _, _, rung in world.moves] == [Rung.TLS_443, Rung.UDP_443, Rung.UDP]


def test_a_rung_that_closes_is_left_for_the_best_that_is_open() -> None:
    world = World()
    world.run(30)
    world.scouts = world.wireguard = {Rung.UDP_443, Rung.TLS_443}
    world.run(DEAD_AFTER_S + ROUND_S + 4 * STEP_S)
    assert world.ladder.rung is Rung.UDP_443
    world.run(5)
    assert world.remembered[-1] is Rung.UDP_443


def test_a_dead_gateway_moves_nothing() -> None:
    world = World(remembered=Rung.UDP_443)
    world.scouts = world.wireguard = {Rung.UDP_443, Rung.TLS_443}
    world.run(30)
    world.gateway_lives = False
    world.run(600)
    world.gateway_lives = True
    world.run(60)
    assert world.moves == []
    assert world.ladder.rung is Rung.UDP_443


def test_where_scouts_pass_and_wireguard_does_not_traffic_is_away_for_a_moment_and_the_rung_is_left_alone() -> None:
    world = World(remembered=Rung.TLS_443)
    world.wireguard = {Rung.TLS_443}
    world.scouts = {Rung.TLS_443}
    world.run(10)
    world.scouts = set(Rung)
    worst = 0.0
    for _ in range(round(1800 / STEP_S)):
        world.step()
        worst = max(worst, world.now - (world.answered_at or 0.0))
    assert worst <= PROOF_UP_S + 3 * STEP_S
    assert world.ladder.rung is Rung.TLS_443
    rises = [at for at, _, to in world.moves if to is not Rung.TLS_443]
    assert 1 <= len(rises) <= 6
    same = [at for at, _, to in world.moves if to is Rung.UDP]
    assert all(later - earlier >= FAILED_FIRST_S for earlier, later in pairwise(same))


def test_a_handshake_that_takes_its_time_moves_nothing() -> None:
    world = World()
    world.run(30)
    world.wireguard = set()  # scouts come through: the gateway's WireGuard is being made anew
    world.run(PROOF_S - ROUND_S)
    world.wireguard = set(Rung)
    world.run(30)
    assert world.moves == []


def test_a_network_that_lets_scouts_through_and_not_wireguard_is_seen_through() -> None:
    world = World()
    world.run(30)
    world.wireguard = {Rung.TLS_443}
    world.run(3 * (PROOF_S + ROUND_S + 2))
    assert world.ladder.rung is Rung.TLS_443
    assert world.remembered == [Rung.UDP, Rung.TLS_443]
    world.wireguard = set()
    world.run(300)
    world.wireguard = {Rung.UDP_443}
    world.run(3 * (PROOF_S + ROUND_S + 2))
    assert world.remembered[-1] is Rung.UDP_443


def test_a_new_network_is_begun_with_what_is_remembered_of_it() -> None:
    networks = Networks()
    assert networks.remember("harbour", "rome", Rung.TLS_443)
    assert not networks.remember("harbour", "rome", Rung.TLS_443)
    assert networks.remembered("harbour", "rome") is Rung.TLS_443
    assert networks.remembered("harbour", "milan") is Rung.TLS_443  # nothing is known of this gateway there
    assert networks.remembered("sea", "rome") is None
    for number in range(networks.MOST):
        networks.remember(f"hotel {number}", "rome", Rung.UDP)
    assert networks.remembered("harbour", "rome") is None
    assert networks.remember("hotel 1", "rome", Rung.UDP, 1400)
    assert not networks.remember("hotel 1", "rome", Rung.UDP)
    assert networks.length("hotel 1", "rome") == 1400
    assert networks.length("hotel 2", "rome") is None
    assert Networks(networks.kept).kept == networks.kept
    world = World()
    world.run(5)
    world.ladder.handle_network(Rung.TLS_443, world.now)
    assert world.ladder.rung is Rung.TLS_443


class Seas(RuleBasedStateMachine):
    """Rungs open and close, gateways die, keys come and go; what holds at every step is in `World.step` and below."""

    @initialize(remembered=st.sampled_from([None, *Rung]))
    def begin(self, remembered: Rung | None) -> None:
        self.world = World(remembered=remembered)

    @rule(rungs=st.sets(st.sampled_from(Rung)), honest=st.booleans())
    def change(self, rungs: set[Rung], honest: bool) -> None:
        self.world.wireguard = set(rungs)
        self.world.scouts = set(rungs) if honest else set(Rung)

    @rule(lives=st.booleans())
    def gateway(self, lives: bool) -> None:
        self.world.gateway_lives = lives

    @rule(keyed=st.booleans())
    def key(self, keyed: bool) -> None:
        self.world.keyed = keyed

    @rule(remembered=st.sampled_from([None, *Rung]))
    def moved(self, remembered: Rung | None) -> None:
        self.world.ladder.handle_network(remembered, self.world.now)

    @rule(seconds=st.floats(0.25, 90))
    def pass_time(self, seconds: float) -> None:
        self.world.run(seconds)

    @rule()
    def calm(self) -> None:
        """Some rung carries, the gateway lives, there is a key: soon traffic flows, and goes on flowing but for trials of better rungs."""
        world = self.world
        world.gateway_lives = world.keyed = True
        if not world.wireguard:
            world.wireguard = world.scouts = {Rung.TLS_443}
        if not world.wireguard <= world.scouts:
            world.scouts |= world.wireguard
        world.run(35 + 4 * (PROOF_S + ROUND_S + 2))  # a wait of the longest kind, then each rung once and again
        assert world.answered_at is not None
        assert world.now - world.answered_at <= PROOF_UP_S + 4 * STEP_S

    @invariant()
    def scouts_and_moves_are_few(self) -> None:
        if hasattr(self, "world"):
            assert len(self.world.moves) <= 4 + self.world.now / ROUND_S


TestSeas = Seas.TestCase
TestSeas.settings = settings(max_examples=40, stateful_step_count=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
