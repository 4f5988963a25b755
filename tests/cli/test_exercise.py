"""`tramontana exercise`: a file is checked, played and reported; the page needs no network and says that it is simulated."""

from __future__ import annotations

import json
import re
from pathlib import Path

from click.testing import CliRunner

from tests.exercise.small_world import small_text
from tramontana.cli.exercise import FLEETS, exercise
from tramontana.errors import LocalError


def invoke(*arguments: str) -> str:
    done = CliRunner().invoke(exercise, arguments, catch_exceptions=True)
    if isinstance(done.exception, LocalError):
        return str(done.exception)
    assert done.exception is None, done.exception
    return done.output


def invoke_refused(*arguments: str) -> str:
    done = CliRunner().invoke(exercise, arguments)
    assert done.exit_code == 2
    return done.output


def test_a_file_is_played_and_reported(tmp_path: Path) -> None:
    file, out = tmp_path / "mine.toml", tmp_path / "report"
    file.write_text(small_text(hours=0.3, lost=1.0), encoding="utf-8")
    assert "can be played: Three towns, 3 places with 3,000 people" in invoke("check", str(file))
    text = invoke("run", str(file), "--quiet", "--out", str(out))
    labels = ["without satellites", "Starlink direct-to-cell as flown in May 2026"]
    labels += [f"Starlink direct-to-cell as filed in {year}" for year in (2022, 2025)]
    assert all(label in text for label in labels)
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "SIMULATED" in page
    assert all(label in page for label in labels)
    assert not re.search(r'(?:src|href)="(?!https://)', page)
    assert not re.search(r"<(?:script|img|link)[^>]*(?:src|href)=", page)
    found = json.loads((out / "results.json").read_text(encoding="utf-8"))
    assert [run["id"] for run in found["runs"]] == ["none", *FLEETS]
    assert found["simulated"].startswith("all of it")
    shares = [run["warnings"][0]["warned"] for run in found["runs"]]
    assert shares[0] < shares[1]
    assert all(figure["source"] for figure in found["figures"].values())
    assert (out / "texts.csv").read_text(encoding="utf-8").count("\n") > 5


def test_what_decides_is_shown(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(small_text(hours=0.2, lost=1.0), encoding="utf-8")
    text = invoke("sensitivity", str(file), "--figure", "sky_blocked", "--seeds", "1")
    assert [text.count(f"sky_blocked {value:g}") for value in (0.1, 0.5)] == [2, 2]
    assert "'sky' is no figure" in invoke("sensitivity", str(file), "--figure", "sky", "--seeds", "1")


def test_what_is_wrong_is_said(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(small_text().replace('kind = "earthquake"', 'kind = "comet"'), encoding="utf-8")
    assert f"{file}: exercise.kind" in invoke("check", str(file))
    assert "use one of amatrice-2016, emilia-romagna-2023" in invoke("run", "atlantis")
    assert "cannot read" in invoke("check", str(tmp_path / "absent.toml"))
    assert "is not NAME=VALUE" in invoke_refused("run", "amatrice-2016", "--figure", "beam_free")
    assert "its range is 0.2 to 1" in invoke("run", "amatrice-2016", "--figure", "beam_free=7")
    assert "no warning is approved within 0.1 h" in invoke("run", "amatrice-2016", "--hours", "0.1")
    assert "amatrice-2016" in invoke("list")


def test_a_built_in_exercise_is_the_start_of_ones_own(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(invoke("show", "amatrice-2016").replace("seed = 1", "seed = 5"), encoding="utf-8")
    assert "140 places with 584,727 people" in invoke("check", str(file))
    (tmp_path / "amatrice-2016.csv").write_text("name\n", encoding="utf-8")
    assert "no column 'latitude'" in invoke("check", str(file))  # a table beside it is taken before the built-in one
