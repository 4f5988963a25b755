"""Assembles the server: services, guard, routers, background work."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from tramontana import __version__
from tramontana.cell.position import BadCatalogue, PlaceCatalogue
from tramontana.control import frames, pages
from tramontana.control.admission import Admission
from tramontana.control.api import (
    admin,
    admin_conversations,
    attachments,
    calls,
    console,
    conversations,
    custody,
    entry,
    exercises,
    log,
    loss,
    me,
    reports,
    routers,
    sealed_texts,
    socket,
    sos,
    texts,
    units,
    warnings,
)
from tramontana.control.attachments import AttachmentRules, Attachments
from tramontana.control.broadcast_sky import BroadcastSky
from tramontana.control.calls import Calls
from tramontana.control.challenges import Challenges
from tramontana.control.custody import Custody
from tramontana.control.delivery import Delivery
from tramontana.control.events import Events, LocalEvents
from tramontana.control.exercises import Exercises
from tramontana.control.forwarders import Forwarders
from tramontana.control.guard import LOOPBACK_NAMES, Guard
from tramontana.control.hub import Hub
from tramontana.control.limits import Limits, TokenBuckets
from tramontana.control.logs import AccessLog
from tramontana.control.mailroom import Mailroom
from tramontana.control.media import Media, Relay
from tramontana.control.membership import Membership
from tramontana.control.operators import Operators
from tramontana.control.player import PathPlayer
from tramontana.control.problem import Problem, answer_problem
from tramontana.control.processes import Processes
from tramontana.control.relay_orders import TELL_EVERY_S, RelayOrders
from tramontana.control.reports import Reports
from tramontana.control.rooms import Rooms
from tramontana.control.routers import Routers
from tramontana.control.services import Services
from tramontana.control.sky import SkyService
from tramontana.control.sos import Sos
from tramontana.control.store import accounts, audit, carrier_hours, key_packages, mailbox, retention, sessions, trees
from tramontana.control.store import attachments as attachment_rows
from tramontana.control.store import calls as call_rows
from tramontana.control.store import routers as router_rows
from tramontana.control.store import sealed_texts as sealed_text_rows
from tramontana.control.store import sos as sos_rows
from tramontana.control.store import texts as text_rows
from tramontana.control.store.database import Store, StoreUnavailable
from tramontana.control.tak import Tak
from tramontana.control.tak_file import TakServers
from tramontana.control.texts import Texts
from tramontana.control.warnings import WarningData, Warnings
from tramontana.keys.log import LogKey
from tramontana.phone.forwarder.client.driver import ForwarderClient

REAP_EVERY_S = 5.0
FORGET_EVERY_S = 3600.0
FORGET_AT_ONCE = 500
"""Texts, or cases, in one transaction."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Parts:
    """What a server is made from. Without a relay there are no calls; without a player media goes to the relay directly.

    Without a forwarder there are no conferences and no talk groups.
    """

    store: Store
    sky: SkyService
    relay: Relay | None = None
    player: PathPlayer | None = None
    limits: Limits = field(default_factory=Limits)
    host_names: frozenset[str] = LOOPBACK_NAMES
    static: Path = pages.STATIC
    clock: Callable[[], float] = time.time
    events: Events = field(default_factory=LocalEvents)
    forwarders: tuple[ForwarderClient, ...] = ()
    attachments: AttachmentRules = field(default_factory=AttachmentRules)
    operators: Operators = field(default_factory=Operators)
    """Message centres, who may bind to ours, and the emergency numbers; without any there are no texts and no SOS."""
    warning_data: WarningData = field(default_factory=WarningData)
    reports: Path | None = None
    """The folder of reports of planning; None: there are none."""
    exercises: Path | None = None
    """The folder of exercises that are watched; None: there are none."""
    tak: TakServers = field(default_factory=TakServers)
    """TAK servers to tell of cases and warnings, and to hear of field units from."""
    log_key: LogKey = field(default_factory=LogKey.generate)
    """Signs the heads of the transparency log; without the one that the organisation has signed there is no enrolment."""


