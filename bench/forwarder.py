"""What a forwarded packet costs in a conference's forwarder, beside Janus, aiortc and two bounds, in one run; and memory a listener.

- *forwarder*: the product's, a talk group of one speaker and many listeners over real WebRTC (DTLS-SRTP, AES-GCM).
- *aiortc*: the same from aiortc's own objects, one SSRC for all and RTP built once, on uvloop where it is installed: the way not taken.
- *Janus*: VideoRoom with one publisher and as many subscribers, if `janus` is installed.
- *libsrtp loop*, *send loop*: bounds; a Python loop that protects and sends, or only sends, a packet to each listener.

The phones stand in this process; what is compared is the processor time of the other one, all threads, for each packet that it sent on
while the speaker talked for `SECONDS`, 50 packets a second.

Run: python bench/forwarder.py
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pylibsrtp
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.phone.forwarder_process import CALL, running_forwarder
from tests.phone.headless import Headless, headless
from tramontana.phone.aiortc_private import EncodedFrame, gather_loopback, offer_red
from tramontana.phone.forwarder.control_protocol import FloorRequest
from tramontana.precedence import Precedence

LISTENERS = (50, 200)
SECONDS = 6.0
PAYLOAD_BYTES = 180
"""Two Opus frames of 24 kbit/s (RED) and what SFrame adds."""
FRAME_S = 0.02
LOOP_PACKETS = 100_000
LEAST_DELIVERED = 0.9
"""An engine that the machine left behind by more has no cost worth comparing."""


@dataclass
class Cost:
    """Of one engine with so many listeners. `sent` as the listeners counted, unless the engine is a bound."""

    engine: str
    listeners: int
    microseconds: float
    core_share: float | None
    delivered: float | None
    resident_mib: float | None
    threads: int | None


@dataclass
class Room:
    """A speaker and listeners, connected, and the process that forwards."""

    pid: int
    speaker: Headless
    count_heard: Callable[[], int]


def processor_s(pid: int) -> float:
    """User and system time of a process with all its threads, in seconds (proc_pid_stat(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def status(pid: int, name: str) -> int:
    """A number of /proc/PID/status (proc_pid_status(5))."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1])
    raise KeyError(name)


def listen_lightly(connection: RTCPeerConnection, heard: list[int]) -> None:
    """Count SRTP packets as they come, without opening them: the listeners must not take the processor that the engine needs."""
    for transceiver in connection.getTransceivers():
        transport = transceiver.receiver.transport

        async def count(data: bytes, arrival_time_ms: int) -> None:
            heard[0] += 1

        transport._handle_rtp_data = count  # type: ignore[method-assign]


async def measure(engine: str, listeners: int, room: Room) -> Cost:
    """Talk for `SECONDS` at the pace of speech."""
    await talk(room.speaker, 0, 25)  # past the first packets
    await asyncio.sleep(0.5)
    heard, before, begin = room.count_heard(), processor_s(room.pid), time.monotonic()
    frames = round(SECONDS / FRAME_S)
    await talk(room.speaker, 25, frames)
    await asyncio.sleep(0.5)
    spent, took = processor_s(room.pid) - before, time.monotonic() - begin
    delivered = room.count_heard() - heard
    due = frames * listeners
    resident, threads = status(room.pid, "VmRSS") / 1024, status(room.pid, "Threads")
    return Cost(engine, listeners, spent / max(1, delivered) * 1e6, spent / took, delivered / due, resident, threads)


async def talk(speaker: Headless, first: int, frames: int) -> None:
    begin = time.monotonic()
    for number in range(frames):
        speaker.frames.put_nowait(EncodedFrame(secrets.token_bytes(PAYLOAD_BYTES), 960 * (first + number), 30))
        await asyncio.sleep(max(0.0, begin + (number + 1) * FRAME_S - time.monotonic()))


async def connect_all(listeners: int, signal: Callable[[str, str], Awaitable[str]]) -> tuple[Headless, list[Headless], list[int]]:
    """A speaker and listeners that offer; `signal(name, offer)` gives answers."""
    speaker, phones, heard = headless(), [headless(speaks=False) for _ in range(listeners)], [0]
    await speaker.connect(lambda offer: signal("speaker", offer))
    await speaker.until_connected()
    for number, phone in enumerate(phones):
        await phone.connect(lambda offer, number=number: signal(f"listener {number}", offer))  # type: ignore[misc]
    for phone in phones:
        await phone.until_connected()
        listen_lightly(phone.connection, heard)
    return speaker, phones, heard


@asynccontextmanager
async def own_forwarder(listeners: int) -> AsyncIterator[Room]:
    with tempfile.TemporaryDirectory() as temporary, running_forwarder(Path(temporary)) as process:
        async with process.connected() as server:
            speaker, phones, heard = await connect_all(listeners, lambda name, offer: server.admit(offer, name))
            await server.until_open(listeners + 1)
            await server.client.request(FloorRequest(CALL, "speaker", Precedence.ROUTINE))
            yield Room(process.process.pid, speaker, lambda: heard[0])
            await hang_up(speaker, *phones)


@asynccontextmanager
async def aiortc_forwarder(listeners: int) -> AsyncIterator[Room]:
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "aiortc.sock"
        process = await asyncio.create_subprocess_exec(sys.executable, __file__, "aiortc", str(path), stdout=asyncio.subprocess.PIPE)
        try:
            assert process.stdout is not None
            await process.stdout.readline()
            reader, writer = await asyncio.open_unix_connection(str(path), limit=1 << 20)

            async def signal(_name: str, offer: str) -> str:
                writer.write(json.dumps(offer).encode() + b"\n")
                return str(json.loads(await reader.readline()))

            speaker, phones, heard = await connect_all(listeners, signal)
            yield Room(process.pid, speaker, lambda: heard[0])
            writer.close()
            await hang_up(speaker, *phones)
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


async def serve_aiortc(path: str) -> None:
    """The first who offers speaks, all others listen."""
    gather_loopback()
    offer_red()
    connections: list[RTCPeerConnection] = []
    transports: list[Any] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
            connections.append(connection)
            await connection.setRemoteDescription(RTCSessionDescription(json.loads(line), "offer"))
            [transceiver] = connection.getTransceivers()
            if len(connections) == 1:

                async def forward(packet: Any, arrival_time_ms: int) -> None:
                    packet.ssrc = 7
                    data = packet.serialize()
                    for transport in transports:
                        await transport._send_rtp(data)

                transceiver.receiver._handle_rtp_packet = forward  # type: ignore[method-assign]
            else:
                transceiver.direction = "sendonly"
                transports.append(transceiver.sender.transport)
            await connection.setLocalDescription(await connection.createAnswer())
            writer.write(json.dumps(connection.localDescription.sdp).encode() + b"\n")

    server = await asyncio.start_unix_server(serve, path, limit=1 << 20)
    print("ready", flush=True)
    await server.serve_forever()


# --- Janus ---

JANUS_CONFIGURATION = """
general: { configs_folder = "%s" plugins_folder = "/usr/lib/x86_64-linux-gnu/janus/plugins"
  transports_folder = "/usr/lib/x86_64-linux-gnu/janus/transports" debug_level = 2 session_timeout = 0 }
nat: { ice_lite = false ice_ignore_list = "vmnet" }
media: { }
plugins: { disable = "libjanus_audiobridge.so,libjanus_duktape.so,libjanus_echotest.so,libjanus_lua.so,libjanus_nosip.so,\
libjanus_recordplay.so,libjanus_sip.so,libjanus_streaming.so,libjanus_textroom.so,libjanus_videocall.so,libjanus_voicemail.so" }
transports: { disable = "libjanus_mqtt.so,libjanus_nanomsg.so,libjanus_pfunix.so,libjanus_rabbitmq.so,libjanus_websockets.so" }
"""


JANUS_HTTP = """
general: { base_path = "/janus" http = true port = %d ip = "127.0.0.1" https = false }
admin: { admin_http = false }
"""


class Janus:
    """What the benchmark needs of Janus' HTTP interface."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http
        self._session = ""

    async def ask(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = await self._http.post(f"/janus{path}", json={"transaction": secrets.token_hex(6), **body})
        return dict(answer.json())

    async def open(self) -> None:
        self._session = f"/{(await self.ask('', {'janus': 'create'}))['data']['id']}"

    async def attach(self) -> str:
        attached = await self.ask(self._session, {"janus": "attach", "plugin": "janus.plugin.videoroom"})
        return f"{self._session}/{attached['data']['id']}"

    async def message(self, handle: str, body: dict[str, Any], sdp: dict[str, str] | None = None) -> dict[str, Any]:
        """Send a message; gives the plugin's answer, or the event that follows the acknowledgement."""
        jsep = {"jsep": sdp} if sdp else {}
        answer = await self.ask(handle, {"janus": "message", "body": body, **jsep})
        while answer["janus"] != "success":
            answer = (await self._http.get(f"/janus{self._session}", timeout=40)).json()
            if answer["janus"] == "event" and str(answer.get("sender")) == handle.rpartition("/")[2]:
                break
            answer["janus"] = "other" if answer["janus"] == "success" else answer["janus"]
        return answer


@asynccontextmanager
async def janus_room(listeners: int) -> AsyncIterator[Room]:
    with tempfile.TemporaryDirectory() as temporary, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        configuration = Path(temporary) / "janus.jcfg"
        configuration.write_text(JANUS_CONFIGURATION % temporary)
        (Path(temporary) / "janus.transport.http.jcfg").write_text(JANUS_HTTP % port)
        command = ("janus", "-C", str(configuration), "-F", temporary)
        process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as http:
                janus = Janus(http)
                for _ in range(100):
                    try:
                        await janus.open()
                        break
                    except httpx.TransportError:
                        await asyncio.sleep(0.1)
                publisher = await janus.attach()
                room = {"request": "create", "room": 1, "publishers": 1, "audiocodec": "opus", "audiolevel_ext": False}
                await janus.message(publisher, room)
                await janus.message(publisher, {"request": "join", "ptype": "publisher", "room": 1, "id": 1})
                speaker = headless()

                async def publish(offer: str) -> str:
                    body = {"request": "configure", "audio": True, "video": False}
                    return str((await janus.message(publisher, body, {"type": "offer", "sdp": offer}))["jsep"]["sdp"])

                await speaker.connect(publish)
                await speaker.until_connected()
                heard = [0]
                phones = [await subscribe(janus, heard) for _ in range(listeners)]
                yield Room(process.pid, speaker, lambda: heard[0])
                await hang_up(speaker, *phones)
        finally:
            process.terminate()
            await process.wait()


async def subscribe(janus: Janus, heard: list[int]) -> Headless:
    handle = await janus.attach()
    offered = await janus.message(handle, {"request": "join", "ptype": "subscriber", "room": 1, "streams": [{"feed": 1}]})
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    await connection.setRemoteDescription(RTCSessionDescription(offered["jsep"]["sdp"], "offer"))
    await connection.setLocalDescription(await connection.createAnswer())
    await janus.message(handle, {"request": "start"}, {"type": "answer", "sdp": connection.localDescription.sdp})
    phone = Headless(connection)
    await phone.until_connected()
    listen_lightly(connection, heard)
    return phone


# --- bounds ---


def loop_cost(listeners: int, *, protects: bool) -> Cost:
    """In this process: one packet to each listener, again and again."""
    receivers = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(listeners)]
    for receiver in receivers:
        receiver.bind(("127.0.0.1", 0))
    addresses = [receiver.getsockname() for receiver in receivers]
    gcm = pylibsrtp.Policy.SRTP_PROFILE_AEAD_AES_256_GCM
    policy = pylibsrtp.Policy(key=secrets.token_bytes(44), ssrc_type=pylibsrtp.Policy.SSRC_ANY_OUTBOUND, srtp_profile=gcm)
    sessions = [pylibsrtp.Session(policy) for _ in addresses]
    payload = secrets.token_bytes(PAYLOAD_BYTES)
    rounds = LOOP_PACKETS // listeners
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        begin = time.process_time()
        for number in range(rounds):
            packet = bytes([0x80, 111]) + number.to_bytes(2, "big") + bytes(8) + payload
            for session, address in zip(sessions, addresses, strict=True):
                sender.sendto(session.protect(packet) if protects else packet, address)
        spent = time.process_time() - begin
    for receiver in receivers:
        receiver.close()
    return Cost("libsrtp loop" if protects else "send loop", listeners, spent / (rounds * listeners) * 1e6, None, None, None, None)


async def hang_up(*phones: Headless) -> None:
    await asyncio.gather(*(phone.connection.close() for phone in phones))


async def run() -> list[Cost]:
    gather_loopback()
    engines = {"forwarder": own_forwarder, "aiortc": aiortc_forwarder}
    if shutil.which("janus"):
        engines["Janus"] = janus_room
    costs: list[Cost] = []
    for listeners in LISTENERS:
        for name, engine in engines.items():
            async with AsyncExitStack() as stack:
                costs.append(await measure(name, listeners, await stack.enter_async_context(engine(listeners))))
            print_row(costs[-1])
        for protects in (True, False):
            costs.append(loop_cost(listeners, protects=protects))
            print_row(costs[-1])
    return costs


def print_row(cost: Cost) -> None:
    share, delivered = (f"{value:.1%}" if value is not None else "" for value in (cost.core_share, cost.delivered))
    memory = f"{cost.resident_mib:.0f}" if cost.resident_mib is not None else ""
    print(
        f"{cost.engine:14}{cost.listeners:10}{cost.microseconds:13.1f}{1e6 / cost.microseconds:18.0f}{share:>11}{delivered:>11}"
        f"{memory:>7}{cost.threads or '':>9}",
        flush=True,
    )


def main() -> None:
    print(
        f"Forwarder: one speaker, {SECONDS:.0f} s, {PAYLOAD_BYTES} octets a packet; {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    )
    print(
        f"{'':14}{'listeners':>10}{'µs a packet':>13}{'packets a core-s':>18}{'of a core':>11}{'delivered':>11}{'MiB':>7}{'threads':>9}",
        flush=True,
    )
    costs = asyncio.run(run())
    for listeners in LISTENERS:
        here = [cost for cost in costs if cost.listeners == listeners]
        by = {cost.engine: cost.microseconds for cost in here if cost.delivered is None or cost.delivered >= LEAST_DELIVERED}
        if left_out := [cost.engine for cost in here if cost.engine not in by]:
            print(f"With {listeners} listeners too little was delivered by: {', '.join(left_out)}.")
        if "forwarder" not in by:
            continue
        ratios = [f"{by['forwarder'] / value:.2f} times {name}'s" for name, value in by.items() if name != "forwarder"]
        print(f"Ratios with {listeners} listeners, processor time a packet: " + "; ".join(ratios) + ".")
    if "Janus" not in {cost.engine for cost in costs}:
        print("Janus is not installed, so it was left out (Debian: apt-get install janus).")


if __name__ == "__main__":
    if sys.argv[1:2] == ["aiortc"]:
        loop: Any = importlib.import_module("uvloop") if importlib.util.find_spec("uvloop") else asyncio
        loop.run(serve_aiortc(sys.argv[2]))
    else:
        main()
