"""Places of sites and gateways: given once, never twice, however many ask at once."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from ipaddress import ip_network
from typing import Any

import pytest

from tests.control.house import House, Houses, Phone, b64
from tramontana.carrier_hours import HOUR_S, CarrierHour
from tramontana.control.store import carrier_hours, routers
from tramontana.control.store.carrier_hours import SiteHour
from tramontana.internet.overlay import site_network_6
from tramontana.internet.report import Carrying, GatewayReport, SignedReport, SiteReport, Switched, Tunnel, sign_report

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
        of_6 = str(site_network_6(house.custodians.key.root.organisation_id, 2))
        assert (first["number"], first["networks"]) == (2, ["10.64.2.0/24", of_6])
        rome = {"device_id": gateway.device_id, "display_name": "Rome", "number": 0, "address": "203.0.113.1", "address_6": None}
        assert first["gateways"] == [rome]
        assert (await site.put("/me/site", {"networks": []})).json() == first
        changed = (await site.put("/me/site", {"networks": ["192.168.7.0/24"]})).json()
        assert (changed["number"], changed["networks"]) == (2, ["192.168.7.0/24", of_6])
        for again in ([], ["192.168.7.0/24"]):
            assert (await site.put("/me/site", {"networks": again})).json() == changed

        before = (await gateway.get("/gateways/places")).json()
        assert [(each["device_id"], each["number"]) for each in before["sites"]] == [(site.device_id, 2)]
        await _router(house, "Other", "site")
        assert (await gateway.get("/gateways/places")).json()["revision"] == before["revision"]  # certified, but not here yet
        assert (await gateway.get(f"/gateways/places?since={before['revision']}")).json() == before
        both = {"address": "203.0.113.2", "address_6": "2001:db8::1"}
        assert (await gateway.put("/me/gateway", both)).json() == {"number": 0}
        after = (await gateway.get("/gateways/places")).json()
        assert after["revision"] != before["revision"]
        assert [(each["address"], each["address_6"]) for each in after["gateways"]] == [("203.0.113.2", "2001:db8::1")]
        assert [each["subject"] for each in await house.audited("site.placed")] == [f"device {site.device_id}"] * 2


async def test_a_site_that_asks_for_networks_of_ipv6_gets_these_alone_and_one_from_before_there_were_any_gets_one(houses: Houses) -> None:
    async with houses() as house:
        site, old = await _router(house, "Ship", "site"), await _router(house, "Old", "site")
        own = ["192.168.7.0/24", "fd12:3456:789a:1::/64"]
        assert (await site.put("/me/site", {"networks": own})).json()["networks"] == own
        number = (await old.put("/me/site", {"networks": []})).json()["number"]
        async with house.store.write() as connection:
            await routers.set_site(connection, old.device_id, number, [ip_network("192.168.8.0/24")], house.clock())
        of_6 = site_network_6(house.custodians.key.root.organisation_id, number)
        assert (await old.put("/me/site", {"networks": []})).json()["networks"] == ["192.168.8.0/24", str(of_6)]
        for taken in (str(of_6), "fd74:7261:6d6f:6e74::/64"):
            answer = await site.put("/me/site", {"networks": [taken]})
            assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request"), taken


async def test_gateways_are_told_that_places_changed_and_ask_for_what_is_new(houses: Houses) -> None:
    async with houses() as house:
        old, renewed, last, new = [await _router(house, name, "site") for name in ("Old", "Renewed", "Last", "New")]
        gateway = await _router(house, "Rome", "gateway")
        await gateway.put("/me/gateway", {"address": "203.0.113.1"})
        for site in (old, renewed):
            await site.put("/me/site", {"networks": []})
        house.clock.advance(3600)
        await last.put("/me/site", {"networks": []})
        revision = (await gateway.get("/gateways/places")).json()["revision"]
        house.clock.advance(3600)
        await house.custodians.certify(house, renewed, roles=("site",))
        async with gateway.socket() as socket:
            await new.put("/me/site", {"networks": []})
            await socket.next("places")
        told = (await gateway.get(f"/gateways/places?since={revision}")).json()
        assert [each["device_id"] for each in told["sites"]] == [renewed.device_id, last.device_id, new.device_id]
        assert [each["device_id"] for each in told["gateways"]] == [gateway.device_id]
        whole = (await gateway.get("/gateways/places")).json()
        assert told["revision"] == whole["revision"] != revision
        for nonsense in ("", "nothing", "3@nan 1@0", "3@inf 1@0"):
            assert (await gateway.get(f"/gateways/places?since={nonsense}")).json() == whole


async def test_gateways_hear_of_a_change_that_is_dated_before_another(houses: Houses) -> None:
    """As the slower one of two that come at once is, or the first after the clock was set back."""
    async with houses() as house:
        site, other = await _router(house, "Ship", "site"), await _router(house, "Other", "site")
        rome, milan = await _router(house, "Rome", "gateway"), await _router(house, "Milan", "gateway")
        await site.put("/me/site", {"networks": []})
        await other.put("/me/site", {"networks": []})
        await rome.put("/me/gateway", {"address": "203.0.113.1"})
        await milan.put("/me/gateway", {"address": "203.0.113.2"})
        revision = (await rome.get("/gateways/places")).json()["revision"]
        house.clock.advance(-100)
        for network in ("192.168.7.0/24", "192.168.8.0/24"):
            await site.put("/me/site", {"networks": [network]})
            told = (await rome.get(f"/gateways/places?since={revision}")).json()
            assert told["revision"] != revision
            assert network in [each["networks"][0] for each in told["sites"] if each["device_id"] == site.device_id]
            revision = told["revision"]
        await rome.put("/me/gateway", {"address": "203.0.113.3"})
        assert (await rome.get("/gateways/places")).json()["revision"] != revision


async def test_many_at_once_get_different_numbers(houses: Houses) -> None:
    async with houses() as house:
        sites = [await _router(house, f"Site {number}", "site") for number in range(6)]
        answers = await asyncio.gather(*(site.put("/me/site", {"networks": []}) for site in sites))
        assert sorted(answer.json()["number"] for answer in answers) == [2, 3, 4, 5, 6, 7]


WRONG = (
    "10.64.9.0/24",
    "100.64.0.0/16",
    "8.8.8.0/24",
    "10.0.0.0/7",
    "192.168.1.5/24",
    "0.0.0.0/0",
    "::/0",
    "nothing",
    "127.0.0.0/8",
    "169.254.7.0/24",
    "192.0.2.0/24",
    "198.18.0.0/16",
    "240.0.0.0/8",
    "fe80::/64",
    "2001:db8::/48",
    "fd00:1::%x;y/64",
)


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
        for address in ("nowhere", "fe80::1%a } b"):
            assert (await milan.put("/me/gateway", {"address": address})).json()["code"] == "invalid_request"
        for address, address_6 in (("203.0.113.2", "198.51.100.1"), ("2001:db8::2", "2001:db8::1"), ("203.0.113.2", "fe80::1%a")):
            assert (await milan.put("/me/gateway", {"address": address, "address_6": address_6})).json()["code"] == "invalid_request"
        assert (await rome.put("/me/gateway", {"address": "203.0.113.1", "address_6": "2001:db8::1"})).status_code == 200
        assert (await milan.put("/me/gateway", {"address": "2001:db8::1"})).json()["code"] == "place_taken"


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


async def _handed(house: House, gateway: Phone, *reports: SignedReport) -> dict[str, Any]:
    shapes = [{"device_id": each.device_id, "report": b64(each.report), "signature": b64(each.signature)} for each in reports]
    answer = await gateway.post("/gateways/reports", {"reports": shapes})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def _report(house: House, site: Phone, gateway: Phone, at: float, **changes: Any) -> SignedReport:
    tunnel = Tunnel(
        gateway=gateway.device_id,
        uplink=1,
        carrier="starlink",
        up=True,
        health="alive",
        delay_ms=31.5,
        loss=0.01,
        key_age_s=12.0,
        handshake_age_s=50.0,
    )
    switch = Switched(at=at - 9, before=None, after="starlink", reason="first choice that lives and is allowed")
    carrying = Carrying(gateway=gateway.device_id, uplink=1, carrier="starlink")
    fields: dict[str, Any] = {"carrying": carrying, "blocked": None, "tunnels": (tunnel,), "switches": (switch,)}
    report = SiteReport(at=at, log_size=6, **(fields | changes))
    return sign_report(report, site.device_id, house.custodians.key.root.organisation_id, site.key)


async def test_what_a_site_reports_reaches_the_console_by_the_hands_of_a_gateway(houses: Houses) -> None:
    async with houses() as house:
        site, gateway = await _router(house, "Ship", "site"), await _router(house, "Rome", "gateway")
        await gateway.put("/me/gateway", {"address": "203.0.113.1"})
        await site.put("/me/site", {"networks": []})
        administrator, now = await house.administrator(), house.clock()
        assert (await house.http.get("/api/v1/admin/routers", headers=administrator)).json()["sites"][0]["state"] is None
        own = GatewayReport(at=now, log_size=6, sites=1, fault=None)
        signed = sign_report(own, gateway.device_id, house.custodians.key.root.organisation_id, gateway.key)
        answer = await _handed(house, gateway, _report(house, site, gateway, now), signed)
        assert answer == {"refused": 0, "revision": (await gateway.get("/gateways/places")).json()["revision"]}

        shown = (await house.http.get("/api/v1/admin/routers", headers=administrator)).json()
        assert shown["log_size"] == 6
        state = shown["sites"][0]["state"]
        assert (state["tunnel"]["carrier_id"], state["tunnel"]["delay_ms"], state["tunnels_up"], state["blocked"]) == (
            "starlink",
            31.5,
            1,
            None,
        )
        assert shown["gateways"][0]["state"]["sites"] == 1
        details = (await house.http.get(f"/api/v1/admin/routers/{site.device_id}", headers=administrator)).json()
        assert details["switches"][0]["reason"]["it"] == "prima scelta attiva e consentita"

        blocked = "no carrier lives that the policy allows: Starlink is dead"
        await _handed(house, gateway, _report(house, site, gateway, now + 1, carrying=None, blocked=blocked))
        await _handed(house, gateway, _report(house, site, gateway, now))  # an old one, again: the newest stays
        state = (await house.http.get("/api/v1/admin/routers", headers=administrator)).json()["sites"][0]["state"]
        assert state["tunnel"] is None
        assert state["blocked"]["it"] == "nessun vettore consentito dalle regole è attivo: Starlink non risponde più"
        assert (await site.post("/gateways/reports", {"reports": []})).json()["code"] == "not_a_router"


async def test_hours_of_carriers_are_kept_as_they_were_first_told(houses: Houses) -> None:
    async with houses() as house:
        site, gateway = await _router(house, "Ship", "site"), await _router(house, "Rome", "gateway")
        now = house.clock()
        over = int(now // HOUR_S) - 2

        def hour(number: int, down_s: float) -> CarrierHour:
            return CarrierHour(
                carrier="starlink",
                hour=number,
                observed_s=3600.0,
                down_s=down_s,
                alone_s=0.0,
                outages=1,
                longest_outage_s=down_s,
                loss=0.01,
                delays=((75, 3500),),
                full_down=None,
                full_up=None,
                octets=10**9,
            )

        await _handed(house, gateway, _report(house, site, gateway, now, hours=(hour(over, 30.0), hour(over + 3, 1.0))))
        again = _report(house, site, gateway, now + 1, hours=(hour(over, 0.0), hour(over - 1, 2.0)))
        assert (await _handed(house, gateway, again, again))["refused"] == 0

        async def kept() -> list[SiteHour]:
            async with house.store.read() as connection:
                return list(await carrier_hours.of_carrier(connection, "starlink", over - 10, over + 10))

        # The first word counts, and an hour that is not over is none.
        assert [(row.site, row.measured) for row in await kept()] == [("Ship", hour(over - 1, 2.0)), ("Ship", hour(over, 30.0))]
        async with house.store.write() as connection:
            await carrier_hours.forget(connection, now + (carrier_hours.KEPT_DAYS - 2 / 24) * 86400)
        assert [row.measured.hour for row in await kept()] == [over]
        async with house.store.write() as connection:
            await carrier_hours.forget(connection, now + (carrier_hours.KEPT_DAYS + 1) * 86400)
        assert await kept() == []


async def test_reports_that_their_router_did_not_sign_are_refused(houses: Houses) -> None:
    async with houses() as house:
        site, gateway = await _router(house, "Ship", "site"), await _router(house, "Rome", "gateway")
        phone, now = await house.phone(), house.clock()
        await site.put("/me/site", {"networks": []})
        true = _report(house, site, gateway, now)
        forged = replace(true, report=true.report.replace(b"31.5", b"11.5"))
        of_another = replace(true, device_id=gateway.device_id)
        no_router = _report(house, phone, gateway, now)
        too_long = replace(true, report=true.report + b" " * 20_000)
        no_report = SignedReport(site.device_id, b"{}", site.key.sign(b"{}"))
        assert (await _handed(house, gateway, forged, of_another, no_router, no_report))["refused"] == 4
        shape = {"device_id": too_long.device_id, "report": b64(too_long.report), "signature": b64(too_long.signature)}
        assert (await gateway.post("/gateways/reports", {"reports": [shape]})).json()["code"] == "invalid_request"
        await house.custodians.revoke(house, site)
        assert (await _handed(house, gateway, true))["refused"] == 1
        assert await house.services.routers.reported() == {}
