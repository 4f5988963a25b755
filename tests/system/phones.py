"""Phones as people use them: real Chromium, one process a phone, each with a fake microphone that reads a recording aloud.

Everything is done through what a person sees, by role and name. Beside it, `WATCH` lets a test listen at the loudspeaker and collect
the keys that the browser handles, so that it can look for them where they must not be.
"""

from __future__ import annotations

import base64
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, Playwright, expect

from tests.system.audio import SAME_SPEECH, Samples, match

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = (
    "--no-sandbox",  # continuous integration runs as root
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
    "--allow-loopback-in-peer-connection",  # a host may have no other interface
    "--disable-dev-shm-usage",
    "--disable-gpu",
    # It must call nobody but our server.
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
NEEDS_CHROMIUM = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
NEEDS_SPEECH = pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed")
PATIENCE_MS = 60_000

WATCH = """
(() => {
  const watch = { tracks: [], connections: [], keys: new Set(), sdp: new Set() };
  Object.defineProperty(window, 'testWatch', { value: watch });
  const remember = (bytes) => {
    const view = ArrayBuffer.isView(bytes) ? new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength) : new Uint8Array(bytes);
    if (view.length >= 16 && view.length <= 4096) watch.keys.add(btoa(String.fromCharCode(...view)));
  };
  const { importKey } = SubtleCrypto.prototype;
  SubtleCrypto.prototype.importKey = function (format, data, algorithm, extractable, usages) {
    const secret = !usages.every((usage) => usage === 'verify');
    if (secret && format !== 'jwk' && format !== 'spki') remember(data);
    return importKey.call(this, format, data, algorithm, extractable, usages);
  };
  const { postMessage } = Worker.prototype;
  Worker.prototype.postMessage = function (message, ...rest) {
    for (const { baseKey } of Object.values(message?.keys ?? {})) remember(baseKey);
    return postMessage.call(this, message, ...rest);
  };
  const { setRemoteDescription } = RTCPeerConnection.prototype;
  RTCPeerConnection.prototype.setRemoteDescription = function (description) {
    watch.sdp.add(description.sdp);
    return setRemoteDescription.call(this, description);
  };
  const Connection = RTCPeerConnection;
  window.RTCPeerConnection = class extends Connection {
    constructor(...settings) {
      super(...settings);
      watch.connections.push(this);
      this.addEventListener('track', (event) => watch.tracks.push(event.track));
    }
  };
})();
"""

# Echo canceller, noise suppression and gain control change what the microphone hears; they are off where quality is measured.
RAW_MICROPHONE = """
(() => {
  const { getUserMedia } = MediaDevices.prototype;
  MediaDevices.prototype.getUserMedia = function (constraints) {
    const raw = { echoCancellation: false, noiseSuppression: false, autoGainControl: false, channelCount: 1 };
    return getUserMedia.call(this, { ...constraints, audio: raw });
  };
})();
"""

# The page hands a media key to its worker; on the way one bit is turned.
WRONG_MEDIA_KEY = """
(() => {
  const { postMessage } = Worker.prototype;
  Worker.prototype.postMessage = function (message, ...rest) {
    if (message?.kind === 'keys') {
      const baseKey = new Uint8Array(message.keys.send.baseKey);
      baseKey[0] ^= 1;
      message = { ...message, keys: { ...message.keys, send: { ...message.keys.send, baseKey } } };
    }
    return postMessage.call(this, message, ...rest);
  };
})();
"""

LISTEN = """
async (seconds) => {
  const track = window.testWatch.tracks.at(-1);
  const reader = new MediaStreamTrackProcessor({ track: track.clone() }).readable.getReader();
  const pieces = [];
  let rate = 48000, have = 0;
  while (have < seconds * rate) {
    const { value, done } = await reader.read();
    if (done) break;
    rate = value.sampleRate;
    const samples = new Float32Array(value.numberOfFrames);
    value.copyTo(samples, { planeIndex: 0, format: 'f32-planar' });
    value.close();
    pieces.push(samples);
    have += samples.length;
  }
  await reader.cancel();
  const all = new Int16Array(have);
  let at = 0;
  for (const piece of pieces) for (const sample of piece) all[at++] = Math.max(-1, Math.min(1, sample)) * 32767;
  let text = '';
  const bytes = new Uint8Array(all.buffer);
  for (let i = 0; i < bytes.length; i += 32768) text += String.fromCharCode(...bytes.subarray(i, i + 32768));
  return [rate, btoa(text)];
}
"""

HEARD = """
async () => {
  const stats = await window.testWatch.connections.at(-1).getStats();
  return [...stats.values()].find((entry) => entry.type === 'inbound-rtp') ?? {};
}
"""


class Phone:
    """One phone in one browser window."""

    def __init__(self, page: Page, name: str) -> None:
        self.page = page
        self.name = name
        self.console: list[str] = []
        page.on("console", lambda message: self.console.append(message.text))
        page.on("pageerror", lambda error: self.console.append(f"uncaught: {error}"))
        page.set_default_timeout(PATIENCE_MS)

    def enrol(self, invitation: str) -> None:
        self.page.goto(invitation)
        self.page.get_by_label("Your name").fill(self.name)
        self.page.get_by_role("button", name="Set up").click()
        expect(self.page.get_by_role("heading", name="Contacts")).to_be_visible(timeout=PATIENCE_MS)

    def open_thread(self, peer: str) -> None:
        self.page.get_by_role("list").get_by_role("button", name=peer).first.click()
        expect(self.page.get_by_label(f"Message to {peer}")).to_be_visible(timeout=PATIENCE_MS)

    def write(self, peer: str, text: str) -> None:
        self.page.get_by_label(f"Message to {peer}").fill(text)
        self.page.get_by_role("button", name="Send", exact=True).click()

    def call(self, peer: str) -> None:
        self.page.get_by_role("button", name=f"Call {peer}").click()

    def answer(self) -> None:
        self.page.get_by_role("button", name="Answer").click()

    def hang_up(self) -> None:
        self.page.get_by_role("button", name="Hang up").click()

    def expect_text(self, text: str, timeout_ms: int = PATIENCE_MS) -> None:
        expect(self.page.get_by_text(text).filter(visible=True).first).to_be_visible(timeout=timeout_ms)

    def expect_audio(self) -> None:
        expect(self.page.get_by_text("Encrypted sound arrives")).to_be_visible(timeout=PATIENCE_MS)

    def listen(self, seconds: float) -> tuple[Samples, int]:
        """What comes out of the loudspeaker: samples (N,) in -1…1, and their rate in Hz."""
        rate, text = self.page.evaluate(LISTEN, seconds)
        return np.frombuffer(base64.b64decode(text), dtype="<i2").astype(np.float64) / 32768, int(rate)

    def expect_speech(self, recording: Path, seconds: float = 6) -> tuple[Samples, int]:
        """What was heard as soon as the recording can be understood. A machine that is short of processor time garbles a piece: 4 tries."""
        tries: list[float] = []
        while len(tries) < 4:
            heard = self.listen(seconds)
            tries.append(match(*heard, recording).stoi)
            if tries[-1] > SAME_SPEECH:
                return heard
        raise AssertionError(f"{self.name} hears nothing that can be understood: STOI {tries}")

    def heard(self) -> dict[str, float]:
        """The running totals of the sound that this phone receives, as the browser counts them (inbound-rtp)."""
        return dict(self.page.evaluate(HEARD))

    def secrets(self) -> set[bytes]:
        """Every secret that was handed to the browser's cryptography."""
        return {base64.b64decode(text) for text in self.page.evaluate("[...window.testWatch.keys]")}


@contextmanager
def chromium(playwright: Playwright, *flags: str) -> Iterator[Browser]:
    assert CHROMIUM is not None
    browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS, *flags])
    try:
        yield browser
    finally:
        browser.close()


@contextmanager
def phone(playwright: Playwright, name: str, microphone: Path, *scripts: str, language: str = "en-GB") -> Iterator[Phone]:
    """A phone whose microphone loops a recording; `scripts` run before the page's own."""
    with chromium(playwright, f"--use-file-for-fake-audio-capture={microphone}") as browser:
        context = browser.new_context(locale=language, permissions=["microphone"], viewport={"width": 1100, "height": 800})
        for script in (WATCH, *scripts):
            context.add_init_script(script)
        yield Phone(context.new_page(), name)
        context.close()
