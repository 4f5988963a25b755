"""Texts where something fails: a text that cannot be handled, a store that does not answer, a port that is taken; on a real store."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from tests.cell.couriers import MemoryCourier
from tramontana.cell.beam_time import Rank
from tramontana.cell.forwarding import Route
from tramontana.cell.position import find_position
from tramontana.cell.smpp.driver import Centre, EsmeLink, Outgoing, Peer, SmscServer
from tramontana.cell.smpp.pdu import Address, Bind, CommandId, Message, MessageState, Password, Status
from tramontana.cell.smpp.receipt import parse_receipt
from tramontana.cell.smpp.session import Answered, Event, Session, Settings, State
from tramontana.control import sos as sos_service
from tramontana.control import texts as texts_service
from tramontana.control.operators import CentreRules, Operators
from tramontana.control.sos import Sos
from tramontana.control.store import sos
from tramontana.control.store.database import Store, StoreUnavailable
from tramontana.control.store.schema import audit as audit_table
from tramontana.control.store.schema import incoming_messages, incoming_texts, outgoing_messages, outgoing_texts, sos_entries
from tramontana.control.texts import HANDLED_AT_ONCE, HANDLED_WHOLE, Texts
from tramontana.errors import LocalError

pytestmark = pytest.mark.anyio
OPERATORS = Operators(
    centres=(CentreRules(Centre("operator", "127.0.0.1", 1, "office", Password("secret"))),),
    routes=(Route("+39", "operator"), Route("43200", "peer")),
    peers=(Peer("peer", Password("secret")),),
    emergency_numbers=("112",),
)


class Clock:
    now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def books(tmp_path: Path, operators: Operators = OPERATORS) -> AsyncIterator[tuple[Store, Texts, Clock]]:
    store, clock = await Store.open(tmp_path), Clock()
    try:
        yield store, Texts(store, operators, clock), clock
    finally:
        await store.close()


def of_phone(body: str, number: int = 0, **more: Any) -> Message:
    return Message(CommandId.DELIVER_SM, Address.of(f"+39333{number:07d}"), Address.of("112"), body.encode(), **more)


async def actions(store: Store) -> list[str]:
    async with store.read() as connection:
        return list((await connection.execute(select(audit_table.c.action))).scalars())


async def test_texts_that_cannot_be_handled_hold_up_no_other_and_become_cases_unread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    def find(text: str, places: Any) -> Any:
        if text.startswith("poison"):
            raise ValueError(text)
        return find_position(text, places)

    monkeypatch.setattr(sos_service, "find_position", find)
    async with books(tmp_path) as (store, texts, clock):
        texts.on_sos = Sos(store, texts, clock).handle_text
        bad = [of_phone(f"poison {number}", number) for number in range(HANDLED_AT_ONCE)]
        await texts.received("operator", "s", bad)
        clock.now += 1
        await texts.received("operator", "s", [of_phone("aiuto", 999)])
        await texts._hand_on()
        await texts._hand_on()
        async with store.read() as connection:
            assert [each.case.last_text for each in (await sos.listed(connection, closed=False))[0]] == ["aiuto"]
        for _ in range(HANDLED_WHOLE):
            clock.now += 60
            await texts._hand_on()
        async with store.read() as connection:
            cases, _ = await sos.listed(connection, closed=False)
            left = (await connection.execute(select(incoming_texts).where(incoming_texts.c.handled_at.is_(None)))).all()
            told = list((await connection.execute(select(sos_entries.c.body).where(sos_entries.c.kind == "text"))).scalars())
        assert left == []
        assert {each.case.last_text for each in cases} == {"aiuto"} | {f"poison {number}" for number in range(HANDLED_AT_ONCE)}
        assert {each.case.state for each in cases if each.case.last_text != "aiuto"} == {"waiting"}
        assert len(told) == len(bad) + 1
        assert (await actions(store)).count("sos.unread") == len(bad)


async def test_a_case_that_cannot_be_answered_is_opened_all_the_same(tmp_path: Path) -> None:
    async with books(tmp_path) as (store, texts, clock):
        texts.on_sos = Sos(store, texts, clock).handle_text
        message = Message(CommandId.DELIVER_SM, Address("12345678901234567890"), Address.of("112"), b"aiuto")
        await texts.received("operator", "s", [message])

        async def too_long(*_: Any, **__: Any) -> Any:
            raise LocalError("the address has 24 octets, 20 fit: shorten it")

        texts.put = too_long  # type: ignore[method-assign]
        await texts._hand_on()
        async with store.read() as connection:
            ((case,), _) = await sos.listed(connection, closed=False)
            bodies = list((await connection.execute(select(sos_entries.c.body))).scalars())
        assert case.case.last_text == "aiuto"
        assert "cannot be answered: the address has 24 octets, 20 fit: shorten it" in bodies


async def state_of_all(store: Store) -> list[str]:
    async with store.read() as connection:
        return list((await connection.execute(select(outgoing_messages.c.state))).scalars())


@pytest.mark.parametrize(("fails", "then"), [("take", "queued"), ("answered", "unknown"), ("unanswered", "unknown")])
async def test_what_could_not_be_booked_is_booked_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str, then: str) -> None:
    """A message never stays `sending` when no session has it any more."""
    async with books(tmp_path) as (store, texts, _):
        async with store.write() as connection:
            await texts.put(connection, origin="test", destination="+39333", body="ciao", rank=Rank.ROUTINE)
        await texts._fill()
        usual, broken = store.write, True

        @asynccontextmanager
        async def write() -> AsyncIterator[Any]:
            if broken and fails != "take":
                raise StoreUnavailable("disk full")
            async with usual() as connection:
                yield connection
            if broken:  # the worst case: it was written, and nobody heard
                raise StoreUnavailable("restarting")

        if fails == "take":
            monkeypatch.setattr(store, "write", write)
            with pytest.raises(StoreUnavailable):
                await texts.take("operator", 1)
        else:
            (outgoing,) = await texts.take("operator", 1)
            monkeypatch.setattr(store, "write", write)
            told = [Answered(outgoing.key, 0, "1")]
            with pytest.raises(StoreUnavailable):
                await (texts.answered("operator", told) if fails == "answered" else texts.unanswered("operator", [outgoing.key]))
        broken = False
        assert await state_of_all(store) == ["sending"]
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            delivering = group.create_task(texts._deliver())
            while await state_of_all(store) != [then]:  # noqa: ASYNC110 - what is waited for stands in the store
                await asyncio.sleep(0.02)
            delivering.cancel()
            await asyncio.wait([delivering], timeout=30)


class BrokenBooks(MemoryCourier):
    async def unanswered(self, link: str, keys: Any) -> None:
        self.lost += keys
        raise StoreUnavailable("disk full")


class SilentCentre(MemoryCourier):
    silence: asyncio.Event

    async def received(self, link: str, session: str, messages: Any) -> Any:
        self.messages += messages
        self.news.set()
        await self.silence.wait()
        return [(Status.ROK, "1") for _ in messages]


async def test_a_session_whose_books_fail_closes_its_connection() -> None:
    there, here = SilentCentre(), BrokenBooks()
    there.silence = asyncio.Event()
    here.queue.append(Outgoing("one", Message(CommandId.SUBMIT_SM, Address.of("1"), Address.of("2"), b"ciao")))
    ready: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    server = SmscServer("OPERATOR", [Peer("office", Password("secret"))], there)
    async with asyncio.TaskGroup() as group:
        serving = group.create_task(server.run("127.0.0.1", 0, ready.set_result))
        link = EsmeLink(Centre("operator", "127.0.0.1", await ready, "office", Password("secret")), here)
        running = asyncio.ensure_future(link.run())
        await there.until(lambda: bool(there.messages))
        running.cancel()
        await asyncio.wait([running], timeout=30)
        assert here.lost == ["one"]
        there.silence.set()
        async with asyncio.timeout(60):
            while server.bound():  # noqa: ASYNC110 - the server has no event for it
                await asyncio.sleep(0.01)
        serving.cancel()
        await asyncio.wait([serving], timeout=30)


async def test_a_taken_port_and_a_store_that_rests_do_not_end_the_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts_service, "LISTEN_AGAIN_S", 0.05, raising=False)
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        async with books(tmp_path, Operators(listen=("127.0.0.1", port), peers=OPERATORS.peers)) as (store, texts, _):
            faults = ["once"]
            usual = store.leads

            async def leads() -> bool:
                if faults:
                    faults.clear()
                    raise StoreUnavailable("restarting")
                return await usual()

            monkeypatch.setattr(store, "leads", leads)
            failed, listening = asyncio.Event(), asyncio.Event()
            start = asyncio.start_server

            async def start_server(*arguments: Any, **more: Any) -> Any:
                try:
                    return await start(*arguments, **more)
                except OSError:
                    failed.set()
                    raise

            monkeypatch.setattr(asyncio, "start_server", start_server)
            texts.on_listening = lambda port: listening.set()
            running = asyncio.create_task(texts.run())
            async with asyncio.timeout(60):
                await failed.wait()
                holder.close()
                await listening.wait()
            assert not running.done()
            running.cancel()
            await asyncio.wait([running], timeout=30)


def of_peer(body: bytes, **more: Any) -> Message:
    return Message(CommandId.SUBMIT_SM, Address.of("43200"), Address.of("+39333"), body, **more)


async def test_priority_is_that_of_the_text_whether_a_receipt_is_wanted_or_not(tmp_path: Path) -> None:
    async with books(tmp_path) as (store, texts, _):
        await texts.received("peer", "s", [of_peer(b"subito", priority_flag=2)])
        await texts._hand_on()
        async with store.read() as connection:
            assert (await connection.execute(select(outgoing_texts.c.rank))).scalar() == int(Rank.IMMEDIATE)


async def test_what_cannot_go_on_is_rejected_with_a_receipt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tramontana.cell.short_message.MAX_PARTS", 0)
    async with books(tmp_path) as (store, texts, _):
        ((status, message_id),) = await texts.received("peer", "s", [of_peer(b"a" * 170, registered_delivery=1)])
        assert status == Status.ROK
        await texts._hand_on()
        assert await texts.state_of("peer", message_id) == MessageState.REJECTED
        await texts._fill()
        (outgoing,) = await texts.take("peer", 9)
        receipt = parse_receipt(outgoing.message)
        assert receipt is not None
        assert (receipt.message_id, receipt.state) == (message_id, MessageState.REJECTED)
        assert "text.undeliverable" in await actions(store)


async def test_a_binary_message_is_refused_and_an_emergency_takes_it(tmp_path: Path) -> None:
    async with books(tmp_path) as (store, texts, _):
        for coding in (2, 4, 0xF5):
            assert await texts.received("peer", "s", [of_peer(b"\x00\x01\xff", data_coding=coding)]) == [(Status.RINVDCS, "")]
        assert (await actions(store)).count("text.refused") == 3
        kept = Message(CommandId.SUBMIT_SM, Address.of("43200"), Address.of("112"), b"\x00\x01", data_coding=4)
        assert (await texts.received("peer", "s", [kept]))[0][0] == Status.ROK
        text = Message(CommandId.SUBMIT_SM, Address.of("43200"), Address.of("+39333"), "è".encode("utf-16-be"), data_coding=8)
        assert (await texts.received("peer", "s", [text]))[0][0] == Status.ROK


PHONE_SAYS = Message(CommandId.DELIVER_SM, Address.of("+393331234567"), Address.of("112"), b"siamo in sette")


async def said(store: Store) -> list[tuple[str, int]]:
    """Who is in need says it once: the bodies that came, each with its repetitions."""
    query = select(incoming_texts.c.body, incoming_messages.c.repeats).join_from(
        incoming_messages, incoming_texts, incoming_messages.c.text_id == incoming_texts.c.text_id
    )
    async with store.read() as connection:
        return [tuple(row) for row in (await connection.execute(query)).all()]


async def bound(port: int) -> tuple[Session, asyncio.StreamReader, asyncio.StreamWriter]:
    """A peer that has bound by hand, and reads and writes only when the test does."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    session = Session("esme", Settings(), 0.0)
    session.bind(Bind(CommandId.BIND_TRANSCEIVER, "agency", Password("secret")), 0.0)
    writer.write(session.octets_to_send())
    while session.state is not State.BOUND_TRX:
        session.receive(await reader.read(4096), 0.0)
    return session, reader, writer


