"""Landing at home by laser: by hand where it can be counted, never quicker than the free choice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from tests.planning.test_figure import likely
from tests.planning.test_losses import STUDY
from tramontana.cli.main import tramontana
from tramontana.planning.laser_landing import LaserLanding, RouteByLaser, land_by_laser, laser_figures, together
from tramontana.planning.measures import Demand, MeasureSky
from tramontana.planning.sky import SkyDesign
from tramontana.space.ground import Place
from tramontana.space.shells import Shell

PLACES = (
    Place("rome", "Rome", "IT", "city", 41.9, 12.5),
    Place("karachi", "Karachi", "PK", "city", 24.9, 67.0),
    Place("pole", "South Pole", "", "city", -90.0, 0.0),
)
DEMAND = Demand(PLACES, np.array([0.5, 0.5, 0.0]), home="IT")
SKY = SkyDesign(None, (Shell(1200, 53, 12, 12, 1),), ())


def test_lasers_bring_traffic_home_from_where_no_gateway_is_in_view() -> None:
    with_lasers = RouteByLaser(DEMAND, duration_s=900.0)(SKY)
    without = MeasureSky(DEMAND, duration_s=900.0)(SkyDesign(None, SKY.shells, ("IT",)))
    assert without.served[1] == 0.0  # Karachi lies 5,000 km from Foggia
    assert with_lasers.home_routed[1] == 1.0
    # To Italy and back it is 2 × 5,000 km at the speed of light at least, and both hops of 1,200 km.
    assert with_lasers.home_round_trip_s[1] > 2 * (5_000e3 + 2 * 1_200e3) / 299_792_458
    for row in (0, 1):
        assert with_lasers.home_round_trip_s[row] >= with_lasers.round_trip_s[row]
        assert 0.0 <= with_lasers.at_home[row] <= 1.0
    assert with_lasers.home_routed[2] == 0.0
    assert np.isnan(with_lasers.round_trip_s[2])
    assert np.isnan(with_lasers.at_home[2])


def test_a_mix_goes_by_the_quickest_sky_and_what_landing_at_home_adds_is_a_difference() -> None:
    one = LaserLanding(np.array([1.0, 0.2]), np.array([0.05, 0.04]), np.array([0.5, 1.0]), np.array([0.05, 0.09]))
    other = LaserLanding(np.array([0.0, 0.6]), np.array([0.03, 0.06]), np.array([0.5, 0.0]), np.array([0.07, np.nan]))
    both = together([one, other])
    assert both.at_home.tolist() == [0.0, 0.2]
    assert both.round_trip_s.tolist() == [0.03, 0.04]
    assert both.home_routed.tolist() == [0.75, 1.0]
    assert both.home_round_trip_s.tolist() == [0.05, 0.09]
    demand = Demand(PLACES[:2], np.array([0.25, 0.75]), home="IT")
    figures = {figure.words: likely(figure)[0] for figure in laser_figures(demand, both)}
    assert figures["traffic that lands in IT, with lasers"] == pytest.approx(0.15)
    assert figures["round trip, median, with lasers"] == pytest.approx(0.25 * 30 + 0.75 * 40)
    added = figures["round trip, median, with lasers: what landing in IT only adds"]
    assert added == pytest.approx(0.25 * (50 - 30) + 0.75 * (90 - 40))


def test_without_lasers_or_a_home_nothing_is_asked() -> None:
    def never(work: RouteByLaser, skies: object) -> list[LaserLanding]:
        raise AssertionError(skies)

    assert land_by_laser({"lease": ()}, DEMAND, never) == {}
    assert land_by_laser({"lease": (SKY,)}, Demand(PLACES, np.ones(3)), never) == {}


def test_in_the_report(tmp_path: Path) -> None:
    study, page = tmp_path / "study.toml", tmp_path / "page.html"
    study.write_text(STUDY.replace('lifetime = "life"\n', 'lifetime = "life"\nlasers = "offer"\n', 1))
    made = CliRunner().invoke(tramontana, ["plan", "report", str(study), str(page)])
    assert made.exit_code == 0, (made.output, made.exception)
    text = page.read_text(encoding="utf-8")
    for name in ("traffic-that-lands-in-it-with-lasers", "round-trip-median-with-lasers-what-landing-in-it-only-adds"):
        assert f'href="#lease-figure-{name}"' in text
        assert f'id="lease-figure-{name}"' in text
    wrong = tmp_path / "wrong.toml"
    wrong.write_text(STUDY.replace('lifetime = "life"\n', 'lifetime = "life"\nlasers = "rumour"\n', 1))
    assert "there is no source rumour" in str(CliRunner().invoke(tramontana, ["plan", "report", str(wrong), str(page)]).exception)
