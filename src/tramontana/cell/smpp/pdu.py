"""SMPP 3.4 protocol data units: octets ↔ values, strict both ways (Short Message Peer to Peer Protocol Specification v3.4, issue 1.2).

A unit is `command_length (4) ‖ command_id (4) ‖ command_status (4) ‖ sequence_number (4) ‖ body`, big-endian (§3.2). A parser that
accepts what it cannot encode again would lose something silently on the way, so a length that does not fit, an octet too many, a field
above its size or a truncated optional parameter refuses the unit, with the status that the specification has for it.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import ClassVar

from tramontana.errors import LocalError, RemoteError

HEADER_BYTES = 16
MAX_PDU_BYTES = 70_000
"""A message_payload has 64 KiB at most (§5.3.2.32); nothing is longer."""
MAX_SHORT_MESSAGE_BYTES = 254
"""§4.4.1."""
MAX_SEQUENCE = 0x7FFFFFFF
"""§3.2: 0x00000001 to 0x7FFFFFFF."""
RESPONSE = 0x80000000


class CommandId(IntEnum):
    """§5.1.2.1; those that this service speaks."""

    GENERIC_NACK = RESPONSE
    BIND_RECEIVER = 0x01
    BIND_TRANSMITTER = 0x02
    QUERY_SM = 0x03
    SUBMIT_SM = 0x04
    DELIVER_SM = 0x05
    UNBIND = 0x06
    BIND_TRANSCEIVER = 0x09
    OUTBIND = 0x0B
    ENQUIRE_LINK = 0x15
    DATA_SM = 0x103
    BIND_RECEIVER_RESP = RESPONSE | 0x01
    BIND_TRANSMITTER_RESP = RESPONSE | 0x02
    QUERY_SM_RESP = RESPONSE | 0x03
    SUBMIT_SM_RESP = RESPONSE | 0x04
    DELIVER_SM_RESP = RESPONSE | 0x05
    UNBIND_RESP = RESPONSE | 0x06
    BIND_TRANSCEIVER_RESP = RESPONSE | 0x09
    ENQUIRE_LINK_RESP = RESPONSE | 0x15
    DATA_SM_RESP = RESPONSE | 0x103


class Status(IntEnum):
    """§5.1.3; a peer may answer with others, which stay plain numbers."""

    ROK = 0x00
    RINVMSGLEN = 0x01
    RINVCMDLEN = 0x02
    RINVCMDID = 0x03
    RINVBNDSTS = 0x04
    RALYBND = 0x05
    RSYSERR = 0x08
    RINVSRCADR = 0x0A
    RINVDSTADR = 0x0B
    RINVMSGID = 0x0C
    RBINDFAIL = 0x0D
    RINVPASWD = 0x0E
    RINVSYSID = 0x0F
    RMSGQFUL = 0x14
    RSUBMITFAIL = 0x45
    RTHROTTLED = 0x58
    RX_T_APPN = 0x64
    """Temporary: send it again later."""
    RX_P_APPN = 0x65
    RINVOPTPARSTREAM = 0xC0
    RINVPARLEN = 0xC2
    RUNKNOWNERR = 0xFF
    RINVDCS = 0x104
    """SMPP 5.0 §4.7.6; 3.4 has no word for a data_coding that is not taken."""


class Tag(IntEnum):
    """Optional parameters, §5.3.2."""

    USER_MESSAGE_REFERENCE = 0x0204
    SAR_MSG_REF_NUM = 0x020C
    SAR_TOTAL_SEGMENTS = 0x020E
    SAR_SEGMENT_SEQNUM = 0x020F
    SC_INTERFACE_VERSION = 0x0210
    RECEIPTED_MESSAGE_ID = 0x001E
    NETWORK_ERROR_CODE = 0x0423
    MESSAGE_PAYLOAD = 0x0424
    MESSAGE_STATE = 0x0427


class MessageState(IntEnum):
    """§5.2.28."""

    ENROUTE = 1
    DELIVERED = 2
    EXPIRED = 3
    DELETED = 4
    UNDELIVERABLE = 5
    ACCEPTED = 6
    UNKNOWN = 7
    REJECTED = 8


ESM_UDHI = 0x40
"""§5.2.12: the short message begins with a user data header."""
ESM_RECEIPT = 0x04
"""§5.2.12 in deliver_sm: the short message is a delivery receipt."""
ESM_TYPE_MASK = 0x3C
INTERFACE_VERSION = 0x34


class BadPdu(RemoteError):
    """A peer sent an SMPP unit that is malformed; it was answered with its error status and nothing was taken from it."""

    def __init__(self, reason: str, status: Status, sequence: int = 0, *, fatal: bool = False, command_id: int = 0) -> None:
        super().__init__(reason)
        self.status = status
        self.sequence = sequence
        self.command_id = command_id
        self.fatal = fatal
        """The stream cannot be read any further: where the next unit begins is unknown."""


class PduError(LocalError):
    """A value does not fit into its SMPP field; the message names both."""


class Password:
    """A system's SMPP password: at most 8 characters (§5.2.2), sent in the clear. Its repr hides it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return "Password(…)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Password) and hmac.compare_digest(self._value.encode(), other._value.encode())

    __hash__ = None  # type: ignore[assignment]


