"""Losses with lasers: a gateway by another one, and never less covered than without; by hand where it can be counted."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from tests.planning.test_losses import STUDY
from tramontana.cli.main import tramontana
from tramontana.planning.measures import Demand, MeasureSky
from tramontana.planning.sky import SkyDesign, Without
from tramontana.space.ground import Gateway, Place, PointOfPresence
from tramontana.space.shells import Shell
from tramontana.space.visibility import SPEED_OF_LIGHT_M_PER_S

# One ring over the equator, 18 satellites 20° apart at 8,000 km: each sees what lies within 38.5° of the point below it at 25° or more.
# From 0° east a gateway at 30° has always one satellite in common with the place (68.5° − 8.5° hold three), one at 150° none, ever.
RING = Shell(8000, 0, 1, 18, 0)
PLACE = Place("gulf", "Gulf of Guinea", "", "city", 0.0, 0.0)
NEAR = Gateway("near", "Near", "KE", 0.0, 30.0, 25.0, "made for this test")
FAR = Gateway("far", "Far", "KI", 0.0, 150.0, 25.0, "made for this test")
POINTS = tuple(
    PointOfPresence(f"{one.id}-point", one.name, one.country, 0.0, one.longitude_deg, "made for this test") for one in (NEAR, FAR)
)
SKY = SkyDesign(None, (RING,), ("KE", "KI"), (NEAR, FAR), POINTS)
WORK = MeasureSky(Demand((PLACE,), np.ones(1)), duration_s=600.0)


def test_a_lost_gateway_is_reached_by_the_next_one_through_lasers() -> None:
    cut = replace(SKY, without=Without(gateways=frozenset({"near"})))
    whole, without = WORK(SKY), WORK(cut)
    assert whole.served[0] == 1.0
    assert without.served[0] == 0.0  # no satellite stands 25° over 0° and over 150° east
    whole_lit, lit = WORK(replace(SKY, lasers=True)), WORK(replace(cut, lasers=True))
    assert whole_lit.served[0] == lit.served[0] == 1.0
    assert whole_lit.round_trip_s[0] == whole.round_trip_s[0]  # lasers fill; they take nothing over
    # Of 150° the two links on the ground bridge 77° at most: four to seven chords of 20° between, up and down, and 9 ms of access; the
    # point of presence stands at the gateway, so there is no fibre.
    radius, earth = 8_000e3 + 6_378e3, 6_378e3
    chord = 2 * radius * np.sin(np.radians(10))
    least, most = (np.sqrt(radius**2 + earth**2 - 2 * radius * earth * np.cos(np.radians(angle))) for angle in (0, 38.5))
    shortest, longest = ((4 * chord + 2 * least) / SPEED_OF_LIGHT_M_PER_S, (7 * chord + 2 * most) / SPEED_OF_LIGHT_M_PER_S)
    assert 2 * (shortest + 0.009) < lit.round_trip_s[0] < 2 * (longest + 0.009)
    assert lit.round_trip_s[0] > whole_lit.round_trip_s[0]


@pytest.mark.parametrize(
    "without",
    [
        Without(),
        Without(gateways=frozenset({"milano", "marsala"})),
        Without(satellites=0.4),
        Without(planes=2),
        Without(countries=frozenset({"ES", "FR"})),
    ],
)
def test_with_lasers_never_less_and_no_loss_ever_serves_more(without: Without) -> None:
    places = (
        Place("rome", "Rome", "IT", "city", 41.9, 12.5),
        Place("tripoli", "Tripoli", "LY", "city", 32.9, 13.2),
        Place("karachi", "Karachi", "PK", "city", 24.9, 67.0),
    )
    work = MeasureSky(Demand(places, np.full(3, 1 / 3)), duration_s=600.0)
    sky = SkyDesign(None, (Shell(1200, 53, 8, 10, 1),), ("IT", "ES", "FR"))
    whole, plain, lit = (
        work(one) for one in (replace(sky, lasers=True), replace(sky, without=without), replace(sky, without=without, lasers=True))
    )
    assert np.all(lit.served >= plain.served)
    assert np.all(lit.available >= plain.available)
    assert np.all(lit.served <= whole.served)
    assert lit.served[2] > plain.served[2] == 0.0  # no gateway there: only lasers serve it
    assert np.isfinite(lit.round_trip_s[2])


def test_in_the_table_and_the_report(tmp_path: Path) -> None:
    study, page, table = tmp_path / "study.toml", tmp_path / "page.html", tmp_path / "losses.csv"
    study.write_text(STUDY.replace('lifetime = "life"\n', 'lifetime = "life"\nlasers = "offer"\nlanding = ["IT"]\n', 1))
    for words in (("losses", study, "--csv", table), ("report", study, page)):
        made = CliRunner().invoke(tramontana, ["plan", *(str(word) for word in words)])
        assert made.exit_code == 0, (made.output, made.exception)
    rows = list(csv.DictReader(table.read_text().splitlines()))
    for row in rows:
        assert float(row["with_lasers_available_percent"]) >= float(row["available_percent"])
    assert float(rows[1]["with_lasers_available_percent"]) == 0.0  # the operator withdraws: lasers and all
    text = page.read_text(encoding="utf-8")
    anchor = "lease-figure-available-when-complete-lasers-where-no-gateway-is-in-view-after-no-launch"
    assert f'href="#{anchor}"' in text
    assert f'id="{anchor}"' in text
