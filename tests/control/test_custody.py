"""Certification and revocation at the server: who comes in, who is refused and by what name, and that who is out is out at once."""

from __future__ import annotations

import asyncio
import secrets
import time
from base64 import b64decode
from dataclasses import replace
from pathlib import Path

import aioice
import pytest

from tests.control.custodians import YEAR_S, Desk, b64, serial_of
from tests.control.house import RELAY_SECRET, House, Houses, Phone, open_socket
from tests.phone.relay_process import Relay, built_in_relay
from tramontana.keys.certificate import UnverifiedCertificate, UnverifiedRevocation, issue_certificate, issue_revocation
from tramontana.keys.federation import Federation, issue_federation
from tramontana.keys.identity import DeviceKey
from tramontana.keys.log import UnverifiedTreeHead
from tramontana.keys.merkle import leaf_hash, verify_consistency, verify_inclusion
from tramontana.keys.organisation import OrganisationKey, SignedStatement, verify_root
from tramontana.keys.register import Register
from tramontana.precedence import Precedence

pytestmark = pytest.mark.anyio


async def newcomer(house: House, name: str = "Ada") -> Phone:
    """Enrolled and logged in, not certified."""
    phone = Phone(house, name)
    await phone.enrol(await house.invitation())
    await phone.login()
    return phone


async def desks(house: House) -> tuple[Desk, Desk]:
    return await Desk.of(house, house.custodians.first), await Desk.of(house, house.custodians.second)


async def test_a_device_waits_until_a_custodian_has_approved_it(houses: Houses) -> None:
    async with houses() as house:
        ada, bea = await newcomer(house), await house.phone("Bea")
        await bea.offer(1)
        await ada.offer(1)  # it may prepare itself
        assert (await ada.get("/accounts")).json() == []
        assert [account["display_name"] for account in (await bea.get("/accounts")).json()] == ["Bea"]
        refused = await ada.post("/conversations", {"kind": "direct", "members": [bea.account_id]})
        assert (refused.status_code, refused.json()["code"]) == (403, "not_certified")
        assert (await bea.post(f"/accounts/{ada.account_id}/key-packages/claim")).json() == []

        first, _ = await desks(house)
        async with ada.socket() as socket:
            [request] = await first.requests()
            assert (request["device_id"], request["approvals_needed"]) == (ada.device_id, 1)
            grant = house.custodians.grant(house, ada, unit="Coast Guard")
            assert (await first.approve(request["request_id"], grant)).status_code == 204
            certificate = house.custodians.signed(house, grant, (house.custodians.first,))
            issued = await first.issue(request["request_id"], certificate.encoded)
            assert issued.status_code == 201, issued.text
            await socket.next("directory")
        listed = {account["display_name"]: account for account in (await ada.get("/accounts")).json()}
        assert listed.keys() == {"Ada", "Bea"}
        [device] = listed["Ada"]["devices"]
        assert UnverifiedCertificate(b64decode(device["certificate"])).verify(house.custodians.key.root) == certificate
        later = (await ada.get("/accounts", params={"certificates_from": device["log_index"] + 1})).json()
        assert all(found["certificate"] is None for account in later for found in account["devices"])


