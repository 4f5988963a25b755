"""The sky as the server shows it: computed in worker threads, kept per slot, never on the event loop.

Places, carriers and profiles come from `tramontana.space` and `tramontana.carriers`; all of it is simulated and says so.
"""

from __future__ import annotations

import asyncio
import struct
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from tramontana.carriers.carrier import Carrier
from tramontana.carriers.catalogue import offered
from tramontana.carriers.paths import path_profile
from tramontana.control.api import models
from tramontana.path_profile import PathProfile
from tramontana.space.fleet import Fleet
from tramontana.space.ground import Place
from tramontana.space.serving import slot_of, slot_start_unix_s
from tramontana.space.sky import Serving, Sky

DEFAULT_PLACE = "rome"
POSITION_STEPS = 4
POSITION_STEP_S = 5.0
"""Four positions, 0 to 15 s after the slot's start: the last is the first of the next slot, so a map can interpolate without a gap."""
WARM_UP_S = 60.0
SLOTS_KEPT = 8
CAPACITY_SPAN_S = 15.0
CAPACITY_AHEAD_S = 600.0
CAPACITIES_KEPT = 256

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Overhead:
    """What stands over a place at an instant, for the live lines."""

    place: str
    satellites_in_view: int
    serving: Serving | None


class _PerSlot(Generic[T]):
    """Answers by slot, each computed once even when many ask at the same time; the oldest give way."""

    def __init__(self) -> None:
        self._answers: OrderedDict[int, asyncio.Future[T]] = OrderedDict()

    async def get(self, slot: int, make: Callable[[int], T]) -> T:
        """The answer of a slot, made in a worker thread if it is not known yet."""
        known = self._answers.get(slot)
        if known is None:
            known = self._answers[slot] = asyncio.ensure_future(asyncio.to_thread(make, slot))
            if len(self._answers) > SLOTS_KEPT:
                self._answers.popitem(last=False)
        try:
            # shield: one client that goes away must not cancel the answer of the others
            return await asyncio.shield(known)
        except Exception:
            if self._answers.get(slot) is known:  # a failure is not kept
                del self._answers[slot]
            raise


