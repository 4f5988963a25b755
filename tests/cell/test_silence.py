"""Units that must not emit are known by their names and telephones, however these are written."""

from __future__ import annotations

import pytest

from tramontana.cell.silence import Silence

SILENT = Silence.of(frozenset({"Falco 1", "ANDROID-7f"}), frozenset({"+39 333 1234567"}))


@pytest.mark.parametrize(("callsign", "uid"), [("FALCO 1", "x"), (" falco 1 ", ""), ("", "android-7F")])
def test_by_callsign_or_uid(callsign: str, uid: str) -> None:
    assert SILENT.of_unit(callsign, uid)


@pytest.mark.parametrize("number", ["+393331234567", "00393331234567", "39 333 123 45 67"])
def test_by_telephone(number: str) -> None:
    assert SILENT.of_phone(number)


def test_with_or_without_the_country() -> None:
    assert SILENT.of_phone("333 1234567")
    assert Silence.of(frozenset(), frozenset({"333 1234567"})).of_phone("+393331234567")
    assert not SILENT.of_phone("+443331234567")
    assert not Silence.of(frozenset(), frozenset({"112"})).of_phone("0039112")


def test_nobody_else() -> None:
    assert not SILENT.of_unit("Falco 11", "ANDROID-7")
    assert not SILENT.of_phone("+393331234568")
    assert not Silence().of_unit("", "")
    assert not Silence().of_phone("")
