"""An unmodified browser calls itself through two fronts of the path player and the relay: the media plane, without the rest."""

from __future__ import annotations

import json
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Error, Page, sync_playwright

from tests.phone.relay_process import Relay, built_in_relay, coturn
from tramontana.emulation.control_protocol import Attach
from tramontana.emulation.driver import PathPlayer
from tramontana.path_profile import PathProfile

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
]

ONE_WAY_DELAY_S = 0.040
ROUND_TRIP_S = 4 * ONE_WAY_DELAY_S
"""Each of the two phones has its own path, and a message and its echo cross both."""
TOLERANCE_S = 0.2 * ONE_WAY_DELAY_S
"""The quickest of 20 round trips may exceed the profile by this much: a fifth of one path, far less than one path too many or too few."""

CONNECT = """async ([first, second]) => {
  const states = [];
  const phone = (server, name) => {
    const connection = new RTCPeerConnection({ iceServers: [server], iceTransportPolicy: "relay" });
    connection.oniceconnectionstatechange = () => states.push(name + " " + connection.iceConnectionState);
    connection.onicecandidateerror = (event) => states.push(name + " error " + event.errorCode + " " + event.errorText);
    return connection;
  };
  const a = phone(first, "a"), b = phone(second, "b");
  const candidates = [];
  a.onicecandidate = ({ candidate }) => { if (candidate) { candidates.push(candidate.candidate); b.addIceCandidate(candidate); } };
  b.onicecandidate = ({ candidate }) => { if (candidate) { candidates.push(candidate.candidate); a.addIceCandidate(candidate); } };
  const channel = a.createDataChannel("echo", { ordered: false, maxRetransmits: 0 });
  b.ondatachannel = (event) => { event.channel.onmessage = (message) => event.channel.send(message.data); };
  const opened = new Promise((resolve) => { channel.onopen = () => resolve(true); setTimeout(() => resolve(false), 20000); });
  await a.setLocalDescription(); await b.setRemoteDescription(a.localDescription);
  await b.setLocalDescription(); await a.setRemoteDescription(b.localDescription);
  const open = await opened;
  const roundTrips = [];
  for (let i = 0; open && i < 20; i++) {
    const sent = performance.now();
    const echoed = new Promise((resolve) => { channel.onmessage = resolve; });
    channel.send("echo " + i);
    await echoed;
    roundTrips.push((performance.now() - sent) / 1000);
  }
  a.close(); b.close();
  return { open, states, candidates, roundTrips };
}"""


@pytest.fixture(params=[(), ("--allow-loopback-in-peer-connection",)], ids=["plain", "loopback-allowed"])
def page(request: pytest.FixtureRequest) -> Iterator[Page]:
    if not Path(CHROMIUM).exists():
        pytest.skip(f"{CHROMIUM} is not installed")
    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS, *request.param])
        except Error as error:
            pytest.fail(f"Chromium does not start: {error}")
        page = browser.new_page()
        page.route("http://localhost/", lambda route: route.fulfill(body="<title>phones</title>", content_type="text/html"))
        page.goto("http://localhost/")
        yield page
        browser.close()


def forty_milliseconds() -> PathProfile:
    always: Callable[[float], np.ndarray[Any, np.dtype[np.float64]]] = lambda value: np.full(2, value)  # noqa: E731
    none = np.asarray([], dtype=np.float64)
    return PathProfile(
        place="test",
        carrier="test",
        source="simulated, for a test",
        point_of_presence="test",
        satellite_names=(),
        gateway_names=(),
        time_unix_s=np.asarray([time.time() - 1, time.time() + 3600]),
        one_way_delay_s=always(ONE_WAY_DELAY_S),
        capacity_down_bps=always(1e9),
        capacity_up_bps=always(1e9),
        loss=always(0.0),
        elevation_deg=always(50.0),
        serving=np.full(2, -1, dtype=np.int32),
        gateway=np.full(2, -1, dtype=np.int32),
        outage_start_unix_s=none,
        outage_end_unix_s=none,
        handover_unix_s=none,
    )


@contextmanager
def fronts(directory: Path, relay: Relay) -> Iterator[list[int]]:
    """The ports of two fronts in front of the relay."""
    control = directory / "player.sock"
    player = PathPlayer(control)
    thread = threading.Thread(target=player.run)
    thread.start()
    try:
        with socket.socket(socket.AF_UNIX) as controller, controller.makefile("rb") as answers:
            controller.connect(str(control))
            for flow in ("a", "b"):
                controller.sendall(Attach(flow, forty_milliseconds(), 1, ("127.0.0.1", relay.port)).encode())
            yield [json.loads(answers.readline())["port"] for _ in range(2)]
    finally:
        player.stop()
        thread.join()


@pytest.mark.parametrize("kind", [built_in_relay, coturn], ids=["built-in", "coturn"])
def test_a_call_through_fronts_and_relay(tmp_path: Path, page: Page, kind: Callable[[Path], AbstractContextManager[Relay]]) -> None:
    if kind is coturn and shutil.which("turnserver") is None:
        pytest.skip("coturn is not installed; the built-in relay is tested all the same")
    with kind(tmp_path) as relay, fronts(tmp_path, relay) as ports:
        servers = []
        for device, port in zip(("a", "b"), ports, strict=True):
            issued = relay.secret.issue(device, time.time() + 600)
            servers.append({"urls": f"turn:127.0.0.1:{port}?transport=udp", "username": issued.username, "credential": issued.credential})
        call = page.evaluate(CONNECT, servers)
    assert call["open"], call["states"]
    assert call["candidates"]
    assert all(" typ relay " in candidate and " 127.0.0.1 " in candidate for candidate in call["candidates"])
    quickest = min(call["roundTrips"])
    assert ROUND_TRIP_S - 0.001 <= quickest <= ROUND_TRIP_S + TOLERANCE_S, call["roundTrips"]
