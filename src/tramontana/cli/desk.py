"""A custodian's desk: a device of its own with a sealed key, the log as it was last seen, and what is done with the organisation's key.

It believes the server in nothing: proofs of possession, other custodians' approvals and the whole log are checked here.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tramontana.cli.server_api import ServerApi, b64, begin_following, follow, split_link, unb64
from tramontana.errors import LocalError
from tramontana.keys.approval import Approval, Rejection, UnverifiedApproval
from tramontana.keys.certificate import (
    FOUNDING_LEAVES,
    Certificate,
    Grant,
    UnverifiedCertificate,
    issue_certificate,
    issue_revocation,
)
from tramontana.keys.federation import Federation
from tramontana.keys.follow import Follower
from tramontana.keys.identity import DeviceKey, UnverifiedEnrolment
from tramontana.keys.organisation import KeyFileDamaged, OrganisationKey, Root, device_code, parse_fingerprint, seal, unseal
from tramontana.keys.refused import Refused
from tramontana.keys.register import Standing, brings_back
from tramontana.precedence import Precedence
from tramontana.private_file import make_private, read_private, replace_private

DEVICE_NAME = "device.key"
LOG_NAME = "log.json"
DEFAULT_VALIDITY_DAYS = 365
DAY_S = 86400


@dataclass(frozen=True, slots=True)
class Identity:
    """Who the desk is and where."""

    origin: str
    fingerprint: str
    service_id: str
    account_id: str
    device_id: str
    name: str


class Desk:
    """One custodian's device, logged in."""

    def __init__(self, home: Path, identity: Identity, key: DeviceKey, api: ServerApi, follower: Follower) -> None:
        self.home = home
        self.identity = identity
        self.api = api
        self._key = key
        self._follower = follower

    @classmethod
    def enrol(cls, link: str, name: str, home: Path, secret: str) -> Desk:
        """Use an invitation up for a new desk. Raises `LocalError`, `RemoteError`."""
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        if (home / DEVICE_NAME).exists():
            raise LocalError(f"there is a desk in {home} already; choose another directory with --home")
        origin, fields = split_link(link)
        fingerprint = parse_fingerprint(fields.get("org", ""))
        with ServerApi(origin).closed_on_error() as api:
            follower = begin_following(api, fingerprint)
            key, service_id = DeviceKey.generate(), api.service_id()
            account_id, device_id = api.enrol(fields.get("invite", ""), name, key)
            identity = Identity(origin, fields["org"], service_id, account_id, device_id, name)
            make_private(home / DEVICE_NAME, _sealed(identity, key, secret))
            api.login(device_id, key)
        return cls(home, identity, key, api, follower)

    @classmethod
    def open(cls, home: Path, secret: str, *, origin: str | None = None) -> Desk:
        """origin: where the server is now, if not where it was. Raises `LocalError`, `RemoteError`."""
        private, public = unseal(read_private(home / DEVICE_NAME), secret)
        try:
            identity = Identity(**json.loads(public))
            key = DeviceKey.from_bytes(private)
        except (ValueError, TypeError) as error:
            raise KeyFileDamaged(f"{home / DEVICE_NAME} is no desk of a custodian; restore it from its backup") from error
        fingerprint, state = parse_fingerprint(identity.fingerprint), home / LOG_NAME
        with ServerApi(origin or identity.origin).closed_on_error() as api:
            follower = Follower.load(read_private(state), fingerprint) if state.exists() else begin_following(api, fingerprint)
            api.login(identity.device_id, key)
        return cls(home, identity, key, api, follower)

    def login(self) -> None:
        """A new session, where the last one has ended."""
        self.api.login(self.identity.device_id, self._key)

    @property
    def root(self) -> Root:
        return self._follower.register.root

    @property
    def code(self) -> str:
        """What the custodian reads out when another one approves his desk."""
        return device_code(self.root.fingerprint, self._key.public_bytes)

    def sign(self, statement: bytes) -> bytes:
        """With this device's key."""
        return self._key.sign(statement)

    def follow_log(self) -> None:
        """Read the log up to now and keep what was seen. Raises `Alarm`."""
        follow(self.api, self._follower, now=time.time())
        replace_private(self.home / LOG_NAME, self._follower.dump())

    def standing(self, device_id: str | None = None) -> Standing | None:
        """The last certificate of a device in the log, one's own by default."""
        return self._follower.register.last(device_id or self.identity.device_id)

    @property
    def founders(self) -> int:
        """How many founding custodians the log has."""
        return len(self._follower.register.founders)

    def requests(self) -> list[dict[str, Any]]:
        """Pending requests as the server lists them; `check` each before anything is signed."""
        listed: list[dict[str, Any]] = self.api.call("GET", "/custody/requests")
        return listed

    def alarms(self) -> list[dict[str, Any]]:
        """Phones that were opened under duress, as the server says."""
        listed: list[dict[str, Any]] = self.api.call("GET", "/custody/alarms")
        return listed

    def find_request(self, beginning: str) -> dict[str, Any]:
        """The one pending request whose id begins so. Raises `LocalError`."""
        found = [request for request in self.requests() if str(request["request_id"]).startswith(beginning)]
        if len(found) != 1:
            raise LocalError(f"{len(found)} pending requests begin with {beginning!r}; `tramontana custodian list` shows them")
        return found[0]

    def code_of(self, request: Mapping[str, Any]) -> str:
        """The device code to compare with what the person reads out."""
        return device_code(self.root.fingerprint, unb64(request["signature_public_key"]))

    def check(self, request: Mapping[str, Any]) -> None:
        """That somebody holds the key and chose the name, as far as an enrolment shows it. Raises `SignatureRefused`."""
        if request["kind"] == "enrolment" and request["proof"] is not None:
            digest, key = unb64(request["invitation_sha256"]), unb64(request["signature_public_key"])
            proof = unb64(request["proof"])
            UnverifiedEnrolment(self.identity.service_id, digest, key, request["display_name"], proof).verify()

    def certificate_of(self, device_id: str) -> Certificate:
        """The certificate of a device that counts in the log now. Raises `LocalError` where there is none, `Refused` for another one."""
        standing = self.standing(device_id)
        if standing is None or standing.is_revoked:
            raise LocalError("no certificate of this device is in force in the log; the console lists devices under People")
        given = self.api.call("GET", f"/devices/{device_id}/certificate")["certificate"]
        encoded = unb64(given)
        certificate = UnverifiedCertificate(encoded).verify(self._follower.register.root_of(encoded))
        if certificate.serial != standing.serial:
            raise Refused("superseded", "the server shows another certificate of this device than the log")
        return certificate

    def is_known_key(self, request: Mapping[str, Any]) -> bool:
        """Whether a request for a change is for the key that the device's certificate has: then there is no code to compare."""
        standing = self.standing(request["device_id"])
        if request["kind"] != "change" or standing is None or standing.is_revoked:
            return False
        return self.certificate_of(request["device_id"]).grant.signature_public_key == unb64(request["signature_public_key"])

    def ask_for_change(
        self, device_id: str, *, name: str | None = None, unit: str | None = None, roles: Sequence[str] = (), ceiling: str | None = None
    ) -> str:
        """Ask for a new certificate of a certified device; what is not said stays as it is. Returns the request's id."""
        now = self.certificate_of(device_id).grant
        body = {
            "device_id": device_id,
            "display_name": now.display_name if name is None else name,
            "unit": now.unit if unit is None else unit,
            "roles": sorted(roles or now.roles),
            "precedence_ceiling": ceiling or now.ceiling.label,
        }
        return str(self.api.call("POST", "/custody/requests", body)["request_id"])

    def grant_for(
        self,
        request: Mapping[str, Any],
        *,
        unit: str | None = None,
        roles: Sequence[str] = (),
        ceiling: str | None = None,
        days: int = DEFAULT_VALIDITY_DAYS,
    ) -> Grant:
        """What a certificate would give: what another custodian approved already, else what was asked for; options change it."""
        approved = [found.grant for found in self._approvals(request)]
        if approved and unit is None and not roles and ceiling is None:
            return approved[0]
        return Grant(
            request["account_id"],
            request["device_id"],
            unb64(request["signature_public_key"]),
            request["display_name"],
            request["unit"] if unit is None else unit,
            tuple(sorted(roles or request["roles"])),
            Precedence.parse(ceiling or request["precedence_ceiling"]),
            int(time.time()) + days * DAY_S,
        )

    def _approvals(self, request: Mapping[str, Any]) -> list[Approval]:
        """The approvals that hold: by custodians who stand in the log now, for this request."""
        found = []
        for given in request["approvals"]:
            try:
                certificate = UnverifiedCertificate(unb64(given["certificate"])).verify(self.root)
                certificate.check_at(time.time())
                standing = self.standing(certificate.grant.device_id)
                if standing is None or standing.is_revoked or standing.serial != certificate.serial or "custodian" not in standing.roles:
                    continue
                unverified = UnverifiedApproval(unb64(given["statement"]), unb64(given["signature"]))
                grant = certificate.grant
                approval = unverified.verify(self.root.organisation_id, grant.device_id, grant.signature_public_key)
            except Refused:
                continue
            if approval.request_id == request["request_id"] and approval.grant.device_id == request["device_id"]:
                found.append(approval)
        return found

    def has_approved(self, request: Mapping[str, Any]) -> bool:
        return any(found.approver == self.identity.device_id for found in self._approvals(request))

    def approve(self, request: Mapping[str, Any], grant: Grant) -> None:
        """Sign an approval with the desk's own key. Raises `SignatureRefused`, `ServerRefused`."""
        self.check(request)
        approval = Approval(self.root.organisation_id, request["request_id"], grant, self.identity.device_id, int(time.time()))
        statement = approval.statement()
        body = {"statement": b64(statement), "signature": b64(self._key.sign(statement))}
        self.api.call("POST", f"/custody/requests/{request['request_id']}/approvals", body)

    def reject(self, request: Mapping[str, Any], reason: str) -> None:
        """Sign a rejection."""
        names = (self.root.organisation_id, request["request_id"], request["device_id"], reason, self.identity.device_id)
        statement = Rejection(*names, int(time.time())).statement()
        body = {"statement": b64(statement), "signature": b64(self._key.sign(statement))}
        self.api.call("POST", f"/custody/requests/{request['request_id']}/rejection", body)

    def missing_approvals(self, request: Mapping[str, Any], grant: Grant) -> int:
        """How many more custodians have to approve this grant."""
        needed = grant.approvals_needed(is_recovery=brings_back(self._follower.register.of_account(grant.account_id)))
        return max(0, needed - len(self._approvers(request, grant)))

    def _approvers(self, request: Mapping[str, Any], grant: Grant) -> dict[str, str]:
        """Account and device of each who approved exactly this."""
        found = {}
        for approval in self._approvals(request):
            standing = self.standing(approval.approver)
            if approval.grant == grant and standing is not None:
                found[standing.account_id] = approval.approver
        return found

    def issue(self, key: OrganisationKey, request: Mapping[str, Any], grant: Grant) -> int:
        """Sign a certificate with the organisation's key and have it logged. Returns its place in the log."""
        self.check(request)
        if missing := self.missing_approvals(request, grant):
            raise LocalError(f"{missing} more custodian{'s have' if missing > 1 else ' has'} to approve this before it is issued")
        return self._issue(key, request["request_id"], grant, list(self._approvers(request, grant).values()))

    def guest_request(self, request: Mapping[str, Any]) -> dict[str, str]:
        """What custodians approved, for the organisation whose guest it is to certify. Raises `LocalError`, `SignatureRefused`."""
        self.check(request)
        grant = self.grant_for(request)
        if missing := self.missing_approvals(request, grant):
            raise LocalError(f"{missing} more custodian{'s have' if missing > 1 else ' has'} to approve this first (`approve --no-issue`)")
        return {
            "host": self.root.name,
            "fingerprint": self.root.fingerprint_text,
            "request_id": request["request_id"],
            "account_id": grant.account_id,
            "device_id": grant.device_id,
            "signature_public_key": b64(grant.signature_public_key),
            "display_name": grant.display_name,
            "unit": grant.unit,
            "roles": ",".join(grant.roles),
            "ceiling": grant.ceiling.label,
            "not_after": str(grant.not_after),
            "approvers": ",".join(sorted(self._approvers(request, grant).values())),
        }

    def admit(self, request_id: str, certificate: bytes) -> int:
        """Have a guest's certificate logged that the other organisation signed. Returns its place in the log."""
        body = {"request_id": request_id, "certificate": b64(certificate)}
        return int(self.api.call("POST", "/custody/certificates", body)["log_index"])

    def found(self, key: OrganisationKey) -> int:
        """Certify this desk as a founding custodian's. Raises `LocalError` where the organisation has two already."""
        self.follow_log()
        if self._follower.edge.size not in FOUNDING_LEAVES:
            raise LocalError("this organisation has its two founding custodians; another one is approved by two of them")
        request_id = self.api.call("GET", "/me/certificate")["request_id"]
        whose = (self.identity.account_id, self.identity.device_id, self._key.public_bytes, self.identity.name)
        grant = Grant(*whose, "", ("custodian", "member"), Precedence.ROUTINE, int(time.time()) + DEFAULT_VALIDITY_DAYS * DAY_S)
        return self._issue(key, request_id, grant, [])

    def _issue(self, key: OrganisationKey, request_id: str, grant: Grant, approvers: Sequence[str]) -> int:
        if key.root.fingerprint != self.root.fingerprint:
            raise LocalError("this is the key of another organisation than the one of this desk")
        certificate = issue_certificate(key, secrets.token_hex(16), grant, approvers, now=time.time())
        body = {"request_id": request_id, "certificate": b64(certificate.encoded)}
        return int(self.api.call("POST", "/custody/certificates", body)["log_index"])

    def revoke(self, key: OrganisationKey, device_id: str, reason: str) -> int:
        """Sign a revocation with the organisation's key and have it logged. Returns its place in the log."""
        standing = self.standing(device_id)
        if standing is None:
            raise LocalError("no certificate of this device is in the log; the console lists devices under People")
        revocation = issue_revocation(key, standing.serial, device_id, reason, now=time.time())
        return int(self.api.call("POST", "/custody/revocations", {"revocation": b64(revocation.encoded)})["log_index"])

    def federate(self, federation: bytes, root: bytes) -> int:
        """Have a cross-certification logged that the organisation signed. Returns its place in the log."""
        body = {"federation": b64(federation), "organisation": b64(root)}
        return int(self.api.call("POST", "/custody/federations", body)["log_index"])

    def federations(self) -> list[Federation]:
        """Cross-certifications in the log that were not revoked."""
        return list(self._follower.register.federations.values())

    def end_federation(self, key: OrganisationKey, serial: str, reason: str) -> int:
        """Revoke a cross-certification. Returns the revocation's place in the log."""
        if serial not in self._follower.register.federations:
            raise LocalError("no cross-certification in force has this serial; `tramontana custodian federations` lists them")
        revocation = issue_revocation(key, serial, "", reason, now=time.time())
        return int(self.api.call("POST", "/custody/revocations", {"revocation": b64(revocation.encoded)})["log_index"])


def _sealed(identity: Identity, key: DeviceKey, secret: str) -> bytes:
    public = {name: getattr(identity, name) for name in Identity.__slots__}
    return seal(key.reveal(), secret, public=json.dumps(public).encode())
