"""The call registry: who is in a call and since when. No description of media and no key ever reaches it."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy.ext.asyncio import AsyncConnection

from tramontana.control.delivery import Sender
from tramontana.control.hub import Hub
from tramontana.control.media import Grant, Media
from tramontana.control.problem import Problem
from tramontana.control.store import audit, calls, conversations
from tramontana.control.store.database import Store

NOBODY_ONLINE_S = 90.0
"""A call in which nobody has been online for so long has ended."""


class Calls:
    """Joins, leaves and reaps calls."""

    def __init__(self, store: Store, hub: Hub, media: Media, clock: Callable[[], float]) -> None:
        self._store = store
        self._hub = hub
        self._media = media
        self._clock = clock
        self._last_online: dict[str, float] = {}

    async def join(self, sender: Sender, call_id: str, conversation_id: str, precedence: str, host: str) -> Grant:
        """Join, or refresh one's grant. Joining leaves any other call. Raises `Problem`."""
        async with self._store.read() as connection:
            await self._check(connection, sender, call_id, conversation_id)
        async with self._media.granted(sender.device_id, host) as grant:
            now = self._clock()
            async with self._store.write() as connection:
                known = await self._check(connection, sender, call_id, conversation_id)
                for other in await calls.of_device(connection, sender.device_id):
                    if other != call_id:
                        await self._leave(connection, sender.device_id, other, now)
                if known is None:
                    await calls.begin(connection, call_id, conversation_id, precedence, now)
                    details = {"conversation": conversation_id, "precedence": precedence}
                    await audit.append(
                        connection,
                        now=now,
                        actor=audit.device_actor(sender.device_id),
                        action="call.begun",
                        subject=f"call {call_id}",
                        details=details,
                    )
                await calls.join(connection, call_id, sender.device_id, now, grant.expires_at)
                present = {participant.device_id for participant in known.participants} if known else set()
                if present - {sender.device_id}:
                    await calls.mark_joined_by_two(connection, call_id)
        self._last_online[call_id] = now
        return grant

    async def _check(self, connection: AsyncConnection, sender: Sender, call_id: str, conversation_id: str) -> calls.Call | None:
        conversation = await conversations.find(connection, conversation_id)
        if conversation is None or sender.account_id not in conversation.members:
            raise Problem("not_found")
        known = await calls.find(connection, call_id)
        if known is not None and known.conversation_id != conversation_id:
            raise Problem("call_elsewhere")
        if known is not None and known.ended_at is not None:
            raise Problem("call_ended")
        return known

    async def leave(self, sender: Sender, call_id: str) -> None:
        """Leave a call; leaving one that one is not in changes nothing."""
        async with self._store.write() as connection:
            await self._leave(connection, sender.device_id, call_id, self._clock())
        await self.refresh_media()

    async def _leave(self, connection: AsyncConnection, device_id: str, call_id: str, now: float) -> None:
        if not await calls.leave(connection, call_id, device_id, now):
            return
        call = await calls.find(connection, call_id)
        assert call is not None
        # While it still rings the caller is alone in it; it ends when he goes.
        if call.ended_at is None and len(call.participants) < (2 if call.joined_by_two else 1):
            await self._end(connection, call, now, "left")

    async def _end(self, connection: AsyncConnection, call: calls.Call, now: float, reason: str) -> None:
        await calls.end(connection, call.call_id, now)
        self._last_online.pop(call.call_id, None)
        details = {"reason": reason, "seconds": round(now - call.began_at, 3), "joined_by_two": call.joined_by_two}
        await audit.append(connection, now=now, actor=audit.SERVER, action="call.ended", subject=f"call {call.call_id}", details=details)

    async def reap(self) -> None:
        """End calls that nobody is left in: nobody online for `NOBODY_ONLINE_S`, or every grant run out. Call it every few seconds."""
        now = self._clock()
        async with self._store.read() as connection:
            in_progress = await calls.in_progress(connection)
        over: list[tuple[str, str]] = []
        for call in in_progress:
            # A server that has just started counts from its start: phones need time to come back.
            last_online = self._last_online.setdefault(call.call_id, now)
            if any(self._hub.is_device_online(participant.device_id) for participant in call.participants):
                self._last_online[call.call_id] = now
            elif now - last_online >= NOBODY_ONLINE_S:
                over.append((call.call_id, "nobody online"))
                continue
            if all(participant.expires_at <= now for participant in call.participants):
                over.append((call.call_id, "grants ran out"))
        for call_id, reason in over:
            async with self._store.write() as connection:
                found = await calls.find(connection, call_id)
                if found is not None and found.ended_at is None:
                    await self._end(connection, found, now, reason)

    async def refresh_media(self) -> None:
        """Give a front to every device in a call, and to no other."""
        await self._media.refresh(self._devices_in_calls)

    async def _devices_in_calls(self) -> frozenset[str]:
        async with self._store.read() as connection:
            in_progress = await calls.in_progress(connection)
        return frozenset(participant.device_id for call in in_progress for participant in call.participants)

    async def access_changed(self, device_id: str) -> None:
        """A device chose another place or carrier: a call in progress moves to the new path."""
        async with self._store.read() as connection:
            in_call = bool(await calls.of_device(connection, device_id))
        if in_call:
            await self.refresh_media()

    async def in_progress(self) -> int:
        """How many calls there are now."""
        async with self._store.read() as connection:
            return len(await calls.in_progress(connection))
