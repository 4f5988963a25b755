"""Bounded search in the symbolic model of enrolment, revocation and key renewal (`enrolment.maude`).

Within its bounds (one account under attack, two custodians, five epochs, the payloads that a scenario names) the search visits every
state that the rules lead to. With all checks it has to find no attack; without one of them it has to find the attack that the check
stands against. It says nothing beyond the bounds and the model: this is a bounded search, not a proof.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import maude
import pytest

CHECKS = (
    "certificate",  # a key without a certificate of the organisation is refused
    "pin",  # the organisation is the one whose fingerprint was in the invitation
    "code",  # a custodian compares the device code that the person reads out
    "authentic",  # an approval is signed by a custodian
    "bound",  # an approval is good for its request only
    "two",  # two custodians for high precedence and for roles with power
    "logged",  # a certificate that does not stand in the log is refused
    "consistent",  # a log that does not extend the one seen before is refused
    "gossip",  # phones compare tree heads inside conversations
    "revoked",  # a revoked key is not taken in again
    "superseded",  # the last certificate of a device counts
    "removal",  # whoever learns of a revocation commits the removal
    "replaced",  # a renewed key takes the place of the old one
    "fresh",  # a commit brings a fresh secret that is sealed to those who stay
)
STATE = "st(N:Msgs, O:Leaves, C:Checks, B:Leaves, A:Leaves, MS:Keys, E:Nat, F:Flags, U:Universe)"
ENROLMENT = "c(ka, low, 0) | c(ke, low, 0) | c(ke, high, 0)"
CORRUPT_CUSTODIAN = "priv(kc2)"


@dataclass(frozen=True)
class Scenario:
    """`attack` and `purpose` change `STATE` into patterns: what must not be reached, and what must be, lest the search be empty."""

    attacker_has: str
    may_happen: str
    may_be_asked: str
    attack: tuple[str, str, str]
    purpose: tuple[str, str]
    needs: tuple[str, ...]
    """The checks without which the attack succeeds."""


SCENARIOS = {
    "a key of the server is taken for Ada's": Scenario(
        "none",
        "calm",
        ENROLMENT,
        ("MS:Keys", "MS:Keys + ke", ""),
        ("MS:Keys", "MS:Keys + ka"),
        ("certificate", "pin", "code", "authentic", "bound"),
    ),
    "one dishonest custodian gives a key a high precedence": Scenario(
        CORRUPT_CUSTODIAN,
        "calm",
        f"{ENROLMENT} | c(ka, high, 0)",
        ("F:Flags", "F:Flags & admitted(ke, high)", ""),
        ("F:Flags", "F:Flags & admitted(ka, high)"),
        ("certificate", "pin", "code", "authentic", "bound", "two"),
    ),
    "a key that one dishonest custodian approved stays hidden from Ada": Scenario(
        CORRUPT_CUSTODIAN,
        "calm",
        ENROLMENT,
        (
            "MS:Keys, E:Nat, F:Flags",
            "MS:Keys + ke, E:Nat, F:Flags & compared",
            "hidden(F:Flags, A:Leaves)",
        ),
        ("MS:Keys, E:Nat, F:Flags", "MS:Keys + ke, E:Nat, F:Flags & compared"),
        ("certificate", "pin", "logged", "consistent", "gossip"),
    ),
    "a thief reads what is said after the revocation": Scenario(
        "none",
        "mayBeStolen",
        "c(ka, low, 0)",
        ("N:Msgs", "N:Msgs ; text1", ""),
        ("N:Msgs", "N:Msgs ; say(E:Nat, text1)"),
        ("consistent", "revoked", "removal", "fresh"),
    ),
    "who copied a key reads on after its renewal": Scenario(
        "none",
        "mayLeak",
        "c(ka, low, 0) | c(ka2, low, 1)",
        ("N:Msgs", "N:Msgs ; text2", ""),
        ("N:Msgs", "N:Msgs ; say(E:Nat, text2)"),
        ("consistent", "superseded", "replaced", "fresh"),
    ),
}


@pytest.fixture(scope="module")
def model() -> object:
    maude.init(advise=False)
    assert maude.load(str(Path(__file__).with_name("enrolment.maude")))
    return maude.getModule("ENROLMENT")


def search(model: object, scenario: Scenario, checks: tuple[str, ...], pattern: str, condition: str = "") -> list[str] | None:
    """The rules that lead to a state of the pattern, in order; None where the search visited every state and there is none."""
    begin = model.parseTerm(  # type: ignore[attr-defined]
        f"start({scenario.attacker_has}, ({' , '.join(checks)}), {scenario.may_happen}, ({scenario.may_be_asked}))"
    )
    goal = model.parseTerm(pattern)  # type: ignore[attr-defined]
    assert begin is not None
    assert goal is not None
    begin.reduce()
    conditions = {"condition": [maude.EqualityCondition(model.parseTerm(condition), model.parseTerm("true"))]} if condition else {}  # type: ignore[attr-defined]
    for _, _, path, _ in begin.search(maude.ANY_STEPS, goal, **conditions):
        return [step.getLabel() for step in path()[1::2]]
    return None


@pytest.mark.parametrize("name", SCENARIOS)
def test_with_all_checks_no_attack_is_found_and_the_purpose_is_reached(model: object, name: str) -> None:
    scenario = SCENARIOS[name]
    part, attacked, condition = scenario.attack
    assert search(model, scenario, CHECKS, STATE.replace(part, attacked), condition) is None
    part, reached = scenario.purpose
    assert search(model, scenario, CHECKS, STATE.replace(part, reached)), "the model does nothing: no attack in it means nothing"


@pytest.mark.parametrize(("name", "missing"), [(name, missing) for name, scenario in SCENARIOS.items() for missing in scenario.needs])
def test_without_a_check_its_attack_is_found(model: object, name: str, missing: str) -> None:
    scenario = SCENARIOS[name]
    part, attacked, condition = scenario.attack
    checks = tuple(check for check in CHECKS if check != missing)
    attack = search(model, scenario, checks, STATE.replace(part, attacked), condition)
    assert attack
    print(f"without {missing}: {', '.join(attack)}")  # shown by pytest -rP


def test_every_check_stands_against_an_attack() -> None:
    assert {check for scenario in SCENARIOS.values() for check in scenario.needs} == set(CHECKS)
