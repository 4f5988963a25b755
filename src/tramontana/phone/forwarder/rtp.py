"""RTP and RTCP as far as a forwarder reads and writes them (RFC 3550, RFC 6464, RFC 8285). Payloads are sealed and stay so."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from tramontana.errors import RemoteError

CLOCK_RATE_HZ: Final = 48_000  # RFC 7587 §4.1: Opus always
NTP_EPOCH_S: Final = 2_208_988_800  # RFC 868: 1900 to 1970
SENDER_REPORT, RECEIVER_REPORT, SOURCE_DESCRIPTION = 200, 201, 202  # RFC 3550 §12.1
_FIRST_RTCP, _LAST_RTCP = 64, 95  # RFC 5761 §4, of the second octet without its top bit
_ONE_BYTE_PROFILE: Final = 0xBEDE  # RFC 8285 §4.2
_HEADER = struct.Struct("!BBHII")
_REPORT_BLOCK = struct.Struct("!IIIIII")
_SEQUENCES: Final = 1 << 16


class MalformedRtp(RemoteError):
    """A packet is not well-formed RTP or RTCP; it was dropped."""


@dataclass(frozen=True, slots=True)
class RtpPacket:
    """What is forwarded of a packet. `level` is −dBov, 0 (loudest) to 127 (silence), or None if the packet does not say."""

    payload_type: int
    sequence: int
    timestamp: int
    ssrc: int
    level: int | None
    payload: bytes


def is_rtcp(datagram: bytes) -> bool:
    """Tell RTCP from RTP on one port (RFC 5761 §4)."""
    return len(datagram) > 1 and _FIRST_RTCP <= datagram[1] & 0x7F <= _LAST_RTCP


def ssrc_of(datagram: bytes) -> int:
    """The SSRC of a packet that may still be encrypted. Raises `MalformedRtp`."""
    if len(datagram) < _HEADER.size or datagram[0] >> 6 != 2:
        raise MalformedRtp("shorter than an RTP header, or another version")
    return int.from_bytes(datagram[8:12], "big")


def parse_rtp(data: bytes, level_id: int | None) -> RtpPacket:
    """Read a packet (RFC 3550 §5.1). `level_id` is the header extension that carries the audio level. Raises `MalformedRtp`."""
    if len(data) < _HEADER.size or data[0] >> 6 != 2:
        raise MalformedRtp("shorter than an RTP header, or another version")
    first, second, sequence, timestamp, ssrc = _HEADER.unpack_from(data)
    offset, end = _HEADER.size + 4 * (first & 0x0F), len(data)
    level = None
    if first & 0x10:
        if offset + 4 > end:
            raise MalformedRtp("the header extension runs past the end")
        profile, words = struct.unpack_from("!HH", data, offset)
        begin, offset = offset + 4, offset + 4 + 4 * words
        if offset > end:
            raise MalformedRtp("the header extension runs past the end")
        if profile == _ONE_BYTE_PROFILE and level_id is not None:
            level = _find_level(data, begin, offset, level_id)
    if first & 0x20:
        end -= data[-1]
        if data[-1] == 0:
            raise MalformedRtp("padding of no octets")
    if offset > end:
        raise MalformedRtp("sources or padding run past the end")
    return RtpPacket(second & 0x7F, sequence, timestamp, ssrc, level, data[offset:end])


def _find_level(data: bytes, offset: int, end: int, level_id: int) -> int | None:
    """RFC 8285 §4.2 and RFC 6464 §3: the lower seven bits are the level, the upper one voice activity."""
    while offset < end:
        identifier, size = data[offset] >> 4, (data[offset] & 0x0F) + 1
        if identifier == 15:
            return None
        if identifier == 0:  # padding
            offset += 1
            continue
        if identifier == level_id and size == 1 and offset + 1 < end:
            return data[offset + 1] & 0x7F
        offset += 1 + size
    return None


def encode_header(payload_type: int, sequence: int, timestamp: int, ssrc: int, *, marker: bool = False) -> bytes:
    """A header without extensions; sequence and timestamp are taken modulo their fields."""
    return _HEADER.pack(0x80, payload_type | marker << 7, sequence & 0xFFFF, timestamp & 0xFFFFFFFF, ssrc)


def sequence_step(newer: int, older: int) -> int:
    """How far two sequence numbers are apart, from −32768 to 32767 (RFC 3550 appendix A.1)."""
    return ((newer - older + 0x8000) % _SEQUENCES) - 0x8000


def timestamp_step(newer: int, older: int) -> int:
    """How far two timestamps are apart, in ticks, as a signed 32-bit number."""
    return ((newer - older + 0x80000000) % (1 << 32)) - 0x80000000


# --- RTCP ---


@dataclass(frozen=True, slots=True)
class ReportBlock:
    """RFC 3550 §6.4.1. `last_report` and `since_report` in units of 1/65536 s."""

    ssrc: int
    fraction_lost: int
    lost: int
    highest_sequence: int
    jitter: int
    last_report: int
    since_report: int


@dataclass(frozen=True, slots=True)
class Report:
    """A sender or receiver report. `ntp` is None in a receiver report."""

    ssrc: int
    ntp: int | None
    blocks: tuple[ReportBlock, ...]


def parse_reports(data: bytes) -> Iterator[Report]:
    """The reports in a compound packet (RFC 3550 §6.1); other packets are passed over. Raises `MalformedRtp`."""
    offset = 0
    while offset < len(data):
        if offset + 8 > len(data) or data[offset] >> 6 != 2:
            raise MalformedRtp("not an RTCP header")
        kind, words = data[offset + 1], int.from_bytes(data[offset + 2 : offset + 4], "big")
        end = offset + 4 + 4 * words
        if end > len(data):
            raise MalformedRtp("an RTCP packet runs past the end")
        if kind in (SENDER_REPORT, RECEIVER_REPORT):
            count = data[offset] & 0x1F
            blocks_at = offset + (28 if kind == SENDER_REPORT else 8)
            if blocks_at + count * _REPORT_BLOCK.size > end:
                raise MalformedRtp("a report runs past its end")
            ntp = int.from_bytes(data[offset + 8 : offset + 16], "big") if kind == SENDER_REPORT else None
            blocks = tuple(_parse_block(data, blocks_at + index * _REPORT_BLOCK.size) for index in range(count))
            yield Report(int.from_bytes(data[offset + 4 : offset + 8], "big"), ntp, blocks)
        offset = end


def _parse_block(data: bytes, offset: int) -> ReportBlock:
    ssrc, lost, highest, jitter, last_report, since = _REPORT_BLOCK.unpack_from(data, offset)
    signed = (lost & 0xFFFFFF) - ((lost & 0x800000) << 1)
    return ReportBlock(ssrc, lost >> 24, signed, highest, jitter, last_report, since)


def encode_sender_report(ssrc: int, unix_s: float, timestamp: int, packets: int, octets: int) -> bytes:
    """RFC 3550 §6.4.1, without blocks."""
    ntp = ntp_time(unix_s)
    return struct.pack("!BBHIQIII", 0x80, SENDER_REPORT, 6, ssrc, ntp, timestamp & 0xFFFFFFFF, packets & 0xFFFFFFFF, octets & 0xFFFFFFFF)


def encode_receiver_report(ssrc: int, blocks: Sequence[ReportBlock]) -> bytes:
    """RFC 3550 §6.4.2."""
    packed = b"".join(
        _REPORT_BLOCK.pack(
            block.ssrc,
            block.fraction_lost << 24 | block.lost & 0xFFFFFF,
            block.highest_sequence & 0xFFFFFFFF,
            block.jitter & 0xFFFFFFFF,
            block.last_report,
            block.since_report,
        )
        for block in blocks
    )
    return struct.pack("!BBHI", 0x80 | len(blocks), RECEIVER_REPORT, 1 + len(packed) // 4, ssrc) + packed


def encode_cname(ssrc: int, cname: str) -> bytes:
    """RFC 3550 §6.5: a source description with CNAME; every compound packet has one."""
    item = bytes([1, len(cname)]) + cname.encode()
    chunk = ssrc.to_bytes(4, "big") + item
    chunk += bytes(4 - len(chunk) % 4)
    return struct.pack("!BBH", 0x81, SOURCE_DESCRIPTION, len(chunk) // 4) + chunk


def ntp_time(unix_s: float) -> int:
    """RFC 3550 §4: 32.32 fixed point since 1900."""
    return int((unix_s + NTP_EPOCH_S) * (1 << 32)) & (1 << 64) - 1


def compact_ntp(ntp: int) -> int:
    """The middle 32 bits (RFC 3550 §4), in which reports give times."""
    return ntp >> 16 & 0xFFFFFFFF


@dataclass(slots=True)
class Reception:
    """What a receiver reports about one source (RFC 3550 appendices A.1, A.3, A.8)."""

    ssrc: int
    first_extended: int = -1
    highest_extended: int = -1
    received: int = 0
    jitter: float = 0.0
    heard_at: float = 0.0
    sender_report: int = 0
    sender_report_at: float = 0.0
    _expected_before: int = field(default=0, repr=False)
    _received_before: int = field(default=0, repr=False)
    _transit: float | None = field(default=None, repr=False)

    def heard(self, packet: RtpPacket, now: float) -> None:
        """Count a packet that arrived."""
        if self.first_extended < 0:
            self.first_extended = self.highest_extended = packet.sequence
        else:
            step = sequence_step(packet.sequence, self.highest_extended & 0xFFFF)
            self.highest_extended = max(self.highest_extended, self.highest_extended + step)
        self.received += 1
        self.heard_at = now
        transit = now * CLOCK_RATE_HZ - packet.timestamp
        if self._transit is not None:
            change = abs(transit - self._transit)
            if change < CLOCK_RATE_HZ:  # a jump of the timestamps is no jitter
                self.jitter += (change - self.jitter) / 16
        self._transit = transit

    def report(self, now: float) -> ReportBlock:
        """A block about the time since the last one."""
        expected = self.highest_extended - self.first_extended + 1
        expected_now, received_now = expected - self._expected_before, self.received - self._received_before
        self._expected_before, self._received_before = expected, self.received
        lost_now = max(0, expected_now - received_now)
        fraction = min(255, (lost_now << 8) // expected_now) if expected_now > 0 else 0
        lost = max(-0x800000, min(0x7FFFFF, expected - self.received))
        since = int((now - self.sender_report_at) * 65536) & 0xFFFFFFFF if self.sender_report else 0
        return ReportBlock(self.ssrc, fraction, lost, self.highest_extended, int(self.jitter), self.sender_report, since)
