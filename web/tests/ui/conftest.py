"""One build for all tests of the pages, and one browser for each file of them. Run with `pytest web/tests/ui`."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from web.tests.ui.fake_server import Api, serving
from web.tests.ui.watched import PAGES, SOFTWARE_GPU, WEB, Watched


@pytest.fixture(scope="session")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages, built from the sources as they are now: once, by whichever of the processes of this run comes first."""
    of_this_run = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        of_this_run = of_this_run.parent
    built = of_this_run / "pages-are-built"
    with (of_this_run / "pages.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not built.exists():
            subprocess.run(["npx", "vite", "build", "--config", "tests/ui/vite.config.ts", "--logLevel", "warn"], cwd=WEB, check=True)
            built.touch()
    return PAGES


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """For one file of tests: while Playwright is there, nothing asynchronous runs in this process, and another file may want to."""
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