async def test_a_higher_ceiling_asked_for_in_the_console_takes_two_custodians(houses: Houses) -> None:
    async with houses() as house:
        ada = await house.phone()
        body = {"device_id": ada.device_id, "display_name": "Ada", "unit": "Fleet", "roles": ["member"], "precedence_ceiling": "flash"}
        asked = await house.http.post("/api/v1/admin/requests", headers=await house.administrator(), json=body)
        assert asked.status_code == 201, asked.text
        request_id = asked.json()["request_id"]
        assert [entry["actor"] for entry in await house.audited("certificate.requested")] == ["administrator"]
        first, second = await desks(house)
        [request] = await first.requests()
        assert (request["request_id"], request["kind"], request["approvals_needed"]) == (request_id, "change", 2)
        grant = house.custodians.grant(house, ada, unit="Fleet", ceiling=Precedence.FLASH)
        assert (await first.approve(request_id, grant)).status_code == 204
        # The administrator has asked and one custodian has approved: that is not enough for anybody.
        alone = house.custodians.signed(house, grant, (house.custodians.first,))
        refused = await first.issue(request_id, alone.encoded)
        assert (refused.json()["code"], refused.json()["reason"]) == ("certificate_refused", "missing_approver")
        assert (await ada.get("/me")).json()["precedence_ceiling"] == "routine"
        assert (await second.approve(request_id, grant)).status_code == 204
        both = house.custodians.signed(house, grant, (house.custodians.first, house.custodians.second))
        assert (await second.issue(request_id, both.encoded)).status_code == 201
        assert (await ada.get("/me")).json()["precedence_ceiling"] == "flash"
        stranger = await house.http.post("/api/v1/admin/requests", headers=ada.headers, json=body)
        assert stranger.status_code == 401
        nobody = {**body, "device_id": secrets.token_hex(16)}
        unknown = await house.http.post("/api/v1/admin/requests", headers=await house.administrator(), json=nobody)
        assert unknown.json()["code"] == "not_found"


async def test_custodians_hear_of_a_newcomer_at_once(houses: Houses) -> None:
    async with houses() as house:
        first, _ = await desks(house)
        async with first.phone.socket() as socket:
            await newcomer(house)
            await socket.next("approvals")


async def test_what_the_server_says_of_a_device_can_be_checked(houses: Houses) -> None:
    async with houses() as house:
        ada = await house.phone()
        shown = (await house.http.get("/api/v1/organisation")).json()
        root = verify_root(b64decode(shown["organisation"]), house.custodians.key.root.fingerprint)
        status = (await ada.get("/me/certificate")).json()
        assert status["state"] == "certified"
        head = status["head"]
        unverified = UnverifiedTreeHead(
            b64decode(head["log_id"]), head["tree_size"], b64decode(head["root_hash"]), head["at"], b64decode(head["signature"])
        )
        async with house.store.read() as connection:
            unverified.verify((await house.services.custody.organisation(connection)).log_key)
        certificate = b64decode(status["certificate"])
        assert UnverifiedCertificate(certificate).verify(root).grant.device_id == ada.device_id
        proof = [b64decode(step) for step in status["inclusion"]]
        assert verify_inclusion(leaf_hash(certificate), status["log_index"], head["tree_size"], proof, unverified.root_hash)

        await house.phone("Bea")
        newer = (await ada.get("/log/head")).json()
        sizes = {"first": head["tree_size"], "second": newer["tree_size"]}
        steps = [b64decode(step) for step in (await ada.get("/log/consistency", params=sizes)).json()["proof"]]
        assert verify_consistency(sizes["first"], sizes["second"], unverified.root_hash, b64decode(newer["root_hash"]), steps)
        entries = (await ada.get("/log/entries", params={"start": status["log_index"], "count": 1})).json()["entries"]
        assert entries == [status["certificate"]]
        for path in ("/log/consistency?first=1&second=999", "/log/inclusion?log_index=99&tree_size=3", "/log/entries?start=0&count=1000"):
            assert (await ada.get(path)).status_code == 422
        assert (await house.http.get("/api/v1/log/head")).status_code == 401


