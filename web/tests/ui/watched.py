"""A browser page that is watched, and where the built pages and axe-core lie."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Page

WEB = Path(__file__).resolve().parents[2]
PAGES = WEB / "dist" / "ui-tests"
AXE = WEB / "node_modules" / "axe-core" / "axe.min.js"
SOFTWARE_GPU = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"]
"""Chromium without a graphics card: WebGL in software."""


class Watched:
    """A page that remembers what went wrong in it: script errors, refused content, requests to other hosts."""

    def __init__(self, page: Page, origin: str) -> None:
        self.page = page
        self.origin = origin
        self.faults: list[str] = []
        page.on("pageerror", lambda error: self.faults.append(f"script: {error}"))
        page.on("console", lambda message: self.faults.append(message.text) if message.type == "error" else None)
        page.on("request", lambda request: self._request(request.url))

    def _request(self, url: str) -> None:
        if not url.startswith((self.origin, "data:", "blob:")):
            self.faults.append(f"foreign host: {url}")

    def scene(self, name: str) -> Page:
        """The telephone in one state of the fake engine."""
        self.page.goto(f"{self.origin}/tests/ui/phone.html?scene={name}")
        self.page.wait_for_selector("#app > *")
        return self.page

    def console(self, view: str) -> Page:
        """One view of the console, signed in by the one-time link."""
        self.page.goto(f"{self.origin}/console#admin=" + "A" * 43)
        self.page.wait_for_selector(".console")
        self.page.goto(f"{self.origin}/console#/{view}")
        self.page.wait_for_selector(f'.console-nav a[href="#/{view}"][aria-current="page"]')
        return self.page

    def asked(self) -> list[str]:
        """What the interface has asked of the fake engine."""
        answer: list[str] = self.page.evaluate("() => window.engine.asked")
        return answer
