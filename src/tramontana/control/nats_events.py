"""Events between server processes over NATS (core publish and subscribe; docs/decisions says why not JetStream).

What passes is sealed with AES-256-GCM under a key that only processes of the same store have, so whoever runs or reaches the NATS
server learns times and sizes, and can neither read, forge nor replay an event. Each process numbers what it publishes and repeats its
last number in a heartbeat: whoever misses one knows at once, or at the next heartbeat, and looks at the store.

| bytes | of the plaintext |
|---|---|
| 16 | the process that published it: random, new with each start |
| 8 | its number, big-endian; a heartbeat repeats the last one |
| 8 | when, milliseconds since 1970 |
| rest | the event as JSON (`events.encode`); empty in a heartbeat |

In front of the ciphertext stands its nonce, 12 random bytes; the subject is authenticated with it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import ssl
import time
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from nats.aio.client import Client
from nats.aio.msg import Msg

from tramontana.control import events
from tramontana.errors import LocalError

PASSWORD_VARIABLE = "TRAMONTANA_EVENTS_PASSWORD"  # noqa: S105 - the name of the variable
DEFAULT_PORT = 4222

NONCE = 12
HEAD = 16 + 8 + 8
HEARTBEAT_S = 2.0
MAX_AGE_S = 30.0
"""An event that is older is not believed: it was held back, or is played again. Clocks of machines must agree within this."""
MAX_WAITING = 10_000
"""Events that wait to be sent; the oldest gives way, which the others notice by the numbers."""
MAX_ORIGINS = 1000
MAX_EVENT_BYTES = 512 * 1024  # a NATS server takes messages of 1 MiB by default
RECONNECT_S = 1
CONNECT_TIMEOUT_S = 5

logger = logging.getLogger(__name__)


class EventsError(LocalError):
    """The address of the events cannot be used; the message says why and what to change."""


@dataclass(frozen=True, slots=True)
class NatsAddress:
    """`nats://HOST:PORT`, or `tls://` for a server on another machine.

    `secret` is the password of a user that stands in front of @, else a token.
    """

    url: str
    user: str | None = None
    secret: str | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, url: str, password_file: Path | None = None) -> NatsAddress:
        """Read an address, and its password or token of a file, else of $TRAMONTANA_EVENTS_PASSWORD. Raises `EventsError`."""
        try:
            parts = urlsplit(url)
            port = parts.port or DEFAULT_PORT
        except ValueError as error:
            raise EventsError(f"the address of the events cannot be read ({error}): write nats://HOST:PORT") from error
        if parts.scheme not in ("nats", "tls") or not parts.hostname or parts.path.strip("/") or parts.query:
            raise EventsError("the address of the events must be nats://HOST:PORT, or tls://HOST:PORT to encrypt the way there")
        if parts.password is not None:
            raise EventsError(
                "the address of the events must not hold a password, which every user of this machine could read among the arguments: "
                f"put it into the environment ({PASSWORD_VARIABLE}) or a file (--events-password-file)"
            )
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        return cls(urlunsplit((parts.scheme, f"{host}:{port}", "", "", "")), parts.username, _secret(password_file))


def _secret(file: Path | None) -> str | None:
    if file is None:
        return os.environ.get(PASSWORD_VARIABLE)
    try:
        if file.stat().st_mode & 0o077:
            raise EventsError(f"other users can read the password of the events in {file}: chmod 600 {file}")
        return file.read_text("utf-8").rstrip("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise EventsError(f"the password of the events cannot be read from {file} ({error})") from error


class Sealing:
    """Seals what this process publishes and opens what others do. The clock gives POSIX seconds."""

    def __init__(self, key: bytes, subject: str) -> None:
        self._cipher = AESGCM(key)
        self._subject = subject.encode()
        self._origin = secrets.token_bytes(16)
        self._number = 0
        self._heard: OrderedDict[bytes, int] = OrderedDict()  # origin -> its last number

    def skip(self) -> None:
        """Count an event that could not be sent."""
        self._number += 1

    def seal(self, text: bytes, now: float) -> bytes:
        """An event, or a heartbeat where `text` is empty."""
        self._number += bool(text)
        nonce = secrets.token_bytes(NONCE)
        head = self._origin + self._number.to_bytes(8, "big") + round(now * 1000).to_bytes(8, "big")
        return nonce + self._cipher.encrypt(nonce, head + text, self._subject)

    def open(self, sealed: bytes, now: float) -> tuple[bytes, bool] | None:
        """(the event, whether others were lost before it), or None where there is nothing to believe or nothing new."""
        try:
            plain = self._cipher.decrypt(sealed[:NONCE], sealed[NONCE:], self._subject)
        except (InvalidTag, ValueError):
            return None
        origin, number, sent_at = plain[:16], int.from_bytes(plain[16:24], "big"), int.from_bytes(plain[24:HEAD], "big") / 1000
        if len(plain) < HEAD or origin == self._origin or abs(now - sent_at) > MAX_AGE_S:
            return None
        text = plain[HEAD:]
        last = self._heard.get(origin)
        if last is None:
            last = number - bool(text)  # what it said before we came is in the store, which was read at the start
        if number < last or (number == last and text):
            return None
        self._heard[origin] = number
        self._heard.move_to_end(origin)
        if len(self._heard) > MAX_ORIGINS:
            self._heard.popitem(last=False)
        lost = number > last + bool(text)
        return (text, lost) if text or lost else None


class NatsEvents:
    """The way to the other processes over a NATS server. An outage is said once, and ends by itself."""

    def __init__(self, address: NatsAddress) -> None:
        self._address = address
        self._listeners: list[events.Listener] = []
        self._client: Client | None = None
        self._waiting: deque[bytes] = deque()
        self._wake = asyncio.Event()
        self._lost_here = 0
        self._is_down = False
        self._is_ending = False

    @property
    def state(self) -> events.State:
        return "connected" if self._client is not None and self._client.is_connected else "degraded"

    def listen(self, listener: events.Listener) -> None:
        self._listeners.append(listener)

    def publish(self, event: events.Event) -> None:
        text = events.encode(event)
        if self.state == "degraded" or len(self._waiting) >= MAX_WAITING or len(text) > MAX_EVENT_BYTES:
            self._lost_here += 1
        else:
            self._waiting.append(text)
        self._wake.set()

    async def run(self, realm: str, key: bytes) -> None:
        subject = f"tramontana.{realm}.events"
        sealing = Sealing(key, subject)

        async def heard(message: Msg) -> None:
            self._hear(sealing, message.data)

        client = Client()
        try:
            # Subscribing before the connection stands is not possible; `connect` tries until it succeeds.
            await client.connect(
                self._address.url,
                error_cb=self._say_down,
                disconnected_cb=self._say_down,
                reconnected_cb=self._say_back,
                connect_timeout=CONNECT_TIMEOUT_S,
                reconnect_time_wait=RECONNECT_S,
                max_reconnect_attempts=-1,
                ping_interval=10,
                no_echo=True,
                pending_size=4 * MAX_EVENT_BYTES,
                tls=ssl.create_default_context() if self._address.url.startswith("tls://") else None,
                user=self._address.user,
                password=self._address.secret if self._address.user is not None else None,
                token=self._address.secret if self._address.user is None else None,
            )
            await client.subscribe(subject, cb=heard)
            await client.flush()
            self._client = client
            await self._say_back()
            while True:
                await self._send(client, subject, sealing)
        finally:
            self._is_ending = True
            await client.close()

    async def _send(self, client: Client, subject: str, sealing: Sealing) -> None:
        """Send what waits, or a heartbeat when nothing has for `HEARTBEAT_S`."""
        is_quiet = False
        try:
            async with asyncio.timeout(HEARTBEAT_S):
                await self._wake.wait()
        except TimeoutError:
            is_quiet = True
        self._wake.clear()
        for _ in range(self._lost_here):
            sealing.skip()
        self._lost_here = 0
        while self._waiting or is_quiet:
            is_quiet = False
            sealed = sealing.seal(self._waiting.popleft() if self._waiting else b"", time.time())
            try:
                if client.is_connected:
                    await client.publish(subject, sealed)
            except Exception as error:  # whatever it is, the numbers tell the others
                logger.debug("an event was lost: %s", error)

    def _hear(self, sealing: Sealing, sealed: bytes) -> None:
        opened = sealing.open(sealed, time.time())
        if opened is None:
            return
        text, lost = opened
        for listener in self._listeners:
            if lost:
                listener.handle_gap()
            if text:
                try:
                    listener.handle(events.parse(text))
                except ValueError:
                    logger.warning("an event of another release was left out; mail comes by the next look at the store")
                    listener.handle_gap()

    async def _say_down(self, error: Exception | None = None) -> None:
        if not self._is_down and not self._is_ending:
            self._is_down = True
            logger.error(
                "the events at %s cannot be reached (%s): messages between phones of different server processes come up to a second later, "
                "and nothing is lost; it is tried again",
                self._address.url,
                str(error) or type(error).__name__ if error else "connection lost",
            )

    async def _say_back(self) -> None:
        if self._is_down:
            self._is_down = False
            logger.warning("the events at %s are back", self._address.url)
        for listener in self._listeners:
            listener.handle_gap()
