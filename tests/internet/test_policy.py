"""Policies: what they allow, how they explain it, and how they refuse to be read."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tramontana.carriers.carrier import Carrier, CarrierKind, Price
from tramontana.carriers.catalogue import FIBRE, SICRAL_2, STARLINK
from tramontana.internet import policy as policy_module
from tramontana.internet.flow_class import FlowClass
from tramontana.internet.policy import PolicyError, parse_policy

SOVEREIGN = """
prefer = ["fibre", "starlink"]
[[rules]]
name = "urgent traffic on Italian ground"
kinds = ["voice", "data"]
at_least = "immediate"
jurisdictions = ["IT"]
landing_countries = ["IT"]
[[rules]]
name = "the rest"
never = ["kuiper"]
[caps.starlink]
gigabytes_a_month = 50
beyond = "priority"
"""


def test_the_example_in_the_documentation_is_a_policy() -> None:
    assert policy_module.__doc__ is not None
    example = "\n".join(line for line in policy_module.__doc__.splitlines() if line.startswith("    ") or not line)
    policy = parse_policy(example)
    assert [rule.name for rule in policy.rules] == ["calls and urgent data on sovereign ground", "everything else"]


def test_the_first_rule_that_fits_decides_and_says_why() -> None:
    policy = parse_policy(SOVEREIGN)
    assert policy.evaluate(FlowClass.VOICE_FLASH, SICRAL_2).allowed
    refused = policy.evaluate(FlowClass.VOICE_FLASH, STARLINK)
    assert not refused.allowed
    assert "under the law of US" in str(refused)
    assert "may land in" in str(refused)
    assert "urgent traffic on Italian ground" in str(refused)
    assert policy.evaluate(FlowClass.VOICE_PRIORITY, STARLINK).allowed


def test_one_foreign_landing_place_is_enough_to_refuse() -> None:
    policy = parse_policy(SOVEREIGN)
    assert not policy.evaluate(FlowClass.DATA_FLASH, replace(FIBRE, landing_countries=("IT", "FR"))).allowed
    assert not policy.evaluate(FlowClass.DATA_FLASH, replace(FIBRE, landing_countries=())).allowed
    assert not policy.evaluate(FlowClass.DATA_FLASH, replace(FIBRE, jurisdiction="")).allowed


@pytest.mark.parametrize(
    ("price", "allowed", "because"),
    [
        (None, False, "not known"),
        (Price(287, None, "EUR", "s"), True, ""),
        (Price(287, 310, "EUR", "s"), False, "310 EUR"),
        (Price(10, 20, "USD", "s"), False, "in USD"),
    ],
)
def test_a_limit_of_price_takes_the_higher_price_and_never_an_unknown_one(price: Price | None, allowed: bool, because: str) -> None:
    policy = parse_policy('[[rules]]\nname = "cheap"\nhighest_price = {amount = 300, currency = "EUR"}')
    verdict = policy.evaluate(FlowClass.BULK, replace(FIBRE, price=price))
    assert verdict.allowed is allowed
    assert because in str(verdict)


def test_a_cap_that_is_used_up_leaves_the_rest_to_higher_levels() -> None:
    policy = parse_policy(SOVEREIGN)
    assert policy.evaluate(FlowClass.DATA_ROUTINE, STARLINK, 49e9).allowed
    assert not policy.evaluate(FlowClass.DATA_ROUTINE, STARLINK, 50e9).allowed
    assert policy.evaluate(FlowClass.DATA_PRIORITY, STARLINK, 50e9).allowed
    closed = parse_policy(SOVEREIGN.replace('beyond = "priority"', ""))
    assert not closed.evaluate(FlowClass.DATA_PRIORITY, STARLINK, 50e9).allowed


COUNTRIES = st.sampled_from(["IT", "FR", "US", "EU"])
CARRIERS = st.builds(
    Carrier,
    id=st.sampled_from(["a", "b", "c"]),
    name=st.just("n"),
    operator=st.just("o"),
    kind=st.sampled_from(CarrierKind),
    jurisdiction=st.one_of(st.just(""), COUNTRIES),
    landing_countries=st.lists(COUNTRIES, unique=True).map(tuple),
    price=st.none(),
    source=st.just("s"),
)


@given(CARRIERS, st.sampled_from(FlowClass), st.sets(COUNTRIES, min_size=1), st.sets(COUNTRIES, min_size=1), st.sampled_from(["a", "b"]))
def test_what_is_allowed_meets_every_condition_of_its_rule(
    carrier: Carrier, flow: FlowClass, laws: set[str], grounds: set[str], never: str
) -> None:
    policy = parse_policy(
        f'[[rules]]\nname = "all"\njurisdictions = {sorted(laws)}\nlanding_countries = {sorted(grounds)}\nnever = ["{never}"]'
    )
    expected = carrier.jurisdiction in laws and bool(carrier.landing_countries) and set(carrier.landing_countries) <= grounds
    verdict = policy.evaluate(flow, carrier)
    assert verdict.allowed is (expected and carrier.id != never)
    assert verdict.allowed is not bool(verdict.reasons)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("rules = 7", "rules"),
        ("", "rules"),
        ("[[rules]", "not TOML"),
        ('[[rules]]\nname = "v"\nkinds = ["voice"]', "no rule decides bulk; data, routine"),
        ('[[rules]]\nname = "all"\n[[rules]]\nname = "late"\nkinds = ["voice"]', "“late” decides nothing"),
        ('[[rules]]\nname = "a"\njurisdiction = ["IT"]', "rules.1.jurisdiction is not known here"),
        ('[[rules]]\nname = "a"\nlanding_countries = ["Italy"]', "rules.1.landing_countries.1"),
        ('[[rules]]\nname = "a"\nlanding_countries = []', "rules.1.landing_countries"),
        ('[[rules]]\nname = "a"\nat_least = "urgent"', "'flash-override'"),
        ('[[rules]]\nname = "a"\n[caps.starlink]\ngigabytes_a_month = -1', "caps.starlink.gigabytes_a_month"),
    ],
)
def test_a_policy_that_cannot_be_used_says_where_and_why(text: str, complaint: str) -> None:
    with pytest.raises(PolicyError) as refusal:
        parse_policy(text)
    assert complaint in str(refusal.value)


def test_copies_are_sent_on_suspicion_unless_a_rule_says_always() -> None:
    policy = parse_policy('[[rules]]\nname = "calls"\nkinds = ["voice"]\ncopies = "always"\n[[rules]]\nname = "rest"')
    assert policy.rule(FlowClass.VOICE_ROUTINE).copies == "always"
    assert policy.rule(FlowClass.DATA_FLASH).copies == "on suspicion"


@pytest.mark.parametrize(
    ("rule", "complaint"),
    [
        ('copies = "sometimes"', "rules.1.copies: Input should be 'on suspicion' or 'always'"),
        ('copies = "always"\nonly = ["fibre"]', '“calls” has copies = "always", which takes a second carrier'),
        ('copies = "always"\nonly = ["fibre", "starlink"]\nnever = ["starlink"]', "allows fewer than two"),
        ('copies = "always"\nkinds = ["bulk"]', '“calls” has copies = "always", but decides neither voice nor data of immediate and above'),
    ],
)
def test_copies_that_can_never_be_sent_are_refused(rule: str, complaint: str) -> None:
    with pytest.raises(PolicyError) as refused:
        parse_policy(f'[[rules]]\nname = "calls"\n{rule}\n[[rules]]\nname = "rest"')
    assert complaint in str(refused.value)


def test_copies_of_what_earlier_rules_left_over_are_refused_too() -> None:
    urgent = '[[rules]]\nname = "urgent"\nat_least = "immediate"\n[[rules]]\nname = "calls"\nkinds = ["voice"]\n'
    with pytest.raises(PolicyError, match="“rest” has copies"):
        parse_policy(urgent + '[[rules]]\nname = "rest"\ncopies = "always"')
