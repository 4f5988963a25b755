"""Positions in texts: the standard's own example, the ways in which people write, what is refused, and anything at all."""

from __future__ import annotations

import csv
import math
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tramontana.cell.position import (
    BadCatalogue,
    Found,
    PlaceCatalogue,
    Position,
    find_position,
    has_three_words,
    parse_aml,
    parse_coordinates,
)

# ETSI TS 103 625 §5.2, its example.
EXAMPLE = 'A"ML=1;lt=+54.76397;lg=-0.18305;rd=50;top=20130717141935;lc=90;pm=W;si=123456789012345;ei=1234567890123456;mcc=234;mnc=30;ml=128'
DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "cell"
PLACES = PlaceCatalogue(
    [
        ("Amatrice", 42.63, 13.29, "RI"),
        ("Arquata del Tronto", 42.77, 13.30, "AP"),
        ("Castro", 45.8, 10.07, "BG"),
        ("Castro", 40.0, 18.43, "LE"),
    ]
)


def test_the_example_of_the_standard() -> None:
    assert len(EXAMPLE) == 128
    aml = parse_aml(EXAMPLE)
    assert aml is not None
    assert aml.position == Position(54.76397, -0.18305, 50.0, "aml", at=1374070775.0)
    assert (aml.imsi, aml.imei, aml.method) == ("123456789012345", "1234567890123456", "W")


def test_a_damaged_aml_message_gives_no_position() -> None:
    assert parse_aml(EXAMPLE[:-1] + "9") is None  # its length does not fit
    assert parse_aml(EXAMPLE.replace("54.76", "5476")) is None
    assert parse_aml(EXAMPLE.replace("rd=50;", "lt=+1.000;")[:-3] + "132") is None  # a field twice
    nowhere = EXAMPLE.replace("+54.76397", "+00.00000").replace("-0.18305", "+0.00000").replace("pm=W", "pm=N")
    found = parse_aml(nowhere)
    assert found is not None
    assert found.position is None


@pytest.mark.parametrize(
    ("text", "latitude", "longitude"),
    [
        ("siamo a 42.6281, 13.2924 aiuto", 42.6281, 13.2924),
        ("42,6281 13,2924", 42.6281, 13.2924),
        ("lat 42.6281 lon 13.2924", 42.6281, 13.2924),
        ("Latitudine: 42,6281; longitudine: 13,2924", 42.6281, 13.2924),
        ("N42.6281 E13.2924", 42.6281, 13.2924),
        ("N 42.63, E 13.29", 42.63, 13.29),
        ("Sud 33.9249, E 18.4241", -33.9249, 18.4241),
        ("NORD 42.63 E EST 13.29", 42.63, 13.29),
        ("42.6281N, 13.2924E", 42.6281, 13.2924),
        ("33.9249 S 18.4241 E", -33.9249, 18.4241),
        ("38.7223N 9.1393W", 38.7223, -9.1393),
        ("42°37'41\"N 13°17'33\"E", 42.62806, 13.2925),
        ("42° 37′ 41″ nord, 13° 17′ 33″ est", 42.62806, 13.2925),
        ("N 42° 37.683' E 13° 17.544'", 42.62805, 13.2924),
        ("https://maps.google.com/?q=42.6281,13.2924", 42.6281, 13.2924),
        ("https://www.google.com/maps/@42.6281,13.2924,17z", 42.6281, 13.2924),
        ("https://maps.apple.com/?ll=42.6281,13.2924", 42.6281, 13.2924),
        ("https://www.openstreetmap.org/?mlat=42.6281&mlon=13.2924#map=15", 42.6281, 13.2924),
        ("geo:42.6281,13.2924;u=35", 42.6281, 13.2924),
        ("-33.92490, -70.42410", -33.9249, -70.4241),
        ("siamo a 42.63 nord, 13.29 est", 42.63, 13.29),
        ("42,63 gradi nord e 13,29 gradi est", 42.63, 13.29),
        ("NORD 42.63 EST 13.29", 42.63, 13.29),
        ("38.72 nord, 9.14 ovest", 38.72, -9.14),
        ("we are at 38.72 degrees north and 9.14 degrees west", 38.72, -9.14),
        ("33.92 south, 18.42 east", -33.92, 18.42),
        ("46,62 Grad Nord, 10,70 Grad Ost", 46.62, 10.7),
        ("38.72 Norden und 9.14 Westen", 38.72, -9.14),
        ("33.92 Süd, 70.42 West", -33.92, -70.42),
        ("33,92 Sued 18,42 Osten", -33.92, 18.42),
        ("45,74 degrés nord et 7,32 degrés est", 45.74, 7.32),
        ("33.92 sud, 70.42 ouest", -33.92, -70.42),
        ("44.43 grade nord și 26.10 grade est", 44.43, 26.1),
        ("38.72 nord, 9.14 vest", 38.72, -9.14),
        ("38.7223 N, 9.1393 ovest", 38.7223, -9.1393),
        ("42° 37′ 41″ Nord, 13° 17′ 33″ Ost", 42.62806, 13.2925),
        ("33° 55′ 30″ Süd, 70° 25′ 27″ ouest", -33.925, -70.42417),
        ("N 38.7223 W 9.1393 e siamo in tre", 38.7223, -9.1393),
        ("42.6281, 13.2924 west of the church", 42.6281, 13.2924),
        ("42.6281, 13.2924 ovest della chiesa", 42.6281, 13.2924),
    ],
)
def test_coordinates_as_people_write_them(text: str, latitude: float, longitude: float) -> None:
    found = find_position(text)
    assert found.position is not None
    assert found.position.latitude == pytest.approx(latitude, abs=2e-5)
    assert found.position.longitude == pytest.approx(longitude, abs=2e-5)