@pytest.mark.parametrize(
    "attempt",
    ["forged", "expired", "wrong_organisation", "wrong_algorithm", "missing_approver", "replayed", "not_approved", "malformed"],
)
async def test_a_certificate_is_refused_by_name(houses: Houses, attempt: str) -> None:
    async with houses() as house:
        custodians, ada = house.custodians, await newcomer(house)
        first, second = await desks(house)
        [request] = await first.requests()
        request_id, now = request["request_id"], house.clock()
        grant = custodians.grant(house, ada, ceiling=Precedence.FLASH)
        for desk in (first, second):
            assert (await desk.approve(request_id, grant)).status_code == 204
        good = custodians.signed(house, grant, (custodians.first, custodians.second))
        signed = SignedStatement.parse(good.encoded)
        other = OrganisationKey.generate("Other", "hybrid-1", now=now)
        bad = {
            "forged": lambda: SignedStatement(signed.statement, signed.ed25519_signature, bytes(3309)).encode(),
            "expired": lambda: issue_certificate(custodians.key, secrets.token_hex(16), grant, good.approvers, now=0).encoded,
            "wrong_organisation": lambda: issue_certificate(other, secrets.token_hex(16), grant, good.approvers, now=now).encoded,
            "wrong_algorithm": lambda: SignedStatement(signed.statement, signed.ed25519_signature, bytes(2420)).encode(),
            "missing_approver": lambda: custodians.signed(house, grant, (custodians.first,)).encoded,
            "replayed": lambda: good.encoded,
            "not_approved": lambda: (
                custodians.signed(
                    house, custodians.grant(house, ada, ceiling=Precedence.FLASH_OVERRIDE), (custodians.first, custodians.second)
                ).encoded
            ),
            "malformed": lambda: good.encoded[:-1],
        }[attempt]()
        if attempt == "expired":
            house.clock.advance(366 * 86400)
            for desk in (first, second):
                expired = await house.http.post("/api/v1/sessions", json=await desk.phone.login_body())
                assert (expired.status_code, expired.json()["code"]) == (403, "certificate_expired")
            return
        if attempt == "replayed":
            assert (await first.issue(request_id, good.encoded)).status_code == 201
        answer = await first.issue(request_id, bad)
        assert (answer.status_code, answer.json()["code"], answer.json()["reason"]) == (422, "certificate_refused", attempt)
        assert (await ada.get("/me/certificate")).json()["state"] == ("certified" if attempt == "replayed" else "pending")
        if attempt != "replayed":
            assert (await first.issue(request_id, good.encoded)).status_code == 201  # a refusal takes nothing away


async def test_approvals_are_refused_by_name(houses: Houses) -> None:
    async with houses() as house:
        custodians = house.custodians
        ada, bea = await newcomer(house), await newcomer(house, "Bea")
        first, second = await desks(house)
        for_ada, for_bea = (await first.requests())[0]["request_id"], (await first.requests())[1]["request_id"]
        grant = custodians.grant(house, ada)
        statement, signature = custodians.approval(house, custodians.first, for_ada, grant)

        async def reason(desk: Desk, request_id: str, statement: bytes, signature: bytes) -> str:
            body = {"statement": b64(statement), "signature": b64(signature)}
            answer = await desk.phone.post(f"/custody/requests/{request_id}/approvals", body)
            assert (answer.status_code, answer.json()["code"]) == (422, "certificate_refused")
            return str(answer.json()["reason"])

        assert await reason(first, for_bea, statement, signature) == "replayed"  # of another request
        assert await reason(second, for_ada, statement, signature) == "forged"  # of another custodian
        assert await reason(first, for_ada, statement, DeviceKey.generate().sign(statement)) == "forged"
        assert (await first.approve(for_ada, custodians.grant(house, bea))).json()["reason"] == "not_approved"
        assert (await first.approve(for_ada, grant)).status_code == 204
        assert await reason(first, for_ada, statement, signature) == "replayed"
        certificate = custodians.signed(house, grant, (custodians.first,)).encoded
        assert (await first.issue(for_ada, certificate)).status_code == 201
        assert (await second.approve(for_ada, grant)).json()["reason"] == "replayed"  # it is closed

        other = await house.phone("Charlotte")
        for answer in (
            await other.get("/custody/requests"),
            await other.post("/custody/requests", _change(ada)),
            await other.post("/custody/certificates", {"request_id": for_bea, "certificate": b64(certificate)}),
            await other.post("/custody/revocations", {"revocation": b64(certificate)}),
        ):
            assert (answer.status_code, answer.json()["code"]) == (403, "not_custodian")


