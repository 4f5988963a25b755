"""Administration and console: invitations, accounts, audit trail, sky."""

from __future__ import annotations

import secrets
import sqlite3
import struct
from dataclasses import replace

import numpy as np
import pytest

from tests.control.house import Houses, Phone
from tramontana.control.limits import Limits, Rate

pytestmark = pytest.mark.anyio


async def test_an_invitation_made_in_the_console_enrols_and_is_listed(houses: Houses) -> None:
    async with houses() as house:
        administrator = await house.administrator()
        made = (await house.http.post("/api/v1/admin/invitations", headers=administrator, json={"note": "for Ada"})).json()
        fingerprint = house.custodians.key.root.fingerprint_text
        assert made["link"] == f"{house.url}/phone#invite={made['token']}&org={fingerprint}"
        phone = Phone(house, "Ada")
        await phone.enrol(made["token"])
        [listed] = (await house.http.get("/api/v1/admin/invitations", headers=administrator)).json()
        assert (listed["state"], listed["origin"], listed["note"], listed["account_id"]) == (
            "used",
            "administrator",
            "for Ada",
            phone.account_id,
        )
        assert made["token"] not in str(listed)
        used = await house.http.delete(f"/api/v1/admin/invitations/{made['invitation_id']}", headers=administrator)
        assert used.status_code == 404
        account = (await house.http.get("/api/v1/admin/accounts", headers=administrator)).json()[0]
        assert (account["display_name"], account["devices"][0]["device_id"]) == ("Ada", phone.device_id)


async def test_what_must_be_audited_is(houses: Houses) -> None:
    async with houses() as house:
        ada, bea, conversation_id = await house.pair()
        await bea.commit(conversation_id, 0)
        call_id = secrets.token_hex(16)
        await ada.put(f"/calls/{call_id}", {"conversation_id": conversation_id, "precedence": "routine"})
        await ada.delete(f"/calls/{call_id}")
        await house.http.post("/api/v1/sessions", json=await ada.login_body(bea.device_id))
        administrator = await house.administrator()
        made = (await house.http.post("/api/v1/admin/invitations", headers=administrator, json={})).json()
        await house.http.delete(f"/api/v1/admin/invitations/{made['invitation_id']}", headers=administrator)
        answer = await house.http.get("/api/v1/admin/audit", headers=administrator)
        page = answer.json()
        of_people = [entry for entry in page["entries"] if not entry["action"].startswith(("certificate.", "organisation."))]
        assert [entry["action"] for entry in of_people] == [
            "invitation.created",
            "device.enrolled",
            "device.login",
            "invitation.created",
            "device.enrolled",
            "device.login",
            "commit.accepted",
            "commit.refused",
            "call.begun",
            "call.ended",
            "login.refused",
            "administrator_link.created",
            "administrator.login",
            "invitation.created",
            "invitation.withdrawn",
        ]
        assert [entry["seq"] for entry in page["entries"]] == list(range(1, 23))
        assert (page["intact"], page["more"]) == (True, False)
        for secret in (ada.token, bea.token, made["token"]):
            assert secret not in answer.text


async def test_an_invitation_that_comes_twice_is_audited(houses: Houses) -> None:
    async with houses() as house:
        invitation = await house.invitation()
        await Phone(house, "Ada").enrol(invitation)
        answer = await house.http.post("/api/v1/enrolments", json=await Phone(house, "Eve").enrolment(invitation))
        assert (answer.status_code, answer.json()["code"]) == (403, "invitation_refused")
        administrator = await house.administrator()
        entries = (await house.http.get("/api/v1/admin/audit", headers=administrator)).json()["entries"]
        [refused] = [entry for entry in entries if entry["action"] == "enrolment.refused"]
        [created] = [entry for entry in entries if entry["action"] == "invitation.created"]
        assert created["subject"] == f"invitation {refused['details']['invitation']}"
        assert (refused["details"]["state"], refused["details"]["address"]) == ("used", "127.0.0.1")
        assert invitation not in str(entries)


async def test_a_device_cannot_fill_the_audit_trail(houses: Houses) -> None:
    async with houses(limits=replace(Limits(), audited=Rate(6, 0.001))) as house:
        ada, _, conversation_id = await house.pair()  # a login and a commit
        for _ in range(3):
            await ada.commit(conversation_id, 0)
        call = {"conversation_id": conversation_id, "precedence": "routine"}
        assert (await ada.put(f"/calls/{secrets.token_hex(16)}", call)).status_code == 200
        for answer in (
            await ada.put(f"/calls/{secrets.token_hex(16)}", call),
            await ada.commit(conversation_id, 0),
            await house.http.post("/api/v1/sessions", json=await ada.login_body()),
        ):
            assert (answer.status_code, answer.json()["code"]) == (429, "too_many_requests")
        assert (await ada.send(conversation_id, 1)).status_code == 201


