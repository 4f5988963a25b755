"""Places, tracks, areas, countries: what a file may say, and what is said about files with faults."""

from __future__ import annotations

import json

import h3
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tramontana.errors import LocalError
from tramontana.space.ground import mediterranean
from tramontana.space.studies.area import AreaError, cell_boundary, cells_of, parse_polygons
from tramontana.space.studies.countries import country_polygons, outlines_within, source
from tramontana.space.studies.instants import Instants, InstantsError
from tramontana.space.studies.sites import SiteError, Sites, parse_instant, parse_place_list, parse_track
from tramontana.space.visibility import itrs_position_m, local_frame

SQUARE = [[12.0, 41.0], [13.0, 41.0], [13.0, 42.0], [12.0, 42.0], [12.0, 41.0]]


def polygon(*rings: list[list[float]]) -> str:
    return json.dumps({"type": "Polygon", "coordinates": rings})


def test_a_list_of_places() -> None:
    sites = parse_place_list(
        "\ufeffID, Name ,latitude,LON,height_m,population\na,Ostia,41.7,12.3,,230000\n\nb,,-10,180,12.5,\n", name="x.csv"
    )
    assert sites.ids == ("a", "b")
    assert sites.names == ("Ostia", "b")
    assert sites.height_m.tolist() == [0.0, 12.5]
    assert sites.population[0] == 230000
    assert np.isnan(sites.population[1])
    assert sites.place(1, 0.0).longitude_deg == 180.0


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("id,name,lat\na,A,1", "x.csv, line 1: there is no column 'lon'"),
        ("", "x.csv, line 1: there is no column 'name'"),
        ("name,lat,lon\nA,1,2\nA,1,3", "x.csv: the id 'A' is given twice"),
        ("id,name,lat,lon", "x.csv holds no row"),
        ("id,name,lat,lon\na,A,91,0", "x.csv, line 2: lat 91 lies outside -90 to 90"),
        ("id,name,lat,lon\na,A,1,0\nb,B,nan,0", "x.csv, line 3: lat nan lies outside"),
        ("id,name,lat,lon\na,A,north,0", "x.csv, line 2: lat 'north' is not a number"),
        ("id,name,lat,lon\na,A,1", "x.csv, line 2: 3 values for 4 columns"),
        ("id,name,lat,lon\n ,A,1,2", "x.csv, line 2: id is empty"),
        ("id,name,lat,lon\na,\x1b[31mA,1,2", "x.csv, line 2: name is empty or cannot be printed"),
        ("id,name,lat,lon\na,A,1,2\na,B,1,3", "x.csv: the id 'a' is given twice"),
        ('id,name,lat,lon\n"a,A,1,2', "x.csv, line 2: unexpected end of data"),
        ("id,name,lat,lon,height\na,A,1,2,99999", "height 99999 lies outside"),
    ],
)
def test_a_bad_list_names_the_line(rows: str, message: str) -> None:
    with pytest.raises(SiteError, match=message):
        parse_place_list(rows, name="x.csv")


def test_a_track_follows_the_great_circle_over_the_date_line() -> None:
    sites = parse_track("time,lat,lon,height\n2026-01-01T00:00Z,0,179,0\n2026-01-01T03:00:00+01:00,0,-179,100\n", name="ship one.csv")
    assert sites.ids == ("ship one",)
    start = parse_instant("2026-01-01T00:00:00")
    latitude, longitude, height = sites.coordinates(np.array([start, start + 3600, start + 7200]))
    assert np.allclose(latitude, 0)
    assert np.allclose(np.mod(longitude[:, 0], 360), [179, 180, 181])
    assert np.allclose(height[:, 0], [0, 50, 100])
    position, up = sites.frames(np.array([start]))
    assert np.allclose(position[0, 0], itrs_position_m(0.0, 179.0))
    assert np.allclose(up[0, 0], local_frame(0.0, 179.0)[2])
    with pytest.raises(LocalError, match="no position at some of the instants"):
        sites.place(0, start - 1)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("time,lat,lon\n2026-01-01T00:00Z,0,0", "one position"),
        ("time,lat,lon\n2026-01-01T00:00Z,0,0\nlater,0,1", "x.csv, line 3: time 'later' is not like"),
        ("time,lat,lon\n2026-01-01T00:00Z,0,0\n2026-01-01T00:00Z,0,1", "x.csv, line 3: time .* does not come after"),
        ("time,lat,lon\n2026-01-01T00:00Z,0,0\n2026-01-01T01:00Z,0,180", "antipodes"),
    ],
)
def test_a_bad_track_names_the_line(rows: str, message: str) -> None:
    with pytest.raises(SiteError, match=message):
        parse_track(rows, name="x.csv")


@pytest.mark.parametrize("resolution", [3, 4, 5])
def test_an_area_is_covered_to_its_rim(resolution: int) -> None:
    cells = cells_of(parse_polygons(polygon(SQUARE), name="x"), resolution)
    for lon in np.linspace(12, 13, 23):
        for lat in np.linspace(41, 42, 23):
            assert h3.latlng_to_cell(lat, lon, resolution) in cells.ids
    assert list(cells.ids) == sorted(set(cells.ids))


