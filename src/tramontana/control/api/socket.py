"""The WebSocket of a device: hello, ready, then its mailbox in order, presence and the directory (docs/protocols.md).

Two tasks serve a socket: one reads frames, one writes what the outbox and the store hold. At most `WINDOW_ITEMS` items or
`WINDOW_BYTES` are unacknowledged on the way, so a client that has stalled costs no memory: the rest waits in the store.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from dataclasses import dataclass

from fastapi import APIRouter, WebSocket
from starlette.websockets import WebSocketDisconnect, WebSocketState

from tramontana.control import frames
from tramontana.control.api.access import client_address, limit, services_of
from tramontana.control.delivery import Sender
from tramontana.control.hub import Outbox
from tramontana.control.problem import Problem
from tramontana.control.services import Services
from tramontana.control.store import accounts, mailbox
from tramontana.control.store.database import StoreUnavailable
from tramontana.internet.addresses import source_of
from tramontana.precedence import Precedence

PING_EVERY_S = 20.0
SILENCE_S = 45.0
BATCH_ITEMS = 32
WINDOW_ITEMS = 256
WINDOW_BYTES = 4 * 1024 * 1024
MAX_CLIENT_FRAME = 4096

router = APIRouter()
logger = logging.getLogger(__name__)


class _Closed(Exception):
    """The socket is to be closed with this code."""

    def __init__(self, code: int, reason: str = "") -> None:
        self.code = code
        self.reason = reason
        super().__init__(f"{code} {reason}")


async def _receive(websocket: WebSocket) -> frames.Hello | frames.Ack | frames.FloorWish | frames.Ping | frames.Pong:
    message = await websocket.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", 1005))
    text = message.get("text")
    if text is None or len(text) > MAX_CLIENT_FRAME:
        raise _Closed(frames.CLOSE_BAD_FRAME, "frames are JSON text of at most 4096 characters")
    try:
        return frames.parse_client_frame(text)
    except ValueError:
        raise _Closed(frames.CLOSE_BAD_FRAME, "not a frame of the protocol") from None


@router.websocket("/api/v1/socket")
async def socket(websocket: WebSocket) -> None:
    """Serve one device until it leaves, is silent, or is replaced."""
    services = services_of(websocket)
    try:
        limit(services, "stranger", source_of(client_address(websocket)), services.limits.stranger)
        if services.sockets_before_hello >= services.limits.sockets_before_hello:
            raise Problem("too_many_requests")
    except Problem:
        await websocket.close(frames.CLOSE_TOO_MANY_FRAMES)
        return
    await websocket.accept()
    try:
        device = await _login(websocket, services)
        await device.serve()
    except _Closed as closed:
        await _close(websocket, closed)
    except WebSocketDisconnect:
        pass
    except StoreUnavailable as error:
        logger.error("socket closed: %s", error)
        await _close(websocket, _Closed(1013, "try again later"))


async def _close(websocket: WebSocket, closed: _Closed) -> None:
    if websocket.application_state is WebSocketState.CONNECTED and websocket.client_state is WebSocketState.CONNECTED:
        try:
            await websocket.close(closed.code, closed.reason)
        except (RuntimeError, WebSocketDisconnect, OSError):
            logger.debug("the peer closed first")


async def _login(websocket: WebSocket, services: Services) -> _DeviceSocket:
    services.sockets_before_hello += 1
    try:
        async with asyncio.timeout(services.limits.hello_timeout_s):
            hello = await _receive(websocket)
    except (TimeoutError, _Closed):
        raise _Closed(frames.CLOSE_NOT_LOGGED_IN, "say hello first") from None
    finally:
        services.sockets_before_hello -= 1
    session = await services.admission.session(hello.token) if isinstance(hello, frames.Hello) else None
    if session is None or session.device_id is None or session.account_id is None:
        raise _Closed(frames.CLOSE_NOT_LOGGED_IN, "log in again")
    assert isinstance(hello, frames.Hello)
    ends = [session.expires_at, *([session.certified_until] if session.certified_until is not None else [])]
    return _DeviceSocket(websocket, services, Outbox(session.device_id, session.account_id), hello.after, min(ends))


@dataclass(frozen=True, slots=True)
class _OnTheWay:
    """An item that was sent and is not acknowledged yet: its number, its payload's key and size."""

    seq: int
    key: int
    octets: int


