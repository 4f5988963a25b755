"""SOS through the whole server: an operator's centre, cases, the dialogue of two workplaces, texts from the console; on both databases."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select, update

from tests.cell.couriers import CENTRE, OFFICE, MemoryCourier, keep_password
from tests.control.house import House, Houses, Phone
from tramontana.cell.beam_time import Rank
from tramontana.cell.short_message import join, read
from tramontana.cell.silence import Silence
from tramontana.cell.smpp.driver import Outgoing, SmscServer
from tramontana.cell.smpp.pdu import Address, CommandId, Message
from tramontana.cell.sos_case import open_case
from tramontana.cell.sos_words import PHRASES
from tramontana.control.app import forget_old, forget_texts
from tramontana.control.operators import Operators, OperatorsFileError, parse_operators
from tramontana.control.store import sos
from tramontana.control.store.schema import incoming_messages, outgoing_messages
from tramontana.control.tak_file import TakServers

pytestmark = pytest.mark.anyio
PHONE = "+393331234567"
FILE = (
    CENTRE
    + """prefixes = ["+39"]

[sos]
numbers = ["112"]
places = "places.csv"
"""
)


class Operator(MemoryCourier):
    server: SmscServer

    async def received(self, link: str, session: str, messages: Sequence[Message]) -> Sequence[tuple[int, str]]:
        self.messages += messages
        self.news.set()
        return [(0, f"{len(self.messages)}-{number}") for number in range(len(messages))]

    def phone_texts(self, body: str, phone: str = PHONE) -> None:
        message = Message(CommandId.DELIVER_SM, Address.of(phone), Address.of("112"), body.encode())
        self.queue.append(Outgoing(f"{len(self.sent) + len(self.queue)}", message))
        self.server.wake("office")

    def texts(self) -> list[str]:
        return [join([read(message)]) for message in self.messages]


@asynccontextmanager
async def room(houses: Houses, tmp_path: Path, tak: TakServers | None = None) -> AsyncIterator[tuple[House, Operator, dict[str, str]]]:
    operator = Operator()
    operator.server = SmscServer("OPERATOR", [OFFICE], operator)
    ready: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    async with asyncio.TaskGroup() as group:
        serving = group.create_task(operator.server.run("127.0.0.1", 0, ready.set_result))
        operators = await asyncio.to_thread(written, tmp_path, await ready)
        async with houses(operators=operators, tak=tak or TakServers()) as house:
            yield house, operator, await house.administrator()
        serving.cancel()
        await asyncio.wait([serving], timeout=30)


def written(folder: Path, port: int) -> Operators:
    keep_password(folder)
    (folder / "places.csv").write_text("comune,lat,lon,provincia\nAmatrice,42.63,13.29,RI\n")
    return parse_operators(FILE.format(port=port), folder)


async def case_of(house: House, headers: dict[str, str]) -> dict[str, Any]:
    page = (await house.http.get("/api/v1/sos/cases", headers=headers)).json()
    assert len(page["cases"]) == 1
    found: dict[str, Any] = page["cases"][0]
    return found


async def test_nothing_is_sent_to_a_telephone_whose_unit_must_not_emit(houses: Houses, tmp_path: Path) -> None:
    silence = Silence.of(frozenset({"Falco 1"}), frozenset({PHONE}))
    async with room(houses, tmp_path, TakServers(silence=silence)) as (house, operator, headers):
        operator.phone_texts("aiuto siamo ad Amatrice")
        operator.phone_texts("aiuto", "+393330000002")
        await operator.until(lambda: len(operator.messages) == 2)  # the receipt and the question to the other one
        cases = (await house.http.get("/api/v1/sos/cases", headers=headers)).json()["cases"]
        mine = next(each for each in cases if each["phone"] == PHONE)
        assert mine["position"]["name"] == "Amatrice (RI)"  # heard it is
        address = f"/api/v1/sos/cases/{mine['case_id']}"
        taken = await house.http.post(f"{address}/take", headers=headers, json={"desk": "Sala 1"})
        assert taken.status_code == 200
        refused = await house.http.post(f"{address}/answer", headers=headers, json={"desk": "Sala 1", "body": "arriviamo"})
        assert (refused.status_code, refused.json()["code"]) == (409, "must_not_emit")
        closed = await house.http.post(f"{address}/close", headers=headers, json={"desk": "Sala 1", "because": "salvati", "tell": True})
        assert closed.status_code == 200
        shown = (await house.http.get(address, headers=headers)).json()
        assert "nothing was sent: the unit must not emit" in [entry["body"] for entry in shown["entries"]]
        assert not [entry for entry in shown["entries"] if entry["kind"] == "answer"]
        assert {message.destination.text for message in operator.messages} == {"393330000002"}


@pytest.fixture
def each_database(stored_houses: Houses) -> Houses:
    return stored_houses


async def test_a_text_opens_a_case_and_two_workplaces_carry_it(each_database: Houses, tmp_path: Path) -> None:
    async with room(each_database, tmp_path) as (house, operator, headers):
        operator.phone_texts("aiuto siamo sotto le macerie ad Amatrice")
        await operator.until(lambda: len(operator.messages) == 2)
        case = await case_of(house, headers)
        assert operator.texts()[0] == PHRASES["received"]["it"].format(number=case["number"])
        assert operator.texts()[1] == PHRASES["ask position"]["it"]
        assert all(message.priority_flag == 3 for message in operator.messages)
        assert (case["state"], case["position"]["name"], case["phone"]) == ("asking", "Amatrice (RI)", PHONE)
        address = f"/api/v1/sos/cases/{case['case_id']}"

        async def act(action: str, wanted: int = 200, **body: object) -> dict[str, Any]:
            answer = await house.http.post(f"{address}/{action}", headers=headers, json=body)
            assert answer.status_code == wanted, answer.text
            found: dict[str, Any] = answer.json()
            return found

        refused = await act("answer", 409, desk="Sala 1", body="arriviamo")
        assert refused["code"] == "case_elsewhere"
        taken = await act("take", desk="Sala 1", version=case["version"])
        stale = await act("answer", 409, desk="Sala 1", body="arriviamo", version=case["version"])
        assert "load it again" in stale["detail"]
        await act("answer", desk="Sala 1", body="arriviamo, quanti siete?", version=taken["version"])
        await operator.until(lambda: operator.texts()[-1] == "arriviamo, quanti siete?")
        await act("offer", desk="Sala 1", to="Sala 2")
        await act("take", 409, desk="Sala 3")
        await act("take", desk="Sala 2")
        await act("position", desk="Sala 2", latitude=42.6281, longitude=13.2924)
        cot = await house.http.get(f"{address}/export?form=cot", headers=headers)
        assert b'lat="42.628100"' in cot.content
        cap = await house.http.get(f"{address}/export?form=cap", headers=headers)
        assert b"<circle>42.628100,13.292400 0.050</circle>" in cap.content
        await act("close", desk="Sala 2", because="salvati", tell=False)
        shown = (await house.http.get(address, headers=headers)).json()
        assert [entry["kind"] for entry in shown["entries"]][:4] == ["text", "position", "answer", "answer"]
        said = [entry for entry in shown["entries"] if entry["author"] == "Sala 1" and entry["kind"] == "answer"]
        assert said[0]["messages"] == ["accepted"]
        assert (await house.http.get("/api/v1/sos/cases", headers=headers)).json()["cases"] == []
        trail = (await house.http.get("/api/v1/admin/audit", headers=headers)).json()
        assert trail["intact"]
        actions = [entry["action"] for entry in trail["entries"]]
        for action in ("sos.opened", "sos.taken", "sos.answered", "sos.offered", "sos.located", "sos.exported", "sos.closed"):
            assert action in actions
        assert "arriviamo" not in str(trail)  # the trail holds who and when, never content
        await forget_old(house.services.store, house.clock())


async def test_an_open_question_is_asked_again(houses: Houses, tmp_path: Path) -> None:
    async with room(houses, tmp_path) as (house, operator, headers):
        operator.phone_texts("help we are trapped")
        await operator.until(lambda: len(operator.messages) == 2)
        house.clock.advance(301)
        await operator.until(lambda: len(operator.messages) == 3)
        assert operator.texts()[2] == operator.texts()[1] == PHRASES["ask position"]["en"]
        assert (await case_of(house, headers))["language"] == "en"


async def test_a_text_from_the_console_is_kept_sent_once_and_shown(houses: Houses, tmp_path: Path) -> None:
    async with room(houses, tmp_path) as (house, operator, headers):
        body = {"destination": PHONE, "body": "Il campo è a Sommati.", "precedence": "flash", "request_id": "a"}
        first = await house.http.post("/api/v1/texts", headers=headers, json=body)
        again = await house.http.post("/api/v1/texts", headers=headers, json=body)
        assert first.status_code == again.status_code == 201
        assert first.json()["text_id"] == again.json()["text_id"]
        await operator.until(lambda: bool(operator.messages))
        assert operator.texts() == ["Il campo è a Sommati."]
        lost = await house.http.post("/api/v1/texts", headers=headers, json=body | {"destination": "+4411", "request_id": "b"})
        assert (lost.status_code, lost.json()["code"]) == (409, "no_route")
        long = await house.http.post("/api/v1/texts", headers=headers, json=body | {"body": "ș" * 1500, "request_id": "c"})
        assert (long.status_code, long.json()["code"]) == (409, "text_too_long")
        settled = await house.http.post(f"/api/v1/texts/{first.json()['text_id']}/again", headers=headers)
        assert settled.json()["code"] == "text_settled"
        async with asyncio.timeout(30):
            while True:
                page = (await house.http.get("/api/v1/texts", headers=headers)).json()
                if page["texts"][0]["state"] == "accepted":
                    break
                await asyncio.sleep(0.05)
        shown = (await house.http.get("/api/v1/texts/links", headers=headers)).json()
        assert [(link["name"], link["state"]) for link in shown["links"]] == [("operator", "bound")]
        assert (page["texts"][0]["rank"], len(page["texts"])) == ("flash", 1)


async def test_strangers_and_phones_see_no_case(houses: Houses, tmp_path: Path) -> None:
    async with room(houses, tmp_path) as (house, _operator, _headers):
        ada = await house.phone("Ada")
        assert (await house.http.get("/api/v1/sos/cases")).status_code == 401
        refused = await ada.get("/sos/cases")
        assert (refused.status_code, refused.json()["code"]) == (403, "not_operator")
        assert (await ada.get("/texts")).status_code == 401


async def person(house: House, name: str) -> Phone:
    """An operator: a certified device with the role."""
    phone = Phone(house, name)
    await phone.enrol(await house.invitation())
    await house.custodians.certify(house, phone, roles=("member", "operator"))
    await phone.login()
    return phone


async def test_operators_are_persons_whom_nobody_else_can_act_for(houses: Houses, tmp_path: Path) -> None:
    async with room(houses, tmp_path) as (house, operator, headers):
        ada, bea = await person(house, "Ada"), await person(house, "Bea")
        operator.phone_texts("aiuto")
        await operator.until(lambda: len(operator.messages) == 2)
        labels = {each["display_name"]: each["label"] for each in (await ada.get("/sos/operators")).json()}
        assert set(labels) == {"Ada", "Bea"}
        case = (await ada.get("/sos/cases")).json()["cases"][0]
        address = f"/sos/cases/{case['case_id']}"
        assert (await ada.post(f"{address}/take", {})).json()["operator"] == labels["Ada"]
        assert (await bea.post(f"{address}/answer", {"body": "x"})).json()["code"] == "case_elsewhere"
        assert (await bea.post(f"{address}/take", {"desk": labels["Ada"]})).json()["code"] == "desk_needed"
        hers = labels["Ada"]  # the console's session is nobody, and cannot pass for her
        for desk in (hers, hers.upper(), f"{hers}\u200b", hers.replace("(", "\uff08"), None):
            body = {"body": "x"} | ({"desk": desk} if desk else {})
            refused = await house.http.post(f"/api/v1{address}/answer", headers=headers, json=body)
            assert refused.json()["code"] == "desk_needed"
        await ada.post(f"{address}/offer", {"to": labels["Bea"]})
        assert (await bea.post(f"{address}/take", {})).json()["operator"] == labels["Bea"]
        assert (await bea.post(f"{address}/close", {"because": "trovati", "tell": False})).status_code == 200
        trail = (await house.http.get("/api/v1/admin/audit", headers=headers)).json()["entries"]
        by = {entry["action"]: entry["actor"] for entry in trail if entry["action"].startswith("sos.")}
        assert by["sos.offered"] == f"device {ada.device_id}"
        assert by["sos.closed"] == f"device {bea.device_id}"


async def test_who_waits_longest_is_on_the_first_page_whatever_comes_after(houses: Houses) -> None:
    async with houses() as house:
        headers, now = await house.administrator(), house.clock()
        states = ["in care", "waiting", "closed", "asking", "waiting", "closed", "waiting"]
        async with house.store.write() as connection:
            for number, state in enumerate(states, 1):
                opened = replace(open_case(number, f"+39{number}", now - 1000 + number), state=state, updated_at=now - number)  # type: ignore[arg-type]
                await sos.add(connection, opened)
        seen: list[int] = []
        after = ""
        while True:
            address = f"/api/v1/sos/cases?closed=true&most=2&after={after}"
            page = (await house.http.get(address, headers=headers)).json()
            seen += [case["number"] for case in page["cases"]]
            if page["next"] is None:
                break
            after = page["next"]
        assert seen == [2, 5, 7, 4, 1, 6, 3]
        assert page["counts"] == {"in care": 1, "waiting": 3, "closed": 2, "asking": 1}
        assert (await house.http.get("/api/v1/sos/cases?after=9,x", headers=headers)).status_code == 422


async def test_texts_and_cases_are_kept_as_long_as_the_organisation_says(
    houses: Houses, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tramontana.control.app.FORGET_AT_ONCE", 2)
    async with room(houses, tmp_path) as (house, operator, headers):
        for number in range(3):
            operator.phone_texts("aiuto", f"+39333000000{number}")
        await operator.until(lambda: len(operator.messages) == 6)
        async with house.store.write() as connection:
            # One whose fate nobody knows stays until a person has decided.
            unknown = await house.services.texts.put(connection, origin="test", destination=PHONE, body="x", rank=Rank.ROUTINE)
            await connection.execute(
                update(outgoing_messages).where(outgoing_messages.c.text_id == unknown.text_id).values(state="unknown")
            )
        cases = (await house.http.get("/api/v1/sos/cases", headers=headers)).json()["cases"]
        for case in cases[:2]:
            for action, more in (("take", {}), ("close", {"because": "trovati", "tell": False})):
                body = {"desk": "Sala 1"} | more
                assert (
                    await house.http.post(f"/api/v1/sos/cases/{case['case_id']}/{action}", headers=headers, json=body)
                ).status_code == 200
        day_s = 86_400.0
        await forget_texts(house.store, house.clock() + 89 * day_s)
        assert len((await house.http.get("/api/v1/texts", headers=headers)).json()["texts"]) == 7
        await forget_texts(house.store, house.clock() + 91 * day_s)
        left = (await house.http.get("/api/v1/texts", headers=headers)).json()["texts"]
        assert [text["text_id"] for text in left] == [unknown.text_id]
        async with house.store.read() as connection:
            assert (await connection.execute(select(func.count()).select_from(incoming_messages))).scalar() == 0
        assert len((await house.http.get("/api/v1/sos/cases?closed=true", headers=headers)).json()["cases"]) == 3
        await forget_texts(house.store, house.clock() + 366 * day_s)
        (open_one,) = (await house.http.get("/api/v1/sos/cases?closed=true", headers=headers)).json()["cases"]
        assert open_one["case_id"] == cases[2]["case_id"]
        trail = (await house.http.get("/api/v1/admin/audit", headers=headers)).json()["entries"]
        told = [entry for entry in trail if entry["action"].endswith(".forgotten")]
        assert sorted(entry["action"] for entry in told) == ["cases.forgotten", "texts.forgotten"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ('system_id = "office"', "centre 'operator': 'system_id' is missing"),
        ('password_file = "password"', "'password_file' is missing"),
    ],
)
def test_a_file_that_lacks_something_says_what(tmp_path: Path, change: str, says: str) -> None:
    written(tmp_path, 2775)
    with pytest.raises(OperatorsFileError, match=says):
        parse_operators(FILE.format(port=2775).replace(change, ""), tmp_path)


def with_beam(beam: str) -> str:
    return FILE.format(port=2775).replace("prefixes", f"beam = {{ {beam} }}\nprefixes")


def test_what_a_beam_carries_comes_from_the_link_budget(tmp_path: Path) -> None:
    keep_password(tmp_path)
    high, low = (
        parse_operators(with_beam(f'bandwidth = "1.4 MHz", elevation_deg = {elevation}'), tmp_path).centres[0].beam_messages_per_s
        for elevation in (50, 30)
    )
    assert high is not None
    assert low is not None
    assert round(high, 6) == 20
    assert 0 < low < 20


def test_other_faults_of_the_file(tmp_path: Path) -> None:
    written(tmp_path, 2775)
    good = FILE.format(port=2775)
    for wrong, says in (
        (good.replace("port =", "prot ="), "nobody knows 'prot'"),
        (good.replace('"+39"', '"39x"'), "beginnings of numbers"),
        (good + "\n[sos", "not TOML"),
        (good.replace('["112"]', "[112]"), "numbers in quotes"),
        (good.replace('name = "operator"', 'name = "Operator One"'), "lower-case"),
        (with_beam('bandwidth = "1.4 MHz", elevation_deg = 12'), "12° cannot be planned"),
        (with_beam('bandwidth = "5 MHz", elevation_deg = 90, indoors = true'), "phones there decode nothing"),
        (with_beam('bandwidth = "3 MHz", elevation_deg = 90'), "'bandwidth' must be one of 5 MHz, 1.4 MHz"),
        (
            with_beam('bandwidth = "5 MHz", elevation_deg = 90').replace("beam =", "beam_messages_per_s = 2\nbeam ="),
            "remove one of the two",
        ),
    ):
        with pytest.raises(OperatorsFileError, match=says):
            parse_operators(wrong, tmp_path)
    (tmp_path / "password").chmod(0o644)
    with pytest.raises(OperatorsFileError, match="chmod 600"):
        parse_operators(good, tmp_path)
