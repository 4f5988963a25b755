"""The forwarder's parts without sockets: tickets, offers, RTP, choice of the loudest, renumbering, and what strangers may send."""

from __future__ import annotations

import base64
import json
import secrets
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tramontana.phone import stun
from tramontana.phone.floor import TALK_BURST_S
from tramontana.phone.forwarder import rtp
from tramontana.phone.forwarder.control_protocol import (
    Connect,
    Disconnect,
    Drain,
    FloorRelease,
    FloorRequest,
    Request,
    RequestRefused,
    Stats,
    Watch,
    parse_answer,
    parse_request,
)
from tramontana.phone.forwarder.core import EMPTY_ROOM_S, USE_CANDIDATE, Forwarder
from tramontana.phone.forwarder.dtls import PROFILES, DtlsCertificate, SrtpKeys
from tramontana.phone.forwarder.loudest import GONE_S, Loudest
from tramontana.phone.forwarder.room import Room
from tramontana.phone.forwarder.rtp import MalformedRtp, Reception, ReportBlock, RtpPacket
from tramontana.phone.forwarder.sdp import MAX_OFFER_CHARACTERS, OfferRefused, parse_offer, write_answer
from tramontana.phone.forwarder.session import CONSENT_S, FIRST_SEQUENCE, PACKETS_AT_ONCE, Session
from tramontana.phone.forwarder.ticket import Kind, Ticket, TicketRefused, issue_ticket, verify_ticket
from tramontana.phone.relay_secret import RelaySecret
from tramontana.phone.stun import Attribute, Class, Method
from tramontana.precedence import Precedence

SECRET = RelaySecret("a secret of the tests, 32 characters")
CERTIFICATE = DtlsCertificate.at(1_800_000_000.0)
CONTEXT = CERTIFICATE.context()
FINGERPRINT = ":".join(["AB"] * 32)
UNIX_S = 1_800_000_000.0


def offer_text(sections: int = 1, *, red: int = 63, opus: int = 111, direction: str = "sendrecv", fingerprint: str = FINGERPRINT) -> str:
    """An offer as a browser writes it, shortened."""
    mids = " ".join(str(mid) for mid in range(sections))
    lines = ["v=0", "o=- 1 2 IN IP4 127.0.0.1", "s=-", "t=0 0", f"a=group:BUNDLE {mids}", "a=extmap-allow-mixed"]
    for mid in range(sections):
        lines += [
            f"m=audio 9 UDP/TLS/RTP/SAVPF {red} {opus} 9",
            "c=IN IP4 0.0.0.0",
            "a=rtcp:9 IN IP4 0.0.0.0",
            "a=ice-ufrag:abcd",
            "a=ice-pwd:0123456789abcdef01234567",
            "a=ice-options:trickle",
            f"a=fingerprint:sha-256 {fingerprint}",
            "a=setup:actpass",
            f"a=mid:{mid}",
            "a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level",
            f"a={direction if mid == 0 else 'recvonly'}",
            "a=rtcp-mux",
            f"a=rtpmap:{red} red/48000/2",
            f"a=fmtp:{red} {opus}/{opus}",
            f"a=rtpmap:{opus} opus/48000/2",
            "a=rtpmap:9 G722/8000",
        ]
    return "\r\n".join(lines) + "\r\n"


# --- tickets ---


def ticket_for(offer: str, **changes: object) -> str:
    said = {"call_id": "c", "kind": Kind.TALK, "device_id": "ada", "may_speak": True, "expires_at_unix_s": UNIX_S + 60, **changes}
    return issue_ticket(SECRET, offer=offer, **said)  # type: ignore[arg-type]


def test_ticket_says_what_was_issued() -> None:
    for may_speak in (True, False):
        ticket = verify_ticket(SECRET, ticket_for("offer", may_speak=may_speak), offer="offer", unix_s=UNIX_S)
        assert replace(ticket, offer_sha256="") == Ticket("c", Kind.TALK, "ada", may_speak, "", int(UNIX_S) + 60)


