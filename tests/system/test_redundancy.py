"""Copies that follow the sky, in real browsers: one call, one path with gaps, one direction with them and one without."""

from __future__ import annotations

import json
import socket
import sqlite3
import time
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Playwright, Route

from tests.system.conftest import Recordings
from tests.system.phones import NEEDS_CHROMIUM, NEEDS_SPEECH, PATIENCE_MS, RAW_MICROPHONE, Phone, phone
from tests.system.service import Service, running
from tests.system.test_call import talk
from tramontana.path_profile import NO_SATELLITE, PathProfile

pytestmark = [pytest.mark.system, NEEDS_CHROMIUM, NEEDS_SPEECH]

GAP_S = 0.2
GAP_EVERY_S = 6.0
LISTEN_S = 18.0
SAMPLES_PER_S = 48_000
POLL_MS = 1_000

# The page's orders to write copies never reach the worker: the browser's own redundancy, one copy of the last frame, is what remains.
WITHOUT_SKY = """
(() => {
  const { postMessage } = Worker.prototype;
  Worker.prototype.postMessage = function (message, ...rest) {
    if (message?.kind !== 'copies') postMessage.call(this, message, ...rest);
  };
})();
"""


def profile(start: float, *, gaps: bool) -> PathProfile:
    """20 minutes of a steady path, with gaps (always at the same instants) or without."""
    times = start + np.arange(0.0, 1200.0, 15.0)
    n = times.shape[0]
    starts = (np.floor(start / GAP_EVERY_S) + np.arange(1.0, 190.0)) * GAP_EVERY_S if gaps else np.empty(0)
    return PathProfile(
        place="test",
        carrier="test",
        source="simulated, test",
        point_of_presence="test",
        satellite_names=(),
        gateway_names=(),
        time_unix_s=times,
        one_way_delay_s=np.full(n, 0.03),
        capacity_down_bps=np.full(n, 2e7),
        capacity_up_bps=np.full(n, 5e6),
        loss=np.zeros(n),
        elevation_deg=np.full(n, np.nan),
        serving=np.full(n, NO_SATELLITE, dtype=np.int32),
        gateway=np.full(n, NO_SATELLITE, dtype=np.int32),
        outage_start_unix_s=starts,
        outage_end_unix_s=starts + (GAP_S if gaps else 0.0),
        handover_unix_s=starts,
    )


def device_of(service: Service, phone: Phone) -> str:
    with sqlite3.connect(f"file:{service.data / 'tramontana.db'}?mode=ro", uri=True) as database:
        query = "SELECT device_id FROM devices JOIN accounts USING (account_id) WHERE display_name = ?"
        (device_id,) = database.execute(query, (phone.name,)).fetchone()
    return str(device_id)


def play(service: Service, profiles: dict[str, PathProfile]) -> None:
    """Have the path player play other profiles for phones in a call, as it does when a phone chooses another carrier."""
    arguments = Path(f"/proc/{service.child_pid('player')}/cmdline").read_bytes().decode().split("\0")
    serve = Path(f"/proc/{service.child_pid('serve')}/cmdline").read_bytes().decode().split("\0")
    host, _, port = serve[serve.index("--relay") + 1].partition(":")
    with socket.socket(socket.AF_UNIX) as control:
        control.connect(arguments[arguments.index("--control") + 1])
        answers = control.makefile("rb")
        for flow, wanted in profiles.items():
            request = {"op": "attach", "flow": flow, "profile": json.loads(wanted.to_json()), "seed": 1, "upstream": [host, int(port)]}
            control.sendall(json.dumps(request).encode() + b"\n")
            assert json.loads(answers.readline())["ok"]


def show(to: Phone, *, gaps: bool) -> None:
    """The server tells this phone of this path."""

    def fulfil(route: Route) -> None:
        answer = json.dumps({"profile": json.loads(profile(time.time(), gaps=gaps).to_json()), "simulated": True})
        route.fulfill(status=200, content_type="application/json", body=answer)

    to.page.route("**/api/v1/me/path?*", fulfil)


def wait_until_it_plays_late(receiver: Phone) -> None:
    """Until the receiver holds sound back for longer than a gap, so that a late copy is of use."""
    deadline = time.monotonic() + PATIENCE_MS / 1000
    last = receiver.heard()
    while time.monotonic() < deadline:
        receiver.page.wait_for_timeout(POLL_MS)
        now = receiver.heard()
        emitted = now["jitterBufferEmittedCount"] - last["jitterBufferEmittedCount"]
        if emitted > 0 and (now["jitterBufferDelay"] - last["jitterBufferDelay"]) / emitted > GAP_S:
            return
        last = now
    raise AssertionError(f"{receiver.name} never played late: {last}")


def concealed(of: Phone, since: dict[str, float]) -> float:
    return of.heard()["concealedSamples"] - since["concealedSamples"]


def test_sky_aware_copies_carry_the_sound_over_the_gaps(playwright: Playwright, recordings: Recordings, tmp_path: Path) -> None:
    with (
        running(tmp_path / "data") as service,
        phone(playwright, "Ada", recordings.ship, RAW_MICROPHONE) as ada,
        phone(playwright, "Bruno", recordings.perugia, RAW_MICROPHONE, WITHOUT_SKY) as bruno,
    ):
        show(ada, gaps=True)
        show(bruno, gaps=False)
        for each, invitation in zip((ada, bruno), service.invitations(), strict=True):
            each.enrol(invitation)
        ada.open_thread("Bruno")
        talk(ada, bruno)
        now = time.time()
        play(service, {device_of(service, ada): profile(now, gaps=True), device_of(service, bruno): profile(now, gaps=False)})
        for each in (ada, bruno):
            wait_until_it_plays_late(each)
        before = {each.name: each.heard() for each in (ada, bruno)}
        wanted = before["Bruno"]["totalSamplesReceived"] + LISTEN_S * SAMPLES_PER_S
        while bruno.heard()["totalSamplesReceived"] < wanted:
            bruno.page.wait_for_timeout(POLL_MS)
        with_sky, without = concealed(bruno, before["Bruno"]), concealed(ada, before["Ada"])
        # Two gaps of 200 ms at least: without the sky's copies about 0.18 s of each are made up.
        assert without > 2 * 0.1 * SAMPLES_PER_S
        assert with_sky < without / 4