@pytest.mark.parametrize(
    "text",
    [
        "siamo in 12,50 15,30 euro",
        "tel 333.1234567",
        "alle 10.30 e 11.45",
        "99.1234, 13.2924",
        "42.6281, 213.2924",
        "42°77'41\"N 13°17'33\"E",
        "192.168.10.20",
        "il 24.08.2016 alle 03.36",
        "142.6281, 13.2924",
        "142.63 nord, 13.29 est",
        "treni delle 12.30 nord, 13.45 est",
        "nord 12.30, est 13.45",
        "benzina 1,85 nord, 1,79 est",
        "42,63 euro nord, 13,29 euro est",
        "via Roma 42 nord, 13 est",
        "nord 42 est 13",
        "siamo 42,63 km nord, 13,29 km est",
        "42.63 nord ovest 13.29 est",
        "42.63 nord",
        "il est 12.30 au nord, 13.45 est trop tard",
        "38.72 nord, 9.14 O",
        "nord 42,63 13,29 e siamo in tre",
        "",
    ],
)
def test_what_is_no_position(text: str) -> None:
    assert find_position(text).position is None


def test_three_words_are_seen_and_a_web_address_is_not() -> None:
    assert has_three_words("siamo a ///parola.vento.mare")
    assert has_three_words("filled.count.soap")
    assert has_three_words("J78R+2X Amatrice")
    assert not has_three_words("www.protezionecivile.gov e poi")
    assert not has_three_words("siamo vivi.venite presto")
    assert find_position("///parola.vento.mare").three_words


def test_place_names() -> None:
    assert find_position("AIUTO siamo ad amatrice, via Roma", PLACES) == Found(Position(42.63, 13.29, 5000.0, "place", "Amatrice (RI)"))
    there = find_position("frazione di ARQUATA  DEL TRONTO!", PLACES).position
    assert there is not None
    assert there.name == "Arquata del Tronto (AP)"
    assert find_position("a Castro", PLACES).several_places == ("Castro (BG)", "Castro (LE)")
    chosen = find_position("Castro LE", PLACES).position
    assert chosen is not None
    assert chosen.latitude == 40.0


def test_a_catalogue_that_is_damaged_says_where() -> None:
    assert len(PlaceCatalogue.parse("comune,lat,lon,provincia\nAmatrice,42.6,13.3,RI\n")) == 1
    with pytest.raises(BadCatalogue, match="first line"):
        PlaceCatalogue.parse("x,y\n1,2\n")
    with pytest.raises(BadCatalogue, match="line 3"):
        PlaceCatalogue.parse("name,lat,lon\nA,1,2\nB,north,3\n")
    with pytest.raises(BadCatalogue, match="line 2"):
        PlaceCatalogue.parse("name,lat,lon\nA,91,2\n")


def test_the_municipalities_of_italy() -> None:
    """The figures of the catalogue stay outside the product."""
    file = DATA / "it_municipalities_2023.csv"
    if not file.exists():
        pytest.skip("the development data set it_municipalities_2023.csv is not beside the repository (../shared/data)")
    rows = list(csv.DictReader(file.read_text(encoding="utf-8").splitlines()))
    places = PlaceCatalogue.parse(file.read_text(encoding="utf-8"))
    assert len(places) == len(rows)
    found = find_position("siamo bloccati ad Accumoli, casa crollata", places).position
    assert found is not None
    assert abs(found.latitude - 42.69) < 0.1


@settings(max_examples=200, deadline=None)
@given(
    st.floats(-90, 90, allow_nan=False), st.floats(-180, 180, allow_nan=False), st.sampled_from(["{0:.5f}, {1:.5f}", "geo:{0:.6f},{1:.6f}"])
)
def test_any_place_on_earth_comes_back(latitude: float, longitude: float, form: str) -> None:
    found = parse_coordinates(form.format(latitude, longitude))
    assert found is not None
    assert abs(found.latitude - latitude) < 1e-5
    assert abs(found.longitude - longitude) < 1e-5