@given(position=st.integers(0, 10_000), bit=st.integers(0, 7), cut=st.integers(0, 3))
def test_ticket_with_any_change_is_refused(position: int, bit: int, cut: int) -> None:
    text = ticket_for("offer")
    octets = bytearray(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    octets[position % len(octets)] ^= 1 << bit
    changed = base64.urlsafe_b64encode(bytes(octets[: len(octets) - cut])).decode().rstrip("=")
    with pytest.raises(TicketRefused):
        verify_ticket(SECRET, changed, offer="offer", unix_s=UNIX_S)


@given(st.text(max_size=1100))
def test_what_is_no_ticket_is_refused(text: str) -> None:
    with pytest.raises(TicketRefused):
        verify_ticket(SECRET, text, offer="offer", unix_s=UNIX_S)


def test_ticket_expires_and_is_bound_to_its_offer() -> None:
    with pytest.raises(TicketRefused, match="expired"):
        verify_ticket(SECRET, ticket_for("offer"), offer="offer", unix_s=UNIX_S + 60)
    with pytest.raises(TicketRefused, match="another offer"):
        verify_ticket(SECRET, ticket_for("offer"), offer="other", unix_s=UNIX_S)
    with pytest.raises(TicketRefused, match="not of this service"):
        verify_ticket(RelaySecret("b" * 32), ticket_for("offer"), offer="offer", unix_s=UNIX_S)


# --- offers ---

SCRAPS = ["", "a=", "m=", "m=audio", "a=mid:", "a=group:BUNDLE ", "x", "a=fingerprint:sha-256"]


def test_offer_of_a_browser_and_its_answer() -> None:
    offer = parse_offer(offer_text(3))
    assert [section.mid for section in offer.sections] == ["0", "1", "2"]
    assert [(section.sends, section.receives) for section in offer.sections] == [(True, True), (False, True), (False, True)]
    assert offer.fingerprint == bytes.fromhex("ab" * 32)
    common = {"ssrcs": [11, 12, 13], "ufrag": "u", "password": "p", "fingerprint": "F", "candidate": ("192.0.2.1", 4000)}
    answer = write_answer(offer, may_speak=True, slots=3, **common)  # type: ignore[arg-type]
    assert [line for line in answer.split("\r\n") if line in ("a=sendrecv", "a=sendonly", "a=inactive")] == [
        "a=sendrecv",
        "a=sendonly",
        "a=sendonly",
    ]
    assert "a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\n" in answer
    assert "a=candidate:1 1 udp 2130706431 192.0.2.1 4000 typ host\r\n" in answer
    listening = write_answer(offer, may_speak=False, slots=1, **common)  # type: ignore[arg-type]
    assert listening.count("a=sendonly") == 1
    assert listening.count("a=inactive") == 2
    assert "sendrecv" not in listening


@pytest.mark.parametrize(
    ("wrong", "right", "reason"),
    [
        ("red/48000/2", "green/48000/2", "both"),
        ("a=rtcp-mux", "a=x", "rtcp-mux"),
        ("a=group:BUNDLE 0 1", "a=group:BUNDLE 0", "bundle"),
        ("setup:actpass", "setup:passive", "DTLS"),
        ("sha-256", "sha-1", "SHA-256"),
        ("ice-pwd:0123456789abcdef01234567", "ice-pwd:short", "ice-pwd"),
        ("m=audio 9", "m=video 9", "only audio"),
        ("a=mid:1", "a=mid:0", "bundle"),
        ("v=0", "v=1", "session description"),
        ("t=0 0", "a=ice-lite", "full ICE agent"),
    ],
)
def test_offer_that_cannot_be_answered_is_refused(wrong: str, right: str, reason: str) -> None:
    text = offer_text(2)
    assert wrong in text
    with pytest.raises(OfferRefused, match=reason):
        parse_offer(text.replace(wrong, right))


def test_offer_has_at_most_three_sections_and_16_kib() -> None:
    parse_offer(offer_text(3))
    with pytest.raises(OfferRefused):
        parse_offer(offer_text(4))
    with pytest.raises(OfferRefused):
        parse_offer(offer_text() + "a=x\r\n" * MAX_OFFER_CHARACTERS)


@given(st.lists(st.tuples(st.integers(0, 40), st.sampled_from(SCRAPS))))
def test_mutilated_offer_raises_nothing_else(changes: list[tuple[int, str]]) -> None:
    lines = offer_text(2).split("\r\n")
    for position, text in changes:
        lines[position % len(lines)] = text
    with suppress(OfferRefused):
        parse_offer("\r\n".join(lines))


# --- RTP and RTCP ---


@given(st.binary(max_size=200), st.integers(1, 14))
def test_foreign_octets_are_parsed_or_refused(data: bytes, level_id: int) -> None:
    for read in (lambda: rtp.parse_rtp(data, level_id), lambda: list(rtp.parse_reports(data)), lambda: rtp.ssrc_of(data)):
        with suppress(MalformedRtp):
            read()


@given(
    st.integers(0, 127),
    st.integers(0, 65535),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**32 - 1),
    st.integers(0, 127),
    st.integers(1, 14),
    st.binary(max_size=50),
    st.integers(0, 20),
)
def test_header_with_extension_and_padding(
    payload_type: int, sequence: int, timestamp: int, ssrc: int, level: int, level_id: int, payload: bytes, padding: int
) -> None:
    other = level_id % 14 + 1
    extension = bytes([other << 4 | 1, 7, 7, 0, level_id << 4, 0x80 | level, 0, 0])
    plain = rtp.encode_header(payload_type, sequence, timestamp, ssrc)
    first = 0x90 | (0x20 if padding else 0)
    tail = bytes(padding - 1) + bytes([padding]) if padding else b""
    data = bytes([first]) + plain[1:] + b"\xbe\xde\x00\x02" + extension + payload + tail
    assert rtp.parse_rtp(data, level_id) == RtpPacket(payload_type, sequence, timestamp, ssrc, level, payload)
    assert rtp.parse_rtp(data, None).level is None


