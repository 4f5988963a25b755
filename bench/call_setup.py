"""How long a call takes to set up over a satellite path, its round trips counted, in real browsers.

Each phone reaches the server through a line of its own that delays whatever passes, both ways, by the one-way delay of a path: nothing
(the bound: what the machine itself takes), the built-in constellation, and a geostationary satellite, all over the same service in the
same run. Media and signalling both cross it: packets of the call through the product's path player, requests and the WebSocket through
the delaying line.

- *rings*: from the caller's press until the callee's telephone shows the call.
- *sound*: from the callee's press of Answer until the first sound, decrypted and decoded, is played at the later of the two. While it rings
  the phones make the path ready, so it is measured twice: answered the moment that it rings (nobody does), and after `TAKES_S`.
- *round trips*: how much each grows with a round trip between phone and server: the slope of a line through all delays.

What a person takes to answer is in none of them. Run: python bench/call_setup.py
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

import numpy as np
from playwright.sync_api import Page, expect, sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.system.audio import speak
from tests.system.phones import PATIENCE_MS, Phone, phone
from tests.system.service import running

PLACE = "rome"
CARRIERS = ("fibre", "starlink", "sicral-2")
BOUND, OURS = "none", "starlink"
CALLS = 5
TAKES_S = 3.0
"""What a quick person takes to reach for a telephone."""
GOAL_S = 1.0
"""Design: call set-up in less than a second over a satellite path."""
READ_BYTES = 65_536

# Leaves a promise of when (ms since 1970) somebody could have read the text.
EXPECT = """
([name, text]) => {
  window[name] = new Promise((resolve) => {
    const look = () => {
      if (!document.body.innerText.includes(text)) return;
      observer.disconnect();
      resolve(Date.now());
    };
    const observer = new MutationObserver(look);
    observer.observe(document.body, { subtree: true, childList: true, characterData: true });
    look();
  });
}
"""
# The same for the first sound that was decrypted, decoded and played.
EXPECT_SOUND = """
() => {
  const heard = async () => {
    const stats = (await window.testWatch.connections.at(-1)?.getStats()) ?? new Map();
    return [...stats.values()].some((entry) => entry.type === 'inbound-rtp' && entry.totalAudioEnergy > 0);
  };
  window.sound = new Promise((resolve) => {
    const look = async () => ((await heard()) ? resolve(Date.now()) : setTimeout(look, 10));
    void look();
  });
}
"""
WHEN = """
(name) => Promise.race([window[name], new Promise((_, reject) => setTimeout(() => reject(new Error(`no ${name} in a minute`)), 60_000))])
"""
# Presses, and says when.
PRESS = "(button) => { const at = Date.now(); button.click(); return at; }"


class Line:
    """A TCP port of the loopback interface that passes everything on to the server, `one_way_s` later in both directions."""

    def __init__(self, server_port: int) -> None:
        self.one_way_s = 0.0
        self.port = 0
        self._server_port = server_port
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, ready: threading.Event, ended: asyncio.Event) -> None:
        async with await asyncio.start_server(self._accept, "127.0.0.1", 0) as server:
            self.port = server.sockets[0].getsockname()[1]
            ready.set()
            await ended.wait()
        for task in self._tasks:
            task.cancel()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(2 * self.one_way_s)  # the handshake of TCP
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._server_port)
        for source, target in ((reader, far_writer), (far_reader, writer)):
            task = asyncio.create_task(self._pass_on(source, target))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pass_on(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def deliver() -> None:
            while True:
                due, data = await waiting.get()
                await asyncio.sleep(max(0.0, due - loop.time()))
                if not data:
                    return
                target.write(data)
                await target.drain()

        delivering = asyncio.create_task(deliver())
        try:
            data = b"-"
            while data:
                data = await source.read(READ_BYTES)
                waiting.put_nowait((loop.time() + self.one_way_s, data))
            await delivering
        except (ConnectionError, asyncio.CancelledError):
            delivering.cancel()
        finally:
            target.close()


@contextmanager
def lines(server_port: int) -> Iterator[tuple[Line, Line]]:
    """A line for each of two phones, served by a thread."""
    pair = (Line(server_port), Line(server_port))
    loop, ended = asyncio.new_event_loop(), asyncio.Event()
    signs = [threading.Event() for _ in pair]

    async def serve() -> None:
        await asyncio.gather(*(line.run(sign, ended) for line, sign in zip(pair, signs, strict=True)))

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    for sign in signs:
        sign.wait()
    try:
        yield pair
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join()
        loop.close()


def one_way_s(carrier: str) -> float:
    """The delay of the path that the service plays for a phone at the place, from now on."""
    command = [
        sys.executable,
        "-m",
        "tramontana.cli.main",
        "sky",
        "profile",
        "--place",
        PLACE,
        "--carrier",
        carrier,
        "--seconds",
        "60",
        "--json",
    ]
    profile = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    return statistics.fmean(delay for delay in profile["one_way_delay_s"] if delay is not None)


def choose(page: Page, carrier: str) -> None:
    page.locator("button.path-strip").click()
    page.locator(f'input[name="carrier"][value="{carrier}"]').check()
    page.get_by_role("button", name="Use these").click()


def call_once(caller: Phone, callee: Phone, takes_s: float = 0.0) -> tuple[float, float]:
    """(seconds until it rings, seconds from the answer, so long after, until both hear)."""
    callee.page.evaluate(EXPECT, ["rings", "Answer"])
    pressed = caller.page.get_by_role("button", name=f"Call {callee.name}").evaluate(PRESS)
    rang = callee.page.evaluate(WHEN, "rings")
    callee.page.wait_for_timeout(1e3 * takes_s)
    answered = callee.page.get_by_role("button", name="Answer").evaluate(PRESS)
    for each in (caller, callee):
        each.page.evaluate(EXPECT_SOUND)
    heard = max(each.page.evaluate(WHEN, "sound") for each in (caller, callee))
    caller.hang_up()
    for each, other in ((caller, callee), (callee, caller)):
        each.page.get_by_role("button", name="Close").click()
        expect(each.page.get_by_role("button", name=f"Call {other.name}")).to_be_visible(timeout=PATIENCE_MS)
    return (rang - pressed) / 1_000, (heard - answered) / 1_000


def measure(work: Path) -> dict[str, tuple[float, float, float, float]]:
    """Of each carrier, and of signalling without delay: (round trip, until it rings, until both hear: at once, later), medians in s."""
    results = {}
    speech = speak("one two three four five six seven eight nine ten", "en-gb", work / "speech.wav")
    with (
        sync_playwright() as driver,
        running(work / "data") as service,
        phone(driver, "Ada", speech) as ada,
        phone(driver, "Bruno", speech) as bruno,
        lines(service.port) as pair,
    ):
        for each, line, invitation in zip((ada, bruno), pair, service.invitations(), strict=True):
            each.enrol(invitation.replace(str(urlsplit(invitation).port), str(line.port), 1))
        ada.open_thread("Bruno")
        bruno.open_thread("Ada")
        call_once(ada, bruno)  # the conversation's group is made with the first call
        for name in (BOUND, *CARRIERS):
            carrier = CARRIERS[0] if name == BOUND else name
            delay_s = 0.0 if name == BOUND else one_way_s(carrier)
            for each, line in zip((ada, bruno), pair, strict=True):
                choose(each.page, carrier)
                line.one_way_s = delay_s
            ada.page.wait_for_timeout(3_000)
            at_once = [call_once(ada, bruno) for _ in range(CALLS)]
            later = [call_once(ada, bruno, TAKES_S) for _ in range(CALLS)]
            rings = statistics.median(rung for rung, _ in (*at_once, *later))
            hurried, sound = (statistics.median(heard for _, heard in calls) for calls in (at_once, later))
            results[name] = (2 * delay_s, rings, hurried, sound)
            print(f"{name:>10} {2e3 * delay_s:>14.0f} {rings:>9.2f} {hurried:>12.2f} {sound:>9.2f} {rings + sound:>9.2f}", flush=True)
    return results


def main() -> int:
    after = f"after {TAKES_S:g} s"
    print(f"{'path':>10} {'round trip ms':>14} {'rings s':>9} {'at once s':>12} {after:>9} {'both s':>9}   medians of {CALLS} calls")
    with TemporaryDirectory() as work:
        results = measure(Path(work))
    trips, rings, hurried, sound = (np.array(column) for column in zip(*results.values(), strict=True))
    for what, times in (
        ("until it rings", rings),
        ("from an answer at once to sound", hurried),
        (f"from the answer {after} to sound", sound),
    ):
        print(f"round trips {what}: {np.polyfit(trips, times, 1)[0]:.1f}")
    ours, bound = (results[name][1] + results[name][3] for name in (OURS, BOUND))
    verdict = "met" if ours < GOAL_S else "missed"
    print(f"over {OURS}: {ours:.2f} s, {ours / bound:.2f} times the bound; goal: less than {GOAL_S:g} s: {verdict}")
    print(f"load average of this machine at the end: {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")
    return 0 if ours < GOAL_S else 1


if __name__ == "__main__":
    sys.exit(main())
