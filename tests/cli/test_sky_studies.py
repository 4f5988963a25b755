"""`tramontana sky passes, coverage, latency, capacity, availability, route, profile`: end to end, files read back, numbers checked."""

from __future__ import annotations

import csv
import io
import json
import re
import struct
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest
from click.testing import CliRunner, Result

from tramontana.cli import sky_coverage
from tramontana.cli.datadir import data_dir
from tramontana.cli.sky import STUDIES, sky
from tramontana.errors import LocalError
from tramontana.path_profile import PathProfile
from tramontana.space.design_file import read_design
from tramontana.space.fleet_file import save_fleet
from tramontana.space.ground import mediterranean
from tramontana.space.orbits import Propagator
from tramontana.space.path_options import PathOptions
from tramontana.space.routing.policy import Policy
from tramontana.space.routing.router import Router
from tramontana.space.routing.routes import Route
from tramontana.space.shells import Shell, generate, starlink_gen1_as_filed
from tramontana.space.sky import Sky
from tramontana.space.studies.coverage import CountSatellites
from tramontana.space.studies.sites import parse_instant
from tramontana.space.visibility import look_angles

START = "2026-01-01T06:00Z"
DESIGN = """
name = "Small"
source = "made for a test"
[[shell]]
altitude_km = 550
inclination_deg = 53
planes = 16
satellites_per_plane = 16
"""
LIST = "id,name,lat,lon,population\nostia,Ostia,41.7,12.3,230000\nhalifax,Halifax,44.6,-63.6,\n"
TRACK = "time,lat,lon\n2026-01-01T06:00Z,36.0,12.0\n2026-01-01T06:20Z,37.0,11.0\n"
POLYGON = json.dumps({"type": "Polygon", "coordinates": [[[11, 41], [14, 41], [14, 43], [11, 43], [11, 41]]]})
FAST = {
    "passes": ("--hours", "0.3"),
    "coverage": ("--hours", "0.3"),
    "latency": ("--hours", "0.2"),
    "capacity": ("--hours", "0.1", "--rings", "1"),
    "availability": ("--hours", "0.2"),
    "route": ("--hours", "0.1"),
}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with every kind of input, and a data directory of its own."""
    monkeypatch.setenv("TRAMONTANA_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    for name, text in (("small.toml", DESIGN), ("list.csv", LIST), ("ship.csv", TRACK), ("area.geojson", POLYGON)):
        (tmp_path / name).write_text(text)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(sky, arguments, catch_exceptions=False)


def study(name: str, *more: str) -> Result:
    begin = () if "--track" in more else ("--from", START)
    return run(name, "--design", "small.toml", *begin, *FAST[name], *more)


def rows_of(path: str | Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(Path(path).read_text())))


def pixels(data: bytes) -> tuple[int, int, int]:
    """Width, height and number of different rows of a PNG, read without a picture library."""
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", data[16:24])
    at, packed = 8, b""
    while at < len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        if data[at + 4 : at + 8] == b"IDAT":
            packed += data[at + 8 : at + 8 + length]
        at += 12 + length
    raw = zlib.decompress(packed)
    stride = len(raw) // height
    return width, height, len({raw[row * stride : (row + 1) * stride] for row in range(height)})


def test_every_study_is_listed() -> None:
    out = run("--help").output
    for name in (*STUDIES, "load", "fetch", "default", "show", "places"):
        assert f"\n  {name} " in out
    for name in STUDIES:
        assert "--html" in run(name, "--help").output


@pytest.mark.parametrize("name", sorted(FAST))
def test_all_files_hold_the_same_table(name: str) -> None:
    out = study(name, "--place-list", "list.csv", *(f"--{kind}={name}.{kind}" for kind in ("csv", "parquet", "geojson", "png", "html")))
    assert "simulated, not measured" in out.output
    assert "Small" in out.output
    assert "made for a test" in out.output
    assert "\x1b" not in out.output
    table = rows_of(f"{name}.csv")
    assert table
    assert all(row["label"].startswith("simulated") for row in table)
    units = "deg|ms|s|km|db|percent|mbps|utc|hour|year|number|mean|least|median|countries"
    assert all(re.search(rf"(_({units})|id|name|place|satellite|gaps|label|population)$", column) for column in table[0])

    read = pyarrow.parquet.read_table(f"{name}.parquet")
    assert read.column_names == list(table[0])
    assert read.num_rows == len(table)
    assert read.schema.metadata[b"tramontana.simulated"] == b"simulated, not measured"
    for column in read.column_names:
        typed = read.column(column).to_pylist()
        for mine, row in zip(typed, table, strict=True):
            if isinstance(mine, float):
                assert float(row[column]) == pytest.approx(mine, rel=1e-8)
            elif mine is None:
                assert row[column] == ""
            elif hasattr(mine, "isoformat"):
                assert mine.isoformat(timespec="milliseconds").replace("+00:00", "Z") == row[column]
            else:
                assert row[column] == str(mine)

    features = json.loads(Path(f"{name}.geojson").read_text())
    assert features["type"] == "FeatureCollection"
    assert len(features["features"]) == len(table)
    assert all(f["type"] == "Feature" and f["geometry"]["type"] == "Point" for f in features["features"])
    assert features["features"][0]["geometry"]["coordinates"] == [12.3, 41.7]

    width, height, different = pixels(Path(f"{name}.png").read_bytes())
    assert width == 1500
    assert height > 500
    assert different > 100

    page = Path(f"{name}.html").read_text()
    assert "simulated, not measured" in page
    assert not re.findall(r"""(?:src|href|action|url)\s*[=(]\s*["']?(?!#)[^"'\s>]""", page), "a page must not refer to the outside"
    assert "<script" not in page
    assert page.count("<tr>") == len(table) + 1


@pytest.mark.parametrize("name", sorted(FAST.keys() - {"passes"}))
def test_maps_of_an_area(name: str) -> None:
    study(name, "--polygon", "area.geojson", "--resolution", "4", "--csv=a.csv", "--geojson=a.geojson", "--png=a.png", "--html=a.html")
    table, features = rows_of("a.csv"), json.loads(Path("a.geojson").read_text())["features"]
    assert 20 < len(table) < 60
    assert table[0]["cell"].startswith("84")
    ring = features[0]["geometry"]["coordinates"][0]
    assert ring[0] == ring[-1]
    assert len(ring) == 7
    page = Path("a.html").read_text()
    assert page.count('<polygon class="site"') == len(table)
    assert page.count("<title>") == len(table) + 1
    assert "http" not in page
    assert pixels(Path("a.png").read_bytes())[2] > 300


@pytest.mark.parametrize("name", sorted(FAST.keys() - {"capacity"}))
def test_a_ship(name: str) -> None:
    study(name, "--track", "ship.csv", "--csv=t.csv", "--png=t.png", "--geojson=t.geojson")
    assert all("ship" in (row.get("id"), row.get("place")) for row in rows_of("t.csv"))
    assert json.loads(Path("t.geojson").read_text())["features"][0]["geometry"]["type"] == "LineString"


def test_capacity_is_not_for_ships() -> None:
    with pytest.raises(LocalError, match="give places or an area, not a track"):
        study("capacity", "--track", "ship.csv")


def test_coverage_says_what_brute_force_says() -> None:
    study("coverage", "--place", "rome", "--place", "palermo", "--csv=c.csv", "--at-least", "2")
    ground, fleet = mediterranean(), read_design(Path("small.toml")).fleet()
    times = np.asarray(parse_instant(START) + np.arange(72) * 15.0, dtype=np.float64)
    position = Propagator(fleet).positions_itrs_m(times)
    lands = np.any([look_angles(g.latitude_deg, g.longitude_deg, 0.0, position)[0] >= 25 for g in ground.gateways], axis=0)
    for row in rows_of("c.csv"):
        place = ground.place(row["id"])
        up = look_angles(place.latitude_deg, place.longitude_deg, 0.0, position)[0] >= 25
        in_view, served = up.sum(axis=1), (up & lands).sum(axis=1)
        assert float(row["in_view_2_or_more_percent"]) == pytest.approx((in_view >= 2).mean() * 100)
        assert float(row["in_view_mean"]) == pytest.approx(in_view.mean())
        assert float(row["served_percent"]) == pytest.approx((served > 0).mean() * 100)
        assert float(row["total_gap_s"]) == (served == 0).sum() * 15


@pytest.mark.parametrize("name", ["coverage", "latency", "route"])
def test_workers_change_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sky_coverage, "_INSTANTS_A_PIECE", 30)
    where = ("--place", "rome", "--place", "naples", "--hours", "1.2")
    begin = ("--design", "small.toml", "--from", START)
    one = run(name, *begin, *where, "--csv=one.csv")
    two = run(name, *begin, *where, "--csv=two.csv", "--workers", "2", "--progress")
    assert Path("one.csv").read_bytes() == Path("two.csv").read_bytes()
    assert one.stdout == two.stdout
    assert re.search(rf"{name}: (\d+) of \1 pieces, 0:00 left", two.stderr)
    assert one.stderr == ""


def test_a_cluster_changes_nothing() -> None:
    distributed: Any = pytest.importorskip("distributed", reason="the optional packages of a Dask cluster are not installed")
    local = {"n_workers": 1, "threads_per_worker": 1, "processes": False, "host": "127.0.0.1", "dashboard_address": None, "protocol": "tcp"}
    study("coverage", "--csv=here.csv")
    with distributed.LocalCluster(**local) as cluster:
        study("coverage", "--csv=there.csv", "--dask", cluster.scheduler_address)
    assert Path("here.csv").read_bytes() == Path("there.csv").read_bytes()


def test_an_interrupted_study_leaves_the_file_of_before(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("c.csv").write_text("of before")

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(CountSatellites, "__call__", interrupted)
    result = CliRunner().invoke(sky, ["coverage", "--design", "small.toml", "--csv", "c.csv"])
    assert result.exit_code == 1
    assert Path("c.csv").read_text() == "of before"
    assert sorted(p.name for p in Path().iterdir() if p.name.startswith(".")) == []


def test_latency_is_that_of_the_path_profile() -> None:
    """Two roads to one number: the slots of the study, and the samples in the middle of each slot of a profile."""
    run("latency", "--place", "rome", "--place", "athens", "--seed", "4", "--from", START, "--hours", "0.2", "--csv=l.csv")
    ground = mediterranean()
    simulated = Sky(starlink_gen1_as_filed(), ground, seed=4)
    begin = parse_instant(START)
    for row in rows_of("l.csv"):
        profile = simulated.path_profile(ground.place(row["id"]), begin, 760, options=PathOptions(lasers=False))
        delays = np.array([profile.at(begin + 12 + 15 * k + 7.5).one_way_delay_s for k in range(48)])
        assert float(row["served_percent"]) == 100
        for name, percentile in (("p5", 5), ("median", 50), ("p95", 95), ("p99", 99)):
            assert float(row[f"one_way_{name}_ms"]) == pytest.approx(np.percentile(delays, percentile) * 1e3, abs=0.02)
            assert float(row[f"round_trip_{name}_ms"]) == pytest.approx(2 * float(row[f"one_way_{name}_ms"]), rel=1e-7)


def test_a_route_hop_by_hop() -> None:
    out = run("route", "--place", "lampedusa", "--from", START, "--land-in", "it", "--avoid", "FR,DE").output
    ground, at = mediterranean(), parse_instant(START)
    router = Router(starlink_gen1_as_filed(), ground)
    chosen = router.route(ground.place("lampedusa"), None, at, policy=Policy(frozenset({"IT"}), frozenset({"FR", "DE"})))
    free = router.route(ground.place("lampedusa"), None, at)
    assert isinstance(chosen, Route)
    assert isinstance(free, Route)
    assert [line.split()[1] for line in out.splitlines() if re.match(r" +\d  \w", line)] == [hop.kind.split()[0] for hop in chosen.hops]
    assert all(hop.id in out for hop in chosen.hops)
    assert "lands in IT only; never lands in DE, FR" in out
    assert re.search(r"Lands in +IT\n", out)
    assert f"{chosen.delay_s * 1e3:.1f} ms, of which access" in out
    assert re.search(rf"Policy costs +{(chosen.delay_s - free.delay_s) * 1e3:.1f} ms", out)


def test_a_policy_that_forbids_everything_is_an_answer() -> None:
    out = run("route", "--place", "rome", "--from", START, "--land-in", "MT").output
    assert "No route       the policy forbids every route from rome" in out
    assert re.search(r"Without policy\s*\d+\.\d ms one way", out)
    over_time = run("route", "--place", "rome", "--from", START, "--land-in", "MT", "--hours", "0.05", "--csv=r.csv")
    assert over_time.exit_code == 0
    assert rows_of("r.csv")[0]["forbidden_percent"] == "100"
    assert rows_of("r.csv")[0]["one_way_median_ms"] == ""


def test_a_whole_country_is_one_option() -> None:
    out = run("coverage", "--italy", "--resolution", "3", "--design", "small.toml", "--from", START, "--hours", "0.05").output
    assert out.startswith("Coverage: IT, 56 cells (H3 resolution 3)")
    assert "… 16 more rows: --rows shows more" in out
    assert run("coverage", "--country", "mt", "--design", "small.toml", "--from", START, "--hours", "0.05").output.startswith(
        "Coverage: MT, "
    )


def test_the_profile_in_files_is_the_profile() -> None:
    run("profile", "--from", START, "--seconds", "45", "--csv=p.csv", "--parquet=p.parquet", "--png=p.png", "--html=p.html")
    profile = PathProfile.parse(run("profile", "--from", START, "--seconds", "45", "--json").output)
    table = rows_of("p.csv")
    assert len(table) == profile.time_unix_s.shape[0]
    for row, at, delay, serving in zip(table, profile.time_unix_s, profile.one_way_delay_s, profile.serving, strict=True):
        assert parse_instant(row["time_utc"]) == pytest.approx(at, abs=1e-3)
        assert float(row["one_way_delay_ms"]) == pytest.approx(delay * 1e3)
        assert row["satellite"] == profile.satellite_names[serving]
    assert pixels(Path("p.png").read_bytes())[2] > 100
    with pytest.raises(LocalError, match="cannot be written as GeoJSON"):
        run("profile", "--seconds", "5", "--geojson=p.geojson")


def test_a_profile_with_rain_and_a_policy() -> None:
    dry, wet = (run("profile", "--from", START, "--seconds", "30", "--json", *more).output for more in ((), ("--rain", "--load", "2")))
    assert PathProfile.parse(wet).capacity_down_bps.max() < PathProfile.parse(dry).capacity_down_bps.max()
    assert "rain" in PathProfile.parse(wet).source
    landed = PathProfile.parse(run("profile", "--from", START, "--seconds", "30", "--json", "--land-in", "ES").output)
    countries = {g.name: g.country for g in mediterranean().gateways}
    assert {countries[landed.gateway_names[i]] for i in landed.gateway.tolist() if i >= 0} <= {"ES"}
    with pytest.raises(LocalError, match="cannot be had over"):
        run("profile", "--carrier", "kuiper")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--place", "atlantis"), "unknown place 'atlantis'"),
        (("--place", "rome", "--italy"), "give one of --place"),
        (("--country", "IT", "--italy"), "give --country or --italy"),
        (("--resolution", "4"), "--resolution divides an area"),
        (("--place-list", "absent.csv"), "cannot read absent.csv"),
        (("--place-list", "area.geojson"), "area.geojson, line 1"),
        (("--polygon", "list.csv"), "list.csv is not JSON"),
        (("--track", "list.csv"), "list.csv, line 1: there is no column 'time'"),
        (("--track", "ship.csv", "--hours", "9"), "the track runs from 2026-01-01 06:00 UTC to 2026-01-01 06:20 UTC"),
        (("--from", "tomorrow"), "--from 'tomorrow' is not like"),
        (("--hours", "1", "--day"), "give one of --hours, --days and --day"),
        (("--days", "9999"), "choose a longer --step"),
        (("--csv", "absent/x.csv"), "the folder absent does not exist"),
        (("--design", "nothing"), "unknown design 'nothing'"),
        (("--elements", "list.csv"), "nothing in list.csv is usable"),
        (("--elements", "list.csv", "--design", "oneweb"), "give --elements or --design"),
        (("--polygon", "empty.geojson"), "empty.geojson holds no polygon"),
    ],
)
def test_bad_input_says_what_to_change(arguments: tuple[str, ...], message: str) -> None:
    Path("empty.geojson").write_text('{"type": "FeatureCollection", "features": []}')
    with pytest.raises(LocalError, match=re.escape(message)):
        run("coverage", *arguments)


