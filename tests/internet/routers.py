"""Certified sites and gateways for tests, with the log that says so."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.keys.organisations import NOW, Organisation, grant
from tramontana.internet.tunnel_keys import Identity
from tramontana.keys.certificate import issue_revocation
from tramontana.keys.identity import DeviceKey
from tramontana.keys.register import Register


@dataclass
class Ministry:
    """An organisation whose log is kept as a list of entries, and read as everybody reads it."""

    now: float = NOW
    organisation: Organisation = field(default_factory=Organisation.make)
    entries: list[bytes] = field(default_factory=list)
    register: Register = field(init=False)

    def __post_init__(self) -> None:
        self.register = Register(self.organisation.key.root)
        for entry in self.organisation.founding():
            self.log(entry)

    def log(self, entry: bytes) -> None:
        self.entries.append(entry)
        self.register.read(entry)

    def certify(self, name: str, *roles: str, key: DeviceKey | None = None) -> Identity:
        key = key or DeviceKey.generate()
        certificate = self.organisation.certify(grant(name, key=key, roles=tuple(sorted(roles))), "First", now=self.now)
        self.log(certificate.encoded)
        return Identity(certificate, key)

    def revoke(self, identity: Identity) -> bytes:
        serial = identity.certificate.serial
        entry = issue_revocation(self.organisation.key, serial, identity.device_id, "stolen", now=self.now).encoded
        self.log(entry)
        return entry
