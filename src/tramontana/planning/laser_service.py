"""Service with lasers: a slot in which no satellite sees both a place and a gateway is served over several satellites. Simulated.

Direct links stay as the scheduler chose them; lasers fill what they leave open, by the shortest route at the middle of the slot
(space/routing). So a place is never served less with lasers than without. Gateways have an antenna for every satellite here, as the
scheduler takes them to have: with fewer satellites or gateways there are only fewer routes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

import numpy as np
from numpy.typing import NDArray

from tramontana.planning.sky import SkyDesign
from tramontana.space.ground import Place
from tramontana.space.routing.failures import Failures
from tramontana.space.routing.options import RouterOptions
from tramontana.space.routing.router import Router
from tramontana.space.routing.routes import Route
from tramontana.space.serving import SLOT_S, slot_start_unix_s
from tramontana.space.studies.latency import NOBODY, Served
from tramontana.space.visibility import look_angles


def filled_by_laser(served: Served, sky: SkyDesign, left: NDArray[np.intp], places: Sequence[Place], slots: range) -> Served:
    """With the slots that lasers add.

    served: (P, S) of the direct links, its satellites counted as in `left`. left: (N,) indices in the sky's whole fleet of those that
    are there; the others are failed, and their neighbours do not reach over the gap.
    """
    open_slots = np.flatnonzero((served.satellite == NOBODY).any(axis=0))
    if not open_slots.size:
        return served
    fleet, ground = sky.whole_fleet(), sky.ground()
    router = Router(fleet, ground, RouterOptions(antennas_per_gateway=None, feeder_links_per_satellite=None))
    there = np.full(len(fleet), NOBODY, np.int32)
    there[left] = np.arange(len(left), dtype=np.int32)
    gone = Failures(satellites=frozenset(np.flatnonzero(there == NOBODY).tolist()))
    gateways = {gateway.id: row for row, gateway in enumerate(ground.gateways)}
    filled = Served(**{field.name: getattr(served, field.name).copy() for field in fields(served)})
    for slot in open_slots.tolist():
        at = slot_start_unix_s(slots[slot]) + SLOT_S / 2
        for row in np.flatnonzero(served.satellite[:, slot] == NOBODY).tolist():
            place, route = places[row], router.route(places[row], None, at, failures=gone)
            if not isinstance(route, Route) or route.gateway_id is None:
                continue
            landing = gateways[route.gateway_id]
            gateway = ground.gateways[landing]
            positions, first, last = router.positions_itrs_m(at, gone), route.satellites[0], route.satellites[-1]
            elevation, _, range_m = look_angles(place.latitude_deg, place.longitude_deg, place.height_m, positions[first])
            filled.satellite[row, slot], filled.gateway[row, slot] = there[first], landing
            filled.one_way_delay_s[row, slot] = route.delay_s
            filled.elevation_deg[row, slot], filled.range_m[row, slot] = elevation, range_m
            filled.gateway_elevation_deg[row, slot] = look_angles(gateway.latitude_deg, gateway.longitude_deg, 0.0, positions[last])[0]
    return filled
