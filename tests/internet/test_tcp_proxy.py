"""What the TCP proxy reads and writes: packets, messages of nfnetlink_log, rules."""

from __future__ import annotations

import errno
import struct
from ipaddress import ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tramontana.internet.tcp_proxy import (
    LOG_GROUP,
    Answer,
    MalformedSyn,
    ProxySettings,
    Role,
    answer_to,
    log_requests,
    logged,
    parse_syn,
    rules,
    unreachable,
)

# A SYN from 192.0.2.1:40000 to 198.51.100.2:443, sequence 1, window 64240, and the same over IPv6, from 2001:db8::1 to 2001:db8::2.
SEGMENT = struct.pack("!HHIIBBHHH", 40000, 443, 1, 0, 5 << 4, 0x02, 64240, 0, 0)
IPV4 = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 40, 0, 0x4000, 64, 6, 0, bytes([192, 0, 2, 1]), bytes([198, 51, 100, 2]))
IPV6 = struct.pack("!IHBB", 6 << 28, 20, 6, 64) + bytes.fromhex("20010db800000000000000000000000120010db8000000000000000000000002")


def ones_complement_sum(data: bytes) -> int:
    total = sum(int.from_bytes(data[at : at + 2].ljust(2, b"\0"), "big") for at in range(0, len(data), 2))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total


@pytest.mark.parametrize(
    ("packet", "client", "server"),
    [
        (IPV4 + SEGMENT, ("192.0.2.1", 40000), ("198.51.100.2", 443)),
        (IPV6 + SEGMENT, ("2001:db8::1", 40000), ("2001:db8::2", 443)),
    ],
)
def test_a_syn_is_read_and_gets_the_checksum_that_hardware_would_have_added(
    packet: bytes, client: tuple[str, int], server: tuple[str, int]
) -> None:
    syn = parse_syn(packet, 7)
    assert (syn.client, syn.server, syn.mark, syn.is_ipv6) == (client, server, 7, packet[0] >> 4 == 6)
    addresses = packet[12:20] if packet[0] >> 4 == 4 else packet[8:40]
    segment = syn.packet[-20:]
    assert ones_complement_sum(addresses + struct.pack("!II", 20, 6) + segment) == 0xFFFF  # RFC 9293 §3.1
    assert syn.packet[:-4] == packet[:-4]


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=80))
def test_what_is_no_syn_is_refused(packet: bytes) -> None:
    try:
        syn = parse_syn(packet, 0)
    except MalformedSyn:
        return
    assert syn.packet[-1:] == packet[-1:]
    assert len(syn.packet) == len(packet)


def test_an_answer_to_a_syn_is_none() -> None:
    with pytest.raises(MalformedSyn):
        parse_syn(IPV4 + SEGMENT[:13] + bytes([0x12]) + SEGMENT[14:], 0)


def test_icmp_quotes_what_the_client_sent() -> None:
    message = unreachable(parse_syn(IPV4 + SEGMENT, 0))
    assert message[:2] == bytes([3, 1])
    assert ones_complement_sum(message) == 0xFFFF
    assert message[8:] == IPV4 + SEGMENT[:8]
    assert unreachable(parse_syn(IPV6 + SEGMENT, 0))[:2] == bytes([1, 3])


def attribute(name: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), name) + value + bytes(-len(value) % 4)


def message(kind: int, attributes: bytes) -> bytes:
    return struct.pack("=IHHII", 20 + len(attributes), 4 << 8 | kind, 0, 0, 0) + struct.pack("!BBH", 2, 0, LOG_GROUP) + attributes


def test_packets_are_found_among_the_messages_of_a_datagram() -> None:
    one = message(0, attribute(1, bytes(4)) + attribute(2, struct.pack("!I", 0x540003)) + attribute(9, b"first packet..."))
    other = message(0, attribute(9, b"second"))
    answer = message(1, b"")
    assert list(logged(one + answer + other)) == [(b"first packet...", 0x540003), (b"second", 0)]


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=120))
def test_no_datagram_harms(datagram: bytes) -> None:
    list(logged(datagram))


