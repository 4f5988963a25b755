"""One SMPP session, either side: octets and instants in, octets and events out (SMPP 3.4 §2). No sockets, no clock.

The ESME (our client at an operator's centre) binds; the SMSC (our server) is bound to. Which unit is allowed in which state is a
table (§2.3). Requests that await an answer fill the window; those that a session leaves unanswered when it ends are handed back by
name, because the peer may have taken them: only the sender's books can say what that means.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Literal

from tramontana.cell.smpp.pdu import (
    MAX_SEQUENCE,
    RESPONSE,
    Address,
    BadPdu,
    Bare,
    Bind,
    BindResp,
    Body,
    CommandId,
    Message,
    MessageResp,
    Pdu,
    PduReader,
    QuerySm,
    QuerySmResp,
    Status,
    Tag,
    Tlv,
)
from tramontana.errors import LocalError

SESSION_INIT_TIMEOUT_S = 10.0
"""§7.2 session_init_timer: a peer that connects and does not bind is put out."""
UNBIND_TIMEOUT_S = 5.0


class State(Enum):
    """§2.2, and `UNBINDING` while an unbind waits for its answer."""

    OPEN = auto()
    BINDING = auto()
    BOUND_TX = auto()
    BOUND_RX = auto()
    BOUND_TRX = auto()
    UNBINDING = auto()
    CLOSED = auto()


BOUND = frozenset({State.BOUND_TX, State.BOUND_RX, State.BOUND_TRX})
Role = Literal["esme", "smsc"]

_STATE_OF_BIND = {
    CommandId.BIND_TRANSMITTER: State.BOUND_TX,
    CommandId.BIND_RECEIVER: State.BOUND_RX,
    CommandId.BIND_TRANSCEIVER: State.BOUND_TRX,
}
_SENDS = frozenset({State.BOUND_TX, State.BOUND_TRX})
_RECEIVES = frozenset({State.BOUND_RX, State.BOUND_TRX})
ALLOWED: dict[tuple[Role, CommandId], frozenset[State]] = {
    # Requests that a role may receive, and when (§2.3, table 2-1).
    ("smsc", CommandId.BIND_TRANSMITTER): frozenset({State.OPEN}),
    ("smsc", CommandId.BIND_RECEIVER): frozenset({State.OPEN}),
    ("smsc", CommandId.BIND_TRANSCEIVER): frozenset({State.OPEN}),
    ("smsc", CommandId.SUBMIT_SM): _SENDS,
    ("smsc", CommandId.DATA_SM): BOUND,
    ("smsc", CommandId.QUERY_SM): _SENDS,
    ("esme", CommandId.DELIVER_SM): _RECEIVES,
    ("esme", CommandId.DATA_SM): _RECEIVES,
}


class SessionError(LocalError):
    """This session cannot send that now: it is not bound for it, or its window is full."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How a session behaves."""

    window: int = 10
    """Requests that may await their answers."""
    enquire_link_s: float = 30.0
    """Idle time after which the peer is asked whether it lives."""
    response_timeout_s: float = 30.0
    """§7.2 response_timer."""
    confirm_after_s: float = 1.0
    """So long after a message of its the peer is asked whether it lives: its word says that it has our answers from before."""


@dataclass(frozen=True, slots=True)
class BindRequested:
    """SMSC: answer with `accept_bind` or `refuse_bind`."""

    bind: Bind
    sequence: int


@dataclass(frozen=True, slots=True)
class Bound:
    """ESME: the centre took the bind."""

    system_id: str


@dataclass(frozen=True, slots=True)
class Received:
    """A message of the peer: answer it with `answer` once it is safe."""

    message: Message
    sequence: int


@dataclass(frozen=True, slots=True)
class Queried:
    """SMSC: answer with `answer_query`."""

    query: QuerySm
    sequence: int


@dataclass(frozen=True, slots=True)
class Answered:
    """The peer answered a request of ours: it took it (status 0, its message id) or it did not."""

    key: str
    status: int
    message_id: str


@dataclass(frozen=True, slots=True)
class QueryAnswered:
    """What a centre says of a message, None where it does not know."""

    key: str
    state: int | None


