"""The search for a constellation against trying everything."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from tests.planning.test_study import TINY
from tramontana.cli.main import tramontana
from tramontana.planning.design_search import Candidate, Grid, Search, Target, cheapest, front
from tramontana.planning.measures import Demand, MeasureSky, weighted
from tramontana.planning.sky import SkyDesign
from tramontana.planning.study import StudyError, parse_study
from tramontana.space.ground import Place
from tramontana.space.shells import Shell, usual_phasing

PLACES = (Place("rome", "Rome", "IT", "city", 41.9, 12.5), Place("palermo", "Palermo", "IT", "city", 38.1, 13.4))
DEMAND = Demand(PLACES, np.array([0.7, 0.3]))
GRID = Grid((600.0, 1200.0), (45.0,), (4, 8), (4, 8), ("IT",))
TARGET = Target(0.9, 0.05)


def test_the_search_finds_what_trying_everything_finds() -> None:
    search = Search(GRID, DEMAND, TARGET)
    found = cheapest([one for orbit in GRID.orbits() for one in search(orbit)])
    naive: list[tuple[int, Shell]] = []
    for altitude, inclination in GRID.orbits():
        for planes, each in GRID.sizes():
            flat = Shell(altitude, inclination, planes, each, 0)
            shell = Shell(altitude, inclination, planes, each, usual_phasing(flat))
            full = MeasureSky(DEMAND)(SkyDesign(None, (shell,), ("IT",)))
            if (
                weighted(full.available, DEMAND.shares) >= TARGET.available
                and weighted(full.round_trip_s, DEMAND.shares) <= TARGET.round_trip_s
            ):
                naive.append((shell.satellite_count, shell))
    assert naive, "the grid of the test must hold an answer"
    assert found is not None
    assert found.shell.satellite_count == min(naive, key=lambda one: one[0])[0]
    assert found.shell in [shell for _, shell in naive]


def test_a_target_that_nothing_meets_has_no_answer_and_ends() -> None:
    found = Search(Grid((600.0,), (45.0,), (4,), (4, 6), ("IT",)), DEMAND, Target(0.99999, 0.05))((600.0, 45.0))
    assert len(found) == 2
    assert cheapest(found) is None


def candidate(satellites: int, available: float, *, is_screened: bool = False) -> Candidate:
    return Candidate(Shell(1200, 45, 1, satellites, 0), available, available, 0.04, is_screened, available >= 0.99)


def test_the_front_holds_what_no_other_beats() -> None:
    found = [
        candidate(10, 0.5),
        candidate(20, 0.4),
        candidate(20, 0.9),
        candidate(30, 0.9),
        candidate(40, 0.99),
        candidate(5, 0.95, is_screened=True),
    ]
    assert [(one.shell.satellite_count, one.available) for one in front(found)] == [(10, 0.5), (20, 0.9), (40, 0.99)]


DESIGN = """
[places.rome]
title = "Rome"
latitude = 41.9
longitude = 12.5

[inputs.satellites]
value = 20
unit = "satellite"
source = "offer"

[inputs.one]
value = 1
unit = "satellite/launch"
source = "offer"

[inputs.launch]
value = 7
unit = "EUR/launch"
price_year = 2025
source = "offer"

[inputs.build]
value = 3
unit = "EUR/satellite"
price_year = 2025
source = "offer"

[inputs.life]
value = 9
unit = "year"
source = "offer"

[[alternatives]]
id = "national"
title = "National"
[alternatives.constellation]
satellites = "satellites"
spares = "rate"
lifetime = "life"
satellite_price = "build"
satellites_a_launch = "one"
launch_price = "launch"
complete = 1

[design]
alternative = "national"
altitudes_km = [1200]
inclinations_deg = [45]
planes = [4, 8]
satellites_per_plane = [8]
landing = ["IT"]
available = 0.9
round_trip_ms = 60
"""


def test_the_command_designs_and_says_what_it_costs(tmp_path: Path) -> None:
    file = tmp_path / "design.toml"
    file.write_text(TINY + DESIGN)
    shown = CliRunner().invoke(tramontana, ["plan", "design", str(file)])
    assert shown.exit_code == 0, shown.output
    assert "Cheapest" in shown.output
    assert "simulated over 1 h" in shown.output
    without = CliRunner().invoke(tramontana, ["plan", "design", str(_written(tmp_path, TINY))])
    assert "asks for no design" in str(without.exception)


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('alternative = "national"', 'alternative = "lease"', "is not an alternative with a constellation"),
        ('landing = ["IT"]', 'landing = ["NZ"]', "no gateway stands in NZ"),
        ("available = 0.9", "available = 1.0", "design.available"),
    ],
)
def test_a_design_that_cannot_be_is_refused(old: str, new: str, complaint: str) -> None:
    with pytest.raises(StudyError) as refused:
        parse_study(TINY + DESIGN.replace(old, new))
    assert complaint in str(refused.value)


def _written(folder: Path, text: str) -> Path:
    path = folder / "plain.toml"
    path.write_text(text)
    return path
