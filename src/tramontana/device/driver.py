"""Connects a device: requests over HTTPS, the mailbox over a WebSocket, again and again until it is stopped (asyncio)."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, TypeVar

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from tramontana.device.conversations import Received
from tramontana.device.device import Device, parse_item, posting, quietly
from tramontana.device.requests import Procedure, Refusal, Request, ServerClock, Unreachable, refusal
from tramontana.errors import LocalError, RemoteError
from tramontana.keys.mls.errors import MessageRefused
from tramontana.keys.mls.outcomes import EpochKeys
from tramontana.keys.refused import Refused

T = TypeVar("T")

REQUEST_TIMEOUT_S = 15.0
"""A request over a satellite path with losses may take its time; beyond this it counts as lost."""
SILENCE_S = 45.0
"""The server pings every 20 s; this much silence means that the connection is dead (docs/protocols.md)."""
OPEN_TIMEOUT_S = 15.0
BACKOFF_FIRST_S = 0.5
BACKOFF_MOST_S = 15.0
MAX_FRAME_BYTES = 1 << 22
CLOSE_NOT_LOGGED_IN = 4401
CLOSE_REPLACED = 4409
_PUT_OUT = frozenset({"device_revoked", "enrolment_rejected", "certificate_expired"})


class TakenOver(LocalError):
    """Another process opened this device's mailbox; one device runs once."""


class PutOut(RemoteError):
    """The organisation no longer lets this device in; ask a custodian."""

    is_zeroised = False
    """Whether it ordered the device to destroy its keys, by its own signatures, and the device has."""


async def _ignore(_received: Received) -> None:
    return