@dataclass(frozen=True, slots=True)
class Address:
    """An SME address: type of number and numbering plan (§5.2.5, §5.2.6), and at most 20 characters."""

    text: str
    ton: int = 1
    npi: int = 1

    @classmethod
    def of(cls, number: str) -> Address:
        """International with a plus, alphanumeric with a letter, else of unknown type (short codes)."""
        if number.startswith("+"):
            return cls(number[1:], 1, 1)
        return cls(number, 0, 1) if number.isdigit() else cls(number, 5, 0)

    @property
    def number(self) -> str:
        """The inverse of `of`, as people write it."""
        return f"+{self.text}" if self.ton == 1 and not self.text.startswith("+") else self.text


@dataclass(frozen=True, slots=True)
class Tlv:
    """An optional parameter (§3.2.4.1)."""

    tag: int
    value: bytes


class _Reader:
    """Octets of a body in order; whatever is missing or too long refuses the unit."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._at = 0

    @property
    def left(self) -> int:
        return len(self._body) - self._at

    def octets(self, count: int) -> bytes:
        if self.left < count:
            raise _Bad("a field is cut off", Status.RINVCMDLEN)
        taken = self._body[self._at : self._at + count]
        self._at += count
        return taken

    def number(self) -> int:
        return self.octets(1)[0]

    def text(self, most: int) -> str:
        """A C-octet string of at most `most` octets with its NUL (§3.1)."""
        end = self._body.find(b"\0", self._at, self._at + most)
        if end < 0:
            raise _Bad(f"a text field is longer than its {most} octets or not ended", Status.RINVPARLEN)
        raw = self._body[self._at : end]
        self._at = end + 1
        # The specification says ASCII; names in Latin-1 are met, and every octet is kept as it came.
        return raw.decode("latin-1")

    def tlvs(self) -> tuple[Tlv, ...]:
        found = []
        while self.left:
            if self.left < 4:
                raise _Bad("an optional parameter is cut off", Status.RINVOPTPARSTREAM)
            tag = int.from_bytes(self.octets(2), "big")
            length = int.from_bytes(self.octets(2), "big")
            if self.left < length:
                raise _Bad("an optional parameter is cut off", Status.RINVOPTPARSTREAM)
            found.append(Tlv(tag, self.octets(length)))
        return tuple(found)


class _Bad(Exception):
    def __init__(self, reason: str, status: Status) -> None:
        super().__init__(reason)
        self.status = status


def _text(value: str, most: int, name: str) -> bytes:
    try:
        raw = value.encode("latin-1")
    except UnicodeEncodeError:
        raise PduError(f"{name} has characters that SMPP cannot carry: use ASCII") from None
    if len(raw) >= most or b"\0" in raw:
        raise PduError(f"{name} has {len(raw)} octets, {most - 1} fit: shorten it")
    return raw + b"\0"


def _number(value: int, name: str) -> bytes:
    if not 0 <= value <= 255:
        raise PduError(f"{name} is {value}; 0 to 255 fit")
    return bytes((value,))


def _tlvs(tlvs: Iterable[Tlv]) -> bytes:
    out = bytearray()
    for tlv in tlvs:
        if not 0 <= tlv.tag <= 0xFFFF or len(tlv.value) > 0xFFFF:
            raise PduError(f"the optional parameter {tlv.tag:#06x} with {len(tlv.value)} octets does not fit")
        out += tlv.tag.to_bytes(2, "big") + len(tlv.value).to_bytes(2, "big") + tlv.value
    return bytes(out)


_BINDS = (CommandId.BIND_RECEIVER, CommandId.BIND_TRANSMITTER, CommandId.BIND_TRANSCEIVER)


@dataclass(frozen=True, slots=True)
class Bind:
    """bind_transmitter, bind_receiver, bind_transceiver (§4.1)."""

    command_id: CommandId
    system_id: str
    password: Password = field(repr=False)
    system_type: str = ""
    interface_version: int = INTERFACE_VERSION
    addr_ton: int = 0
    addr_npi: int = 0
    address_range: str = ""

    def body(self) -> bytes:
        return (
            _text(self.system_id, 16, "system_id")
            + _text(self.password.reveal(), 9, "password")
            + _text(self.system_type, 13, "system_type")
            + _number(self.interface_version, "interface_version")
            + _number(self.addr_ton, "addr_ton")
            + _number(self.addr_npi, "addr_npi")
            + _text(self.address_range, 41, "address_range")
        )

    @classmethod
    def parse(cls, command_id: CommandId, reader: _Reader) -> Bind:
        name, password, system_type = reader.text(16), Password(reader.text(9)), reader.text(13)
        return cls(command_id, name, password, system_type, reader.number(), reader.number(), reader.number(), reader.text(41))


@dataclass(frozen=True, slots=True)
class BindResp:
    """The answer to a bind (§4.1.2)."""

    command_id: CommandId
    system_id: str
    tlvs: tuple[Tlv, ...] = ()

    def body(self) -> bytes:
        return _text(self.system_id, 16, "system_id") + _tlvs(self.tlvs)

    @classmethod
    def parse(cls, command_id: CommandId, reader: _Reader) -> BindResp:
        return cls(command_id, reader.text(16) if reader.left else "", reader.tlvs())


@dataclass(frozen=True, slots=True)
class Outbind:
    """outbind (§4.1.7): a centre asks to be called back. Known so that it can be ignored by name."""

    command_id: CommandId
    system_id: str
    password: Password = field(repr=False)

    def body(self) -> bytes:
        return _text(self.system_id, 16, "system_id") + _text(self.password.reveal(), 9, "password")

    @classmethod
    def parse(cls, command_id: CommandId, reader: _Reader) -> Outbind:
        return cls(command_id, reader.text(16), Password(reader.text(9)))


@dataclass(frozen=True, slots=True)
class Message:
    """submit_sm (§4.4.1), deliver_sm (§4.6.1), and data_sm (§4.7.1), which has fewer fields and its text in message_payload."""

    command_id: CommandId
    source: Address
    destination: Address
    short_message: bytes = b""
    service_type: str = ""
    esm_class: int = 0
    protocol_id: int = 0
    priority_flag: int = 0
    schedule_delivery_time: str = ""
    validity_period: str = ""
    registered_delivery: int = 0
    replace_if_present_flag: int = 0
    data_coding: int = 0
    sm_default_msg_id: int = 0
    tlvs: tuple[Tlv, ...] = ()

    def tlv(self, tag: int) -> bytes | None:
        """The first optional parameter of this tag."""
        return next((tlv.value for tlv in self.tlvs if tlv.tag == tag), None)

    @property
    def octets(self) -> bytes:
        """The user data, wherever it stands: short_message, else message_payload (§5.3.2.32)."""
        return self.short_message or self.tlv(Tag.MESSAGE_PAYLOAD) or b""

    @property
    def is_receipt(self) -> bool:
        return self.command_id != CommandId.SUBMIT_SM and self.esm_class & ESM_TYPE_MASK == ESM_RECEIPT

    def body(self) -> bytes:
        most = 65 if self.command_id == CommandId.DATA_SM else 21
        head = _text(self.service_type, 6, "service_type")
        for address in (self.source, self.destination):
            head += _number(address.ton, "ton") + _number(address.npi, "npi") + _text(address.text, most, "address")
        head += _number(self.esm_class, "esm_class")
        if self.command_id == CommandId.DATA_SM:
            head += _number(self.registered_delivery, "registered_delivery") + _number(self.data_coding, "data_coding")
            return head + _tlvs(self.tlvs)
        if len(self.short_message) > MAX_SHORT_MESSAGE_BYTES:
            raise PduError(f"the message has {len(self.short_message)} octets, {MAX_SHORT_MESSAGE_BYTES} fit: send it in parts")
        if self.short_message and self.tlv(Tag.MESSAGE_PAYLOAD) is not None:
            raise PduError("a message has its text in short_message or in message_payload, not in both (§4.4.1)")
        return (
            head
            + _number(self.protocol_id, "protocol_id")
            + _number(self.priority_flag, "priority_flag")
            + _text(self.schedule_delivery_time, 17, "schedule_delivery_time")
            + _text(self.validity_period, 17, "validity_period")
            + _number(self.registered_delivery, "registered_delivery")
            + _number(self.replace_if_present_flag, "replace_if_present_flag")
            + _number(self.data_coding, "data_coding")
            + _number(self.sm_default_msg_id, "sm_default_msg_id")
            + bytes((len(self.short_message),))
            + self.short_message
            + _tlvs(self.tlvs)
        )

    @classmethod
    def parse(cls, command_id: CommandId, reader: _Reader) -> Message:
        most = 65 if command_id == CommandId.DATA_SM else 21
        service_type = reader.text(6)
        ton, npi = reader.number(), reader.number()
        source = Address(reader.text(most), ton, npi)
        ton, npi = reader.number(), reader.number()
        destination = Address(reader.text(most), ton, npi)
        esm_class = reader.number()
        if command_id == CommandId.DATA_SM:
            registered, coding = reader.number(), reader.number()
            return cls(
                command_id,
                source,
                destination,
                service_type=service_type,
                esm_class=esm_class,
                registered_delivery=registered,
                data_coding=coding,
                tlvs=reader.tlvs(),
            )
        protocol_id, priority = reader.number(), reader.number()
        schedule, validity = reader.text(17), reader.text(17)
        registered, replace, coding, default_id, length = (reader.number() for _ in range(5))
        if length > MAX_SHORT_MESSAGE_BYTES:
            raise _Bad(f"sm_length {length} is above {MAX_SHORT_MESSAGE_BYTES}", Status.RINVMSGLEN)
        if reader.left < length:
            raise _Bad("sm_length is longer than the unit", Status.RINVMSGLEN)
        text = reader.octets(length)
        tlvs = reader.tlvs()
        if text and any(tlv.tag == Tag.MESSAGE_PAYLOAD for tlv in tlvs):
            raise _Bad("text in short_message and in message_payload", Status.RINVMSGLEN)
        return cls(
            command_id,
            source,
            destination,
            text,
            service_type,
            esm_class,
            protocol_id,
            priority,
            schedule,
            validity,
            registered,
            replace,
            coding,
            default_id,
            tlvs,
        )


@dataclass(frozen=True, slots=True)
class MessageResp:
    """submit_sm_resp, deliver_sm_resp, data_sm_resp: the message id at the centre (§4.4.2; null in deliver_sm_resp)."""

    command_id: CommandId
    message_id: str = ""
    tlvs: tuple[Tlv, ...] = ()

    def body(self) -> bytes:
        return _text(self.message_id, 65, "message_id") + _tlvs(self.tlvs)

    @classmethod
    def parse(cls, command_id: CommandId, reader: _Reader) -> MessageResp:
        # With an error status the body may be missing (§4.4.2).
        return cls(command_id, reader.text(65) if reader.left else "", reader.tlvs())


@dataclass(frozen=True, slots=True)
class QuerySm:
    """query_sm (§4.8.1)."""

    message_id: str
    source: Address
    command_id: ClassVar[CommandId] = CommandId.QUERY_SM

    def body(self) -> bytes:
        head = _text(self.message_id, 65, "message_id")
        return head + _number(self.source.ton, "ton") + _number(self.source.npi, "npi") + _text(self.source.text, 21, "address")

    @classmethod
    def parse(cls, _command_id: CommandId, reader: _Reader) -> QuerySm:
        message_id = reader.text(65)
        ton, npi = reader.number(), reader.number()
        return cls(message_id, Address(reader.text(21), ton, npi))


@dataclass(frozen=True, slots=True)
class QuerySmResp:
    """query_sm_resp (§4.8.2)."""

    message_id: str
    final_date: str = ""
    message_state: int = MessageState.UNKNOWN
    error_code: int = 0
    command_id: ClassVar[CommandId] = CommandId.QUERY_SM_RESP

    def body(self) -> bytes:
        head = _text(self.message_id, 65, "message_id") + _text(self.final_date, 17, "final_date")
        return head + _number(self.message_state, "message_state") + _number(self.error_code, "error_code")

    @classmethod
    def parse(cls, _command_id: CommandId, reader: _Reader) -> QuerySmResp:
        if not reader.left:
            return cls("")
        return cls(reader.text(65), reader.text(17), reader.number(), reader.number())


@dataclass(frozen=True, slots=True)
class Bare:
    """Units without a body: unbind, enquire_link, their answers, generic_nack (§4.2, §4.11, §4.3)."""

    command_id: CommandId

    def body(self) -> bytes:
        return b""

    @classmethod
    def parse(cls, command_id: CommandId, _reader: _Reader) -> Bare:
        return cls(command_id)


Body = Bind | BindResp | Outbind | Message | MessageResp | QuerySm | QuerySmResp | Bare


@dataclass(frozen=True, slots=True)
class Pdu:
    """One unit."""

    body: Body
    sequence: int
    status: int = Status.ROK

    @property
    def command_id(self) -> CommandId:
        return self.body.command_id

    @property
    def is_response(self) -> bool:
        return bool(self.command_id & RESPONSE)

    def encode(self) -> bytes:
        """Raises `PduError` where a value does not fit."""
        if not 0 <= self.sequence <= 0xFFFFFFFF:
            raise PduError(f"the sequence number {self.sequence} does not fit")
        body = self.body.body()
        if HEADER_BYTES + len(body) > MAX_PDU_BYTES:
            raise PduError(f"the unit has {HEADER_BYTES + len(body)} octets, {MAX_PDU_BYTES} are allowed: send the message in parts")
        numbers = (HEADER_BYTES + len(body), self.command_id, self.status, self.sequence)
        return b"".join(number.to_bytes(4, "big") for number in numbers) + body


_PARSERS: dict[CommandId, Callable[[CommandId, _Reader], Body]] = {
    **{bind: Bind.parse for bind in _BINDS},
    **{CommandId(bind | RESPONSE): BindResp.parse for bind in _BINDS},
    CommandId.OUTBIND: Outbind.parse,
    CommandId.SUBMIT_SM: Message.parse,
    CommandId.DELIVER_SM: Message.parse,
    CommandId.DATA_SM: Message.parse,
    CommandId.SUBMIT_SM_RESP: MessageResp.parse,
    CommandId.DELIVER_SM_RESP: MessageResp.parse,
    CommandId.DATA_SM_RESP: MessageResp.parse,
    CommandId.QUERY_SM: QuerySm.parse,
    CommandId.QUERY_SM_RESP: QuerySmResp.parse,
    CommandId.UNBIND: Bare.parse,
    CommandId.UNBIND_RESP: Bare.parse,
    CommandId.ENQUIRE_LINK: Bare.parse,
    CommandId.ENQUIRE_LINK_RESP: Bare.parse,
    CommandId.GENERIC_NACK: Bare.parse,
}


def parse_pdu(data: bytes) -> Pdu:
    """One whole unit. Raises `BadPdu` with the status to answer with."""
    if len(data) < HEADER_BYTES or int.from_bytes(data[:4], "big") != len(data):
        raise BadPdu("an SMPP unit with a wrong length", Status.RINVCMDLEN, fatal=True)
    command, status, sequence = (int.from_bytes(data[at : at + 4], "big") for at in (4, 8, 12))
    try:
        command_id = CommandId(command)
    except ValueError:
        raise BadPdu(f"an SMPP unit with the unknown command {command:#010x}", Status.RINVCMDID, sequence, command_id=command) from None
    reader = _Reader(data[HEADER_BYTES:])
    try:
        body = _PARSERS[command_id](command_id, reader)
        if reader.left:
            raise _Bad("octets after the last field", Status.RINVCMDLEN)
    except _Bad as error:
        raise BadPdu(f"{command_id.name.lower()}: {error}", error.status, sequence, command_id=command) from None
    return Pdu(body, sequence, status)


class PduReader:
    """A stream's octets in, whole units out, each parsed or a `BadPdu`."""

    def __init__(self) -> None:
        self._unread = bytearray()

    def feed(self, data: bytes) -> list[Pdu | BadPdu]:
        """After a `BadPdu` that is fatal nothing more can be read."""
        self._unread += data
        found: list[Pdu | BadPdu] = []
        at = 0
        while len(self._unread) - at >= 4:
            length = int.from_bytes(self._unread[at : at + 4], "big")
            if not HEADER_BYTES <= length <= MAX_PDU_BYTES:
                found.append(BadPdu(f"an SMPP unit of {length} octets", Status.RINVCMDLEN, fatal=True))
                self._unread.clear()
                return found
            if len(self._unread) - at < length:
                break
            try:
                found.append(parse_pdu(bytes(self._unread[at : at + length])))
            except BadPdu as error:
                found.append(error)
            at += length
        del self._unread[:at]
        return found