async def test_a_peer_that_did_not_hear_our_answer_sends_again_over_a_new_session_while_the_old_one_seems_to_stand(tmp_path: Path) -> None:
    message = Message(CommandId.SUBMIT_SM, Address.of("43200"), Address.of("112"), b"siamo in sette")
    listening: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    operators = replace(OPERATORS, centres=(), routes=(), listen=("127.0.0.1", 0), peers=(Peer("agency", Password("secret")),))
    async with books(tmp_path, operators) as (store, texts, _):
        texts.on_listening = listening.set_result
        running = asyncio.create_task(texts.run())
        async with asyncio.timeout(60):
            port = await listening
            half_open, _, its_writer = await bound(port)
            half_open.send(message, "one", 0.0)
            its_writer.write(half_open.octets_to_send())
            while not await said(store):  # noqa: ASYNC110 - taken and answered, and this peer never reads it
                await asyncio.sleep(0.01)
            session, reader, writer = await bound(port)
            assert texts.bound() == {"agency": "bound"}
            assert len(texts._server._wakes["agency"]) == 2  # type: ignore[union-attr]
            for key in ("again", "once more"):
                session.send(message, key, 0.0)
                writer.write(session.octets_to_send())
                answers = list[Event]()
                while not any(isinstance(event, Answered) for event in answers):
                    answers += session.receive(await reader.read(4096), 0.0)
            while len(await said(store)) < 2:  # noqa: ASYNC110 - the books have no event
                await asyncio.sleep(0.01)
        # The repetition is the first one; the same octets once more over one session are somebody who writes twice.
        assert sorted(await said(store)) == [("siamo in sette", 0), ("siamo in sette", 1)]
        for each in (its_writer, writer):
            each.close()
        running.cancel()
        await asyncio.wait([running], timeout=30)


async def test_who_has_our_answer_and_writes_the_same_over_another_session_has_written_twice(tmp_path: Path) -> None:
    async with books(tmp_path) as (_, texts, _):
        ((_, message_id),) = await texts.received("operator", "one", [PHONE_SAYS])
        assert (await texts.received("operator", "two", [PHONE_SAYS])) == [(Status.ROK, message_id)]
        texts.heard("operator", [message_id])
        ((_, other),) = await texts.received("operator", "three", [PHONE_SAYS])
        assert other != message_id
