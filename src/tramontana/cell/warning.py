"""The life of a warning: who may do what to it when, and what follows. A table of states, and rules that nothing goes around.

Nothing is on the air without two persons: one submits, another one of the role `approver` approves. A warning made from a template was
approved before it was needed, text and level and longest duration, by the two who made the template. An update or a cancellation is
about one warning that is on the air; what cannot be matched is refused and never sent as new.

Pure rules over records: whoever keeps the records calls them inside one transaction.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from enum import StrEnum

from tramontana.cell import cell_broadcast
from tramontana.cell.cell_broadcast import MESSAGE_CODES, Message, SerialNumber
from tramontana.cell.warning_content import Content
from tramontana.errors import LocalError

SUBMITTER_ROLES = frozenset({"operator", "approver"})
APPROVER_ROLE = "approver"
LAPSES_AFTER_S = 3600.0
"""A submission that nobody decided on for so long is about another hour than the present one."""
CODE_RESTS_S = 24 * 3600.0
"""For so long a code is not used again: phones that saw it would take a new warning for an old one (TS 23.041 §8.2)."""
TEMPLATE_LIVES_S = 365 * 86400.0


class Refused(LocalError):
    """The warning's state, or who asks, does not allow it; the message says what would."""


class State(StrEnum):
    """Where a warning is."""

    SUBMITTED = "submitted"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"
    LAPSED = "lapsed"
    ON_AIR = "on-air"
    REPLACED = "replaced"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    DONE = "done"
    """A cancellation that was carried out."""
    AUTHORISED = "authorised"
    """A template that may be used."""


class Event(StrEnum):
    """What happens to one."""

    APPROVE = "approve"
    REJECT = "reject"
    WITHDRAW = "withdraw"
    LAPSE = "lapse"
    REPLACE = "replace"
    CANCEL = "cancel"
    EXPIRE = "expire"


TRANSITIONS: dict[tuple[State, Event], State] = {
    (State.SUBMITTED, Event.APPROVE): State.ON_AIR,  # a cancellation: DONE, a template: AUTHORISED
    (State.SUBMITTED, Event.REJECT): State.REJECTED,
    (State.SUBMITTED, Event.WITHDRAW): State.WITHDRAWN,
    (State.SUBMITTED, Event.LAPSE): State.LAPSED,
    (State.ON_AIR, Event.REPLACE): State.REPLACED,
    (State.ON_AIR, Event.CANCEL): State.CANCELLED,
    (State.ON_AIR, Event.EXPIRE): State.EXPIRED,
    (State.AUTHORISED, Event.WITHDRAW): State.WITHDRAWN,
    (State.AUTHORISED, Event.EXPIRE): State.EXPIRED,
}


@dataclass(frozen=True, slots=True)
class Person:
    """Who asks: account, device, and the roles of the device's certificate."""

    account_id: str
    device_id: str
    roles: frozenset[str]


@dataclass(frozen=True, slots=True)
class Warning:
    """One record. Times are POSIX seconds."""

    warning_id: str
    state: State
    content: Content
    author: str
    """Account id."""
    submitted_at: float
    serial: SerialNumber | None = None
    approved_at: float | None = None
    expires_at: float | None = None
    """When it leaves the air, or a template may no longer be used."""
    ended_at: float | None = None

    def after(self, event: Event, now: float) -> Warning:
        """The record after an event. Raises `Refused` where the table has none."""
        state = TRANSITIONS.get((self.state, event))
        if state is None:
            raise Refused(f"this warning is {self.state.value.replace('-', ' ')}: look at its state again")
        if event is Event.APPROVE:
            return replace(self, state=_APPROVED.get(self.content.kind, state), approved_at=now)
        return replace(self, state=state, ended_at=now)


_APPROVED = {"cancel": State.DONE, "template": State.AUTHORISED}


@dataclass(frozen=True, slots=True)
class Outcome:
    """Records as they are to be kept: the one decided on first, then the one that it ended, if any."""

    warning: Warning
    ended: Warning | None = None


def submit(warning_id: str, content: Content, by: Person, replaced: Warning | None, now: float) -> Warning:
    """A new record that waits for approval. replaced: the record that `content.replaces` names. Raises `Refused`."""
    _may_submit(by)
    if content.template is not None:
        raise Refused("a warning from a template is sent with `use`, and only its area is chosen")
    _check_replaced(content, replaced, now)
    return Warning(warning_id, State.SUBMITTED, content, by.account_id, now)


def use_template(
    warning_id: str, content: Content, by: Person, template: Warning | None, codes_in_use: Collection[int], last_code: int, now: float
) -> Warning:
    """A warning that goes on the air at once, because two persons approved its template. Raises `Refused`."""
    _may_submit(by)
    if template is None or content.template != template.warning_id or template.content.kind != "template":
        raise Refused("there is no such template")
    if template.state is not State.AUTHORISED or template.expires_at is None or template.expires_at <= now:
        raise Refused("this template is not authorised now: submit the warning for approval")
    allowed = template.content.model_copy(
        update={"kind": "alert", "template": template.warning_id, "area": content.area, "duration_s": content.duration_s}
    )
    if content != allowed:
        raise Refused("a warning from a template has its texts, level and event; only the area is chosen")
    if content.duration_s > template.content.duration_s:
        raise Refused(f"this template allows {template.content.duration_s} s on the air; submit the warning for more")
    submitted = Warning(warning_id, State.SUBMITTED, content, by.account_id, now)
    serial = SerialNumber(free_code(codes_in_use, last_code))
    return replace(submitted.after(Event.APPROVE, now), serial=serial, expires_at=now + content.duration_s)


