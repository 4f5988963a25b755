"""Dependencies of the routes: the services, who is asking, and how often.

All are coroutines, although few wait: FastAPI runs what is none in a thread, which costs more than all of them do.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.requests import HTTPConnection

from tramontana.cell.warning import SUBMITTER_ROLES, Person
from tramontana.control.delivery import Sender
from tramontana.control.limits import Rate
from tramontana.control.problem import Problem
from tramontana.control.services import Services
from tramontana.control.store import audit, operators, sessions
from tramontana.control.store.operators import OperatorPerson
from tramontana.internet.addresses import source_of

_bearer = HTTPBearer(auto_error=False, description="the token of a session")


def services_of(connection: HTTPConnection) -> Services:
    """The services behind a request or WebSocket."""
    services: Services = connection.app.state.services
    return services


async def _services(request: Request) -> Services:
    return services_of(request)


ServicesOf = Annotated[Services, Depends(_services)]


def client_address(connection: HTTPConnection) -> str:
    """The sender's address, for limits and the audit trail."""
    return connection.client.host if connection.client else "unknown"


def limit(services: Services, name: str, key: str, rate: Rate, *, cost: float = 1) -> None:
    """Take a token, or `cost` of them. Raises `Problem` with the time to wait."""
    if wait_s := services.buckets.take(name, key, rate, services.clock(), cost):
        raise Problem("too_many_requests", retry_after_s=wait_s)


async def _stranger(request: Request, services: ServicesOf) -> str:
    address = client_address(request)
    limit(services, "stranger", source_of(address), services.limits.stranger)
    return address


Stranger = Annotated[str, Depends(_stranger)]
"""Somebody without a session; the value is his address."""


async def _session(
    request: Request, services: ServicesOf, bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> sessions.Session:
    session = await services.admission.session(bearer.credentials) if bearer else None
    if session is None:
        limit(services, "stranger", source_of(client_address(request)), services.limits.stranger)
        raise Problem("not_logged_in")
    return session


async def _log_reader(session: Annotated[sessions.Session, Depends(_session)], services: ServicesOf) -> sessions.Session:
    limit(services, "account", session.account_id or session.role, services.limits.account)
    return session


LogReaderOf = Annotated[sessions.Session, Depends(_log_reader)]
"""Anybody with a session: devices, certified or not, administrators, auditors."""


def _for_role(role: str) -> Callable[[sessions.Session, Services], Awaitable[sessions.Session]]:
    async def check(session: Annotated[sessions.Session, Depends(_session)], services: ServicesOf) -> sessions.Session:
        if session.role != role:
            raise Problem("not_logged_in")
        limit(services, "account", session.account_id or role, services.limits.account)
        return session

    return check


_device_session = _for_role("device")


SessionOf = Annotated[sessions.Session, Depends(_device_session)]
"""The session of a device."""


async def _enrolled(session: SessionOf) -> Sender:
    assert session.device_id is not None
    assert session.account_id is not None
    return Sender(session.device_id, session.account_id)


EnrolledOf = Annotated[Sender, Depends(_enrolled)]
"""A device with a session, certified or still pending: what it asks for concerns itself alone."""


async def _sender(session: SessionOf, services: ServicesOf) -> Sender:
    if session.certified_until is None:
        raise Problem("not_certified")
    if services.clock() >= session.certified_until:
        raise Problem("certificate_expired")
    return await _enrolled(session)


DeviceOf = Annotated[Sender, Depends(_sender)]
"""A certified device with a session."""


async def _custodian(session: SessionOf, sender: DeviceOf) -> Sender:
    if "custodian" not in session.roles:
        raise Problem("not_custodian")
    return sender


CustodianOf = Annotated[Sender, Depends(_custodian)]
"""A certified device of a custodian."""


def _router(role: str) -> Callable[[sessions.Session, Sender], Awaitable[Sender]]:
    async def check(session: SessionOf, sender: DeviceOf) -> Sender:
        if role not in session.roles:
            raise Problem("not_a_router")
        return sender

    return check


SiteOf = Annotated[Sender, Depends(_router("site"))]
"""A certified device of a site."""
GatewayOf = Annotated[Sender, Depends(_router("gateway"))]
"""A certified device of a gateway."""


async def _warner(session: SessionOf, sender: DeviceOf) -> Person:
    person = Person(sender.account_id, sender.device_id, session.roles)
    if not person.roles & SUBMITTER_ROLES:
        raise Problem("not_warner")
    return person


WarnerOf = Annotated[Person, Depends(_warner)]
"""A certified device of an operator or of an approver of warnings."""


async def _administrator_or_certified(session: Annotated[sessions.Session, Depends(_session)], services: ServicesOf) -> Sender | None:
    if session.role != "administrator":
        return await _sender(await _device_session(session, services), services)
    limit(services, "account", session.role, services.limits.account)
    return None


AdministratorOrCertified = Annotated[Sender | None, Depends(_administrator_or_certified)]
"""A certified device; None for an administrator's session, which is nobody."""


async def _warning_reader(session: Annotated[sessions.Session, Depends(_session)], sender: AdministratorOrCertified) -> sessions.Session:
    if sender is not None:
        await _warner(session, sender)
    return session


WarningReaderOf = Annotated[sessions.Session, Depends(_warning_reader)]
"""Who may look at warnings: administrators, operators, approvers."""


async def _operator(session: Annotated[sessions.Session, Depends(_session)], sender: AdministratorOrCertified) -> Sender | None:
    if sender is not None and operators.ROLE not in session.roles:
        raise Problem("not_operator")
    return sender


OperatorOf = Annotated[Sender | None, Depends(_operator)]
"""An operator's certified device; None for an administrator's session."""


@dataclass(frozen=True, slots=True)
class SosActor:
    """Who looks at and acts on cases: an operator, proved by the certificate of his device, or a console's session, which is nobody."""

    person: OperatorPerson | None
    device_id: str | None


async def _sos_actor(sender: OperatorOf, services: ServicesOf) -> SosActor:
    if sender is None:
        return SosActor(None, None)
    async with services.store.read() as connection:
        return SosActor(await operators.person(connection, sender.account_id), sender.device_id)


SosActorOf = Annotated[SosActor, Depends(_sos_actor)]


async def _unit_reader(sender: OperatorOf) -> str:
    return audit.device_actor(sender.device_id) if sender is not None else audit.ADMINISTRATOR


UnitReaderOf = Annotated[str, Depends(_unit_reader)]
"""Who may see where field units are: administrators and operators. The value is his name in the audit trail."""


async def _audited_sender(sender: DeviceOf, services: ServicesOf) -> Sender:
    limit(services, "audited", sender.account_id, services.limits.audited)
    return sender


AuditedDeviceOf = Annotated[Sender, Depends(_audited_sender)]
"""A device that asks for something that leaves a row in the audit trail: rows stay for good, so the rate is lower."""
AdministratorOf = Annotated[sessions.Session, Depends(_for_role("administrator"))]
"""An administrator's session."""
