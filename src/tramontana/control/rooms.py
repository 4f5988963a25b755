"""Where calls have to fit: what the carriers in their paths and the relay can carry now, and what each call takes of it.

A path is a place over a carrier: phones at one place that use one carrier share its terminal.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncConnection

from tramontana.control.hub import Hub
from tramontana.control.sky import SkyService
from tramontana.control.store import accounts, calls, conversations
from tramontana.control.store.call_rules import CallRules
from tramontana.phone import admission
from tramontana.phone.admission import Room
from tramontana.precedence import Precedence

RELAY = "relay"


def path_room(place_id: str, carrier_id: str) -> str:
    """The name of a path's room."""
    return f"{place_id}/{carrier_id}"


@dataclass(frozen=True, slots=True)
class Look:
    """What there is room for: as it is `now`, and as at `best` in the next seconds.

    New calls have to fit into `now`. Calls in progress end only when they do not even fit into `best`: a dip that passes within one slot
    of the satellites ends nobody.
    """

    rules: CallRules
    now: Mapping[str, Room]
    best: Mapping[str, Room]


class Rooms:
    """Capacities and costs."""

    def __init__(self, sky: SkyService, hub: Hub, *, simulated: bool) -> None:
        """`simulated`: paths are those of the sky. Else they are real and only the rules limit them."""
        self._sky = sky
        self._hub = hub
        self._simulated = simulated

    async def look(self, rooms: Iterable[str], rules: CallRules, now: float) -> Look:
        """The capacities of these rooms. A path without coverage has none and limits nobody: the phones show it, and it passes."""
        seen_now = {RELAY: _room(rules.relay_bps, rules)}
        seen_best = dict(seen_now)
        for name in sorted(set(rooms) - {RELAY}):
            place_id, _, carrier_id = name.partition("/")
            limit = rules.carrier_bps.get(carrier_id)
            span = await self._sky.capacity_bps(place_id, carrier_id, now) if self._simulated else None
            if span is None and limit is None:
                continue
            low, high = span or (float("inf"), float("inf"))
            if limit is not None:
                low, high = min(low, limit), min(high, limit)
            seen_now[name], seen_best[name] = _room(low, rules), _room(high, rules)
        return Look(rules, seen_now, seen_best)

    def cost(self, rules: CallRules, legs: Iterable[tuple[str | None, str | None]]) -> dict[str, float]:
        """What a call takes of each room, given the chosen access of each of its devices."""
        units: Counter[str] = Counter()
        for place_id, carrier_id in legs:
            units[path_room(*self._sky.access_of(place_id, carrier_id))] += 1
            units[RELAY] += 1
        return {name: float(count * rules.call_bps) for name, count in units.items()}

    async def in_progress(self, connection: AsyncConnection, rules: CallRules, listed: Sequence[calls.Call]) -> list[admission.Call]:
        """Calls in progress with what they take. One that still rings takes what it will when it is answered."""
        rung = await self._rung(connection, {call.conversation_id for call in listed if not call.joined_by_two})
        return [
            admission.Call(call.call_id, Precedence.parse(call.precedence), call.began_at, self.cost(rules, _legs(call, rung)))
            for call in listed
        ]

    async def with_device(
        self, connection: AsyncConnection, rules: CallRules, conversation_id: str, known: calls.Call | None, device: accounts.Device
    ) -> dict[str, float]:
        """What a call takes once this device is in it."""
        present = {participant.device_id: participant for participant in known.participants} if known else {}
        legs = [(each.place_id, each.carrier_id) for each in present.values() if each.device_id != device.device_id]
        if not legs:
            rung = await self._rung(connection, {conversation_id})
            legs = [leg for account_id, leg in rung.get(conversation_id, {}).items() if account_id != device.account_id]
        return self.cost(rules, [*legs, (device.place_id, device.carrier_id)])

    async def _rung(self, connection: AsyncConnection, conversation_ids: set[str]) -> dict[str, dict[str, tuple[str | None, str | None]]]:
        """By direct conversation and account: the access of the device that is expected to answer, one that is online where there is one.

        In other conversations each joins for himself, and is admitted then.
        """
        found: dict[str, dict[str, tuple[str | None, str | None]]] = {}
        for conversation in await conversations.direct_among(connection, conversation_ids):
            expected: dict[str, accounts.Device] = {}
            for device in await accounts.devices_of(connection, conversation.members):
                if device.account_id not in expected or (
                    self._hub.is_device_online(device.device_id) and not self._hub.is_device_online(expected[device.account_id].device_id)
                ):
                    expected[device.account_id] = device
            found[conversation.conversation_id] = {
                account_id: (device.place_id, device.carrier_id) for account_id, device in expected.items()
            }
        return found


def _legs(call: calls.Call, rung: Mapping[str, Mapping[str, tuple[str | None, str | None]]]) -> list[tuple[str | None, str | None]]:
    legs = [(each.place_id, each.carrier_id) for each in call.participants]
    if not call.joined_by_two:
        here = {each.account_id for each in call.participants}
        legs += [leg for account_id, leg in rung.get(call.conversation_id, {}).items() if account_id not in here]
    return legs


def _room(capacity_bps: float, rules: CallRules) -> Room:
    # In whole calls: a path with room for one must not be kept free of everything below flash.
    reserved = capacity_bps * rules.flash_share // rules.call_bps * rules.call_bps
    return Room(capacity_bps, reserved)
