"""The case of somebody in need: questions, languages, repeats, operators, hand-over; any order of events; its export."""

from __future__ import annotations

from xml.etree import ElementTree as Xml

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.cell.test_position import EXAMPLE, PLACES
from tramontana.cell import gsm_alphabet, sos_case
from tramontana.cell.position import Position, find_position
from tramontana.cell.sos_case import MOST_ASKED, QUESTIONS, Case, NotNow, Outcome, open_case
from tramontana.cell.sos_export import CAP_NAMESPACE, NoPosition, cap_alert, cursor_on_target
from tramontana.cell.sos_words import CHOOSE, LANGUAGES, PHRASES, language_of

PHONE = "+393331234567"


def text(case: Case, body: str, now: float) -> tuple[Case, list[str]]:
    case, said, _ = sos_case.texted(case, body, find_position(body, PLACES), now)
    return case, [each.body for each in said]


def phrase(name: str, language: str = "it") -> str:
    return PHRASES[name][language].format(number=7)  # type: ignore[index]


def test_every_sentence_is_one_short_message() -> None:
    for name, sentences in PHRASES.items():
        assert set(sentences) == set(LANGUAGES), name
        for sentence in sentences.values():
            assert len(gsm_alphabet.encode(sentence.format(number=999_999))) <= 160, sentence
    assert len(gsm_alphabet.encode(CHOOSE.format(number=999_999))) <= 160


@pytest.mark.parametrize(
    ("body", "language"),
    [
        ("aiuto siamo sotto le macerie", "it"),
        ("HELP we are trapped in the house", "en"),
        ("Hilfe, wir sind eingeschlossen, zwei Verletzte", "de"),
        ("au secours, nous sommes bloqués dans la maison", "fr"),
        ("ajutor, casa este prăbușită, suntem blocați aici", "ro"),
        ("SOS", None),
        ("помогите", None),
        ("", None),
    ],
)
def test_the_language_of_a_text(body: str, language: str | None) -> None:
    assert language_of(body) == language


def test_a_case_from_the_first_text_to_an_operator() -> None:
    case = open_case(7, PHONE, 0.0)
    case, said = text(case, "aiuto siamo sotto le macerie", 1.0)
    assert said == [phrase("received"), phrase("ask position")]
    case, said = text(case, "42.6281, 13.2924", 60.0)
    assert said == [phrase("ask people")]
    assert case.position is not None
    case, said = text(case, "siamo in sette", 120.0)
    assert (case.people, said) == (7, [phrase("ask injured")])
    case, said = text(case, "2 gravi", 180.0)
    assert (case.injured, said) == (2, [phrase("ask danger")])
    case, said = text(case, "odore di gas", 240.0)
    assert (case.state, said) == ("waiting", [phrase("waiting")])
    case, said = text(case, "fate presto", 300.0)
    assert said == []  # thanks are said once; beam time is short


def test_aml_spares_the_question_where() -> None:
    case, said = text(open_case(7, PHONE, 0.0), "help we are trapped", 1.0)
    assert said == [phrase("received", "en"), phrase("ask position", "en")]
    case, said = text(case, EXAMPLE, 2.0)
    assert (case.imsi, case.asked) == ("123456789012345", "ask people")
    assert case.language == "en"


def test_a_language_that_cannot_be_told_is_asked_once() -> None:
    case, said = text(open_case(7, PHONE, 0.0), "SOS", 1.0)
    assert said == [CHOOSE.format(number=7)]
    case, said = text(case, "de", 2.0)
    assert said == [phrase("received", "de"), phrase("ask position", "de")]
    other, _ = text(open_case(7, PHONE, 0.0), "помогите", 1.0)
    other, said = text(other, "нас трое", 2.0)
    assert said == [phrase("received", "it"), phrase("ask position", "it")]


