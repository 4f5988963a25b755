"""Conferences and talk groups: which forwarder carries a call, who is admitted to it, and word of the floor.

The store says which forwarder a call is pinned to, by the address that it listens at for media; so several server processes agree. The
floor itself is kept by the forwarder, one for each call, whichever process a phone is connected to.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from tramontana.control import frames
from tramontana.control.delivery import Sender
from tramontana.control.hub import Hub
from tramontana.control.media import Media
from tramontana.control.problem import Problem
from tramontana.control.store import accounts, calls, conversations
from tramontana.control.store.database import Store
from tramontana.phone.floor import Event
from tramontana.phone.forwarder.client.driver import ForwarderClient, ForwarderRefused, ForwarderUnavailable
from tramontana.phone.forwarder.control_protocol import Connect, Disconnect, FloorEvent, FloorRelease, FloorRequest
from tramontana.phone.forwarder.control_protocol import Stats as StatsRequest
from tramontana.phone.forwarder.sdp import MAX_SLOTS
from tramontana.phone.forwarder.ticket import TICKET_LIFETIME_S, Kind, issue_ticket
from tramontana.phone.relay_secret import RelaySecret
from tramontana.phone.stun import Address
from tramontana.precedence import Precedence

KINDS: Final = {"group": Kind.CONFERENCE, "talk": Kind.TALK}
LISTENS: Final = "none"
"""The floor of a talk group's member who only listens."""
_PASSED_ON: Final = frozenset({"draining", "full"})
"""Refusals after which another forwarder may take the call."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Connection:
    """The answer to a phone's offer."""

    answer: str
    kind: Kind
    slots: int


