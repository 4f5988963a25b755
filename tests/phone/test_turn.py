"""The relay's core in conversation with clients that are made of bytes: no socket, no clock."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tramontana.phone import stun, turn
from tramontana.phone.relay_order import MAX_DEVICES, Order, answered, encode_orders
from tramontana.phone.relay_secret import RelaySecret
from tramontana.phone.stun import Address, Attribute, Class, Method, StunMessage
from tramontana.phone.turn import TurnServer

HOST = "192.0.2.10"
SECRET = RelaySecret("a-secret-of-32-characters-or-more")
UNIX_S = 1_800_000_000.0
UDP = bytes([17, 0, 0, 0])


def relay(**options: object) -> TurnServer:
    return TurnServer(secret=SECRET, advertised_host=HOST, nonce_key=bytes(32), **options)  # type: ignore[arg-type]


@dataclass
class Phone:
    """A TURN client as RFC 8656 wants it."""

    server: TurnServer
    address: Address
    device: str = "device"
    now: float = 0.0
    expires_at: float = UNIX_S + 600
    realm: bytes = b"tramontana"
    nonce: bytes = b""
    relayed: Address = ("", 0)
    transactions: int = 0
    received: list[bytes] = field(default_factory=list)

    @property
    def key(self) -> bytes:
        return SECRET.long_term_key(f"{int(self.expires_at)}:{self.device}", "tramontana")

    def send(self, data: bytes) -> list[turn.Datagram]:
        return self.server.handle_datagram(data, self.address, self.now, UNIX_S + self.now)

    def request(
        self,
        method: Method,
        *attributes: tuple[Attribute, bytes],
        key: bytes | None = None,
        signed: bool = True,
        omit: Attribute | None = None,
        transaction_id: bytes | None = None,
    ) -> StunMessage:
        """One request; the answer, checked for its signature where one is due."""
        self.transactions += 1
        transaction_id = transaction_id or self.transactions.to_bytes(12, "big")
        username = f"{int(self.expires_at)}:{self.device}".encode()
        credentials = [(Attribute.USERNAME, username), (Attribute.REALM, self.realm), (Attribute.NONCE, self.nonce)]
        wanted = [*attributes, *(pair for pair in credentials if signed and pair[0] is not omit)]
        data = stun.encode(method, Class.REQUEST, transaction_id, wanted, key=(key or self.key) if signed else None)
        ((answer, destination),) = self.send(data)
        assert destination == self.address
        message = stun.parse(answer)
        assert (message.method, message.transaction_id) == (method, transaction_id)
        code = error_code(message)
        assert message.has_integrity(self.key) or not signed or code in (400, 401, 438)
        nonce = message.get(Attribute.NONCE)
        if nonce is not None:
            self.nonce = nonce
        return message

    def allocate(self) -> Phone:
        """Allocate in two steps, as every client does."""
        assert error_code(self.request(Method.ALLOCATE, (Attribute.REQUESTED_TRANSPORT, UDP), signed=False)) == 401
        answer = self.request(Method.ALLOCATE, (Attribute.REQUESTED_TRANSPORT, UDP))
        assert error_code(answer) is None
        self.relayed = address_in(answer, Attribute.XOR_RELAYED_ADDRESS)
        return self

    def peer(self, address: Address) -> tuple[Attribute, bytes]:
        return Attribute.XOR_PEER_ADDRESS, stun.pack_xor_address(address, (self.transactions + 1).to_bytes(12, "big"))

    def permit(self, peer: Phone) -> Phone:
        assert error_code(self.request(Method.CREATE_PERMISSION, self.peer(peer.relayed))) is None
        return self

    def bind(self, number: int, peer: Address) -> int | None:
        channel = (Attribute.CHANNEL_NUMBER, number.to_bytes(2, "big") + bytes(2))
        return error_code(self.request(Method.CHANNEL_BIND, channel, self.peer(peer)))

    def indicate(self, peer: Address, payload: bytes) -> list[turn.Datagram]:
        attributes = [(Attribute.XOR_PEER_ADDRESS, stun.pack_xor_address(peer, bytes(12))), (Attribute.DATA, payload)]
        return self.send(stun.encode(Method.SEND, Class.INDICATION, bytes(12), attributes))


def error_code(message: StunMessage) -> int | None:
    value = message.get(Attribute.ERROR_CODE)
    assert (value is None) is (message.message_class == Class.SUCCESS)
    return None if value is None else value[2] * 100 + value[3]


def address_in(message: StunMessage, attribute: Attribute) -> Address:
    value = message.get(attribute)
    assert value is not None
    return stun.parse_xor_address(value, message.transaction_id)


def lifetime(message: StunMessage) -> int:
    value = message.get(Attribute.LIFETIME)
    assert value is not None
    return int.from_bytes(value, "big")


def phone(server: TurnServer, number: int = 1, **options: object) -> Phone:
    return Phone(server, ("198.51.100.1", 40000 + number), **options)  # type: ignore[arg-type]


def pair(server: TurnServer) -> tuple[Phone, Phone]:
    """Two phones that permit each other."""
    a, b = phone(server, 1, device="a").allocate(), phone(server, 2, device="b").allocate()
    return a.permit(b), b.permit(a)


def payload_and_peer(datagram: turn.Datagram) -> tuple[bytes, Address]:
    message = stun.parse(datagram[0])
    assert (message.method, message.message_class) == (Method.DATA, Class.INDICATION)
    data = message.get(Attribute.DATA)
    assert data is not None
    return data, address_in(message, Attribute.XOR_PEER_ADDRESS)


# --- requests ---


def test_binding_tells_the_callers_address_without_credentials() -> None:
    caller = phone(relay())
    assert address_in(caller.request(Method.BINDING, signed=False), Attribute.XOR_MAPPED_ADDRESS) == caller.address


def test_an_allocation() -> None:
    server = relay()
    caller = phone(server)
    refusal = caller.request(Method.ALLOCATE, (Attribute.REQUESTED_TRANSPORT, UDP), signed=False)
    assert (error_code(refusal), refusal.get(Attribute.REALM)) == (401, b"tramontana")
    answer = caller.request(Method.ALLOCATE, (Attribute.REQUESTED_TRANSPORT, UDP))
    host, port = address_in(answer, Attribute.XOR_RELAYED_ADDRESS)
    assert host == HOST
    assert turn.RELAYED_PORT_FIRST <= port <= turn.RELAYED_PORT_LAST
    assert address_in(answer, Attribute.XOR_MAPPED_ADDRESS) == caller.address
    assert lifetime(answer) == turn.DEFAULT_LIFETIME_S
    assert server.allocations == 1


def test_a_repeated_request_gets_the_same_allocation_and_a_new_one_437() -> None:
    caller = phone(relay()).allocate()
    transaction_id = caller.transactions.to_bytes(12, "big")
    again = caller.request(Method.ALLOCATE, (Attribute.REQUESTED_TRANSPORT, UDP), transaction_id=transaction_id)
    assert address_in(again, Attribute.XOR_RELAYED_ADDRESS) == caller.relayed
    assert error_code(caller.request(Method.ALLOCATE, (Attribute.REQUESTED_TRANSPORT, UDP))) == 437


@pytest.mark.parametrize(
    ("attributes", "code"),
    [
        ([], 400),
        ([(Attribute.REQUESTED_TRANSPORT, b"\x11")], 400),
        ([(Attribute.REQUESTED_TRANSPORT, bytes([6, 0, 0, 0]))], 442),
        ([(Attribute.REQUESTED_TRANSPORT, UDP), (Attribute.REQUESTED_ADDRESS_FAMILY, bytes([2, 0, 0, 0]))], 440),
        ([(Attribute.REQUESTED_TRANSPORT, UDP), (Attribute.REQUESTED_ADDRESS_FAMILY, bytes([1, 0, 0, 0]))], None),
        ([(Attribute.REQUESTED_TRANSPORT, UDP), (Attribute.EVEN_PORT, b"\x00")], 508),
        ([(Attribute.REQUESTED_TRANSPORT, UDP), (Attribute.RESERVATION_TOKEN, bytes(8))], 508),
        ([(Attribute.REQUESTED_TRANSPORT, UDP), (Attribute.RESERVATION_TOKEN, bytes(8)), (Attribute.EVEN_PORT, b"\x00")], 400),
        ([(Attribute.REQUESTED_TRANSPORT, UDP), (Attribute.LIFETIME, b"\x00")], 400),
    ],
)
def test_what_an_allocation_may_ask_for(attributes: list[tuple[Attribute, bytes]], code: int | None) -> None:
    server = relay()
    caller = phone(server)
    caller.request(Method.ALLOCATE, signed=False)
    assert error_code(caller.request(Method.ALLOCATE, *attributes)) == code
    assert server.allocations == (code is None)


def test_unknown_required_attributes_are_listed() -> None:
    caller = phone(relay())
    caller.request(Method.ALLOCATE, signed=False)
    data = stun.encode(
        Method.ALLOCATE,
        Class.REQUEST,
        bytes(12),
        [
            (0x7001, b"?"),  # type: ignore[list-item]
            (Attribute.USERNAME, f"{int(caller.expires_at)}:device".encode()),
            (Attribute.REALM, caller.realm),
            (Attribute.NONCE, caller.nonce),
            (0xF001, b"an optional one is no trouble"),  # type: ignore[list-item]
        ],
        key=caller.key,
    )
    answer = stun.parse(caller.send(data)[0][0])
    assert (error_code(answer), answer.get(Attribute.UNKNOWN_ATTRIBUTES)) == (420, b"\x70\x01")


# --- credentials ---


@pytest.mark.parametrize("omitted", [Attribute.USERNAME, Attribute.REALM, Attribute.NONCE])
def test_incomplete_credentials_are_400(omitted: Attribute) -> None:
    caller = phone(relay())
    caller.request(Method.ALLOCATE, signed=False)
    assert error_code(caller.request(Method.ALLOCATE, (Attribute.REQUESTED_TRANSPORT, UDP), omit=omitted)) == 400


@pytest.mark.parametrize(
    "spoil",
    [
        lambda caller: setattr(caller, "expires_at", UNIX_S),
        lambda caller: setattr(caller, "expires_at", UNIX_S - 3600),
        lambda caller: setattr(caller, "device", ""),
        lambda caller: setattr(caller, "realm", b"elsewhere"),
    ],
)
def test_wrong_credentials_are_401(spoil: Callable[[Phone], None]) -> None:
    server = relay()
    caller = phone(server)
    spoil(caller)
    caller.request(Method.ALLOCATE, signed=False)
    data = [(Attribute.REQUESTED_TRANSPORT, UDP)]
    username = f"{int(caller.expires_at)}:{caller.device}".encode()
    credentials = [(Attribute.USERNAME, username), (Attribute.REALM, caller.realm), (Attribute.NONCE, caller.nonce)]
    answer = caller.send(stun.encode(Method.ALLOCATE, Class.REQUEST, bytes(12), data + credentials, key=caller.key))
    assert error_code(stun.parse(answer[0][0])) == 401
    assert server.allocations == 0


def test_a_wrong_signature_is_401() -> None:
    caller = phone(relay())
    caller.request(Method.ALLOCATE, signed=False)
    assert error_code(caller.request(Method.ALLOCATE, (Attribute.REQUESTED_TRANSPORT, UDP), key=bytes(16))) == 401


def test_a_nonce_ends_and_belongs_to_one_address() -> None:
    server = relay()
    caller = phone(server).allocate()
    caller.now = turn.NONCE_LIFETIME_S + 1.0
    other = phone(server, 2, nonce=caller.nonce, now=1.0)
    assert error_code(other.request(Method.ALLOCATE, (Attribute.REQUESTED_TRANSPORT, UDP))) == 438
    assert error_code(other.request(Method.ALLOCATE, (Attribute.REQUESTED_TRANSPORT, UDP))) is None  # with the nonce of the refusal
    other.now = caller.now
    other.nonce, old = b"", other.nonce
    for nonce in (old, b"", b"-", b"zz-0", b"f" * 200, old + b"0"):
        other.nonce = nonce
        assert error_code(other.request(Method.REFRESH)) == 438


def test_another_user_on_the_same_socket_is_441() -> None:
    caller = phone(relay()).allocate()
    caller.device = "other"
    assert error_code(caller.request(Method.REFRESH)) == 441


def test_a_long_call_outlives_its_credential_but_not_the_age_limit() -> None:
    server = relay()
    caller = phone(server, expires_at=UNIX_S + 60).allocate()
    while caller.now < turn.MAX_ALLOCATION_AGE_S - 600:
        caller.now += 500
        answer = caller.request(Method.REFRESH)
        if error_code(answer) == 438:
            answer = caller.request(Method.REFRESH)
        assert error_code(answer) is None
        assert lifetime(answer) > 0
    granted = lifetime(answer)
    assert caller.now + granted <= turn.MAX_ALLOCATION_AGE_S
    server.handle_timer(caller.now + granted)
    assert server.allocations == 0
    caller.nonce = b""
    assert error_code(caller.request(Method.ALLOCATE, (Attribute.REQUESTED_TRANSPORT, UDP))) == 438
    assert stun.parse(caller.send(signed_allocate(caller))[0][0]).message_class == Class.ERROR  # the credential has expired


def signed_allocate(caller: Phone) -> bytes:
    username = f"{int(caller.expires_at)}:{caller.device}".encode()
    attributes = [(Attribute.REQUESTED_TRANSPORT, UDP), (Attribute.USERNAME, username)]
    attributes += [(Attribute.REALM, caller.realm), (Attribute.NONCE, caller.nonce)]
    return stun.encode(Method.ALLOCATE, Class.REQUEST, b"x" * 12, attributes, key=caller.key)


# --- bounds and lifetimes ---


def test_quota_of_a_device_and_bound_of_all() -> None:
    server = relay(max_allocations=3, max_allocations_per_device=2)
    for number, device, code in [(1, "a", None), (2, "a", None), (3, "a", 486), (4, "b", None), (5, "c", 508)]:
        caller = phone(server, number, device=device)
        caller.request(Method.ALLOCATE, signed=False)
        assert error_code(caller.request(Method.ALLOCATE, (Attribute.REQUESTED_TRANSPORT, UDP))) == code
    caller = phone(server, 1, device="a", nonce=b"")
    caller.request(Method.REFRESH)
    assert error_code(caller.request(Method.REFRESH, (Attribute.LIFETIME, bytes(4)))) is None
    caller = phone(server, 6, device="a").allocate()  # the place is free again


def test_whoever_calls_often_displaces_his_silent_allocations_and_no_call_in_progress() -> None:
    server = relay(max_allocations_per_device=3)
    ada, bruno = pair(server)  # in a call, each with an allocation of his own
    old = [phone(server, number, device=ada.device, now=float(number)).allocate() for number in (11, 12)]
    for each in (ada, bruno):
        each.now = 12.0 + turn.IN_USE_S
    assert ada.indicate(bruno.relayed, b"speech")
    phone(server, 13, device=ada.device, now=ada.now).allocate()
    assert server.counts["allocations_displaced"] == 1
    assert error_code(old[0].request(Method.REFRESH)) == 437
    assert ada.indicate(bruno.relayed, b"speech")
    assert bruno.indicate(ada.relayed, b"speech")
    phone(server, 14, device=ada.device, now=ada.now).allocate()
    assert error_code(old[1].request(Method.REFRESH)) == 437
    fourth = phone(server, 15, device=ada.device, now=ada.now)
    fourth.request(Method.ALLOCATE, signed=False)
    assert error_code(fourth.request(Method.ALLOCATE, (Attribute.REQUESTED_TRANSPORT, UDP))) == 486  # all three are in use


def test_refreshing_with_zero_ends_it_and_its_port_rests() -> None:
    server = relay(random_below=lambda _: 0)
    caller = phone(server).allocate()
    assert caller.relayed == (HOST, turn.RELAYED_PORT_FIRST)
    assert lifetime(caller.request(Method.REFRESH, (Attribute.LIFETIME, bytes(4)))) == 0
    assert server.allocations == 0
    assert error_code(caller.request(Method.REFRESH)) == 437
    assert caller.allocate().relayed == (HOST, turn.RELAYED_PORT_FIRST + 1)
    third = phone(server, 3, now=turn.RELAYED_PORT_REST_S + 1.0).allocate()
    assert third.relayed == (HOST, turn.RELAYED_PORT_FIRST)


def test_lifetimes_are_kept_within_bounds() -> None:
    caller = phone(relay()).allocate()
    for asked, granted in [(10, turn.DEFAULT_LIFETIME_S), (1000, 1000), (10**6, turn.MAX_LIFETIME_S)]:
        assert lifetime(caller.request(Method.REFRESH, (Attribute.LIFETIME, asked.to_bytes(4, "big")))) == granted


def test_an_allocation_that_is_not_refreshed_ends() -> None:
    server = relay()
    a, b = pair(server)
    a.now = 300.0
    a.request(Method.REFRESH)
    a.permit(b)
    deadline = server.next_timer()
    assert deadline == turn.DEFAULT_LIFETIME_S
    server.handle_timer(deadline)
    assert server.allocations == 1
    a.now = deadline
    assert a.indicate(b.relayed, b"hello?") == []
    assert server.counts["dropped_no_peer"] + server.counts["dropped_no_permission"] == 1
    while (timer := server.next_timer()) is not None:
        server.handle_timer(timer)
    assert server.allocations == 0


# --- peers ---


@pytest.mark.parametrize(
    ("peer", "code"),
    [
        (("192.0.2.11", 50000), 403),
        (("127.0.0.1", 50000), 403),
        ((HOST, 22), 403),
        ((HOST, turn.RELAYED_PORT_FIRST - 1), 403),
        (("2001:db8::1", 50000), 443),
        ((HOST, turn.RELAYED_PORT_FIRST), None),
    ],
)
def test_only_relayed_addresses_can_be_peers(peer: Address, code: int | None) -> None:
    server = relay()
    caller = phone(server).allocate()
    assert error_code(caller.request(Method.CREATE_PERMISSION, caller.peer(peer))) == code
    assert caller.bind(0x4000, peer) == code
    assert caller.indicate(peer, b"payload") == []


def test_a_permission_needs_a_peer_and_grants_all_or_none() -> None:
    server = relay()
    a, b = phone(server, 1).allocate(), phone(server, 2).allocate()
    b.permit(a)
    assert error_code(a.request(Method.CREATE_PERMISSION)) == 400
    assert error_code(a.request(Method.CREATE_PERMISSION, (Attribute.XOR_PEER_ADDRESS, b"short"))) == 400
    assert error_code(a.request(Method.CREATE_PERMISSION, a.peer(b.relayed), a.peer(("203.0.113.1", 50000)))) == 403
    assert a.indicate(b.relayed, b"x") == []
    assert len(a.permit(b).indicate(b.relayed, b"x")) == 1


def test_permissions_and_channels_are_bounded() -> None:
    caller = phone(relay()).allocate()
    peers = [(HOST, turn.RELAYED_PORT_FIRST + number) for number in range(turn.MAX_PEERS_PER_ALLOCATION + 1)]
    codes = [caller.bind(0x4000 + number, peer) for number, peer in enumerate(peers)]
    assert codes == [None] * turn.MAX_PEERS_PER_ALLOCATION + [508]
    assert error_code(caller.request(Method.CREATE_PERMISSION, caller.peer(peers[-1]))) == 508
    assert error_code(caller.request(Method.CREATE_PERMISSION, caller.peer(peers[0]))) is None
    caller.now = turn.PERMISSION_LIFETIME_S + 1.0
    assert error_code(caller.request(Method.CREATE_PERMISSION, caller.peer(peers[-1]))) is None


def test_a_channel_is_for_one_peer() -> None:
    server = relay()
    caller, one, two = (phone(server, number).allocate() for number in (1, 2, 3))
    assert caller.bind(0x3FFF, one.relayed) == 400
    assert caller.bind(0x5000, one.relayed) == 400
    assert caller.bind(0x4000, one.relayed) is None
    assert caller.bind(0x4000, one.relayed) is None
    assert caller.bind(0x4000, two.relayed) == 400
    assert caller.bind(0x4001, one.relayed) == 400
    caller.now = turn.CHANNEL_LIFETIME_S - 50.0
    caller.request(Method.REFRESH)
    caller.now = turn.CHANNEL_LIFETIME_S + 1.0
    assert caller.bind(0x4000, two.relayed) is None


# --- media ---


def test_send_becomes_data_and_channel_becomes_channel() -> None:
    server = relay()
    a, b = pair(server)
    (datagram,) = a.indicate(b.relayed, b"\x80rtp")
    assert datagram[1] == b.address
    assert payload_and_peer(datagram) == (b"\x80rtp", a.relayed)
    assert b.bind(0x4001, a.relayed) is None
    assert a.indicate(b.relayed, b"odd") == [(b"\x40\x01\x00\x03odd", b.address)]
    assert a.bind(0x4ABC, b.relayed) is None
    assert a.send(b"\x4a\xbc\x00\x04four") == [(b"\x40\x01\x00\x04four", b.address)]
    assert a.send(b"\x4a\xbc\x00\x00") == [(b"\x40\x01\x00\x00", b.address)]
    assert a.send(b"\x4a\xbc\x00\x03odd\x00") == [(b"\x40\x01\x00\x03odd", b.address)]  # padded, as over TCP
    ((reply, destination),) = b.send(b"\x40\x01\x00\x02ok")
    assert (reply, destination) == (b"\x4a\xbc\x00\x02ok", a.address)
    assert server.counts["relayed"] == 6


@pytest.mark.parametrize("data", [b"\x40\x01", b"\x40\x01\x00\x05four", b"\x40\x02\x00\x04four", b"\x4f\xff\xff\xff"])
def test_wrong_channel_data_is_dropped(data: bytes) -> None:
    a, b = pair(relay())
    assert a.bind(0x4001, b.relayed) is None
    assert a.send(data) == []


def test_both_ends_must_permit() -> None:
    server = relay()
    a, b = phone(server, 1).allocate(), phone(server, 2).allocate()
    assert a.indicate(b.relayed, b"x") == []
    a.permit(b)
    assert a.indicate(b.relayed, b"x") == []
    assert (server.counts["dropped_no_permission"], server.counts["dropped_not_permitted_by_peer"]) == (1, 1)
    b.permit(a)
    assert len(a.indicate(b.relayed, b"x")) == 1


def test_whoever_was_not_permitted_cannot_reach_into_a_call() -> None:
    """Narrower than RFC 8656 §9, where one permission would open all relayed addresses, as they share one host."""
    server = relay()
    a, b = pair(server)
    stranger = phone(server, 3, device="stranger").allocate().permit(a).permit(b)
    assert stranger.indicate(a.relayed, b"x") == []
    assert stranger.indicate(b.relayed, b"x") == []
    assert len(a.indicate(b.relayed, b"x")) == 1


def test_permissions_and_channels_end() -> None:
    server = relay()
    a, b = pair(server)
    a.bind(0x4000, b.relayed)
    a.now = turn.PERMISSION_LIFETIME_S - 0.1
    assert len(a.send(b"\x40\x00\x00\x01x")) == 1
    a.now = turn.PERMISSION_LIFETIME_S + 0.1
    assert a.send(b"\x40\x00\x00\x01x") == []
    a.permit(b)
    assert server.counts["dropped_no_permission"] == 1
    b.now = a.now
    b.permit(a)
    assert len(a.send(b"\x40\x00\x00\x01x")) == 1


def test_a_channel_ends_though_its_permission_goes_on() -> None:
    server = relay()
    a, b = pair(server)
    a.bind(0x4000, b.relayed)
    for instant in (250.0, 500.0):
        a.now = b.now = instant
        for one, other in ((a, b), (b, a)):
            one.request(Method.REFRESH)
            one.permit(other)
    a.now = b.now = turn.CHANNEL_LIFETIME_S - 0.1
    assert b.indicate(a.relayed, b"x") == [(b"\x40\x00\x00\x01x", a.address)]
    a.now = b.now = turn.CHANNEL_LIFETIME_S + 0.1
    assert a.send(b"\x40\x00\x00\x01x") == []
    assert server.counts["dropped_no_channel"] == 1
    assert payload_and_peer(b.indicate(a.relayed, b"x")[0]) == (b"x", b.relayed)


def test_an_indication_without_data_or_from_nobody_is_dropped_in_silence() -> None:
    server = relay()
    a, b = pair(server)
    peer = (Attribute.XOR_PEER_ADDRESS, stun.pack_xor_address(b.relayed, bytes(12)))
    assert a.send(stun.encode(Method.SEND, Class.INDICATION, bytes(12), [peer])) == []
    assert a.send(stun.encode(Method.SEND, Class.INDICATION, bytes(12), [(Attribute.DATA, b"x")])) == []
    assert phone(server, 9).indicate(b.relayed, b"x") == []
    assert phone(server, 9).send(b"\x40\x00\x00\x01x") == []


# --- strangers ---


@given(st.binary(max_size=120) | st.binary(max_size=60).map(lambda tail: b"\x40\x00\x00\x04" + tail))
@settings(max_examples=300, deadline=None)
def test_noise_is_never_answered(data: bytes) -> None:
    server = relay()
    a, _ = pair(server)
    stranger = phone(server, 9)
    assert stranger.send(data) == []
    assert a.send(data) == []


@given(data=st.data())
@settings(max_examples=300, deadline=None)
def test_whatever_a_stranger_sends_he_gets_one_short_answer_or_none_and_no_third_party_gets_any(data: st.DataObject) -> None:
    server = relay()
    pair(server)
    stranger = phone(server, 9)
    values = st.binary(max_size=24) | st.just(UDP) | st.just(stun.pack_xor_address(("203.0.113.1", 53), bytes(12)))
    known = st.sampled_from([kind for kind in Attribute if kind not in (Attribute.FINGERPRINT, Attribute.MESSAGE_INTEGRITY)])
    attributes = data.draw(st.lists(st.tuples(known, values), max_size=8))
    method, kind = data.draw(st.sampled_from(Method)), data.draw(st.sampled_from(Class))
    key = data.draw(st.none() | st.binary(min_size=16, max_size=16))
    sent = stun.encode(method, kind, bytes(12), attributes, key=key, fingerprint=data.draw(st.booleans()))
    answers = stranger.send(sent)
    assert len(answers) <= (kind is Class.REQUEST)
    for answer, destination in answers:
        assert destination == stranger.address
        assert len(answer) <= 140
    assert server.allocations == 2


def test_secrets_do_not_show_in_representations() -> None:
    server = relay()
    caller = phone(server).allocate()
    shown = repr(vars(server))
    assert repr(caller.key)[2:-1] not in shown
    assert "characters-or-more" not in shown


# --- orders of the server ---

SERVER: Address = ("203.0.113.1", 50000)
LOST, KEPT = "0a" * 16, "0b" * 16


def order(
    server: TurnServer,
    *revoked: str,
    in_force: tuple[str, ...] = (),
    secret: RelaySecret = SECRET,
    now: float = 1.0,
    at: float | None = None,
) -> list[turn.Datagram]:
    """The answers to an order about these devices, which the server made at `at`."""
    made = encode_orders(
        secret,
        Order(UNIX_S + (now if at is None else at), revoked, in_force),
        iter([number.to_bytes(12, "big") for number in range(1, 99)]),
    )
    return [answer for datagram in made.values() for answer in server.handle_datagram(datagram, SERVER, now, UNIX_S + now)]


def test_a_revoked_device_loses_its_way_at_once_and_gets_no_other() -> None:
    server = relay()
    lost, kept = phone(server, 1, device=LOST).allocate(), phone(server, 2, device=KEPT).allocate()
    lost.permit(kept)
    kept.permit(lost)
    assert lost.indicate(kept.relayed, b"sound")
    ((answer, destination),) = order(server, LOST, "0c" * 16)
    assert (answered(answer, SECRET), destination) == ((1).to_bytes(12, "big"), SERVER)
    assert lost.indicate(kept.relayed, b"sound") == []
    assert kept.indicate(lost.relayed, b"sound") == []
    assert server.counts["allocations_shut_out"] == 1
    assert error_code(lost.request(Method.ALLOCATE, (Attribute.REQUESTED_TRANSPORT, UDP))) == 403
    other = phone(server, 3, device=LOST)
    assert error_code(other.request(Method.ALLOCATE, (Attribute.REQUESTED_TRANSPORT, UDP), signed=False)) == 401
    assert error_code(other.request(Method.ALLOCATE, (Attribute.REQUESTED_TRANSPORT, UDP))) == 403
    phone(server, 4, device=KEPT).allocate()
    assert server.allocations == 2


def test_an_order_is_forgotten_when_every_credential_of_before_is_over() -> None:
    server = relay()
    order(server, LOST, now=1.0)
    order(server, LOST, KEPT, now=100.0)
    early = phone(server, device=LOST, now=99.0 + turn.SHUT_OUT_S, expires_at=UNIX_S + turn.SHUT_OUT_S + 600)
    early.request(Method.ALLOCATE, (Attribute.REQUESTED_TRANSPORT, UDP), signed=False)
    assert error_code(early.request(Method.ALLOCATE, (Attribute.REQUESTED_TRANSPORT, UDP))) == 403
    early.now += 2
    assert error_code(early.request(Method.ALLOCATE, (Attribute.REQUESTED_TRANSPORT, UDP))) is None


def test_a_device_that_is_certified_again_is_let_in_and_an_older_order_does_not_shut_it_out() -> None:
    server = relay()
    (revoked,) = encode_orders(SECRET, Order(UNIX_S + 1, (LOST,), ()), iter([bytes(12)])).values()
    assert server.handle_datagram(revoked, SERVER, 1.0, UNIX_S + 1)
    again = phone(server, device=LOST)
    again.request(Method.ALLOCATE, (Attribute.REQUESTED_TRANSPORT, UDP), signed=False)
    assert error_code(again.request(Method.ALLOCATE, (Attribute.REQUESTED_TRANSPORT, UDP))) == 403
    assert order(server, in_force=(LOST,), now=3.0, at=0.5)  # it was made before the revocation, and comes late
    assert error_code(again.request(Method.ALLOCATE, (Attribute.REQUESTED_TRANSPORT, UDP))) == 403
    assert order(server, in_force=(LOST,), now=3.0)
    assert error_code(again.request(Method.ALLOCATE, (Attribute.REQUESTED_TRANSPORT, UDP))) is None
    assert server.handle_datagram(revoked, SERVER, 4.0, UNIX_S + 4)
    assert server.allocations == 1
    anew = relay()
    assert anew.handle_datagram(revoked, SERVER, 0.0, UNIX_S + 2 + turn.ORDER_FRESH_S) == []


def test_orders_of_anybody_else_change_nothing_and_get_no_answer() -> None:
    server = relay()
    there = phone(server, device=LOST).allocate()
    assert order(server, LOST, secret=RelaySecret("another-secret-of-32-characters!")) == []
    (good,) = encode_orders(SECRET, Order(UNIX_S, (LOST,), ()), iter([bytes(12)])).values()
    for at in range(len(good)):
        assert server.handle_datagram(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :], SERVER, 1.0, UNIX_S) == []
    # Whoever has a credential of the relay cannot order: another key.
    forged = stun.encode(
        Method.SHUT_OUT, Class.REQUEST, bytes(12), [(Attribute.DATA, bytes(8) + b"\x01" + bytes.fromhex(LOST))], key=there.key
    )
    assert server.handle_datagram(forged, SERVER, 1.0, UNIX_S) == []
    assert server.allocations == 1


def test_many_orders_go_in_several_datagrams_that_no_path_splits() -> None:
    server = relay()
    devices = [f"{number:032x}" for number in range(3 * MAX_DEVICES + 1)]
    made = encode_orders(SECRET, Order(UNIX_S, tuple(devices), ()), iter([number.to_bytes(12, "big") for number in range(9)]))
    assert len(made) == 4
    assert max(map(len, made.values())) < 1200
    for transaction_id, datagram in made.items():
        ((answer, _),) = server.handle_datagram(datagram, SERVER, 1.0, UNIX_S)
        assert answered(answer, SECRET) == transaction_id
        assert answered(answer, RelaySecret("another-secret-of-32-characters!")) is None
    last = phone(server, device=devices[-1])
    last.request(Method.ALLOCATE, (Attribute.REQUESTED_TRANSPORT, UDP), signed=False)
    assert error_code(last.request(Method.ALLOCATE, (Attribute.REQUESTED_TRANSPORT, UDP))) == 403
