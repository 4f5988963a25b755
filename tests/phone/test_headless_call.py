"""The call table of the headless phone: conversations as they go, and whatever comes in any order."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tramontana.phone.headless import call
from tramontana.phone.headless.call import CallState, Phase
from tramontana.phone.headless.signalling import Answer, Busy, Cancel, Candidates, Decline, End, Invite, Message, Reveal, Ringing
from tramontana.precedence import Precedence

ADA, BRUNO = "a" * 32, "b" * 32
ONE, TWO, THREE = "1" * 32, "2" * 32, "3" * 32
ROUTINE, FLASH = Precedence.ROUTINE, Precedence.FLASH
OFFER = Invite("offer", bytes(32), ROUTINE)
ANSWER = Answer("answer", bytes(16))


class Play:
    """One phone, its inputs and what it did about the last of them."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.state: CallState | None = None
        self.effects: list[call.Effect] = []

    def __call__(self, given: call.Input, after_s: float = 0.0) -> Play:
        self.now += after_s
        self.state, self.effects = call.step(self.state, given, self.now)
        return self

    def told(self, message: Message, call_id: str = ONE, peer: str = BRUNO, age_s: float = 0.0) -> Play:
        return self(call.Told(call_id, peer, message, age_s))

    @property
    def phase(self) -> Phase:
        assert self.state is not None
        return self.state.phase

    @property
    def outcome(self) -> str | None:
        return None if self.state is None else self.state.outcome

    def sent(self) -> list[Message]:
        return [effect.message for effect in self.effects if isinstance(effect, call.Send)]


def dialled(level: Precedence = ROUTINE, call_id: str = ONE) -> Play:
    return Play()(call.Dial(call_id, BRUNO, level))(call.Prepared(call_id, OFFER))


def talking() -> Play:
    return dialled().told(ANSWER)(call.Connected(ONE))(call.AudioBegan(ONE))


def test_a_call_that_is_answered_held_and_hung_up() -> None:
    play = Play()(call.Dial(ONE, BRUNO, ROUTINE))
    assert play.effects == [call.Prepare(ONE, BRUNO, None)]
    assert play(call.Prepared(ONE, OFFER)).sent() == [OFFER]
    assert play.told(Ringing()).state is not None
    assert play.told(ANSWER).effects == [call.ToMedia(ONE, ANSWER)]
    assert play.told(Candidates(())).effects == [call.ToMedia(ONE, Candidates(()))]
    assert play(call.Connected(ONE))(call.AudioBegan(ONE), 1.0).phase is Phase.ACTIVE
    play(call.PressHangUp(), 10.0)
    assert play.sent() == [End("hang_up")]
    assert play.outcome == "answered"
    assert call.RenewKeys(BRUNO) in play.effects
    assert call.Release(ONE) in play.effects


def test_a_call_that_comes_is_taken() -> None:
    play = Play().told(OFFER)
    assert play.sent() == [Ringing()]
    assert play(call.PressAnswer()).effects == [call.Prepare(ONE, BRUNO, OFFER)]
    assert play(call.Prepared(ONE, ANSWER)).sent() == [ANSWER]
    assert play.told(Reveal(bytes(16))).effects == [call.ToMedia(ONE, Reveal(bytes(16)))]
    assert play(call.Connected(ONE))(call.AudioBegan(ONE)).told(End("hang_up")).outcome == "answered"
    assert not any(isinstance(effect, call.RenewKeys) for effect in play.effects)  # the caller does that


@pytest.mark.parametrize(
    ("message", "outcome"),
    [
        (Decline(), "declined"),
        (Busy(), "busy"),
        (Busy(is_unavailable=True), "unavailable"),
        (End("media"), "failed"),
        (End("no_capacity"), "no_capacity"),
        (End("preempted", FLASH), "preempted"),
    ],
)
def test_how_a_dialled_call_ends(message: Message, outcome: str) -> None:
    assert dialled().told(message).outcome == outcome


def test_nobody_answers_and_nothing_connects() -> None:
    unanswered = dialled()(call.Tick(), call.RING_S)
    assert (unanswered.outcome, unanswered.sent()) == ("unanswered", [Cancel()])
    stuck = dialled().told(ANSWER)(call.Tick(), call.CONNECT_S)
    assert (stuck.outcome, stuck.sent()) == ("failed", [End("media")])
    lost = talking()(call.Disconnected(ONE))(call.Tick(), call.REPAIR_S)
    assert (lost.outcome, lost.sent()) == ("answered", [End("media")])
    repaired = talking()(call.Disconnected(ONE))(call.Connected(ONE), 5.0)(call.Tick(), call.REPAIR_S)
    assert repaired.outcome is None
    assert Play().told(OFFER)(call.Tick(), call.RING_S).outcome == "missed"
    assert Play().told(OFFER, age_s=50.0).effects == [call.Turned(ONE, BRUNO, "missed")]


