"""Places of sites and gateways: given once, never twice, however many ask at once."""

from __future__ import annotations

import asyncio

import pytest

from tests.control.house import House, Houses, Phone

pytestmark = pytest.mark.anyio


async def _router(house: House, name: str, *roles: str) -> Phone:
    phone = Phone(house, name)
    await phone.enrol(await house.invitation())
    await house.custodians.certify(house, phone, roles=roles)
    await phone.login()
    return phone


async def test_a_site_gets_a_number_and_a_network_and_keeps_them(houses: Houses) -> None:
    async with houses() as house:
        site, gateway = await _router(house, "Ship", "site"), await _router(house, "Rome", "gateway")
        assert (await gateway.put("/me/gateway", {"address": "203.0.113.1"})).json() == {"number": 0}
        first = (await site.put("/me/site", {"networks": []})).json()
        assert (first["number"], first["networks"]) == (2, ["10.64.2.0/24"])
        assert first["gateways"] == [{"device_id": gateway.device_id, "display_name": "Rome", "number": 0, "address": "203.0.113.1"}]
        assert (await site.put("/me/site", {"networks": []})).json() == first
        changed = (await site.put("/me/site", {"networks": ["192.168.7.0/24"]})).json()
        assert (changed["number"], changed["networks"]) == (2, ["192.168.7.0/24"])
        assert (await site.put("/me/site", {"networks": []})).json() == changed

        before = (await gateway.get("/gateways/places")).json()
        assert [(each["device_id"], each["number"]) for each in before["sites"]] == [(site.device_id, 2)]
        await _router(house, "Other", "site")
        assert (await gateway.get("/gateways/places")).json()["revision"] == before["revision"]  # certified, but not here yet
        assert (await gateway.put("/me/gateway", {"address": "203.0.113.2"})).json() == {"number": 0}
        assert (await gateway.get("/gateways/places")).json()["revision"] != before["revision"]
        assert [each["subject"] for each in await house.audited("site.placed")] == [f"device {site.device_id}"] * 2


async def test_many_at_once_get_different_numbers(houses: Houses) -> None:
    async with houses() as house:
        sites = [await _router(house, f"Site {number}", "site") for number in range(6)]
        answers = await asyncio.gather(*(site.put("/me/site", {"networks": []}) for site in sites))
        assert sorted(answer.json()["number"] for answer in answers) == [2, 3, 4, 5, 6, 7]


WRONG = ("10.64.9.0/24", "100.64.0.0/16", "8.8.8.0/24", "10.0.0.0/7", "192.168.1.5/24", "0.0.0.0/0", "::/0", "nothing")


async def test_networks_and_addresses_that_no_site_may_have_or_others_have(houses: Houses) -> None:
    async with houses() as house:
        first, second = await _router(house, "One", "site"), await _router(house, "Two", "site")
        for network in WRONG:
            answer = await first.put("/me/site", {"networks": [network]})
            assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request"), network
        assert (await first.put("/me/site", {"networks": ["192.168.0.0/22"]})).status_code == 200
        taken = await second.put("/me/site", {"networks": ["192.168.3.0/24"]})
        assert (taken.status_code, taken.json()["code"]) == (409, "place_taken")
        assert (await second.put("/me/site", {"networks": ["192.168.4.0/24", "192.168.4.0/25"]})).json()["code"] == "place_taken"
        rome, milan = await _router(house, "Rome", "gateway"), await _router(house, "Milan", "gateway")
        assert (await rome.put("/me/gateway", {"address": "203.0.113.1"})).status_code == 200
        assert (await milan.put("/me/gateway", {"address": "203.0.113.1"})).json()["code"] == "place_taken"
        assert (await milan.put("/me/gateway", {"address": "nowhere"})).json()["code"] == "invalid_request"


async def test_others_get_nothing(houses: Houses) -> None:
    async with houses() as house:
        phone, site = await house.phone(), await _router(house, "Ship", "site")
        for answer in (
            await phone.put("/me/site", {"networks": []}),
            await phone.put("/me/gateway", {"address": "203.0.113.1"}),
            await site.put("/me/gateway", {"address": "203.0.113.1"}),
            await site.get("/gateways/places"),
        ):
            assert (answer.status_code, answer.json()["code"]) == (403, "not_a_router")


async def test_a_revoked_site_has_no_place_any_more(houses: Houses) -> None:
    async with houses() as house:
        site, gateway = await _router(house, "Ship", "site"), await _router(house, "Rome", "gateway")
        await site.put("/me/site", {"networks": []})
        await house.custodians.revoke(house, site)
        assert (await gateway.get("/gateways/places")).json()["sites"] == []
