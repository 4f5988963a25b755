"""The forwarder's core: control requests and datagrams in, datagrams out; no socket and no clock.

All phones share one UDP port. A STUN check is told apart by the ICE user name in it (RFC 8445 §7.3), every other datagram by the
address that a check with the right password came from (RFC 7983 tells the protocols apart). Nothing else is answered.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

import pylibsrtp

from tramontana.phone import stun
from tramontana.phone.floor import Event, FloorControl, Told
from tramontana.phone.forwarder import rtp, sdp
from tramontana.phone.forwarder.control_protocol import (
    Connect,
    Disconnect,
    Drain,
    FloorEvent,
    FloorRelease,
    FloorRequest,
    Request,
    RequestRefused,
    Stats,
)
from tramontana.phone.forwarder.dtls import DtlsCertificate
from tramontana.phone.forwarder.room import Datagram, Room
from tramontana.phone.forwarder.rtp import MalformedRtp
from tramontana.phone.forwarder.sdp import OfferRefused
from tramontana.phone.forwarder.session import CONSENT_S, Session
from tramontana.phone.forwarder.ticket import Kind, TicketRefused, verify_ticket
from tramontana.phone.relay_secret import RelaySecret
from tramontana.phone.stun import Address, Attribute, Class, MalformedStun, Method, StunMessage

MAX_CALLS: Final = 512
MAX_SESSIONS: Final = 2048
MAX_SESSIONS_PER_CALL: Final = 1024
SESSIONS_PER_DEVICE: Final = 2
"""In one call: the one that stands and the one that shall take its place."""
MAX_SESSION_AGE_S: Final = 12 * 3600.0
"""As for the relay's allocations: a long call goes on, a forgotten one does not for ever."""
EMPTY_ROOM_S: Final = 60.0
"""A floor may be set a moment before the first phone comes, and nobody may be there while all reconnect."""
MAX_DATAGRAM_BYTES: Final = 1500
ROUND_S: Final = 1.0
USE_CANDIDATE, ICE_CONTROLLED = 0x0025, 0x8029  # RFC 8445 §16.1
_CHECK_ATTRIBUTES: Final = frozenset({Attribute.USERNAME, 0x0024, USE_CANDIDATE})
"""Those a check may hold that must be understood; 0x0024 is PRIORITY (RFC 8445 §16.1)."""


