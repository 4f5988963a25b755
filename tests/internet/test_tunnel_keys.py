"""The conversation of a site and a gateway: both get the same keys, nobody else gets any, and nothing names the site on the wire."""

from __future__ import annotations

import json
from ipaddress import IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.internet.routers import Ministry
from tests.keys.organisations import NOW
from tramontana.internet.control_channel import (
    MAX_FRAME_BYTES,
    Acceptance,
    Alive,
    ChannelRefused,
    Frame,
    FrameKind,
    FrameReader,
    GatewayAt,
    Gateways,
    Introduction,
    Length,
    LogPart,
    LogWanted,
    Refusal,
    Renewal,
    Reported,
    Sealed,
    encode_sealed,
    parse_sealed,
)
from tramontana.internet.key_renewal import Message, PresharedKey, Word
from tramontana.internet.overlay import TunnelId, tunnel_address
from tramontana.internet.tunnel_keys import (
    GatewayConversation,
    Identity,
    Introduced,
    KeyProposed,
    Opened,
    Outdated,
    Said,
    SiteConversation,
    WrongPeer,
)
from tramontana.keys.refused import Refused
from tramontana.keys.register import Register


class Pair:
    """A site and a gateway of one ministry, and everything that went over the wire."""

    def __init__(self, ministry: Ministry | None = None) -> None:
        self.ministry = ministry or Ministry()
        self.ship, self.rome = self.ministry.certify("Ship", "site"), self.ministry.certify("Rome", "gateway")
        self.site = SiteConversation(self.ship, self.rome.device_id, self.ministry.register)
        self.gateway = GatewayConversation(self.rome, self.ministry.register)
        self.wire = b""

    def to_gateway(self) -> list[object]:
        data = self.site.data_to_send()
        self.wire += data
        return list(self.gateway.receive_data(data, NOW))

    def to_site(self) -> list[object]:
        data = self.gateway.data_to_send()
        self.wire += data
        return list(self.site.receive_data(data, NOW))

    def open(self) -> None:
        assert self.to_gateway() == []
        assert self.to_site() == [Opened()]

    def introduce(self, identity: Identity | None = None) -> list[object]:
        certificate = (identity or self.ship).certificate.encoded
        self.site.say(Introduction(certificate, 2, (ip_network("10.64.1.0/24"),), {1: bytes(32)}, {1: frozenset()}))
        return self.to_gateway()

    def exchange(self, number: int) -> PresharedKey:
        tunnel = TunnelId(self.ship.device_id, self.rome.device_id, 1)
        key = self.site.exchange(tunnel, number, NOW)
        self.site.say(Renewal(1, Message(Word.PROPOSE, number, key.id)))
        return key


@pytest.fixture(scope="module")
def ministry() -> Ministry:
    return Ministry()


def test_both_ends_derive_the_same_keys_and_each_another_one(ministry: Ministry) -> None:
    pair = Pair(ministry)
    pair.open()
    (introduced,) = pair.introduce()
    assert isinstance(introduced, Introduced)
    assert introduced.certificate.grant.device_id == pair.ship.device_id
    seen = set()
    for number in range(1, 6):
        key = pair.exchange(number)
        (proposed,) = pair.to_gateway()
        assert isinstance(proposed, KeyProposed)
        assert proposed.key.secret == key.secret
        seen.add(key.secret)
        pair.gateway.say(Renewal(1, Message(Word.CONFIRM, number, key.id)))
        assert pair.to_site() == [Said(Renewal(1, Message(Word.CONFIRM, number, key.id)))]
    assert len(seen) == 5
    for secret in seen:
        assert secret not in pair.wire


