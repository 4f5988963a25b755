"""The phone without a browser: it hears and is heard by a real Chromium phone, in both directions of calling, and measures a path."""

from __future__ import annotations

import json
import os
import queue
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Playwright, expect

from tests.system.audio import OTHER_SPEECH, SAME_SPEECH, match, read_wav
from tests.system.conftest import Recordings
from tests.system.phones import NEEDS_CHROMIUM, NEEDS_SPEECH, PATIENCE_MS, RAW_MICROPHONE, phone
from tests.system.service import Service, running
from tests.system.test_call import short_code

pytestmark = [pytest.mark.system, NEEDS_CHROMIUM, NEEDS_SPEECH]
PATIENCE_S = 120.0


class Command:
    """One running `tramontana phone …` and the lines that it prints."""

    def __init__(self, home: Path, *arguments: str) -> None:
        command = [sys.executable, "-m", "tramontana.cli.main", "phone", *arguments]
        kept = ["--data", str(home / "device"), "--passphrase-file", str(home / "passphrase")]
        self._errors = (home / "errors").open("a+")
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        self._process = subprocess.Popen([*command, *kept], stdout=subprocess.PIPE, stderr=self._errors, text=True, env=environment)
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def line(self) -> dict[str, Any]:
        """The next object that it prints."""
        line = self._lines.get(timeout=PATIENCE_S)
        if line is None:
            self._errors.seek(0)
            raise AssertionError(f"the phone ended: {self._errors.read()}")
        said: dict[str, Any] = json.loads(line)
        return said

    def event(self, kind: str) -> dict[str, Any]:
        """The next one, which must be of this kind."""
        said = self.line()
        assert said["event"] == kind, said
        return said

    def end(self) -> int:
        """As Ctrl-C does, where it runs still."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
        return self.wait()

    def wait(self) -> int:
        try:
            status = self._process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise
        finally:
            self._errors.close()
        self._reader.join(PATIENCE_S)
        assert self._process.stdout is not None
        self._process.stdout.close()
        return status


@contextmanager
def headless(home: Path, *arguments: str) -> Iterator[Command]:
    command = Command(home, *arguments)
    try:
        yield command
    finally:
        if command._process.poll() is None:
            command.end()


def enrolled(home: Path, link: str, name: str) -> Path:
    """A directory with a certified device."""
    home.mkdir(mode=0o700)
    (home / "passphrase").write_text("a passphrase of the tests\n")
    (home / "passphrase").chmod(0o600)
    kept = ["--data", str(home / "device"), "--passphrase-file", str(home / "passphrase")]
    command = [sys.executable, "-m", "tramontana.cli.main", "phone", "enrol", link, "--name", name, *kept]
    said = subprocess.run(command, check=True, capture_output=True, text=True, timeout=PATIENCE_S).stdout
    assert f"Certified as {name}." in said
    return home


def heard(recorded: Path, speech: Path) -> float:
    """The best STOI of any six seconds: a machine that is short of processor time garbles a piece."""
    samples, rate = read_wav(recorded)
    starts = range(0, max(1, samples.size - 6 * rate), 3 * rate)
    return max(match(samples[start : start + 6 * rate], rate, speech).stoi for start in starts)


def invited(service: Service) -> str:
    """One more invitation, for whom the custodians of the demonstration will let in."""
    command = [sys.executable, "-m", "tramontana.cli.main", "invite", "--data", str(service.data)]
    said = subprocess.run(command, check=True, capture_output=True, text=True, timeout=PATIENCE_S).stdout
    return service.authorise(said.split()[0])


def measured(monitor: Path, bruno: Path, voice: Path) -> dict[str, Any]:
    """One measurement of the way from one headless phone to the other."""
    with (
        headless(bruno, "answer", "--play", str(voice), "--json") as answering,
        headless(monitor, "measure", "Bruno", "--seconds", "8", "--count", "1", "--json") as measuring,
    ):
        said = measuring.line()
        assert measuring.wait() == 0
        assert [answering.line()["event"] for _ in range(3)] == ["waiting", "talking", "ended"]
        assert answering.end() == 0
        return said


def test_a_headless_phone_and_a_browser_hear_each_other_and_a_path_is_measured(
    playwright: Playwright, recordings: Recordings, tmp_path: Path
) -> None:
    with running(tmp_path / "data") as service, phone(playwright, "Ada", recordings.ship, RAW_MICROPHONE) as ada:
        first, second = service.invitations()
        bruno = enrolled(tmp_path / "bruno", second, "Bruno")
        ada.enrol(first)
        ada.open_thread("Bruno")

        voice = ("--play", str(recordings.perugia), "--record")
        with headless(bruno, "answer", *voice, str(tmp_path / "one.wav"), "--calls", "1", "--json") as answering:
            answering.event("waiting")
            ada.call("Bruno")
            ada.expect_audio()
            assert re.sub(r"\s", "", short_code(ada)) == answering.event("talking")["code"]
            at_ada = ada.expect_speech(recordings.perugia)
            assert match(*at_ada, recordings.ship).stoi < OTHER_SPEECH
            ada.hang_up()
            assert answering.event("ended")["outcome"] == "answered"
            assert answering.wait() == 0
        ada.page.get_by_role("button", name="Close").click()
        assert heard(tmp_path / "one.wav", recordings.ship) > SAME_SPEECH

        arguments = (*voice, str(tmp_path / "two.wav"), "--seconds", "300", "--json")
        with headless(bruno, "call", "Ada", *arguments) as calling:
            calling.event("calling")
            ada.answer()
            ada.expect_audio()
            calling.event("talking")
            ada.expect_speech(recordings.perugia)
            ada.hang_up()
            assert calling.event("ended")["outcome"] == "answered"
            assert calling.wait() == 0
        expect(ada.page.get_by_text("Incoming call").first).to_be_visible(timeout=PATIENCE_MS)
        assert heard(tmp_path / "two.wav", recordings.ship) > SAME_SPEECH

        said = measured(enrolled(tmp_path / "monitor", invited(service), "Monitor"), bruno, recordings.perugia)
        assert (said["outcome"], said["radio_path"], said["fault"]) == ("answered", "simulated", None)
        assert said["packets"]["count"] > 100
        assert 0 <= said["loss"]["share"] < 0.5
        assert said["round_trip"]["ms"] > 20  # two satellite paths, there and back
        assert said["delay"]["ms"] > said["round_trip"]["ms"] / 2 + 400
        assert said["set_up"]["ms"] > said["round_trip"]["ms"]
        assert all("measured" in said[name]["label"] for name in ("set_up", "loss", "jitter", "round_trip", "gaps"))
        assert "computed" in said["delay"]["label"]