def test_reports_round_trip() -> None:
    block = ReportBlock(7, 12, -3, 70_000, 5, 99, 100)
    compound = rtp.encode_sender_report(1, UNIX_S, 2, 3, 4) + rtp.encode_receiver_report(9, [block]) + rtp.encode_cname(9, "tramontana")
    sender, receiver = rtp.parse_reports(compound)
    assert (sender.ssrc, sender.ntp, sender.blocks) == (1, rtp.ntp_time(UNIX_S), ())
    assert (receiver.ssrc, receiver.ntp, receiver.blocks) == (9, None, (block,))
    assert rtp.is_rtcp(compound)
    assert not rtp.is_rtcp(rtp.encode_header(111, 1, 1, 1, marker=True))


@given(st.lists(st.booleans(), min_size=2, max_size=300), st.integers(0, 65535))
def test_loss_is_counted_across_the_wrap(arrives: list[bool], first: int) -> None:
    arrives[0] = arrives[-1] = True
    reception = Reception(1)
    for number, came in enumerate(arrives):
        if came:
            reception.heard(RtpPacket(111, (first + number) & 0xFFFF, 960 * number, 1, None, b"x"), now=0.02 * number)
    report = reception.report(now=10.0)
    lost = arrives.count(False)
    assert report.lost == lost
    assert report.fraction_lost == (lost << 8) // len(arrives)
    assert report.highest_sequence == first + len(arrives) - 1
    assert report.jitter == 0
    assert reception.report(now=11.0).fraction_lost == 0


# --- the loudest ---


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.one_of(st.none(), st.integers(0, 127)), st.floats(0, 1)), max_size=200))
def test_never_more_than_the_slots_and_never_twice(packets: list[tuple[str, int | None, float]]) -> None:
    chooser, now = Loudest(3), 0.0
    for name, level, pause in packets:
        now += pause
        slot = chooser.heard(name, level, now)
        assert (slot is None) == (name not in chooser.holders)
        if slot is not None:
            assert chooser.holders[slot] == name
        held = [holder for holder in chooser.holders if holder is not None]
        assert len(set(held)) == len(held)


