"""The life of a warning: approval cannot be gone around, updates replace, what cannot be matched is refused."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from tramontana.cell import warning as life
from tramontana.cell import warning_decision
from tramontana.cell.warning import Event, Person, Refused, State, Warning
from tramontana.cell.warning_content import Content, Kind
from tramontana.keys.identity import DeviceKey
from tramontana.keys.refused import Refused as StatementRefused

PEOPLE = [
    Person(account, device, frozenset(roles))
    for account, device, roles in [
        ("ada", "ada-1", {"approver"}),
        ("ada", "ada-2", {"approver", "operator"}),
        ("bruno", "bruno-1", {"approver"}),
        ("noc", "noc-1", {"operator"}),
        ("member", "member-1", {"member", "custodian"}),
    ]
]
AREA = {"description": "Amatrice", "polygons": [[(42.6, 13.2), (42.6, 13.4), (42.8, 13.4)]]}


def content(kind: Kind = "alert", *, replaces: str | None = None, exercise: bool = False, **changes: object) -> Content:
    fields = {
        "kind": kind, "replaces": replaces, "status": "exercise" if exercise else "actual",
        "level": "exercise" if exercise else "always-on",
        "category": "Geo", "event": "Terremoto", "urgency": "Immediate", "severity": "Extreme", "certainty": "Observed",
        "texts": [{"language": "it", "text": "Uscite"}, {"language": "en", "text": "Go outside"}],
        "area": None if kind == "template" else AREA, "duration_s": 600,
    }  # fmt: skip
    return Content.model_validate(fields | changes)


class Lives(RuleBasedStateMachine):
    """Anybody asks for anything at any time; a plain book of who approved what says whether the air is as it should be."""

    warnings = Bundle("warnings")

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.records: dict[str, Warning] = {}
        self.approved_by: dict[str, set[str]] = {}

    def _codes(self) -> frozenset[int]:
        used = [record for record in self.records.values() if record.ended_at is None or record.ended_at > self.now - life.CODE_RESTS_S]
        return frozenset(record.serial.message_code for record in used if record.serial)

    @rule(target=warnings, by=st.sampled_from(PEOPLE), exercise=st.booleans(), kind=st.sampled_from(["alert", "template"]))
    def submit_new(self, by: Person, exercise: bool, kind: Kind) -> object:
        return self._submit(content(kind, exercise=exercise), by)

    @rule(target=warnings, by=st.sampled_from(PEOPLE), about=warnings, exercise=st.booleans(), kind=st.sampled_from(["update", "cancel"]))
    def submit_about(self, by: Person, about: str, exercise: bool, kind: Kind) -> object:
        return self._submit(content(kind, replaces=about, exercise=exercise), by)

    @rule(target=warnings, by=st.sampled_from(PEOPLE), kind=st.sampled_from(["update", "cancel"]))
    def submit_about_nothing(self, by: Person, kind: Kind) -> object:
        made = self._submit(content(kind, replaces="f" * 32), by)
        assert made == multiple()
        return made

    def _submit(self, what: Content, by: Person) -> object:
        warning_id = f"{len(self.approved_by):032x}"
        self.approved_by[warning_id] = set()
        try:
            made = life.submit(warning_id, what, by, self.records.get(what.replaces or ""), self.now)
        except Refused:
            return multiple()
        assert made.state is State.SUBMITTED
        self.records[warning_id] = made
        return warning_id

    @rule(target=warnings, by=st.sampled_from(PEOPLE), template=warnings, long=st.booleans())
    def use(self, by: Person, template: str, long: bool) -> object:
        source = self.records[template]
        what = content("alert", exercise=source.content.status == "exercise", template=template, duration_s=3600 if long else 300)
        warning_id = f"{len(self.approved_by):032x}"
        self.approved_by[warning_id] = set(self.approved_by[template])
        try:
            made = life.use_template(warning_id, what, by, source, self._codes(), 0, self.now)
        except Refused:
            return multiple()
        assert not long
        self.records[warning_id] = made
        return warning_id

    @rule(by=st.sampled_from(PEOPLE), warning=warnings)
    def approve(self, by: Person, warning: str) -> None:
        record = self.records[warning]
        replaced = self.records.get(record.content.replaces or "")
        try:
            outcome = life.approve(record, by, replaced, self._codes(), 0, self.now)
        except Refused:
            return
        if "approver" in by.roles:
            self.approved_by[warning].add(by.account_id)
        self.records[warning] = outcome.warning
        if record.content.kind in ("update", "cancel"):
            assert outcome.ended is not None
            assert replaced is not None
            assert replaced.state is State.ON_AIR
            self.records[outcome.ended.warning_id] = outcome.ended
        else:
            assert outcome.ended is None

    @rule(by=st.sampled_from(PEOPLE), warning=consumes(warnings), withdraw=st.booleans())
    def stop(self, by: Person, warning: str, withdraw: bool) -> None:
        try:
            self.records[warning] = (life.withdraw if withdraw else life.reject)(self.records[warning], by, self.now)
        except Refused:
            return

    @rule(seconds=st.sampled_from([1.0, 250.0, 601.0, 3601.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        for warning_id, record in self.records.items():
            self.records[warning_id] = life.overdue(record, self.now) or record

    @invariant()
    def two_persons_stand_behind_whatever_is_on_the_air(self) -> None:
        for warning_id, record in self.records.items():
            if record.state in (State.ON_AIR, State.DONE, State.AUTHORISED, State.REPLACED, State.CANCELLED):
                origin = self.records.get(record.content.template or "", record)
                others = self.approved_by[warning_id] - {origin.author}
                assert others, record
            if not life.broadcasts(record):
                assert record.state is not State.ON_AIR

    @invariant()
    def a_code_and_revision_is_on_the_air_once(self) -> None:
        serials = [record.serial.message_code for record in self.records.values() if record.state is State.ON_AIR and record.serial]
        assert len(set(serials)) == len(serials)

    @invariant()
    def nothing_stays_longer_than_it_was_approved_for(self) -> None:
        for record in self.records.values():
            if record.state is State.ON_AIR:
                assert record.approved_at is not None
                assert self.now < record.approved_at + record.content.duration_s


TestLives = Lives.TestCase
TestLives.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


def on_air(warning_id: str = "a" * 32, *, exercise: bool = False) -> Warning:
    submitted = life.submit(warning_id, content(exercise=exercise), PEOPLE[0], None, 0.0)
    return life.approve(submitted, PEOPLE[2], None, (), 41, 1.0).warning


def test_an_update_has_the_code_and_the_next_revision() -> None:
    first = on_air()
    update = life.submit("b" * 32, content("update", replaces="a" * 32), PEOPLE[3], first, 2.0)
    outcome = life.approve(update, PEOPLE[0], first, (), 42, 3.0)
    assert first.serial is not None
    assert outcome.warning.serial == first.serial.updated()
    assert outcome.ended is not None
    assert outcome.ended.state is State.REPLACED
    assert [sent.message_identifier for sent in life.broadcasts(outcome.warning)] == [4370, 4383]
    assert life.broadcasts(outcome.ended) == ()


def test_a_cancellation_ends_the_warning_and_broadcasts_nothing() -> None:
    first = on_air()
    cancel = life.submit("b" * 32, content("cancel", replaces="a" * 32), PEOPLE[0], first, 2.0)
    outcome = life.approve(cancel, PEOPLE[2], first, (), 42, 3.0)
    assert (outcome.warning.state, outcome.ended and outcome.ended.state) == (State.DONE, State.CANCELLED)
    assert life.broadcasts(outcome.warning) == ()


def test_an_update_of_what_ended_meanwhile_is_refused_even_if_it_was_submitted_in_time() -> None:
    first = on_air()
    update = life.submit("b" * 32, content("update", replaces="a" * 32), PEOPLE[0], first, 2.0)
    with pytest.raises(Refused, match="not on the air any more"):
        life.approve(update, PEOPLE[2], first.after(Event.EXPIRE, 3.0), (), 0, 4.0)
    with pytest.raises(Refused, match="exercise"):
        life.submit("c" * 32, content("update", replaces="d" * 32), PEOPLE[0], on_air("d" * 32, exercise=True), 2.0)


def test_a_code_that_rests_is_not_given() -> None:
    assert life.free_code({42, 43}, 41) == 44
    assert life.free_code({0}, 1023) == 1
    with pytest.raises(Refused, match="codes"):
        life.free_code(range(1024), 3)


def test_every_state_is_reached_and_the_table_has_no_other_event() -> None:
    assert {state for state, _ in life.TRANSITIONS} | set(life.TRANSITIONS.values()) | set(life._APPROVED.values()) == set(State)
    assert {event for _, event in life.TRANSITIONS} == set(Event)
    assert set(get_args(Kind)) == {"alert", "update", "cancel", "template"}


def test_a_statement_is_good_for_one_decision_about_one_content() -> None:
    key, other = DeviceKey.generate(), DeviceKey.generate()
    organisation, warning_id, device = "1" * 32, "2" * 32, "3" * 32
    octets = content().encode()
    made = warning_decision.statement(organisation, warning_id, "approve", octets, device, 1000)
    good = warning_decision.Unverified(made, key.sign(made))
    assert good.verify(organisation, warning_id, "approve", octets, device, key.public_bytes, 1001.0).decision == "approve"
    for wrong in (
        (organisation, warning_id, "approve", octets + b" ", device, key.public_bytes, 1001.0),
        (organisation, warning_id, "reject", octets, device, key.public_bytes, 1001.0),
        (organisation, "4" * 32, "approve", octets, device, key.public_bytes, 1001.0),
        ("5" * 32, warning_id, "approve", octets, device, key.public_bytes, 1001.0),
        (organisation, warning_id, "approve", octets, "6" * 32, key.public_bytes, 1001.0),
        (organisation, warning_id, "approve", octets, device, other.public_bytes, 1001.0),
        (organisation, warning_id, "approve", octets, device, key.public_bytes, 2000.0),
    ):
        with pytest.raises(StatementRefused):
            good.verify(*wrong)
