"""One call's media on aiortc: over the relay only, frames sealed before DTLS-SRTP sees them; and voice from and to files (PyAV).

Fails closed: without its key no frame leaves, and what does not authenticate is never decoded.
"""

from __future__ import annotations

import asyncio
import wave
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
from aiortc import RTCBundlePolicy, RTCConfiguration, RTCIceServer, RTCPeerConnection, RTCRtpTransceiver, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack
from aiortc.rtcconfiguration import RTCIceTransportPolicy
from aiortc.sdp import candidate_from_sdp
from av.audio.codeccontext import AudioCodecContext
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler

from tramontana.errors import LocalError, RemoteError
from tramontana.phone.aiortc_private import (
    EncodedFrame,
    ReceivedPacket,
    offer_red,
    receive_encoded,
    round_trip_s,
    send_encoded,
    settle_payload_types,
)
from tramontana.phone.headless.frames import FRAME_S, FRAME_TICKS, TICKS_PER_SECOND, FrameGate, PayloadTypes
from tramontana.phone.headless.measurement import Meter
from tramontana.phone.headless.playout import Playout
from tramontana.phone.headless.signalling import Candidate

BIT_RATE = 24_000
SAMPLE_BYTES = 2
SPEECH_LEVEL = 30
"""Audio levels beside the frames (RFC 6464): a call of two has no use for them."""
LATE_S = 1.0
"""A sender that is so far behind its clock starts anew instead of sending a burst."""
PULL_EVERY_S = 0.1


class MediaBlocked(RemoteError):
    """The other phone asks for something that this one does not do; call it with a program of the same version."""


class NotAudible(LocalError):
    """This file cannot be played: choose one with sound that FFmpeg reads, such as a WAV file."""


def load_voice(path: Path | None) -> list[bytes]:
    """A file as Opus frames of 20 ms; without one, a second of silence. Raises `NotAudible`."""
    encoder = _codec("w")
    encoder.bit_rate = BIT_RATE
    encoder.options = {"application": "voip", "frame_duration": "20"}
    resampler = AudioResampler(format="s16", layout="mono", rate=TICKS_PER_SECOND, frame_size=FRAME_TICKS)
    frames: list[bytes] = []
    if path is None:
        for _ in range(round(1 / FRAME_S)):
            frames += [bytes(packet) for packet in encoder.encode(_frame(bytes(FRAME_TICKS * SAMPLE_BYTES)))]
        return frames
    try:
        with av.open(str(path)) as container:
            pieces = [piece for frame in container.decode(audio=0) for piece in resampler.resample(frame)]
    except (OSError, av.FFmpegError, IndexError) as error:
        raise NotAudible(f"{path} cannot be played ({error}): choose a file with sound, such as a WAV file") from error
    for piece in [*pieces, *resampler.resample(None)]:
        if piece.samples == FRAME_TICKS:
            piece.pts = None
            frames += [bytes(packet) for packet in encoder.encode(piece)]
    if not frames:
        raise NotAudible(f"{path} has less than 20 ms of sound: choose another file")
    return frames


class Recorder:
    """What is heard, into a WAV file: 48 kHz, one channel of 16 bits; gaps are silence."""

    def __init__(self, path: Path) -> None:
        """Raises `NotAudible`."""
        try:
            self._opened = path.open("wb")
        except OSError as error:
            raise NotAudible(f"cannot record into {path} ({error.strerror}): choose another file") from error
        self._file = wave.open(self._opened, "wb")  # noqa: SIM115 - closed by `close`
        self._file.setnchannels(1)
        self._file.setsampwidth(SAMPLE_BYTES)
        self._file.setframerate(TICKS_PER_SECOND)
        self._decoder = _codec("r")

    def write(self, frames: Sequence[bytes | None]) -> None:
        for frame in frames:
            self._file.writeframes(bytes(FRAME_TICKS * SAMPLE_BYTES) if frame is None else self._decoded(frame))

    def _decoded(self, opus: bytes) -> bytes:
        """As long as a frame in any case."""
        samples = b""
        try:
            for frame in self._decoder.decode(av.Packet(opus)):
                samples += bytes(frame.planes[0])[: frame.samples * SAMPLE_BYTES * len(frame.layout.channels)]
        except av.FFmpegError:
            samples = b""  # sealed by the peer, so his encoder's fault
        return samples[: FRAME_TICKS * SAMPLE_BYTES].ljust(FRAME_TICKS * SAMPLE_BYTES, b"\x00")

    def close(self) -> None:
        self._file.close()
        self._opened.close()


