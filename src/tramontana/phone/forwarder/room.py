"""One call at the forwarder: who is connected, who is heard, and how packets are renumbered for those who listen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tramontana.phone.floor import FloorControl
from tramontana.phone.forwarder.loudest import Loudest
from tramontana.phone.forwarder.rtp import (
    CLOCK_RATE_HZ,
    ReportBlock,
    RtpPacket,
    compact_ntp,
    encode_cname,
    encode_header,
    encode_receiver_report,
    encode_sender_report,
    ntp_time,
    sequence_step,
    timestamp_step,
)
from tramontana.phone.forwarder.sdp import CNAME, MAX_SLOTS
from tramontana.phone.forwarder.session import Session
from tramontana.phone.forwarder.ticket import Kind
from tramontana.phone.stun import Address

FRAME_TICKS: Final = 960
"""20 ms."""
RECEIVER_REPORT_EVERY_S: Final = 1.0
SENDER_REPORT_EVERY_TICKS: Final = 5
HEARD_LATELY_S: Final = 2.0

Datagram = tuple[bytes, Address]


@dataclass(slots=True)
class _Slot:
    """The stream that listeners receive. Sequence numbers are extended: they never wrap here."""

    ssrc: int
    source: tuple[str, int] | None = None
    """Device and SSRC of whoever is in the slot now."""
    generation: int = 0
    start: int = 0
    """The first extended sequence number of this generation."""
    last: int = 0
    last_timestamp: int = 0
    last_at: float = 0.0
    source_last: int = 0
    timestamp_shift: int = 0


class Room:
    """One call. `slots`: how many are heard at a time."""

    def __init__(self, call_id: str, kind: Kind, ssrcs: Sequence[int]) -> None:
        self.call_id = call_id
        self.kind = kind
        self.sessions: list[Session] = []
        self.floor = FloorControl()
        """Of a talk group."""
        self._loudest = Loudest(self.slot_count)
        self._slots = [_Slot(ssrc) for ssrc in ssrcs[: self.slot_count]]
        self.reports_due = 0.0
        self._ticks = 0

    @property
    def slot_count(self) -> int:
        return MAX_SLOTS if self.kind is Kind.CONFERENCE else 1

    def has(self, device_id: str) -> bool:
        """Whether a device has a connection, open or not."""
        return any(session.device_id == device_id for session in self.sessions)

    @property
    def device_ids(self) -> list[str]:
        """Each once."""
        return list(dict.fromkeys(session.device_id for session in self.sessions))

    def leave(self, session: Session) -> None:
        self.sessions.remove(session)
        if not self.has(session.device_id):
            self._loudest.leave(session.device_id)

    def _slot_of(self, speaker: Session, packet: RtpPacket, now: float) -> int | None:
        if not speaker.may_speak:
            return None
        if self.kind is Kind.TALK:
            holder = self.floor.holder
            return 0 if holder is not None and speaker.device_id == holder.participant else None
        return self._loudest.heard(speaker.device_id, packet.level, now)

    def forward(self, speaker: Session, packet: RtpPacket, now: float) -> list[Datagram]:
        """Send a packet on to everybody who is to hear it: an empty list if nobody is."""
        voice = speaker.offer.sections[0]
        if packet.payload_type not in (voice.red, voice.opus) or not packet.payload:
            return []
        is_red = packet.payload_type == voice.red
        index = self._slot_of(speaker, packet, now)
        if index is None:
            return []
        slot = self._slots[index]
        source = (speaker.device_id, packet.ssrc)
        begins = slot.source != source
        if begins:
            slot.source = source
            slot.generation += 1
            slot.start = sequence = slot.last + 1
            ticks = max(FRAME_TICKS, round((now - slot.last_at) * CLOCK_RATE_HZ)) if slot.last_at else FRAME_TICKS
            slot.timestamp_shift = slot.last_timestamp + ticks - packet.timestamp
        else:
            sequence = slot.last + sequence_step(packet.sequence, slot.source_last)
            if sequence < slot.start:
                return []  # older than what began this turn
        timestamp = (packet.timestamp + slot.timestamp_shift) & 0xFFFFFFFF
        if begins or sequence > slot.last:
            slot.last, slot.source_last = sequence, packet.sequence
            slot.last_timestamp, slot.last_at = timestamp, now
        return self._fan_out(speaker, index, slot, sequence, timestamp, packet.payload, is_red=is_red, marker=begins)

    def _fan_out(
        self, speaker: Session, index: int, slot: _Slot, sequence: int, timestamp: int, payload: bytes, *, is_red: bool, marker: bool
    ) -> list[Datagram]:
        # This loop is what a forwarder's processor time goes into: a packet comes once and goes hundreds of times.
        sent: list[Datagram] = []
        size, generation, ssrc, device_id = len(payload), slot.generation, slot.ssrc, speaker.device_id
        for listener in self.sessions:
            address, outbound = listener.address, listener.outbound
            if address is None or outbound is None or listener.device_id == device_id or index >= len(listener.feeds):
                continue
            feed = listener.feeds[index]
            if feed.generation != generation:
                # A turn that he is to hear begins: it goes on where the last one that he heard ended. Who joins amid a turn starts here.
                begin = sequence if feed.generation < 0 else slot.start
                feed.shift = begin - (feed.last + 1)
                feed.generation = generation
            number = sequence - feed.shift
            if number > feed.last:
                feed.last = number
            feed.packets += 1
            feed.octets += size
            section = listener.offer.sections[index]
            header = encode_header(section.red if is_red else section.opus, number, timestamp, ssrc, marker=marker)
            sent.append((outbound.protect(header + payload), address))
        return sent

    # --- RTCP (RFC 3550 §6) ---

    def handle_report_block(self, session: Session, block: ReportBlock, unix_s: float) -> None:
        """What a phone says of a slot that it receives."""
        if block.ssrc not in [slot.ssrc for slot in self._slots]:
            return
        session.reported_loss = block.fraction_lost / 256
        if block.last_report:
            # RFC 3550 §6.4.1: the round trip, from our sender report and the phone's delay since it.
            ticks = timestamp_step(compact_ntp(ntp_time(unix_s)), block.last_report + block.since_report)
            if ticks >= 0:
                session.round_trip_s = ticks / 65536

    def reports(self, now: float, unix_s: float) -> list[Datagram]:
        """Receiver reports to who speaks, each second; sender reports to who listens, each five."""
        self.reports_due = now + RECEIVER_REPORT_EVERY_S
        self._ticks += 1
        tell_listeners = self._ticks % SENDER_REPORT_EVERY_TICKS == 1
        sent: list[Datagram] = []
        for session in self.sessions:
            if not session.is_open:
                continue
            blocks = [each.report(now) for each in session.receptions.values() if now - each.heard_at < HEARD_LATELY_S]
            fed = [(slot, feed) for slot, feed in zip(self._slots, session.feeds, strict=False) if feed.packets] if tell_listeners else []
            parts = [
                encode_sender_report(
                    slot.ssrc, unix_s, slot.last_timestamp + round((now - slot.last_at) * CLOCK_RATE_HZ), feed.packets, feed.octets
                )
                for slot, feed in fed
            ]
            if blocks:
                parts.append(encode_receiver_report(self._slots[0].ssrc, blocks))
            if parts:
                assert session.address is not None  # as it is open
                compound = b"".join([*parts, encode_cname(self._slots[0].ssrc, CNAME)])
                sent.append((session.protect_rtcp(compound), session.address))
        return sent
