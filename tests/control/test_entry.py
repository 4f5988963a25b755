"""Enrolment, login and administrator links: the rules of docs/protocols.md, "Identity and enrolment"."""

from __future__ import annotations

import asyncio
import secrets

import pytest

from tests.control.house import Houses, Phone, b64, token_bytes
from tramontana.control import admission

pytestmark = pytest.mark.anyio


async def test_an_invitation_enrols_one_device_and_is_used_up(houses: Houses) -> None:
    async with houses() as house:
        invitation = await house.invitation()
        ada, bea = Phone(house, "Ada"), Phone(house, "Bea")
        await ada.enrol(invitation)
        refused = await house.http.post("/api/v1/enrolments", json=await bea.enrolment(invitation))
        assert (refused.status_code, refused.json()["code"]) == (403, "invitation_refused")


async def test_of_many_at_once_exactly_one_gets_in(houses: Houses) -> None:
    async with houses() as house:
        invitation = await house.invitation()
        bodies = [await Phone(house, f"Phone {n}").enrolment(invitation) for n in range(8)]
        answers = await asyncio.gather(*(house.http.post("/api/v1/enrolments", json=body) for body in bodies))
        assert sorted(answer.status_code for answer in answers) == [201] + [403] * 7


async def test_a_lost_answer_does_not_burn_the_invitation(houses: Houses) -> None:
    async with houses() as house:
        invitation = await house.invitation()
        body = await Phone(house, "Ada").enrolment(invitation)
        answers = await asyncio.gather(*(house.http.post("/api/v1/enrolments", json=body) for _ in range(4)))
        assert {answer.status_code for answer in answers} == {201}
        assert len({answer.text for answer in answers}) == 1


async def test_expired_withdrawn_and_invented_invitations_get_one_answer(houses: Houses) -> None:
    async with houses() as house:
        expired, withdrawn = await house.invitation(), await house.invitation()
        administrator = await house.administrator()
        newest = (await house.http.get("/api/v1/admin/invitations", headers=administrator)).json()[0]["invitation_id"]
        await house.http.delete(f"/api/v1/admin/invitations/{newest}", headers=administrator)
        answers = [await house.http.post("/api/v1/enrolments", json=await Phone(house, "Ada").enrolment(withdrawn))]
        house.clock.advance(8 * 86400)
        answers.append(await house.http.post("/api/v1/enrolments", json=await Phone(house, "Ada").enrolment(expired)))
        answers.append(await house.http.post("/api/v1/enrolments", json=await Phone(house, "Ada").enrolment("A" * 43)))
        assert {(answer.status_code, answer.text) for answer in answers} == {(403, answers[0].text)}


@pytest.mark.parametrize("change", ["display_name", "signature_public_key", "proof"])
async def test_a_proof_covers_name_and_key(houses: Houses, change: str) -> None:
    async with houses() as house:
        invitation = await house.invitation()
        body = await Phone(house, "Ada").enrolment(invitation)
        other = {
            "display_name": "Eve",
            "signature_public_key": b64(Phone(house, "").key.public_bytes),
            "proof": b64(secrets.token_bytes(64)),
        }
        body[change] = other[change]
        answer = await house.http.post("/api/v1/enrolments", json=body)
        assert answer.status_code == 403
        await Phone(house, "Ada").enrol(invitation)  # and the invitation is still good


@pytest.mark.parametrize("name", ["", " Ada", "A\u202eda", "A\nda", "x" * 65])
async def test_names_that_mislead_are_refused(houses: Houses, name: str) -> None:
    async with houses() as house:
        answer = await house.http.post("/api/v1/enrolments", json=await Phone(house, name).enrolment(await house.invitation()))
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


async def test_a_key_is_enrolled_once(houses: Houses) -> None:
    async with houses() as house:
        phone = await house.phone()
        answer = await house.http.post("/api/v1/enrolments", json=await phone.enrolment(await house.invitation()))
        assert (answer.status_code, answer.json()["code"]) == (409, "already_enrolled")


async def test_login_gives_a_session_that_expires(houses: Houses) -> None:
    async with houses() as house:
        phone = await house.phone("Ada")
        me = (await phone.get("/me")).json()
        assert (me["account_id"], me["device_id"], me["display_name"]) == (phone.account_id, phone.device_id, "Ada")
        assert me["signature_public_key"] == b64(phone.key.public_bytes)
        house.clock.advance(12 * 3600 + 1)
        assert (await phone.get("/me")).status_code == 401


