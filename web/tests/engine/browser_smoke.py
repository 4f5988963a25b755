"""Two real browsers, a real service: with the right keys sound arrives; with one wrong key that side hears nothing and is told.

Run by hand after `npx vite build`: `python web/tests/engine/browser_smoke.py`. It needs Chromium and Playwright, and uses the helpers of
tests/system, where the full test of a call stands; this one looks at the worker that opens and seals every frame, and nothing else.
"""

from __future__ import annotations

import math
import struct
import sys
import tempfile
import wave
from pathlib import Path

import numpy as np
from playwright.sync_api import expect, sync_playwright

sys.path.insert(0, str(Path(__file__).parents[3] / "tests" / "system"))

import phones
import service

RATE_HZ = 48_000
# Stands between the page and its worker: the key for what arrives differs in one bit.
WRONG_KEY = """
const post = Worker.prototype.postMessage;
Worker.prototype.postMessage = function (message, ...rest) {
  if (message.kind === "keys") {
    const { receive } = message.keys;
    message.keys.receive = { ...receive, baseKey: receive.baseKey.map((byte, i) => byte ^ (i === 0)) };
  }
  return post.call(this, message, ...rest);
};
"""


def _warble(path: Path) -> None:
    """Six seconds of a tone that moves between 200 and 500 Hz."""
    samples = (int(12_000 * math.sin(2 * math.pi * (350 * t + 50 * math.sin(3 * t)))) for t in (i / RATE_HZ for i in range(6 * RATE_HZ)))
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes(b"".join(struct.pack("<h", sample) for sample in samples))


def _loudness(phone: phones.Phone) -> float:
    """Root mean square of two seconds from the loudspeaker, 0…1."""
    samples, _rate = phone.listen(2.0)
    return float(np.sqrt(np.mean(samples**2)))


def main() -> None:
    with tempfile.TemporaryDirectory() as directory, sync_playwright() as playwright:
        microphone = Path(directory) / "warble.wav"
        _warble(microphone)
        for scripts, what in (((), "right keys"), ((WRONG_KEY,), "wrong key at Anna's")):
            with (
                service.running(Path(directory) / what.replace(" ", "-")) as running,
                phones.phone(playwright, "Anna", microphone, *scripts) as anna,
                phones.phone(playwright, "Bruno", microphone) as bruno,
            ):
                for phone, invitation in zip((anna, bruno), running.invitations(), strict=True):
                    phone.enrol(invitation)
                anna.open_thread("Bruno")
                anna.call("Bruno")
                bruno.answer()
                bruno.expect_audio()
                if scripts:
                    expect(anna.page.get_by_text("cannot be decrypted").first).to_be_visible(timeout=phones.PATIENCE_MS)
                else:
                    anna.expect_audio()
                loudness = (_loudness(anna), _loudness(bruno))
                print(f"{what}: loudness at Anna's {loudness[0]:.4f}, at Bruno's {loudness[1]:.4f}")
                assert loudness[1] > 0.05, "Bruno hears nothing"
                assert loudness[0] < 1e-4 if scripts else loudness[0] > 0.05, "Anna hears what she must not, or nothing"


if __name__ == "__main__":
    main()
