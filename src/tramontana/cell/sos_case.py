"""The case of somebody who texted the emergency number: a state machine without clock or store.

`asking`: questions go out by themselves, one at a time. `waiting`: they are done and nobody has taken the case. `in care`: an operator
has; then nothing goes out but what he writes. `closed`: over; a text from that phone opens it again. Every function takes a case and an
instant and gives the case as it is afterwards, with what is to be sent and what is to be noted; whoever stores it stores all three at once.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from tramontana.cell.position import Found, Position
from tramontana.cell.sos_words import CHOOSE, PHRASES, Language, Phrase, language_named, language_of
from tramontana.errors import LocalError

State = Literal["asking", "waiting", "in care", "closed"]
Step = Literal["texted", "asked enough", "taken", "released", "closed", "texted again"]
TRANSITIONS: Mapping[tuple[State, Step], State] = {
    ("asking", "texted"): "asking",
    ("asking", "asked enough"): "waiting",
    ("asking", "taken"): "in care",
    ("asking", "closed"): "closed",
    ("waiting", "texted"): "waiting",
    ("waiting", "taken"): "in care",
    ("waiting", "closed"): "closed",
    ("in care", "texted"): "in care",
    ("in care", "released"): "waiting",
    ("in care", "closed"): "closed",
    ("closed", "texted again"): "waiting",
}
QUESTIONS: tuple[Phrase, ...] = ("ask position", "ask people", "ask injured", "ask danger")
ASKED_AGAIN_AFTER_S = 300.0
"""A question without an answer is repeated once, when the person writes or this time has passed."""
MOST_ASKED = 2
REPEATED_WITHIN_S = 600.0
"""The same words from the same phone within ten minutes are one text that was sent several times."""
SAID_AGAIN_AFTER_S = 120.0
"""Whoever repeats himself has perhaps not had our last answer: he gets it again, not more often than this."""

_NUMBER_WORDS: Mapping[str, int] = {
    word: number
    for number, words in enumerate(
        (
            "zero nessuno none nobody niemand keine keiner personne aucun nimeni niciunul",
            "uno una one ein eine einer eins un une unu solo sola alone allein seul seule singur singura",
            "due two zwei deux doi doua",
            "tre three drei trois trei",
            "quattro four vier quatre patru",
            "cinque five funf cinq cinci",
            "sei six sechs sase",
            "sette seven sieben sept sapte",
            "otto eight acht huit opt",
            "nove nine neun neuf noua",
            "dieci ten zehn dix zece",
        )
    )
    for word in words.split()
}


class NotNow(LocalError):
    """The case is not in a state in which this can be done, or somebody else has it. Load it again and look who has it."""


@dataclass(frozen=True, slots=True)
class Case:
    """What is known. `operator` has it; `offered_to` may take it over from him."""

    number: int
    phone: str
    opened_at: float
    state: State = "asking"
    language: Language | None = None
    position: Position | None = None
    people: int | None = None
    injured: int | None = None
    answers: Mapping[str, str] = field(default_factory=dict)
    asked: str = ""
    asked_at: float = 0.0
    times_asked: Mapping[str, int] = field(default_factory=dict)
    operator: str = ""
    offered_to: str = ""
    imsi: str = ""
    last_text: str = ""
    last_text_at: float = 0.0
    repeats: int = 0
    last_said: str = ""
    last_said_at: float = 0.0
    one_way: bool = False
    updated_at: float = 0.0
    closed_because: str = ""

    def to_json(self) -> str:
        return json.dumps(asdict(self), sort_keys=True, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Case:
        values: dict[str, Any] = json.loads(text)
        if values["position"] is not None:
            values["position"] = Position(**values["position"])
        return cls(**values)


@dataclass(frozen=True, slots=True)
class Said:
    """A text to send to the person."""

    body: str


@dataclass(frozen=True, slots=True)
class Noted:
    """A line of the case's record: `kind` is text, repeat, position, state, operator."""

    kind: Literal["text", "repeat", "position", "state"]
    body: str


Outcome = tuple[Case, list[Said], list[Noted]]


def _step(case: Case, step: Step) -> State:
    state = TRANSITIONS.get((case.state, step))
    if state is None:
        raise NotNow(f"case {case.number} is {case.state}: it cannot be {step} now")
    return state


