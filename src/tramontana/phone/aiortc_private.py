"""Every reach into private names of aiortc and aioice, for headless phones: frames that stay encoded (and sealed) on both ends.

A test opens a real connection through each of them, so that a new version of the libraries that changes one is noticed at once.
Needs the extra `headless`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Protocol

import aioice.ice
import aiortc.rtp
from aiortc import RTCPeerConnection, RTCRtpReceiver, RTCRtpSender, RTCRtpTransceiver
from aiortc.codecs import CODECS
from aiortc.rtcrtpparameters import RTCRtpCodecParameters
from aiortc.rtcrtpreceiver import StreamStatistics
from aiortc.rtcrtpsender import RTCEncodedFrame

RED_PAYLOAD_TYPE: Final = 120
_OPUS_PAYLOAD_TYPE: Final = 96
"""As aiortc offers it."""
_FRAME_CLOCK_HZ: Final = 48_000


@dataclass(frozen=True, slots=True)
class EncodedFrame:
    """What goes into one RTP packet. `timestamp` in ticks of 48 kHz; `level` in −dBov, 0 (loudest) to 127 (RFC 6464)."""

    payload: bytes
    timestamp: int
    level: int


class ReceivedPacket(Protocol):
    """What aiortc hands over of an RTP packet."""

    payload: bytes
    payload_type: int
    sequence_number: int
    timestamp: int
    ssrc: int
    marker: int


def offer_red() -> None:
    """Add `audio/red` (RFC 2198) to the codecs that every later offer contains, before Opus; a second time does nothing.

    Browsers number it among 35 to 63, which may be dynamic as well (RFC 5761 §4, RFC 9429 §5.1.2): aiortc would not take that over.
    """
    aiortc.rtp.DYNAMIC_PAYLOAD_TYPES = (*range(35, 64), *range(96, 128))  # type: ignore[assignment]
    if all(codec.mimeType != "audio/red" for codec in CODECS["audio"]):
        red = RTCRtpCodecParameters(
            mimeType="audio/red",
            clockRate=_FRAME_CLOCK_HZ,
            channels=2,
            payloadType=RED_PAYLOAD_TYPE,
            parameters={f"{_OPUS_PAYLOAD_TYPE}/{_OPUS_PAYLOAD_TYPE}": None},  # RFC 2198 §5: what the blocks are
        )
        CODECS["audio"].insert(0, red)


def gather_loopback() -> None:
    """Let ICE use 127.0.0.1 as well, which aioice passes over; a host may have no other address. A second time does nothing."""
    found = aioice.ice.get_host_addresses
    if found.__name__ == "with_loopback":
        return

    def with_loopback(use_ipv4: bool, use_ipv6: bool) -> list[str]:
        addresses: list[str] = found(use_ipv4, use_ipv6)
        return ["127.0.0.1", *addresses] if use_ipv4 and "127.0.0.1" not in addresses else addresses

    aioice.ice.get_host_addresses = with_loopback


def send_encoded(sender: RTCRtpSender, next_frame: Callable[[], Awaitable[EncodedFrame]]) -> None:
    """Send frames as they are, in packets of the first negotiated codec. Call it before the connection is made.

    `next_frame` sets the pace; the sender asks for the next frame as soon as one is sent. The sender must have a track, which is not read.
    """

    async def encoded(codec: RTCRtpCodecParameters) -> RTCEncodedFrame | None:
        frame = await next_frame()
        return RTCEncodedFrame([frame.payload], frame.timestamp, -frame.level)

    sender._next_encoded_frame = encoded  # type: ignore[method-assign]


def settle_payload_types(transceiver: RTCRtpTransceiver) -> list[tuple[str, int]]:
    """(MIME type, payload type) as negotiated with a remote description, the one that is sent first; RED is then said to carry Opus.

    Call it after a remote description is set and before an answer is made.
    """
    found = [(codec.mimeType.lower(), codec.payloadType) for codec in transceiver._codecs if codec.payloadType is not None]
    opus = next((number for mime_type, number in found if mime_type == "audio/opus"), None)
    for codec in transceiver._codecs:
        if codec.mimeType.lower() == "audio/red" and opus is not None:
            codec.parameters = {f"{opus}/{opus}": None}
    return found


def receive_encoded(receiver: RTCRtpReceiver, on_packet: Callable[[ReceivedPacket], None]) -> None:
    """Hand over packets instead of decoding them; receiver reports (RFC 3550 §6.4.2) go on.

    An exception of `on_packet` would end all reception, so it must raise none.
    """
    streams: dict[int, StreamStatistics] = receiver._RTCRtpReceiver__remote_streams  # type: ignore[attr-defined]

    async def handle(packet: ReceivedPacket, arrival_time_ms: int) -> None:
        streams.setdefault(packet.ssrc, StreamStatistics(_FRAME_CLOCK_HZ)).add(packet)  # type: ignore[arg-type]
        on_packet(packet)

    receiver._handle_rtp_packet = handle  # type: ignore[method-assign]


def round_trip_s(connection: RTCPeerConnection) -> float | None:
    """As the other side's reports give it (RFC 3550 §6.4.1); None before the first one."""
    measured = [getattr(sender, "_RTCRtpSender__rtt", None) for sender in connection.getSenders()]
    return next((float(each) for each in measured if each is not None), None)
