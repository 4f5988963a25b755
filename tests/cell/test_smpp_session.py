"""SMPP sessions: what may be said when, windows, timers, and what a session that ends leaves behind."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.cell.smpp_values import PDUS
from tramontana.cell.smpp import session as sessions
from tramontana.cell.smpp.pdu import Address, Bare, Bind, CommandId, Message, MessageResp, Password, Pdu, PduReader, Status
from tramontana.cell.smpp.session import (
    Answered,
    BindRequested,
    Bound,
    Closed,
    Heard,
    Queried,
    QueryAnswered,
    Received,
    Session,
    SessionError,
    Settings,
    State,
)

SUBMIT = Message(CommandId.SUBMIT_SM, Address("112"), Address("39333"), b"ciao")
DELIVER = Message(CommandId.DELIVER_SM, Address("39333"), Address("112"), b"aiuto")
SHORT = Settings(window=3, enquire_link_s=10, response_timeout_s=5)


def bound_pair(kind: CommandId = CommandId.BIND_TRANSCEIVER) -> tuple[Session, Session]:
    esme, smsc = Session("esme", SHORT, 0.0), Session("smsc", SHORT, 0.0, "TRAMONTANA")
    esme.bind(Bind(kind, "office", Password("secret")), 0.0)
    (asked,) = smsc.receive(esme.octets_to_send(), 0.0)
    assert isinstance(asked, BindRequested)
    assert asked.bind.password == Password("secret")
    smsc.accept_bind(asked, 0.0)
    assert esme.receive(smsc.octets_to_send(), 0.0) == [Bound("TRAMONTANA")]
    return esme, smsc


def test_messages_go_both_ways_and_answers_find_their_requests() -> None:
    esme, smsc = bound_pair()
    esme.send(SUBMIT, "a", 1.0)
    esme.send(SUBMIT, "b", 1.0)
    first, second = smsc.receive(esme.octets_to_send(), 1.0)
    assert isinstance(first, Received)
    assert isinstance(second, Received)
    smsc.answer(second, Status.RTHROTTLED)  # in any order
    smsc.answer(first, Status.ROK, "77")
    assert esme.receive(smsc.octets_to_send(), 1.0) == [Answered("b", Status.RTHROTTLED, ""), Answered("a", Status.ROK, "77")]
    smsc.send(DELIVER, "c", 2.0)
    (delivered,) = esme.receive(smsc.octets_to_send(), 2.0)
    assert isinstance(delivered, Received)
    esme.answer(delivered, Status.ROK)
    assert smsc.receive(esme.octets_to_send(), 2.0) == [Heard(2), Answered("c", Status.ROK, "")]


def test_which_answers_the_peer_has_is_known_from_its_next_word() -> None:
    esme, smsc = bound_pair()
    esme.send(SUBMIT, "a", 1.0)
    (first,) = smsc.receive(esme.octets_to_send(), 1.0)
    assert isinstance(first, Received)
    smsc.answer(first, Status.ROK, "1")
    assert smsc.next_timer() == 1.0 + Settings().confirm_after_s
    smsc.handle_timer(2.0)
    asked = smsc.octets_to_send()  # the answer, then the question: one connection keeps their order
    esme.send(SUBMIT, "b", 2.5)
    (second,) = smsc.receive(esme.octets_to_send(), 2.5)  # a word of the peer's own proves nothing: it may have been under way
    assert isinstance(second, Received)
    smsc.answer(second, Status.ROK, "2")
    esme.receive(asked, 3.0)
    assert smsc.receive(esme.octets_to_send(), 3.0) == [Heard(1)]
    assert smsc.next_timer() == 3.0 + Settings().confirm_after_s  # the second one is still open
    smsc.handle_timer(4.0)
    esme.receive(smsc.octets_to_send(), 4.0)
    assert smsc.receive(esme.octets_to_send(), 4.0) == [Heard(2)]
    assert smsc.next_timer() == 4.0 + smsc.settings.enquire_link_s


def test_the_window_is_kept() -> None:
    esme, smsc = bound_pair()
    for key in "abc":
        esme.send(SUBMIT, key, 1.0)
    assert esme.room == 0
    with pytest.raises(SessionError, match="window"):
        esme.send(SUBMIT, "d", 1.0)
    first = smsc.receive(esme.octets_to_send(), 1.0)[0]
    assert isinstance(first, Received)
    smsc.answer(first, Status.ROK, "1")
    esme.receive(smsc.octets_to_send(), 1.0)
    assert esme.room == 1


@pytest.mark.parametrize(
    ("kind", "esme_sends", "smsc_sends"),
    [
        (CommandId.BIND_TRANSMITTER, True, False),
        (CommandId.BIND_RECEIVER, False, True),
        (CommandId.BIND_TRANSCEIVER, True, True),
    ],
)
def test_who_may_send_in_which_bind(kind: CommandId, esme_sends: bool, smsc_sends: bool) -> None:
    esme, smsc = bound_pair(kind)
    assert (esme.may_send, smsc.may_send) == (esme_sends, smsc_sends)
    if not esme_sends:
        assert smsc.receive(Pdu(SUBMIT, 9).encode(), 1.0) == []  # whoever sends all the same is told so, and nothing is taken
        (nack,) = PduReader().feed(smsc.octets_to_send())
        assert nack == Pdu(Bare(CommandId.GENERIC_NACK), 9, Status.RINVBNDSTS)


def test_nothing_is_taken_before_the_bind() -> None:
    smsc = Session("smsc", SHORT, 0.0)
    assert smsc.receive(Pdu(SUBMIT, 1).encode(), 0.0) == []
    (nack,) = PduReader().feed(smsc.octets_to_send())
    assert isinstance(nack, Pdu)
    assert nack.status == Status.RINVBNDSTS


def test_a_bind_that_is_refused_ends_the_session() -> None:
    esme, smsc = Session("esme", SHORT, 0.0), Session("smsc", SHORT, 0.0)
    esme.bind(Bind(CommandId.BIND_TRANSCEIVER, "office", Password("wrong")), 0.0)
    (asked,) = smsc.receive(esme.octets_to_send(), 0.0)
    assert isinstance(asked, BindRequested)
    (closed,) = smsc.refuse_bind(asked, Status.RINVPASWD)
    assert isinstance(closed, Closed)
    (seen,) = esme.receive(smsc.octets_to_send(), 0.0)
    assert isinstance(seen, Closed)
    assert seen.refused_bind == Status.RINVPASWD


def test_a_lost_connection_hands_back_what_was_not_answered() -> None:
    esme, _smsc = bound_pair()
    esme.send(SUBMIT, "a", 1.0)
    esme.send(SUBMIT, "b", 1.0)
    (closed,) = esme.connection_lost("cut")
    assert isinstance(closed, Closed)
    assert closed.unanswered == ("a", "b")
    assert esme.connection_lost("again") == []


def test_timers() -> None:
    esme, smsc = bound_pair()
    assert esme.next_timer() == 10
    assert esme.handle_timer(9.9) == []
    esme.handle_timer(10.0)
    assert smsc.receive(esme.octets_to_send(), 10.0) == []  # enquire_link is answered by the session itself
    assert esme.receive(smsc.octets_to_send(), 10.1) == []
    esme.handle_timer(20.2)
    (closed,) = esme.handle_timer(25.3)  # nobody answers any more
    assert isinstance(closed, Closed)
    assert "enquire_link" in closed.reason


def test_a_request_without_answer_ends_the_session() -> None:
    esme, _smsc = bound_pair()
    esme.send(SUBMIT, "a", 1.0)
    assert esme.next_timer() == 6
    (closed,) = esme.handle_timer(6.0)
    assert isinstance(closed, Closed)
    assert closed.unanswered == ("a",)


def test_whoever_connects_and_does_not_bind_is_put_out() -> None:
    smsc = Session("smsc", SHORT, 0.0)
    (closed,) = smsc.handle_timer(sessions.SESSION_INIT_TIMEOUT_S)
    assert isinstance(closed, Closed)


def test_unbind_takes_the_answers_that_are_still_under_way() -> None:
    esme, smsc = bound_pair()
    esme.send(SUBMIT, "a", 1.0)
    esme.unbind(1.0)
    assert esme.room == 0
    received, closed = smsc.receive(esme.octets_to_send(), 1.0)
    assert isinstance(received, Received)
    assert isinstance(closed, Closed)
    answers = smsc.octets_to_send()
    assert esme.receive(Pdu(MessageResp(CommandId.SUBMIT_SM_RESP, "5"), 2).encode() + answers, 1.0)[0] == Answered("a", 0, "5")
    assert esme.state is State.CLOSED


def test_a_query_is_answered() -> None:
    esme, smsc = bound_pair()
    esme.query("77", Address("112"), "q", 1.0)
    (asked,) = smsc.receive(esme.octets_to_send(), 1.0)
    assert isinstance(asked, Queried)
    smsc.answer_query(asked, 2)
    assert esme.receive(smsc.octets_to_send(), 1.0) == [QueryAnswered("q", 2)]


def test_an_answer_that_nobody_awaits_is_nothing() -> None:
    esme, _smsc = bound_pair()
    esme.send(SUBMIT, "a", 1.0)
    assert esme.receive(Pdu(MessageResp(CommandId.SUBMIT_SM_RESP, "5"), 99).encode(), 1.0) == []
    assert esme.receive(Pdu(MessageResp(CommandId.DELIVER_SM_RESP, "5"), 2).encode(), 1.0) == []  # of another kind
    assert esme.receive(Pdu(Bare(CommandId.GENERIC_NACK), 2, Status.RSYSERR).encode(), 1.0) == [Answered("a", Status.RSYSERR, "")]


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["esme", "smsc"]), st.booleans(), st.lists(st.one_of(PDUS.map(Pdu.encode), st.binary(max_size=60)), max_size=8))
def test_no_octets_of_a_peer_break_a_session(role: str, bound: bool, chunks: list[bytes]) -> None:
    esme, smsc = bound_pair() if bound else (Session("esme", SHORT, 0.0), Session("smsc", SHORT, 0.0))
    session = esme if role == "esme" else smsc
    for chunk in chunks:
        for event in session.receive(chunk, 1.0):
            if isinstance(event, Received):
                session.answer(event, Status.ROK, "1")
            elif isinstance(event, BindRequested):
                session.refuse_bind(event, Status.RBINDFAIL)
        for said in PduReader().feed(session.octets_to_send()):
            assert isinstance(said, Pdu)
    session.handle_timer(1000.0)