def test_old_elements_are_warned_of(omm_file: Path) -> None:
    iss = ("--elements", str(omm_file), "--satellites", "all", "--hours", "0.1")
    near = run("coverage", *iss, "--from", "2008-09-20T13:00Z")
    assert near.stderr == ""
    assert "median epoch 2008-09-20 12:25 UTC. Elements are 0.0 days old" in near.stdout
    assert "all 1" in near.stdout
    ageing = run("coverage", *iss, "--from", "2008-09-22T13:00Z")
    assert "which satellite serves in which slot is uncertain" in ageing.stderr.lower()
    old = run("coverage", *iss, "--from", "2008-12-31T13:00Z")
    assert "Too old to be used" in old.stderr
    assert "at best the statistics" in old.stderr
    assert "simulated" in old.stdout
    with pytest.raises(LocalError, match="Too old to be used"):
        run("passes", *iss, "--from", "2008-12-31T13:00Z")


def test_which_satellites_are_taken(tmp_path: Path) -> None:
    fleet = generate((Shell(550.0, 53.0, 4, 6, 1), Shell(358.0, 53.0, 2, 3, 1)), label="x", source="x", name_prefix="STARLINK")
    names = tuple(f"{name} [DTC]" if number >= 24 else name for number, name in enumerate(fleet.names))
    save_fleet(replace(fleet, names=names), data_dir(tmp_path / "mine"))
    where = ("--data", str(tmp_path / "mine"), "--from", START, "--hours", "0.05")
    assert "24 of 30: on station" in run("coverage", *where).output
    assert "6 of 30: those that serve telephones" in run("coverage", *where, "--satellites", "telephone").output
    assert "all 30" in run("passes", *where).output
    with pytest.raises(LocalError, match="none of the 256 satellites is of the kind 'telephone'"):
        study("coverage", "--satellites", "telephone")