@given(st.permutations("abcdef"), st.sets(st.sampled_from("abcdef"), min_size=3, max_size=3))
def test_the_loud_are_heard_within_60_ms_and_stay(order: list[str], loud: set[str]) -> None:
    chooser = Loudest(3)
    for step in range(100):
        for name in order:
            chooser.heard(name, 100, 0.02 * step)
    for step in range(100, 150):
        for name in order:
            chooser.heard(name, 30 if name in loud else 90, 0.02 * step)
        if step >= 102:
            assert set(chooser.holders) == loud


def test_who_pauses_between_words_keeps_his_slot_and_who_has_gone_does_not() -> None:
    chooser = Loudest(1)
    for step in range(50):
        chooser.heard("a", 20, 0.02 * step)
    for step in range(50, 55):  # 100 ms of silence, while somebody breathes
        chooser.heard("a", 127, 0.02 * step)
        assert chooser.heard("b", 80, 0.02 * step) is None
    assert chooser.heard("b", 80, 1.1 + GONE_S) == 0
    chooser.leave("b")
    assert chooser.holders == (None,)
    assert chooser.heard("a", 120, 3.0) == 0


# --- renumbering, with real SRTP on both ends ---


class Listener:
    """A session that is open, and the phone's end of its SRTP."""

    def __init__(self, device_id: str, number: int, *, sections: int = 1, may_speak: bool = True) -> None:
        offer = parse_offer(offer_text(sections, red=63 + number % 2, opus=111 - number % 2))
        self.session = Session(device_id, may_speak=may_speak, offer=offer, slots=sections, dtls_context=CONTEXT, now=0.0)
        keys = SrtpKeys(PROFILES[b"SRTP_AEAD_AES_256_GCM"], secrets.token_bytes(44), secrets.token_bytes(44))
        self.session.dtls.keys = keys
        assert self.session.open()
        self.session.address = ("192.0.2.1", 1000 + number)
        self._inbound = SrtpKeys(keys.profile, keys.to_phone, keys.from_phone).inbound()
        self.heard: list[RtpPacket] = []

    def take(self, sent: list[tuple[bytes, tuple[str, int]]]) -> None:
        for data, address in sent:
            if address == self.session.address:
                self.heard.append(rtp.parse_rtp(self._inbound.unprotect(data), None))


@settings(max_examples=60)
@given(
    turns=st.lists(
        st.tuples(st.integers(0, 2), st.lists(st.sampled_from(["next", "lost", "swapped"]), min_size=1, max_size=12)),
        min_size=1,
        max_size=8,
    ),
    firsts=st.tuples(*[st.integers(0, 65535)] * 3),
    begins=st.tuples(*[st.integers(0, 2**32 - 1)] * 3),
)
def test_each_listener_gets_one_stream_without_gaps_but_those_of_the_path(
    turns: list[tuple[int, list[str]]], firsts: tuple[int, ...], begins: tuple[int, ...]
) -> None:
    room = Room("c", Kind.TALK, [77])
    people = [Listener(name, number) for number, name in enumerate("abc")]
    room.sessions = [person.session for person in people]
    sequences, clocks, now = list(firsts), list(begins), 0.0
    expected: list[list[tuple[bytes, int]]] = [[] for _ in people]
    numbers = [FIRST_SEQUENCE] * 3
    speaking, lost = None, 0
    for speaker, events in turns:
        voice = people[speaker]
        give_floor(room, voice.session.device_id)
        held: RtpPacket | None = None
        began = speaker != speaking
        lost = 0 if began else lost
        speaking = speaker
        for event in events:
            now += 0.02
            sequences[speaker] = (sequences[speaker] + 1) & 0xFFFF
            clocks[speaker] = (clocks[speaker] + 960) & 0xFFFFFFFF
            packet = RtpPacket(
                voice.session.offer.sections[0].red, sequences[speaker], clocks[speaker], 5 + speaker, 30, secrets.token_bytes(8)
            )
            number_of = {listener: numbers[listener] for listener in range(3) if listener != speaker}
            first = began
            if event == "lost" and not first:  # a loss at the very start of a turn cannot be told from a later start
                lost += 1  # and one at the very end is never noticed
                continue
            for listener in number_of:
                numbers[listener] += lost
                number_of[listener] += lost
            began, lost = False, 0
            for listener in number_of:
                expected[listener].append((packet.payload, number_of[listener]))
                numbers[listener] += 1
            if event == "swapped" and held is None and not first:
                held = packet
                continue
            for each in [packet, held] if held is not None else [packet]:
                sent = room.forward(voice.session, each, now)
                for person in people:
                    person.take(sent)
            held = None
        if held is not None:
            sent = room.forward(voice.session, held, now)
            for person in people:
                person.take(sent)
    for person, wanted in zip(people, expected, strict=True):
        assert sorted((packet.payload, packet.sequence) for packet in person.heard) == sorted(wanted)
        assert {packet.ssrc for packet in person.heard} <= {77}
        assert {packet.payload_type for packet in person.heard} <= {person.session.offer.sections[0].red}
        ordered = sorted(person.heard, key=lambda packet: packet.sequence)
        for before, after in pairwise(ordered):
            assert 0 < rtp.timestamp_step(after.timestamp, before.timestamp) <= 48_000 * 3


