"""What is left when somebody withdraws or something breaks: by hand where it can be counted, never more than before."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from tests.planning.test_study import TINY
from tramontana.cli.main import tramontana
from tramontana.errors import LocalError
from tramontana.planning.busy_hour import Beams
from tramontana.planning.estimate import Source
from tramontana.planning.losses import Dependence, Loss, Party, Serving, left_after
from tramontana.planning.measures import Demand, MeasureSky
from tramontana.planning.sky import SkyDesign, Without
from tramontana.planning.study import StudyError, parse_study
from tramontana.space.ground import Place
from tramontana.space.shells import Shell

SAID = (Source("offer", "An offer", "https://example.org/offer", "2025"),)
SKY = SkyDesign(None, (Shell(1200, 48, 6, 8, 1),), ("IT",))
AMERICAN = Dependence(Party("SpaceX", ("US",), SAID), Party("SpaceX", ("US",), SAID), Party("SpaceX", ("US",), SAID))
OURS = Dependence(Party("State", ("IT",), SAID), Party("Works", ("IT",), SAID), Party("Arianespace", ("FR",), SAID))


def left(loss: Loss, dependence: Dependence, *, first: int = 1, last: int = 5, lifetime: float = 5.0) -> Serving | None:
    found = left_after(loss, [Serving(SKY, first, last, dependence, lifetime)])
    return found[0] if found else None


@pytest.mark.parametrize("loss", [Loss("x", "x", operator="SpaceX"), Loss("x", "x", country="US", years=1.0)])
def test_who_depends_on_the_operator_or_its_country_has_nothing_left(loss: Loss) -> None:
    assert left(loss, AMERICAN) is None
    assert left(loss, OURS) is not None


def test_without_launches_those_in_orbit_die_and_those_to_come_are_late() -> None:
    none = Loss("x", "x", launch="Arianespace", years=2.0)
    now, soon = left(none, OURS), left(none, OURS, first=3)
    assert now is not None
    assert soon is not None
    assert now.sky.without.satellites == pytest.approx(0.4)
    assert soon.first == 5
    assert soon.sky.without.satellites == 0.0
    assert left(none, OURS, first=4) is None  # it would come in year 6 of 5
    assert left(none, OURS, lifetime=2.0) is None  # all of them died
    assert left(none, AMERICAN) == Serving(SKY, 1, 5, AMERICAN, 5.0)
    assert left(Loss("x", "x", country="FR", years=2.0), OURS) is not None  # only the launches are French
    late = left(Loss("x", "x", country="FR", years=2.0), OURS)
    assert late is not None
    assert late.sky.without.satellites == pytest.approx(0.4)


def test_without_a_gateway_to_land_at_nothing_serves() -> None:
    everyone = frozenset({"milano", "marsala", "foggia"})
    assert left(Loss("x", "x", gateways=everyone), AMERICAN) is None
    one = left(Loss("x", "x", gateways=frozenset({"milano"})), AMERICAN)
    assert one is not None
    assert {gateway.id for gateway in one.sky.ground().gateways} == {"marsala", "foggia"}
    assert left(Loss("x", "x", country="IT", years=1.0), AMERICAN) is None


def test_a_cut_cable_sends_traffic_to_another_point_of_presence() -> None:
    cut = replace(SKY, without=Without(points_of_presence=frozenset({"mlnnita1"})))
    assert {point.country for point in SKY.ground().points_of_presence} == {"IT"}
    assert "IT" not in {point.country for point in cut.ground().points_of_presence}
    assert cut.ground().backhaul_m[0] > 10 * SKY.ground().backhaul_m[0]  # Milano stands beside Milan


def test_more_that_dies_includes_what_died_before() -> None:
    gone = [set(SKY.fleet().names) - set(replace(SKY, without=Without(satellites=share)).fleet().names) for share in (0.25, 0.5, 1.0)]
    assert [len(names) for names in gone] == [12, 24, 47]  # the last one stays: a fleet of none cannot be
    assert gone[0] < gone[1] < gone[2]
    for sky in (SKY, replace(SKY, without=Without(satellites=0.5))):
        names = sky.fleet().names
        assert [int(name.split("-")[1]) - 1 for name in names] == sky.planes().tolist()


PLACES = (Place("rome", "Rome", "IT", "city", 41.9, 12.5), Place("kyiv", "Kyiv", "UA", "city", 50.45, 30.52))
BEAMS = Beams((0.5, 2.0, 48.0), 2, (100e6, 100e6, 400e6))
DEMAND = Demand(PLACES, np.array([0.5, 0.5]), np.array([[50e6, 0.0], [400e6, 0.0], [800e6, 0.0]]), "IT")


def test_losses_never_serve_more_and_the_busy_hour_is_bounded_by_its_channels() -> None:
    work = MeasureSky(DEMAND, duration_s=1800.0)
    sky = SkyDesign(None, (Shell(1200, 48, 12, 10, 1),), (), beams=BEAMS)
    whole, fewer = work(sky), work(replace(sky, without=Without(satellites=0.5)))
    plane, home = work(replace(sky, without=Without(planes=1))), work(replace(sky, landing_countries=("IT",)))
    for after in (fewer, plane, home):
        assert np.all(after.served <= whole.served)
        assert np.all(after.carried <= whole.carried + 1e-12)
    assert plane.served.sum() < whole.served.sum() or plane.round_trip_s[0] != whole.round_trip_s[0]
    # Two channels of 100 Mbit/s for 400; half a beam of 100 for 800; and two channels of 400 for 50.
    cautious, likely, hopeful = whole.carried[:, :, 0].max(axis=1)
    assert [cautious, likely, hopeful] == pytest.approx([0.5 * 100 / 800 * 2, 2 * 100 / 400, 1.0])
    assert np.all(whole.carried[:, :, 1] == 1.0)  # nothing is asked for
    assert home.at_home[0] == 1.0
    assert 0.0 < whole.at_home[0] < 1.0


def test_a_loss_of_what_does_not_exist_is_refused() -> None:
    with pytest.raises(LocalError, match="no gateway atlantis; use one of milano"):
        SKY.check(gateways=["atlantis"])
    with pytest.raises(LocalError, match="no point of presence atlantis"):
        SKY.check(points_of_presence=["atlantis"])


STUDY = (
    TINY.replace('users = "users"', 'users = "users"\ncountry = "IT"')
    + """
