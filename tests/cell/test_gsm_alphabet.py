"""The GSM 7 bit default alphabet: there and back for any text, against another implementation's tables and packing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycrate_mobile import TS23038

from tramontana.cell import gsm_alphabet

CHARACTERS = [gsm_alphabet.decode([code]) for code in range(128) if code != gsm_alphabet.ESCAPE]
CHARACTERS += [gsm_alphabet.decode([gsm_alphabet.ESCAPE, code]) for code in (0x0A, 0x14, 0x28, 0x29, 0x2F, 0x3C, 0x3D, 0x3E, 0x40, 0x65)]
TEXTS = st.text(st.sampled_from(CHARACTERS), max_size=200)


def test_every_code_is_the_other_implementations_character() -> None:
    assert all(gsm_alphabet.decode([code]) == TS23038._GSM7bLUT[code] for code in range(128) if code != gsm_alphabet.ESCAPE)
    printable = {code: TS23038._GSM7bExtLUT[code] for code in (0x14, 0x28, 0x29, 0x2F, 0x3C, 0x3D, 0x3E, 0x40, 0x65)}
    assert all(gsm_alphabet.decode([gsm_alphabet.ESCAPE, code]) == character for code, character in printable.items())


@given(TEXTS, st.integers(0, 6))
def test_any_text_of_the_alphabet_comes_back(text: str, fill_bits: int) -> None:
    septets = gsm_alphabet.encode(text)
    assert len(septets) == sum(gsm_alphabet.length(character) for character in text)
    packed = gsm_alphabet.pack(septets, fill_bits)
    assert len(packed) == (7 * len(septets) + fill_bits + 7) // 8
    assert gsm_alphabet.decode(gsm_alphabet.unpack(packed, len(septets), fill_bits)) == text


def test_packing_is_the_standards() -> None:
    # Two known examples: "hellohello" as SMS tools pack it, and eight septets that fill seven octets.
    assert gsm_alphabet.pack(gsm_alphabet.encode("hellohello")).hex() == "e8329bfd4697d9ec37"
    assert gsm_alphabet.pack(bytes([0x7F] * 8)) == b"\xff" * 7


@given(st.text(max_size=50))
def test_what_cannot_be_written_is_named(text: str) -> None:
    lacking = gsm_alphabet.missing(text)
    if not lacking:
        gsm_alphabet.encode(text)
        return
    with pytest.raises(gsm_alphabet.NotInAlphabet) as refused:
        gsm_alphabet.encode(text)
    assert refused.value.characters == lacking
    assert set(lacking) == {character for character in text if character not in CHARACTERS}


def test_a_receiver_shows_something_for_what_it_does_not_know() -> None:
    assert gsm_alphabet.decode([0x1B, 0x41]) == "A"
    assert gsm_alphabet.decode([0x1B, 0x1B, 0x41]) == " A"
    assert gsm_alphabet.decode([0x41, 0x1B]) == "A "


def test_what_is_no_septet_is_refused() -> None:
    with pytest.raises(gsm_alphabet.BadSeptets):
        gsm_alphabet.decode([0x80])
    with pytest.raises(gsm_alphabet.BadSeptets):
        gsm_alphabet.unpack(b"\x00", 2)
    with pytest.raises(gsm_alphabet.BadSeptets):
        gsm_alphabet.unpack(b"\x00" * 7, 8, 1)