class _DeviceSocket:
    """One logged-in socket."""

    def __init__(self, websocket: WebSocket, services: Services, outbox: Outbox, after: int, expires_at: float) -> None:
        self._websocket = websocket
        self._services = services
        self._outbox = outbox
        self._sent = after
        self._expires_at = expires_at
        self._acked = 0
        self._ack_wanted = 0
        self._skipped = 0
        self._unacknowledged: deque[_OnTheWay] = deque()
        self._unacknowledged_octets = 0
        self._pong_wanted = False

    async def serve(self) -> None:
        """Raises `_Closed` or `WebSocketDisconnect` in the end."""
        async with self._services.store.read() as connection:
            acked, last = await mailbox.positions(connection, self._outbox.device_id)
            if self._sent > last:
                raise _Closed(frames.CLOSE_BAD_FRAME, "after is past the end of this mailbox")
            self._sent = self._skipped = max(self._sent, acked)
            self._acked = self._ack_wanted = acked
            pending = await mailbox.pending_after(connection, self._outbox.device_id, self._sent)
        self._outbox.serial = await self._services.processes.claim(self._outbox.device_id)
        try:
            self._services.hub.attach(self._outbox)
            await self._check_still_in()
            await self._send(frames.Ready(device_id=self._outbox.device_id, pending=pending))
            async with asyncio.TaskGroup() as group:
                group.create_task(self._read())
                group.create_task(self._write())
        except* (_Closed, WebSocketDisconnect, StoreUnavailable) as group_error:
            raise _first(group_error) from None
        finally:
            self._services.hub.detach(self._outbox)
            self._services.processes.release(self._outbox)
            # Who cannot be told that his time is over must not keep the floor; a newer socket of this device can be.
            if not self._services.hub.is_device_online(self._outbox.device_id):
                await self._services.forwarders.release_floor(self._outbox.device_id)

    async def _check_still_in(self) -> None:
        """It may have been put out after its session was read and before the hub knew whom to close."""
        async with self._services.store.read() as connection:
            device = await accounts.device(connection, self._outbox.device_id)
        if device is None or device.state(self._services.clock()) in ("revoked", "rejected"):
            raise _Closed(frames.CLOSE_PUT_OUT)

    async def _send(self, frame: frames.AnyServerFrame) -> None:
        await self._send_text(frames.encode(frame))

    async def _send_text(self, text: str) -> None:
        async with asyncio.timeout(SILENCE_S):
            await self._websocket.send_text(text)

    async def _read(self) -> None:
        limits, device_id = self._services.limits, self._outbox.device_id
        while True:
            try:
                async with asyncio.timeout(SILENCE_S):
                    frame = await _receive(self._websocket)
            except TimeoutError:
                raise _Closed(frames.CLOSE_SILENT, "silent for too long") from None
            if self._services.buckets.take("frames", device_id, limits.frames, self._services.clock()):
                raise _Closed(frames.CLOSE_TOO_MANY_FRAMES, "too many frames")
            match frame:
                case frames.Ack():
                    if frame.seq > self._sent:
                        raise _Closed(frames.CLOSE_BAD_FRAME, "an item was acknowledged that was not delivered")
                    self._ack_wanted = max(self._ack_wanted, frame.seq)
                case frames.FloorWish():
                    await self._wish(frame)
                case frames.Ping():
                    self._pong_wanted = True
                case frames.Pong():
                    continue
                case frames.Hello():
                    raise _Closed(frames.CLOSE_BAD_FRAME, "hello was said already")
            self._outbox.wake.set()

    async def _wish(self, wish: frames.FloorWish) -> None:
        if wish.op == "request":
            sender = Sender(self._outbox.device_id, self._outbox.account_id)
            await self._services.forwarders.request_floor(sender, wish.call_id, Precedence.parse(wish.precedence))
        else:
            await self._services.forwarders.release_floor(self._outbox.device_id, wish.call_id)

    async def _write(self) -> None:
        loop = asyncio.get_running_loop()
        next_ping = loop.time() + PING_EVERY_S
        while True:
            try:
                async with asyncio.timeout_at(next_ping):
                    await self._outbox.wake.wait()
            except TimeoutError:
                next_ping = loop.time() + PING_EVERY_S
                await self._send(frames.Ping())
            self._outbox.wake.clear()
            if self._outbox.close_code is not None:
                raise _Closed(self._outbox.close_code)
            if self._services.clock() >= self._expires_at:
                raise _Closed(frames.CLOSE_NOT_LOGGED_IN, "the session has expired")
            await self._tell()

    async def _tell(self) -> None:
        """Acknowledge and send what is due now."""
        await self._acknowledge()
        if self._pong_wanted:
            self._pong_wanted = False
            await self._send(frames.Pong())
        if self._outbox.directory:
            self._outbox.directory = False
            await self._send(frames.DirectoryChanged())
        while self._outbox.pushed:
            await self._send_text(self._outbox.pushed.popleft())
        while self._outbox.conversations:
            await self._send(frames.ConversationChanged(conversation_id=self._outbox.conversations.pop()))
        while self._outbox.calls:
            await self._send(frames.CallChanged(conversation_id=self._outbox.calls.pop()))
        while self._outbox.presence:
            account_id, online = self._outbox.presence.popitem()
            await self._send(frames.Presence(account_id=account_id, online=online))
        if self._outbox.mail and self._room > 0:
            await self._deliver()

    async def _acknowledge(self) -> None:
        # Acknowledgements that arrive while one is written are merged into the next.
        if (wanted := self._ack_wanted) <= self._acked:
            return
        done = []
        while self._unacknowledged and self._unacknowledged[0].seq <= wanted:
            done.append(self._unacknowledged.popleft())
        # What was skipped with `after` did not pass here.
        keys = [each.key for each in done] if self._acked >= self._skipped else None
        await self._services.mailroom.acknowledge(self._outbox.device_id, wanted, keys)
        self._unacknowledged_octets -= sum(each.octets for each in done)
        self._acked = wanted

    @property
    def _room(self) -> int:
        return WINDOW_ITEMS - len(self._unacknowledged) if self._unacknowledged_octets < WINDOW_BYTES else 0

    async def _deliver(self) -> None:
        self._outbox.mail = False
        limit_items = min(BATCH_ITEMS, self._room)
        found = await self._services.mailroom.items_after(self._outbox.device_id, self._sent, limit_items)
        for item in found.items:
            if self._outbox.close_code is not None:
                return
            deliver = frames.Deliver(
                seq=item.seq,
                conversation_id=item.conversation_id,
                kind=item.kind,
                sender_device_id=item.sender_device_id,
                payload=item.payload,
                accepted_at=item.accepted_at,
            )
            self._sent = item.seq
            self._unacknowledged.append(_OnTheWay(item.seq, item.message_key, len(item.payload)))
            self._unacknowledged_octets += len(item.payload)
            await self._send(deliver)
        if found.may_be_more:  # look again, when acknowledgements have made room
            self._outbox.mail = True
            self._outbox.wake.set()


def _first(group: BaseExceptionGroup[Exception]) -> Exception:
    """The reason to close: what we decided counts more than how the peer went."""
    errors = [error for error in group.exceptions if isinstance(error, Exception)]
    return next((error for error in errors if not isinstance(error, WebSocketDisconnect)), errors[0])