def test_a_failed_set_up_is_told_only_where_the_other_knows_of_the_call() -> None:
    unsent = Play()(call.Dial(ONE, BRUNO, ROUTINE))(call.SetupFailed(ONE, "no_capacity"))
    assert (unsent.outcome, unsent.sent()) == ("no_capacity", [])
    assert dialled()(call.SetupFailed(ONE, "media")).sent() == [End("media")]
    assert Play().told(OFFER)(call.PressAnswer())(call.SetupFailed(ONE, "media")).sent() == [End("media")]


@pytest.mark.parametrize(("mine", "his", "levels", "mine_goes_on"), [
    (ONE, TWO, (ROUTINE, ROUTINE), True),
    (TWO, ONE, (ROUTINE, ROUTINE), False),
    (ONE, TWO, (ROUTINE, FLASH), False),
    (TWO, ONE, (FLASH, ROUTINE), True),
])  # fmt: skip
def test_both_dial_at_once(mine: str, his: str, levels: tuple[Precedence, Precedence], mine_goes_on: bool) -> None:
    invite = Invite("offer", bytes(32), levels[1])
    play = dialled(levels[0], mine).told(invite, call_id=his)
    assert play.state is not None
    if mine_goes_on:
        assert (play.state.call_id, play.effects) == (mine, [])
    else:
        assert play.effects == [call.Release(mine), call.Prepare(his, BRUNO, invite)]
        assert (play.state.call_id, play.phase, play.state.precedence) == (his, Phase.CONNECTING, levels[1])


def test_a_second_call_is_busy_or_takes_the_place_of_a_lower_one() -> None:
    assert talking().told(OFFER, TWO, ADA).sent() == [Busy()]
    urgent = Invite("offer", bytes(32), FLASH)
    play = talking().told(urgent, TWO, ADA)
    assert play.sent() == [End("preempted", FLASH), Ringing()]
    assert play.state is not None
    assert (play.state.call_id, play.state.peer, play.phase) == (TWO, ADA, Phase.INCOMING)
    again = talking().told(OFFER, TWO, BRUNO)  # his phone lost the call
    assert again.state is not None
    assert (again.state.call_id, again.phase) == (TWO, Phase.INCOMING)


def test_the_server_and_other_devices_end_a_call() -> None:
    play = talking()(call.Preempted(ONE, FLASH))
    assert (play.outcome, play.sent()) == ("preempted", [End("preempted", FLASH)])
    assert Play().told(OFFER)(call.TakenElsewhere(ONE)).outcome == "missed"
    assert talking()(call.RevealFailed(ONE)).sent() == [End("short_code")]


MESSAGES: list[Message] = [
    OFFER, Invite("o", bytes(32), FLASH), Ringing(), ANSWER, Reveal(bytes(16)), Candidates(()), Decline(), Busy(), Cancel(), End("hang_up"),
]  # fmt: skip
IDS, PEERS = st.sampled_from([ONE, TWO, THREE]), st.sampled_from([ADA, BRUNO])
INPUTS: st.SearchStrategy[Any] = st.one_of(
    st.builds(call.Told, IDS, PEERS, st.sampled_from(MESSAGES), st.sampled_from([0.0, 50.0])),
    st.builds(call.Dial, IDS, PEERS, st.sampled_from([ROUTINE, FLASH])),
    st.builds(call.Prepared, IDS, st.sampled_from([OFFER, ANSWER])),
    st.builds(call.SetupFailed, IDS, st.just("media")),
    *(st.builds(kind, IDS) for kind in (call.Connected, call.Disconnected, call.AudioBegan, call.RevealFailed, call.TakenElsewhere)),
    st.builds(call.Preempted, IDS, st.sampled_from([None, FLASH])),
    st.sampled_from([call.PressAnswer(), call.PressDecline(), call.PressHangUp(), call.Tick()]),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(INPUTS, st.sampled_from([0.0, 1.0, 50.0])), max_size=25))
def test_whatever_comes_every_prepared_call_is_released_before_the_next_one(inputs: list[tuple[call.Input, float]]) -> None:
    play, open_calls = Play(), set()
    for given_input, after_s in inputs:
        play(given_input, after_s)
        for effect in play.effects:
            if isinstance(effect, call.Prepare):
                open_calls.add(effect.call_id)
            elif isinstance(effect, call.Release):
                open_calls.discard(effect.call_id)
        present = None if play.state is None or play.phase is Phase.ENDED else play.state.call_id
        assert open_calls <= {present}
        assert (play.outcome is None) == (present is not None or play.state is None)
