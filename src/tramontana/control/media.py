"""The way of a phone's media: its front on the path player, and its credentials at the relay.

A front plays the profile of its phone, `AHEAD_S` long; `refresh` replaces it when less than `REFRESH_BELOW_S` of it are left, and opens
fronts again that a restarted player has lost, on the same port, so that a call goes on.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tramontana.control.player import PathPlayer
from tramontana.control.problem import Problem
from tramontana.control.sky import SkyService
from tramontana.control.store import accounts, calls
from tramontana.control.store.database import Store
from tramontana.emulation.client.driver import PathPlayerRefused, PathPlayerUnavailable
from tramontana.phone.relay_secret import RelaySecret

AHEAD_S = 30 * 60.0
REFRESH_BELOW_S = 15 * 60.0
CREDENTIAL_S = 4 * 3600.0
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Relay:
    """Where the relay listens, and the secret that it shares with the server."""

    host: str
    port: int
    secret: RelaySecret = field(repr=False)


@dataclass(frozen=True, slots=True)
class Grant:
    """What a phone needs to send media."""

    urls: tuple[str, ...]
    username: str
    credential: str = field(repr=False)
    expires_at: float
    simulated: bool


@dataclass(slots=True)
class _Front:
    port: int
    profile_end: float
    access: tuple[str, str]
    upstream: tuple[str, int]


class Media:
    """Fronts and credentials. Without a player phones reach the relay directly, and nothing is simulated."""

    def __init__(self, store: Store, sky: SkyService, relay: Relay | None, player: PathPlayer | None, clock: Callable[[], float]) -> None:
        self._store = store
        self._sky = sky
        self._relay = relay
        self._player = player
        self._clock = clock
        self._fronts: dict[str, _Front] = {}
        self._joining: Counter[str] = Counter()
        """Devices that have a grant and whose call is not yet in the store."""
        self._changing = asyncio.Lock()

    @property
    def simulated(self) -> bool:
        """Whether the phones' paths are played by the path player."""
        return self._player is not None

    @asynccontextmanager
    async def granted(self, device_id: str, host: str, call_id: str | None = None) -> AsyncIterator[Grant]:
        """Open the way for a device, which joins its call inside: until then no `refresh` closes the way again.

        `host` is the name under which the device reached the server; `call_id` the call that it is about to join. Raises `Problem`.
        """
        if self._relay is None:
            raise Problem("media_unavailable", "This server was started without a media relay; calls are not possible.")
        async with self._changing:  # a refresh under way either knows of this or ends before the front is opened
            self._joining[device_id] += 1
        port = self._relay.port
        try:
            if self._player is not None:
                lost = not await self._store.leads()  # another process keeps the fronts: what this one remembers may be gone
                async with self._changing:
                    port = (await self._front(device_id, self._player, self._relay, lost=lost, joins=call_id)).port
            expires_at = float(int(self._clock() + CREDENTIAL_S))
            issued = self._relay.secret.issue(device_id, expires_at)
            urls = (f"turn:{self._reachable(host)}:{port}?transport=udp",)
            yield Grant(urls, issued.username, issued.credential, expires_at, self._player is not None)
        except (PathPlayerUnavailable, PathPlayerRefused) as error:
            logger.warning("path player: %s", error)
            raise Problem("media_unavailable") from error
        finally:
            self._joining -= Counter([device_id])

    async def forwarder_front(self, device_id: str, host: str) -> tuple[str, int] | None:
        """Where a device that is in a call reaches the call's forwarder; None if it reaches it directly. Raises `Problem`."""
        if self._player is None or self._relay is None:
            return None
        try:
            lost = not await self._store.leads()
            async with self._changing:
                front = await self._front(device_id, self._player, self._relay, lost=lost)
        except (PathPlayerUnavailable, PathPlayerRefused) as error:
            logger.warning("path player: %s", error)
            raise Problem("media_unavailable") from error
        return self._reachable(host).strip("[]"), front.port

    def _reachable(self, host: str) -> str:
        # On this machine every name leads to the address on which the fronts listen: `localhost` may mean ::1 to a browser.
        assert self._relay is not None
        if host in LOOPBACK_NAMES and self._relay.host in LOOPBACK_NAMES:
            host = "127.0.0.1" if self._relay.host == "localhost" else self._relay.host
        return f"[{host}]" if ":" in host else host

    async def _front(self, device_id: str, player: PathPlayer, relay: Relay, *, lost: bool = False, joins: str | None = None) -> _Front:
        """The front of a device with a profile that reaches far enough, on its way for the call that it is in, or that it `joins`.

        Call under the lock. Raises what the player raises.
        """
        now = self._clock()
        async with self._store.read() as connection:
            device = await accounts.device(connection, device_id)
            if joins is None:
                forwarder = await calls.forwarder_of_device(connection, device_id)
            else:
                joined = await calls.find(connection, joins)
                forwarder = joined.forwarder if joined is not None else None
        if device is None:
            raise Problem("not_logged_in")
        # In a conference or talk group the way leads to its forwarder, in every other call to the relay.
        upstream = (relay.host, relay.port)
        if forwarder is not None:
            host, _, number = forwarder.rpartition(":")
            upstream = (host, int(number))
        access = self._sky.access_of(device.place_id, device.carrier_id)
        known = self._fronts.get(device_id)
        same = known is not None and not lost and (known.access, known.upstream) == (access, upstream)
        if known is not None and same and known.profile_end - now >= REFRESH_BELOW_S:
            return known
        profile = await self._sky.profile(*access, now, AHEAD_S)
        port = await player.attach(
            device_id, profile, seed=device.path_seed, upstream=upstream, port=known.port if known else device.front_port
        )
        if port != device.front_port:
            async with self._store.write() as connection:
                await accounts.set_front_port(connection, device_id, port)
        front = self._fronts[device_id] = _Front(port, profile.end_unix_s, access, upstream)
        return front

    async def refresh(self, in_calls: Callable[[], Awaitable[frozenset[str]]]) -> None:
        """Bring the player in line: the devices in calls, and no others, have fronts, each with enough profile ahead. Faults are logged.

        `in_calls` reads which devices those are. It is asked under the lock, after the devices that are joining were noted: whoever
        joins meanwhile is in one or the other.
        """
        if self._player is None or self._relay is None:
            return
        async with self._changing:
            joining = frozenset(self._joining)
            try:
                played = frozenset(await self._player.stats())
                device_ids = await in_calls()
                for device_id in sorted(device_ids):
                    await self._front(device_id, self._player, self._relay, lost=device_id not in played)
                for flow in sorted((played | self._fronts.keys()) - device_ids - joining):
                    self._fronts.pop(flow, None)
                    await self._player.detach(flow)
            except (PathPlayerUnavailable, PathPlayerRefused) as error:
                logger.warning("path player: %s", error)
