"""Text ↔ short messages: alphabet, parts and their headers (3GPP TS 23.040 §9.2.3.24, TS 23.038 §4; SMPP 3.4 §5.2.19, §5.3.2).

A text goes out in the GSM 7 bit default alphabet where that has all its characters, else as UCS-2 (as UTF-16, which phones read; a
surrogate pair is never parted). Over SMPP septets travel one an octet; the centre packs them. What comes in is never refused here:
a person may hang on it, so a damaged header makes a text that says so, not an error.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from tramontana.cell import gsm_alphabet
from tramontana.cell.smpp.pdu import ESM_UDHI, Address, CommandId, Message, Tag, Tlv
from tramontana.errors import LocalError
from tramontana.precedence import Precedence

GSM7_SINGLE, GSM7_PART = 160, 153
UCS2_SINGLE, UCS2_PART = 140, 134
"""Septets and octets of TS 23.040 §9.2.3.16; the header of a part with an 8-bit reference has 6 octets with its length (§9.2.3.24.1)."""
MAX_PARTS = 10
"""A longer text takes more of a beam than one person may; 255 are possible (§9.2.3.24.1)."""

CODING_DEFAULT, CODING_ASCII, CODING_BINARY, CODING_LATIN1, CODING_UCS2 = 0, 1, 4, 3, 8
"""data_coding, SMPP 3.4 §5.2.19."""
IE_CONCATENATED_8, IE_CONCATENATED_16 = 0x00, 0x08
"""Information elements, TS 23.040 §9.2.3.24."""

DefaultAlphabet = Literal["gsm-7", "latin-1", "ascii"]
"""What data_coding 0 means at a centre; the specification leaves it to the centre (SMPP 3.4 §5.2.19)."""
Concatenation = Literal["udh", "sar", "payload"]
"""How a centre wants the parts of a text: user data headers, sar_ parameters, or the whole in message_payload."""

PRIORITY_FLAG: Mapping[Precedence, int] = {
    Precedence.ROUTINE: 0,
    Precedence.PRIORITY: 1,
    Precedence.IMMEDIATE: 2,
    Precedence.FLASH: 3,
    Precedence.FLASH_OVERRIDE: 3,
}
"""SMPP 3.4 §5.2.14 has four levels for the five of RFC 4412."""


class TextTooLong(LocalError):
    """The text needs more short messages than one text may have: shorten it, or leave out characters that force UCS-2."""


@dataclass(frozen=True, slots=True)
class Part:
    """One short message of a text. `octets` are without the header; septets one an octet."""

    octets: bytes
    data_coding: int
    reference: int = 0
    total: int = 1
    number: int = 1
    damaged: bool = False
    """The header could not be read: `octets` is the whole user data."""


def write(text: str, reference: int) -> tuple[Part, ...]:
    """The parts of a text. reference: 0 to 255, the next one of this sender to this receiver. Raises `TextTooLong`."""
    if gsm_alphabet.missing(text):
        units = [character.encode("utf-16-be", "surrogatepass") for character in text]
        coding, single, most = CODING_UCS2, UCS2_SINGLE, UCS2_PART
    else:
        units = [gsm_alphabet.encode(character) for character in text]
        coding, single, most = CODING_DEFAULT, GSM7_SINGLE, GSM7_PART
    if sum(map(len, units)) <= single:
        return (Part(b"".join(units), coding),)
    pieces = [b""]
    for unit in units:  # an escape and its character, or a surrogate pair, is one unit
        if len(pieces[-1]) + len(unit) > most:
            pieces.append(b"")
        pieces[-1] += unit
    if len(pieces) > MAX_PARTS:
        raise TextTooLong(
            f"the text needs {len(pieces)} short messages, {MAX_PARTS} are allowed: shorten it"
            + (", or leave out characters outside the GSM alphabet, which double its size" if coding == CODING_UCS2 else "")
        )
    return tuple(Part(piece, coding, reference & 0xFF, len(pieces), number) for number, piece in enumerate(pieces, 1))


def join(parts: Iterable[Part], default: DefaultAlphabet = "gsm-7") -> str:
    """The text of the parts that there are; each gap is told by "[…]", a damaged part by "[?]"."""
    given = {part.number: part for part in parts}
    total = max((part.total for part in given.values()), default=0)
    text, run, coding = "", b"", CODING_DEFAULT
    for number in range(1, total + 1):
        part = given.get(number)
        if part is None or part.data_coding != coding:
            text += _decode(run, coding, default)
            run = b""
        if part is None:
            text += "[…]"
        else:
            coding = part.data_coding
            run += part.octets
            if part.damaged:
                text += "[?]"
    return text + _decode(run, coding, default)


def _decode(octets: bytes, coding: int, default: DefaultAlphabet) -> str:
    # A NUL is no character of a text, and PostgreSQL keeps none: one such message would hold up every text behind it.
    return _characters(octets, coding, default).replace("\0", "\ufffd")


def _characters(octets: bytes, coding: int, default: DefaultAlphabet) -> str:
    alphabet = _alphabet(coding)
    if alphabet == CODING_UCS2:
        # A pair that was parted by somebody, or half a unit: shown as U+FFFD, never dropped.
        return octets.decode("utf-16-be", "replace")
    if alphabet == CODING_DEFAULT and default == "gsm-7":
        # An octet above 127 is no septet: a centre that sends Latin-1 as "default" is met in the field.
        if all(octet < 0x80 for octet in octets):
            return gsm_alphabet.decode(octets)
        return octets.decode("latin-1")
    if alphabet == CODING_BINARY:
        return octets.hex(" ")
    return octets.decode("latin-1")


def _alphabet(coding: int) -> int:
    """data_coding as SMPP values or as a TS 23.038 §4 octet."""
    if (coding & 0xC0 == 0 and coding >= 0x10) or coding & 0xF0 == 0xF0:  # general group with a class; message class group
        kind = coding >> 2 & 0x03
        return {0: CODING_DEFAULT, 1: CODING_BINARY, 2: CODING_UCS2}.get(kind if coding < 0xF0 else kind & 0x01, CODING_DEFAULT)
    return {CODING_UCS2: CODING_UCS2, CODING_LATIN1: CODING_LATIN1, CODING_ASCII: CODING_ASCII, 2: CODING_BINARY, 4: CODING_BINARY}.get(
        coding, CODING_DEFAULT
    )


def is_binary(data_coding: int) -> bool:
    """Whether a message is octets for a machine, no text (TS 23.038 §4; SMPP 3.4 §5.2.19)."""
    return _alphabet(data_coding) == CODING_BINARY


def read(message: Message) -> Part:
    """The part in a message: from its user data header, from its sar_ parameters, or the only one."""
    octets, coding = message.octets, message.data_coding
    if message.esm_class & ESM_UDHI:
        return _read_header(octets, coding)
    sar = [message.tlv(tag) for tag in (Tag.SAR_MSG_REF_NUM, Tag.SAR_TOTAL_SEGMENTS, Tag.SAR_SEGMENT_SEQNUM)]
    if all(value is not None for value in sar):
        reference, total, number = (int.from_bytes(value or b"", "big") for value in sar)
        if 1 <= number <= total <= 255 and reference <= 0xFFFF:
            return Part(octets, coding, reference, total, number)
        return Part(octets, coding, damaged=True)
    return Part(octets, coding)


def _read_header(octets: bytes, coding: int) -> Part:
    length = octets[0] if octets else 0
    if not octets or 1 + length > len(octets):
        return Part(octets, coding, damaged=True)
    header, rest, at = octets[1 : 1 + length], octets[1 + length :], 0
    reference, total, number = 0, 1, 1
    while at < len(header):
        if at + 2 > len(header) or at + 2 + header[at + 1] > len(header):
            return Part(octets, coding, damaged=True)
        kind, value = header[at], header[at + 2 : at + 2 + header[at + 1]]
        width = {IE_CONCATENATED_8: 1, IE_CONCATENATED_16: 2}.get(kind)
        # §9.2.3.24: of a repeated element the last counts; one with impossible numbers is ignored.
        if width is not None and len(value) == width + 2 and 1 <= value[-1] <= value[-2]:
            reference, total, number = int.from_bytes(value[:width], "big"), value[-2], value[-1]
        at += 2 + len(value)
    return Part(rest, coding, reference, total, number)


def submit(
    parts: tuple[Part, ...],
    source: Address,
    destination: Address,
    *,
    way: Concatenation,
    precedence: Precedence,
    receipt: bool,
    validity_s: float | None = None,
    user_reference: int | None = None,
    command_id: CommandId = CommandId.SUBMIT_SM,
) -> tuple[Message, ...]:
    """The messages that carry a text; one alone with `payload`."""
    shared = {
        "service_type": "",
        "priority_flag": PRIORITY_FLAG[precedence],
        "registered_delivery": int(receipt),
        "validity_period": "" if validity_s is None else relative_time(validity_s),
        "data_coding": parts[0].data_coding,
    }
    reference = () if user_reference is None else (Tlv(Tag.USER_MESSAGE_REFERENCE, (user_reference & 0xFFFF).to_bytes(2, "big")),)

    def message(octets: bytes, esm_class: int = 0, *tlvs: Tlv) -> Message:
        return Message(command_id, source, destination, octets, esm_class=esm_class, tlvs=reference + tlvs, **shared)  # type: ignore[arg-type]

    if len(parts) == 1:
        return (message(parts[0].octets),)
    if way == "payload":
        return (message(b"", 0, Tlv(Tag.MESSAGE_PAYLOAD, b"".join(part.octets for part in parts))),)
    made = []
    for part in parts:
        if way == "udh":
            header = bytes((5, IE_CONCATENATED_8, 3, part.reference, part.total, part.number))
            made.append(message(header + part.octets, ESM_UDHI))
        else:
            numbers = (
                Tlv(Tag.SAR_MSG_REF_NUM, part.reference.to_bytes(2, "big")),
                Tlv(Tag.SAR_TOTAL_SEGMENTS, bytes((part.total,))),
                Tlv(Tag.SAR_SEGMENT_SEQNUM, bytes((part.number,))),
            )
            made.append(message(part.octets, 0, *numbers))
    return tuple(made)


def relative_time(seconds: float) -> str:
    """SMPP 3.4 §7.1.1.2: YYMMDDhhmmsstnnR, from now. Above 63 weeks, TS 23.040's longest, it is cut there."""
    left = max(1, min(round(seconds), 63 * 7 * 86400))
    days, left = divmod(left, 86400)
    years, days = divmod(days, 365)
    months, days = divmod(days, 30)
    hours, left = divmod(left, 3600)
    return f"{years:02d}{months:02d}{days:02d}{hours:02d}{left // 60:02d}{left % 60:02d}000R"
