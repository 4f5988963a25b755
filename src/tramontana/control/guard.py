"""What every request passes first: the name it came under, how often its sender asks, how large it is; and the headers of every answer.

Plain ASGI, so that it stands before any parsing of a body.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tramontana.control.api.access import client_address, limit, services_of
from tramontana.control.limits import Limits, TokenBuckets
from tramontana.control.problem import Problem
from tramontana.control.store.faults import StoreUnavailable
from tramontana.control.store.trees import MAX_TREE_BYTES
from tramontana.internet.addresses import source_of

SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
        "media-src 'self' blob:; connect-src 'self'; worker-src 'self'; "
        "object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=(), usb=(), payment=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""`img-src data:` is for the icons of MapLibre's controls; `blob:` for pictures and voice messages that the phone has opened."""

_TREE = re.compile(r"/api/v1/conversations/[0-9a-f]{32}/trees/[0-9]{1,16}")

logger = logging.getLogger(__name__)

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


def host_name(netloc: str) -> str | None:
    """The name in a Host header without port and brackets, in lower case; None where it is malformed."""
    try:
        parts = urlsplit(f"//{netloc}")
        _ = parts.port
    except ValueError:
        return None
    if parts.username is not None or parts.path or parts.query or parts.fragment:
        return None
    return parts.hostname


def is_same_origin(origin: str, scheme: str, netloc: str) -> bool:
    """Whether an Origin header names the server itself, under the name that the Host header says."""
    return origin.lower() == f"{'https' if scheme in ('https', 'wss') else 'http'}://{netloc}".lower()


class Guard:
    """The outermost layer. `host_names` are the names under which the server answers (against DNS rebinding)."""

    def __init__(
        self, app: ASGIApp, *, host_names: frozenset[str], limits: Limits, buckets: TokenBuckets, clock: Callable[[], float]
    ) -> None:
        self._app = app
        self._host_names = host_names
        self._limits = limits
        self._buckets = buckets
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        try:
            self._admit(scope)
            await self._admit_large(scope)
        except Problem as problem:
            await self._refuse(problem, scope, receive, send)
            return
        if scope["type"] == "websocket":
            await self._app(scope, receive, send)
            return
        await self._answer(scope, _Bounded(receive, self._body_limit(scope)), _with_security_headers(scope, send))

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def watch(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, watch)
        except Exception:
            logger.exception("%s %s failed", scope["method"], scope["path"])
            if started:
                raise
            await Problem("internal").response()(scope, receive, send)

    def _admit(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        if host_name(headers.get("host", "")) not in self._host_names:
            raise Problem("wrong_host")
        # Another site's page must neither speak here with a visitor's network position nor use up what the visitor may ask: so
        # this comes before the bucket. A browser sends Origin with WebSockets and whatever changes something, and Sec-Fetch-Site
        # with the rest (W3C Fetch Metadata); links from elsewhere may open pages, which are not below /api/.
        origin = headers.get("origin")
        foreign = origin is not None and not is_same_origin(origin, scope["scheme"], headers["host"])
        if foreign or (scope["path"].startswith("/api/") and headers.get("sec-fetch-site", "none") not in ("none", "same-origin")):
            raise Problem("origin_refused")
        address = scope["client"][0] if scope.get("client") else "unknown"
        if wait_s := self._buckets.take("any", source_of(address), self._limits.any, self._clock()):
            raise Problem("too_many_requests", retry_after_s=wait_s)
        length = headers.get("content-length", "0") if scope["type"] == "http" else "0"
        if not length.isdecimal() or int(length) > self._body_limit(scope):
            raise Problem("too_large")

    async def _admit_large(self, scope: Scope) -> None:
        """A large body is read from those only who have a session: it stands in memory before its route looks at who sends it."""
        if scope["type"] != "http" or self._body_limit(scope) == self._limits.body_bytes:
            return
        headers = Headers(scope=scope)
        if int(headers.get("content-length", "0")) <= self._limits.body_bytes and "transfer-encoding" not in headers:
            return
        connection = HTTPConnection(scope)
        services = services_of(connection)
        scheme, _, token = headers.get("authorization", "").partition(" ")
        try:
            session = await services.admission.session(token) if scheme.lower() == "bearer" else None
        except StoreUnavailable as error:
            raise Problem("store_unavailable") from error
        if session is None:
            limit(services, "stranger", source_of(client_address(connection)), self._limits.stranger)
            raise Problem("not_logged_in")

    def _body_limit(self, scope: Scope) -> int:
        path: str = scope["path"]
        if _TREE.fullmatch(path):
            return MAX_TREE_BYTES
        large = path == "/api/v1/me/key-packages" or (path.startswith("/api/v1/conversations/") and path.endswith("/commits"))
        return self._limits.large_body_bytes if large else self._limits.body_bytes

    async def _refuse(self, problem: Problem, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await problem.response()(scope, receive, _with_security_headers(scope, send))
            return
        # Before the handshake is answered, closing means HTTP 403 (ASGI WebSocket, "Close").
        if (await receive())["type"] == "websocket.connect":
            await send({"type": "websocket.close", "code": 4403})


class _Bounded:
    """Receives a body and stops it when it grows past the limit, whatever its headers said."""

    def __init__(self, receive: Receive, limit: int) -> None:
        self._receive = receive
        self._left = limit

    async def __call__(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self._left -= len(message.get("body", b""))
            if self._left < 0:
                raise HTTPException(413)  # the one kind of exception that FastAPI passes on from reading a body
        return message


def _with_security_headers(scope: Scope, send: Send) -> Send:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in SECURITY_HEADERS.items():
                headers.setdefault(name, value)
            if scope["path"].startswith("/api/"):
                headers.setdefault("Cache-Control", "no-store")
            if scope["scheme"] == "https":
                headers.setdefault("Strict-Transport-Security", "max-age=31536000")
        await send(message)

    return send_with_headers