def test_three_words_and_a_name_of_two_places_are_refused_politely() -> None:
    case, said = text(open_case(7, PHONE, 0.0), "aiuto siamo a ///parola.vento.mare", 1.0)
    assert said == [phrase("received"), phrase("three words")]
    case, said = text(case, "a Castro", 2.0)
    assert said == [phrase("several places")]
    case, said = text(case, "Castro LE", 3.0)
    assert case.position is not None
    assert said == [phrase("ask people")]


def test_repeats_are_one_text_and_the_last_answer_comes_again() -> None:
    case, _ = text(open_case(7, PHONE, 0.0), "aiuto siamo bloccati", 1.0)
    case, said = text(case, "aiuto siamo bloccati", 30.0)
    assert (case.repeats, said) == (1, [])
    case, said = text(case, "aiuto siamo bloccati", 130.0)
    assert (case.repeats, said) == (2, [phrase("ask position")])
    assert case.answers == {}


def test_one_way_says_one_thing_once() -> None:
    case, said = text(open_case(7, PHONE, 0.0, one_way=True), "aiuto siamo in due", 1.0)
    assert said == [phrase("one way")]
    case, said = text(case, "42.6281, 13.2924", 2.0)
    assert said == []
    assert case.position is not None
    assert sos_case.next_timer(case) is None


def test_a_question_without_an_answer_is_asked_once_more_and_then_the_case_waits() -> None:
    case, _ = text(open_case(7, PHONE, 0.0), "aiuto siamo bloccati", 0.0)
    due = sos_case.next_timer(case)
    assert due == 300
    case, said, _ = sos_case.handle_timer(case, 300.0)
    assert [each.body for each in said] == [phrase("ask position")]
    case, said, noted = sos_case.handle_timer(case, 600.0)
    assert (case.state, said) == ("waiting", [])
    assert noted


def test_operators_and_hand_over() -> None:
    case, _ = text(open_case(7, PHONE, 0.0), "aiuto siamo bloccati", 0.0)
    with pytest.raises(NotNow, match="take it first"):
        sos_case.write(case, "desk 1", "arriviamo", 1.0)
    case, _, _ = sos_case.take(case, "desk 1", 1.0)
    case, said = text(case, "fate presto", 2.0)
    assert said == []  # whoever has the case speaks
    with pytest.raises(NotNow, match="is with desk 1"):
        sos_case.take(case, "desk 2", 3.0)
    case, _, _ = sos_case.offer(case, "desk 1", "desk 2", 4.0)
    case, written, _ = sos_case.write(case, "desk 1", "arriviamo", 5.0)  # until it is taken it stays with the first
    assert [each.body for each in written] == ["arriviamo"]
    with pytest.raises(NotNow):
        sos_case.take(case, "desk 3", 6.0)
    case, _, noted = sos_case.take(case, "desk 2", 7.0)
    assert noted[0].body == "handed over from desk 1 to desk 2"
    with pytest.raises(NotNow):
        sos_case.close(case, "desk 1", "done", 8.0, tell=True)
    case, told, _ = sos_case.close(case, "desk 2", "rescued", 9.0, tell=True)
    assert [each.body for each in told] == [phrase("closed")]
    case, _ = text(case, "siamo ancora qui", 100.0)
    assert (case.state, case.operator) == ("waiting", "")


def test_a_place_never_replaces_coordinates() -> None:
    case, _ = text(open_case(7, PHONE, 0.0), "aiuto 42.6281, 13.2924", 0.0)
    case, _ = text(case, "vicino ad Amatrice", 1.0)
    assert case.position is not None
    assert case.position.source == "coordinates"


STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("text"), st.one_of(st.sampled_from(["SOS", "aiuto", "due", "42.6, 13.29244", "de", EXAMPLE]), st.text(max_size=80))
        ),
        st.tuples(st.just("timer"), st.just("")),
        st.tuples(st.sampled_from(["take", "release", "close", "write"]), st.sampled_from("AB")),
        st.tuples(st.just("offer"), st.sampled_from(["AB", "BA"])),
    ),
    max_size=30,
)