class Forwarders:
    """The forwarders of this machine. `run` must be running for them to be reached."""

    def __init__(
        self,
        store: Store,
        hub: Hub,
        media: Media,
        clients: Sequence[ForwarderClient],
        secret: RelaySecret | None,
        clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._hub = hub
        self._media = media
        self._clients = tuple(clients)
        self._secret = secret
        self._clock = clock
        self._connections: dict[str, tuple[str, ForwarderClient]] = {}
        """Device → call and forwarder, of those that this process admitted."""
        for client in self._clients:
            client.on_floor = self._tell_floor
            client.on_lost = lambda client=client: self._tell_lost(client)  # type: ignore[misc]

    async def run(self) -> None:
        """Stay connected to all until cancelled."""
        async with asyncio.TaskGroup() as group:
            for client in self._clients:
                group.create_task(client.run())

    # --- connections ---

    async def connect(self, sender: Sender, call_id: str, offer: str, host: str) -> Connection:
        """Admit a phone with its offer. `host`: the name under which it reached the server. Raises `Problem`."""
        excluded: set[ForwarderClient] = set()
        while True:
            async with self._store.read() as connection:
                kind, may_speak, pinned = await self._check(connection, sender, call_id)
            client = await self._client_of(call_id, pinned, excluded)
            assert client.address is not None  # as it has been connected
            assert self._secret is not None  # else there are no clients
            ticket = issue_ticket(
                self._secret,
                call_id=call_id,
                kind=kind,
                device_id=sender.device_id,
                may_speak=may_speak,
                offer=offer,
                expires_at_unix_s=self._clock() + TICKET_LIFETIME_S,
            )
            candidate = await self._candidate(sender.device_id, host)
            try:
                answer = await client.request(Connect(ticket, offer, candidate))
            except ForwarderRefused as error:
                if error.code == "offer_refused":
                    raise Problem("offer_refused", f"The forwarder cannot answer this offer: {error}.") from None
                if error.code not in _PASSED_ON:
                    logger.error("forwarder: %s", error)
                    raise Problem("media_unavailable") from error
            except ForwarderUnavailable as error:
                logger.warning("%s", error)
            else:
                self._connections[sender.device_id] = (call_id, client)
                return Connection(str(answer["answer"]), kind, MAX_SLOTS if kind is Kind.CONFERENCE else 1)
            excluded.add(client)

    async def _check(self, connection: AsyncConnection, sender: Sender, call_id: str) -> tuple[Kind, bool, str | None]:
        """(kind, whether the phone may speak, the pinned forwarder). Raises `Problem`."""
        call = await calls.find(connection, call_id)
        if call is None or call.ended_at is not None or sender.device_id not in [each.device_id for each in call.participants]:
            raise Problem("not_found")
        conversation = await conversations.find(connection, call.conversation_id)
        if conversation is None or sender.account_id not in conversation.members:
            raise Problem("not_found")
        if conversation.kind not in KINDS:
            raise Problem("call_not_forwarded")
        listens = await conversations.floor_of(connection, conversation.conversation_id, sender.account_id) == LISTENS
        return KINDS[conversation.kind], sender.account_id not in conversation.archives and not listens, call.forwarder

    async def _client_of(self, call_id: str, pinned: str | None, excluded: set[ForwarderClient]) -> ForwarderClient:
        """The forwarder of a call; a new one if there was none, or it is gone. Raises `Problem`."""
        usable = [client for client in self._clients if client.is_connected and client not in excluded]
        for client in usable:
            if pinned is not None and _name(client) == pinned:
                return client
        loads: list[tuple[int, int, ForwarderClient]] = []
        for index, client in enumerate(usable):
            try:
                stats = await client.request(StatsRequest())
            except (ForwarderUnavailable, ForwarderRefused) as error:
                logger.warning("%s", error)
                continue
            if not stats["draining"]:
                loads.append((sum(len(call["devices"]) for call in stats["calls"].values()), index, client))
        if not loads:
            raise Problem("media_unavailable", "No forwarder can take this call now. Try again in a few seconds.")
        chosen = min(loads)[2]
        async with self._store.write() as connection:
            agreed = await calls.pin_forwarder(connection, call_id, pinned, _name(chosen))
        return next((client for client in usable if _name(client) == agreed), chosen)

    async def _candidate(self, device_id: str, host: str) -> Address | None:
        """The phone's front as an IP address, which a candidate must be; None where nothing is emulated."""
        front = await self._media.forwarder_front(device_id, host)
        if front is None:
            return None
        name, port = front
        try:
            return str(ipaddress.ip_address(name)), port
        except ValueError:
            pass
        try:
            found = await asyncio.get_running_loop().getaddrinfo(name, port)
        except OSError as error:
            raise Problem("media_unavailable") from error
        return str(found[0][4][0]), port

    async def leave(self, device_id: str, call_id: str) -> None:
        """A phone has left a call. Faults are logged: `reconcile` repeats it."""
        known = self._connections.get(device_id)
        if known is None or known[0] != call_id:
            return
        del self._connections[device_id]
        await self._tell(known[1], Disconnect(call_id, device_id))

    async def reconcile(self) -> None:
        """End at the forwarders what has ended here: calls, and connections of devices that are in them no more."""
        if not self._clients:
            return
        for client in self._clients:
            if not client.is_connected:
                continue
            try:
                carried = (await client.request(StatsRequest()))["calls"]
                if not carried:
                    continue
                async with self._store.read() as connection:
                    present = {call.call_id: {each.device_id for each in call.participants} for call in await calls.in_progress(connection)}
                for call_id, call in carried.items():
                    if call_id not in present:
                        await client.request(Disconnect(call_id, None))
                        continue
                    for device_id in call["devices"].keys() - present[call_id]:
                        await client.request(Disconnect(call_id, device_id))
            except (ForwarderUnavailable, ForwarderRefused) as error:
                logger.warning("%s", error)
        # A call is joined before it is connected, so this loses nobody who is just coming.
        async with self._store.read() as connection:
            here = {each.device_id: call.call_id for call in await calls.in_progress(connection) for each in call.participants}
        self._connections = {device: known for device, known in self._connections.items() if here.get(device) == known[0]}

    async def _tell(self, client: ForwarderClient, request: Disconnect | FloorRelease) -> None:
        if not client.is_connected:
            return
        try:
            await client.request(request)
        except (ForwarderUnavailable, ForwarderRefused) as error:
            logger.warning("%s", error)

    def _tell_lost(self, client: ForwarderClient) -> None:
        for device_id, (call_id, its) in list(self._connections.items()):
            if its is client:
                del self._connections[device_id]
                self._hub.push([device_id], frames.encode(frames.Reconnect(call_id=call_id)))

    # --- the floor ---

    async def request_floor(self, sender: Sender, call_id: str, precedence: Precedence) -> None:
        """A phone asks for the floor, at most at its person's ceiling. What becomes of it, the phone is told by frames."""
        try:
            known = await self._call_of(sender.device_id)
            if known is None or known[0] != call_id:
                raise ForwarderRefused("unknown_call", "not connected")
            async with self._store.read() as connection:
                device, call = await accounts.device(connection, sender.device_id), await calls.find(connection, call_id)
                given = await conversations.floor_of(connection, call.conversation_id, sender.account_id) if call is not None else None
            if given == LISTENS:
                raise ForwarderRefused("listens_only", "an administrator let this member listen only")
            ceiling = device.ceiling if device is not None else Precedence.ROUTINE
            least = Precedence.parse(given) if given is not None else Precedence.ROUTINE
            await known[1].request(FloorRequest(call_id, sender.device_id, min(max(precedence, least), ceiling)))
        except (ForwarderRefused, ForwarderUnavailable) as error:
            logger.info("floor: %s", error)
            denied = frames.FloorState(call_id=call_id, state="idle", event=Event.DENIED.value)
            self._hub.push([sender.device_id], frames.encode(denied))

    async def release_floor(self, device_id: str, call_id: str | None = None) -> None:
        """A phone gives the floor back or leaves the queue; of any call, if its WebSocket is gone."""
        known = await self._call_of(device_id)
        if known is not None and call_id in (None, known[0]):
            await self._tell(known[1], FloorRelease(known[0], device_id))

    async def _call_of(self, device_id: str) -> tuple[str, ForwarderClient] | None:
        """The call that a device is in and its forwarder, whichever server process admitted it."""
        if not self._clients:
            return None
        if (known := self._connections.get(device_id)) is not None:
            return known
        async with self._store.read() as connection:
            joined = [await calls.find(connection, call_id) for call_id in await calls.of_device(connection, device_id)]
        for call in joined:
            for client in self._clients:
                if call is not None and client.is_connected and call.forwarder == _name(client):
                    return call.call_id, client
        return None

    def _tell_floor(self, event: FloorEvent) -> None:
        """Tell the devices that are connected to this process; other processes hear of it themselves."""
        here = {outbox.device_id for outbox in self._hub.connected_here()}
        told = dict(event.told)
        places = {device_id: place for place, device_id in enumerate(event.queue, start=1)}
        for device_id in event.tell:
            if device_id in here:
                frame = frames.FloorState.model_validate(
                    {
                        "call_id": event.call_id,
                        "state": "taken" if event.holder is not None else "idle",
                        "holder_device_id": event.holder,
                        "precedence": event.precedence.label if event.precedence is not None else None,
                        "until": event.until,
                        "queued": len(event.queue),
                        "position": places.get(device_id),
                        "event": told.get(device_id),
                    }
                )
                self._hub.push([device_id], frames.encode(frame))


def _name(client: ForwarderClient) -> str:
    """How the store calls a forwarder."""
    assert client.address is not None  # as it has been connected
    host, port = client.address
    return f"{host}:{port}"