def test_many_tunnels_begin_at_once_while_the_gateway_has_more_to_say(ministry: Ministry) -> None:
    pair = Pair(ministry)
    pair.open()
    pair.introduce()
    pair.gateway.say(Alive())
    pair.to_site()
    secrets = set()
    for number in range(1, 4):
        pair.gateway.say(Alive())  # on its way while the site renews
        proposed = []
        for uplink in range(1, 9):
            tunnel = TunnelId(pair.ship.device_id, pair.rome.device_id, uplink)
            key = pair.site.exchange(tunnel, number, NOW)
            pair.site.say(Renewal(uplink, Message(Word.PROPOSE, number, key.id)))
            secrets.add(key.secret)
            proposed.append(KeyProposed(uplink, key))
        assert pair.to_site() == [Said(Alive())]  # sealed before the gateway knew of the renewal
        assert pair.to_gateway() == proposed
        pair.gateway.say(Alive())
        assert pair.to_site() == [Said(Alive())]
    commits = [frame for frame in FrameReader().feed(pair.wire) if frame.kind is FrameKind.COMMIT]
    assert len(commits) == 3, "each round has fresh secrets"
    assert len(secrets) == 24, "no two tunnels have one key, and none has one twice"


def test_an_observer_does_not_learn_which_site_it_is(ministry: Ministry) -> None:
    pair = Pair(ministry)
    pair.open()
    pair.introduce()
    grant = pair.ship.certificate.grant
    assert pair.rome.certificate.grant.display_name.encode() in pair.wire  # the gateway's name can be seen: the check below can fail
    for telling in (grant.display_name.encode(), grant.device_id.encode(), grant.account_id.encode(), grant.signature_public_key):
        assert telling not in pair.wire


def test_a_scanner_gets_no_answer(ministry: Ministry) -> None:
    pair = Pair(ministry)
    with pytest.raises(ChannelRefused):
        pair.gateway.receive_data(Frame(FrameKind.HELLO, bytes(64)).encode(), NOW)
    assert pair.gateway.data_to_send() == b""


def test_a_revoked_site_is_refused_and_one_that_is_revoked_later_too() -> None:
    pair = Pair()
    pair.open()
    pair.introduce()
    pair.gateway.check_peer(NOW)
    pair.ministry.revoke(pair.ship)
    with pytest.raises(Refused) as refused:
        pair.gateway.check_peer(NOW)
    assert refused.value.reason == "revoked"
    again = Pair.__new__(Pair)
    again.ministry, again.ship, again.rome, again.wire = pair.ministry, pair.ship, pair.rome, b""
    again.site = SiteConversation(pair.ship, pair.rome.device_id, pair.ministry.register)
    again.gateway = GatewayConversation(pair.rome, pair.ministry.register)
    again.open()
    with pytest.raises(Refused) as refused:
        again.introduce()
    assert refused.value.reason == "revoked"


def _log_from(pair: Pair, known: int) -> Register:
    """What a site knows that was away since the log had so many entries."""
    register = Register(pair.ministry.register.root)
    for entry in pair.ministry.entries[:known]:
        register.read(entry)
    return register


def test_a_gateway_that_is_newer_than_the_sites_log_may_tell_of_it_and_nothing_else_counts_before() -> None:
    pair = Pair()
    pair.site = SiteConversation(pair.ship, pair.rome.device_id, _log_from(pair, 5))  # up to the ship's certificate
    pair.to_gateway()
    with pytest.raises(Refused, match="not in the organisation's log"):
        pair.to_site()
    pair = Pair()
    register = _log_from(pair, 5)
    pair.site = SiteConversation(pair.ship, pair.rome.device_id, register, may_learn=True)
    pair.gateway = GatewayConversation(pair.rome, pair.ministry.register)
    pair.open()
    pair.introduce()
    with pytest.raises(Refused):
        pair.site.check_peer(NOW)
    register.read(pair.ministry.entries[5])
    pair.site.check_peer(NOW)


def test_a_revoked_gateway_is_asked_for_nothing() -> None:
    pair = Pair()
    pair.ministry.revoke(pair.rome)
    pair.site = SiteConversation(pair.ship, pair.rome.device_id, pair.ministry.register, may_learn=True)
    pair.to_gateway()
    with pytest.raises(Refused, match="revoked"):
        pair.to_site()


