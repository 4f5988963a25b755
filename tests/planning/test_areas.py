"""Coverage of seas and municipalities: by hand where it can be counted, and as a table and a map."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from tests.planning.test_losses import STUDY
from tramontana.cli.main import tramontana
from tramontana.cli.plan_areas import areas_section, covered
from tramontana.cli.sky_options import Work
from tramontana.planning.areas import Covered, CoverSites, joined, together
from tramontana.planning.sky import SkyDesign, Without
from tramontana.planning.study import StudyError, parse_study
from tramontana.space.ground import Place
from tramontana.space.shells import Shell
from tramontana.space.studies.sites import Sites

SEA = """
[areas.tyrrhenian]
title = "Tyrrhenian Sea"
ring = [[9.4, 43.0], [9.85, 44.0], [15.7, 38.25], [12.4, 37.8], [8.6, 38.9]]
source = "offer"
"""
ROME = Sites.of_places([Place("rome", "Rome", "IT", "city", 41.9, 12.5)])
POLE = Sites.of_places([Place("pole", "Pole", "", "city", -90.0, 0.0), Place("bari", "Bari", "IT", "city", 41.1, 16.9)])


def test_places_of_several_areas_keep_their_order_and_more_satellites_never_cover_less() -> None:
    sites, spans = joined([ROME, POLE])
    assert [sites.names[span] for span in spans] == [("Rome",), ("Pole", "Bari")]
    sky = SkyDesign(None, (Shell(1200, 48, 6, 8, 1),), ("IT",))
    work = CoverSites(sites, duration_s=1800.0)
    whole, half = work(sky), work(replace(sky, without=Without(satellites=0.5)))
    assert np.all(half.served <= whole.served)
    assert np.all(half.longest_gap_s >= whole.longest_gap_s)
    assert np.all(half.satellites <= whole.satellites)
    assert np.all(whole.satellites >= whole.served)  # where one serves, at least one can
    assert 0.0 < whole.served[0] < 1.0
    assert (whole.served[1], whole.longest_gap_s[1]) == (0.0, 1800.0)


def test_two_skies_leave_the_shorter_gap() -> None:
    one, other = (Covered(np.array([a]), np.array([b]), np.array([c])) for a, b, c in ((0.9, 60.0, 2.5), (0.5, 300.0, 0.7)))
    both = together([one, other])
    assert both.served == pytest.approx([0.95])
    assert both.longest_gap_s == pytest.approx([60.0])
    assert both.satellites == pytest.approx([3.2])


def test_seas_and_municipalities_as_a_table_and_a_map(tmp_path: Path) -> None:
    file, places = tmp_path / "study.toml", tmp_path / "comuni.csv"
    file.write_text(STUDY + SEA)
    places.write_text("id,name,lat,lon\nh501,Roma,41.9,12.5\n")
    answer = CliRunner().invoke(tramontana, ["plan", "areas", str(file), "--place-list", str(places)])
    assert answer.exit_code == 0, answer.output
    assert "Tyrrhenian Sea" in answer.output
    assert "Roma" in answer.output
    study = parse_study(STUDY + SEA)
    drawn = areas_section(study, covered(study, Work(1, None, False)))
    assert drawn.count("<svg") == 1
    assert 20 < drawn.count('class="site"') < 60  # H3 cells of 12,400 km² in a sea of 275,000 and its rim
    assert "http" not in drawn.replace("http://www.w3.org", "")
    nothing = tmp_path / "none.toml"
    nothing.write_text(STUDY)
    assert "names no areas" in str(CliRunner().invoke(tramontana, ["plan", "areas", str(nothing)]).exception)


def test_a_sea_that_is_none_is_refused() -> None:
    with pytest.raises(StudyError, match="ring"):
        parse_study(STUDY + SEA.replace("[9.4, 43.0]", "[9.4, 143.0]"))
    with pytest.raises(StudyError, match="there is no source rumour"):
        parse_study(STUDY + SEA.replace('source = "offer"', 'source = "rumour"'))
