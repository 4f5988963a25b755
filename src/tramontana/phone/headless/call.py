"""The call as a table: (state, input, now) → (state, effects). No clock, no network, no media; `driver.py` carries the effects out.

The rules are those of the browser's phone (web/src/phone/engine/call.ts), less what a person decides. What a phase does not list, it
ignores: late, repeated and foreign messages change nothing. When both dial at once, the call of the higher level goes on, among equals
the one with the lower id, and whoever made the other one answers it. An invite of a higher level ends the call on the phone at once: nobody
has to be given notice.

    dialling ──Answered──► connecting ──Connected──► active ──► ended
    incoming ──PressAnswer──► connecting
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, Literal

from tramontana.phone.headless.signalling import (
    Answer,
    Busy,
    Cancel,
    Candidates,
    Decline,
    End,
    EndReason,
    Invite,
    Message,
    Reveal,
    Ringing,
)
from tramontana.precedence import Precedence

RING_S = 45.0  # docs/protocols.md: an invite processed later than this is a missed call
CONNECT_S = 30.0
REPAIR_S = 30.0
"""How long a call whose path broke is kept: ICE finds the same path again, or not at all (this phone makes no ICE restart)."""

Outcome = Literal["answered", "declined", "busy", "unavailable", "unanswered", "cancelled", "missed", "failed", "preempted", "no_capacity"]


class Phase(Enum):
    DIALLING = "dialling"
    INCOMING = "incoming"
    CONNECTING = "connecting"
    ACTIVE = "active"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class CallState:
    """One call. Times are POSIX seconds."""

    call_id: str
    peer: str
    is_outgoing: bool
    precedence: Precedence
    phase: Phase
    began_at: float
    deadline: float | None
    invite: Invite | None = None
    """The caller's, until it is answered."""
    was_sent: bool = False
    """The peer knows of the call."""
    is_ringing: bool = False
    audio_since: float | None = None
    outcome: Outcome | None = None
    preempted_by: Precedence | None = None


# Inputs


@dataclass(frozen=True, slots=True)
class Dial:
    call_id: str
    peer: str
    precedence: Precedence


@dataclass(frozen=True, slots=True)
class PressAnswer:
    pass


@dataclass(frozen=True, slots=True)
class PressDecline:
    pass


@dataclass(frozen=True, slots=True)
class PressHangUp:
    pass


@dataclass(frozen=True, slots=True)
class Prepared:
    """The invite or the answer is ready to be sent."""

    call_id: str
    message: Invite | Answer


@dataclass(frozen=True, slots=True)
class SetupFailed:
    call_id: str
    reason: EndReason


@dataclass(frozen=True, slots=True)
class Told:
    """A message of the peer. `age_s`: how long ago the server accepted it; the level in an invite is one that its caller is allowed."""

    call_id: str
    peer: str
    message: Message
    age_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Connected:
    call_id: str


@dataclass(frozen=True, slots=True)
class Disconnected:
    call_id: str


@dataclass(frozen=True, slots=True)
class AudioBegan:
    call_id: str


@dataclass(frozen=True, slots=True)
class RevealFailed:
    call_id: str


@dataclass(frozen=True, slots=True)
class Preempted:
    """The server ended the call, for one of this level or for want of room."""

    call_id: str
    by: Precedence | None


@dataclass(frozen=True, slots=True)
class TakenElsewhere:
    """Another device of this person answered or declined."""

    call_id: str


@dataclass(frozen=True, slots=True)
class Tick:
    pass


Input = (
    Dial | PressAnswer | PressDecline | PressHangUp | Prepared | SetupFailed | Told | Connected | Disconnected | AudioBegan | RevealFailed
    | Preempted | TakenElsewhere | Tick
)  # fmt: skip


# Effects


@dataclass(frozen=True, slots=True)
class Send:
    peer: str
    call_id: str
    message: Message


@dataclass(frozen=True, slots=True)
class Prepare:
    """Ask for a grant and make the offer; or, with an invite, the answer. Told by `Prepared` or `SetupFailed`."""

    call_id: str
    peer: str
    invite: Invite | None


@dataclass(frozen=True, slots=True)
class ToMedia:
    call_id: str
    message: Answer | Reveal | Candidates


@dataclass(frozen=True, slots=True)
class Release:
    """Close the media and leave the call at the server."""

    call_id: str


@dataclass(frozen=True, slots=True)
class Turned:
    """A call that this phone did not take."""

    call_id: str
    peer: str
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class RenewKeys:
    """The caller heals the conversation with an update commit."""

    peer: str


