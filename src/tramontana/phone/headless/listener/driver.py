"""Listens to a talk group: joins its call when there is one, follows keys and floor, never speaks (asyncio). Many fit into one process."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription

from tramontana.device.device import Device
from tramontana.device.driver import OnlineDevice
from tramontana.device.requests import Refusal, Request, Unreachable
from tramontana.errors import LocalError
from tramontana.phone.aiortc_private import ReceivedPacket, gather_loopback, offer_red, receive_encoded, settle_payload_types
from tramontana.phone.headless.conference_frames import ConferenceGate
from tramontana.phone.headless.measurement import Meter
from tramontana.phone.headless.media.driver import MediaBlocked, Recorder
from tramontana.phone.headless.playout import Playout

POLL_S = 2.0
"""How often the server is asked which call there is, as the browser does; less often in large groups, as all of them ask."""
POLL_MOST_S = 15.0
ASK_AT_ONCE = 16
"""Members that may ask that often."""
RENEW_S = 3_600.0
"""The server admits a device to a call for four hours (docs/protocols.md)."""
PULL_EVERY_S = 0.1
PART_S = 5.0


class NoSuchTalkGroup(LocalError):
    """This device is in no talk group of that name; have it added as a member, and give the name as its members wrote it."""


class ListeningMedia:
    """One connection to a forwarder that only receives. `gate` has the keys, and keeps them when the connection is made anew."""

    def __init__(self, gate: ConferenceGate, before_frame: Callable[[], None], lost: Callable[[], None]) -> None:
        offer_red()
        self.playout, self.meter = Playout(), Meter()
        self._connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._gate, self._before_frame = gate, before_frame
        self._red = -1
        self._closing: asyncio.Future[None] | None = None
        self._transceiver = self._connection.addTransceiver("audio", direction="recvonly")
        receive_encoded(self._transceiver.receiver, self._received)

        @self._connection.on("connectionstatechange")  # type: ignore[untyped-decorator, unused-ignore]
        def changed() -> None:
            if self._connection.connectionState in ("failed", "closed") and self._closing is None:
                lost()

    async def offer(self) -> str:
        await self._connection.setLocalDescription(await self._connection.createOffer())
        return self._connection.localDescription.sdp

    async def accept_answer(self, sdp: str) -> None:
        """Raises `MediaBlocked`."""
        try:
            await self._connection.setRemoteDescription(RTCSessionDescription(sdp, "answer"))
        except Exception as error:  # whatever aiortc and aioice raise over the forwarder's words
            raise MediaBlocked(f"the forwarder's answer cannot be used ({error!r}); use programs of one version") from error
        self._red = dict(settle_payload_types(self._transceiver)).get("audio/red", -1)

    def _received(self, packet: ReceivedPacket) -> None:
        now = asyncio.get_running_loop().time()
        self.meter.packet(packet.sequence_number, packet.timestamp, now)
        self._before_frame()
        for timestamp, frame in self._gate.open(packet.payload, self._red, packet.payload_type, packet.timestamp, now):
            self.playout.push(timestamp, frame, now)

    async def close(self) -> None:
        """To its end even if the caller is cancelled: aiortc cannot close what it was stopped from closing."""
        if self._closing is None:
            self._closing = asyncio.ensure_future(self._connection.close())
        await asyncio.shield(self._closing)


class Listener:
    """One listening phone. `run` must run in the caller's task group for anything to be heard.

    `on_floor` is told the device that speaks now, None while nobody does; `on_call` the call that was joined, None when it is left.
    """

    def __init__(
        self,
        device: Device,
        *,
        recorder: Recorder | None = None,
        on_floor: Callable[[str | None], None] = lambda device_id: None,
        on_call: Callable[[str | None], None] = lambda call_id: None,
        on_refused: Callable[[str], None] = lambda sentence: None,
        local_address: str | None = None,
    ) -> None:
        self.online = OnlineDevice(device, on_frame=self._frame, on_refused=on_refused, local_address=local_address)
        self.gate: ConferenceGate | None = None
        self.floor: str | None = None
        """The device that speaks."""
        self.call_id: str | None = None
        self._recorder, self._on_floor, self._on_call = recorder, on_floor, on_call
        self._media: ListeningMedia | None = None
        self._conversation_id = ""
        self._is_lost = False
        self._wake = asyncio.Event()
        if _is_loopback(device.enrolment.origin):
            gather_loopback()

    def find(self, title: str) -> str:
        """The talk group of this title, or id. Raises `NoSuchTalkGroup`."""
        groups = self.online.device.conversations.talk_groups()
        found = [each for each, its_title in groups.items() if title in (each, its_title)]
        if len(found) != 1:
            named = ", ".join(sorted(repr(each) for each in groups.values())) or "none"
            raise NoSuchTalkGroup(f"{len(found)} talk groups of this device are called {title!r} (it is in: {named}); give the id")
        return found[0]

    async def run(self) -> None:
        """Be online until cancelled. Raises what `OnlineDevice.run` raises."""
        try:
            await self.online.run()
        finally:
            await self.online.close()

    async def listen(self, conversation_id: str) -> None:
        """Hear what is said in this talk group, until cancelled."""
        self._conversation_id = conversation_id
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._play())
                await self._stay()
        finally:
            with suppress(TimeoutError):
                async with asyncio.timeout(PART_S):
                    await self._leave()

    async def _stay(self) -> None:
        loop = asyncio.get_running_loop()
        renew_at = 0.0
        while True:
            self._wake.clear()
            try:
                call_id = await self._in_progress()
                if call_id != self.call_id:
                    await self._leave()
                if call_id is not None and (self.call_id is None or loop.time() >= renew_at):
                    await self._admit(call_id)
                    renew_at = loop.time() + RENEW_S
                if self.call_id is not None and (self._media is None or self._is_lost):
                    await self._connect(self.call_id)
            except (Unreachable, MediaBlocked):
                pass  # the next time
            except Refusal as refused:
                if not refused.is_passing and refused.code not in ("not_found", "call_waiting", "no_capacity"):
                    raise
            with suppress(TimeoutError):
                async with asyncio.timeout(self._pause_s()):
                    await self._wake.wait()

    def _pause_s(self) -> float:
        members = len(self.online.device.conversations.members(self._conversation_id))
        return min(POLL_MOST_S, POLL_S * max(1.0, members / ASK_AT_ONCE))

    async def _in_progress(self) -> str | None:
        going = (await self.online.request(Request("GET", f"/conversations/{self._conversation_id}/call")))["call"]
        return None if going is None else str(going["call_id"])

    async def _admit(self, call_id: str) -> None:
        body = {"conversation_id": self._conversation_id, "precedence": "routine", "ringing": False}
        await self.online.request(Request("PUT", f"/calls/{call_id}", body))
        if self.call_id is None:
            self.call_id, self.gate = call_id, ConferenceGate(call_id)
            self._on_call(call_id)

    async def _connect(self, call_id: str) -> None:
        assert self.gate is not None
        if self._media is not None:
            await self._media.close()
        self._is_lost = False
        self._media = media = ListeningMedia(self.gate, self._use_keys, self._lost)
        try:
            answer = await self.online.request(Request("POST", f"/calls/{call_id}/connection", {"offer": await media.offer()}))
            await media.accept_answer(str(answer["answer"]))
        except BaseException:
            self._is_lost = True
            raise

    def _use_keys(self) -> None:
        """Commits are processed beside the media: each frame looks for the present epoch."""
        conversations = self.online.device.conversations
        if self.gate is None or conversations.epoch(self._conversation_id) == self.gate.epoch:
            return
        keys = conversations.keys(self._conversation_id)
        if keys is not None:
            self.gate.use_keys(keys, asyncio.get_running_loop().time())

    def _lost(self) -> None:
        self._is_lost = True
        self._wake.set()

    def _frame(self, frame: dict[str, Any]) -> None:
        if frame.get("call_id") != self.call_id or self.call_id is None:
            return
        match frame["type"]:
            case "floor":
                holder = frame["holder_device_id"]
                if holder != self.floor:
                    self.floor = None if holder is None else str(holder)
                    self._on_floor(self.floor)
            case "reconnect":
                self._lost()

    async def _play(self) -> None:
        while True:
            await asyncio.sleep(PULL_EVERY_S)
            if (media := self._media) is not None:
                frames = media.playout.pull(asyncio.get_running_loop().time())
                media.meter.played(frames)
                if self._recorder is not None:
                    self._recorder.write(frames)

    async def _leave(self) -> None:
        call_id, media = self.call_id, self._media
        self.call_id = self.floor = self._media = None
        if media is not None:
            await media.close()
        if call_id is not None:
            self._on_call(None)
            with suppress(Refusal, Unreachable):  # it ends by itself if this is lost
                await self.online.request(Request("DELETE", f"/calls/{call_id}"))


def _is_loopback(origin: str) -> bool:
    host = urlsplit(origin).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
