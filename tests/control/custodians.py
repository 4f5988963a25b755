"""The organisation of a house: founded as the product does it, with two custodians who certify whoever comes.

What every test needs (founding, certifying) goes straight to the services, so that it uses up no rate and no time; what tests of custody
are about goes over HTTP.
"""

from __future__ import annotations

import secrets
import time
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import httpx

from tramontana.control import organisation
from tramontana.control.bootstrap import LOG_KEY_NAME, load_log_key, organisation_of
from tramontana.control.custody import Custody
from tramontana.control.delivery import Sender
from tramontana.control.hub import Hub
from tramontana.control.store import accounts, requests
from tramontana.control.store.database import PostgresqlAddress, Store
from tramontana.keys.approval import Approval, Rejection
from tramontana.keys.certificate import Certificate, Grant, issue_certificate, issue_log_key, issue_revocation
from tramontana.keys.identity import DeviceKey, VerifiedEnrolment
from tramontana.keys.log import LogKey
from tramontana.keys.organisation import OrganisationKey
from tramontana.precedence import Precedence

if TYPE_CHECKING:
    from tests.control.house import House, Phone

YEAR_S = 365 * 86400


def b64(value: bytes) -> str:
    return b64encode(value).decode()


class Place(Protocol):
    """Where devices are certified: a house, or an office beside server processes."""

    @property
    def clock(self) -> Callable[[], float]: ...

    @property
    def store(self) -> Store: ...

    @property
    def custody(self) -> Custody: ...

    @property
    def service_id(self) -> str: ...


@dataclass
class Office:
    """A place beside server processes of the same database; they learn what is decided here from the store."""

    store: Store
    custody: Custody
    service_id: str
    clock: Callable[[], float] = time.time

    @classmethod
    async def beside(cls, store: Store, log_key: LogKey) -> Office:
        async def leave_calls(device_id: str) -> None:
            raise AssertionError("nobody is in a call here")

        async with store.write() as connection:
            service_id = await accounts.service_id(connection, time.time())
        return cls(store, Custody(store, Hub(), leave_calls, log_key, time.time), service_id)


def install(data: Path, database: PostgresqlAddress | None = None) -> Custodians:
    """Give a server that is not running yet an organisation, as `tramontana organisation` does."""
    made = Custodians.make(time.time())

    def sign(service_id: str, log_public_key: bytes) -> tuple[bytes, bytes]:
        return made.key.root.encoded, issue_log_key(made.key, service_id, log_public_key, now=time.time()).encoded

    organisation_of(data, sign, database)
    made.log_key = load_log_key(data / LOG_KEY_NAME)
    return made


@dataclass
class Person:
    """A custodian as he is kept between two starts of a house."""

    name: str
    key: DeviceKey = field(default_factory=DeviceKey.generate)
    account_id: str = ""
    device_id: str = ""

    @property
    def sender(self) -> Sender:
        return Sender(self.device_id, self.account_id)