async def test_a_challenge_is_single_use_for_one_device_and_sixty_seconds(houses: Houses) -> None:
    async with houses() as house:
        ada, bea = await house.phone("Ada"), await house.phone("Bea")
        body = await ada.login_body()
        assert (await house.http.post("/api/v1/sessions", json=body)).status_code == 201
        assert (await house.http.post("/api/v1/sessions", json=body)).status_code == 401

        foreign = await ada.login_body() | {"device_id": bea.device_id}
        assert (await house.http.post("/api/v1/sessions", json=foreign)).status_code == 401

        late = await ada.login_body()
        house.clock.advance(61)
        assert (await house.http.post("/api/v1/sessions", json=late)).status_code == 401


async def test_concurrent_use_of_one_challenge_gives_one_session(houses: Houses) -> None:
    async with houses() as house:
        body = await (await house.phone()).login_body()
        answers = await asyncio.gather(*(house.http.post("/api/v1/sessions", json=body) for _ in range(6)))
        assert sorted(answer.status_code for answer in answers) == [201] + [401] * 5


async def test_a_stranger_learns_nothing_about_devices(houses: Houses) -> None:
    async with houses() as house:
        ada, stranger = await house.phone("Ada"), Phone(house, "Eve")
        known = await house.http.post("/api/v1/sessions/challenge", json={"device_id": ada.device_id})
        unknown = await house.http.post("/api/v1/sessions/challenge", json={"device_id": secrets.token_hex(16)})
        assert known.status_code == unknown.status_code == 200
        assert len(known.json()["challenge"]) == len(unknown.json()["challenge"])
        wrong_key = await house.http.post("/api/v1/sessions", json=await stranger.login_body(ada.device_id))
        no_device = await house.http.post("/api/v1/sessions", json=await stranger.login_body(secrets.token_hex(16)))
        assert (wrong_key.status_code, wrong_key.text) == (no_device.status_code, no_device.text) == (401, wrong_key.text)


async def test_without_a_session_every_route_says_the_same(houses: Houses) -> None:
    async with houses() as house:
        ada = await house.phone("Ada")
        paths = [
            "/api/v1/me",
            "/api/v1/accounts",
            "/api/v1/conversations",
            "/api/v1/access-options",
            "/api/v1/admin/accounts",
            "/api/v1/admin/audit",
            "/api/v1/console/sky",
        ]
        answers = [await house.http.get(path) for path in paths]
        answers += [await house.http.get(path, headers={"Authorization": "Bearer " + "A" * 43}) for path in paths]
        assert {(answer.status_code, answer.text) for answer in answers} == {(401, answers[0].text)}
        # A phone is no administrator, and an administrator no phone.
        assert (await ada.get("/admin/accounts")).status_code == 401
        assert (await house.http.get("/api/v1/accounts", headers=await house.administrator())).status_code == 401


async def test_an_administrator_link_works_once_and_expires(houses: Houses) -> None:
    async with houses() as house:
        token, _ = await admission.administrator_link(house.store, actor="test", now=house.clock())
        body = {"token": token.reveal()}
        answers = await asyncio.gather(*(house.http.post("/api/v1/admin/sessions", json=body) for _ in range(5)))
        assert sorted(answer.status_code for answer in answers) == [201] + [401] * 4
        session = next(answer for answer in answers if answer.status_code == 201).json()
        headers = {"Authorization": f"Bearer {session['token']}"}
        assert (await house.http.get("/api/v1/admin/accounts", headers=headers)).status_code == 200

        late, _ = await admission.administrator_link(house.store, actor="test", now=house.clock())
        house.clock.advance(15 * 60 + 1)
        assert (await house.http.post("/api/v1/admin/sessions", json={"token": late.reveal()})).status_code == 401
        house.clock.advance(8 * 3600)
        assert (await house.http.get("/api/v1/admin/accounts", headers=headers)).status_code == 401


async def test_tokens_are_stored_as_digests_only(houses: Houses) -> None:
    async with houses() as house:
        invitation = await house.invitation()
        phone = Phone(house, "Ada")
        await phone.enrol(invitation)
        await phone.login()
        await house.administrator()
        stored = b"".join(file.read_bytes() for file in house.store.path.parent.glob("tramontana.db*"))
        for token in (invitation, phone.token):
            assert token.encode() not in stored
            assert token_bytes(token) not in stored
