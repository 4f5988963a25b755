"""Which tunnels connections over several uplinks use: never one that the policy refuses to any of their classes, nor a dead one."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from tramontana.carriers.catalogue import carrier
from tramontana.internet.flow_class import FlowClass, Kind
from tramontana.internet.overlay import TunnelId
from tramontana.internet.policy import Cap, Policy, Rule
from tramontana.internet.probe import Health
from tramontana.internet.several import flows_over_several, ways
from tramontana.internet.uplink_choice import TunnelObservation

ROME, MILAN = "aa" * 16, "bb" * 16
SITE = "cc" * 16
CARRIERS = {1: "starlink", 2: "fibre", 3: "4g"}
ALLOWED = Policy(rules=(Rule(name="downloads", kinds=(Kind.BULK,), several_uplinks=True), Rule(name="the rest")))


def tunnel(gateway: str, uplink: int) -> TunnelId:
    return TunnelId(SITE, gateway, uplink)


def seen(**fields: object) -> dict[TunnelId, TunnelObservation]:
    """All alive and keyed."""
    good = {
        tunnel(gateway, uplink): TunnelObservation(carrier(name), Health.ALIVE, keyed=True)
        for gateway in (ROME, MILAN)
        for uplink, name in CARRIERS.items()
    }
    return {id: replace(each, **fields) for id, each in good.items()}  # type: ignore[arg-type]


def test_every_good_tunnel_to_the_gateway_but_the_one_that_carries_already() -> None:
    at = dict.fromkeys(FlowClass, tunnel(ROME, 1))
    found = ways(ALLOWED, seen(), at, ())
    assert found == {tunnel(ROME, 2), tunnel(ROME, 3)}
    moved = dict.fromkeys(FlowClass, tunnel(ROME, 2))
    assert ways(ALLOWED, seen(), moved, found) == {tunnel(ROME, 1), *found}  # none is given up that is in use


def test_where_the_policy_says_nothing_of_it_there_are_none() -> None:
    silent = Policy(rules=(Rule(name="anything"),))
    assert flows_over_several(silent) == ()
    assert ways(silent, seen(), dict.fromkeys(FlowClass, tunnel(ROME, 1)), ()) == frozenset()


def test_a_used_up_carrier_is_left() -> None:
    capped = ALLOWED.model_copy(update={"caps": {"4g": Cap(gigabytes_a_month=1)}})
    used = {tunnel(ROME, 2), tunnel(ROME, 3)}
    at = dict.fromkeys(FlowClass, tunnel(ROME, 1))
    assert ways(capped, seen(used_octets=5e8), at, used) == used
    assert ways(capped, seen(used_octets=2e9), at, used) == {tunnel(ROME, 2)}


RULES = st.lists(
    st.builds(
        Rule,
        name=st.just("some"),
        kinds=st.lists(st.sampled_from(Kind), min_size=1, max_size=1).map(tuple),
        only=st.none() | st.sets(st.sampled_from(sorted(CARRIERS.values())), min_size=1).map(tuple),
        several_uplinks=st.booleans(),
    ),
    max_size=3,
    unique_by=lambda rule: rule.kinds,
)


@given(
    rules=RULES,
    last=st.booleans(),
    fields=st.lists(
        st.fixed_dictionaries({"health": st.sampled_from(Health), "keyed": st.booleans(), "link_up": st.booleans()}), min_size=6, max_size=6
    ),
    at=st.lists(st.none() | st.tuples(st.sampled_from([ROME, MILAN]), st.sampled_from(sorted(CARRIERS))), min_size=11, max_size=11),
    used=st.sets(st.tuples(st.sampled_from([ROME, MILAN]), st.sampled_from(sorted(CARRIERS)))),
)
def test_never_against_the_policy_never_without_a_key_never_to_two_gateways(
    rules: list[Rule],
    last: bool,
    fields: list[dict[str, object]],
    at: list[tuple[str, int] | None],
    used: set[tuple[str, int]],
) -> None:
    rest = [] if {kind for rule in rules for kind in rule.kinds} == set(Kind) else [Rule(name="the rest", several_uplinks=last)]
    policy = Policy(rules=(*rules, *rest))
    observations = {id: replace(each, **own) for (id, each), own in zip(seen().items(), fields, strict=True)}  # type: ignore[arg-type]
    assigned = {flow: place and tunnel(*place) for flow, place in zip(FlowClass, at, strict=True)}
    found = ways(policy, observations, assigned, {tunnel(*place) for place in used})
    flows = flows_over_several(policy)
    for id in found:
        assert observations[id].keyed
        assert observations[id].link_up
        assert observations[id].health in (Health.ALIVE, Health.SUSPECT)
        assert all(policy.evaluate(flow, observations[id].carrier).allowed for flow in flows)
        assert all((place := assigned[flow]) is not None and place.gateway == id.gateway for flow in flows)
