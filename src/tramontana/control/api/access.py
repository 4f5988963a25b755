"""Dependencies of the routes: the services, who is asking, and how often."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.requests import HTTPConnection

from tramontana.control.delivery import Sender
from tramontana.control.limits import Rate, address_key
from tramontana.control.problem import Problem
from tramontana.control.services import Services
from tramontana.control.store import sessions
from tramontana.keys.secret import Token

_bearer = HTTPBearer(auto_error=False, description="the token of a session")


def services_of(connection: HTTPConnection) -> Services:
    """The services behind a request or WebSocket."""
    services: Services = connection.app.state.services
    return services


def _services(request: Request) -> Services:
    return services_of(request)


ServicesOf = Annotated[Services, Depends(_services)]


def client_address(connection: HTTPConnection) -> str:
    """The sender's address, for limits and the audit trail."""
    return connection.client.host if connection.client else "unknown"


def limit(services: Services, name: str, key: str, rate: Rate, *, cost: float = 1) -> None:
    """Take a token, or `cost` of them. Raises `Problem` with the time to wait."""
    if wait_s := services.buckets.take(name, key, rate, services.clock(), cost):
        raise Problem("too_many_requests", retry_after_s=wait_s)


def _stranger(request: Request, services: ServicesOf) -> str:
    address = client_address(request)
    limit(services, "stranger", address_key(address), services.limits.stranger)
    return address


Stranger = Annotated[str, Depends(_stranger)]
"""Somebody without a session; the value is his address."""


async def session_of(services: Services, text: str) -> sessions.Session | None:
    """The live session of a bearer token as text."""
    token = Token.parse(text)
    if token is None:
        return None
    async with services.store.read() as connection:
        return await sessions.find(connection, token.sha256(), services.clock())


async def _session(
    request: Request, services: ServicesOf, bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> sessions.Session:
    session = await session_of(services, bearer.credentials) if bearer else None
    if session is None:
        limit(services, "stranger", address_key(client_address(request)), services.limits.stranger)
        raise Problem("not_logged_in")
    return session


def _for_role(role: str) -> Callable[[sessions.Session, Services], Awaitable[sessions.Session]]:
    async def check(session: Annotated[sessions.Session, Depends(_session)], services: ServicesOf) -> sessions.Session:
        if session.role != role:
            raise Problem("not_logged_in")
        limit(services, "account", session.account_id or role, services.limits.account)
        return session

    return check


def _sender(session: Annotated[sessions.Session, Depends(_for_role("device"))]) -> Sender:
    assert session.device_id is not None
    assert session.account_id is not None
    return Sender(session.device_id, session.account_id)


DeviceOf = Annotated[Sender, Depends(_sender)]
"""An enrolled device with a session."""


def _audited_sender(sender: DeviceOf, services: ServicesOf) -> Sender:
    limit(services, "audited", sender.account_id, services.limits.audited)
    return sender


AuditedDeviceOf = Annotated[Sender, Depends(_audited_sender)]
"""A device that asks for something that leaves a row in the audit trail: rows stay for good, so the rate is lower."""
AdministratorOf = Annotated[sessions.Session, Depends(_for_role("administrator"))]
"""An administrator's session."""
