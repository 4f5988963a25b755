"""Certified sites and gateways for tests, with the log that says so."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.keys.organisations import NOW, YEAR_S, Organisation, grant
from tramontana.internet.tunnel_keys import Identity
from tramontana.keys.certificate import Certificate, issue_log_key, issue_revocation
from tramontana.keys.identity import DeviceKey
from tramontana.keys.organisation import OrganisationKey
from tramontana.keys.register import Register


@dataclass
class Ministry:
    """An organisation whose log is kept as a list of entries, and read as everybody reads it."""

    now: int = NOW
    organisation: Organisation = field(init=False)
    entries: list[bytes] = field(default_factory=list)
    register: Register = field(init=False)

    def __post_init__(self) -> None:
        self.organisation = Organisation(OrganisationKey.generate("Ministry", "hybrid-1", now=self.now))
        key, log_key = self.organisation.key, self.organisation.log_key
        self.register = Register(key.root)
        self.log(key.root.encoded)
        self.log(issue_log_key(key, self.organisation.service_id, log_key.public_bytes, now=self.now).encoded)
        for name in ("First", "Second"):
            self.log(self._certificate(name, ("custodian", "member"), DeviceKey.generate()).encoded)

    def log(self, entry: bytes) -> None:
        self.entries.append(entry)
        self.register.read(entry)

    def certify(self, name: str, *roles: str) -> Identity:
        key = DeviceKey.generate()
        certificate = self._certificate(name, roles, key, "First")
        self.log(certificate.encoded)
        return Identity(certificate, key)

    def renew(self, identity: Identity) -> Identity:
        """A new certificate for the same device and key."""
        now = identity.certificate.grant
        certificate = self.organisation.certify(now, "First", now=self.now)
        self.log(certificate.encoded)
        return Identity(certificate, identity.key)

    def revoke(self, identity: Identity, reason: str = "stolen") -> bytes:
        """The entry of the log."""
        serial = identity.certificate.serial
        entry = issue_revocation(self.organisation.key, serial, identity.device_id, reason, now=self.now).encoded
        self.log(entry)
        return entry

    def _certificate(self, name: str, roles: tuple[str, ...], key: DeviceKey, *approvers: str) -> Certificate:
        what = grant(name, key=key, roles=tuple(sorted(roles)), not_after=self.now + YEAR_S)
        return self.organisation.certify(what, *approvers, now=self.now)