def open_case(number: int, phone: str, now: float, *, one_way: bool = False) -> Case:
    """A new case; its first text follows with `texted`."""
    return Case(number, phone, now, one_way=one_way, updated_at=now)


def texted(case: Case, body: str, found: Found, now: float) -> Outcome:
    """A text of the person. found: what `position.find_position` saw in it."""
    said: list[Said] = []
    noted: list[Noted] = []
    first = not case.last_text_at
    if not first and body == case.last_text and now - case.last_text_at <= REPEATED_WITHIN_S and case.state != "closed":
        case = replace(case, repeats=case.repeats + 1, updated_at=now)
        noted.append(Noted("repeat", body))
        if case.last_said and now - case.last_said_at >= SAID_AGAIN_AFTER_S and not case.one_way:
            said.append(Said(case.last_said))
            case = replace(case, last_said_at=now)
        return case, said, noted
    noted.append(Noted("text", body))
    if case.state == "closed":
        case = replace(case, state=_step(case, "texted again"), operator="", offered_to="", closed_because="")
        noted.append(Noted("state", "opened again by a text"))
    else:
        case = replace(case, state=_step(case, "texted"))
    case = replace(case, last_text=body, last_text_at=now, updated_at=now)
    case = _learn(case, body, found, now, noted)
    if case.state == "asking":
        case, said = _answer(case, found, first, now)
    elif case.state == "waiting" and found.three_words and case.position is None:
        case, said = _say(case, "three words", now)
    return case, said, noted


def _learn(case: Case, body: str, found: Found, now: float, noted: list[Noted]) -> Case:
    if named := language_named(body):
        case = replace(case, language=named)
    elif case.language is None and found.aml is None:
        case = replace(case, language=language_of(body))
    if found.aml is not None and found.aml.imsi:
        case = replace(case, imsi=found.aml.imsi)
    if found.position is not None and _better(found.position, case.position):
        case = replace(case, position=found.position)
        noted.append(Noted("position", _in_words(found.position)))
    if case.asked and found.aml is None and not language_named(body):
        case = replace(case, answers={**case.answers, case.asked: body})
        count = _number_in(body)
        if case.asked == "ask people" and count is not None:
            case = replace(case, people=count)
        elif case.asked == "ask injured" and count is not None:
            case = replace(case, injured=count)
        if case.asked != "ask position" or case.position is not None or case.times_asked.get(case.asked, 0) >= MOST_ASKED:
            case = replace(case, asked="")
    return case


def _better(new: Position, old: Position | None) -> bool:
    """People move: a new claim of the same kind replaces the old one, and a place's name never replaces coordinates."""
    if old is None or old.source == "place":
        return True
    return new.source != "place" and not (old.source == "operator" and new.source != "aml")


def _in_words(position: Position) -> str:
    name = f" {position.name}" if position.name else ""
    return f"{position.latitude:.5f}, {position.longitude:.5f} ±{position.accuracy_m:.0f} m ({position.source}{name})"


def _number_in(body: str) -> int | None:
    words = re.findall(r"\d+|[^\W\d_]+", body.lower())
    for word in words:
        if word.isdecimal():  # not isdigit: int() refuses "²"
            return int(word) if len(word) <= 4 else None
    return next((_NUMBER_WORDS[word] for word in words if word in _NUMBER_WORDS), None)


def _answer(case: Case, found: Found, first: bool, now: float) -> tuple[Case, list[Said]]:
    if case.one_way:
        return _say(case, "one way", now) if first else (case, [])
    said: list[Said] = []
    if case.language is None:
        if case.times_asked.get("language", 0) < 1:
            case = replace(case, times_asked={**case.times_asked, "language": 1})
            body = CHOOSE.format(number=case.number)
            return replace(case, last_said=body, last_said_at=now), [Said(body)]
        # He was asked and wrote on in no language that we know: Italian and English readers are the likeliest.
        case = replace(case, language="it")
    if first or not case.times_asked.get("received"):
        case, said = _say(case, "received", now)
        case = replace(case, times_asked={**case.times_asked, "received": 1})
    if case.position is None and found.three_words:
        case, more = _say(case, "three words", now)
        return _asked(case, "ask position", now), said + more
    if case.position is None and found.several_places:
        case, more = _say(case, "several places", now)
        return _asked(case, "ask position", now), said + more
    case, more = _ask_next(case, now)
    return case, said + more


