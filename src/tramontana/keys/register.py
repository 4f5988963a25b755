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
)
from tramontana.keys.federation import FEDERATION_CONTEXT, Federation, UnverifiedFederation
from tramontana.keys.organisation import ROOT_CONTEXT, Root, SignedStatement
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


def check_certificate(
    certificate: Certificate,
    log_index: int,
    *,
    serial_known: bool,
    approvers: Mapping[str, Standing],
    founders: Collection[str],
    is_recovery: bool,
) -> None:
    """The rules for a certificate that is to stand at this place of the log. Raises `Refused`.

    approvers: the last certificates of the devices that it names, where there are any; founders: accounts of the
    founding custodians so far.
    """
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

    def read(self, encoded: bytes) -> Entry:
        """The next entry of the log. Raises `Refused`, and then nothing has changed."""
        entry = self._verified(encoded)
        match entry:
            case Certificate():
                self._add(entry)
            case Revocation(device_id=""):
                if self.federations.pop(entry.serial, None) is None:
                    raise Refused("unknown_serial", "no federation has this serial")
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
                pass
        self.size += 1
        return entry

    def _verified(self, encoded: bytes) -> Entry:
        context = SignedStatement.parse(encoded).context
        if (self.size == 0) != (context == ROOT_CONTEXT) or (self.size == 1) != (context == LOG_KEY_CONTEXT):
            raise Refused("malformed", f"entry {self.size} of the log cannot be a statement of context {context!r}")
        if self.size in FOUNDING_LEAVES and context != CERTIFICATE_CONTEXT:
            raise Refused("founding_incomplete", "an organisation begins with two custodians")
        return read_entry(encoded, self.root)

    def _add(self, certificate: Certificate) -> None:
        grant = certificate.grant
        approvers = {device_id: found for device_id in certificate.approvers if (found := self.last(device_id))}
        check_certificate(
            certificate,
            self.size,
            serial_known=certificate.serial in self.certificates or certificate.serial in self.federations,
            approvers=approvers,
            founders=self.founders,
            is_recovery=is_recovery(self.of_account(grant.account_id)),
        )
        self.certificates[certificate.serial] = standing_of(certificate, self.size)
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


def standing_of(certificate: Certificate, log_index: int) -> Standing:
    grant = certificate.grant
    return Standing(certificate.serial, grant.account_id, grant.device_id, grant.roles, certificate.not_before, grant.not_after, log_index)


def _revoked(standing: Standing) -> Standing:
    return replace(standing, is_revoked=True)


def is_recovery(of_account: Iterable[Standing]) -> bool:
    """Whether a certificate brings back a person all of whose devices are revoked."""
    known = list(of_account)
    return bool(known) and all(standing.is_revoked for standing in known)


def read_entry(encoded: bytes, root: Root) -> Entry:
    """Any statement that may stand in a log, its signatures verified, its place not. Raises `Refused`."""
    context = SignedStatement.parse(encoded).context
    if context == ROOT_CONTEXT:
        if encoded != root.encoded:
            raise Refused("wrong_organisation", "the log begins with another organisation's root")
        return root
    if context == LOG_KEY_CONTEXT:
        return UnverifiedLogKey(encoded).verify(root)
    if context == CERTIFICATE_CONTEXT:
        return UnverifiedCertificate(encoded).verify(root)
    if context == REVOCATION_CONTEXT:
        return UnverifiedRevocation(encoded).verify(root)
    if context == FEDERATION_CONTEXT:
        return UnverifiedFederation(encoded).verify(root)
    raise Refused("malformed", f"a statement of context {context!r} does not belong in a log")