@dataclass
class Custodians:
    """The organisation's key, the server's log key, and two custodians."""

    key: OrganisationKey
    log_key: LogKey = field(default_factory=LogKey.generate)
    first: Person = field(default_factory=lambda: Person("First custodian"))
    second: Person = field(default_factory=lambda: Person("Second custodian"))

    @classmethod
    def make(cls, now: float, profile: str = "hybrid-1") -> Custodians:
        return cls(OrganisationKey.generate("Ministry", profile, now=now))

    async def found(self, house: Place) -> None:
        """Install the organisation and found the custodians; a house that was founded before stays as it is."""
        now = house.clock()
        statement = issue_log_key(self.key, house.service_id, self.log_key.public_bytes, now=now)
        await organisation.install(house.store, self.log_key, self.key.root.encoded, statement.encoded, now=now)
        for person in (self.first, self.second):
            if person.device_id:
                continue
            async with house.store.write() as connection:
                enrolment = VerifiedEnrolment(bytes(32), person.key.public_bytes, person.name)
                person.account_id, person.device_id = await accounts.create(connection, enrolment, now)
                request_id = await requests.create(connection, "enrolment", person.device_id, person.name, requests.MEMBER, now)
            grant = self.grant(house, person, roles=("custodian", "member"))
            made = self.signed(house, grant, ())
            await house.custody.issue(person.sender, request_id, made.encoded, is_custodian=False)

    def grant(self, house: Place, who: Person | Phone, **changes: Any) -> Grant:
        grant = Grant(
            who.account_id,
            who.device_id,
            who.key.public_bytes,
            who.name,
            "",
            ("member",),
            Precedence.ROUTINE,
            int(house.clock()) + YEAR_S,
        )
        return replace(grant, **changes)

    def signed(self, house: Place, grant: Grant, approvers: tuple[Person, ...]) -> Certificate:
        by = [approver.device_id for approver in approvers]
        return issue_certificate(self.key, secrets.token_hex(16), grant, by, now=house.clock())

    def approval(self, house: Place, custodian: Person, request_id: str, grant: Grant) -> tuple[bytes, bytes]:
        """(statement, signature)."""
        made = Approval(self.key.root.organisation_id, request_id, grant, custodian.device_id, int(house.clock()))
        return made.statement(), custodian.key.sign(made.statement())

    def rejection(self, house: Place, custodian: Person, request_id: str, device_id: str) -> tuple[bytes, bytes]:
        """(statement, signature)."""
        names = (self.key.root.organisation_id, request_id, device_id, "nobody knows this code", custodian.device_id)
        made = Rejection(*names, int(house.clock()))
        return made.statement(), custodian.key.sign(made.statement())

    async def certify(self, house: Place, phone: Person | Phone, **changes: Any) -> None:
        """Approve as often as it takes, and issue. A device that has a certificate gets a new one."""
        grant = self.grant(house, phone, **changes)
        async with house.store.write() as connection:
            pending = await requests.pending_of_device(connection, phone.device_id)
            request_id = (
                pending.request_id
                if pending
                else await requests.create(connection, "change", phone.device_id, phone.name, requests.MEMBER, house.clock())
            )
        approvers = (self.first, self.second)[: grant.approvals_needed()]
        for custodian in approvers:
            await house.custody.approve(custodian.sender, request_id, *self.approval(house, custodian, request_id, grant))
        made = self.signed(house, grant, approvers)
        await house.custody.issue(self.first.sender, request_id, made.encoded, is_custodian=True)

    async def revoke(self, house: Place, phone: Phone | Person, reason: str = "lost") -> None:
        encoded = issue_revocation(self.key, await serial_of(house, phone), phone.device_id, reason, now=house.clock()).encoded
        await house.custody.revoke(self.first.sender, encoded)


async def serial_of(house: Place, who: Phone | Person) -> str:
    async with house.store.read() as connection:
        device = await accounts.device(connection, who.device_id)
    assert device is not None
    assert device.serial is not None
    return device.serial


@dataclass
class Desk:
    """One custodian at his desk, over HTTP."""

    phone: Phone
    custodians: Custodians
    person: Person

    @classmethod
    async def of(cls, house: House, person: Person) -> Desk:
        from tests.control.house import Phone

        phone = Phone(house, person.name)
        phone.key, phone.account_id, phone.device_id = person.key, person.account_id, person.device_id
        await phone.login()
        return cls(phone, house.custodians, person)

    async def requests(self) -> list[dict[str, Any]]:
        answer = await self.phone.get("/custody/requests")
        assert answer.status_code == 200, answer.text
        listed: list[dict[str, Any]] = answer.json()
        return listed

    async def approve(self, request_id: str, grant: Grant, **changed: bytes) -> httpx.Response:
        statement, signature = self.custodians.approval(self.phone.house, self.person, request_id, grant)
        body = {"statement": b64(changed.get("statement", statement)), "signature": b64(changed.get("signature", signature))}
        return await self.phone.post(f"/custody/requests/{request_id}/approvals", body)

    async def reject(self, request_id: str, device_id: str) -> httpx.Response:
        statement, signature = self.custodians.rejection(self.phone.house, self.person, request_id, device_id)
        return await self.phone.post(
            f"/custody/requests/{request_id}/rejection", {"statement": b64(statement), "signature": b64(signature)}
        )

    async def issue(self, request_id: str, encoded: bytes) -> httpx.Response:
        return await self.phone.post("/custody/certificates", {"request_id": request_id, "certificate": b64(encoded)})

    async def revoke(self, encoded: bytes) -> httpx.Response:
        return await self.phone.post("/custody/revocations", {"revocation": b64(encoded)})
