"""Reports of planning at the server: listed for administrators, opened by a link that holds for minutes, shown in a sandbox."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.control.house import Houses
from tramontana.cli.main import tramontana
from tramontana.control.reports import DIRECTORY, GENERATOR, LINK_S, Reports

PAGE = f"<!doctype html><html><head>{GENERATOR}<title>Italy &amp; the sky</title></head><body><p>figures</p></body></html>"
LIST = "/api/v1/planning/reports"


def published(folder: Path, name: str = "italy", content: str = PAGE) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.html").write_text(content)
    return folder


@pytest.mark.anyio
async def test_a_report_is_listed_and_opened_by_a_link(houses: Houses, tmp_path: Path) -> None:
    async with houses() as house:
        administrator = await house.administrator()
        assert (await house.http.get(LIST)).status_code == 401
        assert (await house.http.get(LIST, headers=administrator)).json() == []
        house.services.reports = Reports(published(tmp_path / "reports"), b"k" * 32)
        [listed] = (await house.http.get(LIST, headers=administrator)).json()
        assert (listed["name"], listed["title"], listed["size_bytes"]) == ("italy", "Italy & the sky", len(PAGE))
        assert (await house.http.post(f"{LIST}/italy/link")).status_code == 401
        assert (await house.http.post(f"{LIST}/spain/link", headers=administrator)).status_code == 404
        link = (await house.http.post(f"{LIST}/italy/link", headers=administrator)).json()
        shown = await house.http.get(link["path"])  # without a session: as a frame asks
        assert shown.text == PAGE
        policy = shown.headers["content-security-policy"]
        assert "sandbox allow-popups" in policy
        assert "default-src 'none'" in policy
        assert "script" not in policy
        assert "allow-same-origin" not in policy
        assert shown.headers["x-frame-options"] == "SAMEORIGIN"
        assert shown.headers["cache-control"] == "no-store"
        path, seal = link["path"].rsplit("=", 1)
        published(tmp_path / "reports", "spain")
        for wrong in (
            f"{path}={'0' * 64}",
            link["path"].replace("italy", "spain"),
            link["path"].replace(f"until={link['expires_at']:.0f}", f"until={link['expires_at'] + 1:.0f}"),
            f"{LIST}/italy/page",
            f"{path}={seal[:-1]}\u00e8",
        ):
            assert (await house.http.get(wrong)).status_code in (404, 422), wrong
        foreign = await house.http.get(link["path"], headers={"sec-fetch-site": "cross-site"})
        assert foreign.status_code == 403
        house.clock.advance(LINK_S + 2)
        assert (await house.http.get(link["path"])).status_code == 404


def test_what_is_no_report_is_neither_listed_nor_shown(tmp_path: Path) -> None:
    folder = published(tmp_path / "reports")
    (folder / "other.html").write_text("<title>Other</title>")
    (folder / "Loud.html").write_text(PAGE)
    (tmp_path / "secret.html").write_text(PAGE)
    os.symlink(tmp_path / "secret.html", folder / "link.html")
    reports = Reports(folder, b"k" * 32)
    assert [one.name for one in reports.listed()] == ["italy"]
    for name in ("other", "link", "Loud", "../secret", "nothing"):
        assert reports.content(name) is None
    assert reports.content("italy") == PAGE.encode()
    assert Reports(None, b"k" * 32).listed() == []
    assert Reports(tmp_path / "none", b"k" * 32).listed() == []


def test_the_command_publishes(tmp_path: Path) -> None:
    page = tmp_path / "Italy.html"
    page.write_text(PAGE)
    data = tmp_path / "data"
    answer = CliRunner().invoke(tramontana, ["plan", "publish", str(page), "--data", str(data)])
    assert answer.exit_code == 0, (answer.output, answer.exception)
    assert "Italy & the sky: published as italy" in answer.output
    assert (data / DIRECTORY / "italy.html").read_text() == PAGE
    page.write_text("<title>x</title>")
    assert "no report of planning" in str(CliRunner().invoke(tramontana, ["plan", "publish", str(page), "--data", str(data)]).exception)
    bad = CliRunner().invoke(tramontana, ["plan", "publish", str(page), "--data", str(data), "--name", "../x"])
    assert "is no name for a report" in str(bad.exception)
    assert (data / DIRECTORY / "italy.html").read_text() == PAGE
