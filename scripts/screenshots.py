"""Takes the pictures of the README from a running service: a call between two phones, and the console while it lasts.

Run from the root of the repository: `.venv/bin/python -m scripts.screenshots`. Needs chromium and espeak-ng.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from tests.system.audio import speak
from tests.system.phones import chromium, phone
from tests.system.service import running

PICTURES = Path("docs/images")
MAP_DRAWN_MS = 40_000
"""Without a graphics card the base map comes piece by piece; nothing on the page says when it is whole, so look at the picture."""
SOFTWARE_GPU = ("--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, running(Path(folder) / "data") as service, sync_playwright() as playwright:
        first = speak("The duty officer of the ship reports a calm sea south of Malta.", "en-gb", Path(folder) / "first.wav")
        second = speak("Civil protection in Perugia speaking. The road to Norcia is closed.", "en-us", Path(folder) / "second.wav")
        with (
            phone(playwright, "Ship, duty officer", first) as ship,
            phone(playwright, "Civil protection, Perugia", second) as perugia,
            chromium(playwright, *SOFTWARE_GPU) as browser,
        ):
            ship.page.set_viewport_size({"width": 1120, "height": 900})
            perugia.page.set_viewport_size({"width": 390, "height": 844})
            for each, invitation in zip((ship, perugia), service.invitations(), strict=True):
                each.enrol(invitation)
            ship.page.get_by_role("button", name="Starlink").click()
            ship.page.get_by_label("Place", exact=True).select_option(label="Ship, Strait of Sicily")
            ship.page.get_by_role("button", name="Use these").click()
            ship.open_thread(perugia.name)
            ship.write(perugia.name, "Can you take a call about the supplies?")
            perugia.open_thread(ship.name)
            perugia.expect_text("Can you take a call about the supplies?")
            perugia.write(ship.name, "Yes, call now.")
            ship.expect_text("Yes, call now.")
            perugia.page.screenshot(path=PICTURES / "phone-thread.png")
            ship.call(perugia.name)
            perugia.answer()
            ship.expect_audio()
            ship.page.wait_for_timeout(8_000)
            ship.page.screenshot(path=PICTURES / "phone-call.png")
            console = browser.new_page(viewport={"width": 1280, "height": 800}, locale="en-GB")
            console.goto(service.administrator_link())
            console.get_by_role("heading", name="1 call in progress").wait_for()
            console.wait_for_timeout(MAP_DRAWN_MS)
            console.screenshot(path=PICTURES / "console-sky.png")


if __name__ == "__main__":
    main()
