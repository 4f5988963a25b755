"""SMPP units: round trips, refusals, hostile octets; and smpp34, another implementation, reads the same fields."""

from __future__ import annotations

import pytest
import smpp34
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.cell.smpp_values import MESSAGES, PDUS
from tramontana.cell.smpp.pdu import (
    Address,
    BadPdu,
    CommandId,
    Message,
    Password,
    Pdu,
    PduError,
    PduReader,
    Status,
    Tag,
    Tlv,
    parse_pdu,
)

SUBMIT = Message(CommandId.SUBMIT_SM, Address("390651234"), Address("393331234567"), b"aiuto", registered_delivery=1)


@settings(max_examples=150, deadline=None)
@given(PDUS)
def test_every_unit_is_read_as_it_was_written(pdu: Pdu) -> None:
    assert parse_pdu(pdu.encode()) == pdu


@settings(max_examples=60, deadline=None)
@given(st.lists(PDUS, min_size=1, max_size=5), st.data())
def test_a_stream_gives_the_same_units_however_it_is_cut(pdus: list[Pdu], data: st.DataObject) -> None:
    stream = b"".join(pdu.encode() for pdu in pdus)
    reader, found, at = PduReader(), [], 0
    while at < len(stream):
        size = data.draw(st.integers(1, len(stream) - at))
        found += reader.feed(stream[at : at + size])
        at += size
    assert found == pdus


@settings(max_examples=300, deadline=None)
@given(PDUS, st.data())
def test_what_is_read_from_damaged_octets_can_be_written_again_or_is_refused(pdu: Pdu, data: st.DataObject) -> None:
    octets = bytearray(pdu.encode())
    for _ in range(data.draw(st.integers(1, 4))):
        octets[data.draw(st.integers(4, len(octets) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, 3))
    octets = octets[: len(octets) - cut] if len(octets) - cut >= 16 else octets
    octets[:4] = len(octets).to_bytes(4, "big")
    try:
        read = parse_pdu(bytes(octets))
    except BadPdu:
        return
    # An answer without a body is the one thing that has two spellings (§4.4.2).
    assert read.encode() == octets or len(octets) == 16


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_any_octets_end_in_units_or_refusals(octets: bytes) -> None:
    for found in PduReader().feed(octets):
        assert isinstance(found, (Pdu, BadPdu))


def as_ascii(message: Message) -> bool:
    return all(text.isascii() for text in (message.source.text, message.destination.text, message.service_type))


@settings(max_examples=100, deadline=None)
@given(MESSAGES.filter(as_ascii), st.integers(1, 0x7FFFFFFF))
def test_another_implementation_reads_the_same_fields(message: Message, sequence: int) -> None:
    read = smpp34.decode(Pdu(message, sequence).encode())
    assert not isinstance(read, smpp34.RawPdu)
    assert (read.sequence_number, read.command_id) == (sequence, message.command_id)
    assert (read.source_addr, read.source_addr_ton, read.source_addr_npi) == (message.source.text, message.source.ton, message.source.npi)
    assert (read.destination_addr, read.short_message, read.esm_class) == (
        message.destination.text,
        message.short_message,
        message.esm_class,
    )
    assert (read.priority_flag, read.registered_delivery, read.data_coding) == (
        message.priority_flag,
        message.registered_delivery,
        message.data_coding,
    )
    assert [(tlv.tag, tlv.value) for tlv in read.tlvs] == [(tlv.tag, tlv.value) for tlv in message.tlvs]


def test_octets_of_another_implementation_are_read() -> None:
    made = smpp34.SubmitSm("390651234", "393331234567", b"aiuto", source_addr_ton=1, source_addr_npi=1, dest_addr_ton=1, dest_addr_npi=1)
    assert parse_pdu(made.encode()).body == Message(CommandId.SUBMIT_SM, Address("390651234"), Address("393331234567"), b"aiuto")


def refused(octets: bytes) -> BadPdu:
    with pytest.raises(BadPdu) as caught:
        parse_pdu(len(octets).to_bytes(4, "big") + octets[4:])
    return caught.value


def test_what_other_decoders_let_pass_is_refused_with_its_status() -> None:
    whole = Pdu(SUBMIT, 7).encode()
    assert refused(whole + b"\x04").status == Status.RINVOPTPARSTREAM  # one octet too many
    assert refused(whole + b"\x04\x24\x00\x09ab").status == Status.RINVOPTPARSTREAM  # a parameter that is cut off
    assert refused(whole.replace(b"390651234\0", b"3" * 40 + b"\0")).status == Status.RINVPARLEN  # an address above 20 characters
    assert refused(whole.replace(b"\x05aiuto", b"\xffaiuto" + b"x" * 250)).status == Status.RINVMSGLEN  # sm_length 255
    payload = Tlv(Tag.MESSAGE_PAYLOAD, b"also").value
    assert refused(whole + b"\x04\x24\x00\x04" + payload).status == Status.RINVMSGLEN  # two texts
    assert refused(whole[:4] + b"\x00\x00\x00\x99" + whole[8:]).status == Status.RINVCMDID


def test_a_value_that_does_not_fit_says_which_field() -> None:
    with pytest.raises(PduError, match="address has 21 octets, 20 fit"):
        Pdu(Message(CommandId.SUBMIT_SM, Address("1" * 21), Address("2")), 1).encode()
    with pytest.raises(PduError, match="message has 255 octets"):
        Pdu(Message(CommandId.SUBMIT_SM, Address("1"), Address("2"), bytes(255)), 1).encode()


def test_a_length_that_cannot_be_ends_the_stream() -> None:
    (bad,) = PduReader().feed(b"\xff\xff\xff\xff" + bytes(12))
    assert isinstance(bad, BadPdu)
    assert bad.fatal


def test_a_password_is_not_shown() -> None:
    assert "geheim" not in repr(Password("geheim"))
    assert Password("a") == Password("a") != Password("b")
