"""Organisations, devices and logs for tests: whole ones, made as the product makes them."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, field

from tramontana.keys.certificate import Certificate, Grant, LogKeyStatement, issue_certificate, issue_log_key
from tramontana.keys.identity import DeviceKey
from tramontana.keys.log import LogKey
from tramontana.keys.organisation import OrganisationKey
from tramontana.precedence import Precedence

NOW = 1_800_000_000
YEAR_S = 365 * 86400


def named_id(name: str) -> str:
    """A readable test's stable id."""
    return hashlib.sha256(name.encode()).hexdigest()[:32]


def grant(name: str = "Ada", *, device: str | None = None, key: DeviceKey | None = None, **changes: object) -> Grant:
    """A routine member, or what `changes` make of her."""
    values: dict[str, object] = {
        "account_id": named_id(name),
        "device_id": named_id(device or f"{name}'s phone"),
        "signature_public_key": (key or DeviceKey.generate()).public_bytes,
        "display_name": name,
        "unit": "Coast Guard",
        "roles": ("member",),
        "ceiling": Precedence.ROUTINE,
        "not_after": NOW + YEAR_S,
    }
    return Grant(**(values | changes))  # type: ignore[arg-type]


@dataclass
class Organisation:
    """An organisation with its key, a log key, and two founding custodians."""

    key: OrganisationKey
    log_key: LogKey = field(default_factory=LogKey.generate)
    service_id: str = named_id("service")

    @classmethod
    def make(cls, name: str = "Ministry", profile: str = "hybrid-1") -> Organisation:
        return cls(OrganisationKey.generate(name, profile, now=NOW))

    def log_key_statement(self) -> LogKeyStatement:
        return issue_log_key(self.key, self.service_id, self.log_key.public_bytes, now=NOW)

    def certify(self, what: Grant, *approvers: str, now: float = NOW) -> Certificate:
        """approvers: names of custodians."""
        return issue_certificate(self.key, secrets.token_hex(16), what, [named_id(f"{name}'s phone") for name in approvers], now=now)

    def founders(self) -> list[Certificate]:
        return [self.certify(grant(name, roles=("custodian", "member"))) for name in ("First", "Second")]

    def founding(self) -> list[bytes]:
        """The first four entries of the log."""
        return [self.key.root.encoded, self.log_key_statement().encoded, *(founder.encoded for founder in self.founders())]