Effect = Send | Prepare | ToMedia | Release | Turned | RenewKeys
Stepped = tuple[CallState | None, list[Effect]]
Handler = Callable[[CallState, Any, float], Stepped]


def step(state: CallState | None, given: Input, now: float) -> Stepped:
    """One step. `state` is None before the first call; a call that ended stays until the next one begins."""
    if isinstance(given, Told) and isinstance(given.message, Invite):
        return _invited(state, given, given.message, now)
    if isinstance(given, Dial):
        return _dial(state, given, now)
    if state is None:
        return state, []
    if isinstance(given, Told):
        if given.call_id != state.call_id or given.peer != state.peer:
            return state, []
        spoken = _MESSAGES[state.phase].get(type(given.message))
        return (state, []) if spoken is None else spoken(state, given.message, now)
    if getattr(given, "call_id", state.call_id) != state.call_id:
        return state, []
    handler = _TABLE[state.phase].get(type(given))
    return (state, []) if handler is None else handler(state, given, now)


def _dial(state: CallState | None, given: Dial, now: float) -> Stepped:
    if state is not None and state.phase is not Phase.ENDED:
        return state, []
    fresh = CallState(given.call_id, given.peer, True, given.precedence, Phase.DIALLING, now, now + RING_S)
    return fresh, [Prepare(given.call_id, given.peer, None)]


def _finish(state: CallState, outcome: Outcome, farewell: Message | None = None) -> Stepped:
    effects: list[Effect] = [] if farewell is None else [Send(state.peer, state.call_id, farewell)]
    effects.append(Release(state.call_id))
    if state.is_outgoing and state.phase in (Phase.CONNECTING, Phase.ACTIVE):
        effects.append(RenewKeys(state.peer))
    return replace(state, phase=Phase.ENDED, outcome=outcome, deadline=None, invite=None), effects


def _spoken(state: CallState, otherwise: Outcome) -> Outcome:
    """How a call ended that may have come about."""
    return otherwise if state.audio_since is None else "answered"


def _ring(given: Told, invite: Invite, now: float) -> Stepped:
    began = CallState(
        given.call_id, given.peer, False, invite.precedence, Phase.INCOMING, now, now + RING_S - max(0.0, given.age_s), invite
    )
    return began, [Send(given.peer, given.call_id, Ringing())]


def _invited(state: CallState | None, given: Told, invite: Invite, now: float) -> Stepped:
    if state is not None and state.call_id == given.call_id:
        return state, []
    if given.age_s > RING_S:
        return state, [Turned(given.call_id, given.peer, "missed")]
    if state is None or state.phase is Phase.ENDED:
        return _ring(given, invite, now)
    if state.peer == given.peer:
        if state.phase is Phase.DIALLING:
            return _glare(state, given, invite, now)
        # From the very person one talks to: his phone lost the call, so this one gives it up too.
        _, ended = _finish(state, "missed")
        begun, ringing = _ring(given, invite, now)
        return begun, [*ended, *ringing]
    if invite.precedence <= state.precedence:
        return state, [Send(given.peer, given.call_id, Busy()), Turned(given.call_id, given.peer, "busy")]
    farewell = Busy() if state.phase is Phase.INCOMING else End("preempted", invite.precedence)
    _, ended = _finish(state, "preempted", farewell)
    begun, ringing = _ring(given, invite, now)
    return begun, [*ended, Turned(state.call_id, state.peer, "preempted"), *ringing]


def _glare(state: CallState, given: Told, invite: Invite, now: float) -> Stepped:
    mine_goes_on = (
        state.call_id < given.call_id if invite.precedence == state.precedence else state.precedence > invite.precedence
    )  # fmt: skip
    if mine_goes_on:
        return state, []
    answering = CallState(given.call_id, given.peer, False, invite.precedence, Phase.CONNECTING, now, now + CONNECT_S)
    return answering, [Release(state.call_id), Prepare(given.call_id, given.peer, invite)]


def _prepared(state: CallState, given: Prepared, now: float) -> Stepped:
    return replace(state, was_sent=True), [Send(state.peer, state.call_id, given.message)]


def _setup_failed(state: CallState, given: SetupFailed, now: float) -> Stepped:
    is_known = state.was_sent or not state.is_outgoing
    outcome: Outcome = "no_capacity" if given.reason == "no_capacity" else "failed"
    return _finish(state, outcome, End(given.reason) if is_known else None)