def _change(phone: Phone) -> dict[str, object]:
    return {"device_id": phone.device_id, "display_name": phone.name, "unit": "", "roles": ["member"], "precedence_ceiling": "routine"}


async def test_a_rejected_device_never_comes_in(houses: Houses) -> None:
    async with houses() as house:
        eve = await newcomer(house, "Eve")
        first, second = await desks(house)
        request_id = (await first.requests())[0]["request_id"]
        async with eve.socket() as socket:
            assert (await first.reject(request_id, eve.device_id)).status_code == 204
            assert await socket.close_code() == 4403
        assert (await eve.get("/me")).status_code == 401
        refused = await house.http.post("/api/v1/sessions", json=await eve.login_body())
        assert (refused.status_code, refused.json()["code"]) == (403, "enrolment_rejected")
        assert await second.requests() == []


async def test_a_change_is_a_new_certificate(houses: Houses) -> None:
    async with houses() as house:
        ada = await house.phone()
        before = (await ada.get("/me/certificate")).json()
        await house.custodians.certify(house, ada, roles=("member", "operator"), ceiling=Precedence.IMMEDIATE, display_name="Ada L.")
        after = (await ada.get("/me/certificate")).json()
        assert after["log_index"] > before["log_index"]
        grant = UnverifiedCertificate(b64decode(after["certificate"])).verify(house.custodians.key.root).grant
        assert (grant.roles, grant.ceiling) == (("member", "operator"), Precedence.IMMEDIATE)
        account = next(
            found
            for found in (await house.http.get("/api/v1/admin/accounts", headers=await house.administrator())).json()
            if found["account_id"] == ada.account_id
        )
        assert (account["display_name"], account["roles"], account["precedence_ceiling"]) == (
            "Ada L.",
            ["member", "operator"],
            "immediate",
        )


async def test_a_further_device_is_of_the_same_person(houses: Houses) -> None:
    async with houses() as house:
        ada, administrator = await house.phone(), await house.administrator()
        body = {"account_id": ada.account_id, "unit": "Coast Guard"}
        made = (await house.http.post("/api/v1/admin/invitations", headers=administrator, json=body)).json()
        tablet = Phone(house, "Ada's tablet")
        await tablet.enrol(made["token"])
        assert tablet.account_id == ada.account_id
        assert tablet.device_id != ada.device_id
        first, _ = await desks(house)
        [request] = await first.requests()
        assert (request["further_device"], request["unit"]) == (True, "Coast Guard")
        unknown = await house.http.post("/api/v1/admin/invitations", headers=administrator, json={"account_id": secrets.token_hex(16)})
        assert unknown.status_code == 404


