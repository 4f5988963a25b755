"""kill -9 at random points: no text is lost, and no message reaches an operator's centre twice."""

from __future__ import annotations

import asyncio
import json
import random
import sqlite3
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.cell.couriers import CENTRE, OFFICE, MemoryCourier, keep_password
from tramontana.cell.smpp.driver import SmscServer
from tramontana.cell.smpp.pdu import Message
from tramontana.control.store.database import Store

pytestmark = pytest.mark.anyio
TEXTS = 90
KILLS = 5
SETTINGS = CENTRE + "messages_per_s = 400\nwindow = 8\n"


class SlowCentre(MemoryCourier):
    """An operator's centre that takes its time before it answers, so that there is always something under way."""

    count = 0

    async def received(self, link: str, session: str, messages: Sequence[Message]) -> Sequence[tuple[int, str]]:
        self.messages += messages  # from here on the centre has them, whatever becomes of its answer
        self.news.set()
        await asyncio.sleep(0.02)
        SlowCentre.count += len(messages)
        return [(0, f"{SlowCentre.count}-{position}") for position in range(len(messages))]


async def test_none_is_lost_and_none_comes_twice(tmp_path: Path) -> None:
    chance = random.Random(6)
    centre = SlowCentre()
    ready: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    async with asyncio.TaskGroup() as group:
        server = SmscServer("OPERATOR", [OFFICE], centre)
        serving = group.create_task(server.run("127.0.0.1", 0, ready.set_result))
        keep_password(tmp_path)
        (tmp_path / "operators.toml").write_text(SETTINGS.format(port=await ready))
        await (await Store.open(tmp_path / "data")).close()
        kept: set[str] = set()
        offered = 0
        for life in range(KILLS + 1):
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                Path(__file__).with_name("texts_process.py"),
                tmp_path / "data",
                tmp_path / "operators.toml",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
            )
            assert process.stdin is not None
            assert process.stdout is not None
            async with asyncio.timeout(60):
                assert json.loads(await process.stdout.readline()) == {"ready": True}
                last = life == KILLS
                wanted = TEXTS if last else chance.randrange(offered, min(TEXTS, offered + 2 * TEXTS // KILLS) + 1)
                again = [number for number in range(offered) if f"id{number}" not in kept]  # not confirmed: the sender asks again
                for number in [*again, *range(offered, wanted)]:
                    order = {"to": "+39333", "text": f"testo {number}", "id": f"id{number}"}
                    process.stdin.write(json.dumps(order).encode() + b"\n")
                offered = wanted
                if not last:
                    seen_before = len(centre.messages)
                    for _ in range(chance.randrange(0, len(again) + 20)):
                        line = await asyncio.wait_for(process.stdout.readline(), 1) if len(kept) < wanted else b""
                        if not line:
                            break
                        kept.add(json.loads(line)["kept"])
                    until = seen_before + chance.randrange(0, 15)
                    try:
                        async with asyncio.timeout(0.5):
                            await centre.until(lambda until=until: len(centre.messages) >= until)  # type: ignore[misc]
                    except TimeoutError:
                        pass
                    process.kill()
                    while line := await process.stdout.readline():  # what it said before it died holds
                        if line.endswith(b"\n"):
                            kept.add(json.loads(line)["kept"])
                else:
                    while len(kept) < TEXTS:
                        kept.add(json.loads(await process.stdout.readline())["kept"])
                    await settled(tmp_path / "data" / "tramontana.db")
                    process.stdin.close()
                await process.wait()
        serving.cancel()
    seen = Counter(message.short_message.decode("ascii") for message in centre.messages)
    assert max(seen.values()) == 1
    states = Counter[str]()
    missing = 0
    with sqlite3.connect(tmp_path / "data" / "tramontana.db") as books:
        for body, state in books.execute("SELECT body, state FROM outgoing_texts JOIN outgoing_messages USING (text_id)"):
            states[state] += 1
            assert state in ("accepted", "unknown")
            assert seen[body] == 1 or state == "unknown"
            missing += body not in seen
    books.close()
    assert sum(states.values()) == TEXTS  # each that was offered stands in the books once
    assert states["unknown"] <= KILLS * 8  # only what was in a window when the process was killed
    assert missing <= states["unknown"]
    assert states["unknown"] > 0  # the kills did hit something


async def settled(database: Path) -> None:
    """Until nothing waits and nothing is under way."""
    while open_messages(database):  # noqa: ASYNC110 - another process writes that database
        await asyncio.sleep(0.1)


def open_messages(database: Path) -> int:
    books = sqlite3.connect(database)
    try:
        query = "SELECT count(*) FROM outgoing_messages WHERE state IN ('queued', 'sending')"
        return int(books.execute(query).fetchone()[0])
    finally:
        books.close()
