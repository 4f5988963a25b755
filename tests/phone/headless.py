"""Phones without a browser, for tests and benchmarks of the forwarder: real WebRTC by aiortc, frames sealed by whoever calls."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack

from tramontana.phone.aiortc_private import EncodedFrame, ReceivedPacket, offer_red, receive_encoded, send_encoded

Signal = Callable[[str], Awaitable[str]]
"""Takes an offer, gives the answer."""


@dataclass
class Headless:
    """One phone. `heard`: payload and slot of each packet, in order of arrival."""

    connection: RTCPeerConnection
    frames: asyncio.Queue[EncodedFrame] = field(default_factory=asyncio.Queue)
    heard: list[tuple[int, ReceivedPacket]] = field(default_factory=list)

    @property
    def payloads(self) -> list[bytes]:
        return [packet.payload for _, packet in self.heard]

    async def connect(self, signal: Signal) -> str:
        """Offer, and take the answer. Gives the answer. Waits until media can flow."""
        await self.connection.setLocalDescription(await self.connection.createOffer())
        answer = await signal(self.connection.localDescription.sdp)
        await self.connection.setRemoteDescription(RTCSessionDescription(answer, "answer"))
        return answer

    async def until_connected(self) -> None:
        while self.connection.connectionState != "connected":
            if self.connection.connectionState in ("failed", "closed"):
                raise ConnectionError(self.connection.connectionState)
            await asyncio.sleep(0.01)


def headless(*, slots: int = 1, speaks: bool = True) -> Headless:
    """A phone with an audio section for each slot."""
    offer_red()
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    phone = Headless(connection)
    first = connection.addTransceiver(AudioStreamTrack() if speaks else "audio", direction="sendrecv" if speaks else "recvonly")
    if speaks:
        send_encoded(first.sender, phone.frames.get)
    for _ in range(1, slots):
        connection.addTransceiver("audio", direction="recvonly")
    for slot, transceiver in enumerate(connection.getTransceivers()):
        receive_encoded(transceiver.receiver, lambda packet, slot=slot: phone.heard.append((slot, packet)))  # type: ignore[misc]
    return phone