def test_the_group_is_asked_for_by_the_kernels_words() -> None:
    """linux/netfilter/nfnetlink_log.h: NFULNL_CFG_CMD_BIND; whole packets, one a message."""
    bind, mode = log_requests(5)
    for request in (bind, mode):
        assert struct.unpack_from("=IHH", request) == (len(request), 4 << 8 | 1, 1)
        assert struct.unpack_from("!BBH", request, 16) == (0, 0, 5)
    assert bind[20:] == attribute(1, b"\1")
    assert mode[20:] == attribute(2, struct.pack("!IBx", 0xFFFF, 2)) + attribute(5, struct.pack("!I", 1))


@pytest.mark.parametrize(
    ("error", "answer"),
    [
        (errno.ECONNREFUSED, Answer.REFUSED),
        (errno.EHOSTUNREACH, Answer.UNREACHABLE),
        (errno.ENETUNREACH, Answer.UNREACHABLE),
        (errno.EADDRNOTAVAIL, Answer.SILENCE),
        (None, Answer.SILENCE),
    ],
)
def test_the_client_hears_what_the_server_said(error: int | None, answer: Answer) -> None:
    assert answer_to(error) is answer


def test_the_rule_that_takes_connections_comes_after_every_exception_and_last() -> None:
    site = ProxySettings(role=Role.SITE, inside=("lan0",), networks=(ip_network("10.64.2.0/24"),), status_socket="/x")
    lines = rules(site, 1000, 1001)
    takes = next(number for number, line in enumerate(lines) if "log group" in line)
    assert takes == len(lines) - 1
    assert any("ip daddr 10.64.2.0/24 accept" in line for line in lines)
    gateway = ProxySettings(role=Role.GATEWAY, inside=("gu1",), outside="eth0", status_socket="/x")
    assert any('fib daddr oifname != "eth0" accept' in line for line in rules(gateway, 1000, 1001))


@pytest.mark.parametrize(
    ("options", "offers"),
    [
        ("", False),
        ("020405b4 0402 080a 0000000000000000 01 03030a 1e040181", True),  # MP_CAPABLE of version 1
        ("020405b4 01 01 1e0c1001a2fe82408d9d760e", False),  # MP_JOIN
        ("00 1e040181", False),
        ("1e", False),
        ("1e02", False),
        ("0200 1e040181", False),
    ],
)
def test_a_client_that_offers_several_ways_is_told_by_its_options(options: str, offers: bool) -> None:
    """RFC 8684 §3.1, figure 4; RFC 9293 §3.1."""
    words = bytes.fromhex(options)
    words += bytes(-len(words) % 4)
    segment = struct.pack("!HHIIBBHHH", 40000, 443, 1, 0, (5 + len(words) // 4) << 4, 0x02, 64240, 0, 0) + words
    header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(segment), 1, 0, 64, 6, 0, bytes((10, 64, 2, 2)), bytes((198, 51, 100, 9)))
    assert parse_syn(header + segment, 0).is_multipath is offers


def test_a_further_way_is_taken_before_connections_are_and_only_where_it_may_be() -> None:
    gateway = ProxySettings(role=Role.GATEWAY, inside=("gu1",), outside="eth0", status_socket="/x")
    lines = rules(gateway, 1000, 1001, joined=True)
    further = next(place for place, line in enumerate(lines) if "jump further" in line)
    assert further < next(place for place, line in enumerate(lines) if "log group" in line)
    assert further > next(place for place, line in enumerate(lines) if "iifname !=" in line)
    assert not any("mptcp" in line for line in rules(gateway, 1000, 1001))


def test_a_gateway_connects_to_no_metadata_for_a_site() -> None:
    lines = rules(ProxySettings(role=Role.GATEWAY, inside=("gu1",), outside="eth0", status_socket="/x"), 1000, 1001)
    takes = next(place for place, line in enumerate(lines) if "log group" in line)
    for network in ("ip daddr 169.254.0.0/16", "ip6 daddr fd00:ec2::/32"):
        assert any(line.endswith(f"intercept {network} drop") for line in lines[:takes])
