"""Measures the console's map: frames a second and JavaScript a frame, with few and with many satellites.

    cd web && npx vite build -c tests/ui/vite.config.ts && cd ..
    python -m web.tests.ui.measure_map [SATELLITES] [SECONDS]

Chromium draws in software here (SwiftShader), so frames a second are a lower bound; JavaScript a frame is what the page itself costs, and
must not grow with the number of satellites. The bound beside it (0 satellites) is a canvas of the same size that is only cleared.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from playwright.sync_api import Page, sync_playwright

from web.tests.ui.fake_server import serving
from web.tests.ui.watched import PAGES, SOFTWARE_GPU

# wraps requestAnimationFrame before the page's own code runs, and adds up what the callbacks of each frame take
INSTRUMENT = """
(() => {
  const original = window.requestAnimationFrame.bind(window);
  const frames = (window.frames_ = { count: 0, scriptMs: [] });
  let stamp = -1;
  window.requestAnimationFrame = (callback) => original((time) => {
    const began = performance.now();
    callback(time);
    const took = performance.now() - began;
    if (time === stamp) frames.scriptMs[frames.scriptMs.length - 1] += took;
    else { stamp = time; frames.count += 1; frames.scriptMs.push(took); }
  });
})();
"""

# the bound: a canvas as large as the map that is only cleared, every frame
CLEARED_CANVAS = """
(() => {
  const canvas = document.createElement('canvas');
  canvas.width = 736; canvas.height = 680;
  document.body.append(canvas);
  const gl = canvas.getContext('webgl2', { antialias: false });
  const turn = (time) => { gl.clearColor((time / 1000) % 1, 0, 0, 1); gl.clear(gl.COLOR_BUFFER_BIT); requestAnimationFrame(turn); };
  requestAnimationFrame(turn);
})();
"""


def sample(page: Page, seconds: float) -> dict[str, float]:
    """Frames a second and quantiles of script time a frame (ms) over some seconds."""
    page.evaluate("() => { frames_.count = 0; frames_.scriptMs.length = 0; frames_.since = performance.now(); }")
    page.wait_for_timeout(seconds * 1000)
    raw: dict[str, Any] = page.evaluate("() => ({ count: frames_.count, ms: frames_.scriptMs, span: performance.now() - frames_.since })")
    ms = sorted(raw["ms"]) or [0.0]
    return {
        "frames_per_second": round(raw["count"] / raw["span"] * 1000, 1),
        "script_ms_p50": round(ms[len(ms) // 2], 2),
        "script_ms_p99": round(ms[min(len(ms) - 1, int(len(ms) * 0.99))], 2),
    }


def measure(satellites: int, seconds: float) -> dict[str, float]:
    """The sky view with so many satellites, at 1280 × 800."""
    with serving(PAGES, satellites) as (origin, _), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=SOFTWARE_GPU)
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.add_init_script(INSTRUMENT)
        if satellites:
            page.goto(f"{origin}/console#admin=" + "A" * 43)
            page.wait_for_selector(".maplibregl-canvas")
            page.wait_for_function("() => frames_.count > 20", timeout=60_000)
        else:
            page.goto(f"{origin}/assets/")
            page.evaluate(CLEARED_CANVAS)
        page.wait_for_timeout(2000)
        result = sample(page, seconds)
        browser.close()
    return result


if __name__ == "__main__":
    many = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    span = float(sys.argv[2]) if len(sys.argv) > 2 else 10.0
    for count in (0, 100, many):
        print(json.dumps({"satellites": count, **measure(count, span)}))