def _codec(mode: Any) -> AudioCodecContext:
    codec = av.CodecContext.create("libopus", mode)
    assert isinstance(codec, AudioCodecContext)
    codec.format, codec.layout, codec.sample_rate = "s16", "mono", TICKS_PER_SECOND
    return codec


def _frame(samples: bytes) -> AudioFrame:
    frame = AudioFrame(format="s16", layout="mono", samples=FRAME_TICKS)
    frame.sample_rate = TICKS_PER_SECOND
    frame.planes[0].update(samples)
    return frame


@contextmanager
def _refused(what: str) -> Iterator[None]:
    """Whatever aiortc and aioice raise over a peer's words, or a relay that does not answer, ends this call and nothing more."""
    try:
        yield
    except Exception as error:
        raise MediaBlocked(f"{what} ({error!r}); call again") from error


class CallMedia:
    """One call. `run` must run in the caller's task group while it lasts. `voice` is repeated for as long as the call lasts."""

    def __init__(
        self,
        ice_servers: Sequence[dict[str, Any]],
        voice: Sequence[bytes],
        recorder: Recorder | None,
        *,
        connected: Callable[[], None],
        disconnected: Callable[[], None],
        audio_began: Callable[[], None],
    ) -> None:
        offer_red()
        servers = [RTCIceServer(list(each["urls"]), each["username"], each["credential"]) for each in ice_servers]
        configuration = RTCConfiguration(servers, RTCIceTransportPolicy.RELAY, RTCBundlePolicy.MAX_BUNDLE)
        self._connection = RTCPeerConnection(configuration)
        self._voice, self._recorder = voice, recorder
        self._audio_began = audio_began
        self._gate: FrameGate | None = None
        self._keys_set = asyncio.Event()
        self._sent_frames = 0
        self._next_at: float | None = None
        self._early: list[Candidate] = []
        self._closing: asyncio.Future[None] | None = None
        self.playout, self.meter = Playout(), Meter()

        @self._connection.on("connectionstatechange")  # type: ignore[untyped-decorator, unused-ignore]
        def changed() -> None:
            if self._connection.connectionState == "connected":
                connected()
            elif self._connection.connectionState in ("failed", "closed"):
                disconnected()

    async def offer(self) -> str:
        """SDP with all candidates in it."""
        with _refused("the relay cannot be used"):
            transceiver = self._connection.addTransceiver(AudioStreamTrack(), direction="sendrecv")
            self._seal(transceiver)
            await self._connection.setLocalDescription(await self._connection.createOffer())
        return self._connection.localDescription.sdp

    async def answer_offer(self, sdp: str) -> str:
        """Raises `MediaBlocked`."""
        await self._set_remote(sdp, "offer")
        transceivers = self._connection.getTransceivers()
        if len(transceivers) != 1 or transceivers[0].kind != "audio":
            raise MediaBlocked("the offer is not one audio stream")
        transceivers[0].direction = "sendrecv"
        transceivers[0].sender.replaceTrack(AudioStreamTrack())
        self._seal(transceivers[0])
        self._negotiated()
        with _refused("the relay cannot be used"):
            await self._connection.setLocalDescription(await self._connection.createAnswer())
        await self._add_early()
        return self._connection.localDescription.sdp

    async def accept_answer(self, sdp: str) -> None:
        """Raises `MediaBlocked`."""
        if self._connection.signalingState != "have-local-offer":
            return  # a repeat
        await self._set_remote(sdp, "answer")
        self._negotiated()
        await self._add_early()

    async def _set_remote(self, sdp: str, kind: str) -> None:
        with _refused("the other phone's description cannot be used"):
            await self._connection.setRemoteDescription(RTCSessionDescription(sdp, kind))

    def _negotiated(self) -> None:
        (transceiver,) = self._connection.getTransceivers()
        types = settle_payload_types(transceiver)
        numbers = dict(types)
        if "audio/opus" not in numbers or types[0][0] not in ("audio/opus", "audio/red"):
            raise MediaBlocked("the other phone prefers another codec than Opus")
        self._gate = FrameGate(PayloadTypes(numbers["audio/opus"], numbers.get("audio/red"), types[0][0] == "audio/red"))

    async def add_candidates(self, candidates: Sequence[Candidate]) -> None:
        if self._connection.remoteDescription is None:
            self._early += candidates
            return
        for each in candidates:
            try:
                found = candidate_from_sdp(each.candidate.removeprefix("candidate:"))
            except (ValueError, AssertionError, IndexError):
                continue  # one of a kind that this phone does not know: the others may do
            found.sdpMid, found.sdpMLineIndex = each.mid, each.line
            with _refused("a candidate of the other phone cannot be used"):
                await self._connection.addIceCandidate(found)

    async def _add_early(self) -> None:
        early, self._early = self._early, []
        await self.add_candidates(early)

    @property
    def gate(self) -> FrameGate:
        """Raises `MediaBlocked` before a description of the peer's is there."""
        if self._gate is None:
            raise MediaBlocked("keys before a description")
        return self._gate

    def keys_are_set(self) -> None:
        """The gate got its keys: frames may leave."""
        self._keys_set.set()

    def _seal(self, transceiver: RTCRtpTransceiver) -> None:
        send_encoded(transceiver.sender, self._next_frame)
        receive_encoded(transceiver.receiver, self._received)

    async def _next_frame(self) -> EncodedFrame:
        await self._keys_set.wait()
        loop = asyncio.get_running_loop()
        now = loop.time()
        if self._next_at is None or now - self._next_at > LATE_S:
            self._sent_frames += 0 if self._next_at is None else round((now - self._next_at) / FRAME_S)
            self._next_at = now
        await asyncio.sleep(self._next_at - now)
        self._next_at += FRAME_S
        at = self._sent_frames
        self._sent_frames += 1
        payload = self.gate.seal(self._voice[at % len(self._voice)])
        assert payload is not None  # the keys are set
        return EncodedFrame(payload, at * FRAME_TICKS % (1 << 32), SPEECH_LEVEL)

    def _received(self, packet: ReceivedPacket) -> None:
        now = asyncio.get_running_loop().time()
        self.meter.packet(packet.sequence_number, packet.timestamp, now)
        if self._gate is None:
            return
        before = self._gate.counts.opened
        for timestamp, frame in self._gate.open(packet.payload, packet.payload_type, packet.timestamp):
            self.playout.push(timestamp, frame, now)
        if before == 0 and self._gate.counts.opened == 1:
            self._audio_began()

    async def run(self) -> None:
        """Play what has come, until cancelled."""
        while True:
            self.play_on()
            await asyncio.sleep(PULL_EVERY_S)

    def play_on(self) -> None:
        frames = self.playout.pull(asyncio.get_running_loop().time())
        self.meter.played(frames)
        if self._recorder is not None:
            self._recorder.write(frames)

    @property
    def round_trip_s(self) -> float | None:
        """From this phone to the other and back, as RTCP measures it; None before the first report."""
        return round_trip_s(self._connection)

    async def close(self) -> None:
        """To its end even if the caller is cancelled: aiortc cannot close what it was stopped from closing."""
        if self._closing is None:
            self._closing = asyncio.ensure_future(self._connection.close())
        await asyncio.shield(self._closing)
