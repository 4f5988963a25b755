"""The search for a constellation against trying everything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from tests.planning.test_study import TINY
from tramontana.cli.main import tramontana
from tramontana.planning.busy_hour import Beams
from tramontana.planning.design_search import AddSecond, Candidate, CoverShells, Grid, Search, Target, cheapest, front
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
    assert found.satellites == min(naive, key=lambda one: one[0])[0]
    assert found.shells[0] in [shell for _, shell in naive]


SECOND = Grid((1200.0,), (30.0, 60.0), (2, 4), (3, 5), ("IT",))
SMALL = Grid((1200.0,), (45.0,), (3, 6, 12), (4, 8), ("IT",))


def test_two_shells_are_those_that_trying_every_pair_finds() -> None:
    """The same front, and never more satellites than one shell needs."""
    search = Search(SMALL, DEMAND, Target(0.8, 0.05))
    alone = [one for orbit in SMALL.orbits() for one in search(orbit)]
    firsts = [CoverShells(SMALL, search)(orbit) for orbit in SMALL.orbits()]
    seconds = tuple(cover for orbit in SECOND.orbits() for cover in CoverShells(SECOND, search)(orbit))
    pairs = [one for each in firsts for one in AddSecond(search, seconds, tuple(alone))(each)]
    every = [search.measure(first.shell, second.shell) for each in firsts for first in each for second in seconds]
    single, found, best = cheapest(alone), cheapest([*alone, *pairs]), cheapest([*alone, *every])
    assert single is not None
    assert found is not None
    assert best is not None
    assert found == best
    assert len(found.shells) == 2, "the grid of the test must hold a second shell that pays"
    assert found.satellites < single.satellites
    assert len(pairs) < len(every) / 2

    def short(candidates: Sequence[Candidate]) -> list[tuple[int, float]]:
        return [(one.satellites, one.available) for one in front(candidates) if one.satellites <= best.satellites]

    measured = [one for one in alone if not one.is_screened]
    assert short([*measured, *pairs]) == short([*measured, *every])


BUSY = replace(DEMAND, busy_bps=np.full((3, 2), (100e6, 50e6)))


def test_what_is_carried_at_the_busy_hour_by_hand() -> None:
    """One channel of 50 Mbit/s on each cell: Rome gets 50 of its 100, Palermo its 50, so two thirds of all."""
    beams = Beams((1.0, 1.0, 1.0), 1, (50e6, 50e6, 50e6))
    shell = replace(Shell(1200, 45, 16, 8, 0), phasing=1)
    lenient, strict, free = (Search(GRID, BUSY, Target(0.9, 0.05, carried), beams=beams) for carried in (0.66, 0.67, None))
    assert lenient.measure(shell).carried == pytest.approx(2 / 3)
    assert lenient.measure(shell).meets
    assert not strict.measure(shell).meets
    assert free.measure(shell).carried is None
    slow = replace(strict, target=Target(0.9, 0.001, 0.66)).measure(shell)
    assert slow.carried is None, "what is too slow already needs no plan of beams"


def test_two_shells_that_must_carry_something_are_those_that_trying_every_pair_finds() -> None:
    """Availability alone would leave them out: a smaller pair is as available, and carries too little."""
    search = Search(SMALL, BUSY, Target(0.8, 0.05, 0.7), beams=Beams((1.0, 1.0, 1.0), 2, (50e6, 50e6, 50e6)))
    alone = search((1200.0, 45.0))
    firsts = CoverShells(SMALL, search)((1200.0, 45.0))
    seconds = tuple(cover for orbit in SECOND.orbits() for cover in CoverShells(SECOND, search)(orbit))
    single, found = cheapest(alone), cheapest([*alone, *AddSecond(search, seconds, tuple(alone))(firsts)])
    every = [search.measure(first.shell, second.shell) for first in firsts for second in seconds]
    assert single is not None
    assert found is not None
    assert found == cheapest([*alone, *every])
    assert found.satellites < single.satellites


def test_the_share_that_a_pair_serves_is_that_of_its_shells_slot_by_slot() -> None:
    search = Search(SMALL, DEMAND, TARGET)
    firsts, seconds = (CoverShells(grid, search)(grid.orbits()[0]) for grid in (SMALL, SECOND))
    for satellites, served, first, second in AddSecond(search, tuple(seconds), ())._pairs(firsts)[:8]:
        measured = search.measure(first, second)
        assert measured.satellites == satellites
        assert measured.served == pytest.approx(served, abs=1e-12)


def test_a_second_shell_that_does_not_help_leaves_the_single_one() -> None:
    useless = Grid((600.0,), (0.0,), (1,), (4,), ("IT",))  # over the equator: nothing of it is seen from Italy
    search = Search(SMALL, DEMAND, Target(0.8, 0.05))
    alone = search((1200.0, 45.0))
    add = AddSecond(search, tuple(CoverShells(useless, search)((600.0, 0.0))), tuple(alone))
    assert cheapest([*alone, *add(CoverShells(SMALL, search)((1200.0, 45.0)))]) == cheapest(alone)


def test_a_target_that_nothing_meets_has_no_answer_and_ends() -> None:
    found = Search(Grid((600.0,), (45.0,), (4,), (4, 6), ("IT",)), DEMAND, Target(0.99999, 0.05))((600.0, 45.0))
    assert len(found) == 2
    assert cheapest(found) is None


def candidate(satellites: int, available: float, *, is_screened: bool = False) -> Candidate:
    return Candidate((Shell(1200, 45, 1, satellites, 0),), available, available, 0.04, is_screened, available >= 0.99)


def test_the_front_holds_what_no_other_beats() -> None:
    found = [
        candidate(10, 0.5),
        candidate(20, 0.4),
        candidate(20, 0.9),
        candidate(30, 0.9),
        candidate(40, 0.99),
        candidate(5, 0.95, is_screened=True),
    ]
    assert [(one.satellites, one.available) for one in front(found)] == [(10, 0.5), (20, 0.9), (40, 0.99)]


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


WITH_SECOND = """
[design.second]
altitudes_km = [1200]
inclinations_deg = [60]
planes = [2]
satellites_per_plane = [4]
"""


def test_the_command_designs_and_says_what_it_costs(tmp_path: Path) -> None:
    file = tmp_path / "design.toml"
    file.write_text(TINY + DESIGN)
    shown = CliRunner().invoke(tramontana, ["plan", "design", str(file)])
    assert shown.exit_code == 0, shown.output
    assert "Cheapest" in shown.output
    assert "simulated over 1 h" in shown.output
    assert "A second shell" not in shown.output
    file.write_text(TINY + DESIGN + WITH_SECOND)
    both = CliRunner().invoke(tramontana, ["plan", "design", str(file)])
    assert both.exit_code == 0, both.output
    assert "A second shell" in both.output
    without = CliRunner().invoke(tramontana, ["plan", "design", str(_written(tmp_path, TINY))])
    assert "asks for no design" in str(without.exception)


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('alternative = "national"', 'alternative = "lease"', "is not an alternative with a constellation"),
        ('landing = ["IT"]', 'landing = ["NZ"]', "no gateway stands in NZ"),
        ("available = 0.9", "available = 1.0", "design.available"),
        ("available = 0.9", "available = 0.9\ncarried = 1.1", "design.carried"),
        ("available = 0.9", "available = 0.9\ncarried = 0.9", "no place asks for anything at the busy hour"),
    ],
)
def test_a_design_that_cannot_be_is_refused(old: str, new: str, complaint: str) -> None:
    with pytest.raises(StudyError) as refused:
        parse_study(TINY + DESIGN.replace(old, new))
    assert complaint in str(refused.value)


SEAS = """
[areas.channel]
title = "Channel"
ring = [[11.0, 37.0], [12.0, 38.0], [15.0, 36.0], [13.0, 33.0]]
source = "offer"

