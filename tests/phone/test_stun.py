"""The STUN codec against the test vectors of RFC 5769, which RFC 8489 keeps, and against what strangers may send."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tramontana.phone import stun
from tramontana.phone.stun import Attribute, Class, MalformedStun, Method

# RFC 5769 §2.1 to §2.4, octet for octet.
REQUEST = bytes.fromhex(
    "000100582112a442b7e7a701bc34d686fa87dfae"
    "802200105354554e207465737420636c69656e74"
    "002400046e0001ff"
    "80290008932ff9b151263b36"
    "000600096576746a3a68367659202020"
    "000800149aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a2"
    "80280004e57a3bcf"
)
IPV4_RESPONSE = bytes.fromhex(
    "0101003c2112a442b7e7a701bc34d686fa87dfae"
    "8022000b7465737420766563746f7220"
    "002000080001a147e112a643"
    "000800142b91f599fd9e90c38c7489f92af9ba53f06be7d7"
    "80280004c07d4c96"
)
IPV6_RESPONSE = bytes.fromhex(
    "010100482112a442b7e7a701bc34d686fa87dfae"
    "8022000b7465737420766563746f7220"
    "002000140002a1470113a9faa5d3f179bc25f4b5bed2b9d9"
    "00080014a382954e4be67bf11784c97c8292c275bfe3ed41"
    "80280004c8fb0b4c"
)
LONG_TERM_REQUEST = bytes.fromhex(
    "000100602112a44278ad3433c6ad72c029da412e"
    "00060012e3839ee38388e383aae38383e382afe382b90000"
    "0015001c662f2f3439396b39353464364f4c33346f4c39465354767936347341"
    "0014000b6578616d706c652e6f726700"
    "00080014f67024656dd64a3e02b8e0712e85c9a28ca89666"
)
SHORT_TERM_KEY = b"VOkJxbRl1RmTxUk/WvJxBt"
LONG_TERM_KEY = hashlib.md5("マトリックス:example.org:TheMatrIX".encode()).digest()


@pytest.mark.parametrize(
    ("data", "key"),
    [(REQUEST, SHORT_TERM_KEY), (IPV4_RESPONSE, SHORT_TERM_KEY), (IPV6_RESPONSE, SHORT_TERM_KEY), (LONG_TERM_REQUEST, LONG_TERM_KEY)],
)
def test_the_vectors_are_read_and_verified(data: bytes, key: bytes) -> None:
    message = stun.parse(data)
    assert message.has_integrity(key)
    assert not message.has_integrity(key + b"x")
    assert message.has_fingerprint is (data is not LONG_TERM_REQUEST)


def test_the_fields_of_the_vectors() -> None:
    request, long_term = stun.parse(REQUEST), stun.parse(LONG_TERM_REQUEST)
    assert (request.method, request.message_class) == (Method.BINDING, Class.REQUEST)
    assert request.get(Attribute.USERNAME) == b"evtj:h6vY"
    assert request.unknown_required() == [0x0024]  # PRIORITY belongs to ICE, not to a relay
    assert long_term.get(Attribute.NONCE) == b"f//499k954d6OL34oL9FSTvy64sA"
    assert long_term.get(Attribute.REALM) == b"example.org"


@pytest.mark.parametrize(
    ("data", "address"), [(IPV4_RESPONSE, ("192.0.2.1", 32853)), (IPV6_RESPONSE, ("2001:db8:1234:5678:11:2233:4455:6677", 32853))]
)
def test_addresses_of_the_vectors(data: bytes, address: stun.Address) -> None:
    message = stun.parse(data)
    value = message.get(Attribute.XOR_MAPPED_ADDRESS)
    assert value is not None
    assert stun.parse_xor_address(value, message.transaction_id) == address
    assert stun.pack_xor_address(address, message.transaction_id) == value


def test_encoding_gives_the_vector_where_its_padding_is_zero() -> None:
    message = stun.parse(LONG_TERM_REQUEST)
    attributes = [(Attribute(kind), value) for kind, value in message.attributes]
    assert stun.encode(message.method, message.message_class, message.transaction_id, attributes, key=LONG_TERM_KEY) == LONG_TERM_REQUEST


@pytest.mark.parametrize("data", [REQUEST, IPV4_RESPONSE])
def test_any_changed_octet_is_noticed(data: bytes) -> None:
    for position in range(len(data)):
        changed = data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]
        try:
            message = stun.parse(changed)
        except MalformedStun:
            continue
        assert not message.has_fingerprint  # its type was the changed octet


@given(st.binary(max_size=200))
@settings(deadline=None)
def test_nothing_but_malformed_comes_of_noise(data: bytes) -> None:
    with pytest.raises(MalformedStun):
        stun.parse(data)


@given(st.binary(max_size=200).map(lambda body: body + bytes(-len(body) % 4)))
@settings(deadline=None)
def test_any_body_is_read_or_malformed(body: bytes) -> None:
    header = b"\x00\x01" + len(body).to_bytes(2, "big") + stun.MAGIC_COOKIE.to_bytes(4, "big") + bytes(12)
    try:
        message = stun.parse(header + body)
    except MalformedStun:
        return
    assert sum(4 + len(value) + -len(value) % 4 for _, value in message.attributes) <= len(body)


def test_what_stands_after_the_integrity_is_ignored() -> None:
    signed = stun.encode(Method.ALLOCATE, Class.REQUEST, bytes(12), [(Attribute.USERNAME, b"true")], key=b"key")
    appended = signed + b"\x00\x06\x00\x04fake"
    appended = appended[:2] + (len(appended) - stun.HEADER_BYTES).to_bytes(2, "big") + appended[4:]
    message = stun.parse(appended)
    assert message.has_integrity(b"key")
    assert message.get_all(Attribute.USERNAME) == [b"true"]


@pytest.mark.parametrize("value", [b"", bytes(7), b"\x00\x02" + bytes(6), b"\x00\x01" + bytes(18), b"\x00\x03" + bytes(6)])
def test_a_wrong_address_is_malformed(value: bytes) -> None:
    with pytest.raises(MalformedStun):
        stun.parse_xor_address(value, bytes(12))


def test_too_many_attributes_are_malformed() -> None:
    with pytest.raises(MalformedStun):
        stun.parse(stun.encode(Method.BINDING, Class.REQUEST, bytes(12), [(Attribute.SOFTWARE, b"")] * (stun.MAX_ATTRIBUTES + 1)))


def test_nothing_may_follow_the_fingerprint() -> None:
    whole = stun.encode(Method.BINDING, Class.REQUEST, bytes(12), [], fingerprint=True)
    assert stun.parse(whole).has_fingerprint
    longer = whole[:2] + b"\x00\x10" + whole[4:] + b"\x80\x22\x00\x04more"
    with pytest.raises(MalformedStun):
        stun.parse(longer)
