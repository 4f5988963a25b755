"""What stands after reading a log in order: which certificate of each device counts, who is custodian, what is revoked.

The rules of docs/protocols.md in one place: the auditor replays the whole log, a custodian's machine too; the server checks each entry with
`check_certificate` and `check_revocation` before it appends it, from rows instead of memory.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace

from tramontana.keys.certificate import (
    CERTIFICATE_CONTEXT,
    FOUNDING_LEAVES,
    LOG_KEY_CONTEXT,
    REVOCATION_CONTEXT,
    Certificate,
    LogKeyStatement,
    Revocation,
    UnverifiedCertificate,
    UnverifiedLogKey,
    UnverifiedRevocation,
    claimed_organisation,
)
from tramontana.keys.federation import FEDERATION_CONTEXT, Federation, UnverifiedFederation
from tramontana.keys.organisation import ROOT_CONTEXT, Root, SignedStatement, verify_root
from tramontana.keys.refused import Refused

Entry = Root | LogKeyStatement | Certificate | Revocation | Federation


@dataclass(frozen=True, slots=True)
class Standing:
    """What matters of a logged certificate for the rules."""

    serial: str
    account_id: str
    device_id: str
    roles: tuple[str, ...]
    not_before: int
    not_after: int
    log_index: int
    is_revoked: bool = False
    federation: str = ""
    """Of a guest: the serial of the cross-certification under which he stands, and with which he falls."""


def check_certificate(
    certificate: Certificate,
    log_index: int,
    *,
    serial_known: bool,
    approvers: Mapping[str, Standing],
    founders: Collection[str],
    of_account: Collection[Standing],
    federation: str = "",
) -> None:
    """The rules for a certificate that is to stand at this place of the log. Raises `Refused`.

    approvers: the last certificates of the devices that it names, where there are any; founders: accounts of the
    founding custodians so far; of_account: the last certificates of its account's devices; federation: of a guest, else "".
    """
    if any(bool(standing.federation) != bool(federation) for standing in of_account):
        raise Refused("outside_federation", "a guest and a member of this organisation are never one account; invite him anew")
    is_recovery = brings_back(of_account)
    if serial_known:
        raise Refused("replayed", "a certificate with this serial is in the log already; issue a new one")
    certificate.check_approvers(log_index, is_recovery=is_recovery)
    if log_index in FOUNDING_LEAVES:
        if certificate.grant.account_id in founders:
            raise Refused("founding_incomplete", "the two founding custodians must be two persons")
        return
    accounts = set()
    for device_id in certificate.approvers:
        standing = approvers.get(device_id)
        if (
            standing is None
            or standing.is_revoked
            or "custodian" not in standing.roles
            or not standing.not_before <= certificate.not_before < standing.not_after
        ):
            raise Refused("approver_not_custodian", f"the approver {device_id} is not a custodian with a valid certificate")
        accounts.add(standing.account_id)
    if len(accounts) < certificate.grant.approvals_needed(is_recovery=is_recovery):
        raise Refused("missing_approver", "the approvals are of one person; another custodian has to approve")


def check_revocation(standing: Standing | None, revocation: Revocation) -> None:
    """standing: the certificate of that serial. Raises `Refused` (`unknown_serial`, `replayed`)."""
    if standing is None or standing.device_id != revocation.device_id:
        raise Refused("unknown_serial", "no certificate of this device has this serial; look at `tramontana custodian list`")
    if standing.is_revoked:
        raise Refused("replayed", "this certificate is revoked already")


@dataclass
class Register:
    """Reads entries in order; refuses, by name, what may not stand in the log. Serialisable by its public fields."""

    root: Root
    size: int = 0
    log_key: LogKeyStatement | None = None
    certificates: dict[str, Standing] = field(default_factory=dict)
    """By serial."""
    last_serial: dict[str, str] = field(default_factory=dict)
    """The last certificate of each device."""
    devices_of: dict[str, list[str]] = field(default_factory=dict)
    """The devices of each account."""
    founders: list[str] = field(default_factory=list)
    """Accounts of the founding custodians."""
    federations: dict[str, Federation] = field(default_factory=dict)
    """By serial, those that are not revoked."""
    peers: dict[str, Root] = field(default_factory=dict)
    """Roots of other organisations, by organisation_id; a cross-certification in the log names each."""

    def root_of(self, encoded: bytes) -> Root:
        """The organisation whose certificate this claims to be: this one, or one that was cross-certified. Raises `Refused`."""
        return _root_of(encoded, self.root, self.peers.values())

    def read(self, encoded: bytes) -> Entry:
        """The next entry of the log. Raises `Refused`, and then nothing has changed."""
        entry = self._verified(encoded)
        match entry:
            case Certificate():
                self._add(entry)
            case Revocation(device_id=""):
                if self.federations.pop(entry.serial, None) is None:
                    raise Refused("unknown_serial", "no federation has this serial")
                for serial, guest in self.certificates.items():
                    if guest.federation == entry.serial:
                        self.certificates[serial] = _revoked(guest)
            case Revocation():
                standing = self.certificates.get(entry.serial)
                check_revocation(standing, entry)
                assert standing is not None
                self.certificates[entry.serial] = _revoked(standing)
            case Federation():
                if entry.serial in self.federations or entry.serial in self.certificates:
                    raise Refused("replayed", "this serial is in the log already")
                self.federations[entry.serial] = entry
            case LogKeyStatement():
                self.log_key = entry
            case Root():
                if entry.fingerprint != self.root.fingerprint:
                    self.peers[entry.organisation_id] = entry
        self.size += 1
        return entry

    def _verified(self, encoded: bytes) -> Entry:
        context = SignedStatement.parse(encoded).context
        is_peer = context == ROOT_CONTEXT and self.size > max(FOUNDING_LEAVES)
        if (self.size == 0) != (context == ROOT_CONTEXT and not is_peer) or (self.size == 1) != (context == LOG_KEY_CONTEXT):
            raise Refused("malformed", f"entry {self.size} of the log cannot be a statement of context {context!r}")
        if self.size in FOUNDING_LEAVES and context != CERTIFICATE_CONTEXT:
            raise Refused("founding_incomplete", "an organisation begins with two custodians")
        return self._peer_root(encoded) if is_peer else read_entry(encoded, self.root, self.peers.values())

    def _peer_root(self, encoded: bytes) -> Root:
        peer = verify_root(encoded)
        if peer.organisation_id in self.peers or peer.fingerprint not in {each.peer_fingerprint for each in self.federations.values()}:
            raise Refused("replayed", "a root in the log is of another organisation that was cross-certified just before, once")
        return peer

    def _add(self, certificate: Certificate) -> None:
        grant = certificate.grant
        federation = host_federation(certificate, self.root, self.peers, self.federations.values())
        approvers = {device_id: found for device_id in certificate.approvers if (found := self.last(device_id))}
        check_certificate(
            certificate,
            self.size,
            serial_known=certificate.serial in self.certificates or certificate.serial in self.federations,
            approvers=approvers,
            founders=self.founders,
            of_account=self.of_account(grant.account_id),
            federation=federation,
        )
        self.certificates[certificate.serial] = standing_of(certificate, self.size, federation)
        if grant.device_id not in self.last_serial:
            self.devices_of.setdefault(grant.account_id, []).append(grant.device_id)
        self.last_serial[grant.device_id] = certificate.serial
        if self.size in FOUNDING_LEAVES:
            self.founders.append(grant.account_id)

    def last(self, device_id: str) -> Standing | None:
        """The last certificate of a device, revoked or not."""
        serial = self.last_serial.get(device_id)
        return self.certificates[serial] if serial else None

    def of_account(self, account_id: str) -> list[Standing]:
        """The last certificates of an account's devices."""
        return [found for device_id in self.devices_of.get(account_id, ()) if (found := self.last(device_id))]


