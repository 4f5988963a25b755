"""The call registry: who is in a call and since when. No description of media and no key ever reaches it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from sqlalchemy.ext.asyncio import AsyncConnection

from tramontana.control import frames
from tramontana.control.delivery import Sender
from tramontana.control.hub import Hub
from tramontana.control.media import Grant, Media
from tramontana.control.problem import Problem
from tramontana.control.rooms import RELAY, Look, Rooms
from tramontana.control.store import accounts, audit, call_rules, calls, conversations
from tramontana.control.store.database import Store
from tramontana.phone import admission
from tramontana.phone.admission import Admitted, Decision, Queued, Refused, shrink
from tramontana.precedence import Precedence

NOBODY_ONLINE_S = 90.0
"""A call in which nobody has been online for so long has ended."""

ASK_AGAIN_S = 2.0
"""How soon a phone whose call waits for room is to ask again."""


@dataclass(frozen=True, slots=True)
class _Changes:
    """What a transaction did to calls."""

    to_look: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """Conversations of which the call changes, with the accounts that are to look."""
    preempted: list[tuple[frames.Preempted, list[str]]] = field(default_factory=list)
    """What is said to the devices of calls that were pre-empted."""


@dataclass(frozen=True, slots=True)
class CallGranted:
    """The way to the relay, the call that was joined, and the level at which it was begun."""

    grant: Grant
    call_id: str
    precedence: Precedence


class Calls:
    """Admits, joins, leaves, pre-empts and reaps calls."""

    def __init__(self, store: Store, hub: Hub, media: Media, rooms: Rooms, clock: Callable[[], float]) -> None:
        self._store = store
        self._hub = hub
        self._media = media
        self._rooms = rooms
        self._admission = admission.Admission()  # only who waits; calls in progress are in the store
        self._clock = clock
        self._last_online: dict[str, float] = {}

    @asynccontextmanager
    async def _changing(self) -> AsyncIterator[tuple[AsyncConnection, _Changes]]:
        """A transaction; once it stands, whoever is concerned is told."""
        changes = _Changes()
        async with self._store.write() as connection:
            yield connection, changes
        for frame, device_ids in changes.preempted:  # first: who finds his call ended is to know why
            self._hub.push(device_ids, frames.encode(frame))
        for conversation_id, account_ids in changes.to_look.items():
            self._hub.call_changed(account_ids, conversation_id)

    async def join(
        self, sender: Sender, call_id: str, conversation_id: str, precedence: Precedence, host: str, ringing: bool = False
    ) -> CallGranted:
        """Join, or refresh one's grant. Joining leaves any other call. With `ringing` the call does not count as answered yet.

        A conference or talk group has one call at a time: who asks for a new one while it is in progress joins that.
        The one who begins a call names its precedence, at most his ceiling; calls of lower levels may have to end for it. Raises `Problem`.
        """
        async with self._store.read() as connection:
            going = await self._check(connection, sender, call_id, conversation_id)
        async with self._media.granted(sender.device_id, host, going.call_id if going else call_id) as grant:
            look = await self._look(sender, conversation_id)
            now = self._clock()
            async with self._changing() as (connection, changes):
                known = await self._check(connection, sender, call_id, conversation_id)
                if known is not None and known.call_id != call_id:
                    self._admission.withdraw(call_id)  # it may have waited for room under the id of its own
                    call_id = known.call_id
                level = Precedence.parse(known.precedence) if known else precedence
                ceiling = (await self._device(connection, sender)).ceiling
                if known is None and level > ceiling:
                    decision = None
                    details = {"reason": "above the ceiling", "precedence": level.label, "ceiling": ceiling.label}
                    await self._audit_refusal(connection, sender, call_id, details, now)
                else:
                    decision = await self._decide(connection, sender, call_id, conversation_id, known, level, look, now)
                if isinstance(decision, Admitted):
                    await self._make_room(connection, changes, sender, call_id, level, decision, now)
                    await self._join(connection, changes, sender, call_id, conversation_id, known, level, grant, ringing, now)
                elif isinstance(decision, Refused):
                    details = {"reason": "no capacity", "precedence": level.label, "room": decision.room}
                    await self._audit_refusal(connection, sender, call_id, details, now)
        if decision is None:
            raise Problem("precedence_refused")
        if not isinstance(decision, Admitted):
            raise _no_room(decision)
        if changes.preempted:
            await self._media_changed()
        return CallGranted(grant, call_id, level)

    async def _join(
        self,
        connection: AsyncConnection,
        changes: _Changes,
        sender: Sender,
        call_id: str,
        conversation_id: str,
        known: calls.Call | None,
        level: Precedence,
        grant: Grant,
        ringing: bool,
        now: float,
    ) -> None:
        for other in await calls.of_device(connection, sender.device_id):
            if other != call_id:
                await self._leave(connection, changes, sender.device_id, other, now)
        if known is None:
            await calls.begin(connection, call_id, conversation_id, level.label, now)
            details = {"conversation": conversation_id, "precedence": level.label}
            await audit.append(
                connection,
                now=now,
                actor=audit.device_actor(sender.device_id),
                action="call.begun",
                subject=f"call {call_id}",
                details=details,
            )
        await calls.join(connection, call_id, sender.device_id, now, grant.expires_at)
        present = {participant.device_id: participant.account_id for participant in known.participants} if known else {}
        if sender.device_id not in present:
            changes.to_look[conversation_id].update(present.values(), [sender.account_id])
        if present.keys() - {sender.device_id} and not ringing:
            await calls.mark_joined_by_two(connection, call_id)

    async def _device(self, connection: AsyncConnection, sender: Sender) -> accounts.Device:
        device = await accounts.device(connection, sender.device_id)
        if device is None:
            raise Problem("not_logged_in")
        return device

    async def _look(self, sender: Sender, conversation_id: str) -> Look:
        """What there is room for now in the paths of all calls in progress and of this one. Before the transaction: it may take a while."""
        async with self._store.read() as connection:
            rules = await call_rules.read(connection)
            costs = [call.cost_bps for call in await self._rooms.in_progress(connection, rules, await calls.in_progress(connection))]
            device = await self._device(connection, sender)
            costs.append(await self._rooms.with_device(connection, rules, conversation_id, None, device))
        return await self._rooms.look((room for cost in costs for room in cost), rules, self._clock())

    async def _decide(
        self,
        connection: AsyncConnection,
        sender: Sender,
        call_id: str,
        conversation_id: str,
        known: calls.Call | None,
        level: Precedence,
        look: Look,
        now: float,
    ) -> Decision:
        """Whether the sender may be in this call."""
        leaves = set(await calls.of_device(connection, sender.device_id)) - {call_id}
        listed = await calls.in_progress(connection)
        # A call of two ends when he leaves it.
        staying = [call for call in listed if not (call.call_id in leaves and len(call.participants) <= 2)]
        in_progress = await self._rooms.in_progress(connection, look.rules, staying)
        device = await self._device(connection, sender)
        cost = await self._rooms.with_device(connection, look.rules, conversation_id, known, device)
        if known is not None:
            if any(participant.device_id == sender.device_id for participant in known.participants):
                return Admitted((), None)  # he only comes back
            mine = self._rooms.cost(look.rules, [(device.place_id, device.carrier_id)])
            cost = {room: cost[room] for room in mine}  # the others are in already
        began_at = known.began_at if known else now
        return self._admission.ask(admission.Call(call_id, level, began_at, cost), in_progress, look.now, now)

    async def _make_room(
        self,
        connection: AsyncConnection,
        changes: _Changes,
        sender: Sender,
        call_id: str,
        level: Precedence,
        decision: Admitted,
        now: float,
    ) -> None:
        for victim in decision.preempted:
            details = {"by_call": call_id, "precedence": victim.precedence.label, "room": decision.room}
            await self._preempt(connection, changes, victim.call_id, level, audit.device_actor(sender.device_id), details, now)

    async def _preempt(
        self,
        connection: AsyncConnection,
        changes: _Changes,
        call_id: str,
        by: Precedence | None,
        actor: str,
        details: Mapping[str, object],
        now: float,
    ) -> None:
        """End a call for want of room, or for one of a higher level."""
        call = await calls.find(connection, call_id)
        if call is None or call.ended_at is not None:
            return
        label = by.label if by is not None else None
        details = {"by": label, **details}
        await audit.append(connection, now=now, actor=actor, action="call.preempted", subject=f"call {call_id}", details=details)
        await self._end(connection, changes, call, now, "preempted")
        told = [participant.device_id for participant in call.participants]
        changes.preempted.append((frames.Preempted(call_id=call_id, by=label), told))

    async def _audit_refusal(
        self, connection: AsyncConnection, sender: Sender, call_id: str, details: Mapping[str, object], now: float
    ) -> None:
        actor = audit.device_actor(sender.device_id)
        await audit.append(connection, now=now, actor=actor, action="call.refused", subject=f"call {call_id}", details=details)

    async def recheck(self) -> None:
        """End the calls that no longer fit because a path became smaller: rain, another satellite, another carrier."""
        now = self._clock()
        async with self._store.read() as connection:
            rules = await call_rules.read(connection)
            in_progress = await self._rooms.in_progress(connection, rules, await calls.in_progress(connection))
        look = await self._rooms.look((room for call in in_progress for room in call.cost_bps), rules, now)
        has_ended = False
        for call in shrink(in_progress, look.best):
            async with self._changing() as (connection, changes):
                details = {"precedence": call.precedence.label, "rooms": sorted(call.cost_bps)}
                await self._preempt(connection, changes, call.call_id, None, audit.SERVER, details, now)
            has_ended |= bool(changes.preempted)
        if has_ended:
            await self._media_changed()

    async def _check(self, connection: AsyncConnection, sender: Sender, call_id: str, conversation_id: str) -> calls.Call | None:
        """The call that whoever asks for this one is to be in, None where none has begun. Raises `Problem`."""
        conversation = await conversations.find(connection, conversation_id)
        if conversation is None or sender.account_id not in conversation.members:
            raise Problem("not_found")
        known = await calls.find(connection, call_id)
        if known is not None and known.conversation_id != conversation_id:
            raise Problem("call_elsewhere")
        if known is not None and known.ended_at is not None:
            raise Problem("call_preempted" if known.preempted else "call_ended")
        if known is None and conversation.kind != "direct":
            return await calls.of_conversation(connection, conversation_id)  # somebody else was the first to open one
        return known

    async def leave(self, sender: Sender, call_id: str) -> None:
        """Leave a call, or give up waiting for room; leaving one that one is not in changes nothing."""
        self._admission.withdraw(call_id)
        async with self._changing() as (connection, changes):
            await self._leave(connection, changes, sender.device_id, call_id, self._clock())
        await self._media_changed()

    async def put_out(self, device_id: str) -> None:
        """A device was revoked: it leaves whatever call it is in."""
        async with self._changing() as (connection, changes):
            for call in await calls.in_progress(connection):
                if any(participant.device_id == device_id for participant in call.participants):
                    await self._leave(connection, changes, device_id, call.call_id, self._clock())
        await self._cut_off()

    async def put_out_of(self, conversation_id: str, account_id: str) -> None:
        """An account is no longer in a conversation: its devices leave the call of it."""
        async with self._changing() as (connection, changes):
            call = await calls.of_conversation(connection, conversation_id)
            gone = [each.device_id for each in call.participants if each.account_id == account_id] if call is not None else []
            for device_id in gone:
                assert call is not None
                await self._leave(connection, changes, device_id, call.call_id, self._clock())
        if gone:
            await self._cut_off()

    async def _cut_off(self) -> None:
        """Whichever process can reach the forwarder ends the connections there of devices that are in no call any more."""
        await self._media_changed()
        self._hub.calls_changed()
        self._hub.on_calls_changed()

    async def _leave(self, connection: AsyncConnection, changes: _Changes, device_id: str, call_id: str, now: float) -> None:
        if not await calls.leave(connection, call_id, device_id, now):
            return
        call = await calls.find(connection, call_id)
        assert call is not None
        # While it still rings the caller is alone in it; it ends when he goes.
        if call.ended_at is None and len(call.participants) < (2 if call.joined_by_two else 1):
            await self._end(connection, changes, call, now, "left")
        else:
            changes.to_look[call.conversation_id].update(participant.account_id for participant in call.participants)

    async def _end(self, connection: AsyncConnection, changes: _Changes, call: calls.Call, now: float, reason: str) -> None:
        await calls.end(connection, call.call_id, now, preempted=reason == "preempted")
        conversation = await conversations.find(connection, call.conversation_id)
        assert conversation is not None
        changes.to_look[call.conversation_id].update(conversation.members)  # it may still ring at those who are not in it
        details = {"reason": reason, "seconds": round(now - call.began_at, 3), "joined_by_two": call.joined_by_two}
        await audit.append(connection, now=now, actor=audit.SERVER, action="call.ended", subject=f"call {call.call_id}", details=details)

    async def reap(self) -> None:
        """End calls that nobody is left in: nobody online for `NOBODY_ONLINE_S`, or every grant run out. Call it every few seconds."""
        now = self._clock()
        async with self._store.read() as connection:
            in_progress = await calls.in_progress(connection)
        over: list[tuple[str, str]] = []
        # Calls end at whichever process: those that are over are forgotten here. What has just begun, and whatever a server finds that has
        # just started, counts from now: phones need time to come back.
        self._last_online = {call.call_id: self._last_online.get(call.call_id, now) for call in in_progress}
        for call in in_progress:
            last_online = self._last_online[call.call_id]
            if any(self._hub.is_device_online(participant.device_id) for participant in call.participants):
                self._last_online[call.call_id] = now
            elif now - last_online >= NOBODY_ONLINE_S:
                over.append((call.call_id, "nobody online"))
                continue
            if all(participant.expires_at <= now for participant in call.participants):
                over.append((call.call_id, "grants ran out"))
        for call_id, reason in over:
            async with self._changing() as (connection, changes):
                found = await calls.find(connection, call_id)
                if found is not None and found.ended_at is None:
                    await self._end(connection, changes, found, now, reason)

    async def refresh_media(self) -> None:
        """Give a front to every device in a call, and to no other."""
        await self._media.refresh(self._devices_in_calls)

    async def _media_changed(self) -> None:
        """Calls or paths have changed: the process that keeps the fronts brings them in line, this one or another."""
        if await self._store.leads():
            await self.refresh_media()
        else:
            self._hub.calls_changed()

    async def _devices_in_calls(self) -> frozenset[str]:
        async with self._store.read() as connection:
            in_progress = await calls.in_progress(connection)
        return frozenset(participant.device_id for call in in_progress for participant in call.participants)

    async def access_changed(self, device_id: str) -> None:
        """A device chose another place or carrier: a call in progress moves to the new path."""
        async with self._store.read() as connection:
            in_call = bool(await calls.of_device(connection, device_id))
        if in_call:
            await self.recheck()
            await self._media_changed()

    async def in_progress(self) -> int:
        """How many calls there are now."""
        async with self._store.read() as connection:
            return len(await calls.in_progress(connection))


def _no_room(decision: Queued | Refused) -> Problem:
    where = "the media relay" if decision.room == RELAY else f"the path {decision.room.replace('/', ' over ')}"
    if isinstance(decision, Queued):
        ahead = "as the first" if decision.ahead == 0 else f"behind {decision.ahead} other{'s' if decision.ahead > 1 else ''}"
        return Problem(
            "call_waiting",
            f"There is no room on {where} yet; the call waits {ahead}. Ask again after Retry-After, or hang up.",
            retry_after_s=ASK_AGAIN_S,
        )
    return Problem(
        "no_capacity",
        f"There is no room for this call on {where}. Try again later, choose another carrier, or use a higher precedence "
        "if the matter demands it.",
    )