def give_floor(room: Room, device_id: str) -> None:
    holder = room.floor.holder
    if holder is not None:
        room.floor.release(holder.participant, 0.0)
    room.floor.request(device_id, Precedence.ROUTINE, 0.0)


def test_only_who_may_speak_is_forwarded_and_only_audio() -> None:
    room = Room("c", Kind.TALK, [77])
    mute, listener = Listener("mute", 0, may_speak=False), Listener("b", 2)
    room.sessions = [mute.session, listener.session]
    give_floor(room, "mute")
    packet = RtpPacket(63, 1, 1, 5, None, b"sealed")
    assert room.forward(mute.session, packet, 0.0) == []
    mute.session.may_speak = True
    assert len(room.forward(mute.session, packet, 0.0)) == 1
    assert room.forward(mute.session, replace(packet, payload_type=9), 0.0) == []
    assert room.forward(mute.session, replace(packet, payload=b""), 0.0) == []


# --- the core, and strangers ---


def new_forwarder(**options: int) -> Forwarder:
    return Forwarder(secret=SECRET, certificate=CERTIFICATE, advertised=("192.0.2.9", 5000), **options)  # type: ignore[arg-type]


def connect(core: Forwarder, device_id: str = "ada", *, offer: str | None = None, now: float = 0.0, **changes: object) -> str:
    offer = offer or offer_text()
    ticket = ticket_for(offer, device_id=device_id, **changes)
    return str(core.handle_request(Connect(ticket, offer, None), now, UNIX_S)["answer"])


def credentials(answer: str) -> tuple[str, bytes]:
    values = dict(line[2:].split(":", 1) for line in answer.split("\r\n") if line.startswith(("a=ice-ufrag", "a=ice-pwd")))
    return values["ice-ufrag"], values["ice-pwd"].encode()


def check(answer: str, *extra: tuple[int, bytes]) -> bytes:
    ufrag, password = credentials(answer)
    attributes = [(Attribute.USERNAME, f"{ufrag}:abcd".encode()), *extra]
    return stun.encode(Method.BINDING, Class.REQUEST, secrets.token_bytes(12), attributes, key=password, fingerprint=True)  # type: ignore[arg-type]


PHONE = ("192.0.2.50", 7000)
NOMINATES = ((0x0024, bytes(4)), (USE_CANDIDATE, b""), (0x802A, bytes(8)))


def test_check_is_answered_and_moves_the_phone() -> None:
    core = new_forwarder()
    answer = connect(core)
    password = credentials(answer)[1]
    for phone in (PHONE, ("192.0.2.50", 7001)):
        [(reply, destination)] = core.handle_datagram(check(answer, *NOMINATES), phone, 1.0, UNIX_S)
        said = stun.parse(reply)
        assert destination == phone
        assert said.message_class == Class.SUCCESS
        assert said.has_integrity(password)
        mapped = said.get(Attribute.XOR_MAPPED_ADDRESS)
        assert mapped is not None
        assert stun.parse_xor_address(mapped, said.transaction_id) == phone
    assert core.handle_datagram(b"\x16" + bytes(20), PHONE, 1.0, UNIX_S) == []
    assert core.counts["dropped_stranger"] == 1  # it has moved
    [(reply, _)] = core.handle_datagram(check(answer, (0x8029, bytes(8))), PHONE, 1.0, UNIX_S)
    code = stun.parse(reply).get(Attribute.ERROR_CODE)
    assert code is not None
    assert code[2:4] == bytes([4, 87])