def host_federation(certificate: Certificate, root: Root, peers: Mapping[str, Root], federations: Iterable[Federation]) -> str:
    """The serial of the cross-certification whose limits a guest's certificate keeps; "" for one of `root`. Raises `Refused`."""
    if certificate.organisation_id == root.organisation_id:
        return ""
    why = Refused("outside_federation", "the organisation of this device is not cross-certified")
    for federation in federations:
        if federation.peer_fingerprint == peers[certificate.organisation_id].fingerprint:
            try:
                federation.check(certificate)
            except Refused as refused:
                why = refused
            else:
                return federation.serial
    raise why


def standing_of(certificate: Certificate, log_index: int, federation: str = "") -> Standing:
    grant = certificate.grant
    whose = (certificate.serial, grant.account_id, grant.device_id, grant.roles)
    return Standing(*whose, certificate.not_before, grant.not_after, log_index, federation=federation)


def _revoked(standing: Standing) -> Standing:
    return replace(standing, is_revoked=True)


def brings_back(of_account: Collection[Standing]) -> bool:
    """Whether a further certificate recovers a person: all of whose devices are revoked."""
    return bool(of_account) and all(standing.is_revoked for standing in of_account)


def _root_of(certificate: bytes, root: Root, peers: Iterable[Root]) -> Root:
    claimed = claimed_organisation(certificate)
    return next((peer for peer in peers if peer.organisation_id == claimed), root)


def read_entry(encoded: bytes, root: Root, peers: Collection[Root] = ()) -> Entry:
    """Any statement that may stand in a log, its signatures verified, its place not. peers: other organisations. Raises `Refused`."""
    context = SignedStatement.parse(encoded).context
    if context == ROOT_CONTEXT:
        if known := next((each for each in (root, *peers) if each.encoded == encoded), None):
            return known
        raise Refused("wrong_organisation", "the root of an organisation that this log does not know")
    if context == LOG_KEY_CONTEXT:
        return UnverifiedLogKey(encoded).verify(root)
    if context == CERTIFICATE_CONTEXT:
        return UnverifiedCertificate(encoded).verify(_root_of(encoded, root, peers))
    if context == REVOCATION_CONTEXT:
        return UnverifiedRevocation(encoded).verify(root)
    if context == FEDERATION_CONTEXT:
        return UnverifiedFederation(encoded).verify(root)
    raise Refused("malformed", f"a statement of context {context!r} does not belong in a log")