def test_a_site_whose_certificate_was_replaced_while_it_was_away_may_read_the_log_alone() -> None:
    pair = Pair()
    newer = pair.ministry.renew(pair.ship)
    assert newer.certificate.serial != pair.ship.certificate.serial
    pair.open()
    assert pair.introduce() == [Outdated()]
    pair.site.say(LogWanted(5))
    assert pair.to_gateway() == [Said(LogWanted(5))]
    pair.exchange(1)
    with pytest.raises(ChannelRefused):
        pair.to_gateway()
    pair = Pair(pair.ministry)
    pair.ministry.revoke(pair.ministry.renew(pair.ship))
    pair.open()
    with pytest.raises(Refused):
        pair.introduce()


def test_a_phone_is_neither_site_nor_gateway(ministry: Ministry) -> None:
    phone = ministry.certify("Ada", "member")
    pair = Pair(ministry)
    pair.site = SiteConversation(phone, pair.rome.device_id, ministry.register)
    pair.open()
    with pytest.raises(WrongPeer) as refused:
        pair.introduce(phone)
    assert refused.value.reason == "wrong_role"
    pair = Pair(ministry)
    pair.gateway = GatewayConversation(phone, ministry.register)
    pair.site = SiteConversation(pair.ship, phone.device_id, ministry.register)
    pair.to_gateway()
    with pytest.raises(WrongPeer) as refused:
        pair.to_site()
    assert refused.value.reason == "wrong_role"


@pytest.mark.parametrize("nested", ["site", "gateway"])
def test_one_end_with_nested_tunnels_and_one_without_do_not_come_together(ministry: Ministry, nested: str) -> None:
    """Whichever of the two looks first: the site at the gateway's certificate."""
    pair = Pair(ministry)
    ship = ministry.certify("Nested ship", "site", *(["nested"] if nested == "site" else []))
    rome = ministry.certify("Nested Rome", "gateway", *(["nested"] if nested == "gateway" else []))
    pair.site = SiteConversation(ship, rome.device_id, ministry.register)
    pair.gateway = GatewayConversation(rome, ministry.register)
    pair.to_gateway()
    with pytest.raises(WrongPeer) as refused:
        pair.to_site()
    assert refused.value.reason == "other_profile"


def test_a_gateway_with_nested_tunnels_refuses_a_site_that_does_not_care(ministry: Ministry) -> None:
    """A site of another make, that takes whatever gateway there is."""
    pair = Pair(ministry)
    pair.rome = ministry.certify("Strict Rome", "gateway", "nested")
    pair.site = SiteConversation(ministry.certify("Nested ship", "site", "nested"), pair.rome.device_id, ministry.register)
    pair.gateway = GatewayConversation(pair.rome, ministry.register)
    pair.site._own = pair.ship
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tramontana.internet.tunnel_keys.check_profile", lambda *_: None)
        pair.open()
    with pytest.raises(WrongPeer) as refused:
        pair.introduce(pair.ship)
    assert refused.value.reason == "other_profile"


def test_the_layers_of_a_nested_tunnel_have_different_keys(ministry: Ministry) -> None:
    pair = Pair(ministry)
    pair.open()
    pair.introduce()
    inner = TunnelId(pair.ship.device_id, pair.rome.device_id, 1)
    keys = [pair.site.exchange(tunnel, 1, NOW) for tunnel in (inner, inner.outer)]
    assert keys[0].secret != keys[1].secret
    pair.site.say(Renewal(inner.outer.uplink, Message(Word.PROPOSE, 1, keys[1].id)))
    (proposed,) = pair.to_gateway()
    assert isinstance(proposed, KeyProposed)
    assert proposed.key.secret == keys[1].secret
    assert inner.outer.carried == inner


def test_nobody_shows_anothers_certificate(ministry: Ministry) -> None:
    other = ministry.certify("Other", "site")
    pair = Pair(ministry)
    pair.open()
    with pytest.raises(WrongPeer) as refused:
        pair.introduce(other)
    assert refused.value.reason == "wrong_device"


def test_another_gateway_of_the_organisation_does_not_pass_for_the_right_one(ministry: Ministry) -> None:
    milan = ministry.certify("Milan", "gateway")
    pair = Pair(ministry)
    pair.gateway = GatewayConversation(milan, ministry.register)
    with pytest.raises(ChannelRefused):  # it cannot tell that the hello is well made
        pair.to_gateway()


