"""Worlds as files: what is built in can be played, and what is wrong is said with its place and a remedy."""

from __future__ import annotations

import numpy as np
import pytest

from tests.exercise.small_world import no_table, small_text, small_world
from tramontana.errors import LocalError
from tramontana.exercise import catalogue
from tramontana.exercise.figures import Figures
from tramontana.exercise.world import COLUMNS, WorldError, parse_world


@pytest.mark.parametrize("name", catalogue.names())
def test_built_in_worlds_can_be_played(name: str) -> None:
    world = catalogue.world(name)
    assert world.places.population.sum() > 100_000
    assert all(blow.source in world.sources for blow in world.blows)
    assert {"it", "en"} == set(world.warnings[0].texts)


def test_people_of_the_table_are_those_of_its_source() -> None:
    assert int(catalogue.world("amatrice-2016").places.population.sum()) == 584_727  # DPC-Mappe, 140 municipalities


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("hours = 1.0", "hours = 100", "exercise.hours"),
        ('kind = "earthquake"', 'kind = "comet"', "exercise.kind"),
        ("at_min = 0", "at_min = 90", "blows.1 comes at 90 min"),
        ("approved_min = 5", "approved_min = 70", "a submission that nobody approved"),
        ("radius_km = 60", "radius_km = 0.5", "warnings.1 holds none of the places"),
        ('it = "Terremoto. Resta all\'aperto."', f'it = "{"x" * 1500}"', r"warnings\.1.*pages"),
        ('source = "invented"', 'source = "nobody"', "names the source 'nobody'"),
        ('name = "Valle"', 'name = "Borgo"', "'Borgo' is there twice"),
        ("people_per_site = 400", "people_per_site = 5", "its range is 400 to 2000"),
        ("people_per_site = 400", "people_per_site = { value = 0.1, low = 0.1, high = 1, source = 'x' }", "more than 10,000 sites"),
        ("people_per_site = 400", "page_heard = { value = 0, low = 0, high = 1, source = 'x' }", "more than 0 and at most 1"),
        ("people_per_site = 400", "battery_h = { value = inf, low = 1, high = inf, source = 'x' }", "figures.battery_h"),
        ("people_per_site = 400", "peeple = 5", "figures.peeple is not known here"),
        ("sos = 0.1", "sos = 1.5", "blows.1.rings.1.sos"),
        ("latitude = 42.60\nlongitude = 13.20\n", "", "give either latitude, longitude and rings, or municipalities"),
        ("[exercise]", "[exercise", "this is no TOML"),
        ('title = "Three towns"', 'title = "Three towns"\ncolour = "red"', "exercise.colour is not known here"),
    ],
)
def test_what_is_wrong_is_said(old: str, new: str, says: str) -> None:
    text = small_text()
    assert old in text
    with pytest.raises(WorldError, match=says):
        parse_world(text.replace(old, new, 1), no_table)


def test_tables_beside_the_file() -> None:
    start, end = small_text().index("list = ["), small_text().index("[[blows]]")
    text = small_text()[:start] + 'file = "towns.csv"\n' + small_text()[end:]
    good = ",".join(COLUMNS) + "\nBorgo,RI,42.6,13.2,900,\nCittà,AP,42.9,13.6,1600,20\n"
    world = parse_world(text, lambda name: good if name == "towns.csv" else "")
    assert world.places.names == ("Borgo", "Città")
    assert np.all(world.places.area_km2 > 0)
    with pytest.raises(WorldError, match=r"towns\.csv, line 2: population"):
        parse_world(text, lambda _: good.replace(",900,", ",many,"))
    with pytest.raises(WorldError, match="no column 'population'"):
        parse_world(text, lambda _: "name,latitude,longitude\nBorgo,42.6,13.2\n")
    with pytest.raises(WorldError, match="more than 2,000 places"):
        parse_world(text, lambda _: good + "".join(f"Casa {number},RI,42.6,13.2,1,\n" for number in range(2_000)))
    with pytest.raises(WorldError, match=r"towns\.csv, after line 1: field larger"):
        parse_world(text, lambda _: good.replace("Borgo", "x" * 200_000))
    with pytest.raises(WorldError, match=r"places\.file"):
        parse_world(text.replace("towns.csv", "../towns.csv"), lambda _: good)


def test_every_figure_has_a_range_and_a_source() -> None:
    for name, figure in Figures().table():
        assert figure.low < figure.high, name
        assert figure.source
    figures = small_world().figures
    assert figures.people_per_site.value == 400
    with pytest.raises(LocalError, match="say on what it rests"):
        Figures().with_values({"battery_h": 90.0})


def test_a_shorter_exercise_still_warns() -> None:
    assert small_world().first_hours(0.5).seconds == 1800
    with pytest.raises(WorldError, match=r"the first one is after 0\.08 h"):
        small_world().first_hours(0.05)