async def test_a_revoked_device_is_out_at_once(houses: Houses) -> None:
    async with houses() as house:
        ada, bea, conversation_id = await house.pair()
        call_id = secrets.token_hex(16)
        assert (await bea.put(f"/calls/{call_id}", {"conversation_id": conversation_id, "precedence": "routine"})).status_code == 200
        async with bea.socket() as lost, ada.socket() as witness:
            await house.custodians.revoke(house, bea)
            assert await lost.close_code() == 4403
            await witness.next("directory")
        assert (await bea.get("/me")).status_code == 401
        async with open_socket(house) as late:
            await late.send({"type": "hello", "token": bea.token, "after": 0})
            assert await late.close_code() == 4401
        refused = await house.http.post("/api/v1/sessions", json=await bea.login_body())
        assert (refused.status_code, refused.json()["code"]) == (403, "device_revoked")
        calls = (await house.http.get("/api/v1/admin/calls", headers=await house.administrator())).json()
        assert calls == []
        assert [account["display_name"] for account in (await ada.get("/accounts")).json()] == []
        assert (await ada.post(f"/accounts/{bea.account_id}/key-packages/claim")).json() == []
        # Nothing reaches its mailbox any more; the commit that takes it out of the group is still accepted.
        assert (await ada.send(conversation_id, 1)).status_code == 201
        async with house.store.read() as connection:
            waiting = await connection.exec_driver_sql(f"SELECT count(*) FROM mailbox WHERE device_id = '{bea.device_id}'")
            assert waiting.scalar_one() == 0
        status = (await ada.get(f"/devices/{bea.device_id}/certificate")).json()
        assert status["state"] == "revoked"
        revocation = b64decode(status["revocation"])
        assert UnverifiedRevocation(revocation).verify(house.custodians.key.root).reason == "lost"
        proof = [b64decode(step) for step in status["revocation_inclusion"]]
        root_hash = b64decode(status["head"]["root_hash"])
        assert verify_inclusion(leaf_hash(revocation), status["revocation_index"], status["head"]["tree_size"], proof, root_hash)


async def test_the_relay_carries_nothing_more_of_a_revoked_device(houses: Houses, tmp_path: Path) -> None:
    (tmp_path / "relay-secret").touch(0o600)
    (tmp_path / "relay-secret").write_text(RELAY_SECRET)
    with built_in_relay(tmp_path) as relay:
        async with houses(relay_port=relay.port) as house, asyncio.timeout(60):
            ada, bea = await house.phone("Ada"), await house.phone("Bea")
            assert await relayed(relay, ada.device_id) == await relayed(relay, bea.device_id) == ["relay"]
            await house.custodians.revoke(house, bea)
            while await relayed(relay, bea.device_id):  # noqa: ASYNC110 - the order is on its way, and only asking tells
                await asyncio.sleep(0.05)
            assert await relayed(relay, ada.device_id) == ["relay"]


async def federated(house: House, desk: Desk, peer: OrganisationKey) -> Federation:
    """A cross-certification that the server has logged, up to priority."""
    until = int(house.clock()) + YEAR_S
    limits = {"units": ["*"], "roles": ["member"], "ceiling": Precedence.PRIORITY, "not_after": until}
    made = issue_federation(house.custodians.key, secrets.token_hex(16), peer.root, **limits, now=house.clock())  # type: ignore[arg-type]
    body = {"federation": b64(made.encoded), "organisation": b64(peer.root.encoded)}
    logged = await desk.phone.post("/custody/federations", body)
    assert logged.status_code == 201, logged.text
    return made


