"""One build and one browser for all tests of the pages. Run with `pytest web/tests/ui`."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_server import Api, serving
from playwright.sync_api import Browser, Page, sync_playwright

WEB = Path(__file__).resolve().parents[2]
PAGES = WEB / "dist" / "ui-tests"
AXE = WEB / "node_modules" / "axe-core" / "axe.min.js"


@pytest.fixture(scope="session")
def pages() -> Path:
    """The pages, built from the sources as they are now."""
    subprocess.run(["npx", "vite", "build", "--config", "tests/ui/vite.config.ts", "--logLevel", "warn"], cwd=WEB, check=True)
    return PAGES


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"]
        started = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=arguments)
        yield started
        started.close()


@pytest.fixture(scope="session")
def server(pages: Path) -> Iterator[tuple[str, Api]]:
    with serving(pages) as (origin, api):
        yield origin, api


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


@pytest.fixture
def watched(browser: Browser, server: tuple[str, Api]) -> Iterator[Watched]:
    """A desktop-sized English page, checked at the end for everything that went wrong."""
    context = browser.new_context(viewport={"width": 1280, "height": 800}, locale="en-GB", reduced_motion="reduce")
    page = Watched(context.new_page(), server[0])
    yield page
    context.close()
    assert page.faults == []
