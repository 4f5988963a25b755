"""How long a warning takes by satellite: by hand where it can be counted, never sooner with fewer satellites."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from tests.planning.test_study import TINY
from tramontana.cli.main import tramontana
from tramontana.planning.losses import Dependence, Loss, Party, Serving
from tramontana.planning.sky import SkyDesign, Without
from tramontana.planning.study import StudyError, parse_study
from tramontana.planning.warning_time import (
    STARTS,
    PhoneServing,
    PhoneSky,
    Reached,
    WarnedArea,
    WarnPeople,
    reached,
    together,
    typical_s,
    warn_all,
)
from tramontana.space.orbits import Propagator
from tramontana.space.shells import FILED_EPOCH_UNIX_S, Shell
from tramontana.space.visibility import itrs_positions_m, local_frame

EARTH_RADIUS_M = 6_378_137.0
GM = 3.986004418e14  # m³/s², WGS 84


def area(latitude: list[float], longitude: list[float], people: list[float], times: int = 1) -> WarnedArea:
    return WarnedArea("a", "Area", np.array(latitude), np.array(longitude), np.array(people), times, ())


def test_people_are_covered_as_often_as_wanted_by_hand() -> None:
    # Three cells over four dwells: 60, 35 and 5 people.
    lit = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 1]], dtype=bool)
    people = np.array([60.0, 35.0, 5.0])
    after, share = reached(lit, people, 1)
    assert after.tolist() == [1, 2, 4]  # 60 % in the first dwell, 95 % in the second, all in the fourth
    assert share == 1.0
    after, share = reached(lit, people, 2)
    assert after.tolist() == [2, 3, np.inf]  # the last five people were lit once only
    assert share == pytest.approx(0.95)


def test_one_satellite_over_the_equator_by_geometry() -> None:
    """It passes a place on the equator in its plane: the window in which it stands 30° high follows from two angles and two rates."""
    shell = Shell(550.0, 0.0, 1, 1, 0)
    sky = SkyDesign(None, (shell,), ())
    radius = EARTH_RADIUS_M + 550e3
    half = np.arccos(EARTH_RADIUS_M / radius * np.cos(np.radians(30))) - np.radians(30)  # the angle at the Earth's centre
    rate = np.sqrt(GM / radius**3) - 7.2921159e-5
    window_s = 2 * half / rate
    # Where it stands 100 s after the start: it is highest there then.
    position = Propagator(sky.fleet()).positions_itrs_m(np.array([FILED_EPOCH_UNIX_S + 900.0]))[0, 0]
    longitude = float(np.degrees(np.arctan2(position[1], position[0])))
    found = WarnPeople((area([0.0], [longitude], [10.0], times=100),), starts=1)(PhoneSky(sky, 1))
    assert np.isinf(found.after_s).all()  # not a hundred dwells of ten seconds in one pass
    assert found.share[0, 0] == 0.0
    for dwells, is_enough in ((window_s // 10 - 1, True), (window_s // 10 + 2, False)):
        several = WarnPeople((area([0.0], [longitude], [10.0], times=int(dwells)),), starts=1)(PhoneSky(sky, 1))
        assert np.isfinite(several.after_s).all() == is_enough
    once = WarnPeople((area([0.0], [longitude], [10.0]),), starts=1)(PhoneSky(sky, 1))
    # The place's cell has its centre a little beside it: some seconds of flight.
    assert abs(once.after_s[0, 0, 0] - (900 - window_s / 2)) <= 15
    up = local_frame(0.0, longitude)[2]
    there = position - itrs_positions_m(np.zeros(1), np.array([longitude]), np.zeros(1))[0]
    assert float(there @ up) / np.linalg.norm(there) > 0.999


def test_fewer_satellites_never_warn_sooner_and_one_beam_never_before_many() -> None:
    warned = area([42.7, 43.2, 41.9], [13.2, 12.5, 14.1], [500.0, 300.0, 200.0], times=2)
    sky = SkyDesign(None, (Shell(358.0, 43.0, 13, 10, 1),), ())
    work = WarnPeople((warned,), starts=4)
    whole, half = work(PhoneSky(sky, 16)), work(PhoneSky(replace(sky, without=Without(satellites=0.5)), 16))
    plane, single = work(PhoneSky(replace(sky, without=Without(planes=1)), 16)), work(PhoneSky(sky, 1))
    for fewer in (half, plane):
        assert np.all(fewer.share <= whole.share + 1e-12)
    assert single.after_s[:, :, 0].mean() >= whole.after_s[:, :, 0].mean()
    assert np.all(np.diff(whole.after_s, axis=2) >= 0)
    assert np.isfinite(whole.after_s[:, :, 0]).any()


def test_years_mixes_and_losses() -> None:
    where = (area([42.7], [13.2], [100.0]),)
    owner = Dependence(operator=Party("SpaceX", ("US",), ()), launch=Party("SpaceX", ("US",), ()))
    sky = SkyDesign("starlink-direct-to-cell", (), ())
    late = SkyDesign(None, (Shell(550, 45, 4, 4, 1),), ())
    now, later = PhoneServing(Serving(sky, 1, 4, owner, 5.0), 16), PhoneServing(Serving(late, 3, 4), 8)
    asked: list[PhoneSky] = []

    def run(work: WarnPeople, skies: object) -> list[Reached]:
        assert isinstance(skies, list)
        asked.extend(skies)
        quick = {sky: 60.0, late: 20.0}
        return [
            Reached(np.full((1, STARTS, 3), quick.get(one.sky, 90.0)), np.full((1, STARTS), 0.5 if one.sky.without.satellites else 1.0))
            for one in skies
        ]

    losses = (Loss("gone", "gone", operator="SpaceX"), Loss("no-launch", "no launch", launch="SpaceX", years=2.0))
    found = warn_all({"lease": (now,), "mix": (now, later), "fibre": ()}, losses, where, 4, run)
    assert set(found) == {"lease", "mix"}
    assert len(asked) == 3  # the whole sky, what is left of it without launches, and the late one: each once
    assert [each.after_s[0, 0, 0] for each in found["mix"].by_year] == [60.0, 60.0, 20.0, 20.0]
    assert found["mix"].best == 2
    assert [each.share[0, 0] for each in found["lease"].after["gone"]] == [0.0] * 4
    assert [each.after_s[0, 0, 0] for each in found["mix"].after["gone"]] == [np.inf, np.inf, 20.0, 20.0]
    assert found["lease"].left(losses[1]).share[0, 0] == 0.5
    assert typical_s(found["lease"].left(losses[0]), 50)[0, 0] == np.inf
    assert warn_all({"fibre": ()}, losses, where, 4, run) == {}


def test_of_two_skies_the_quicker_counts_and_a_median_is_never_between_a_time_and_never() -> None:
    one = Reached(np.array([[[10.0, 50.0, np.inf]]]), np.array([[0.9]]))
    other = Reached(np.array([[[20.0, 30.0, np.inf]]]), np.array([[0.95]]))
    both = together([one, other])
    assert both.after_s[0, 0].tolist() == [10.0, 30.0, np.inf]
    assert both.share[0, 0] == 0.95
    half = Reached(np.array([[[10.0] * 3, [np.inf] * 3]]), np.array([[1.0, 0.0]]))
    assert np.isinf(typical_s(half, 90)).all()


WARNED = """
[alternatives.phones]
lifetime = "life"
beams = "beams"
[[alternatives.phones.shells]]
altitude_km = 358
inclination_deg = 43
planes = 26
satellites_per_plane = 13
[alternatives.dependence.operator]
name = "SpaceX"
countries = ["US"]
source = "offer"

