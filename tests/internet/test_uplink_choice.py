"""The choice of tunnel: scenarios in words, and a state machine against a simple reference under a virtual clock."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.emulation.sample_profiles import START
from tramontana.carriers.carrier import Carrier
from tramontana.carriers.catalogue import FIBRE, SICRAL_2, STARLINK
from tramontana.forecast import EventKind, Forecast, ForecastEvent, Quantiles
from tramontana.internet.flow_class import FlowClass
from tramontana.internet.overlay import TunnelId
from tramontana.internet.policy import parse_policy
from tramontana.internet.probe import Health
from tramontana.internet.uplink_choice import (
    BRIEF_MARGIN_S,
    FIRST_STABLE_S,
    LEAD_MARGIN_S,
    LEAD_S,
    LOSSY,
    LOSSY_HOLD_S,
    STABLE_S,
    Blocked,
    Duplicate,
    Hurry,
    ObservationError,
    PlannedOutage,
    Switch,
    TunnelObservation,
    UplinkChoice,
    outages_of_forecast,
)

VOICE, DATA = FlowClass.VOICE_ROUTINE, FlowClass.DATA_ROUTINE
ANYTHING = parse_policy('prefer = ["starlink", "fibre", "sicral-2"]\n[[rules]]\nname = "anything"')
SOVEREIGN = parse_policy(
    'prefer = ["starlink", "fibre"]\n[[rules]]\nname = "calls at home"\nkinds = ["voice"]\njurisdictions = ["IT"]\n[[rules]]\nname = "rest"'
)
DISH, LINE, MILSAT = (TunnelId("s", "g1", n) for n in (1, 2, 3))
SECOND = TunnelId("s", "g2", 1)


def tunnel(carrier: Carrier, *, health: Health = Health.ALIVE, keyed: bool = True, gateway_rank: int = 0) -> TunnelObservation:
    return TunnelObservation(carrier, health, keyed, gateway_rank=gateway_rank)


def three() -> dict[TunnelId, TunnelObservation]:
    return {DISH: tunnel(STARLINK), LINE: tunnel(FIBRE), MILSAT: tunnel(SICRAL_2)}


def settled(choice: UplinkChoice, seen: dict[TunnelId, TunnelObservation], until: float = 100.0) -> UplinkChoice:
    for t in np.arange(0.0, until + 1.0, 1.0):
        choice.step(float(t), seen)
    return choice


def test_it_starts_blocked_and_takes_the_preferred_carrier_that_lives() -> None:
    choice = UplinkChoice(ANYTHING)
    assert set(choice.assigned.values()) == {None}
    assert [type(action) for action in choice.step(0.0, {})] == [Blocked]
    (action,) = choice.step(1.0, three())
    assert isinstance(action, Switch)
    assert (action.to, set(action.flows)) == (DISH, set(FlowClass))
    assert choice.step(2.0, three()) == []
    assert not choice.blocked


@pytest.mark.parametrize("change", [{"health": Health.DEAD}, {"link_up": False}, {"keyed": False}, {"outage": "STOWED"}])
def test_a_tunnel_that_fails_is_left_in_the_same_step_and_returned_to_when_it_was_good_for_long(change: dict[str, object]) -> None:
    seen = three()
    choice = settled(UplinkChoice(ANYTHING), seen)
    (away,) = choice.step(101.0, {**seen, DISH: replace(seen[DISH], **change)})  # type: ignore[arg-type]
    assert isinstance(away, Switch)
    assert away.to == LINE
    assert "Starlink" in away.reason
    back = next(t for t in np.arange(101.1, 200.0, 0.1) if choice.step(float(t), seen))
    assert back - 101.1 == pytest.approx(STABLE_S, abs=0.2)
    assert choice.assigned[DATA] == DISH


def test_at_the_start_the_preferred_carrier_may_come_a_little_later() -> None:
    choice = UplinkChoice(ANYTHING)
    late = {**three(), DISH: tunnel(STARLINK, health=Health.UNPROVEN)}
    choice.step(0.0, late)
    assert choice.assigned[DATA] == LINE
    came = [t for t in np.arange(0.1, 10.0, 0.1) if choice.step(float(t), late if t < 1.0 else three())]
    assert came == [pytest.approx(1.0 + FIRST_STABLE_S, abs=0.15)]
    assert choice.assigned[DATA] == DISH


def test_a_carrier_that_fails_again_and_again_has_to_wait_longer_each_time() -> None:
    seen = three()
    choice = settled(UplinkChoice(ANYTHING), seen)
    now, waits = 101.0, []
    for _ in range(4):
        choice.step(now, {**seen, DISH: replace(seen[DISH], health=Health.DEAD)})
        began = now = now + 1.0
        while choice.assigned[DATA] != DISH:
            choice.step(now, seen)
            now += 1.0
        waits.append(now - began)
    assert waits == [pytest.approx(STABLE_S * factor, abs=2.5) for factor in (1, 2, 4, 8)]


def test_policy_decides_class_by_class_and_says_who_was_refused() -> None:
    choice = UplinkChoice(SOVEREIGN)
    choice.step(0.0, three())
    assert (choice.assigned[VOICE], choice.assigned[DATA]) == (LINE, DISH)
    actions = choice.step(1.0, {DISH: tunnel(STARLINK)})
    (blocked,) = (action for action in actions if isinstance(action, Blocked))
    assert {flow.kind for flow in blocked.flows} == {VOICE.kind}
    assert "under the law of US" in blocked.reason
    assert choice.assigned[DATA] == DISH


def test_nothing_goes_without_a_post_quantum_key() -> None:
    choice = settled(UplinkChoice(ANYTHING), three())
    actions = choice.step(101.0, {t: replace(o, keyed=False) for t, o in three().items()})
    assert all(isinstance(action, Blocked) and "post-quantum key" in action.reason for action in actions)
    assert set(choice.assigned.values()) == {None}


def test_it_moves_before_a_predicted_outage_and_not_into_another_one() -> None:
    seen = three()
    choice = settled(UplinkChoice(ANYTHING), seen)
    seen[DISH] = replace(seen[DISH], planned=(PlannedOutage(110.0, 112.0, "handover"),))
    seen[LINE] = replace(seen[LINE], planned=(PlannedOutage(110.5, 112.0, "outage"),))
    assert choice.step(110.0 - LEAD_S - 0.01, seen) == []
    assert choice.next_change_at(109.0, seen) == 110.0 - LEAD_S
    (away,) = choice.step(110.0 - LEAD_S, seen)
    assert isinstance(away, Switch)
    assert away.to == MILSAT
    assert away.reason == "handover of Starlink predicted"
    for t in (110.0, 111.0, 112.0):
        assert choice.step(t, seen) == []
    assert choice.step(112.0 + STABLE_S - 0.01, seen) == []
    assert choice.step(112.0 + STABLE_S, seen) != []
    assert choice.assigned[DATA] == DISH


def test_where_all_are_predicted_to_go_out_it_stays() -> None:
    seen = {t: replace(o, planned=(PlannedOutage(110.0, 112.0, "rain"),)) for t, o in three().items()}
    choice = settled(UplinkChoice(ANYTHING), seen, until=120.0)
    assert len(choice.history) == 1


def test_loss_moves_traffic_to_what_loses_much_less_and_no_faster_than_it_may() -> None:
    seen = three()
    choice = settled(UplinkChoice(ANYTHING), seen)
    seen[DISH] = replace(seen[DISH], loss=0.3, loss_samples=100)
    (away,) = choice.step(101.0, seen)
    assert isinstance(away, Switch)
    assert (away.to, away.reason) == (LINE, "Starlink loses 30%")
    seen[LINE] = replace(seen[LINE], loss=0.5, loss_samples=100)
    assert choice.step(102.0, seen) == []
    (again,) = choice.step(101.0 + LOSSY_HOLD_S, seen)
    assert isinstance(again, Switch)
    assert again.to == MILSAT


def test_urgent_traffic_is_doubled_while_its_tunnel_is_suspect_and_the_other_is_probed_at_once() -> None:
    seen = three()
    choice = settled(UplinkChoice(SOVEREIGN), seen)
    suspect = {**seen, DISH: replace(seen[DISH], health=Health.SUSPECT)}
    actions = choice.step(101.0, suspect)
    doubled = {flow: action.over for action in actions if isinstance(action, Duplicate) for flow in action.flows}
    assert set(doubled) == {FlowClass.DATA_IMMEDIATE, FlowClass.DATA_FLASH, FlowClass.DATA_FLASH_OVERRIDE}  # voice is not on the dish
    assert set(doubled.values()) == {LINE}
    assert Hurry(LINE) in actions
    ended = choice.step(102.0, seen)
    assert {action.over for action in ended if isinstance(action, Duplicate)} == {None}


ALWAYS = """prefer = ["starlink", "fibre", "sicral-2"]
[[rules]]
name = "calls on two carriers"
kinds = ["voice"]
never = ["fibre"]
copies = "always"
[[rules]]
name = "rest"
[caps.sicral-2]
gigabytes_a_month = 1
beyond = "flash"
"""
CALLS = {flow for flow in FlowClass if flow.kind is VOICE.kind}


def test_calls_go_over_the_second_best_allowed_carrier_at_all_times_where_the_policy_says_so() -> None:
    choice = UplinkChoice(parse_policy(ALWAYS))
    (begun,) = (action for action in choice.step(0.0, three()) if isinstance(action, Duplicate))
    assert (set(begun.flows), begun.over) == (CALLS, MILSAT)  # fibre would be the second best, and is refused to calls
    assert choice.uncopied == {}
    assert choice.step(1.0, three()) == []
    suspect = {**three(), DISH: tunnel(STARLINK, health=Health.SUSPECT)}
    doubled = {flow: action.over for action in choice.step(2.0, suspect) if isinstance(action, Duplicate) for flow in action.flows}
    assert set(doubled) == {FlowClass.DATA_IMMEDIATE, FlowClass.DATA_FLASH, FlowClass.DATA_FLASH_OVERRIDE}
    choice.step(3.0, {**three(), DISH: tunnel(STARLINK, health=Health.DEAD)})
    assert (choice.assigned[VOICE], choice.duplicated[VOICE]) == (MILSAT, None)
    assert choice.uncopied[VOICE] == "Starlink is dead; Terrestrial fibre refused by “calls on two carriers”: this carrier is excluded"


def test_copies_pause_when_the_cap_of_the_second_carrier_is_used_up_whatever_may_go_on_there() -> None:
    choice = settled(UplinkChoice(parse_policy(ALWAYS)), three())
    spent = {**three(), MILSAT: replace(three()[MILSAT], used_octets=1e9)}
    (ended,) = choice.step(101.0, spent)
    assert isinstance(ended, Duplicate)
    assert (set(ended.flows), ended.over) == (CALLS, None)
    assert "its 1 GB of this month are used up" in choice.uncopied[VOICE]
    assert "SICRAL 2 takes no copies: its 1 GB of this month are used up" in choice.uncopied[FlowClass.VOICE_FLASH]
    (begun,) = choice.step(102.0, three())  # the next month
    assert isinstance(begun, Duplicate)
    assert (set(begun.flows), begun.over) == (CALLS, MILSAT)
    assert choice.uncopied == {}


def test_a_second_way_of_one_carrier_and_another_gateway_are_no_second_carrier() -> None:
    choice = UplinkChoice(parse_policy(ALWAYS))
    twin, far = TunnelId("s", "g1", 4), TunnelId("s", "g2", 3)
    choice.step(0.0, {DISH: tunnel(STARLINK), twin: tunnel(STARLINK), far: tunnel(SICRAL_2, gateway_rank=1)})
    assert choice.duplicated[VOICE] is None
    assert choice.uncopied[VOICE] == "there is no second carrier"


def test_a_gateway_that_dies_is_left_for_the_standby_one() -> None:
    seen = {DISH: tunnel(STARLINK), LINE: tunnel(FIBRE), SECOND: tunnel(STARLINK, gateway_rank=1)}
    choice = settled(UplinkChoice(ANYTHING), seen)
    assert choice.assigned[DATA] == DISH
    choice.step(101.0, {**seen, DISH: replace(seen[DISH], health=Health.DEAD), LINE: replace(seen[LINE], health=Health.DEAD)})
    assert choice.assigned[DATA] == SECOND


def test_an_agent_that_starts_anew_goes_on_where_the_other_left_off() -> None:
    unproven = {t: replace(o, health=Health.UNPROVEN) for t, o in three().items()}
    choice = UplinkChoice(ANYTHING)
    choice.adopt(dict.fromkeys(FlowClass, LINE), until=5.0)
    assert choice.step(0.0, unproven) == []
    proven = {**unproven, DISH: three()[DISH]}
    assert choice.step(1.0, proven) == []
    assert choice.step(2.0, {**proven, LINE: replace(unproven[LINE], keyed=False)}) != []
    assert choice.assigned[DATA] == DISH
    late = UplinkChoice(ANYTHING)
    late.adopt(dict.fromkeys(FlowClass, LINE), until=5.0)
    late.step(4.9, unproven)
    assert late.assigned[DATA] == LINE
    assert late.next_change_at(4.9, unproven) == 5.0
    late.step(5.0, unproven)
    assert late.assigned[DATA] is None


def test_a_carrier_that_is_used_up_is_left() -> None:
    policy = parse_policy('prefer = ["starlink"]\n[[rules]]\nname = "all"\n[caps.starlink]\ngigabytes_a_month = 1\nbeyond = "flash"')
    choice = settled(UplinkChoice(policy), three())
    choice.step(101.0, {**three(), DISH: replace(tunnel(STARLINK), used_octets=1e9)})
    assert choice.assigned[DATA] == LINE
    assert choice.assigned[FlowClass.VOICE_FLASH] == DISH


def test_contradictions_change_nothing() -> None:
    choice = settled(UplinkChoice(ANYTHING), three())
    before = dict(choice.assigned)
    bad = [
        (101.0, {TunnelId("s", "g", 0): tunnel(FIBRE)}),
        (101.0, {DISH: replace(tunnel(FIBRE), loss=math.nan)}),
        (101.0, {DISH: tunnel(FIBRE), TunnelId("t", "g", 2): tunnel(FIBRE)}),
        (99.0, three()),
        (math.nan, three()),
    ]
    for now, seen in bad:
        with pytest.raises(ObservationError):
            choice.step(now, seen)
    assert choice.assigned == before


def test_a_short_predicted_outage_moves_nothing_but_sends_urgent_packets_twice() -> None:
    choice = UplinkChoice(ANYTHING)
    seen = {DISH: replace(tunnel(STARLINK), planned=(PlannedOutage(10.0, 10.05, "handover"),)), LINE: tunnel(FIBRE)}
    choice.step(0.0, seen)
    assert choice.assigned[VOICE] == DISH
    now, copies = 0.0, []
    while now < 12.0:
        now = min(now + 1.0, choice.next_change_at(now, seen))
        for action in choice.step(now, seen):
            assert isinstance(action, Duplicate)
            assert set(action.flows) == {flow for flow in FlowClass if flow.is_urgent}
            copies.append((now, action.over))
    assert copies == [(10.0 - BRIEF_MARGIN_S, LINE), (10.05 + BRIEF_MARGIN_S, None)]


def test_forecasts_become_plans() -> None:
    n = np.zeros(2)
    flat = Quantiles(n, n, n)
    events = tuple(
        ForecastEvent(EventKind.HANDOVER, START + at, START + at + 0.1, confidence, outage, "")
        for at, confidence, outage in [(10, 0.9, 0.5), (20, 0.9, 0.125), (30, 0.3, 2.0)]
    )
    forecast = Forecast("p", "c", "s", START, START + 60, START + np.arange(2.0), flat, flat, flat, n, events)
    assert outages_of_forecast(forecast, 5.0 - START) == (PlannedOutage(15.0, 15.5, "handover"), PlannedOutage(25.0, 25.125, "handover"))
    assert (PlannedOutage(10.0, 12.0, "outage").is_brief, PlannedOutage(20.0, 20.1, "outage").is_brief) == (False, True)


CARRIERS = {DISH: STARLINK, LINE: FIBRE, MILSAT: SICRAL_2, SECOND: STARLINK}
POLICIES = [ANYTHING, SOVEREIGN, parse_policy(ALWAYS), parse_policy('[[rules]]\nname = "none of them"\nonly = ["oneweb"]')]


class Site(RuleBasedStateMachine):
    """Everything that can happen to four tunnels. The reference knows only what lives and is allowed now, and since when each was good."""

    @initialize(policy=st.sampled_from(POLICIES))
    def start(self, policy: object) -> None:
        assert isinstance(policy, type(ANYTHING))
        self.policy = policy
        self.choice = UplinkChoice(policy)
        self.now = 0.0
        self.seen = {t: tunnel(c, health=Health.UNPROVEN, gateway_rank=int(t == SECOND)) for t, c in CARRIERS.items()}
        self.table: dict[FlowClass, TunnelId | None] = dict.fromkeys(FlowClass)
        self.lapsed: set[TunnelId] = set()
        self.good_since: dict[TunnelId, float | None] = dict.fromkeys(CARRIERS)
        self.moved = dict.fromkeys(FlowClass, -math.inf)

    @rule(which=st.sampled_from(list(CARRIERS)), health=st.sampled_from(Health))
    def health(self, which: TunnelId, health: Health) -> None:
        self.seen[which] = replace(self.seen[which], health=health)
        self.step(0.01)

    @rule(which=st.sampled_from(list(CARRIERS)), keyed=st.booleans(), link_up=st.booleans())
    def key_or_link(self, which: TunnelId, keyed: bool, link_up: bool) -> None:
        self.seen[which] = replace(self.seen[which], keyed=keyed, link_up=link_up)
        self.step(0.01)

    @rule(which=st.sampled_from(list(CARRIERS)), loss=st.sampled_from([0.0, 0.02, 0.15, 0.6]))
    def loss(self, which: TunnelId, loss: float) -> None:
        self.seen[which] = replace(self.seen[which], loss=loss, loss_samples=100)
        self.step(0.01)

    @rule(which=st.sampled_from(list(CARRIERS)), begins=st.sampled_from([0.2, 1.0, 3.0]), lasts=st.sampled_from([0.3, 5.0]))
    def predict(self, which: TunnelId, begins: float, lasts: float) -> None:
        self.seen[which] = replace(self.seen[which], planned=(PlannedOutage(self.now + begins, self.now + begins + lasts, "rain"),))
        self.step(0.01)

    @rule(seconds=st.sampled_from([0.02, 0.6, 5.0, 40.0]))
    def wait(self, seconds: float) -> None:
        until = self.now + seconds
        while self.now < until:
            self.step(min(until - self.now, max(0.02, self.choice.next_change_at(self.now, self.seen) - self.now)))

    @rule(which=st.sampled_from(list(CARRIERS)), used_octets=st.sampled_from([0.0, 2e9]))
    def count(self, which: TunnelId, used_octets: float) -> None:
        carrier = self.seen[which].carrier  # what was used is the carrier's, whichever tunnel it went through
        self.seen = {t: replace(o, used_octets=used_octets) if o.carrier is carrier else o for t, o in self.seen.items()}
        self.step(0.01)

    @rule()
    def all_alive(self) -> None:
        self.seen = {t: replace(o, health=Health.ALIVE, keyed=True, link_up=True, loss=0.0, planned=()) for t, o in self.seen.items()}
        self.step(0.01)

    def lives(self, flow: FlowClass, which: TunnelId) -> bool:
        o = self.seen[which]
        allowed = self.policy.evaluate(flow, o.carrier, o.used_octets).allowed
        return allowed and o.keyed and o.link_up and o.health in (Health.ALIVE, Health.SUSPECT)

    def is_second(self, flow: FlowClass, current: TunnelId, which: TunnelId) -> bool:
        """Another carrier to the same gateway, allowed and alive, with something left of its cap."""
        is_other = which.gateway == current.gateway and CARRIERS[which] is not CARRIERS[current]
        cap = self.policy.caps.get(CARRIERS[which].id)
        has_left = cap is None or self.seen[which].used_octets < cap.gigabytes_a_month * 1e9
        return is_other and has_left and self.lives(flow, which)

    def soon(self, which: TunnelId, margin_s: float) -> bool:
        return any(p.start - LEAD_S - margin_s <= self.now < p.end for p in self.seen[which].planned)

    def step(self, seconds: float) -> None:
        self.now += seconds
        for which, o in self.seen.items():
            good = o.keyed and o.link_up and o.health in (Health.ALIVE, Health.SUSPECT) and o.loss < LOSSY
            good = good and not self.soon(which, 0.0)
            since = self.good_since[which]
            if since is not None and not good:
                self.lapsed.add(which)
            self.good_since[which] = (self.now if since is None else since) if good else None
        before = dict(self.table)
        for action in self.choice.step(self.now, self.seen):
            if isinstance(action, Switch | Blocked):
                for flow in action.flows:
                    assert self.table[flow] == action.before
                    self.table[flow] = action.to if isinstance(action, Switch) else None
                assert action.reason
        for flow in FlowClass:
            old, new = before[flow], self.table[flow]
            if old is not None and new is not None and old != new and self.lives(flow, old):
                self.was_worth_it(flow, old, new)
            if before[flow] != self.table[flow]:
                self.moved[flow] = self.now

    def was_worth_it(self, flow: FlowClass, old: TunnelId, new: TunnelId) -> None:
        """A tunnel that still lives was left: because an outage is predicted, because of loss, or for one that has long been good."""
        predicted = self.soon(old, 0.0) and not self.soon(new, LEAD_MARGIN_S)
        lossy = self.seen[old].loss >= LOSSY and self.seen[new].loss <= self.seen[old].loss / 2
        since = self.good_since[new]
        long_good = (
            since is not None
            and self.now - since >= (STABLE_S if new in self.lapsed else FIRST_STABLE_S)
            and not self.soon(new, LEAD_MARGIN_S)
        )
        assert predicted or long_good or (lossy and self.now - self.moved[flow] >= LOSSY_HOLD_S)

    @invariant()
    def what_is_assigned_lives_and_is_allowed_and_what_is_blocked_has_to_be(self) -> None:
        if self.now == 0.0:
            return
        assert self.table == self.choice.assigned
        for flow in FlowClass:
            current = self.table[flow]
            if current is None:
                assert not any(self.lives(flow, which) for which in CARRIERS)
                assert self.choice.blocked[flow]
            else:
                assert self.lives(flow, current)
            double = self.choice.duplicated[flow]
            assert double is None or (double != current and self.lives(flow, double) and flow.is_urgent)
            if self.policy.rule(flow).copies == "always" and flow.is_urgent and current is not None:
                seconds = {which for which in CARRIERS if self.is_second(flow, current, which)}
                assert double in seconds if seconds else double is None or self.seen[current].is_suspect or self.seen[current].planned
                assert (flow in self.choice.uncopied) == (double is None)
            else:
                assert flow not in self.choice.uncopied
                calm = current is None or not (self.seen[current].is_suspect or self.seen[current].planned)
                assert double is None or not calm


TestSite = Site.TestCase
TestSite.settings = settings(max_examples=30, stateful_step_count=40, deadline=None)
