"""Knocks, scouts, and the first words of a TLS stream."""

from __future__ import annotations

import os
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.internet.routers import Ministry
from tests.keys.organisations import NOW
from tramontana.internet.knock import LENGTH, NotAScout, ScoutKey, knock, udp_segment
from tramontana.internet.stream import (
    CONTROL,
    DatagramReader,
    Opening,
    StreamRefused,
    answer,
    check_answer,
    frame,
    make_tls_certificate,
    parse_opening,
)
from tramontana.internet.tunnel_keys import WrongPeer
from tramontana.keys.refused import Refused

KEY = ScoutKey(b"f" * 32, "ab" * 16)


@given(st.binary(min_size=16, max_size=16), st.integers(LENGTH, 1500))
def test_an_echo_is_as_long_as_its_scout_and_names_it(nonce: bytes, length: int) -> None:
    scout = KEY.scout(nonce, length)
    echo = KEY.echo(scout)
    assert len(scout) == len(echo) == length
    assert scout[:5] == echo[:5] == b"\x03\x00\x00\x00\x00"
    assert KEY.parse_echo(echo) == nonce


def test_scouts_of_strangers_cut_ones_and_echoes_are_not_answered() -> None:
    scout = KEY.scout(os.urandom(16), 1400)
    for wrong in (
        ScoutKey(b"g" * 32, KEY.gateway_id).scout(bytes(16)),
        ScoutKey(KEY.fingerprint, "cd" * 16).scout(bytes(16)),
        scout[:-1],
        scout[:20],
        b"",
        KEY.echo(scout),
        knock(1, bytes(59)),
    ):
        with pytest.raises(NotAScout):
            KEY.echo(wrong)
    with pytest.raises(NotAScout):
        KEY.parse_echo(scout)


def test_a_udp_segment_has_the_checksum_of_the_standard() -> None:
    """RFC 1071: the sum over everything, the checksum included, is all ones."""
    for source, target in (("192.0.2.2", "203.0.113.1"), ("2001:db8::2", "2001:db8::1")):
        for payload in (b"odd", b"even", b""):
            segment = udp_segment((source, 51837), (target, 443), payload)
            assert segment[:6] == (51837).to_bytes(2, "big") + (443).to_bytes(2, "big") + (8 + len(payload)).to_bytes(2, "big")
            pseudo = ip_address(source).packed + ip_address(target).packed + len(segment).to_bytes(4, "big") + bytes((0, 0, 0, 17))
            data = pseudo + segment + bytes(len(segment) % 2)
            total = sum(int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data), 2))
            while total >> 16:
                total = (total & 0xFFFF) + (total >> 16)
            assert total == 0xFFFF


@given(st.lists(st.binary(max_size=200), max_size=20), st.integers(1, 37))
def test_datagrams_come_out_of_a_stream_as_they_went_in(datagrams: list[bytes], piece: int) -> None:
    data = b"".join(map(frame, datagrams))
    reader = DatagramReader()
    found = [each for at in range(0, len(data), piece) for each in reader.feed(data[at : at + piece])]
    assert found == datagrams


def test_only_the_gateway_that_was_asked_for_ends_a_stream() -> None:
    ministry = Ministry()
    rome, milan, ship = ministry.certify("Rome", "gateway"), ministry.certify("Milan", "gateway"), ministry.certify("Ship", "site")
    root = ministry.register.root
    opening = Opening(CONTROL, os.urandom(32))
    _, tls = make_tls_certificate(NOW)
    _, between = make_tls_certificate(NOW)
    said = opening.encode(root.fingerprint, rome.device_id, tls)
    assert parse_opening(said, root.fingerprint, rome.device_id, tls) == opening
    for wrong in (said[:-1], said[:-1] + bytes((said[-1] ^ 1,)), bytes((3,)) + said[1:]):
        with pytest.raises(StreamRefused):
            parse_opening(wrong, root.fingerprint, rome.device_id, tls)
    with pytest.raises(StreamRefused):
        parse_opening(said, root.fingerprint, milan.device_id, tls)
    with pytest.raises(StreamRefused):  # handed on by somebody between
        parse_opening(opening.encode(root.fingerprint, rome.device_id, between), root.fingerprint, rome.device_id, tls)

    def check(given: bytes, shown: bytes, at: Opening = opening) -> None:
        length = int.from_bytes(given[:2], "big")
        certificate, signature = given[2 : 2 + length], given[2 + length :]
        check_answer(certificate, signature, at, shown, rome.device_id, ministry.register, NOW + 1)

    right = answer(rome, opening, tls)
    check(right, tls)
    with pytest.raises(StreamRefused, match="between"):
        check(right, between)
    with pytest.raises(StreamRefused, match="between"):
        check(right, b"\x30\x03\x02\x01\x07")  # what no parser takes for a certificate
    with pytest.raises(StreamRefused, match="between"):
        check(right, tls, Opening(CONTROL, os.urandom(32)))
    with pytest.raises(StreamRefused, match="another gateway"):
        check(answer(milan, opening, tls), tls)
    with pytest.raises((WrongPeer, Refused)):
        check(answer(ship, opening, tls), tls)
    ministry.revoke(rome)
    with pytest.raises(Refused, match="revoked"):
        check(right, tls)