[areas.ionian]
title = "Ionian"
ring = [[20.0, 39.7], [16.1, 37.9], [15.1, 36.7], [22.4, 36.4]]
source = "offer"
"""


def test_a_sea_counts_as_one_place_of_share_1_in_the_search_alone() -> None:
    text = TINY + SEAS + DESIGN.replace("longitude = 12.5", "longitude = 12.5\nshare = 3")
    alone, both, one = (parse_study(text + seas) for seas in ("", "seas = true\n", 'seas = ["ionian"]\n'))
    assert alone.design is not None
    assert both.design is not None
    assert one.design is not None
    assert alone.design.search.demand == alone.demand
    demand = both.design.search.demand
    assert demand.shares.sum() == pytest.approx(1.0)
    share = {name: demand.shares[[place.name == name for place in demand.places]].sum() for name in ("Rome", "Channel", "Ionian")}
    assert share == pytest.approx({"Rome": 3 / 5, "Channel": 1 / 5, "Ionian": 1 / 5})
    assert {place.name for place in one.design.search.demand.places} == {"Rome", "Ionian"}
    assert both.demand is not None
    assert len(both.demand.places) == 1, "the alternatives are measured for the places as before"
    # Cells reach beyond the rim by less than 200 km, which is 2° and a bit.
    sea = [place for place in demand.places if place.name == "Ionian"]
    assert all(34 < place.latitude_deg < 42 for place in sea)
    assert all(12 < place.longitude_deg < 25 for place in sea)


def test_seas_take_nothing_at_the_busy_hour() -> None:
    asked = '[inputs.asked]\nvalue = 9\nunit = "Mbit/s"\nsource = "offer"\n'
    text = TINY + SEAS + asked + DESIGN.replace("longitude = 12.5", 'longitude = 12.5\nbusy = "asked"') + "seas = true\n"
    task = parse_study(text).design
    assert task is not None
    busy = task.search.demand.busy_bps
    assert busy is not None
    assert busy.shape == (3, len(task.search.demand.places))
    assert busy.sum(axis=1) == pytest.approx([9e6] * 3)


@pytest.mark.parametrize(
    ("areas", "seas", "complaint"),
    [
        ("", "seas = true", "the study has no areas"),
        (SEAS, 'seas = ["baltic"]', "there is no area baltic; the study has channel, ionian"),
        (SEAS, 'seas = ["ionian", "ionian"]', "names an area twice"),
        (SEAS, "seas = []", "design.seas"),
    ],
)
def test_seas_that_cannot_be_are_refused(areas: str, seas: str, complaint: str) -> None:
    with pytest.raises(StudyError) as refused:
        parse_study(TINY + areas + DESIGN + seas + "\n")
    assert complaint in str(refused.value)


def test_a_share_of_the_demand_needs_a_sky_whose_beams_are_known() -> None:
    demand = '[inputs.asked]\nvalue = 9\nunit = "Mbit/s"\nsource = "offer"\n'
    text = TINY + demand + DESIGN.replace("longitude = 12.5", 'longitude = 12.5\nbusy = "asked"') + "carried = 0.9\n"
    with pytest.raises(StudyError, match=r"design\.carried: what a satellite of national carries is not known"):
        parse_study(text)


def _written(folder: Path, text: str) -> Path:
    path = folder / "plain.toml"
    path.write_text(text)
    return path