COMPASS = [
    ("nord", "sud", "est", "ovest", "gradi"),
    ("north", "south", "east", "west", "degrees"),
    ("Nord", "Süd", "Ost", "West", "Grad"),
    ("nord", "sud", "est", "ouest", "degrés"),
    ("nord", "sud", "est", "vest", "grade"),
]
FORMS = ["{a} {n}, {b} {e}", "{n} {a}, {e} {b}", "{a}{n} {b}{e}", "{a} {d} {n} {b} {d} {e}", "{a}° {n} {b}° {e}"]


@settings(max_examples=300, deadline=None)
@given(st.floats(-90, 90), st.floats(-180, 180), st.sampled_from(COMPASS), st.sampled_from(FORMS), st.integers(2, 6), st.booleans())
def test_any_place_comes_back_from_words_of_the_compass(
    latitude: float, longitude: float, words: tuple[str, ...], form: str, decimals: int, comma: bool
) -> None:
    if decimals == 2:
        latitude = math.copysign(24 + abs(latitude) * 66 / 90, latitude)
    north, south, east, west, degrees = words
    a, b = (f"{abs(value):.{decimals}f}".replace(".", "," if comma else ".") for value in (latitude, longitude))
    text = form.format(a=a, b=b, d=degrees, n=south if latitude < 0 else north, e=west if longitude < 0 else east)
    for around in (text, text.upper(), f"aiuto! {text}. presto"):
        found = parse_coordinates(around)
        assert found is not None, around
        assert found.latitude == pytest.approx(latitude, abs=0.6 * 10**-decimals)
        assert found.longitude == pytest.approx(longitude, abs=0.6 * 10**-decimals)
        assert found.accuracy_m >= 100.0


NUMBERS = st.one_of(
    st.tuples(st.integers(0, 23), st.integers(0, 59)).map(lambda time: f"{time[0]:02}.{time[1]:02}"),  # times
    st.integers(0, 23_99).map(lambda cents: f"{cents // 100},{cents % 100:02}"),  # small prices
    st.integers(0, 999_99).map(lambda cents: f"{cents // 100},{cents % 100:02} euro"),
    st.integers(0, 999_99).map(lambda cents: f"€ {cents // 100}.{cents % 100:02} EUR"),
    st.integers(1, 999).map(str),  # house numbers
    st.tuples(st.integers(1, 999), st.sampled_from("abc/")).map(lambda house: f"{house[0]}{house[1]}"),
)


@settings(max_examples=300, deadline=None)
@given(
    NUMBERS,
    NUMBERS,
    st.sampled_from(COMPASS),
    st.sampled_from(["{a} {n}, {b} {e}", "{n} {a}, {e} {b}", "{a} {n} {b} {e}", "{a} {n} via {b} {e}"]),
)
def test_times_prices_and_house_numbers_beside_the_compass_are_no_place(first: str, second: str, words: tuple[str, ...], form: str) -> None:
    for north, east in ((words[0], words[2]), (words[1], words[3])):
        assert parse_coordinates(form.format(a=first, b=second, n=north, e=east, d=words[4])) is None


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(max_size=300), st.text("0123456789.,°'\"NSEWOnsew +-;:=/@?&lt gpaqML", max_size=120)))
def test_any_text_gives_a_place_on_earth_or_none(text: str) -> None:
    found = find_position(text, PLACES)
    if found.position is not None:
        assert abs(found.position.latitude) <= 90
        assert abs(found.position.longitude) <= 180
        assert found.position.accuracy_m > 0


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(EXAMPLE) - 1), st.characters(min_codepoint=32, max_codepoint=126)), max_size=4))
def test_a_changed_aml_message_is_refused_or_a_place_on_earth(changes: list[tuple[int, str]]) -> None:
    text = list(EXAMPLE)
    for at, character in changes:
        text[at] = character
    aml = parse_aml("".join(text))
    if aml is not None and aml.position is not None:
        assert abs(aml.position.latitude) <= 90


@pytest.mark.parametrize(
    "text",
    [
        "'12.3456' + ' ' * 1990 + 'x'",
        "'12.3456' + '\\t\\n ' * 660 + 'x'",
        "'12.3456' + ' ,;/' * 490 + 'x'",
        "('N 42°' + ' ' * 80) * 23",
        "('42° 37\\'' + ' ' * 80) * 22",
        "'lat ' + ' ' * 1990",
        "('42.63 nord' + ' ,;/' * 20) * 22",
        "'nord 42.63 ' * 180",
        "'A\\\"ML=1;' * 100_000",
    ],
)
def test_no_text_keeps_the_parser_for_long(text: str) -> None:
    """In a process of its own, which can be ended: two quantifiers that take the same blanks try every way to share them, for hours."""
    code = f"from tramontana.cell.position import find_position; assert find_position({text}).position is None"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_blanks_of_any_kind_and_number_are_one() -> None:
    found = parse_coordinates("42.6281 \t\n " + " " * 300 + "N,\u00a0\u00a0 13.2924  E")
    assert found is not None
    assert (found.latitude, found.longitude) == (42.6281, 13.2924)