async def _assemble(parts: Parts, buckets: TokenBuckets) -> Services:
    async with parts.store.write() as connection:
        service_id = await accounts.service_id(connection, parts.clock())
        secret = await accounts.service_secret(connection)
    hub = Hub(parts.events)
    challenges = Challenges(_derived(secret, b"tramontana login challenges 1"))
    media = Media(parts.store, parts.sky, parts.relay, parts.player, parts.clock)
    in_calls = Calls(parts.store, hub, media, Rooms(parts.sky, hub, simulated=media.simulated), parts.clock)
    forwarders = Forwarders(parts.store, hub, media, parts.forwarders, parts.relay.secret if parts.relay else None, parts.clock)

    texts_service = Texts(parts.store, parts.operators, parts.clock)
    places = await asyncio.to_thread(_places, parts.operators.places) if parts.operators.places else None
    sos_service = Sos(parts.store, texts_service, parts.clock, places, parts.operators.one_way, parts.tak.silence)
    texts_service.on_sos = sos_service.handle_text
    texts_service.on_sealed = lambda device_id: hub.push([device_id], frames.encode(frames.SealedTextCame()))

    async def leave_calls(device_id: str) -> None:
        await in_calls.put_out(device_id)
        await forwarders.reconcile()

    custody = Custody(parts.store, hub, leave_calls, parts.log_key, parts.clock)
    return Services(
        store=parts.store,
        hub=hub,
        admission=Admission(parts.store, service_id, challenges, buckets, parts.limits, parts.clock),
        delivery=Delivery(parts.store, hub, parts.clock),
        attachments=Attachments(parts.store, parts.attachments, parts.clock),
        mailroom=Mailroom(parts.store),
        membership=Membership(parts.store, hub, parts.clock),
        calls=in_calls,
        custody=custody,
        broadcast_sky=BroadcastSky(parts.sky.fleet),
        warnings=Warnings(parts.store, custody, parts.warning_data, parts.clock),
        tak=Tak(parts.store, parts.tak, parts.clock),
        exercises=Exercises(parts.exercises),
        reports=Reports(parts.reports, _derived(secret, b"tramontana report links 1")),
        processes=Processes(parts.store, hub, parts.clock),
        events_key=_derived(secret, b"tramontana events 1"),
        forwarders=forwarders,
        routers=Routers(parts.store, hub, parts.clock),
        texts=texts_service,
        sos=sos_service,
        sky=parts.sky,
        buckets=buckets,
        limits=parts.limits,
        clock=parts.clock,
    )