async def test_the_audit_trail_comes_in_pages_and_shows_tampering(houses: Houses, monkeypatch: pytest.MonkeyPatch) -> None:
    from tramontana.control.api import admin

    monkeypatch.setattr(admin, "AUDIT_PAGE", 3)
    async with houses() as house:
        administrator = await house.administrator()
        for _ in range(4):
            await house.invitation()
        seen, after = [], 0
        while True:
            page = (await house.http.get("/api/v1/admin/audit", headers=administrator, params={"after": after})).json()
            assert page["intact"] is True
            seen += [entry["seq"] for entry in page["entries"]]
            after = seen[-1]
            if not page["more"]:
                break
        assert seen == list(range(1, 10))
        with sqlite3.connect(house.store.path) as raw:
            raw.execute("DROP TRIGGER audit_no_update")
            raw.execute("UPDATE audit SET actor = 'nobody' WHERE seq = 5")
        raw.close()
        pages = [
            (await house.http.get("/api/v1/admin/audit", headers=administrator, params={"after": after})).json()["intact"]
            for after in (0, 3)
        ]
        assert pages == [True, False]


async def test_refused_logins_cannot_fill_the_audit_trail(houses: Houses) -> None:
    async with houses(limits=replace(Limits(), refused_logins=Rate(3, 0.001))) as house:
        for _ in range(10):
            await house.http.post("/api/v1/admin/sessions", json={"token": "A" * 43})
        house.clock.advance(10_000)
        await house.http.post("/api/v1/admin/sessions", json={"token": "A" * 43})
        entries = (await house.http.get("/api/v1/admin/audit", headers=await house.administrator())).json()["entries"]
        refused = [entry["details"]["not_recorded_before"] for entry in entries if entry["action"] == "login.refused"]
        assert refused == [0, 0, 0, 7]


async def test_the_sky_says_what_it_is(houses: Houses) -> None:
    async with houses() as house:
        sky = (await house.http.get("/api/v1/console/sky", headers=await house.administrator())).json()
        assert "as filed" in sky["constellation"]
        assert (sky["provenance"], sky["simulated"], sky["age_s"], sky["slot_s"]) == ("filed", True, None, 15)
        assert "rome" in [place["place_id"] for place in sky["places"]]
        assert all(site["source"] for site in sky["gateways"] + sky["points_of_presence"])


async def test_positions_are_one_slot_in_binary_and_cached(houses: Houses) -> None:
    async with houses() as house:
        administrator = await house.administrator()
        at = house.clock()
        answer = await house.http.get("/api/v1/console/positions", headers=administrator, params={"at": at})
        count, steps, start, step_s = struct.unpack_from("<IIdd", answer.content)
        positions = np.frombuffer(answer.content, "<f4", offset=24).reshape(steps, count, 3)
        assert start <= at < start + 15
        assert start % 15 == 12
        assert (steps, step_s) == (4, 5.0)
        radii = np.linalg.norm(positions, axis=2)
        assert radii.min() > 6378 + 500
        assert radii.max() < 6378 + 700
        assert np.linalg.norm(positions[1] - positions[0], axis=1).mean() == pytest.approx(7.3 * 5, rel=0.05)  # ITRS, about 7.3 km/s
        assert answer.headers["cache-control"].startswith("private, max-age=")
        again = await house.http.get("/api/v1/console/positions", headers=administrator, params={"at": at})
        assert again.content == answer.content
        far = await house.http.get("/api/v1/console/positions", headers=administrator, params={"at": at + 10 * 86400})
        assert far.status_code == 422


async def test_links_name_the_serving_satellite_of_each_place(houses: Houses) -> None:
    async with houses() as house:
        administrator = await house.administrator()
        sky = (await house.http.get("/api/v1/console/sky", headers=administrator)).json()
        links = (await house.http.get("/api/v1/console/links", headers=administrator)).json()
        assert [link["place_id"] for link in links["links"]] == [place["place_id"] for place in sky["places"]]
        assert links["next_slot"] - links["slot_start"] == 15
        [rome] = [link for link in links["links"] if link["place_id"] == "rome"]
        assert rome["elevation_deg"] > 20
        assert 0 <= rome["satellite_index"] < sky["satellite_count"]
        assert rome["gateway_id"] in [site["site_id"] for site in sky["gateways"]]
        assert 3 < rome["one_way_delay_ms"] < 100