def _asked(case: Case, question: Phrase, now: float) -> Case:
    times = {**case.times_asked, question: case.times_asked.get(question, 0) + 1}
    return replace(case, asked=question, asked_at=now, times_asked=times)


def _ask_next(case: Case, now: float) -> tuple[Case, list[Said]]:
    for question in QUESTIONS:
        if question == "ask position" and case.position is not None and case.position.source != "place":
            continue
        times = case.times_asked.get(question, 0)
        answered = question in case.answers and (question != "ask position" or case.position is not None or times >= MOST_ASKED)
        if answered or times >= MOST_ASKED:
            continue
        case, said = _say(_asked(case, question, now), question, now)
        return case, said
    case = replace(case, state=_step(case, "asked enough"), asked="")
    return _say(case, "waiting", now)


def _say(case: Case, phrase: Phrase, now: float) -> tuple[Case, list[Said]]:
    body = PHRASES[phrase][case.language or "it"].format(number=case.number)
    return replace(case, last_said=body, last_said_at=now), [Said(body)]


def next_timer(case: Case) -> float | None:
    """When `handle_timer` is to be called."""
    if case.state == "asking" and case.asked and not case.one_way:
        return case.asked_at + ASKED_AGAIN_AFTER_S
    return None


def handle_timer(case: Case, now: float) -> Outcome:
    """A question without an answer is asked once more; then the case waits for an operator with what is known."""
    due = next_timer(case)
    if due is None or now < due:
        return case, [], []
    if case.times_asked.get(case.asked, 0) >= MOST_ASKED:
        case = replace(case, state=_step(case, "asked enough"), asked="", updated_at=now)
        return case, [], [Noted("state", "no answer to the questions; waits for an operator")]
    question: Phrase = case.asked  # type: ignore[assignment]
    case, said = _say(_asked(case, question, now), question, now)
    return replace(case, updated_at=now), said, []


# What operators do


def take(case: Case, operator: str, now: float) -> Outcome:
    """An operator takes the case that nobody has, or that was offered to him."""
    if case.state == "in care":
        if case.offered_to != operator or case.operator == operator:
            raise NotNow(f"case {case.number} is with {case.operator}: ask for a hand-over")
        note = f"handed over from {case.operator} to {operator}"
        return replace(case, operator=operator, offered_to="", updated_at=now), [], [Noted("state", note)]
    case = replace(case, state=_step(case, "taken"), operator=operator, offered_to="", asked="", updated_at=now)
    return case, [], [Noted("state", f"taken by {operator}")]


def offer(case: Case, operator: str, to: str, now: float) -> Outcome:
    """Offer the case to another operator; until he takes it, it stays where it is."""
    _mine(case, operator)
    if to == operator:
        raise NotNow("the case is yours already: name somebody else")
    return replace(case, offered_to=to, updated_at=now), [], [Noted("state", f"{operator} offers it to {to}")]


def release(case: Case, operator: str, now: float) -> Outcome:
    """Give the case back to the queue."""
    _mine(case, operator)
    return (
        replace(case, state=_step(case, "released"), operator="", offered_to="", updated_at=now),
        [],
        [Noted("state", f"released by {operator}")],
    )


def write(case: Case, operator: str, body: str, now: float) -> Outcome:
    """The operator answers."""
    _mine(case, operator)
    return replace(case, last_said=body, last_said_at=now, updated_at=now), [Said(body)], []


def locate(case: Case, operator: str, position: Position, now: float) -> Outcome:
    """The operator sets the position on the map."""
    _mine(case, operator)
    return replace(case, position=position, updated_at=now), [], [Noted("position", _in_words(position))]


def close(case: Case, operator: str, because: str, now: float, *, tell: bool) -> Outcome:
    """The case is over."""
    _mine(case, operator)
    case = replace(case, state=_step(case, "closed"), closed_because=because, offered_to="", asked="", updated_at=now)
    said: list[Said] = []
    if tell:
        case, said = _say(case, "closed", now)
    return case, said, [Noted("state", f"closed by {operator}: {because}")]


def _mine(case: Case, operator: str) -> None:
    if case.state != "in care" or case.operator != operator:
        holder = f"with {case.operator}" if case.state == "in care" else case.state
        raise NotNow(f"case {case.number} is {holder}: take it first")