class SkyService:
    """One sky for phones and console."""

    def __init__(self, sky: Sky, carriers: Sequence[Carrier] | None = None) -> None:
        """`carriers`: what phones may choose from, the default first; without it what the fleet offers."""
        self._sky = sky
        self._places = {place.id: place for place in sky.ground.places}
        self._carriers = {carrier.id: carrier for carrier in carriers or offered(sky.fleet)}
        self._positions_of_slot: _PerSlot[bytes] = _PerSlot()
        self._links_of_slot: _PerSlot[models.Links] = _PerSlot()
        self._profiles = asyncio.Semaphore(2)
        self._capacities: OrderedDict[tuple[str, str], PathProfile] = OrderedDict()

    @property
    def label(self) -> str:
        return self._sky.label

    @property
    def fleet(self) -> Fleet:
        return self._sky.fleet

    def age_s(self, now: float) -> float | None:
        """Age of the elements; None for a constellation as filed."""
        return self._sky.age_s(now)

    def is_offered(self, place_id: str, carrier_id: str) -> bool:
        return place_id in self._places and carrier_id in self._carriers

    def access_of(self, place_id: str | None, carrier_id: str | None) -> tuple[str, str]:
        """What a device chose, or the defaults where it chose nothing or something that is no longer offered."""
        place = place_id if place_id in self._places else DEFAULT_PLACE if DEFAULT_PLACE in self._places else next(iter(self._places))
        carrier = carrier_id if carrier_id in self._carriers else next(iter(self._carriers))
        assert place is not None
        assert carrier is not None
        return place, carrier

    def place_options(self) -> list[models.PlaceOption]:
        return [
            models.PlaceOption(
                place_id=place.id,
                name=place.name,
                country=place.country,
                kind=place.kind,
                latitude_deg=place.latitude_deg,
                longitude_deg=place.longitude_deg,
            )
            for place in self._places.values()
        ]

    def carrier_options(self) -> list[models.CarrierOption]:
        return [
            models.CarrierOption(
                carrier_id=carrier.id,
                name=carrier.name,
                kind=carrier.kind.value,
                operator=carrier.operator,
                jurisdiction=carrier.jurisdiction,
            )
            for carrier in self._carriers.values()
        ]

    async def profile(self, place_id: str, carrier_id: str, start: float, duration_s: float) -> PathProfile:
        """The path from a place over a carrier, computed in a worker thread."""
        async with self._profiles:
            return await asyncio.to_thread(path_profile, self._carriers[carrier_id], self._places[place_id], self._sky, start, duration_s)

    async def capacity_bps(self, place_id: str, carrier_id: str, now: float) -> tuple[float, float] | None:
        """What a path can carry each way: the least and the most over the next `CAPACITY_SPAN_S`. None where it has no coverage then."""
        key = (place_id, carrier_id)
        if (known := self._capacities.get(key)) is None or known.end_unix_s < now + CAPACITY_SPAN_S:
            known = await self.profile(place_id, carrier_id, now, CAPACITY_AHEAD_S)
            self._capacities[key] = known
            self._capacities.move_to_end(key)
            if len(self._capacities) > CAPACITIES_KEPT:
                self._capacities.popitem(last=False)
        first = max(0, int(np.searchsorted(known.time_unix_s, now, side="right")) - 1)
        last = int(np.searchsorted(known.time_unix_s, now + CAPACITY_SPAN_S, side="right"))
        ways = np.minimum(known.capacity_up_bps[first:last], known.capacity_down_bps[first:last])
        ways = ways[(ways > 0) & np.isfinite(known.one_way_delay_s[first:last])]
        return (float(ways.min()), float(ways.max())) if ways.size else None

    async def warm_up(self, now: float) -> None:
        """Load what the first call would otherwise wait for: libraries and compiled kernels."""
        await self.profile(*self.access_of(None, None), now, WARM_UP_S)

    async def summary(self, now: float) -> models.SkySummary:
        ground = self._sky.ground
        return models.SkySummary(
            constellation=self._sky.label,
            provenance=self._sky.provenance,
            simulated=True,
            elements_epoch=self._sky.elements_epoch_unix_s,
            age_s=self._sky.age_s(now),
            satellite_count=self._sky.satellite_count,
            slot_s=slot_start_unix_s(1) - slot_start_unix_s(0),
            places=self.place_options(),
            gateways=[
                models.SkySite(
                    site_id=site.id,
                    name=site.name,
                    country=site.country,
                    latitude_deg=site.latitude_deg,
                    longitude_deg=site.longitude_deg,
                    source=site.source,
                )
                for site in ground.gateways
            ],
            points_of_presence=[
                models.SkySite(
                    site_id=site.id,
                    name=site.name,
                    country=site.country,
                    latitude_deg=site.latitude_deg,
                    longitude_deg=site.longitude_deg,
                    source=site.source,
                )
                for site in ground.points_of_presence
            ],
        )

    def slot_end(self, at: float) -> float:
        return slot_start_unix_s(slot_of(at) + 1)

    async def positions(self, at: float) -> bytes:
        """The positions of the slot that contains an instant, as docs/protocols.md lays them out."""
        return await self._positions_of_slot.get(slot_of(at), self._positions)

    def _positions(self, slot: int) -> bytes:
        start = slot_start_unix_s(slot)
        times = start + POSITION_STEP_S * np.arange(POSITION_STEPS, dtype=np.float64)
        kilometres = (self._sky.positions_itrs_m(times) / 1000.0).astype("<f4")
        return struct.pack("<IIdd", kilometres.shape[1], POSITION_STEPS, start, POSITION_STEP_S) + kilometres.tobytes()

    async def links(self, at: float) -> models.Links:
        """Who serves each place in the slot that contains an instant, as at the middle of the slot."""
        return await self._links_of_slot.get(slot_of(at), self._links)

    def _links(self, slot: int) -> models.Links:
        start, end = slot_start_unix_s(slot), slot_start_unix_s(slot + 1)
        return models.Links(
            slot_start=start, next_slot=end, links=[self._link(place, slot, (start + end) / 2) for place in self._places.values()]
        )

    def _link(self, place: Place, slot: int, at: float) -> models.Link:
        serving = self._sky.serving(place, at)
        following = self._sky.assignment(place, slot + 1)
        return models.Link(
            place_id=place.id,
            satellite_index=serving.satellite_index if serving else None,
            satellite=serving.satellite if serving else None,
            elevation_deg=serving.elevation_deg if serving else None,
            gateway_id=serving.gateway_id if serving else None,
            one_way_delay_ms=serving.one_way_delay_s * 1000 if serving else None,
            next_satellite_index=following.satellite if following else None,
        )

    async def overhead(self, now: float, place_id: str = DEFAULT_PLACE) -> Overhead:
        """What stands over a place now."""
        place = self._places[self.access_of(place_id, None)[0]]

        def look() -> Overhead:
            return Overhead(place.name, self._sky.in_view(place, now), self._sky.serving(place, now))

        return await asyncio.to_thread(look)
