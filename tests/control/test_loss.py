"""The alarm of a phone that was opened under duress."""

from __future__ import annotations

import hashlib
import secrets
from base64 import b64decode
from typing import Any

import pytest

from tests.control.custodians import Desk
from tests.control.house import House, Houses, Phone, b64
from tramontana.keys.certificate import UnverifiedRevocation
from tramontana.keys.identity import ZEROISED_CONTEXT, encode_statement

pytestmark = pytest.mark.anyio


async def alarms(house: House) -> list[dict[str, Any]]:
    entries = (await house.http.get("/api/v1/admin/audit?after=0", headers=await house.administrator())).json()["entries"]
    return [entry for entry in entries if entry["action"] == "device.duress"]


async def armed(house: House) -> tuple[Phone, bytes]:
    phone, secret = await house.phone("Ada"), secrets.token_bytes(32)
    assert (await phone.put("/me/duress", {"secret_sha256": b64(hashlib.sha256(secret).digest())})).status_code == 204
    return phone, secret


async def test_the_alarm_is_recorded_with_the_device_and_not_at_every_repetition(houses: Houses) -> None:
    async with houses() as house:
        phone, secret = await armed(house)
        for _ in range(3):
            assert (await house.http.post("/api/v1/presence", json={"secret": b64(secret)})).status_code == 204
        found = await alarms(house)
        assert [(entry["actor"], entry["subject"]) for entry in found] == [(f"device {phone.device_id}", f"account {phone.account_id}")]
        house.clock.advance(601)
        await house.http.post("/api/v1/presence", json={"secret": b64(secret)})
        assert len(await alarms(house)) == 2


async def test_custodians_and_the_console_are_told_until_the_device_is_revoked(houses: Houses) -> None:
    async with houses() as house:
        phone, secret = await armed(house)
        custodian = (await Desk.of(house, house.custodians.first)).phone
        administrator = await house.administrator()

        async def told() -> list[list[str]]:
            answers = [await custodian.get("/custody/alarms"), await house.http.get("/api/v1/admin/alarms", headers=administrator)]
            return [[each["display_name"] for each in answer.json()] for answer in answers]

        assert await told() == [[], []]
        await house.http.post("/api/v1/presence", json={"secret": b64(secret)})
        assert await told() == [["Ada"], ["Ada"]]
        assert (await phone.get("/custody/alarms")).status_code == 403
        assert (await house.http.get("/api/v1/admin/alarms")).status_code == 401
        await house.custodians.revoke(house, phone, "under threat")
        assert await told() == [[], []]


async def test_an_alarm_ends_with_another_secret_or_after_a_week(houses: Houses) -> None:
    async with houses() as house:
        phone, secret = await armed(house)

        async def told() -> int:
            return len((await house.http.get("/api/v1/admin/alarms", headers=await house.administrator())).json())

        await house.http.post("/api/v1/presence", json={"secret": b64(secret)})
        house.clock.advance(6 * 86400)
        assert await told() == 1
        house.clock.advance(86401)
        assert await told() == 0
        await house.http.post("/api/v1/presence", json={"secret": b64(secret)})
        assert await told() == 1
        await phone.login()
        await phone.put("/me/duress", {"secret_sha256": b64(hashlib.sha256(secrets.token_bytes(32)).digest())})
        assert await told() == 0


async def test_a_secret_that_is_none_gets_the_same_answer_and_raises_nothing(houses: Houses) -> None:
    async with houses() as house:
        phone, former = await armed(house)
        await phone.put("/me/duress", {"secret_sha256": b64(hashlib.sha256(secrets.token_bytes(32)).digest())})
        for secret in (former, secrets.token_bytes(32)):
            answer = await house.http.post("/api/v1/presence", json={"secret": b64(secret)})
            assert (answer.status_code, answer.content) == (204, b"")
        assert await alarms(house) == []


async def test_only_a_device_with_a_session_arms_an_alarm(houses: Houses) -> None:
    async with houses() as house:
        body = {"secret_sha256": b64(hashlib.sha256(b"stranger").digest())}
        assert (await house.http.put("/api/v1/me/duress", json=body)).status_code == 401


async def test_a_device_that_is_out_reads_its_revocation_and_says_that_it_destroyed_itself(houses: Houses) -> None:
    async with houses() as house:
        phone = await house.phone("Ada")
        address = f"/api/v1/devices/{phone.device_id}"
        assert (await house.http.get(f"{address}/revocation")).status_code == 404
        await house.custodians.revoke(house, phone, "zeroise: stolen")
        signed = b64decode((await house.http.get(f"{address}/revocation")).json()["revocation"])
        assert UnverifiedRevocation(signed).verify(house.custodians.key.root).reason == "zeroise: stolen"
        service_id = (await house.http.get("/api/v1/service")).json()["service_id"]
        statement = encode_statement(ZEROISED_CONTEXT, (service_id.encode(), phone.device_id.encode()))
        forged = await house.http.post(f"{address}/zeroised", json={"signature": b64(bytes(64))})
        said = await house.http.post(f"{address}/zeroised", json={"signature": b64(phone.key.sign(statement))})
        assert (forged.status_code, said.status_code) == (401, 204)
        entries = (await house.http.get("/api/v1/admin/audit?after=0", headers=await house.administrator())).json()["entries"]
        assert [entry["actor"] for entry in entries if entry["action"] == "device.zeroised"] == [f"device {phone.device_id}"]
