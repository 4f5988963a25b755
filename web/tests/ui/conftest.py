"""One build and one browser for all tests of the pages. Run with `pytest web/tests/ui`."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from web.tests.ui.fake_server import Api, serving
from web.tests.ui.watched import PAGES, SOFTWARE_GPU, WEB, Watched


@pytest.fixture(scope="session")
def pages() -> Path:
    """The pages, built from the sources as they are now."""
    subprocess.run(["npx", "vite", "build", "--config", "tests/ui/vite.config.ts", "--logLevel", "warn"], cwd=WEB, check=True)
    return PAGES


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("chromium is not installed")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=SOFTWARE_GPU)
        yield started
        started.close()


@pytest.fixture(scope="session")
def server(pages: Path) -> Iterator[tuple[str, Api]]:
    with serving(pages) as (origin, api):
        yield origin, api


@pytest.fixture
def watched(browser: Browser, server: tuple[str, Api]) -> Iterator[Watched]:
    """A desktop-sized English page, checked at the end for everything that went wrong."""
    context = browser.new_context(viewport={"width": 1280, "height": 800}, locale="en-GB", reduced_motion="reduce")
    page = Watched(context.new_page(), server[0])
    yield page
    context.close()
    assert page.faults == []
