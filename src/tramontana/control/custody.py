"""Certificates of devices: requests, what custodians decide, what the organisation signs, and the log that shows it to everybody.

The server checks before it logs, so that its own log never refutes it; it cannot certify anybody: it has no key of the organisation.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncConnection

from tramontana.control import frames
from tramontana.control.delivery import Sender
from tramontana.control.hub import Hub
from tramontana.control.organisation import Organisation
from tramontana.control.problem import Problem
from tramontana.control.store import accounts, audit, certificates, key_packages, log, mailbox, requests, sessions
from tramontana.control.store.database import Store
from tramontana.keys.approval import UnverifiedApproval, UnverifiedRejection
from tramontana.keys.certificate import (
    FOUNDING_LEAVES,
    Certificate,
    Grant,
    Revocation,
    UnverifiedCertificate,
    UnverifiedLogKey,
    UnverifiedRevocation,
    claimed_organisation,
)
from tramontana.keys.federation import UnverifiedFederation
from tramontana.keys.log import LogKey, TreeHead
from tramontana.keys.organisation import Root, verify_root
from tramontana.keys.refused import Refused
from tramontana.keys.register import brings_back, check_certificate, check_revocation, host_federation
from tramontana.precedence import Precedence


@dataclass(frozen=True, slots=True)
class Status:
    """How a device stands, with everything that somebody needs who does not believe the server."""

    state: accounts.State
    request_id: str | None
    certificate: certificates.Row | None
    inclusion: list[bytes]
    revocation: bytes | None
    revocation_inclusion: list[bytes]
    head: TreeHead | None


def _problem(refused: Refused) -> Problem:
    return Problem("certificate_refused", f"{str(refused)[:1].upper()}{str(refused)[1:]}.", reason=refused.reason)


class Custody:
    """Takes what custodians sign."""

    def __init__(
        self, store: Store, hub: Hub, leave_calls: Callable[[str], Awaitable[None]], log_key: LogKey, clock: Callable[[], float]
    ) -> None:
        """leave_calls: takes a device out of every call, wherever its media go."""
        self.log_key = log_key
        self._store = store
        self._hub = hub
        self._leave_calls = leave_calls
        self._clock = clock
        self._organisation: Organisation | None = None

    async def organisation(self, connection: AsyncConnection) -> Organisation:
        """Raises `Problem` (`no_organisation`) until one is installed."""
        if self._organisation is None:
            found = await certificates.installed(connection)
            if found is None:
                raise Problem("no_organisation")
            root = verify_root(found.root)
            organisation = Organisation(root, UnverifiedLogKey(found.log_key).verify(root))
            if organisation.log_key.public_key != self.log_key.public_bytes:
                raise Problem("no_organisation", "The log key of this server is not the one that its organisation signed. Restore log.key.")
            self._organisation = organisation
        return self._organisation

    async def requests_changed(self) -> None:
        """Tell the custodians who are connected."""
        async with self._store.read() as connection:
            custodians = await certificates.custodian_devices(connection, self._clock())
        self._hub.push(custodians, frames.encode(frames.ApprovalsChanged()))

    async def status(self, device_id: str) -> Status | None:
        """None for an unknown device. Raises `Problem` without an organisation."""
        now = self._clock()
        async with self._store.read() as connection:
            await self.organisation(connection)
            device = await accounts.device(connection, device_id)
            if device is None:
                return None
            request = await requests.pending_of_device(connection, device_id)
            request_id = request.request_id if request else None
            found = (await certificates.last_of_devices(connection, [device_id])).get(device_id)
            if found is None:
                return Status(device.state(now), request_id, None, [], None, [], None)
            head = await log.head(connection, self.log_key, now)
            inclusion = await log.inclusion(connection, found.log_index, head.tree_size)
            revocation, proof = None, list[bytes]()
            if found.revocation_index is not None:
                revocation = await log.entry(connection, found.revocation_index)
                proof = await log.inclusion(connection, found.revocation_index, head.tree_size)
        return Status(device.state(now), request_id, found, inclusion, revocation, proof, head)

    async def ask_for_change(self, actor: str, device_id: str, display_name: str, proposal: requests.Proposal) -> str:
        """A request for a new certificate of a device. Returns its id. Raises `Problem`."""
        now = self._clock()
        async with self._store.write() as connection:
            device = await accounts.device(connection, device_id)
            if device is None or device.state(now) in ("revoked", "rejected"):
                raise Problem("not_found")
            request_id = await requests.create(connection, "change", device_id, display_name, proposal, now)
            details: dict[str, object] = {
                "device": device_id,
                "unit": proposal.unit,
                "roles": sorted(proposal.roles),
                "ceiling": proposal.precedence_ceiling,
            }
            subject = f"request {request_id}"
            await audit.append(connection, now=now, actor=actor, action="certificate.requested", subject=subject, details=details)
        await self.requests_changed()
        return request_id

    async def approvals_needed(self, connection: AsyncConnection, request: requests.Request) -> int:
        """How many custodians a request needs as it was proposed."""
        ceiling, roles = Precedence.parse(request.precedence_ceiling), tuple(request.roles.split(","))
        grant = Grant(request.account_id, request.device_id, request.signature_public_key, request.display_name, "", roles, ceiling, 0)
        return grant.approvals_needed(is_recovery=await self._is_recovery(connection, request.account_id))

    async def _is_recovery(self, connection: AsyncConnection, account_id: str) -> bool:
        return brings_back([row.standing() for row in await certificates.last_of_account(connection, account_id)])

    async def approve(self, sender: Sender, request_id: str, statement: bytes, signature: bytes) -> None:
        """Keep an approval that a custodian's device signed. Raises `Problem`."""
        now = self._clock()
        async with self._store.write() as connection:
            organisation_id = (await self.organisation(connection)).root.organisation_id
            request, key = await self._decidable(connection, sender, request_id)
            try:
                approval = UnverifiedApproval(statement, signature).verify(organisation_id, sender.device_id, key)
                if approval.request_id != request_id:
                    raise Refused("replayed", "the approval is for another request")
                if sender.device_id == request.device_id:
                    raise Refused("approver_not_custodian", "nobody approves his own device; ask another custodian")
                if (approval.grant.account_id, approval.grant.device_id, approval.grant.signature_public_key) != (
                    request.account_id,
                    request.device_id,
                    request.signature_public_key,
                ):
                    raise Refused("not_approved", "the approval names another device than the request")
                if approval.grant.not_after <= now:
                    raise Refused("expired", "the approved validity is over")
            except Refused as refused:
                raise _problem(refused) from refused
            await self._decide(connection, requests.Decision(request_id, sender.device_id, "approve", statement, signature, now))
            grant = approval.grant
            details: dict[str, object] = {
                "device": grant.device_id,
                "unit": grant.unit,
                "roles": list(grant.roles),
                "ceiling": grant.ceiling.label,
            }
            details |= {"name": grant.display_name, "not_after": grant.not_after, "signature": signature.hex()}
            await self._audit(connection, sender, "certificate.approved", f"request {request_id}", now, details)
        await self.requests_changed()

    async def reject(self, sender: Sender, request_id: str, statement: bytes, signature: bytes) -> None:
        """Reject a request; an enrolment's device never comes in. Raises `Problem`."""
        now = self._clock()
        async with self._store.write() as connection:
            organisation_id = (await self.organisation(connection)).root.organisation_id
            request, key = await self._decidable(connection, sender, request_id)
            try:
                rejection = UnverifiedRejection(statement, signature).verify(organisation_id, sender.device_id, key)
                if (rejection.request_id, rejection.device_id) != (request_id, request.device_id):
                    raise Refused("replayed", "the rejection is for another request")
            except Refused as refused:
                raise _problem(refused) from refused
            await self._decide(connection, requests.Decision(request_id, sender.device_id, "reject", statement, signature, now))
            await requests.settle(connection, request_id, "rejected")
            details: dict[str, object] = {"device": request.device_id, "reason": rejection.reason, "signature": signature.hex()}
            await self._audit(connection, sender, "certificate.rejected", f"request {request_id}", now, details)
            if request.kind == "enrolment":
                await requests.reject_device(connection, request.device_id, now)
                await sessions.end_of_device(connection, request.device_id)
                await key_packages.forget_device(connection, request.device_id)
        if request.kind == "enrolment":
            self._hub.close([request.device_id], frames.CLOSE_PUT_OUT)
        await self.requests_changed()

    async def _decidable(self, connection: AsyncConnection, sender: Sender, request_id: str) -> tuple[requests.Request, bytes]:
        """The pending request, and the key of the custodian's device."""
        request, device = await requests.find(connection, request_id), await accounts.device(connection, sender.device_id)
        if request is None or device is None:
            raise Problem("not_found")
        if request.state != "pending":
            raise _problem(Refused("replayed", f"this request was {request.state} already"))
        return request, device.signature_public_key

    async def _decide(self, connection: AsyncConnection, decision: requests.Decision) -> None:
        if not await requests.decide(connection, decision):
            raise _problem(Refused("replayed", "this device has decided on the request already"))

    async def issue(self, sender: Sender, request_id: str, encoded: bytes, *, is_custodian: bool) -> int:
        """Log a certificate that the organisation signed. Returns its index in the log. Raises `Problem`.

        The two founding custodians bring their own; any other one has to be what its approvers approved.
        """
        now = self._clock()
        async with self._store.write() as connection:
            root = (await self.organisation(connection)).root
            try:
                certificate, federation = await self._verified(connection, root, encoded)
                certificate.check_at(now)
                grant = certificate.grant
                details: dict[str, object] = {
                    "serial": certificate.serial,
                    "name": grant.display_name,
                    "unit": grant.unit,
                    "roles": list(grant.roles),
                }
                details |= {"ceiling": grant.ceiling.label, "not_after": grant.not_after, "approvers": list(certificate.approvers)}
                # First, for the lock (`log.append`); a refusal takes it back.
                await self._audit(connection, sender, "certificate.issued", f"device {grant.device_id}", now, details)
                log_index = await log.size(connection)
                if not is_custodian and not (log_index in FOUNDING_LEAVES and sender.device_id == grant.device_id):
                    raise Problem("not_custodian")
                request = await requests.find(connection, request_id)
                if request is None or request.state != "pending":
                    raise Refused("replayed", "there is no pending request of this id")
                if (request.device_id, request.account_id, request.signature_public_key) != (
                    grant.device_id,
                    grant.account_id,
                    grant.signature_public_key,
                ):
                    raise Refused("not_approved", "the certificate is for another device than the request")
                await self._check_rules(connection, root, request_id, certificate, log_index, federation)
            except Refused as refused:
                raise _problem(refused) from refused
            await log.append(connection, encoded, self.log_key, now)
            await certificates.add(connection, certificate, log_index, federation)
            await requests.settle(connection, request_id, "issued")
            await self._set_ceiling(connection, grant.account_id)
        self._hub.directory_changed()
        await self.requests_changed()
        return log_index

    async def _verified(self, connection: AsyncConnection, root: Root, encoded: bytes) -> tuple[Certificate, str]:
        """A certificate, and for a guest's the cross-certification under which he stands, else "". Raises `Refused`."""
        peers, federations = {}, []
        if claimed_organisation(encoded) != root.organisation_id:
            for row in await certificates.federations_in_force(connection):
                federations.append(UnverifiedFederation(row.encoded).verify(root))
                peer = verify_root(row.root)
                peers[peer.organisation_id] = peer
        certificate = UnverifiedCertificate(encoded).verify(peers.get(claimed_organisation(encoded), root))
        return certificate, host_federation(certificate, root, peers, federations)

    async def _check_rules(
        self, connection: AsyncConnection, root: Root, request_id: str, certificate: Certificate, log_index: int, federation: str
    ) -> None:
        """Raises `Refused`."""
        last = await certificates.last_of_devices(connection, certificate.approvers)
        account_id = certificate.grant.account_id
        check_certificate(
            certificate,
            log_index,
            serial_known=await certificates.is_serial_known(connection, certificate.serial),
            approvers={device_id: row.standing() for device_id, row in last.items()},
            founders=await certificates.founders(connection),
            of_account=[row.standing() for row in await certificates.last_of_account(connection, account_id)],
            federation=federation,
        )
        if log_index in FOUNDING_LEAVES:
            return
        approved = set()
        for decision in await requests.decisions(connection, request_id):
            custodian = await accounts.device(connection, decision.device_id)
            if decision.decision == "approve" and custodian is not None:
                unverified = UnverifiedApproval(decision.statement, decision.signature)
                approval = unverified.verify(root.organisation_id, decision.device_id, custodian.signature_public_key)
                if approval.grant == certificate.grant:
                    approved.add(decision.device_id)
        if not approved >= set(certificate.approvers):
            raise Refused("not_approved", "the certificate is not what its approvers approved; approve it as it is, then issue it")

    async def revoke(self, sender: Sender, encoded: bytes) -> int:
        """Log a revocation and put the device out at once, or all guests of a cross-certification. Returns its index in the log.

        Raises `Problem`.
        """
        now = self._clock()
        async with self._store.write() as connection:
            root = (await self.organisation(connection)).root
            try:
                revocation = UnverifiedRevocation(encoded).verify(root)
                subject = f"device {revocation.device_id}" if revocation.device_id else f"federation {revocation.serial}"
                details: dict[str, object] = {"serial": revocation.serial, "reason": revocation.reason}
                await self._audit(connection, sender, "certificate.revoked", subject, now, details)
                ending = await self._ending(connection, revocation, now)
            except Refused as refused:
                raise _problem(refused) from refused
            log_index = await log.append(connection, encoded, self.log_key, now)
            out = [each.device_id for each in ending if await certificates.revoke(connection, each.serial, each.device_id, log_index, now)]
            for device_id in out:
                await self._put_out(connection, device_id)
        self._hub.close(out, frames.CLOSE_PUT_OUT)
        for device_id in out:
            await self._leave_calls(device_id)
        self._hub.directory_changed()
        return log_index

    async def _ending(self, connection: AsyncConnection, revocation: Revocation, now: float) -> Sequence[certificates.Row]:
        """The certificates that end with a revocation. Raises `Refused`."""
        if not revocation.device_id:
            if not await certificates.revoke_federation(connection, revocation.serial, now):
                raise Refused("unknown_serial", "no cross-certification in force has this serial")
            return await certificates.of_federation(connection, revocation.serial)
        row = await certificates.by_serial(connection, revocation.serial)
        check_revocation(row.standing() if row else None, revocation)
        assert row is not None
        return [row]

    async def _put_out(self, connection: AsyncConnection, device_id: str) -> None:
        await sessions.end_of_device(connection, device_id)
        await key_packages.forget_device(connection, device_id)
        await mailbox.empty(connection, device_id)
        device = await accounts.device(connection, device_id)
        assert device is not None
        await self._set_ceiling(connection, device.account_id)

    async def _set_ceiling(self, connection: AsyncConnection, account_id: str) -> None:
        """The server's copy, for the directory."""
        await accounts.set_precedence_ceiling(connection, account_id, await certificates.ceiling_of_account(connection, account_id))

    async def federate(self, sender: Sender, encoded: bytes, peer_root: bytes) -> int:
        """Log a cross-certification, and the other organisation's root behind it. Returns its index in the log. Raises `Problem`."""
        now = self._clock()
        async with self._store.write() as connection:
            root = (await self.organisation(connection)).root
            try:
                federation = UnverifiedFederation(encoded).verify(root)
                peer = verify_root(peer_root, federation.peer_fingerprint)
                details: dict[str, object] = {"name": peer.name, "fingerprint": peer.fingerprint.hex(), "ceiling": federation.ceiling.label}
                details |= {"units": list(federation.units), "roles": list(federation.roles), "not_after": federation.not_after}
                await self._audit(connection, sender, "federation.issued", f"federation {federation.serial}", now, details)
                log_index = await log.size(connection)
                if log_index <= max(FOUNDING_LEAVES):
                    raise Refused("founding_incomplete", "an organisation begins with two custodians")
                if await certificates.is_serial_known(connection, federation.serial):
                    raise Refused("replayed", "this serial is in the log already")
            except Refused as refused:
                raise _problem(refused) from refused
            await log.append(connection, encoded, self.log_key, now)
            known = {verify_root(encoded).fingerprint: encoded for encoded in await certificates.peer_roots(connection)}
            root_once = known.get(peer.fingerprint, peer_root)
            await certificates.add_federation(connection, federation.serial, root_once, log_index)
            if not known.get(peer.fingerprint):  # in the log, so that whoever reads it can check guests by himself
                await log.append(connection, peer_root, self.log_key, now)
        self._hub.directory_changed()
        return log_index

    async def _audit(
        self, connection: AsyncConnection, sender: Sender, action: str, subject: str, now: float, details: dict[str, object]
    ) -> None:
        actor = audit.device_actor(sender.device_id)
        await audit.append(connection, now=now, actor=actor, action=action, subject=subject, details=details)
