"""What a terminal's word is worth for the choice of uplinks."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as bounded
from hypothesis import strategies as st

from tests.internet.test_uplink_choice import ANYTHING, DATA, DISH, LINE, settled, three
from tramontana.internet.dish import CONFIRMED_S, LAPSE_S, DishState, DishWord, encode_answer, parse_answer, read_dish
from tramontana.internet.uplink_choice import Duplicate, Switch, UplinkChoice
from tramontana.internet.words import italian


def said(state: str | None = "CONNECTED", obstructed: bool | None = False, *alerts: str) -> DishState:
    return read_dish({"state": state, "currently_obstructed": obstructed}, {f"alert_{each}": True for each in alerts}, None, None)


def test_an_outage_counts_once_probes_had_their_chance_and_until_one_is_answered() -> None:
    word = DishWord()
    word.handle(said("STOWED"), 10.0)
    believed_at = 10.0 + CONFIRMED_S + 0.04
    assert word.fault(10.0, 9.99, 0.04) is None
    assert word.next_change_at(10.0, 0.04) == believed_at
    assert word.fault(believed_at, 9.99, 0.04) == "STOWED"
    assert word.fault(believed_at, None, None) == "STOWED"
    assert word.fault(believed_at, 10.01, 0.04) is None
    assert word.is_doubtful(10.0)


def test_a_terminal_that_answers_no_more_says_nothing() -> None:
    word = DishWord()
    word.handle(said("THERMAL_SHUTDOWN"), 10.0)
    assert word.fault(9.99 + LAPSE_S, None, None) == "THERMAL_SHUTDOWN"
    assert word.fault(10.0 + LAPSE_S, None, None) is None
    assert not word.is_doubtful(10.0 + LAPSE_S)
    word.handle(said("THERMAL_SHUTDOWN"), 20.0)
    assert not word.handle(None, 21.0)
    assert (word.fault(21.5, None, None), word.is_doubtful(21.5), word.next_change_at(21.5, None)) == (None, False, math.inf)


def test_an_outage_that_is_over_is_worth_a_look() -> None:
    word = DishWord()
    assert not word.handle(said(), 1.0)
    assert not word.handle(said("BOOTING"), 2.0)
    assert word.handle(said(), 3.0)
    assert not word.handle(said(), 4.0)


@pytest.mark.parametrize(
    ("state", "doubtful"),
    [
        (said(), False),
        (said("CONNECTED", True), True),
        (said("CONNECTED", False, "moving_too_fast_for_policy"), True),
        (said("CONNECTED", False, "thermal_shutdown"), True),
        (said("CONNECTED", False, "thermal_throttle", "motors_stuck", "install_pending"), False),
        (said("OBSTRUCTED", None), True),
        (said(None, None), False),
    ],
)
def test_what_makes_a_link_doubtful(state: DishState, doubtful: bool) -> None:
    word = DishWord()
    word.handle(state, 1.0)
    assert word.is_doubtful(1.5) is doubtful


JSON = st.none() | st.booleans() | st.floats(allow_nan=True) | st.text(max_size=8) | st.lists(st.integers(), max_size=2)


@bounded(max_examples=200, deadline=None)
@given(
    st.dictionaries(st.sampled_from(["state", "currently_obstructed", "uptime", "other"]), JSON),
    st.dictionaries(st.text(max_size=12), JSON),
)
def test_whatever_firmware_says_or_leaves_out_is_read_and_only_words_count(status: dict[str, Any], alerts: dict[str, Any]) -> None:
    state = parse_answer(encode_answer(status, alerts))
    word = DishWord()
    word.handle(state, 1.0)
    told = status.get("state")
    is_word = isinstance(told, str) and told not in ("", "CONNECTED", "UNKNOWN")
    assert word.fault(2.0, None, None) == (told if is_word else None)
    if not is_word and status.get("currently_obstructed") is not True:
        assert not word.is_doubtful(2.0) or any(alerts.get(name) is True for name in alerts)


def test_a_terminal_names_its_causes_itself_but_not_at_length() -> None:
    state = read_dish({"state": "X" * 10_000}, {"alert_" + "y" * 10_000: True}, None, None)
    assert (state.outage, state.alerts) == ("X" * 64, ("y" * 64,))


def test_a_line_that_is_no_answer_is_refused() -> None:
    for line in (b"no Starlink terminal answers\n", b"[]\n", b'{"status": 1, "alerts": {}}\n', b'{"status": {}}\n', b""):
        with pytest.raises(ValueError, match=r"no answer|Expecting"):
            parse_answer(line)


def test_traffic_leaves_a_carrier_whose_terminal_is_out_and_says_why() -> None:
    seen = three()
    choice = settled(UplinkChoice(ANYTHING), seen)
    (switch,) = choice.step(101.0, {**seen, DISH: replace(seen[DISH], outage="THERMAL_SHUTDOWN")})
    assert isinstance(switch, Switch)
    assert switch.to == LINE
    assert switch.reason == "Starlink is out, says its terminal (THERMAL_SHUTDOWN)"
    assert italian(switch.reason) == "Starlink è interrotto, dice il suo terminale (THERMAL_SHUTDOWN)"


def test_urgent_packets_go_twice_while_a_terminal_is_in_doubt() -> None:
    seen = three()
    choice = settled(UplinkChoice(ANYTHING), seen)
    actions = choice.step(101.0, {**seen, DISH: replace(seen[DISH], is_doubtful=True)})
    assert [each.over for each in actions if isinstance(each, Duplicate)] == [LINE]
    assert choice.assigned[DATA] == DISH
    (ended,) = choice.step(102.0, seen)
    assert isinstance(ended, Duplicate)
    assert ended.over is None