def approve(warning: Warning, by: Person, replaced: Warning | None, codes_in_use: Collection[int], last_code: int, now: float) -> Outcome:
    """Put on the air, cancel, or authorise. Raises `Refused`.

    codes_in_use: message codes that phones may remember; last_code: the one given last.
    """
    if APPROVER_ROLE not in by.roles:
        raise Refused("only an approver may approve a warning")
    if by.account_id == warning.author:
        raise Refused("nobody approves his own warning: ask another approver")
    if warning.state is State.SUBMITTED and now >= warning.submitted_at + LAPSES_AFTER_S:
        raise Refused("this submission is too old to be sent: submit it again as things are now")
    _check_replaced(warning.content, replaced, now)
    approved = warning.after(Event.APPROVE, now)
    match warning.content.kind:
        case "alert":
            serial = SerialNumber(free_code(codes_in_use, last_code))
            return Outcome(replace(approved, serial=serial, expires_at=now + warning.content.duration_s))
        case "template":
            return Outcome(replace(approved, expires_at=now + TEMPLATE_LIVES_S))
        case "update":
            assert replaced is not None
            assert replaced.serial is not None
            ended = replaced.after(Event.REPLACE, now)
            return Outcome(replace(approved, serial=replaced.serial.updated(), expires_at=now + warning.content.duration_s), ended)
        case "cancel":
            assert replaced is not None
            return Outcome(replace(approved, serial=replaced.serial, ended_at=now), replaced.after(Event.CANCEL, now))


def reject(warning: Warning, by: Person, now: float) -> Warning:
    """Another approver says no. Raises `Refused`."""
    if APPROVER_ROLE not in by.roles:
        raise Refused("only an approver may reject a warning")
    if by.account_id == warning.author:
        raise Refused("nobody decides on his own warning: withdraw it")
    return warning.after(Event.REJECT, now)


def withdraw(warning: Warning, by: Person, now: float) -> Warning:
    """The author takes a submission back, or an approver a template. Raises `Refused`."""
    if warning.state is State.AUTHORISED:
        if APPROVER_ROLE not in by.roles:
            raise Refused("only an approver may withdraw a template")
    elif by.account_id != warning.author:
        raise Refused("only who submitted a warning may withdraw it: reject it")
    return warning.after(Event.WITHDRAW, now)


def overdue(warning: Warning, now: float) -> Warning | None:
    """The record after what time alone does to it, or None."""
    if warning.state is State.SUBMITTED and now >= warning.submitted_at + LAPSES_AFTER_S:
        return warning.after(Event.LAPSE, now)
    if warning.state in (State.ON_AIR, State.AUTHORISED) and warning.expires_at is not None and now >= warning.expires_at:
        return warning.after(Event.EXPIRE, now)
    return None


def free_code(in_use: Collection[int], last: int) -> int:
    """The next message code after the last one that no phone may remember. Raises `Refused` when there is none."""
    for step in range(1, MESSAGE_CODES + 1):
        code = (last + step) % MESSAGE_CODES
        if code not in in_use:
            return code
    raise Refused("all message codes were used within a day: update or cancel a warning instead of sending another")


@dataclass(frozen=True, slots=True)
class OnAir:
    """One language of a warning as it is broadcast."""

    message_identifier: int
    serial: SerialNumber
    message: Message
    repetition_s: int


def broadcasts(warning: Warning) -> tuple[OnAir, ...]:
    """What is on the air because of this warning: nothing unless it is approved and neither ended nor expired."""
    return forms(warning) if warning.state is State.ON_AIR else ()


def forms(warning: Warning) -> tuple[OnAir, ...]:
    """What a warning is or was broadcast as, in each of its languages."""
    if warning.serial is None:
        return ()
    return tuple(
        OnAir(
            cell_broadcast.message_identifier(warning.content.level, additional_language=number > 0),
            warning.serial,
            cell_broadcast.encode(text.text, text.language),
            warning.content.repetition_s,
        )
        for number, text in enumerate(warning.content.texts)
    )


def _may_submit(by: Person) -> None:
    if not by.roles & SUBMITTER_ROLES:
        raise Refused("only an operator or an approver may send warnings")


def _check_replaced(content: Content, replaced: Warning | None, now: float) -> None:
    if content.replaces is None:
        return
    what = "update" if content.kind == "update" else "cancellation"
    if replaced is None or replaced.warning_id != content.replaces:
        raise Refused(f"this {what} is about a warning that is not known here: it is not sent, neither as it is nor as a new one")
    if replaced.state is not State.ON_AIR or (replaced.expires_at is not None and replaced.expires_at <= now):
        raise Refused(f"this {what} is about a warning that is {replaced.state.value.replace('-', ' ')}: it is not on the air any more")
    if replaced.content.status != content.status:
        raise Refused(f"an exercise and an actual warning do not replace each other: this {what} is not sent")
