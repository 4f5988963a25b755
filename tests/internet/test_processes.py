"""Processes that agents start run this program, whatever lies in the directory that they are started in: root starts them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tramontana.internet.linux import outlook_process, tcp_proxy
from tramontana.internet.outlook import Lookout, Outlook
from tramontana.internet.tcp_proxy import ProxySettings


@pytest.fixture
def trap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that is there once a package of the working directory was imported in place of this program."""
    (tmp_path / "tramontana").mkdir()
    sprung = tmp_path / "sprung"
    (tmp_path / "tramontana" / "__init__.py").write_text(f"open({str(sprung)!r}, 'w').close()\n")
    monkeypatch.chdir(tmp_path)
    return sprung


def test_the_proxy_is_this_programs(trap: Path) -> None:
    assert tcp_proxy._start(ProxySettings.model_construct()) != ""  # settings that are none: the process ends at once
    assert not trap.exists()


def test_the_forecast_is_this_programs(trap: Path, tmp_path: Path) -> None:
    asyncio.run(_follow_until_it_ends(tmp_path / "no elements"))
    assert not trap.exists()


async def _follow_until_it_ends(data: Path) -> None:
    ended = asyncio.Event()

    def told(outlook: Outlook) -> None:
        if not outlook:
            ended.set()

    lookout = Lookout(latitude_deg=41.9, longitude_deg=12.5, data=data)
    following = asyncio.ensure_future(outlook_process.follow(lookout, ("starlink",), told))
    try:
        await ended.wait()
    finally:
        following.cancel()
        await asyncio.wait([following])