def test_what_was_recorded_cannot_be_played_again(ministry: Ministry) -> None:
    pair = Pair(ministry)
    pair.open()
    pair.introduce()
    pair.exchange(1)
    data = pair.site.data_to_send()
    pair.gateway.receive_data(data, NOW)
    with pytest.raises(ChannelRefused):
        pair.gateway.receive_data(data, NOW)


def test_another_organisation_is_refused(ministry: Ministry) -> None:
    pair, stranger = Pair(ministry), Pair()
    pair.gateway = stranger.gateway
    with pytest.raises(ChannelRefused):
        pair.to_gateway()


@pytest.mark.parametrize(
    "message",
    [
        Acceptance({1: bytes(32), 2: bytes(range(32))}, {1: frozenset({bytes(16), bytes(range(16))}), 2: frozenset()}),
        Introduction(b"certificate", 7, (ip_network("10.64.1.0/24"), ip_network("fd00:1::/64")), {3: bytes(32)}, {3: frozenset()}),
        Refusal("revoked", "the certificate is revoked"),
        Renewal(15, Message(Word.SET, 2**53 - 1, bytes(16))),
        Alive(),
        Length(3, 1340),
        LogWanted(7),
        LogPart(9),
        LogPart(9, 7, (b"entry", bytes(5000))),
        Gateways(
            (
                GatewayAt("ab" * 16, 15, ip_address("203.0.113.1")),
                GatewayAt("cd" * 16, 0, ip_address("203.0.113.5"), IPv6Address("2001:db8::1")),
            )
        ),
        Reported(b"{}", bytes(64)),
    ],
)
def test_sealed_messages_come_back_as_they_were(message: Sealed) -> None:
    assert parse_sealed(encode_sealed(message)) == message


@pytest.mark.parametrize(
    "fields",
    [
        {"say": "gateways", "gateways": [{"id": "ab" * 16, "number": 0, "address": "fe80::1%a } b"}]},
        {"say": "gateways", "gateways": [{"id": "ab" * 16, "number": 0, "address": 3405803777}]},
        {"say": "introduction", "certificate": "", "number": 2, "networks": ["fd00:1::%x;y/64"], "tunnels": []},
    ],
)
def test_an_address_with_more_than_an_address_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ChannelRefused):
        parse_sealed(json.dumps(fields).encode())


@given(st.binary(max_size=200) | st.from_regex(r'\{"say":"(renewal|acceptance|introduction)",.{0,80}\}', fullmatch=True).map(str.encode))
@settings(max_examples=200, deadline=None)
def test_whatever_is_sealed_is_a_message_or_is_refused(plaintext: bytes) -> None:
    try:
        message = parse_sealed(plaintext)
    except ChannelRefused:
        return
    assert parse_sealed(encode_sealed(message)) == message


@given(st.lists(st.tuples(st.sampled_from(FrameKind), st.binary(max_size=50)), max_size=5), st.integers(1, 7))
@settings(max_examples=50, deadline=None)
def test_frames_come_whole_however_they_are_cut(frames: list[tuple[FrameKind, bytes]], piece: int) -> None:
    sent = [Frame(*each) for each in frames]
    data = b"".join(frame.encode() for frame in sent)
    reader = FrameReader()
    assert [frame for at in range(0, len(data), piece) for frame in reader.feed(data[at : at + piece])] == sent


def test_a_frame_that_is_too_long_is_refused_before_it_is_read() -> None:
    with pytest.raises(ChannelRefused):
        FrameReader().feed((MAX_FRAME_BYTES + 1).to_bytes(4, "big"))


def test_addresses_of_tunnels_are_all_different_and_within_their_block() -> None:
    some = {tunnel_address(g, n, s) for g in (0, 1, 15) for n in (1, 2, 15) for s in (1, 2, 16382)}
    assert len(some) == 27
    assert all(address in ip_network("100.64.0.0/10") for address in some)