def _places(file: Path) -> PlaceCatalogue:
    try:
        return PlaceCatalogue.parse(file.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        raise BadCatalogue(f"the area catalogue {file} cannot be read ({error}); correct 'places' in the operators' file") from None
    except BadCatalogue as error:
        raise BadCatalogue(f"{file}: {error}") from None


def _derived(secret: bytes, purpose: bytes) -> bytes:
    """A key of its own for each purpose (RFC 5869 §2.3 with one block: the secret is uniformly random already)."""
    return hmac.digest(secret, purpose + b"\x01", hashlib.sha256)


async def forget_old(store: Store, now: float) -> None:
    """Delete what is kept for a time only."""
    async with store.write() as connection:
        await sessions.forget_expired(connection, now)
        await key_packages.forget_old_claims(connection, now)
        kept = await retention.current(connection)
        await call_rows.forget_ended(connection, now - kept.call_records_days * retention.DAY_S)
        if kept.undelivered_days is not None:
            await mailbox.forget_undelivered(connection, now - kept.undelivered_days * retention.DAY_S)
        await trees.forget_old(connection, now)
        await router_rows.forget_reports(connection, now - kept.call_records_days * retention.DAY_S)
        await carrier_hours.forget(connection, now)
        await attachment_rows.forget_expired(connection, now)
        await sealed_text_rows.forget_old(connection, now)
    # Beside everybody else: these may be many rows, which nobody touches any more.
    await store.beside(lambda connection: mailbox.forget_old_message_ids(connection, now))
    await store.beside(mailbox.forget_all_unreferenced)


async def forget_texts(store: Store, now: float) -> None:
    """Delete texts and cases whose time is over, batch by batch so that nobody waits long for the store; audited where there were any."""
    async with store.read() as connection:
        kept = await retention.current(connection)
    for what, days, forget in (("texts", kept.texts_days, text_rows.forget_settled), ("cases", kept.sos_days, sos_rows.forget_closed)):
        before, gone = now - days * retention.DAY_S, 0
        while True:
            async with store.write() as connection:
                some = await forget(connection, before, FORGET_AT_ONCE)
            gone += some
            if some < FORGET_AT_ONCE:
                break
        if gone:
            async with store.write() as connection:
                details = {what: gone, "days": days}
                await audit.append(connection, now=now, actor=audit.SERVER, action=f"{what}.forgotten", details=details)


async def _repeat(every_s: float, work: Callable[[], Any], what: str, at_once: asyncio.Event | None = None) -> None:
    at_once = at_once or asyncio.Event()
    while True:
        at_once.clear()
        try:
            await work()
        except StoreUnavailable as error:
            logger.error("%s: %s", what, error)
        except Exception:
            logger.exception("%s failed; it is tried again", what)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(every_s):
                await at_once.wait()


async def _keep_calls(services: Services) -> None:
    if await services.store.leads():
        await services.calls.reap()
        await services.calls.recheck()
        await services.calls.refresh_media()
    await services.forwarders.reconcile()


async def _forget_old(services: Services) -> None:
    if await services.store.leads():
        await forget_old(services.store, services.clock())
        await forget_texts(services.store, services.clock())


def create_app(parts: Parts) -> FastAPI:
    """The ASGI application."""
    buckets = TokenBuckets()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        services = await _assemble(parts, buckets)
        app.state.services = services
        calls_changed = asyncio.Event()
        services.hub.on_calls_changed = calls_changed.set
        async with asyncio.TaskGroup() as group:
            background = [
                group.create_task(_repeat(REAP_EVERY_S, lambda: _keep_calls(services), "keeping calls", calls_changed)),
                group.create_task(_repeat(FORGET_EVERY_S, lambda: _forget_old(services), "forgetting old rows")),
                group.create_task(parts.events.run(services.admission.service_id, services.events_key)),
                group.create_task(services.processes.run()),
                group.create_task(services.warnings.run()),
                group.create_task(services.tak.run()),
            ]
            background.append(group.create_task(services.forwarders.run()))
            background.append(group.create_task(services.texts.run()))
            if parts.relay is not None:
                orders, directory_changed = RelayOrders(parts.store, parts.relay, parts.clock), asyncio.Event()
                services.hub.on_directory_changed = directory_changed.set
                background.append(group.create_task(_repeat(TELL_EVERY_S, orders.tell, "telling the relay", directory_changed)))
            background.append(group.create_task(services.sos.run()))
            if parts.player is not None:
                background.append(group.create_task(parts.player.run()))
            yield
            services.hub.close_all(frames.CLOSE_RESTARTING)
            await services.texts.stop()
            for task in background:
                task.cancel()

    app = _bare_app(lifespan)
    app.include_router(pages.pages_router(parts.static))
    app.mount("/assets", pages.assets(parts.static))
    app.mount("/", pages.files(parts.static))
    app.add_middleware(Guard, host_names=parts.host_names, limits=parts.limits, buckets=buckets, clock=parts.clock)
    app.add_middleware(AccessLog)
    return app


def schema_app() -> FastAPI:
    """The routes of the API alone, for its document."""
    return _bare_app(None)


def _bare_app(lifespan: Callable[[FastAPI], AbstractAsyncContextManager[None]] | None) -> FastAPI:
    app = FastAPI(
        title="Tramontana",
        version=__version__,
        summary="Encrypted telephone and messaging over any satellite or terrestrial network.",
        openapi_url=None,  # docs/openapi.json is the document; no documentation pages, which would load scripts of another host
        docs_url=None,
        redoc_url=None,
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},  # no data about users leaves this process
        lifespan=lifespan,
        generate_unique_id_function=lambda route: route.name,
    )
    app.add_exception_handler(Problem, answer_problem)
    app.add_exception_handler(RequestValidationError, _invalid_request)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(StoreUnavailable, _store_unavailable)
    app.include_router(log.open_router)
    people = (entry, log, me, custody, conversations, attachments, calls, admin, admin_conversations, console, loss)
    for module in (*people, routers, texts, sealed_texts, sos, units, warnings, reports, exercises, socket):
        app.include_router(module.router)
    app.include_router(loss.for_strangers)
    return app


async def _invalid_request(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    # Location and reason only: what was sent may be a secret.
    faults = [{"loc": [str(part) for part in fault["loc"]], "msg": fault["msg"], "type": fault["type"]} for fault in error.errors()[:20]]
    return Problem("invalid_request", errors=faults).response()


async def _http_error(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    code = {405: "method_not_allowed", 404: "not_found", 413: "too_large"}.get(error.status_code)
    if code is None:
        code = "invalid_request" if error.status_code < 500 else "internal"
    return Problem(code).response()


async def _store_unavailable(_request: Request, error: Exception) -> JSONResponse:
    logger.error("%s", error)
    return Problem("store_unavailable").response()