def _answer(state: CallState, given: PressAnswer, now: float) -> Stepped:
    if state.invite is None:
        return state, []
    connecting = replace(state, phase=Phase.CONNECTING, deadline=now + CONNECT_S, invite=None)
    return connecting, [Prepare(state.call_id, state.peer, state.invite)]


def _preempted(state: CallState, given: Preempted, now: float) -> Stepped:
    ended, effects = _finish(state, "preempted", End("preempted", given.by))
    assert ended is not None
    return replace(ended, preempted_by=given.by), effects


def _answered(state: CallState, message: Answer, now: float) -> Stepped:
    return replace(state, phase=Phase.CONNECTING, deadline=now + CONNECT_S), [ToMedia(state.call_id, message)]


def _to_media(state: CallState, message: Answer | Reveal | Candidates, now: float) -> Stepped:
    return state, [ToMedia(state.call_id, message)]


def _ended_by_peer(state: CallState, message: End, now: float) -> Stepped:
    if message.reason == "preempted":
        ended, effects = _finish(state, "preempted")
        assert ended is not None
        return replace(ended, preempted_by=message.by), effects
    return _finish(state, _spoken(state, "no_capacity" if message.reason == "no_capacity" else "failed"))


def _hang_up_talking(state: CallState, given: PressHangUp, now: float) -> Stepped:
    return _finish(state, _spoken(state, "cancelled"), End("hang_up"))


def _at_deadline(outcome: Outcome, farewell: Message | None) -> Handler:
    def handle(state: CallState, given: Tick, now: float) -> Stepped:
        if state.deadline is None or now < state.deadline:
            return state, []
        return _finish(state, _spoken(state, outcome), farewell)

    return handle


_TALKING: Mapping[type, Handler] = {
    Prepared: _prepared,
    SetupFailed: _setup_failed,
    PressHangUp: _hang_up_talking,
    Connected: lambda state, given, now: (replace(state, phase=Phase.ACTIVE, deadline=None), []),
    Disconnected: lambda state, given, now: (
        replace(state, deadline=now + REPAIR_S if state.deadline is None else state.deadline), []
    ),
    AudioBegan: lambda state, given, now: (replace(state, audio_since=state.audio_since or now), []),
    RevealFailed: lambda state, given, now: _finish(state, "failed", End("short_code")),
    Preempted: _preempted,
    Tick: _at_deadline("failed", End("media")),
}  # fmt: skip

_TABLE: Mapping[Phase, Mapping[type, Handler]] = {
    Phase.DIALLING: {
        Prepared: _prepared,
        SetupFailed: _setup_failed,
        PressHangUp: lambda state, given, now: _finish(state, "cancelled", Cancel()),
        Preempted: _preempted,
        Tick: _at_deadline("unanswered", Cancel()),
    },
    Phase.INCOMING: {
        PressAnswer: _answer,
        PressDecline: lambda state, given, now: _finish(state, "declined", Decline()),
        PressHangUp: lambda state, given, now: _finish(state, "declined", Decline()),
        SetupFailed: _setup_failed,
        Preempted: _preempted,
        TakenElsewhere: lambda state, given, now: _finish(state, "missed"),
        Tick: _at_deadline("missed", None),
    },
    Phase.CONNECTING: _TALKING,
    Phase.ACTIVE: _TALKING,
    Phase.ENDED: {},
}

_FROM_TALKER: Mapping[type, Handler] = {
    Reveal: _to_media,
    Candidates: _to_media,
    # Crossed with our answer.
    Cancel: lambda state, message, now: (state, []) if state.is_outgoing else _finish(state, "missed"),
    End: _ended_by_peer,
}

_MESSAGES: Mapping[Phase, Mapping[type, Handler]] = {
    Phase.DIALLING: {
        Ringing: lambda state, message, now: (replace(state, is_ringing=True), []),
        Answer: _answered,
        Candidates: _to_media,
        Decline: lambda state, message, now: _finish(state, "declined"),
        Busy: lambda state, message, now: _finish(state, "unavailable" if message.is_unavailable else "busy"),
        End: _ended_by_peer,
    },
    Phase.INCOMING: {
        Candidates: _to_media,
        Cancel: lambda state, message, now: _finish(state, "missed"),
        End: lambda state, message, now: _finish(state, "missed"),
    },
    Phase.CONNECTING: _FROM_TALKER,
    Phase.ACTIVE: _FROM_TALKER,
    Phase.ENDED: {},
}
