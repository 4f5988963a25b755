"""Pages of cell broadcast: any text comes back in each alphabet, counts are what encoding takes, another implementation reads them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycrate_mobile.TS23038 import decode_7b

from tests.cell.test_gsm_alphabet import CHARACTERS
from tramontana.cell import cell_broadcast
from tramontana.cell.cell_broadcast import Alphabet, Level, Message, Page, Scope, SerialNumber
from tramontana.errors import RemoteError

GSM_TEXTS = st.text(st.sampled_from([character for character in CHARACTERS if character != "\r"]), min_size=1, max_size=500)
ANY_TEXTS = st.text(st.characters(blacklist_categories=["Cs"]), min_size=1, max_size=330)


def same(text: str) -> str:
    return cell_broadcast.plain(text)


@given(GSM_TEXTS)
def test_a_text_of_the_gsm_alphabet_comes_back(text: str) -> None:
    if not same(text):
        return
    message = cell_broadcast.encode(text, "it")
    assert message.alphabet is Alphabet.GSM_7
    assert message.text() == same(text)
    assert len(message.pages) == cell_broadcast.count(text).pages


@given(ANY_TEXTS, st.sampled_from(["it", "en", "xx"]))
def test_any_text_comes_back_as_ucs_2(text: str, language: str) -> None:
    if not same(text):
        return
    message = cell_broadcast.encode(text, language, Alphabet.UCS_2)
    assert message.text() == same(text)
    for page in message.pages:  # each page reads by itself
        page.octets[: page.length].decode("utf-16-be")


@given(GSM_TEXTS)
def test_another_implementation_reads_the_pages(text: str) -> None:
    if not same(text):
        return
    pages = cell_broadcast.encode(text, "en").pages
    # It takes a last "@" (seven zero bits) for filling: the zero octet gives it one to take, and the page keeps its own.
    assert "".join(decode_7b(page.octets + b"\0").rstrip("\r") for page in pages) == same(text)


@given(st.text(max_size=3000))
def test_the_count_says_what_encoding_does(text: str) -> None:
    counted = cell_broadcast.count(text)
    try:
        message = cell_broadcast.encode(text, "it")
    except cell_broadcast.TextRefused:
        assert not same(text) or not counted.fits or any(0xD800 <= ord(c) < 0xE000 for c in text)
        return
    assert counted.fits
    assert (counted.alphabet, counted.pages) == (message.alphabet, len(message.pages))
    assert counted.characters <= counted.capacity


def test_capacities_are_the_standards() -> None:
    assert (Alphabet.GSM_7.capacity, Alphabet.UCS_2.capacity) == (1395, 615)
    assert len(cell_broadcast.encode("a" * 1395, "it").pages) == 15
    assert len(cell_broadcast.encode("ж" * 615, "it").pages) == 15
    for too_long in ("a" * 1396, "ж" * 616):
        with pytest.raises(cell_broadcast.TextRefused, match="16 pages"):
            cell_broadcast.encode(too_long, "it")


def test_nothing_is_cut_in_two() -> None:
    counted = cell_broadcast.count("a" * 92 + "€" + "b")
    assert (counted.pages, counted.characters) == (2, 93 + 3)
    assert [page.length for page in cell_broadcast.encode("ж" * 40 + "😀", "it").pages] == [80, 4]


def test_an_identifier_for_each_level_and_language() -> None:
    first = [cell_broadcast.message_identifier(level, additional_language=False) for level in Level]
    assert first == [4370, 4371, 4375, 4379, 4381]
    assert [cell_broadcast.message_identifier(level, additional_language=True) for level in Level] == [4383, 4384, 4388, 4392, 4394]


@given(st.integers(0, 1023), st.integers(0, 15), st.sampled_from(Scope))
def test_serial_numbers_come_back_and_updates_keep_the_code(code: int, update: int, scope: Scope) -> None:
    serial = SerialNumber(code, update, scope)
    assert SerialNumber.parse(serial.value) == serial
    after = serial.updated()
    assert (after.message_code, after.scope) == (code, scope)
    assert after.update_number == (update + 1) % 16


@given(st.integers(0, 255), st.lists(st.tuples(st.binary(min_size=82, max_size=82), st.integers(0, 82)), min_size=1, max_size=15))
def test_foreign_pages_read_or_are_refused(scheme: int, pages: list[tuple[bytes, int]]) -> None:
    try:
        Message(scheme, tuple(Page(octets, length) for octets, length in pages)).text()
    except RemoteError:
        return
