"""What satellites give the cells on the ground, dwell by dwell: which one, how many messages a second; and the plans of warnings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import h3
import numpy as np
from numpy.typing import NDArray

from tramontana.cell.area import Floats
from tramontana.cell.beam_capacity import LOWEST_SNR_DB, SNR_DB, Bandwidth, beam_capacity, messages_per_s
from tramontana.cell.broadcast_plan import PlanRules, Points, plan
from tramontana.cell.building_entry import share_reached
from tramontana.exercise.figures import Figures
from tramontana.exercise.payloads import TODAY, Payload, payload_of
from tramontana.exercise.world import WarningEntry, World
from tramontana.space.beams.assignment import BeamRules, greedy_plan
from tramontana.space.beams.cells import Cells, pairs_in_view
from tramontana.space.beams.held import CELL_RESOLUTION, DWELL_S, MINIMUM_ELEVATION_DEG
from tramontana.space.designs import design
from tramontana.space.ephemeris import Ephemeris
from tramontana.space.fleet import SECONDS_PER_DAY, Fleet
from tramontana.space.life import mean_altitude_km
from tramontana.space.visibility import itrs_positions_m, local_frames

BANDWIDTH: Bandwidth = "5 MHz"
CHUNK_S = 1800.0
_ELEVATIONS = np.arange(SNR_DB[0][0], SNR_DB[-1][0] + 0.5, 1.0)

Progress = Callable[[float], None]
"""Told the share that is done."""


@dataclass(frozen=True, eq=False)
class Overhead:
    """A fleet over an exercise. Designs are laid out at its first instant; element sets fly as of their own day."""

    id: str
    fleet: Fleet
    shift_s: float
    """Added to the exercise's time to get the sky's."""
    payload: Payload = TODAY

    @property
    def label(self) -> str:
        return self.fleet.label


def of_design(design_id: str, world: World) -> Overhead:
    """Raises `LocalError` for an unknown one."""
    return Overhead(design_id, design(design_id).fleet(world.start_unix_s), 0.0, payload_of(design_id))


def of_elements(fleet: Fleet, world: World) -> Overhead:
    """The hour of the exercise, on the day of the newest elements."""
    day_s = float(np.floor(fleet.epochs.newest_unix_s / SECONDS_PER_DAY)) * SECONDS_PER_DAY
    return Overhead("elements", fleet, day_s + world.start_unix_s % SECONDS_PER_DAY - world.start_unix_s)


@dataclass(frozen=True, eq=False)
class Service:
    """What the beams on each cell give in each dwell: (T, C) each."""

    messages_per_s: NDArray[np.float32]
    """To phones outdoors; 0 without a satellite."""
    indoors: NDArray[np.float32]
    """The share of indoor places where a phone hears the strongest of them."""
    indoors_per_s: NDArray[np.float32]
    """Messages to phones indoors: as few as at the lowest signal that is decoded."""

    @property
    def dwells(self) -> int:
        return len(self.messages_per_s)

    def add(self, dwell: int, cell: NDArray[np.int32], carried: Carried) -> None:
        """Further beams on cells."""
        np.add.at(self.messages_per_s[dwell], cell, carried.messages_per_s)
        np.maximum.at(self.indoors[dwell], cell, carried.indoors)
        np.add.at(self.indoors_per_s[dwell], cell, carried.indoors_per_s)


@dataclass(frozen=True, eq=False)
class Carried:
    """What each of B beams gives, (B,) each; as in `Service`."""

    messages_per_s: Floats
    indoors: Floats
    indoors_per_s: Floats


def no_service(world: World, cells: int) -> Service:
    """Without satellites."""
    shape = int(np.ceil(world.seconds / DWELL_S)), cells
    return Service(*(np.zeros(shape, dtype=np.float32) for _ in range(3)))


class Sky:
    """A fleet and the cells of a world."""

    def __init__(self, overhead: Overhead, cells: tuple[str, ...], figures: Figures) -> None:
        self.overhead = overhead
        self.names = cells
        self._figures = figures
        self._ephemeris = Ephemeris(overhead.fleet)
        self._cells = Cells.of(cells, minimum_elevation_deg=MINIMUM_ELEVATION_DEG)
        latitude, longitude = self._cells.latitude_deg, self._cells.longitude_deg
        self._site = itrs_positions_m(latitude, longitude, np.zeros(latitude.shape))
        self._up = local_frames(latitude, longitude)[:, 2]
        altitudes = np.rint(mean_altitude_km(overhead.fleet) / 10.0) * 10.0
        kinds, self._kind = np.unique(np.maximum(altitudes, 200.0), return_inverse=True)
        gain_db = overhead.payload.gain_db.value
        found = [
            [
                beam_capacity(elevation, altitude_km=altitude_km, bandwidth=BANDWIDTH, indoors=False, gain_db=gain_db)
                for elevation in _ELEVATIONS.tolist()
            ]
            for altitude_km in kinds.tolist()
        ]
        self._rates = np.array([[each.messages_per_s for each in row] for row in found])
        self._indoors = np.array(
            [[share_reached(at, each.snr_db - LOWEST_SNR_DB) for at, each in zip(_ELEVATIONS.tolist(), row, strict=True)] for row in found]
        )

    def service(self, world: World, progress: Progress | None = None) -> Service:
        """What the beams carry that satellites hold on cells."""
        result = no_service(world, len(self.names))
        dwells = result.dwells
        channels = round(self.overhead.payload.channels.value)
        rules = BeamRules(beams_per_satellite=round(self._figures.beams_at_once.value), channels=channels)
        middles: Floats = world.start_unix_s + self.overhead.shift_s + DWELL_S * np.arange(0.5, dwells, dtype=np.float64)
        for times, nodes in self._ephemeris.chunks(middles, int(CHUNK_S / DWELL_S)):
            first = round((float(times[0]) - float(middles[0])) / DWELL_S)
            positions = nodes.positions_itrs_m(times)
            for offset in range(times.shape[0]):
                position = positions[offset]
                made = greedy_plan(pairs_in_view(self._cells, position), channels, rules).beams()
                cell, satellite = made[:, 0], made[:, 1]
                result.add(first + offset, cell, self.carries(cell, satellite, position))
            if progress:
                progress((first + times.shape[0]) / dwells)
        return result

    def carries(self, cell: NDArray[np.int32], satellite: NDArray[np.int32], position_itrs_m: Floats) -> Carried:
        """What (B,) beams on cells give, from the link budget at their elevation."""
        to = position_itrs_m[satellite] - self._site[cell]
        sine = np.sum(to * self._up[cell], axis=1) / np.linalg.norm(to, axis=1)
        elevation = np.clip(np.degrees(np.arcsin(sine)), _ELEVATIONS[0], _ELEVATIONS[-1])
        at = (elevation - _ELEVATIONS[0]) / (_ELEVATIONS[1] - _ELEVATIONS[0])
        low = np.minimum(at.astype(np.int64), _ELEVATIONS.size - 2)
        kind, free = self._kind[satellite], self._figures.beam_free.value
        rates, indoors = (
            table[kind, low] + (table[kind, low + 1] - table[kind, low]) * (at - low) for table in (self._rates, self._indoors)
        )
        lowest = np.full(low.shape, messages_per_s(LOWEST_SNR_DB, BANDWIDTH))
        return Carried(rates * free, indoors, np.minimum(rates, lowest) * free)

    def broadcasts(self, world: World, warning: WarningEntry, points: Points) -> tuple[Broadcast, ...]:
        """The plans of a warning while it is in force: one at its approval, then one every quarter of an hour."""
        number = {name: index for index, name in enumerate(self.names)}
        start = float(np.ceil(warning.approved_min * 60.0 / DWELL_S) * DWELL_S)
        end = min(world.seconds, (warning.approved_min + warning.hours * 60.0) * 60.0)
        every = max(1, round(self._figures.satellite_repeat_min.value * 60.0 / DWELL_S)) * DWELL_S
        rules = PlanRules(beams_at_once=round(self._figures.beams_at_once.value))
        made: list[Broadcast] = []
        for begin in np.arange(start, end, every).tolist():
            horizon = min(rules.horizon_s, every, end - begin)
            if horizon < DWELL_S:
                continue
            at = world.start_unix_s + self.overhead.shift_s + begin
            planned = plan(self._ephemeris, warning.rings(), points, at, replace(rules, horizon_s=horizon))
            cells: list[tuple[int, int, int]] = []
            beams = zip(planned.dwell.tolist(), planned.satellite.tolist(), planned.latitude_deg, planned.longitude_deg, strict=True)
            first = round(begin / DWELL_S)
            for dwell, satellite, latitude, longitude in beams:
                index = number.get(h3.latlng_to_cell(float(latitude), float(longitude), CELL_RESOLUTION))
                if index is not None:  # cells of the area where nobody lives have beams too
                    cells.append((first + dwell, index, satellite))
            made.append(Broadcast(tuple(cells), planned.overspill_km2))
        return tuple(made)

    def add_broadcasts(self, service: Service, broadcasts: tuple[Broadcast, ...], world: World) -> None:
        """A beam that a warning's plan puts on a cell carries its messages too, where the service had none there."""
        for broadcast in broadcasts:
            for dwell, cell, satellite in broadcast.beams:
                if dwell < service.dwells and service.messages_per_s[dwell, cell] <= 0:
                    at = world.start_unix_s + self.overhead.shift_s + DWELL_S * (dwell + 0.5)
                    position = self._ephemeris.positions_itrs_m(np.array([at]))[0]
                    one = np.array([cell], dtype=np.int32), np.array([satellite], dtype=np.int32)
                    service.add(dwell, one[0], self.carries(*one, position))


@dataclass(frozen=True, slots=True)
class Broadcast:
    """One plan of a warning over the satellites."""

    beams: tuple[tuple[int, int, int], ...]
    """Dwell of the exercise, cell, satellite."""
    overspill_km2: float
