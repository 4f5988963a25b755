"""A forwarder as a process on loopback, and the server's side of its control socket."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tramontana.phone.forwarder.client.driver import ForwarderClient
from tramontana.phone.forwarder.control_protocol import Connect, FloorEvent, Stats
from tramontana.phone.forwarder.ticket import Kind, issue_ticket
from tramontana.phone.relay_secret import RelaySecret, load_relay_secret

COMMAND = "from tramontana.cli.main import main; main()"
CALL = "c" * 32


@dataclass
class ForwarderProcess:
    """A running forwarder and the secret that it shares with us."""

    process: subprocess.Popen[str]
    control: Path
    port: int
    secret: RelaySecret

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[Admission]:
        floors: list[FloorEvent] = []
        client = ForwarderClient(self.control, on_floor=floors.append)
        async with asyncio.TaskGroup() as group:
            running = group.create_task(client.run())
            yield Admission(client, self.secret, floors)
            running.cancel()
        await asyncio.sleep(0)  # what closing has scheduled runs before the loop ends


@dataclass
class Admission:
    """What the server does for phones."""

    client: ForwarderClient
    secret: RelaySecret
    floors: list[FloorEvent]

    async def until_floor(self, holder: str) -> FloorEvent:
        """Wait until a device has the floor; gives what was told."""
        while True:
            if self.floors and self.floors[-1].holder == holder:
                return self.floors[-1]
            await asyncio.sleep(0.02)

    async def devices(self, call_id: str = CALL) -> dict[str, Any]:
        call = (await self.client.request(Stats()))["calls"].get(call_id)
        return dict(call["devices"]) if call else {}

    async def until_open(self, count: int, call_id: str = CALL) -> None:
        while True:
            if sum(device["open"] for device in (await self.devices(call_id)).values()) >= count:
                return
            await asyncio.sleep(0.02)

    async def until_counted(self, name: str, count: int) -> None:
        while True:
            if (await self.client.request(Stats()))["counts"].get(name, 0) >= count:
                return
            await asyncio.sleep(0.02)

    async def admit(self, offer: str, device_id: str, *, kind: Kind = Kind.TALK, call_id: str = CALL, may_speak: bool = True) -> str:
        """The answer to a phone's offer, with a good ticket."""
        ticket = issue_ticket(
            self.secret,
            call_id=call_id,
            kind=kind,
            device_id=device_id,
            may_speak=may_speak,
            offer=offer,
            expires_at_unix_s=time.time() + 60,
        )
        return str((await self.client.request(Connect(ticket, offer, None)))["answer"])


@contextmanager
def running_forwarder(directory: Path, *arguments: str, secret: str | None = None) -> Iterator[ForwarderProcess]:
    control, secret_file = directory / "forwarder.sock", directory / "relay.secret"
    if secret is not None:
        secret_file.touch(0o600)
        secret_file.write_text(secret)
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND, "forwarder", "--control", str(control), "--secret-file", str(secret_file), *arguments],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())["ready"]
        yield ForwarderProcess(process, control, ready["port"], load_relay_secret(secret_file))
    finally:
        process.kill()
        process.communicate()
