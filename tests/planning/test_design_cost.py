"""What a design costs, and its launches, by hand."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.planning.test_design_search import DESIGN
from tests.planning.test_study import ITALY, TINY
from tramontana.cli.main import tramontana
from tramontana.cli.plan_study import read_study
from tramontana.errors import LocalError
from tramontana.planning.design_cost import check_that_more_cost_more, drawn_costs, likely_costs, parts_of_cost, schedule
from tramontana.planning.study import DesignTask, Study, StudyError, parse_study

LIVES = (
    DESIGN.replace("value = 9", "value = 3").replace("complete = 1", "complete = 2").replace("value = 1\nunit", "value = 5\nunit")
    + "schedule_years = 7\n"
)
"""A life of 3 years, built in 2, five satellites a launch."""


def task_of(text: str) -> tuple[Study, DesignTask]:
    study = parse_study(text)
    assert study.design is not None
    return study, study.design


def test_the_cost_of_a_design_by_hand() -> None:
    """Spares of a tenth: 32 satellites are 36 to build, each 3 and a launch of 7, at once; two of nine years are used in the end."""
    study, task = task_of(TINY + DESIGN)
    left = 36 * 3 * 7 / 9
    assert likely_costs(task, [32, 64]) == pytest.approx([36 * 10 - left / 1.1**2, 71 * 10 - 71 * 3 * 7 / 9 / 1.1**2])
    assert drawn_costs(study, task, 32) == pytest.approx(36 * 10 - left / 1.1**2)
    parts, remains = parts_of_cost(task, 32)
    assert parts == [("national: launches", 252.0), ("national: satellites", 108.0)]
    assert remains == pytest.approx(left)


def test_launches_and_replacements_by_hand() -> None:
    """20 satellites are 22 to build, 11 in each of two years by three launches; those of year 1 again in years 4 and 7."""
    study, task = task_of(TINY + LIVES)
    of = schedule(study, task, 20)
    assert of.years.tolist() == [2026, 2027, 2028, 2029, 2030, 2031, 2032]
    assert of.first == pytest.approx([11, 11, 0, 0, 0, 0, 0])
    assert of.replacements == pytest.approx([0, 0, 0, 11, 11, 0, 11])
    assert of.launches.tolist() == [3, 3, 0, 3, 3, 0, 3]
    assert of.in_orbit == pytest.approx([11, 22, 22, 22, 22, 22, 22])
    assert of.paid == pytest.approx([54, 54, 0, 54, 54, 0, 54])


def test_the_schedule_is_what_the_cost_of_the_study_counts() -> None:
    study = read_study(ITALY)
    task = study.design
    assert task is not None
    parts = dict(parts_of_cost(task, 96)[0])
    of = schedule(study, task, 96)
    assert of.paid[: study.head.years].sum() == pytest.approx(parts["national-computed: satellites"] + parts["national-computed: launches"])


def test_more_satellites_cost_more_or_the_search_is_refused() -> None:
    _, task = task_of(TINY + DESIGN)
    check_that_more_cost_more(task)
    cheaper = DESIGN.replace("value = 3\n", "value = -30\n")
    _, odd = task_of(TINY + cheaper)
    with pytest.raises(LocalError, match="64 satellites of national come out cheaper than 32"):
        check_that_more_cost_more(odd)


def test_a_schedule_shorter_than_the_study_is_refused() -> None:
    with pytest.raises(StudyError, match="schedule_years: the study has 2 years"):
        parse_study(TINY + DESIGN + "schedule_years = 1\n")


def test_the_command_writes_the_front_and_the_launches(tmp_path: Path) -> None:
    study, front, launches = (tmp_path / name for name in ("design.toml", "front.csv", "launches.csv"))
    study.write_text(TINY + LIVES)
    shown = CliRunner().invoke(tramontana, ["plan", "design", str(study), "--csv", str(front), "--schedule", str(launches)])
    assert shown.exit_code == 0, shown.output
    assert "Launches and replacements of 64 satellites" in shown.output
    best = list(csv.DictReader(front.read_text(encoding="utf-8").splitlines()))[-1]
    assert best["satellites"] == "64"
    assert "simulated over 1 h" in best["label"]
    # 71 to build, 35.5 in each of two years by 8 launches; in the end a third of their life is left of the first, two thirds of the others.
    left = 35.5 * 3 * (1 / 3 + 2 / 3)
    year = 35.5 * 3 + 8 * 7
    worth = year + year / 1.1 - left / 1.1**2
    assert [float(best[f"present_value_{one}_MEUR"]) for one in ("likely", "p10", "p50", "p90")] == pytest.approx([worth / 1e6] * 4)
    rows = list(csv.DictReader(launches.read_text(encoding="utf-8").splitlines()))
    assert [row["launches"] for row in rows] == ["8", "8", "0", "8", "8", "0", "8"]
    assert float(rows[3]["replacements"]) == pytest.approx(35.5)
    assert "no part of the study's costs" in rows[0]["label"]


def test_what_nothing_meets_is_not_launched(tmp_path: Path) -> None:
    study, launches = tmp_path / "design.toml", tmp_path / "launches.csv"
    study.write_text(TINY + DESIGN.replace("round_trip_ms = 60", "round_trip_ms = 1"))
    shown = CliRunner().invoke(tramontana, ["plan", "design", str(study), "--schedule", str(launches)])
    assert shown.exit_code != 0
    assert "no shell of the grid meets the target" in shown.output
    assert not launches.exists()