async def test_guests_come_in_by_both_organisations_and_go_with_the_cross_certification(houses: Houses) -> None:
    async with houses() as house:
        ada, guest = await house.phone("Ada"), await newcomer(house, "Liaison")
        await guest.offer(1)
        first, _ = await desks(house)
        [request] = await first.requests()
        allies = OrganisationKey.generate("Allies", "cnsa-2.0-like-1", now=house.clock())
        approver = (house.custodians.first.device_id,)
        grant = house.custodians.grant(house, guest, ceiling=Precedence.PRIORITY)

        async def issue(**changes: object) -> str:
            made = issue_certificate(allies, secrets.token_hex(16), replace(grant, **changes), approver, now=house.clock())  # type: ignore[arg-type]
            answer = await first.issue(request["request_id"], made.encoded)
            return str(answer.json()["reason"]) if answer.status_code == 422 else str(answer.status_code)

        assert await issue() == "wrong_algorithm", "nobody has cross-certified them"
        federation = await federated(house, first, allies)
        assert await issue() == "not_approved", "their word alone lets nobody in"
        assert await issue(ceiling=Precedence.FLASH) == "outside_federation"
        assert (await first.approve(request["request_id"], grant)).status_code == 204
        assert await issue() == "201"
        await guest.login()
        conversation = await ada.post("/conversations", {"kind": "direct", "members": [guest.account_id]})
        assert conversation.status_code == 200, conversation.text
        call = {"conversation_id": conversation.json()["conversation_id"], "precedence": "immediate"}
        assert (await guest.put(f"/calls/{secrets.token_hex(16)}", call)).json()["code"] == "precedence_refused"

        page = await house.http.get("/api/v1/admin/log", headers=await house.administrator(), params={"start": 5, "count": 64})
        kinds = [(entry["kind"], entry["display_name"]) for entry in page.json()["entries"]]
        assert kinds == [("federation", "Allies"), ("organisation", "Allies"), ("certificate", "Liaison")]
        register = Register(house.custodians.key.root)
        for entry in (await ada.get("/log/entries", params={"start": 0, "count": 64})).json()["entries"]:
            register.read(b64decode(entry))  # whoever reads the log finds it right
        standing = register.last(guest.device_id)
        assert standing is not None
        assert standing.federation == federation.serial
        assert await federated(house, first, allies), "a second one, with the root that is there"

        async def guest_in_the_console() -> dict[str, object]:
            listed = (await house.http.get("/api/v1/admin/accounts", headers=await house.administrator())).json()
            assert [each["guest"] for each in listed if each["account_id"] == ada.account_id] == [None]
            (found,) = [each["guest"] for each in listed if each["account_id"] == guest.account_id]
            return dict(found)

        shown = {"organisation": "Allies", "federation": federation.serial, "until": federation.not_after}
        assert await guest_in_the_console() == {**shown, "revoked": False}

        async with guest.socket() as lost:
            ended = issue_revocation(house.custodians.key, federation.serial, "", "exercise over", now=house.clock())
            assert (await first.revoke(ended.encoded)).status_code == 201
            assert await lost.close_code() == 4403
        refused = await house.http.post("/api/v1/sessions", json=await guest.login_body())
        assert (refused.status_code, refused.json()["code"]) == (403, "device_revoked")
        assert await guest_in_the_console() == {**shown, "revoked": True}
        assert (await ada.get("/me")).status_code == 200


async def relayed(relay: Relay, device_id: str) -> list[str]:
    """The kinds of candidate that a device gets with a credential that is valid for ten minutes."""
    issued = relay.secret.issue(device_id, time.time() + 600)
    agent = aioice.Connection(
        ice_controlling=True,
        turn_server=("127.0.0.1", relay.port),
        turn_username=issued.username,
        turn_password=issued.credential,
        transport_policy=aioice.TransportPolicy.RELAY,
    )
    try:
        await agent.gather_candidates()
        return [candidate.type for candidate in agent.local_candidates]
    finally:
        await agent.close()


async def test_revocations_are_refused_by_name(houses: Houses) -> None:
    async with houses() as house:
        ada, key = await house.phone(), house.custodians.key
        first, _ = await desks(house)
        serial, now = await serial_of(house, ada), house.clock()
        other = OrganisationKey.generate("Other", "hybrid-1", now=now)
        attempts = {
            "wrong_organisation": issue_revocation(other, serial, ada.device_id, "lost", now=now),
            "unknown_serial": issue_revocation(key, secrets.token_hex(16), ada.device_id, "lost", now=now),
        }
        for reason, revocation in attempts.items():
            assert (await first.revoke(revocation.encoded)).json()["reason"] == reason
        good = issue_revocation(key, serial, ada.device_id, "lost", now=now).encoded
        assert (await first.revoke(good)).status_code == 201
        assert (await first.revoke(good)).json()["reason"] == "replayed"


async def test_a_server_without_an_organisation_takes_nobody(houses: Houses) -> None:
    async with houses(with_organisation=False) as house:
        answer = await house.http.post("/api/v1/enrolments", json=await Phone(house, "Ada").enrolment(await house.invitation()))
        assert (answer.status_code, answer.json()["code"]) == (503, "no_organisation")
        assert (await house.http.get("/api/v1/organisation")).json()["code"] == "no_organisation"