@settings(max_examples=150)
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=100),
            st.builds(lambda first, rest: bytes([first]) + rest, st.integers(0, 255), st.binary(max_size=1600)),
            st.builds(lambda rest: b"\x16\xfe\xff\x00\x00\x00\x00\x00\x00\x00\x00" + rest, st.binary(min_size=2, max_size=200)),
        ),
        max_size=12,
    )
)
def test_nothing_that_a_stranger_or_a_phone_sends_raises(datagrams: list[bytes]) -> None:
    core = new_forwarder()
    answer = connect(core)
    core.handle_datagram(check(answer, *NOMINATES), PHONE, 0.0, UNIX_S)
    for data in datagrams:
        assert core.handle_datagram(data, ("203.0.113.9", 9), 0.1, UNIX_S) == []
        core.handle_datagram(data, PHONE, 0.1, UNIX_S)
        core.handle_timer(0.1, UNIX_S)


def test_rates_and_places_are_bounded() -> None:
    core = new_forwarder(max_sessions=3)
    answer = connect(core)
    core.handle_datagram(check(answer, *NOMINATES), PHONE, 0.0, UNIX_S)
    for _ in range(int(PACKETS_AT_ONCE) + 50):
        core.handle_datagram(b"\x80" + bytes(60), PHONE, 0.0, UNIX_S)
    assert core.counts["dropped_too_many"] == 50
    connect(core, "b")
    connect(core, "c")
    with pytest.raises(RequestRefused) as refused:
        connect(core, "d")
    assert refused.value.code == "full"


def test_silent_phone_expires_and_an_empty_call_is_forgotten() -> None:
    core = new_forwarder()
    answer = connect(core, now=0.0)
    core.handle_timer(CONSENT_S - 1, UNIX_S)
    core.handle_datagram(check(answer), PHONE, CONSENT_S - 1, UNIX_S)
    core.handle_timer(2 * CONSENT_S - 2, UNIX_S)
    assert core.handle_request(Stats(), 0.0, UNIX_S)["calls"]["c"]["devices"].keys() == {"ada"}
    core.handle_timer(2 * CONSENT_S, UNIX_S)
    assert core.handle_request(Stats(), 0.0, UNIX_S)["calls"]["c"]["devices"] == {}
    core.handle_timer(2 * CONSENT_S + EMPTY_ROOM_S + 2, UNIX_S)
    assert core.handle_request(Stats(), 0.0, UNIX_S)["calls"] == {}
    assert core.next_timer() is None


def test_same_certificate_is_an_ice_restart_and_another_a_new_connection() -> None:
    core = new_forwarder()
    first = connect(core)
    core.handle_datagram(check(first, *NOMINATES), PHONE, 0.0, UNIX_S)
    again = connect(core)
    assert credentials(again) != credentials(first)
    assert core.handle_datagram(check(first), PHONE, 0.0, UNIX_S) == []  # the old ones count no more
    assert core.handle_datagram(b"\x16" + bytes(20), PHONE, 0.0, UNIX_S) == []
    assert core.counts["dropped_stranger"] == 0  # the path stands until the new one is checked
    assert len(core.handle_datagram(check(again, *NOMINATES), PHONE, 0.0, UNIX_S)) == 1
    new = connect(core, offer=offer_text(fingerprint=":".join(["CD"] * 32)))
    assert new.split("a=ssrc:")[1] == again.split("a=ssrc:")[1].replace(credentials(again)[0], credentials(new)[0])
    for byte in ("01", "02", "03"):  # however often a phone tries, it has two connections at most
        connect(core, offer=offer_text(fingerprint=":".join([byte] * 32)))
        assert len(core._rooms["c"].sessions) == 2