@pytest.fixture
def omm_file(tmp_path: Path) -> Path:
    """One real element set, the worked example of the CelesTrak documentation of the TLE format."""
    path = tmp_path / "iss.tle"
    path.write_text(
        "ISS (ZARYA)\n"
        "1 25544U 98067A   08264.51782528 -.00002182  00000-0 -11606-4 0  2927\n"
        "2 25544  51.6416 247.4627 0006703 130.5360 325.0288 15.72125391563537\n"
    )
    return path


def test_nothing_to_draw_and_nothing_in_view() -> None:
    where = ("--place-list", "pole.csv", "--from", START, "--design", "small.toml", "--hours", "0.1")
    Path("pole.csv").write_text("id,name,lat,lon\npole,Pole,90,0\n")
    out = run("passes", *where)
    assert "(no row)" in out.output
    with pytest.raises(LocalError, match="there is nothing to draw"):
        run("passes", *where, "--png=p.png")
    run("latency", *where, "--csv=l.csv", "--html=l.html")
    assert rows_of("l.csv")[0]["round_trip_median_ms"] == ""
    assert rows_of("l.csv")[0]["served_percent"] == "0"
    run("availability", *where, "--csv=a.csv")
    assert rows_of("a.csv")[0]["available_percent"] == "0"


def test_names_are_text_and_nothing_else() -> None:
    Path("odd.csv").write_text("id,name,lat,lon\na,<script>alert(1)</script>,41,12\nb,$\\frac$ 東京,42,13\n", encoding="utf-8")
    for name, kind in (("coverage", "map"), ("latency", "chart")):
        study(name, "--place-list", "odd.csv", f"--html={kind}.html", f"--png={kind}.png")
        page = Path(f"{kind}.html").read_text()
        assert "<script" not in page
        assert "&lt;script&gt;" in page
        assert "東京" in page
        assert pixels(Path(f"{kind}.png").read_bytes())[2] > 100


def test_the_date_line() -> None:
    where = ("--country", "FJ", "--resolution", "3", "--design", "small.toml", "--from", START, "--hours", "0.05")
    run("coverage", *where, "--png=f.png", "--html=f.html")
    assert pixels(Path("f.png").read_bytes())[0] == 1500
    numbers = [
        float(x) for points in re.findall(r'class="site" points="([^"]+)"', Path("f.html").read_text()) for x in re.split("[ ,]", points)
    ]
    assert min(numbers) >= -1
    assert max(numbers) < 3000