def test_holes_collections_and_tiny_areas() -> None:
    hole = [[12.2, 41.2], [12.8, 41.2], [12.8, 41.8], [12.2, 41.8], [12.2, 41.2]]
    shapes = parse_polygons(polygon(SQUARE, hole), name="x")
    assert h3.latlng_to_cell(41.5, 12.5, 6) not in cells_of(shapes, 6).ids
    collection = {"type": "FeatureCollection", "features": [{"type": "Feature", "properties": {}, "geometry": json.loads(polygon(SQUARE))}]}
    assert cells_of(parse_polygons(json.dumps(collection), name="x"), 4).ids == cells_of(parse_polygons(polygon(SQUARE), name="x"), 4).ids
    tiny = [[12.5, 41.9], [12.5001, 41.9], [12.5001, 41.9001], [12.5, 41.9]]
    assert len(cells_of(parse_polygons(polygon(tiny), name="x"), 3)) >= 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("not json", "x.json is not JSON"),
        ("[]", "x.json is no GeoJSON"),
        ('{"type": "Point", "coordinates": [1, 2]}', "x.json is a Point"),
        ('{"type": "Polygon"}', "x.json has no list 'coordinates'"),
        ('{"type": "Polygon", "coordinates": []}', "the polygon is empty"),
        ('{"type": "MultiPolygon", "coordinates": []}', "x.json holds no polygon"),
        ('{"type": "FeatureCollection", "features": [{"type": "Feature", "geometry": null}]}', "x.json, feature 1 is no GeoJSON"),
        ('{"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [0, 0]]]}', "at least four positions"),
        ('{"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [1, 0], [0, 1]]]}', "the last like the first"),
        ('{"type": "Polygon", "coordinates": [[[0, 100], [1, 1], [1, 0], [0, 100]]]}', "latitude in -90..90"),
        ('{"type": "Polygon", "coordinates": [["a", "b", "c", "d"]]}', "not a list of"),
    ],
)
def test_a_bad_polygon_says_why(text: str, message: str) -> None:
    with pytest.raises(AreaError, match=message):
        parse_polygons(text, name="x.json")


def test_too_many_cells_are_refused_before_they_are_made() -> None:
    world = [[-170.0, -80.0], [0.0, -80.0], [170.0, -80.0], [170.0, 80.0], [0.0, 80.0], [-170.0, 80.0], [-170.0, -80.0]]
    with pytest.raises(AreaError, match="choose a --resolution below 8"):
        cells_of(parse_polygons(polygon(world), name="x"), 8)


def test_italy_holds_every_italian_place() -> None:
    cells = cells_of(country_polygons("it"), 5)
    assert 1_200 < len(cells) < 1_600  # 301,000 km² of land in cells of about 250 km², and the rim
    inside = {place.id for place in mediterranean().places if h3.latlng_to_cell(place.latitude_deg, place.longitude_deg, 5) in cells.ids}
    assert inside >= {place.id for place in mediterranean().places if place.country == "IT"}
    assert not inside & {"tunis", "valletta", "ship-ionian", "paris"}
    assert "Natural Earth" in source()
    with pytest.raises(LocalError, match="no outline of a country 'QQ'"):
        country_polygons("QQ")
    with pytest.raises(LocalError, match="no outline of a country ''"):
        country_polygons("")


def test_outlines_are_those_in_the_frame() -> None:
    rings = list(outlines_within(6, 36, 19, 47))
    assert 20 < len(rings) < 200
    assert all(ring[:, 0].min() <= 19 and ring[:, 0].max() >= 6 for ring in rings)


@given(latitude=st.floats(-89, 89), longitude=st.floats(-180, 180), resolution=st.integers(0, 6))
def test_a_cell_is_drawn_around_its_centre(latitude: float, longitude: float, resolution: int) -> None:
    cell = h3.latlng_to_cell(latitude, longitude, resolution)
    ring = cell_boundary(cell)
    assert np.array_equal(ring[0], ring[-1])
    if not h3.is_pentagon(cell) and abs(latitude) < 60 and resolution > 2:
        assert np.ptp(ring[:, 0]) < 10  # also across the date line


@given(start=st.floats(0, 2e9), step=st.sampled_from([1.0, 15.0, 60.0, 0.5]), count=st.integers(1, 400), longest=st.integers(1, 90))
def test_pieces_of_time_are_the_whole(start: float, step: float, count: int, longest: int) -> None:
    whole = Instants.over(start, count * step, step)
    pieces = whole.pieces(longest)
    assert whole.count == count
    assert all(piece.count <= longest for piece in pieces)
    joined = np.concatenate([piece.times_unix_s for piece in pieces])
    assert joined.shape == whole.times_unix_s.shape
    assert np.allclose(joined, whole.times_unix_s, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("duration", "step"), [(0, 1), (-5, 1), (10, 0), (float("nan"), 1), (10, float("inf")), (1e9, 1)])
def test_bad_spans_are_refused(duration: float, step: float) -> None:
    with pytest.raises(InstantsError):
        Instants.over(0.0, duration, step)


def test_one_site_alone() -> None:
    sites = Sites.of_places(mediterranean().places[:3])
    assert sites.take(2).ids == (sites.ids[2],)
    assert sites.coordinates(np.array([0.0]))[0].shape == (1, 3)
