"""A member is removed: how long until everybody else holds the new keys, end to end, beside per-sender keys in the same run.

A real server process on SQLite, every other member connected over a WebSocket of its own. From the remover's first step to the last
member's last:

- *commit*: the remover makes the commit, suite 0xF002, with the state that it stores first;
- *deliver*: from the request until the last member has the commit from the server;
- *process*: the last leaf opens it, with the state that it stores. Members do this at the same time, each on a machine of its own.

The tree is the worst one: everybody was added and nobody has committed yet, so the commit is sealed to each leaf. *Per-sender keys* is what
conferences without MLS do: every member seals a new key to every other one (one member's share is timed, and the opening of all shares).

Run: python bench/rekey.py
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import subprocess
import sys
import time
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
from sqlalchemy import insert
from websockets.asyncio.client import ClientConnection, connect

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.mls import NOW, Members, share
from tramontana.control.store import schema
from tramontana.control.store.database import Store
from tramontana.device.driver import MAX_FRAME_BYTES
from tramontana.keys.mls.messages import Remove
from tramontana.keys.secret import Token

SIZES = (10, 50, 200, 1_000)
GOAL_MEMBERS, GOAL_S = 200, 2.0
"""Design: every join and leave of a conversation of 200 is re-keyed in less than two seconds."""
CONVERSATION_ID = "07" * 16  # of the group that `Members` makes
REMOVED_LEAF = 1
LATER = 4e9
GROUP_LIMIT = 200
"""Above it a conversation is a talk group (docs/protocols.md)."""
PHONES_AN_ADDRESS = 20
SETTLE_S = 3.0
"""Until everybody has been told of everybody's presence."""


@dataclass(frozen=True)
class Timing:
    """Seconds, and bytes."""

    commit: float
    deliver: float
    process: float
    size: int
    """Bytes of the commit."""

    @property
    def total(self) -> float:
        return self.commit + self.deliver + self.process


def identity(leaf: int) -> str:
    """Account and device of a leaf, as in the credentials that `Members` makes."""
    return f"{leaf:032d}"


async def fill(data: Path, count: int) -> list[str]:
    """A conversation at epoch 1 with a device for each leaf. Returns the tokens of their sessions."""
    tokens = [Token.generate() for _ in range(count)]
    store = await Store.open(data)
    who = [identity(leaf) for leaf in range(count)]
    conversation = {
        "conversation_id": CONVERSATION_ID,
        "kind": "group" if count <= GROUP_LIMIT else "talk",
        "epoch": 1,
        "creator_device_id": who[0],
        "created_at": 1.0,
    }
    devices = [
        {
            "device_id": one,
            "account_id": one,
            "signature_public_key": hashlib.sha256(one.encode()).digest(),
            "enrolled_at": 1.0,
            "path_seed": leaf,
            "certified_until": LATER,
        }
        for leaf, one in enumerate(who)
    ]
    sessions = [
        {"token_sha256": token.sha256(), "role": "device", "device_id": one, "created_at": 1.0, "expires_at": LATER}
        for token, one in zip(tokens, who, strict=True)
    ]
    async with store.write() as connection:
        await connection.execute(insert(schema.accounts), [{"account_id": one, "display_name": one, "created_at": 1.0} for one in who])
        await connection.execute(insert(schema.devices), devices)
        await connection.execute(insert(schema.sessions), sessions)
        await connection.execute(insert(schema.conversations), [conversation])
        await connection.execute(
            insert(schema.conversation_members), [{"conversation_id": CONVERSATION_ID, "account_id": one} for one in who]
        )
        joined = [{"conversation_id": CONVERSATION_ID, "device_id": one, "joined_epoch": 1} for one in who]
        await connection.execute(insert(schema.conversation_devices), joined)
    await store.close()
    return [token.reveal() for token in tokens]