class OnlineDevice:
    """A device with a server. `run` must run in the caller's task group for anything to arrive.

    `on_message` gets application data of verified senders, in order; `on_frame` the frames of the socket that are not the mailbox's;
    `on_refused` says what was dropped, and why.
    """

    def __init__(
        self,
        device: Device,
        *,
        on_message: Callable[[Received], Awaitable[None]] = _ignore,
        on_frame: Callable[[dict[str, Any]], None] = lambda frame: None,
        on_refused: Callable[[str], None] = lambda sentence: None,
        on_sealed: Callable[[], None] | None = None,
        local_address: str | None = None,
    ) -> None:
        """on_sealed: sealed texts may have come (`device.sealed.arrived()`); without it they stay at the server.

        local_address: of this machine, to speak from; None leaves that to the system.
        """
        self.device = device
        self.clock = ServerClock()
        self.online = asyncio.Event()
        self.caught_up = asyncio.Event()
        """What waited in the mailbox when the device came online is processed."""
        self._pending = 0
        self._on_message = on_message
        self._on_frame = on_frame
        self._on_refused = on_refused
        self._on_sealed = on_sealed
        self._local_address = local_address
        self._http = client(local_address)
        self._token: str | None = None
        self._lanes: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._logging_in = asyncio.Lock()
        self._following = asyncio.Lock()
        self._fetching = asyncio.Lock()
        self._changed = asyncio.Condition()

    async def close(self) -> None:
        await self._http.aclose()

    def now(self) -> float:
        """POSIX seconds by the server's clock, as far as it is known."""
        return time.time() + self.clock.ahead_s

    # Asking

    async def ask(self, procedure: Procedure[T]) -> T:
        """Run a procedure of the core. Raises what it raises."""
        return await asked(procedure, self.request)

    async def in_conversation(self, conversation_id: str, procedure: Callable[[], Procedure[T]]) -> T:
        """The same, as the only one that works on this conversation meanwhile."""
        async with self._lanes[conversation_id]:
            return await self.ask(procedure())

    async def request(self, request: Request) -> Any:
        """The JSON of an answer. Raises `Refusal`, `Unreachable`."""
        if not request.needs_session:
            return await self._exchange(request, None)
        token = await self._session()
        try:
            return await self._exchange(request, token)
        except Refusal as refused:
            if refused.code != "not_logged_in":
                raise
            if self._token == token:
                self._token = None
            return await self._exchange(request, await self._session())

    async def _session(self) -> str:
        async with self._logging_in:
            if self._token is None:
                self._token = await self.ask(self.device.login())
            return self._token

    async def _exchange(self, request: Request, token: str | None) -> Any:
        url = f"{self.device.enrolment.origin}/api/v1{request.path}"
        return await exchange(self._http, url, request, token, self.clock)

    async def send(self, conversation_id: str, plaintext: bytes, sealed: Callable[[EpochKeys], None] = lambda keys: None) -> None:
        """Seal and hand to the server; what was sealed is sent again unchanged while the server is away, for as long as the caller waits.

        `sealed` is told the keys of the epoch before anything leaves. Raises as `Conversations.seal` does.
        """
        message, keys = await self.in_conversation(
            conversation_id, lambda: self.device.conversations.seal(conversation_id, plaintext, self.now())
        )
        sealed(keys)
        posted = posting(conversation_id, message)
        for attempt in range(1 << 20):
            try:
                await self.request(posted)
                return
            except (Refusal, Unreachable) as error:
                if isinstance(error, Refusal) and not error.is_passing:
                    raise
            await asyncio.sleep(backoff_s(attempt))

    # Running

    async def run(self) -> None:
        """Be online until cancelled. Raises `PutOut`, `TakenOver`, `Alarm`: then there is nothing to wait for."""
        failures = 0
        while True:
            try:
                if await self._connected():
                    failures = 0
            except Unreachable:
                pass
            except Refusal as refused:
                if refused.code in _PUT_OUT:
                    obeyed = await self._obeyed()
                    put_out = PutOut(str(refused) + obeyed)
                    put_out.is_zeroised = bool(obeyed)
                    raise put_out from refused
                if not refused.is_passing and refused.code != "not_logged_in":
                    self._on_refused(str(refused))
            finally:
                self.online.clear()
                self.caught_up.clear()
            await asyncio.sleep(backoff_s(failures))
            failures += 1

    async def _obeyed(self) -> str:
        """What this device does about it, for the message."""
        try:
            destroyed = await self.ask(self.device.obey_revocation())
        except (Refusal, Unreachable, Refused):
            return ""  # without the organisation's own word the device stays as it is
        return ". By order of the organisation it has destroyed its keys and all that it had stored" if destroyed else ""

    async def _connected(self) -> bool:
        """From the log and the key packages to the end of one connection; whether it had come about."""
        await self.follow()
        await self.ask(self.device.replenish(self.now()))
        token = await self._session()
        address = self.device.enrolment.origin.replace("http", "ws", 1) + "/api/v1/socket"
        try:
            bound = None if self._local_address is None else (self._local_address, 0)
            async with connect(
                address, open_timeout=OPEN_TIMEOUT_S, ping_interval=None, max_size=MAX_FRAME_BYTES, local_addr=bound
            ) as socket:
                await socket.send(json.dumps({"type": "hello", "token": token, "after": self.device.conversations.processed}))
                try:
                    async with asyncio.TaskGroup() as group:
                        await self._listen(socket, group)
                except ExceptionGroup as several:
                    _, rest = several.split(ConnectionClosed)
                    if rest is not None:
                        raise rest.exceptions[0] from several
        except TimeoutError:
            return False
        except (OSError, WebSocketException) as error:
            raise Unreachable(f"{address} does not answer ({error}); check the address and whether the server runs") from error
        if socket.close_code == CLOSE_NOT_LOGGED_IN:
            self._token = None
        if socket.close_code == CLOSE_REPLACED:
            raise TakenOver("another process opened this device's mailbox; end it, or this one: one device runs once")
        return True

    async def _listen(self, socket: ClientConnection, group: asyncio.TaskGroup) -> None:
        mailbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        tasks = [group.create_task(self._work_off(socket, mailbox))]
        try:
            while True:
                async with asyncio.timeout(SILENCE_S):
                    frame = json.loads(await socket.recv())
                tasks = [task for task in tasks if not task.done()]
                match frame["type"]:
                    case "ready":
                        self._pending = int(frame["pending"])
                        self.online.set()
                        if not self._pending:
                            self.caught_up.set()
                        tasks.append(group.create_task(self._catch_up()))
                        tasks.append(group.create_task(self._fetch_sealed()))
                    case "sealed_text":
                        tasks.append(group.create_task(self._fetch_sealed()))
                    case "deliver":
                        mailbox.put_nowait(frame)
                    case "directory":
                        tasks.append(group.create_task(self._catch_up()))
                    case "presence":
                        pass  # what is sent waits in the other one's mailbox: nobody here asks who is there
                    case "ping":
                        await socket.send(json.dumps({"type": "pong"}))
                    case _:
                        self._on_frame(frame)
        except (TimeoutError, ConnectionClosed):
            return
        except (ValueError, KeyError, TypeError) as error:
            raise Unreachable(f"the server speaks otherwise than this program ({error!r}); use programs of one version") from error
        finally:
            for task in tasks:
                task.cancel()

    async def _work_off(self, socket: ClientConnection, mailbox: asyncio.Queue[dict[str, Any]]) -> None:
        """The mailbox, item by item. Where the server is away in the middle of one, the connection is given up and it comes again."""
        while True:
            item = parse_item(await mailbox.get())
            if item.seq > self.device.conversations.processed:
                received: Received | None = None
                try:
                    received = await self.in_conversation(item.conversation_id, lambda item=item: self.device.receive(item, self.now()))  # type: ignore[misc]
                except MessageRefused as refused:
                    self._on_refused(str(refused))
                except (Unreachable, Refusal):
                    await socket.close()
                    return
                if received is not None:
                    await self._on_message(received)
                if self._on_sealed is not None:
                    self._on_sealed()  # what was held may have opened with the keys of a new epoch
                if item.kind != "commit" and item.conversation_id in self.device.conversations.ids():
                    conversation_id = item.conversation_id
                    await self.in_conversation(conversation_id, lambda at=conversation_id: self.device.tell(at, self.now()))  # type: ignore[misc]
            await socket.send(json.dumps({"type": "ack", "seq": item.seq}))
            self._pending -= 1
            if self._pending <= 0:
                self.caught_up.set()

    async def _fetch_sealed(self) -> None:
        if self._on_sealed is None:
            return
        await self.caught_up.wait()  # with the keys that wait in the mailbox: without them few are held, and the server keeps none
        with suppress(Unreachable, Refusal):  # they stay at the server until the next connection
            async with self._fetching:
                for sentence in await self.ask(self.device.fetch_sealed(self.now())):
                    self._on_refused(sentence)
        self._on_sealed()

    async def follow(self) -> None:
        """Read the log and the directory on. Raises `Alarm`, `Refusal`, `Unreachable`."""
        async with self._following:
            await self.ask(self.device.follow(self.now()))
        async with self._changed:
            self._changed.notify_all()

    async def _catch_up(self) -> None:
        """Who was certified or revoked meanwhile; what follows from it in the conversations waits, as others may do it first."""
        with suppress(Unreachable, Refusal):
            await self.follow()
        await asyncio.sleep(1.5 + secrets.randbelow(1_000) / 1_000)
        for conversation_id in self.device.conversations.ids():
            await self.in_conversation(conversation_id, lambda at=conversation_id: quietly(self.device.tidy(at, self.now())))  # type: ignore[misc]

    async def until_certified(self) -> None:
        """Wait until custodians have let this device in."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.device.standing(self.now()) == "certified")


def client(local_address: str | None = None) -> httpx.AsyncClient:
    """As every device asks."""
    # A transport of one's own passes over the proxy that the environment names.
    transport = None if local_address is None else httpx.AsyncHTTPTransport(local_address=local_address)
    return httpx.AsyncClient(timeout=REQUEST_TIMEOUT_S, transport=transport)


async def exchange(http: httpx.AsyncClient, url: str, request: Request, token: str | None, clock: ServerClock) -> Any:
    """One request with JSON; what comes as octets is given as they are. Raises `Refusal`, `Unreachable`."""
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    sent_at = time.time()
    try:
        answer = await http.request(request.method, url, json=request.body, headers=headers)
        clock.observe(answer.headers.get("Date"), sent_at, time.time())
        is_octets = answer.headers.get("Content-Type") == "application/octet-stream"
        content = answer.content if is_octets else answer.json() if answer.content else None
    except (httpx.HTTPError, ValueError) as error:
        raise Unreachable(f"{url} does not answer as a server of Tramontana ({error!r}); check the address") from error
    if answer.is_success:
        return content
    raise refusal(answer.status_code, content if isinstance(content, dict) else {}, answer.headers.get("Retry-After"))


def backoff_s(failures: int) -> float:
    """Doubling, with jitter so that devices do not return in step."""
    return min(BACKOFF_MOST_S, BACKOFF_FIRST_S * 2.0 ** min(failures, 10)) * (0.5 + secrets.randbelow(1_000) / 2_000)


async def asked(procedure: Procedure[T], answer: Callable[[Request], Awaitable[Any]]) -> T:
    """Run a procedure; what `answer` raises is thrown into it."""
    try:
        request = next(procedure)
        while True:
            try:
                given = await answer(request)
            except RemoteError as error:
                request = procedure.throw(error)
            else:
                request = procedure.send(given)
    except StopIteration as stop:
        result: T = stop.value
        return result


async def ask_once(origin: str, procedure: Procedure[T], local_address: str | None = None) -> T:
    """Run a procedure that needs no session (an enrolment)."""
    clock = ServerClock()
    async with client(local_address) as http:
        return await asked(procedure, lambda request: exchange(http, f"{origin}/api/v1{request.path}", request, None, clock))