async def test_the_console_sees_requests_log_and_retention(houses: Houses) -> None:
    async with houses() as house:
        await newcomer(house)
        administrator = await house.administrator()
        [request] = (await house.http.get("/api/v1/admin/requests", headers=administrator)).json()
        assert (request["display_name"], request["proof"]) == ("Ada", None)
        page = (await house.http.get("/api/v1/admin/log", headers=administrator)).json()
        assert [entry["kind"] for entry in page["entries"]] == ["organisation", "log_key", "certificate", "certificate"]
        assert page["entries"][2]["roles"] == ["custodian", "member"]
        wanted = {"undelivered_days": 30, "call_records_days": 7, "attachments_days": 14, "texts_days": 60, "sos_days": 700}
        assert (await house.http.put("/api/v1/admin/retention", headers=administrator, json=wanted)).status_code == 204
        assert (await house.http.get("/api/v1/admin/retention", headers=administrator)).json() == wanted
        link = (await house.http.post("/api/v1/admin/auditors", headers=administrator, json={"note": "court of audit"})).json()["link"]
        auditor = {"Authorization": f"Bearer {link.partition('#audit=')[2]}"}
        assert (await house.http.get("/api/v1/log/head", headers=auditor)).status_code == 200
        assert (await house.http.get("/api/v1/admin/accounts", headers=auditor)).status_code == 401
        assert (await house.http.get("/api/v1/accounts", headers=auditor)).status_code == 401


async def test_an_auditors_link_is_withdrawn_at_once_and_the_others_stay(houses: Houses) -> None:
    async with houses() as house:
        await newcomer(house)
        administrator = await house.administrator()
        auditors: list[dict[str, str]] = []
        for note in ("court of audit", "university"):
            made = (await house.http.post("/api/v1/admin/auditors", headers=administrator, json={"note": note})).json()
            auditors.append({"Authorization": f"Bearer {made['link'].partition('#audit=')[2]}"})
        listed = (await house.http.get("/api/v1/admin/auditors", headers=administrator)).json()
        ids = {each["note"]: each["auditor_id"] for each in listed}
        assert set(ids) == {"court of audit", "university"}
        assert not any(token["Authorization"].removeprefix("Bearer ") in str(listed) for token in auditors)
        one = f"/api/v1/admin/auditors/{ids['court of audit']}"
        assert (await house.http.delete(one, headers=auditors[1])).status_code == 401
        assert [(await house.http.get("/api/v1/log/head", headers=each)).status_code for each in auditors] == [200, 200]
        assert (await house.http.delete(one, headers=administrator)).status_code == 204
        assert [(await house.http.get("/api/v1/log/head", headers=each)).status_code for each in auditors] == [401, 200]
        assert (await house.http.delete(one, headers=administrator)).status_code == 404
        trail = (await house.http.get("/api/v1/admin/audit", headers=administrator)).json()["entries"]
        subjects = {each["action"]: each["subject"] for each in trail if each["action"] == "auditor_link.withdrawn"}
        assert subjects == {"auditor_link.withdrawn": f"auditor {ids['court of audit']}"}


async def test_a_copy_of_the_database_has_no_private_key(houses: Houses) -> None:
    async with houses() as house:
        ada = await house.phone()
        custodians = house.custodians
        stored = b"".join(file.read_bytes() for file in house.store.path.parent.glob("tramontana.db*"))
        assert custodians.key.root.ed25519_public_key in stored  # the instrument sees what is there
        secrets_of = [custodians.log_key.reveal(), ada.key.reveal(), custodians.first.key.reveal()]
        secrets_of += [custodians.key._ed25519.private_bytes_raw(), custodians.key._ml_dsa.private_bytes_raw()]
        for secret in secrets_of:
            for form in (secret, secret.hex().encode(), b64(secret).encode()):
                assert form not in stored
