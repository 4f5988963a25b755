"""A sealed text from an office over our server and Debian's Kannel to a ship's modem, and its answer: octets that no one between reads."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.cell.couriers import keep_password
from tests.cell.kannel import free_ports, kannel, missing, server_file
from tests.control.house import Houses
from tests.device.world import enrolled, online, stored, until
from tramontana.cell.small_text import decode_text, encode_text
from tramontana.control.operators import OperatorsFileError, parse_operators
from tramontana.device.device import Device
from tramontana.device.requests import Refusal
from tramontana.device.store import MemoryStore
from tramontana.keys.sealed_text import Seen

pytestmark = pytest.mark.anyio
SHIP = "+881612345678"
ORDER, ANSWER = "Rotta per Lampedusa, 40 persone a bordo.", "Ricevuto. Arrivo alle 18:40."
SEALED = """
[sealed]
prefix = "43200"
"""


def containing(folder: Path, words: tuple[str, ...]) -> list[Path]:
    """Files of server, gateway and ship in which one of these can be read."""
    files = [file for file in folder.rglob("*") if file.is_file()]
    assert len(files) > 3
    return [file for file in files if any(each.encode() in file.read_bytes() for each in words)]


@pytest.mark.system
async def test_an_office_writes_to_a_ship_over_kannel_and_gets_an_answer(houses: Houses, tmp_path: Path) -> None:
    if reason := missing():
        pytest.skip(reason)
    keep_password(tmp_path)
    (port,) = free_ports(1)
    operators = await asyncio.to_thread(parse_operators, server_file(port, {"kannel": "+8816"}) + SEALED, tmp_path)
    async with houses(operators=operators) as house, kannel(tmp_path, port) as gateway:
        office_store, ship_store = MemoryStore(), stored(tmp_path, "ship")
        office_person, ship_person = await enrolled(house, office_store, "Office"), await enrolled(house, ship_store, "Ship")
        async with online(office_store, office_person, on_sealed=lambda at: None) as office:
            async with online(ship_store, ship_person) as ship:
                await office.write(ship, "1" * 32, "in harbour")
                await until(lambda: office.receipts() == ["1" * 32])
            number = await office.online.ask(office.device.claim_number())
            assert number == await office.online.ask(office.device.claim_number()) == "43200000"
            await until(lambda: house.services.texts.bound().get("kannel") == "bound")
            at_sea = Device(ship_store)  # from here on the ship has its modem alone
            now = office.online.now()
            leaving = office.device.seal_text(at_sea.enrolment.account_id, encode_text(ORDER), now, number=SHIP)
            with pytest.raises(Refusal, match="precedence"):
                await office.online.ask(office.device.hand_over(leaving, "flash"))
            text_id = await office.online.ask(office.device.hand_over(leaving, "routine"))
            assert text_id == await office.online.ask(office.device.hand_over(leaving, "routine"))  # an answer that was lost
            await gateway.until(lambda: any(path == "/incoming" for path, _ in gateway.calls))
            assert gateway.octets == [leaving.datagram]
            assert gateway.calls[0][1]["to"] == SHIP
            assert decode_text(at_sea.open_text(gateway.octets[0], now).plaintext) == ORDER
            answer = at_sea.seal_text(office.account_id, encode_text(ANSWER), now)
            for _ in range(2):  # over such a link it comes twice
                await gateway.send_octets(SHIP, number, answer.datagram)
            await until(lambda: [decode_text(each.plaintext) for each in office.device.sealed.arrived()] == [ANSWER])
            await until(lambda: any("seen before" in sentence for sentence in office.refused))
            with pytest.raises(Seen):
                at_sea.open_text(gateway.octets[0], now)
            listed = await house.http.get("/api/v1/me/sealed-texts", headers={"Authorization": f"Bearer {office.online._token}"})
            assert listed.json() == []
    assert not await asyncio.to_thread(containing, tmp_path, (ORDER, ANSWER))


def test_a_wrong_range_of_numbers_says_what_to_write(tmp_path: Path) -> None:
    keep_password(tmp_path)
    assert parse_operators('[sealed]\nprefix = "432"\ndigits = 1', tmp_path).sealed_numbers[9] == "4329"
    for table in ('prefix = "abc"', 'prefix = "432"\ndigits = 9'):
        with pytest.raises(OperatorsFileError, match=r"\[sealed\]"):
            parse_operators(f"[sealed]\n{table}", tmp_path)