[[losses]]
id = "gone"
title = "the carrier withdraws"
operator = "SpaceX"

[warned.apennines]
title = "Apennines"
ring = [[12.5, 42.2], [14.0, 42.2], [14.0, 43.3], [12.5, 43.3]]
people = "towns.csv"
times = 2
source = "offer"

[inputs.life]
value = 5
unit = "year"
source = "offer"

[inputs.beams]
value = 16
unit = "1/satellite"
source = "offer"
"""
TOWNS = (
    "name,latitude,longitude,population\nAmatrice,42.63,13.29,2646\nAccumoli,42.69,13.24,667\nRoma,41.9,12.5,2800000\nNowhere,42.7,13.1,\n"
)


def test_a_study_that_warns_as_a_table_and_in_the_report(tmp_path: Path) -> None:
    file, page = tmp_path / "study.toml", tmp_path / "page.html"
    file.write_text(TINY + WARNED)
    missing = CliRunner().invoke(tramontana, ["plan", "warning", str(file)])
    assert "cannot read" in str(missing.exception)
    (tmp_path / "towns.csv").write_text(TOWNS)
    answer = CliRunner().invoke(tramontana, ["plan", "warning", str(file), "--csv", str(tmp_path / "w.csv")])
    assert answer.exit_code == 0, answer.output
    with (tmp_path / "w.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["lost"], row["year"]) for row in rows] == [
        ("–", "2026"), ("–", "2027"), ("the carrier withdraws", "2026"), ("the carrier withdraws", "2027"),
    ]  # fmt: skip
    assert float(rows[0]["reached_percent"]) == 100.0
    assert 20 <= float(rows[0]["p90_of_people_median_s"]) <= float(rows[0]["p90_of_people_nine_starts_of_ten_s"]) < 3600
    assert (rows[2]["reached_percent"], rows[2]["p90_of_people_median_s"]) == ("0", "")
    made = CliRunner().invoke(tramontana, ["plan", "report", str(file), str(page)])
    assert made.exit_code == 0, made.output
    text = page.read_text(encoding="utf-8")
    assert "3,313 people in 2 municipalities, each covered 2 times" in text
    assert "nobody" in text
    assert 'href="#lease-figure-time-to-warn-90-of-the-people-apennines"' in text
    assert 'id="lease-figure-time-to-warn-90-of-the-people-apennines"' in text
    nobody = tmp_path / "nobody.toml"
    nobody.write_text(TINY)
    assert "warns nobody" in str(CliRunner().invoke(tramontana, ["plan", "warning", str(nobody)]).exception)


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("[12.5, 42.2], [14.0, 42.2]", "[1.5, 2.2], [4.0, 2.2]", "nobody of towns.csv lives inside the ring"),
        ('beams = "beams"', 'beams = "life"', "it must be in 1/satellite"),
        ('people = "towns.csv"', 'people = "towns.xls"', "warned.apennines.people"),
        ("times = 2", "times = 0", "warned.apennines.times"),
        ('people = "towns.csv"', 'people = "others.csv"', "others.csv was not read; put it beside the study"),
    ],
)
def test_a_warning_that_cannot_be_is_refused(old: str, new: str, complaint: str) -> None:
    ring = WARNED.replace("[14.0, 43.3], [12.5, 43.3]", "[4.0, 3.3], [1.5, 3.3]") if "ring" in complaint else WARNED
    assert old in ring
    with pytest.raises(StudyError) as refused:
        parse_study(TINY + ring.replace(old, new, 1), {"towns.csv": TOWNS})
    assert complaint in str(refused.value)
