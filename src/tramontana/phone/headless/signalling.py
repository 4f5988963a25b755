"""The messages of a call of two (docs/protocols.md, "Application messages"): what is used is checked field by field."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

from tramontana.device import messages
from tramontana.device.messages import Fields, MalformedMessage
from tramontana.device.requests import b64
from tramontana.precedence import Precedence

MAX_SDP_CHARACTERS = 64_000
MAX_CANDIDATES = 64
MAX_CANDIDATE_CHARACTERS = 1_000
COMMITMENT_BYTES = 32
NONCE_BYTES = 16
EndReason = Literal["hang_up", "media", "short_code", "superseded", "preempted", "no_capacity"]


@dataclass(frozen=True, slots=True)
class Invite:
    sdp: str
    commitment: bytes
    precedence: Precedence


@dataclass(frozen=True, slots=True)
class Ringing:
    pass


@dataclass(frozen=True, slots=True)
class Answer:
    sdp: str
    nonce: bytes


@dataclass(frozen=True, slots=True)
class Reveal:
    nonce: bytes


@dataclass(frozen=True, slots=True)
class Candidate:
    candidate: str
    mid: str | None
    line: int | None


@dataclass(frozen=True, slots=True)
class Candidates:
    candidates: tuple[Candidate, ...]


@dataclass(frozen=True, slots=True)
class Decline:
    pass


@dataclass(frozen=True, slots=True)
class Busy:
    """`is_unavailable`: nobody is on the phone, but its person does not want to be called now."""

    is_unavailable: bool = False


@dataclass(frozen=True, slots=True)
class Cancel:
    pass


@dataclass(frozen=True, slots=True)
class End:
    """`by`: with the reason `preempted`, the level of the call that this one ends for."""

    reason: EndReason
    by: Precedence | None = None


Message = Invite | Ringing | Answer | Reveal | Candidates | Decline | Busy | Cancel | End


def encode(call_id: str, message: Message) -> bytes:
    """As it is sealed."""
    return messages.encode({"type": "call", "call_id": call_id, **_step(message)})


def _step(message: Message) -> Mapping[str, Any]:
    match message:
        case Invite(sdp, commitment, precedence):
            return {"step": "invite", "sdp": sdp, "commitment": b64(commitment), "precedence": precedence.label}
        case Answer(sdp, nonce):
            return {"step": "answer", "sdp": sdp, "nonce": b64(nonce)}
        case Reveal(nonce):
            return {"step": "reveal", "nonce": b64(nonce)}
        case Candidates(candidates):
            listed = [{"candidate": each.candidate, "sdpMid": each.mid, "sdpMLineIndex": each.line} for each in candidates]
            return {"step": "candidate", "candidates": listed}
        case Busy(is_unavailable=True):
            return {"step": "busy", "reason": "not_available"}
        case End("preempted" as reason, by):
            return {"step": "end", "reason": reason, "by": None if by is None else by.label}
        case End(reason):
            return {"step": "end", "reason": reason}
        case _:
            return {"step": type(message).__name__.lower()}


def parse(fields: Fields) -> tuple[str, Message] | None:
    """(call id, message) of a `call` message; None for a step that this phone does not know. Raises `MalformedMessage`."""
    call_id = messages.identifier(fields, "call_id")
    match fields.get("step"):
        case "invite":
            level = _level(fields.get("precedence"))
            if level is None:
                raise MalformedMessage("the precedence of an invite is none")
            sdp = messages.text(fields, "sdp", MAX_SDP_CHARACTERS)
            return call_id, Invite(sdp, messages.octets(fields, "commitment", COMMITMENT_BYTES), level)
        case "answer":
            return call_id, Answer(messages.text(fields, "sdp", MAX_SDP_CHARACTERS), messages.octets(fields, "nonce", NONCE_BYTES))
        case "reveal":
            return call_id, Reveal(messages.octets(fields, "nonce", NONCE_BYTES))
        case "candidate":
            listed = fields.get("candidates")
            if not isinstance(listed, list) or len(listed) > MAX_CANDIDATES:
                raise MalformedMessage("the candidates of a message are no list of them")
            return call_id, Candidates(tuple(map(_candidate, listed)))
        case "end":
            given = fields.get("reason")
            reason = cast(EndReason, given) if given in get_args(EndReason) else "hang_up"
            return call_id, End(reason, _level(fields.get("by")) if reason == "preempted" else None)
        case "busy":
            return call_id, Busy(fields.get("reason") == "not_available")
        case "ringing":
            return call_id, Ringing()
        case "decline":
            return call_id, Decline()
        case "cancel":
            return call_id, Cancel()
        case _:
            return None


def _level(label: object) -> Precedence | None:
    return next((level for level in Precedence if level.label == label), None)


def _candidate(given: object) -> Candidate:
    if not isinstance(given, dict):
        raise MalformedMessage("a candidate is no object")
    mid, line = given.get("sdpMid"), given.get("sdpMLineIndex")
    return Candidate(
        messages.text(given, "candidate", MAX_CANDIDATE_CHARACTERS),
        mid if isinstance(mid, str) and len(mid) <= 64 else None,
        line if isinstance(line, int) and not isinstance(line, bool) and line >= 0 else None,
    )