def test_kind_of_a_call_cannot_change_and_floors_are_for_talk_groups() -> None:
    core = new_forwarder()
    connect(core, kind=Kind.CONFERENCE)
    for refused in (FloorRequest("c", "ada", Precedence.FLASH), FloorRequest("unknown", "ada", Precedence.FLASH)):
        with pytest.raises(RequestRefused) as error:
            core.handle_request(refused, 0.0, UNIX_S)
        assert error.value.code == "unknown_call"
    with pytest.raises(RequestRefused) as error:
        connect(core, kind=Kind.TALK)
    assert error.value.code == "ticket_refused"
    core.handle_request(Drain(), 0.0, UNIX_S)
    assert not core.is_drained
    core.handle_request(Disconnect("c", "ada"), 0.0, UNIX_S)
    assert core.is_drained


def test_floor_is_told_and_falls_to_the_next_when_its_holder_goes() -> None:
    core = new_forwarder()
    for name in ("ada", "bruno"):
        connect(core, name)
        core.handle_request(FloorRequest("c", name, Precedence.ROUTINE), 10.0, UNIX_S)
    granted, queued = core.take_events()
    assert (granted.holder, granted.until, granted.told, granted.tell) == ("ada", UNIX_S + TALK_BURST_S, (("ada", "granted"),), ("ada",))
    assert (queued.holder, queued.queue, queued.told, queued.tell) == ("ada", ("bruno",), (("bruno", "queued"),), ("ada", "bruno"))
    assert parse_answer(queued.encode().rstrip()) == queued
    core.handle_request(FloorRelease("c", "nobody"), 11.0, UNIX_S)
    assert core.take_events() == []
    core.handle_request(Disconnect("c", "ada"), 12.0, UNIX_S)
    [passed] = core.take_events()
    assert (passed.holder, passed.told, passed.tell) == ("bruno", (("bruno", "granted"),), ("bruno",))
    assert core.next_timer() is not None
    core.handle_timer(12.0 + TALK_BURST_S, UNIX_S)
    [ended] = [event for event in core.take_events() if event.told]
    assert (ended.holder, ended.precedence, ended.until, ended.told) == (None, None, None, (("bruno", "revoked_time"),))
    listener = FloorRequest("c", "listener", Precedence.FLASH)
    connect(core, "listener", may_speak=False)
    with pytest.raises(RequestRefused) as refused:
        core.handle_request(listener, 80.0, UNIX_S)
    assert refused.value.code == "listens_only"


@pytest.mark.parametrize("line", [b"[]", b"{}", b'{"event":"floor"}', b'{"event":"floor","call_id":"c","holder":null,"precedence":"x"}'])
def test_what_is_no_answer_is_refused(line: bytes) -> None:
    with pytest.raises(RequestRefused):
        parse_answer(line)


REQUESTS = [
    Connect("t", "o", ("192.0.2.1", 5)),
    Connect("t", "o", None),
    FloorRequest("c", "d", Precedence.FLASH_OVERRIDE),
    FloorRelease("c", "d"),
    Watch(),
    Disconnect("c", None),
    Disconnect("c", "d"),
    Drain(),
    Stats(),
]


@pytest.mark.parametrize("request_", REQUESTS)
def test_control_requests_round_trip(request_: Request) -> None:
    assert parse_request(request_.encode()) == request_


@given(
    st.one_of(
        st.binary(max_size=100),
        st.dictionaries(
            st.sampled_from(["op", "ticket", "offer", "candidate", "call_id", "precedence", "device_id", "x"]),
            st.one_of(
                st.none(),
                st.integers(),
                st.booleans(),
                st.text(max_size=5),
                st.sampled_from(["connect", "floor_request", "floor_release", "disconnect", "drain", "stats", "watch", "flash"]),
                st.lists(st.one_of(st.text(max_size=9), st.integers()), max_size=3),
            ),
        ).map(lambda document: json.dumps(document).encode()),
    )
)
def test_malformed_control_requests_are_refused(line: bytes) -> None:
    with suppress(RequestRefused):
        request = parse_request(line)
        assert parse_request(request.encode()) == request
