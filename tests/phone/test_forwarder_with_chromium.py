"""Unmodified browsers in a conference: one peer connection with three sections, RED, sealed frames left as they are."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Error, Page, sync_playwright

from tests.phone.forwarder_process import ForwarderProcess, running_forwarder
from tramontana.phone.forwarder.ticket import Kind

pytestmark = pytest.mark.system

CHROMIUM = "/usr/bin/chromium"
FLAGS = [
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
    "--allow-loopback-in-peer-connection",
]
PATIENCE_MS = 60_000
SECONDS_HEARD = 2

CONNECT = """async (name) => {
  const microphone = await navigator.mediaDevices.getUserMedia({ audio: true });
  const connection = new RTCPeerConnection({ iceServers: [] });
  const codecs = RTCRtpReceiver.getCapabilities("audio").codecs;
  const wanted = ["audio/red", "audio/opus"].map((type) => codecs.find((codec) => codec.mimeType === type));
  connection.addTransceiver(microphone.getTracks()[0], { direction: "sendrecv" });
  for (let slot = 1; slot < 3; slot++) connection.addTransceiver("audio", { direction: "recvonly" });
  for (const transceiver of connection.getTransceivers()) transceiver.setCodecPreferences(wanted);
  connection.ontrack = ({ track }) => { const audio = new Audio(); audio.srcObject = new MediaStream([track]); audio.play(); };
  await connection.setLocalDescription();
  await connection.setRemoteDescription({ type: "answer", sdp: await window.signal(name, connection.localDescription.sdp) });
  (window.connections ??= {})[name] = connection;
}"""

RESTART = """async (name) => {
  const connection = window.connections[name];
  connection.restartIce();
  await connection.setLocalDescription(await connection.createOffer());
  await connection.setRemoteDescription({ type: "answer", sdp: await window.signal(name, connection.localDescription.sdp) });
}"""

HEARD = """async (name) => {
  const stats = [...(await window.connections[name].getStats()).values()];
  return {
    state: window.connections[name].connectionState,
    received: stats.filter(({ type, packetsReceived }) => type === "inbound-rtp" && packetsReceived > 0)
      .map((report) => ({ packets: report.packetsReceived, lost: report.packetsLost, samples: report.totalSamplesReceived })),
    remote: stats.filter(({ type }) => type === "remote-inbound-rtp").map(({ packetsLost }) => packetsLost),
  };
}"""


@pytest.fixture
def page() -> Iterator[Page]:
    if not Path(CHROMIUM).exists():
        pytest.skip(f"{CHROMIUM} is not installed")
    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        except Error as error:
            pytest.fail(f"Chromium does not start: {error}")
        page = browser.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.route("http://localhost/", lambda route: route.fulfill(body="<title>phones</title>", content_type="text/html"))
        page.goto("http://localhost/")
        yield page
        browser.close()


@contextmanager
def admission(process: ForwarderProcess) -> Iterator[Callable[[str, str], str]]:
    """`signal(name, offer)` for a page: the server's part, on a thread of its own, as Playwright keeps this one."""
    asked: queue.Queue[tuple[str, str, queue.Queue[str]] | None] = queue.Queue()

    async def serve() -> None:
        async with process.connected() as server:
            while (request := await asyncio.to_thread(asked.get)) is not None:
                name, offer, answers = request
                answers.put(await server.admit(offer, name, kind=Kind.CONFERENCE))

    run: Callable[[Coroutine[Any, Any, None]], None] = asyncio.run
    thread = threading.Thread(target=lambda: run(serve()))
    thread.start()

    def signal(name: str, offer: str) -> str:
        answers: queue.Queue[str] = queue.Queue()
        asked.put((name, offer, answers))
        return answers.get(timeout=PATIENCE_MS / 1000)

    try:
        yield signal
    finally:
        asked.put(None)
        thread.join()


def until(page: Page, name: str, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Look until something holds, or fail with what was seen last."""
    seen: dict[str, Any] = {}
    for _ in range(PATIENCE_MS // 200):
        seen = page.evaluate(HEARD, name)
        if holds(seen):
            return seen
        page.wait_for_timeout(200)
    pytest.fail(f"{name}: {seen}")


def test_three_browsers_hear_each_other_and_an_ice_restart_loses_nothing(tmp_path: Path, page: Page) -> None:
    with running_forwarder(tmp_path) as process, admission(process) as signal:
        page.expose_function("signal", signal)
        names = ["ada", "bruno", "duty"]
        for name in names:
            page.evaluate(CONNECT, name)
        enough = 50 * SECONDS_HEARD
        for name in names:
            heard = until(page, name, lambda seen: sum(each["packets"] > enough for each in seen["received"]) == 2 and bool(seen["remote"]))
            assert heard["state"] == "connected"
            assert all(each["samples"] > 48_000 for each in heard["received"])  # opened and decoded, not only counted
            assert heard["remote"] == [0]  # the forwarder's receiver reports arrive
        page.evaluate(RESTART, "ada")
        before = page.evaluate(HEARD, "ada")["received"]
        target = min(each["packets"] for each in before) + enough
        after = until(page, "ada", lambda seen: all(each["packets"] > target for each in seen["received"]))
        assert after["state"] == "connected"
        assert sum(each["lost"] for each in after["received"]) == 0
        # What went by was RED (RFC 2198), which browsers do not tell in their statistics.
        process.process.terminate()
        assert process.process.stdout is not None
        counts = dict(word.split() for word in process.process.stdout.read().strip().removeprefix("The forwarder stops. ").split(", "))
        assert int(counts["received_red"]) >= 0.99 * int(counts["received"]) > 0
