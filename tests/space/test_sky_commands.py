"""`tramontana sky`: what a person sees."""

from __future__ import annotations

import gzip
import json
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tramontana.cli import sky as sky_module
from tramontana.cli.datadir import data_dir
from tramontana.cli.sky import sky
from tramontana.errors import LocalError
from tramontana.path_profile import PathProfile
from tramontana.space.driver import Fetched
from tramontana.space.fleet_file import load_fleet


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    directory = tmp_path / "data"
    monkeypatch.setenv("TRAMONTANA_DATA", str(directory))
    return directory


def run(*arguments: str) -> Result:
    return CliRunner().invoke(sky, arguments, catch_exceptions=False)


def test_show_says_what_is_in_use_and_that_it_is_simulated() -> None:
    out = run("show").output
    assert "Starlink Gen1 as filed  (the radio path is simulated)" in out
    assert "age does not apply: generated from a table, not observed" in out
    for row in ("In view", "Serving", "Gateway", "One-way delay", "Next handover"):
        assert row in out
    assert "of 4,408 satellites at 25° or higher" in out


@pytest.mark.parametrize(("carrier", "expected"), [("sicral-2", "288."), ("fibre", "5.9 ms")])
def test_show_other_carriers(carrier: str, expected: str) -> None:
    out = run("show", "--carrier", carrier).output
    assert expected in out
    assert "Mbit/s down" in out


def test_show_a_place_that_a_carrier_does_not_reach() -> None:
    assert "the carrier does not reach this place" in run("show", "--carrier", "fibre", "--place", "ship-ionian").output


def test_load_reports_what_was_rejected_and_default_returns(
    data: Path, tmp_path: Path, omm: dict[str, str | int | float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time", lambda: 1.3e9)  # 2011, three years after the epoch
    rows = [omm] + [omm | {"NORAD_CAT_ID": i, "MEAN_MOTION": 99} for i in range(1, 26)]
    file = tmp_path / "iss.json.gz"
    file.write_bytes(gzip.compress(json.dumps(rows).encode()))
    out = run("load", str(file)).output
    assert "Accepted 1 satellites (OMM JSON), rejected 25." in out
    assert out.count("mean motion (rev/day) 99 lies outside") == 20
    assert "and 5 more" in out
    assert "median 2008-09-20 12:25 UTC" in out
    assert load_fleet(data).names == ("ISS (ZARYA)",)
    assert "load newer elements with" in run("show").output
    assert "was set aside as" in run("default").output
    assert load_fleet(data).provenance == "filed"
    assert run("default").output == "In use: Starlink Gen1 as filed (built in).\n"


def test_a_bad_file_changes_nothing(data: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.tle"
    bad.write_text("no elements here")
    for file, sentence in ((bad, "nothing in bad.tle is usable"), (tmp_path / "absent", "cannot read"), (tmp_path, "cannot read")):
        with pytest.raises(LocalError, match=sentence):
            run("load", str(file))
    assert load_fleet(data).provenance == "filed"


def test_profile_as_json_is_a_path_profile() -> None:
    profile = PathProfile.parse(run("profile", "--place", "naples", "--seconds", "30", "--json").output)
    assert profile.place == "naples"
    assert profile.source == "simulated, Starlink Gen1 as filed"
    assert 30 <= profile.time_unix_s.shape[0] <= 33


def test_profile_in_words() -> None:
    out = run("profile", "--seconds", "60").output
    assert "rome over starlink to" in out
    assert "assumption" in out


def test_fetch_prints_the_attribution(
    data: Path, tmp_path: Path, omm: dict[str, str | int | float], monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(group: str, *, directory: Path, now_unix_s: float) -> Fetched:
        assert directory == data
        return Fetched(json.dumps([omm]).encode(), directory / f"{group}.json")

    monkeypatch.setattr(sky_module, "fetch_elements", answer)
    out = run("fetch").output
    assert "CelesTrak (celestrak.org), from GP data of the US Space Force" in out
    fleet = load_fleet(data)
    assert fleet.label == "CelesTrak starlink: 1 satellites, elements of 2008-09-20"
    assert "US Space Force" in fleet.source


def test_places_are_listed() -> None:
    assert run("places").output.startswith("rome")


def test_unknown_places_are_explained() -> None:
    with pytest.raises(LocalError, match="unknown place 'atlantis': use one of rome"):
        run("show", "--place", "atlantis")


def test_the_data_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert data_dir(tmp_path / "option") == tmp_path / "option"
    assert data_dir(None) == tmp_path / "data"
    assert (tmp_path / "data").stat().st_mode & 0o077 == 0
    monkeypatch.delenv("TRAMONTANA_DATA")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "xdg"))
    assert data_dir(None) == tmp_path / "xdg" / "tramontana"
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert data_dir(None) == tmp_path / "home" / ".local" / "share" / "tramontana"
    (tmp_path / "file").write_text("")
    with pytest.raises(LocalError, match="choose another one with --data or TRAMONTANA_DATA"):
        data_dir(tmp_path / "file" / "below")
