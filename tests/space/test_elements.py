"""Reading element sets: every format gives the same satellite, everything unusable is refused with its reason."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tramontana.space import elements as elements_module
from tramontana.space.element_set import ElementsError, ElementSet, Rejection
from tramontana.space.elements import LoadedElements, parse_elements
from tramontana.space.fleet import ELEMENT_FIELDS
from tramontana.space.tle import checksum, parse_tle

ISS_1 = "1 25544U 98067A   08264.51782528 -.00002182  00000-0 -11606-4 0  2927"
ISS_2 = "2 25544  51.6416 247.4627 0006703 130.5360 325.0288 15.72125391563537"
OTHER_1 = "1 00005U 58002B   00179.78495062  .00000023  00000-0  28098-4 0  4753"
OTHER_2 = "2 00005  34.2682 348.7242 1859667 331.7664  19.3264 10.82419157413667"
Omm = dict[str, str | int | float]


def signed(line: str) -> str:
    """The line with the checksum that its columns ask for."""
    return f"{line[:68]}{checksum(line)}"


def load(*lines: str) -> LoadedElements:
    return parse_elements("\n".join(lines).encode(), name="test")


def load_json(*rows: object) -> LoadedElements:
    return parse_elements(json.dumps(rows).encode(), name="test")


def reasons(loaded: LoadedElements) -> list[str]:
    return [rejection.reason for rejection in loaded.rejections]


FORMATS = [
    "3-line TLE",
    "3-line TLE with 0",
    "2-line TLE",
    "JSON",
    "JSON of strings",
    "JSON, one object",
    "CSV",
    "CSV with BOM",
    "XML",
    "XML with namespace",
    "XML in UTF-16",
]


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_gives_the_same_satellite(kind: str, packed: bool, example_files: dict[str, bytes]) -> None:
    data = example_files[kind]
    loaded = parse_elements(gzip.compress(data) if packed else data, name="iss")
    assert loaded.rejections == ()
    fleet = loaded.fleet
    assert fleet.catalogue_number.tolist() == [25544]
    assert fleet.names == ("NORAD 25544" if kind == "2-line TLE" else "ISS (ZARYA)",)
    expected = {
        "epoch_days_1949": 21448.51782528,
        "inclination_deg": 51.6416,
        "raan_deg": 247.4627,
        "eccentricity": 0.0006703,
        "argument_of_perigee_deg": 130.536,
        "mean_anomaly_deg": 325.0288,
        "mean_motion_rev_per_day": 15.72125391,
        "bstar_per_earth_radius": -1.1606e-05,
    }
    assert set(expected) == set(ELEMENT_FIELDS)
    for field, value in expected.items():
        assert getattr(fleet, field)[0] == pytest.approx(value, rel=1e-14), field
    assert fleet.provenance == "elements"
    assert fleet.label == "iss: 1 satellites, elements of 2008-09-20"


def test_all_formats_are_covered(example_files: dict[str, bytes]) -> None:
    assert sorted(example_files) == sorted(FORMATS)


@pytest.mark.parametrize(
    ("field", "number"), [("T0001", 270001), ("Z9999", 339999), ("A0000", 100000), ("J0000", 180000), ("P0000", 230000)]
)
def test_alpha_5_catalogue_numbers(field: str, number: int) -> None:
    loaded = load(signed(ISS_1.replace("25544", field)), signed(ISS_2.replace("25544", field)))
    assert loaded.fleet.catalogue_number.tolist() == [number]


def test_catalogue_numbers_of_nine_digits(omm: Omm) -> None:
    loaded = load_json(omm | {"NORAD_CAT_ID": 799500123})
    assert loaded.fleet.catalogue_number.tolist() == [799500123]


@pytest.mark.parametrize("letter", ["I", "O"])
def test_letters_that_alpha_5_leaves_out_are_refused(letter: str) -> None:
    loaded = load(signed(ISS_1.replace("25544", f"{letter}5544")), signed(ISS_2.replace("25544", f"{letter}5544")), OTHER_1, OTHER_2)
    assert reasons(loaded) == ["line 1 does not keep to the columns of the format"]


@pytest.mark.parametrize(
    ("lines", "where", "reason"),
    [
        ([ISS_1[:68] + "8", ISS_2], "line 1", "line 1 has checksum '8' but its columns sum to 7"),
        ([ISS_1, ISS_2[:68] + "0"], "line 1", "line 2 has checksum '0' but its columns sum to 7"),
        ([ISS_1[:-1], ISS_2], "line 1", "line 1 has 68 characters instead of 69"),
        ([ISS_1, ISS_2 + "  0.0 1440.0"], "line 1", "line 2 has 81 characters instead of 69"),
        ([signed(ISS_1.replace("264.5178", "264x5178")), ISS_2], "line 1", "line 1 does not keep to the columns of the format"),
        ([ISS_1, OTHER_2], "line 1", "the lines name two satellites: 25544 and 00005"),
        ([signed(ISS_1.replace("08264", "08399")), ISS_2], "line 1", "day 399.51782528 of the year does not exist"),
        ([signed(ISS_1.replace("-4 0  292", "-4 4  292")), ISS_2], "line 1", "ephemeris type 4 is SGP4-XP, not SGP4"),
        ([ISS_1], "line 1", "line 1 without a line 2 after it"),
        ([ISS_2], "line 1", "line 2 without a line 1 before it"),
        (["STRAY", "ISS", ISS_1, ISS_2], "line 1", "text that no element lines follow"),
        ([ISS_1, signed(ISS_2.replace("15.72125391", "18.72125391"))], "line 1", "mean motion (rev/day) 18.7213 lies outside 0.01 to 17.5"),
        ([ISS_1, signed(ISS_2.replace(" 51.6416", "251.6416"))], "line 1", "inclination 251.642 lies outside 0 to 180"),
        ([ISS_1, signed(ISS_2.replace("0006703", "9999999"))], "line 1", "eccentricity 1 lies outside 0 to 0.999"),
    ],
)
def test_tle_rejections(lines: list[str], where: str, reason: str) -> None:
    loaded = load(*lines, OTHER_1, OTHER_2)
    assert loaded.fleet.catalogue_number.tolist()[-1:] == [5]
    (rejection,) = loaded.rejections
    assert (rejection.where, rejection.reason) == (where, reason)


def test_a_file_that_is_cut_off_says_so() -> None:
    loaded = load(OTHER_1, OTHER_2, "ISS", ISS_1)
    assert [(r.where, r.name) for r in loaded.rejections] == [("line 4", "ISS")]
    assert "cut off" in loaded.rejections[0].reason


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"INCLINATION": float("nan")}, "INCLINATION 'nan' is not a number"),
        ({"MEAN_MOTION": float("inf")}, "MEAN_MOTION 'inf' is not a number"),
        ({"MEAN_MOTION": "1e999"}, "mean motion (rev/day) is not a finite number"),
        ({"ECCENTRICITY": "1_0"}, "ECCENTRICITY '1_0' is not a number"),
        ({"MEAN_ANOMALY": True}, "MEAN_ANOMALY 'True' is not a number"),
        ({"BSTAR": None}, "BSTAR is missing"),
        ({"BSTAR": 77.0}, "BSTAR 77 lies outside -10 to 10"),
        ({"EPOCH": "yesterday"}, "EPOCH 'yesterday' is not an instant like 2026-05-21T16:25:15.303264"),
        ({"EPOCH": "1930-01-01T00:00:00"}, "epoch (days since 1949-12-31) -7304 lies outside 2834 to 54788"),
        ({"NORAD_CAT_ID": "25544x"}, "NORAD_CAT_ID '25544x' is not a catalogue number of up to nine digits"),
        ({"NORAD_CAT_ID": 0}, "catalogue number 0 lies outside 1 to 1e+09"),
        ({"NORAD_CAT_ID": 1234567890}, "NORAD_CAT_ID '1234567890' is not a catalogue number of up to nine digits"),
        ({"CENTER_NAME": "MARS"}, "CENTER_NAME is MARS, not EARTH"),
        ({"TIME_SYSTEM": "TAI"}, "TIME_SYSTEM is TAI, not UTC"),
        ({"EPHEMERIS_TYPE": 4}, "ephemeris type 4 is SGP4-XP, not SGP4"),
        ({"MEAN_ELEMENT_THEORY": "SGP4-XP"}, "MEAN_ELEMENT_THEORY is SGP4-XP, not SGP4"),
        (
            {"MEAN_MOTION": 17.4, "ECCENTRICITY": 0.5},
            "SGP4 cannot propagate it: mrt is less than 1.0 which indicates the satellite has decayed",
        ),
    ],
)
def test_omm_rejections(change: Omm, reason: str, omm: Omm) -> None:
    loaded = load_json(omm | {"NORAD_CAT_ID": 1}, omm | change)
    assert loaded.fleet.catalogue_number.tolist() == [1]
    (rejection,) = loaded.rejections
    assert rejection == Rejection("record 2", "ISS (ZARYA)", reason)


def test_records_that_are_no_objects_are_refused(omm: Omm) -> None:
    assert reasons(load_json(omm, 7, None, [1])) == ["not an object of OMM keywords"] * 3


@pytest.mark.parametrize("newer_first", [False, True])
def test_of_duplicates_the_newest_is_used_and_the_other_reported(newer_first: bool, omm: Omm) -> None:
    older = omm | {"EPOCH": "2008-09-19T12:00:00", "INCLINATION": 40.0}
    rows = [omm, older] if newer_first else [older, omm]
    loaded = load_json(*rows)
    assert loaded.fleet.inclination_deg.tolist() == [51.6416]
    (rejection,) = loaded.rejections
    newest = f"record {1 if newer_first else 2}"
    assert rejection.where == f"record {2 if newer_first else 1}"
    assert rejection.reason == f"a newer set of catalogue number 25544 is used, from {newest}"


def test_an_exact_repetition_is_reported_as_such(omm: Omm) -> None:
    assert reasons(load_json(omm, omm)) == ["repeats catalogue number 25544 of record 1 with the same epoch"]


def test_epochs_with_a_zone_or_a_day_of_the_year_agree(omm: Omm) -> None:
    spellings = ["2008-09-20T12:25:40.104192Z", "2008-09-20T14:25:40.104192+02:00", "2008-264T12:25:40.104192", "2008-264T12:25:40.104192Z"]
    days = {load_json(omm | {"EPOCH": text}).fleet.epoch_days_1949[0] for text in spellings}
    assert days == {load_json(omm).fleet.epoch_days_1949[0]}


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "holds no element sets"),
        (b"   \n\n", "holds no element sets"),
        (b"\x00\x01\x02" * 100, "nothing in test is usable as TLE"),
        (b"[{", "starts like JSON but is not"),
        (b"[" * 100_000, "starts like JSON but is not"),
        (b"[]", "holds no element sets"),
        (b"<ndm><omm>", "starts like XML but is not"),
        (b"<ndm/>", "holds no element sets"),
        (b"<!DOCTYPE html><html><body>403</body></html>", "document type or entities, which are refused"),
        (b'<!DOCTYPE n [<!ENTITY a "b">]><ndm>&a;</ndm>', "document type or entities, which are refused"),
        (b'<?xml version="1.0" encoding="nonsense"?><ndm/>', "starts like XML but is not"),
        (b"\x1f\x8b\x08\x00rubbish", "gzip file is damaged or cut off"),
        (gzip.compress(ISS_1.encode(), mtime=0)[:-9], "gzip file is damaged or cut off"),
        (b"OBJECT_NAME,NORAD_CAT_ID,EPOCH\nA,5,2026-01-01T00:00:00\n", "the first at record 1: INCLINATION is missing"),
    ],
)
def test_files_without_anything_usable(data: bytes, sentence: str) -> None:
    with pytest.raises(ElementsError, match=sentence):
        parse_elements(data, name="test")


def test_decompression_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elements_module, "LARGEST_FILE_BYTES", 1000)
    with pytest.raises(ElementsError, match="take more than"):
        parse_elements(gzip.compress(b"\n" * 2_000_000), name="bomb")


def test_names_cannot_carry_terminal_escapes() -> None:
    loaded = parse_elements(f"EVIL\x1b[2J\u202e\n{ISS_1}\n{ISS_2}\n".encode(), name="a\x1b]0;b\x07.tle")
    assert loaded.fleet.names == ("EVIL[2J",)
    assert loaded.fleet.label.startswith("a]0;b.tle: ")


def test_order_of_the_file_is_kept_and_arrays_are_frozen() -> None:
    fleet = load(ISS_1, ISS_2, OTHER_1, OTHER_2).fleet
    assert fleet.catalogue_number.tolist() == [25544, 5]
    with pytest.raises(ValueError, match="read-only"):
        fleet.inclination_deg[0] = 0.0


@given(st.binary(max_size=400))
@settings(deadline=None)
def test_no_bytes_crash_the_parser(data: bytes) -> None:
    for prefix in (b"", b"[", b"{", b"<", b"\x1f\x8b", b"NORAD_CAT_ID,EPOCH\n", b"1 "):
        try:
            loaded = parse_elements(prefix + data, name="fuzz")
        except ElementsError:
            continue
        assert len(loaded.fleet) >= 1


@given(st.lists(st.sampled_from([ISS_1, ISS_2, OTHER_1, OTHER_2, "NAME", "", "# note", ISS_1[:40], "2 ", "1 "]), max_size=12))
@settings(deadline=None)
def test_shuffled_lines_give_only_sets_whose_lines_belong_together(lines: list[str]) -> None:
    for found in parse_tle("\n".join(lines)):
        if isinstance(found, ElementSet):
            expected = {25544: (ISS_1, ISS_2), 5: (OTHER_1, OTHER_2)}[found.catalogue_number]
            first = int(found.where.removeprefix("line ")) - 1
            rest = [line for line in lines[first + 1 :] if line and not line.startswith("#")]
            assert (lines[first], rest[0]) == expected


@given(
    which=st.sampled_from([0, 1]),
    column=st.integers(0, 68),
    character=st.characters(min_codepoint=32, max_codepoint=126),
)
@settings(deadline=None)
def test_a_line_with_a_wrong_checksum_is_never_accepted(which: int, column: int, character: str) -> None:
    lines = [ISS_1, ISS_2]
    changed = lines[which][:column] + character + lines[which][column + 1 :]
    lines[which] = changed
    accepted = [found for found in parse_tle("\n".join(lines)) if isinstance(found, ElementSet)]
    if accepted:
        assert changed[-1] == str(checksum(changed))


@given(
    st.dictionaries(
        st.sampled_from(["INCLINATION", "MEAN_MOTION", "EPOCH", "NORAD_CAT_ID", "BSTAR", "ECCENTRICITY", "OBJECT_NAME"]),
        st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), st.lists(st.integers(), max_size=2)),
    )
)
@settings(deadline=None)
def test_what_is_accepted_from_json_is_finite_and_propagates(change: dict[str, object]) -> None:
    row: dict[str, object] = {
        "OBJECT_NAME": "X",
        "NORAD_CAT_ID": 7,
        "EPOCH": "2026-01-01T00:00:00",
        "MEAN_MOTION": 15.0,
        "ECCENTRICITY": 0.001,
        "INCLINATION": 53.0,
        "RA_OF_ASC_NODE": 1.0,
        "ARG_OF_PERICENTER": 2.0,
        "MEAN_ANOMALY": 3.0,
        "BSTAR": 0.0,
    }
    try:
        fleet = parse_elements(json.dumps([row | change]).encode(), name="fuzz").fleet
    except ElementsError:
        return
    assert all(np.all(np.isfinite(getattr(fleet, field))) for field in ELEMENT_FIELDS)
    assert 1 <= fleet.catalogue_number[0] <= 999_999_999