@dataclass(frozen=True, slots=True)
class Heard:
    """The peer has had the first so many answers to its messages on this session: it answered a request that went out after them."""

    answers: int


@dataclass(frozen=True, slots=True)
class Closed:
    """The session is over; close the connection when what is left to send is sent."""

    reason: str
    unanswered: tuple[str, ...]
    """Keys of requests whose answers never came: the peer may or may not have taken them."""
    refused_bind: int | None = None


Event = BindRequested | Bound | Received | Queried | Answered | QueryAnswered | Heard | Closed


@dataclass(slots=True)
class _Outstanding:
    key: str
    command_id: CommandId
    due_at: float


@dataclass(slots=True)
class Session:
    """One connection, from `now` on."""

    role: Role
    settings: Settings
    now: float
    system_id: str = ""
    """SMSC: our name in the bind's answer."""
    state: State = field(default=State.OPEN, init=False)
    _reader: PduReader = field(default_factory=PduReader, init=False)
    _out: bytearray = field(default_factory=bytearray, init=False)
    _sequence: int = field(default=0, init=False)
    _outstanding: dict[int, _Outstanding] = field(default_factory=dict, init=False)
    _bind: Bind | None = field(default=None, init=False)
    _heard_at: float = field(default=0.0, init=False)
    _deadline: float | None = field(default=None, init=False)
    """Until when a bind or unbind must have happened."""
    _enquired: tuple[int, float] | None = field(default=None, init=False)
    _given: int = field(default=0, init=False)
    """Answers to messages of the peer."""
    _confirmed: int = field(default=0, init=False)
    """Of these, how many it is known to have."""
    _asked: tuple[int, int] | None = field(default=None, init=False)
    """A request under way (its sequence number), and how many answers had gone out before it."""

    def __post_init__(self) -> None:
        self._heard_at = self.now
        self._deadline = self.now + SESSION_INIT_TIMEOUT_S

    # What goes out

    def octets_to_send(self) -> bytes:
        """What is to be written to the connection; afterwards it is gone from here."""
        data = bytes(self._out)
        self._out.clear()
        return data

    @property
    def room(self) -> int:
        """Requests that the window still takes."""
        return self.settings.window - len(self._outstanding) if self.state in BOUND else 0

    @property
    def may_send(self) -> bool:
        """Whether this side may send messages in this kind of bind."""
        return self.state in (_SENDS if self.role == "esme" else _RECEIVES)

    def bind(self, bind: Bind, now: float) -> None:
        """ESME: ask to be bound."""
        if self.role != "esme" or self.state is not State.OPEN:
            raise SessionError("a bind is the first word of an ESME")
        self._bind = bind
        self.state = State.BINDING
        self._deadline = now + self.settings.response_timeout_s
        self._request(bind)

    def accept_bind(self, request: BindRequested, now: float) -> None:
        """SMSC: the peer is who it says it is."""
        answer = CommandId(request.bind.command_id | RESPONSE)
        version = (Tlv(Tag.SC_INTERFACE_VERSION, b"\x34"),)
        # §4.1.2: an ESME of version 3.3 knows no optional parameters.
        self._answer(BindResp(answer, self.system_id, version if request.bind.interface_version >= 0x34 else ()), request.sequence)
        self.state = _STATE_OF_BIND[request.bind.command_id]
        self._deadline = None
        self._heard_at = now

    def refuse_bind(self, request: BindRequested, status: Status) -> list[Event]:
        """SMSC: it is not, or not now."""
        self._answer(BindResp(CommandId(request.bind.command_id | RESPONSE), self.system_id), request.sequence, status)
        return self._close("the bind was refused")

    def send(self, message: Message, key: str, now: float) -> None:
        """Send a message; its answer comes back as `Answered` with the key. Raises `SessionError`, `PduError`."""
        if not self.may_send:
            raise SessionError("this session is not bound for sending")
        if self.room <= 0:
            raise SessionError("the window of this session is full: wait for answers")
        sequence = self._request(message)
        self._outstanding[sequence] = _Outstanding(key, message.command_id, now + self.settings.response_timeout_s)

    def query(self, message_id: str, source: Address, key: str, now: float) -> None:
        """ESME: ask the centre what became of a message of this source. Raises `SessionError`."""
        if not self.may_send or self.role != "esme" or self.room <= 0:
            raise SessionError("this session cannot ask now")
        sequence = self._request(QuerySm(message_id, source))
        self._outstanding[sequence] = _Outstanding(key, CommandId.QUERY_SM, now + self.settings.response_timeout_s)

    def answer(self, received: Received, status: int, message_id: str = "") -> None:
        """Answer a message of the peer. After the session has ended this does nothing: the peer will send it again."""
        if self.state is not State.CLOSED:
            command = CommandId(received.message.command_id | RESPONSE)
            self._answer(MessageResp(command, "" if command == CommandId.DELIVER_SM_RESP else message_id), received.sequence, status)
            self._given += 1

    def answer_query(self, queried: Queried, state: int | None, final_date: str = "") -> None:
        """SMSC: say what became of a message, None for one that is not known here."""
        status = Status.ROK if state is not None else Status.RINVMSGID
        self._answer(QuerySmResp(queried.query.message_id, final_date, state or 0), queried.sequence, status)

    def unbind(self, now: float) -> None:
        """End in good order: nothing new is sent, answers are still taken."""
        if self.state in BOUND:
            self.state = State.UNBINDING
            self._deadline = now + UNBIND_TIMEOUT_S
            self._request(Bare(CommandId.UNBIND))

    # What comes in

    def receive(self, data: bytes, now: float) -> list[Event]:
        """Octets of the peer."""
        events: list[Event] = []
        for found in self._reader.feed(data):
            if self.state is State.CLOSED:
                break
            self._heard_at = now
            self._enquired = None
            events += self._refuse(found) if isinstance(found, BadPdu) else self._take(found, now)
        return events

    def connection_lost(self, reason: str) -> list[Event]:
        """The connection is gone."""
        return [] if self.state is State.CLOSED else self._close(reason)

    def next_timer(self) -> float | None:
        """When `handle_timer` is to be called next."""
        if self.state is State.CLOSED:
            return None
        instants = [outstanding.due_at for outstanding in self._outstanding.values()]
        if self._deadline is not None:
            instants.append(self._deadline)
        if self._enquired is not None:
            instants.append(self._enquired[1])
        elif self.state in BOUND:
            instants.append(self._heard_at + self._enquire_after_s)
        return min(instants, default=None)

    def handle_timer(self, now: float) -> list[Event]:
        """Time has passed."""
        if self.state is State.CLOSED:
            return []
        if self._deadline is not None and now >= self._deadline:
            late = "no answer to unbind" if self.state is State.UNBINDING else "no bind in time"
            return self._close(late)
        if self._enquired is not None and now >= self._enquired[1]:
            return self._close("no answer to enquire_link: the peer or the way to it is gone")
        if any(now >= outstanding.due_at for outstanding in self._outstanding.values()):
            # A peer that lives and does not answer is out of step; sending on would only enlarge what is unknown.
            return self._close("a request was not answered in time")
        if self._enquired is None and self.state in BOUND and now >= self._heard_at + self._enquire_after_s:
            self._enquired = (self._request(Bare(CommandId.ENQUIRE_LINK)), now + self.settings.response_timeout_s)
        return []

    # Inside

    @property
    def _enquire_after_s(self) -> float:
        """How long the peer may be silent; less while it may not have heard an answer, and nothing is under way that will tell."""
        is_open = self._given > self._confirmed and self._asked is None
        return min(self.settings.confirm_after_s, self.settings.enquire_link_s) if is_open else self.settings.enquire_link_s

    def _request(self, body: Body) -> int:
        sequence = self._sequence % MAX_SEQUENCE + 1
        self._out += Pdu(body, sequence).encode()  # first: a value that does not fit leaves no trace
        self._sequence = sequence
        if self._asked is None and self._given > self._confirmed:
            self._asked = sequence, self._given
        return sequence

    def _answer(self, body: Body, sequence: int, status: int = Status.ROK) -> None:
        self._out += Pdu(body, sequence, status).encode()

    def _refuse(self, bad: BadPdu) -> list[Event]:
        if bad.command_id & RESPONSE and not bad.fatal:
            # An answer that cannot be read answers nothing: the request stays unanswered and its timer decides.
            return []
        self._answer(Bare(CommandId.GENERIC_NACK), bad.sequence, bad.status)  # §4.3.1
        return self._close(str(bad)) if bad.fatal else []

    def _take(self, pdu: Pdu, now: float) -> list[Event]:
        if pdu.is_response:
            return self._take_answer(pdu)
        command = pdu.command_id
        if command is CommandId.ENQUIRE_LINK:
            self._answer(Bare(CommandId.ENQUIRE_LINK_RESP), pdu.sequence)
            return []
        if command is CommandId.OUTBIND:
            return []  # we bind when we want to
        if command is CommandId.UNBIND and self.state in BOUND | {State.UNBINDING}:
            self._answer(Bare(CommandId.UNBIND_RESP), pdu.sequence)
            return self._close("the peer unbound")
        if self.state not in ALLOWED.get((self.role, command), frozenset()):
            unknown = (self.role, command) not in ALLOWED
            self._answer(Bare(CommandId.GENERIC_NACK), pdu.sequence, Status.RINVCMDID if unknown else Status.RINVBNDSTS)
            return []
        match pdu.body:
            case Bind() as bind:
                self.state = State.BINDING
                self._deadline = now + SESSION_INIT_TIMEOUT_S
                return [BindRequested(bind, pdu.sequence)]
            case QuerySm() as query:
                return [Queried(query, pdu.sequence)]
            case Message() as message:
                return [Received(message, pdu.sequence)]
            case _:
                raise AssertionError(command)

    def _take_answer(self, pdu: Pdu) -> list[Event]:
        heard = list[Event]()
        if self._asked is not None and pdu.sequence == self._asked[0]:
            # One connection keeps its order, and so does a peer that answers: what went out before this request has arrived.
            self._confirmed, self._asked = self._asked[1], None
            heard.append(Heard(self._confirmed))
        return heard + self._take_answer_itself(pdu)

    def _take_answer_itself(self, pdu: Pdu) -> list[Event]:
        if isinstance(pdu.body, BindResp):
            return self._take_bind_answer(pdu, pdu.body)
        if pdu.command_id is CommandId.UNBIND_RESP and self.state is State.UNBINDING:
            return self._close("unbound")
        outstanding = self._outstanding.get(pdu.sequence)
        if outstanding is None:
            if pdu.command_id is CommandId.GENERIC_NACK and self.state is State.BINDING:
                return self._close("the centre does not understand the bind", refused_bind=pdu.status)
            return []  # enquire_link_resp; or one that nobody awaits
        if pdu.command_id not in (CommandId.GENERIC_NACK, outstanding.command_id | RESPONSE):
            return []  # of another kind than the request: it answers nothing
        del self._outstanding[pdu.sequence]
        if outstanding.command_id is CommandId.QUERY_SM:
            known = isinstance(pdu.body, QuerySmResp) and pdu.status == Status.ROK
            return [QueryAnswered(outstanding.key, pdu.body.message_state if known and isinstance(pdu.body, QuerySmResp) else None)]
        message_id = pdu.body.message_id if isinstance(pdu.body, MessageResp) else ""
        status = pdu.status
        if pdu.command_id is CommandId.GENERIC_NACK and status == Status.ROK:
            status = Status.RUNKNOWNERR
        return [Answered(outstanding.key, status, message_id)]

    def _take_bind_answer(self, pdu: Pdu, answer: BindResp) -> list[Event]:
        if self.state is not State.BINDING or self._bind is None or pdu.command_id != self._bind.command_id | RESPONSE:
            return []
        if pdu.status != Status.ROK:
            return self._close(f"the centre refused the bind with status {pdu.status:#x}", refused_bind=pdu.status)
        self.state = _STATE_OF_BIND[self._bind.command_id]
        self._deadline = None
        return [Bound(answer.system_id)]

    def _close(self, reason: str, refused_bind: int | None = None) -> list[Event]:
        self.state = State.CLOSED
        unanswered = tuple(outstanding.key for outstanding in self._outstanding.values())
        self._outstanding.clear()
        return [Closed(reason, unanswered, refused_bind)]