class Forwarder:
    """One forwarder. `now` is a monotonic clock in seconds, `unix_s` POSIX seconds (tickets and reports)."""

    def __init__(
        self,
        *,
        secret: RelaySecret,
        certificate: DtlsCertificate,
        advertised: Address,
        max_sessions: int = MAX_SESSIONS,
        random_ssrc: Callable[[], int] = lambda: secrets.randbits(31) + 1,
    ) -> None:
        self.advertised = advertised
        self.is_draining = False
        self.counts: Counter[str] = Counter()
        """What was forwarded, dropped or refused, and why. Never holds addresses or names."""
        self._secret = secret
        self._max_sessions = max_sessions
        self._fingerprint = certificate.fingerprint
        self._dtls_context = certificate.context()
        self._ssrcs: list[int] = []
        while len(self._ssrcs) < sdp.MAX_SLOTS:
            if (ssrc := random_ssrc()) not in self._ssrcs:
                self._ssrcs.append(ssrc)
        self._rooms: dict[str, Room] = {}
        self._empty_since: dict[str, float] = {}
        self._by_ufrag: dict[str, tuple[Room, Session]] = {}
        self._by_address: dict[Address, tuple[Room, Session]] = {}
        self._shaking_hands: dict[Session, float] = {}
        """Handshakes under way, and when OpenSSL wants to be called."""
        self._round_due = 0.0
        self._events: list[FloorEvent] = []

    @property
    def is_drained(self) -> bool:
        """Whether it drains and nobody is left."""
        return self.is_draining and not self._by_ufrag

    # --- control ---

    def handle_request(self, request: Request, now: float, unix_s: float) -> dict[str, Any]:
        """Do what the server asks; gives the answer's fields. Raises `RequestRefused`."""
        match request:
            case Connect():
                return {"answer": self._connect(request, now, unix_s)}
            case FloorRequest():
                self._request_floor(request, now, unix_s)
            case FloorRelease():
                self._release_floor(request, now, unix_s)
            case Disconnect():
                self._disconnect(request, now, unix_s)
            case Drain():
                self.is_draining = True
            case Stats():
                return self._stats()
        return {}

    def take_events(self) -> list[FloorEvent]:
        """What changed since this was last asked, for every connection that watches."""
        events, self._events = self._events, []
        return events

    def _connect(self, request: Connect, now: float, unix_s: float) -> str:
        try:
            ticket = verify_ticket(self._secret, request.ticket, offer=request.offer, unix_s=unix_s)
            offer = sdp.parse_offer(request.offer)
        except TicketRefused as error:
            self.counts["refused_ticket"] += 1
            raise RequestRefused("ticket_refused", str(error)) from None
        except OfferRefused as error:
            self.counts["refused_offer"] += 1
            raise RequestRefused("offer_refused", str(error)) from None
        room = self._room(ticket.call_id, ticket.kind, now)
        session = self._session_to_restart(room, ticket.device_id, offer)
        if session is not None:
            del self._by_ufrag[session.ufrag]
            session.renew_credentials()
            session.offer, session.may_speak, session.checked_at = offer, ticket.may_speak, now
        else:
            self._make_way(room, ticket.device_id, now, unix_s)
            slots = min(room.slot_count, len(offer.sections))
            session = Session(
                ticket.device_id, may_speak=ticket.may_speak, offer=offer, slots=slots, dtls_context=self._dtls_context, now=now
            )
            room.sessions.append(session)
        self._empty_since.pop(room.call_id, None)
        self._by_ufrag[session.ufrag] = (room, session)
        self.counts["admitted"] += 1
        return sdp.write_answer(
            offer,
            may_speak=session.may_speak,
            slots=len(session.feeds),
            ssrcs=self._ssrcs,
            ufrag=session.ufrag,
            password=session.password,
            fingerprint=self._fingerprint,
            candidate=request.candidate or self.advertised,
        )

    def _room(self, call_id: str, kind: Kind, now: float) -> Room:
        room = self._rooms.get(call_id)
        if room is None:
            if self.is_draining:
                raise RequestRefused("draining", "this forwarder takes no new call: use another")
            if len(self._rooms) >= MAX_CALLS:
                raise RequestRefused("full", "this forwarder has as many calls as it may: use another")
            room = self._rooms[call_id] = Room(call_id, kind, self._ssrcs)
            self._empty_since[call_id] = now
        if room.kind is not kind:
            raise RequestRefused("ticket_refused", "this call is of another kind")
        return room

    def _session_to_restart(self, room: Room, device_id: str, offer: sdp.Offer) -> Session | None:
        """The standing session of the same peer connection: a browser has a certificate for each."""
        for session in room.sessions:
            same = session.device_id == device_id and session.offer.fingerprint == offer.fingerprint
            if same and len(session.offer.sections) == len(offer.sections) and not session.dtls.failed:
                return session
        return None

    def _make_way(self, room: Room, device_id: str, now: float, unix_s: float) -> None:
        mine = [session for session in room.sessions if session.device_id == device_id]
        while len(mine) >= SESSIONS_PER_DEVICE:  # the newest that is not open yet goes first: it came to nothing
            replaced = next((session for session in reversed(mine) if not session.is_open), mine[0])
            mine.remove(replaced)
            self._remove(room, replaced, now, unix_s)
        if len(self._by_ufrag) >= self._max_sessions or len(room.sessions) >= MAX_SESSIONS_PER_CALL:
            raise RequestRefused("full", "this forwarder has as many phones as it may")

    # --- the floor ---

    def _request_floor(self, request: FloorRequest, now: float, unix_s: float) -> None:
        room = self._rooms.get(request.call_id)
        session = next((each for each in room.sessions if each.device_id == request.device_id), None) if room is not None else None
        if room is None or room.kind is not Kind.TALK or session is None:
            raise RequestRefused("unknown_call", "this phone is in no such talk group here")
        if not session.may_speak:
            raise RequestRefused("listens_only", "this phone may only listen")
        self._tell_floor(room, room.floor.request(request.device_id, request.precedence, now), now, unix_s)

    def _release_floor(self, request: FloorRelease, now: float, unix_s: float) -> None:
        room = self._rooms.get(request.call_id)
        if room is not None and _is_involved(room.floor, request.device_id):
            self._tell_floor(room, room.floor.release(request.device_id, now), now, unix_s)

    def _tell_floor(self, room: Room, told: list[Told], now: float, unix_s: float, *, only: str | None = None) -> None:
        """Note the state for everybody in the call, or for one who has just come."""
        holder = room.floor.holder
        # One line each for what happened to whom: the last one counts (revoked, then granted to another).
        happened = {each.participant: each.event for each in told}
        self._events.append(
            FloorEvent(
                call_id=room.call_id,
                holder=holder.participant if holder is not None else None,
                precedence=holder.precedence if holder is not None else None,
                until=unix_s + holder.until - now if holder is not None else None,
                queue=room.floor.queue,
                told=tuple((participant, event.value) for participant, event in happened.items()),
                tell=(only,) if only is not None else tuple(dict.fromkeys([*room.device_ids, *happened])),
            )
        )
        if any(each.event is Event.GRANTED for each in told):
            self.counts["floors_granted"] += 1

    def _disconnect(self, request: Disconnect, now: float, unix_s: float) -> None:
        room = self._rooms.get(request.call_id)
        if room is None:
            return
        for session in list(room.sessions):
            if request.device_id in (None, session.device_id):
                self._remove(room, session, now, unix_s)
        if request.device_id is None:
            self._forget(request.call_id)
        elif not room.sessions:
            self._empty_since.setdefault(request.call_id, self._round_due)

    def _remove(self, room: Room, session: Session, now: float, unix_s: float) -> None:
        room.leave(session)
        if not room.has(session.device_id) and _is_involved(room.floor, session.device_id):
            self._tell_floor(room, room.floor.release(session.device_id, now), now, unix_s)
        self._by_ufrag.pop(session.ufrag, None)
        self._shaking_hands.pop(session, None)
        if session.address is not None and self._by_address.get(session.address, (room, None))[1] is session:
            del self._by_address[session.address]

    def _forget(self, call_id: str) -> None:
        self._rooms.pop(call_id, None)
        self._empty_since.pop(call_id, None)

    def _stats(self) -> dict[str, Any]:
        calls = {
            call_id: {
                "kind": room.kind.value,
                "holder": room.floor.holder.participant if room.floor.holder is not None else None,
                "devices": {each.device_id: _session_stats(each) for each in room.sessions},
            }
            for call_id, room in self._rooms.items()
        }
        host, port = self.advertised
        return {"draining": self.is_draining, "host": host, "port": port, "calls": calls, "counts": dict(self.counts)}

    # --- datagrams ---

    def handle_datagram(self, data: bytes, source: Address, now: float, unix_s: float) -> list[Datagram]:
        """Handle one datagram of a phone; gives what to send. Never raises on foreign input."""
        if not 0 < len(data) <= MAX_DATAGRAM_BYTES:
            return self._drop("dropped_malformed")
        first = data[0]  # RFC 7983 §7
        if first < 4:
            return self._handle_check(data, source, now)
        known = self._by_address.get(source)
        if known is None:
            return self._drop("dropped_stranger")
        room, session = known
        if first >= 128 and first < 192:
            return self._handle_media(room, session, data, now, unix_s)
        if 20 <= first < 64:
            return self._handle_handshake(room, session, data, source, now, unix_s)
        return self._drop("dropped_malformed")

    def _handle_media(self, room: Room, session: Session, data: bytes, now: float, unix_s: float) -> list[Datagram]:
        if not session.take_token(now):
            session.discarded += 1
            return self._drop("dropped_too_many")
        try:
            if rtp.is_rtcp(data):
                for report in rtp.parse_reports(session.unprotect_rtcp(data)):
                    self._handle_report(room, session, report, now, unix_s)
                return []
            packet = session.unprotect_rtp(data, now)
        except (MalformedRtp, pylibsrtp.Error):
            session.discarded += 1
            return self._drop("dropped_media")
        self.counts["received"] += 1
        if packet.payload_type == session.offer.sections[0].red:
            self.counts["received_red"] += 1
        sent = room.forward(session, packet, now)
        self.counts["forwarded"] += len(sent)
        return sent

    def _handle_report(self, room: Room, session: Session, report: rtp.Report, now: float, unix_s: float) -> None:
        reception = session.receptions.get(report.ssrc)
        if report.ntp is not None and reception is not None:
            reception.sender_report, reception.sender_report_at = rtp.compact_ntp(report.ntp), now
        for block in report.blocks:
            room.handle_report_block(session, block, unix_s)

    def _handle_handshake(self, room: Room, session: Session, data: bytes, source: Address, now: float, unix_s: float) -> list[Datagram]:
        sent = [(part, source) for part in session.dtls.handle_datagram(data)]
        self._watch_handshake(room, session, now, unix_s)
        return sent

    def _watch_handshake(self, room: Room, session: Session, now: float, unix_s: float) -> None:
        if session.dtls.failed:
            self.counts["handshakes_failed" if not session.is_open else "closed_by_phone"] += 1
            self._remove(room, session, now, unix_s)
            return
        if session.open():
            self.counts["opened"] += 1
            if room.kind is Kind.TALK:  # late entry: a newcomer learns who speaks
                self._tell_floor(room, [], now, unix_s, only=session.device_id)
            for other in [each for each in room.sessions if each.device_id == session.device_id and each is not session]:
                self._remove(room, other, now, unix_s)
        timeout_s = session.dtls.next_timeout_s()
        if timeout_s is None:
            self._shaking_hands.pop(session, None)
        else:
            self._shaking_hands[session] = now + timeout_s

    # --- ICE (RFC 8445 §7.3, the lite agent's part) ---

    def _handle_check(self, data: bytes, source: Address, now: float) -> list[Datagram]:
        try:
            message = stun.parse(data)
        except MalformedStun:
            return self._drop("dropped_malformed")
        if message.method != Method.BINDING or message.message_class != Class.REQUEST:
            return self._drop("dropped_unexpected")
        known = self._by_ufrag.get((message.get(Attribute.USERNAME) or b"").partition(b":")[0].decode("ascii", "replace"))
        # No answer, not even an error, to whoever was not admitted: a scan finds nothing here, and nothing is reflected.
        if known is None or not message.has_fingerprint or not message.has_integrity(known[1].password.encode()):
            return self._drop("dropped_unknown_check")
        room, session = known
        code = _fault_of(message)
        if code is not None:
            attributes = [(Attribute.ERROR_CODE, stun.pack_error_code(*code))]
            return [(self._answer(message, Class.ERROR, attributes, session), source)]
        session.checked_at = now
        nominates = any(kind == USE_CANDIDATE for kind, _ in message.attributes)
        if session.address is None or (nominates and session.address != source):
            self._move(room, session, source)
        mapped = [(Attribute.XOR_MAPPED_ADDRESS, stun.pack_xor_address(source, message.transaction_id))]
        return [(self._answer(message, Class.SUCCESS, mapped, session), source)]

    def _answer(self, request: StunMessage, kind: Class, attributes: list[tuple[Attribute, bytes]], session: Session) -> bytes:
        return stun.encode(Method.BINDING, kind, request.transaction_id, attributes, key=session.password.encode(), fingerprint=True)

    def _move(self, room: Room, session: Session, source: Address) -> None:
        if session.address is not None and self._by_address.get(session.address, (room, None))[1] is session:
            del self._by_address[session.address]
        displaced = self._by_address.get(source)
        if displaced is not None:  # its phone uses this very address for a new connection
            displaced[1].address = None
        session.address = source
        self._by_address[source] = (room, session)

    # --- time ---

    def next_timer(self) -> float | None:
        """When `handle_timer` wants to be called, or None."""
        due = [*self._shaking_hands.values(), *(at for room in self._rooms.values() if (at := room.floor.next_timer()) is not None)]
        if self._rooms:
            due.append(self._round_due)
        return min(due) if due else None

    def handle_timer(self, now: float, unix_s: float) -> list[Datagram]:
        """Handshakes, and once a second reports and what has expired; gives what to send."""
        sent: list[Datagram] = []
        for session in [session for session, at in self._shaking_hands.items() if at <= now]:
            room = self._by_ufrag[session.ufrag][0]
            parts = session.dtls.handle_timer()
            if session.address is not None:
                sent += [(part, session.address) for part in parts]
            self._watch_handshake(room, session, now, unix_s)
        for room in self._rooms.values():
            if told := room.floor.handle_timer(now):
                self._tell_floor(room, told, now, unix_s)
        if now < self._round_due:
            return sent
        self._round_due = now + ROUND_S
        for room in list(self._rooms.values()):
            for session in list(room.sessions):
                if now - session.checked_at > CONSENT_S or now - session.made_at > MAX_SESSION_AGE_S:
                    self.counts["expired"] += 1
                    self._remove(room, session, now, unix_s)
            if room.sessions:
                if room.reports_due <= now:
                    sent += room.reports(now, unix_s)
            elif now - self._empty_since.setdefault(room.call_id, now) > EMPTY_ROOM_S or self.is_draining:
                self._forget(room.call_id)
        return sent

    def _drop(self, why: str) -> list[Datagram]:
        self.counts[why] += 1
        return []


def _is_involved(floor: FloorControl, device_id: str) -> bool:
    holder = floor.holder
    return floor.position(device_id) is not None or (holder is not None and holder.participant == device_id)


def _fault_of(check: StunMessage) -> tuple[int, str] | None:
    if any(kind < 0x8000 and kind not in _CHECK_ATTRIBUTES for kind, _ in check.attributes):
        return 420, "Unknown Attribute"
    if any(kind == ICE_CONTROLLED for kind, _ in check.attributes):
        return 487, "Role Conflict"  # RFC 8445 §7.3.1.1: a lite agent is controlled
    return None


def _session_stats(session: Session) -> dict[str, Any]:
    return {
        "open": session.is_open,
        "may_speak": session.may_speak,
        "received": sum(reception.received for reception in session.receptions.values()),
        "sent": sum(feed.packets for feed in session.feeds),
        "discarded": session.discarded,
        "reported_loss": session.reported_loss,
        "round_trip_s": session.round_trip_s,
    }