[alternatives.sky]
lifetime = "life"
[[alternatives.sky.shells]]
altitude_km = 1200
inclination_deg = 48
planes = 12
satellites_per_plane = 10
[alternatives.sky.beams]
each = "beams"
channels = "channels"
rate = "rate-of-a-beam"
[alternatives.dependence.operator]
name = "SpaceX"
countries = ["US"]
source = "offer"
[alternatives.dependence.launch]
name = "SpaceX"
countries = ["US"]
source = "offer"

[[alternatives]]
id = "fibre"
title = "Fibre"
[[alternatives.lines]]
name = "fibre"
product = ["price", "sites"]

[inputs.life]
value = 4
unit = "year"
source = "offer"

[inputs.pause]
value = 1
unit = "year"
source = "offer"

[inputs.beams]
value = 4
unit = "1/satellite"
source = "offer"

[inputs.channels]
value = 2
unit = "1"
source = "offer"

[inputs.rate-of-a-beam]
low = 50
likely = 100
high = 100
unit = "Mbit/s"
source = "offer"

[inputs.busy]
low = 100
likely = 400
high = 800
unit = "Mbit/s"
source = "offer"

[places.rome]
title = "Rome"
latitude = 41.9
longitude = 12.5
busy = "busy"

[[losses]]
id = "operator"
title = "the operator withdraws"
operator = "SpaceX"

[[losses]]
id = "launches"
title = "no launch"
launch = "SpaceX"
years = "pause"
"""
)


def test_the_commands_show_what_is_lost_and_where_every_figure_comes_from(tmp_path: Path) -> None:
    file, table = tmp_path / "study.toml", tmp_path / "figures.csv"
    file.write_text(STUDY)
    shown = run("losses", file)
    assert "operator SpaceX (US), launch SpaceX (US)" in shown
    assert "the operator withdraws" in shown
    run("figures", file, "--csv", table)
    rows = {(row["alternative"], row["figure"], row["year"]): row for row in csv.DictReader(table.read_text().splitlines())}
    carried = rows["lease", "share of the demand carried, likely", ""]
    assert float(carried["p50"]) == pytest.approx(0.5, abs=0.02)  # two beams of 100 Mbit/s for 400
    assert carried["formula"].startswith("simulated: mean over an hour of beam plans")
    day = rows["lease", "present value by day of service", ""]
    days = rows["lease", "days of service over the study", ""]
    worth = rows["lease", "present value of the cost", ""]
    assert float(days["p50"]) <= 2 * 365.25
    assert float(day["p50"]) == pytest.approx(float(worth["p50"]) / float(days["p50"]), rel=1e-4)
    assert float(rows["lease", "available over all years, after: the operator withdraws", ""]["p50"]) == 0.0
    less = float(rows["lease", "available over all years, after: no launch", ""]["p50"])
    assert 0.0 < less <= float(rows["lease", "available over all years", ""]["p50"])
    assert rows["lease", "price", ""]["sources"] == "offer"
    assert {key[2] for key in rows if key[:2] == ("fibre", "cost by year")} == {"2026", "2027"}
    assert ("fibre", "available over all years", "") not in rows
    explained = run("explain", file, "lease", "present value by day of service")
    assert "= present value of the cost ÷ days of service over the study" in explained
    assert "available over all years = simulated: mean over the places" in explained
    both = run("compare", file, "lease", "fibre")
    line = next(line for line in both.splitlines() if line.startswith("present value of the cost "))
    assert line.split()[-5:-2] == ["0.0000", "0.0000", "0.0000"]  # the same price in the same draws


def run(*words: object) -> str:
    answer = CliRunner().invoke(tramontana, ["plan", *(str(word) for word in words)])
    assert answer.exit_code == 0, answer.output
    return answer.output


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('lifetime = "life"\n', "", "give its sky a lifetime"),
        ('operator = "SpaceX"', 'operator = "Kuiper"', "no alternative depends on Kuiper; they name SpaceX"),
        ('operator = "SpaceX"', 'gateways = ["atlantis"]', "losses.operator: there is no gateway atlantis"),
        ('operator = "SpaceX"', 'operator = "SpaceX"\nplanes = 1', "give one of operator, country"),
        ('operator = "SpaceX"', 'country = "US"', "give years with country or launch"),
        ('unit = "1/satellite"', 'unit = "1"', "beams.each: beams is in 1; it must be in 1/satellite"),
        ('source = "offer"\n[alternatives.dependence.launch]', 'source = "gossip"\n[alternatives.dependence.launch]', "no source gossip"),
        ('busy = "busy"', 'busy = "life"', "places.rome.busy: life is in year; it must be in bit/s"),
    ],
)
def test_a_study_whose_losses_cannot_be_is_refused(old: str, new: str, complaint: str) -> None:
    assert old in STUDY
    with pytest.raises(StudyError) as refused:
        parse_study(STUDY.replace(old, new, 1))
    assert complaint in str(refused.value)
