"""Any text → short messages → the same text, in each alphabet and by each way of concatenation; nothing that comes in is refused."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tramontana.cell import gsm_alphabet
from tramontana.cell.short_message import (
    GSM7_PART,
    MAX_PARTS,
    PRIORITY_FLAG,
    UCS2_PART,
    Part,
    TextTooLong,
    join,
    read,
    relative_time,
    submit,
    write,
)
from tramontana.cell.smpp.pdu import ESM_RECEIPT, ESM_UDHI, Address, CommandId, Message, Pdu, Tag, parse_pdu
from tramontana.cell.smpp.receipt import parse_receipt
from tramontana.precedence import Precedence

GSM = "".join(character for code in range(0x250) if not gsm_alphabet.missing(character := chr(code))) + "€ΔΦΓ"
TEXTS = st.one_of(st.text(GSM, max_size=1300), st.text(max_size=500), st.text("é€😀à[] SOSaiuto", max_size=600))
FROM, TO = Address.of("112"), Address.of("+393331234567")


@settings(max_examples=150, deadline=None)
@given(TEXTS, st.sampled_from(["udh", "sar", "payload"]), st.integers(0, 255), st.randoms())
def test_any_text_comes_back(text: str, way: str, reference: int, order: object) -> None:
    try:
        parts = write(text, reference)
    except TextTooLong:
        return
    messages = [
        parse_pdu(Pdu(message, 1).encode()).body
        for message in submit(parts, FROM, TO, way=way, precedence=Precedence.FLASH, receipt=True)  # type: ignore[arg-type]
    ]
    order.shuffle(messages)  # type: ignore[attr-defined]
    back = [read(message) for message in messages if isinstance(message, Message)]
    assert join(back) == text.replace("\0", "\ufffd").encode("utf-16-be", "surrogatepass").decode("utf-16-be", "replace")
    assert all(len(message.short_message) <= 160 for message in messages if isinstance(message, Message))


def test_the_sizes_are_those_of_the_standard() -> None:
    assert len(write("a" * 160, 1)) == 1
    assert [len(part.octets) for part in write("a" * 161, 1)] == [GSM7_PART, 8]
    assert len(write("ș" * 70, 1)) == 1
    assert [len(part.octets) for part in write("ș" * 71, 1)] == [UCS2_PART, 8]


def test_neither_an_escape_nor_a_surrogate_pair_is_parted() -> None:
    first, second = write("a" * 152 + "€" + "b" * 20, 1)
    assert (len(first.octets), second.octets[:2]) == (152, b"\x1be")
    first, second = write("x" * 66 + "😀" + "ș" * 9, 1)
    assert len(first.octets) == 132
    assert second.octets[:4] == "😀".encode("utf-16-be")


def test_a_text_that_is_too_long_says_why() -> None:
    with pytest.raises(TextTooLong, match=f"{MAX_PARTS} are allowed"):
        write("a" * (MAX_PARTS * GSM7_PART + 1), 1)
    with pytest.raises(TextTooLong, match="double its size"):
        write("ș" * 800, 1)


def test_a_missing_part_is_told_and_the_rest_is_there() -> None:
    parts = write("Siamo in sette, " * 25, 9)
    assert join([parts[0], parts[2]]).count("[…]") == 1
    assert join([parts[0], parts[2]]).startswith("Siamo in sette, ")


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=254), st.integers(0, 255), st.integers(0, 255))
def test_whatever_comes_in_becomes_a_text(octets: bytes, esm_class: int, coding: int) -> None:
    part = read(Message(CommandId.DELIVER_SM, FROM, TO, octets, esm_class=esm_class, data_coding=coding))
    assert isinstance(join([part]), str)
    if part.damaged:
        assert part.octets == octets


def test_headers_of_other_senders() -> None:
    def with_header(header: bytes) -> Part:
        return read(Message(CommandId.DELIVER_SM, FROM, TO, bytes((len(header),)) + header + b"ok", esm_class=ESM_UDHI))

    assert with_header(bytes((8, 4, 1, 44, 3, 2))) == Part(b"ok", 0, 300, 3, 2)  # a 16-bit reference
    assert with_header(bytes((5, 4, 0, 1, 0, 2, 0, 3, 7, 2, 1))) == Part(b"ok", 0, 7, 2, 1)  # behind ports
    assert with_header(bytes((0, 3, 7, 2, 3))) == Part(b"ok", 0)  # part 3 of 2: ignored, §9.2.3.24.1
    assert with_header(bytes((0, 9, 7, 2))).damaged  # longer than the header


def test_precedence_and_times() -> None:
    assert [PRIORITY_FLAG[level] for level in Precedence] == [0, 1, 2, 3, 3]
    assert relative_time(3600) == "000000010000000R"
    assert relative_time(86400 * 31) == "000101000000000R"
    (message,) = submit(write("x", 1), FROM, TO, way="udh", precedence=Precedence.FLASH, receipt=True, validity_s=60, user_reference=77)
    assert (message.priority_flag, message.registered_delivery, message.validity_period) == (3, 1, "000000000100000R")
    assert message.tlv(Tag.USER_MESSAGE_REFERENCE) == b"\x00\x4d"


def test_a_nul_is_told_and_never_kept() -> None:
    """PostgreSQL keeps no NUL: a text with one could not be stored, and all behind it would wait."""
    assert join([Part("a\0b".encode("utf-16-be"), 8)]) == "a\ufffdb"
    assert join([Part(b"a\0b", 3)]) == "a\ufffdb"
    assert join([Part(b"a\0\xe8", 0)]) == "a\ufffd\xe8"
    assert join([Part(b"a\0b", 0)]) == "a@b"  # in the GSM alphabet 0 is a character


def test_a_receipts_id_ends_at_a_nul() -> None:
    octets = b"id:12\0\0 stat:DELIVRD err:000"
    receipt = parse_receipt(Message(CommandId.DELIVER_SM, Address.of("1"), Address.of("2"), octets, esm_class=ESM_RECEIPT))
    assert receipt is not None
    assert receipt.message_id == "12"