@settings(max_examples=200, deadline=None)
@given(STEPS, st.booleans())
def test_any_order_of_events(steps: list[tuple[str, str]], one_way: bool) -> None:
    case, now, automatic = open_case(7, PHONE, 0.0, one_way=one_way), 0.0, 0
    for step, value in steps:
        now += 70.0
        before = case
        outcome: Outcome
        try:
            if step == "text":
                outcome = sos_case.texted(case, value, find_position(value, PLACES), now)
            elif step == "timer":
                outcome = sos_case.handle_timer(case, now)
            elif step == "offer":
                outcome = sos_case.offer(case, value[0], value[1], now)
            elif step == "write":
                outcome = sos_case.write(case, value, "risposta", now)
            elif step == "close":
                outcome = sos_case.close(case, value, "fine", now, tell=False)
            else:
                outcome = {"take": sos_case.take, "release": sos_case.release}[step](case, value, now)
        except NotNow:
            assert case == before
            continue
        case, said, noted = outcome
        assert Case.from_json(case.to_json()) == case
        assert (case.state == "in care") == bool(case.operator) or case.state == "closed"
        if step == "text":
            assert noted  # no text of a person vanishes
            new = value != before.last_text or before.state == "closed"
            automatic += len(said) if new else 0
            if before.state == "in care" and new:
                assert not said
    reopened = sum(step == "close" for step, _ in steps)
    assert automatic <= (len(QUESTIONS) * MOST_ASKED + 5 + sum(step == "text" for step, _ in steps)) * (1 + reopened)
    assert all(times <= MOST_ASKED + sum(step == "text" for step, _ in steps) for times in case.times_asked.values())


def test_export() -> None:
    case, _ = text(open_case(7, PHONE, 1000.0), "aiuto <siamo> & \x01 in 3", 1001.0)
    with pytest.raises(NoPosition, match="set it on the map"):
        cursor_on_target(case, "ab", 1002.0)
    case, _, _ = sos_case.take(case, "desk", 1003.0)
    case, _, _ = sos_case.locate(case, "desk", Position(42.6281, 13.2924, 30.0, "operator", "Amatrice"), 1004.0)
    event = Xml.fromstring(cursor_on_target(case, "ab", 1005.0))
    point = event.find("point")
    assert point is not None
    assert (event.get("type"), event.get("uid")) == ("b-a-o-tbl", "tramontana-sos-ab")
    assert (point.get("lat"), point.get("lon"), point.get("ce")) == ("42.628100", "13.292400", "30.0")
    assert PHONE.encode() not in cursor_on_target(case, "ab", 1005.0)
    assert PHONE.encode() in cursor_on_target(case, "ab", 1005.0, with_phone=True)
    alert = Xml.fromstring(cap_alert(case, "ab", "protezione.civile", 1005.0))
    assert alert.findtext(f"{{{CAP_NAMESPACE}}}info/{{{CAP_NAMESPACE}}}area/{{{CAP_NAMESPACE}}}circle") == "42.628100,13.292400 0.030"


@pytest.mark.parametrize("body", ["²", "siamo in ³", "①", "x²", "٣", "12345", "½"])
def test_signs_that_look_like_numbers(body: str) -> None:
    """int() refuses what str.isdigit takes: a text must not fall over it."""
    case, _, _ = sos_case.texted(open_case(1, "+39333", 0.0), "aiuto siamo ad Amatrice", find_position("aiuto siamo ad Amatrice"), 0.0)
    case, _, noted = sos_case.texted(case, body, find_position(body), 1.0)
    assert noted[0].body == body
    assert case.last_text == body
    asked = sos_case.texted(Case(1, "+39333", 0.0, asked="ask people", last_text_at=1.0), body, find_position(body), 2.0)[0]
    assert asked.people == (3 if body == "٣" else None)