@contextmanager
def serving(data: Path) -> Iterator[str]:
    """The address of a server process."""
    command = [sys.executable, "-m", "tramontana.cli.main", "serve", "--data", str(data), "--port", "0", "--log-level", "error"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["ready"]["address"]
    finally:
        process.terminate()
        process.communicate()


@asynccontextmanager
async def connected(url: str, leaf: int, token: str) -> AsyncIterator[ClientConnection]:
    """A member's socket, from an address that few others use: the limits count addresses."""
    where = url.replace("http", "ws") + "/api/v1/socket"
    # Nobody reads what comes after the commit: it must not stop the closing of the socket.
    address = f"127.0.2.{leaf // PHONES_AN_ADDRESS + 1}"
    async with connect(
        where, local_addr=(address, 0), open_timeout=60, ping_interval=None, max_queue=None, max_size=MAX_FRAME_BYTES
    ) as socket:
        await socket.send(json.dumps({"type": "hello", "token": token, "after": 0}))
        while json.loads(await socket.recv())["type"] != "ready":
            pass
        yield socket


async def delivered(socket: ClientConnection) -> tuple[float, bytes]:
    """When the next message came, and its bytes."""
    while True:
        text = await socket.recv()
        at = time.perf_counter()
        frame = json.loads(text)
        if frame["type"] == "deliver":
            return at, b64decode(frame["payload"])
        if frame["type"] == "ping":
            await socket.send(json.dumps({"type": "pong"}))


async def remove_one(members: Members, tokens: list[str], url: str) -> Timing:
    """The first member removes the second one."""
    async with AsyncExitStack() as stack:
        others = [leaf for leaf in range(len(tokens)) if leaf not in (0, REMOVED_LEAF)]
        receiving = []
        for leaf in others:  # those who wait for the rest answer the server's pings meanwhile
            socket = await stack.enter_async_context(connected(url, leaf, tokens[leaf]))
            receiving.append(asyncio.create_task(delivered(socket)))
        http = await stack.enter_async_context(httpx.AsyncClient(base_url=url, timeout=60))
        await asyncio.sleep(SETTLE_S)
        began = time.perf_counter()
        step = members.sender.commit(Remove(REMOVED_LEAF), now=NOW)
        assert step.state
        made = step.outcome.commit
        committed = time.perf_counter()
        body = {"epoch": 1, "commit": b64encode(made).decode(), "welcome": None, "removed": [identity(REMOVED_LEAF)]}
        headers = {"Authorization": f"Bearer {tokens[0]}"}
        answer = await http.post(f"/api/v1/conversations/{CONVERSATION_ID}/commits", json=body, headers=headers)
        assert answer.status_code == 201, answer.text
        arrivals = await asyncio.gather(*receiving)
        last = max(at for at, _ in arrivals)
        processing = time.perf_counter()
        opened = members.receiver.receive(arrivals[-1][1])
        assert opened.state
        processed = time.perf_counter()
        members.receiver.adopt(opened)
        members.sender.adopt(step)
        members.sender.adopt(members.sender.merge())
        assert members.sender.epoch_authenticator == members.receiver.epoch_authenticator
    return Timing(committed - began, last - committed, processed - processing, len(made))


def main() -> int:
    print(
        f"{'members':>8} {'commit ms':>10} {'deliver ms':>11} {'process ms':>11} {'all ms':>8} │ "
        "per-sender keys: a member's work ms, bytes through the server │ ÷ MLS: work, bytes"
    )
    met = True
    for count in SIZES:
        members = Members(count, warm=False)
        seal_s, open_s, share_bytes = share(members)
        with TemporaryDirectory() as folder:
            tokens = asyncio.run(fill(Path(folder), count))
            with serving(Path(folder)) as url:
                timing = asyncio.run(remove_one(members, tokens, url))
        others_s, others_bytes = seal_s + (count - 1) * open_s, count * share_bytes
        times = (timing.commit, timing.deliver, timing.process, timing.total)
        shown = " ".join(f"{1e3 * each:>{width}.0f}" for each, width in zip(times, (10, 11, 11, 8), strict=True))
        work = others_s / (timing.commit + timing.process)
        print(
            f"{count:>8} {shown} │ {1e3 * others_s:>10.0f} {others_bytes:>14,} │ {work:>5.1f} × {others_bytes / timing.size:>5.1f} ×",
            flush=True,
        )
        if count == GOAL_MEMBERS:
            met = timing.total < GOAL_S
    print(f"\ngoal: {GOAL_MEMBERS} members re-keyed in less than {GOAL_S:g} s, end to end: {'met' if met else 'missed'}")
    print(f"load average of this machine at the end: {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
