"""Saved fleets: nothing is lost, damage is noticed, a failed write leaves the old one."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tramontana.space.elements import parse_elements
from tramontana.space.fleet import Fleet, FleetError
from tramontana.space.fleet_file import FleetFileError, decode_fleet, encode_fleet, load_fleet, save_fleet, use_default
from tramontana.space.shells import starlink_gen1_as_filed

ISS = (
    b"ISS (ZARYA)\n1 25544U 98067A   08264.51782528 -.00002182  00000-0 -11606-4 0  2927\n"
    b"2 25544  51.6416 247.4627 0006703 130.5360 325.0288 15.72125391563537\n"
)


@pytest.fixture
def iss() -> Fleet:
    return parse_elements(ISS, name="iss.tle", source="somewhere, with notice").fleet


def test_a_fleet_survives_to_the_last_bit(tmp_path: Path, iss: Fleet) -> None:
    for fleet in (iss, starlink_gen1_as_filed()):
        path = save_fleet(fleet, tmp_path)
        assert load_fleet(tmp_path).equals(fleet)
        assert path.stat().st_mode & 0o077 == 0
    assert [p.name for p in (tmp_path / "sky").iterdir()] == ["fleet.json"]


def test_equal_fleets_give_equal_bytes(iss: Fleet) -> None:
    assert encode_fleet(iss) == encode_fleet(parse_elements(ISS, name="iss.tle", source="somewhere, with notice").fleet)
    assert encode_fleet(iss) == encode_fleet(decode_fleet(encode_fleet(iss)))


def test_without_a_file_the_built_in_one_is_in_use(tmp_path: Path) -> None:
    assert load_fleet(tmp_path).label == "Starlink Gen1 as filed"
    assert use_default(tmp_path) is None


def test_return_to_the_built_in_one_sets_the_file_aside(tmp_path: Path, iss: Fleet) -> None:
    save_fleet(iss, tmp_path)
    aside = use_default(tmp_path)
    assert aside is not None
    assert decode_fleet(aside.read_bytes()).equals(iss)
    assert load_fleet(tmp_path).provenance == "filed"


@given(data=st.data())
@settings(deadline=None)
def test_any_changed_byte_is_noticed(data: st.DataObject) -> None:
    good = encode_fleet(parse_elements(ISS, name="iss.tle").fleet)
    at = data.draw(st.integers(0, len(good) - 2))
    value = data.draw(st.integers(0, 255).filter(lambda v: v != good[at]))
    with pytest.raises(FleetFileError):
        decode_fleet(good[:at] + bytes([value]) + good[at + 1 :])


@pytest.mark.parametrize("keep", [0, 10, 100, -5])
def test_a_damaged_file_gives_a_clear_sentence_and_stays(tmp_path: Path, iss: Fleet, keep: int) -> None:
    path = save_fleet(iss, tmp_path)
    damaged = path.read_bytes()[:keep]
    path.write_bytes(damaged)
    with pytest.raises(FleetFileError, match="tramontana sky default"):
        load_fleet(tmp_path)
    assert path.read_bytes() == damaged
    assert use_default(tmp_path) is not None
    assert load_fleet(tmp_path).provenance == "filed"


def test_a_well_formed_file_of_something_else_is_refused() -> None:
    for body in (b"[]", b"{}", b'{"label":"x"}', b"nonsense"):
        with pytest.raises(FleetFileError, match="not a constellation"):
            decode_fleet(b"tramontana-fleet 1 sha256=" + hashlib.sha256(body).hexdigest().encode() + b"\n" + body + b"\n")


def test_a_failed_write_keeps_the_old_fleet(tmp_path: Path, iss: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    save_fleet(iss, tmp_path)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(FleetFileError, match="No space left on device"):
        save_fleet(starlink_gen1_as_filed(), tmp_path)
    monkeypatch.undo()
    assert load_fleet(tmp_path).equals(iss)
    assert [p.name for p in (tmp_path / "sky").iterdir()] == ["fleet.json"]


@pytest.mark.skipif(os.geteuid() == 0, reason="permissions do not bind the superuser")
def test_an_unwritable_directory_gives_a_clear_sentence(tmp_path: Path, iss: Fleet) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(FleetFileError, match="check the permissions"):
        save_fleet(iss, tmp_path)


def test_a_malformed_fleet_cannot_be_built(iss: Fleet) -> None:
    def build(**change: object) -> Fleet:
        known = {name: getattr(iss, name) for name in iss.__dataclass_fields__}
        return Fleet(**(known | change))

    with pytest.raises(FleetError, match="shape"):
        build(inclination_deg=np.zeros(2))
    with pytest.raises(FleetError, match="finite"):
        build(inclination_deg=np.array([np.nan]))
    with pytest.raises(FleetError, match="no satellite"):
        build(names=())
    with pytest.raises(FleetError, match="provenance"):
        build(provenance="guessed")
    with pytest.raises(FleetError, match="unique"):
        iss.take(np.array([0, 0]))
