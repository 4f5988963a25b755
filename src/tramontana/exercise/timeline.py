"""A world played: once without satellites and once under each fleet, on the same seed, and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from tramontana.cell.area import Floats
from tramontana.cell.broadcast_plan import Points
from tramontana.exercise import alerting, phones, terrestrial, texts
from tramontana.exercise.alerting import Approved
from tramontana.exercise.control_room import Milestones
from tramontana.exercise.payloads import Payload
from tramontana.exercise.phones import Phones, Reach
from tramontana.exercise.satellites import Broadcast, Overhead, Service, Sky, no_service
from tramontana.exercise.terrestrial import GroundState, Network
from tramontana.exercise.texts import Kind, Texts
from tramontana.exercise.traffic import Load, Traffic, WarningDwell, Watch
from tramontana.exercise.world import World

WITHOUT = "none"
"""The run without satellites."""

Progress = Callable[[str, float], None]
"""Told what is done and its share."""


@dataclass(frozen=True, eq=False)
class Ground:
    """What is the same under every fleet."""

    world: World
    seed: int
    network: Network
    state: GroundState
    phones: Phones
    reach: Reach
    warnings: tuple[Approved, ...]
    by_ground_s: tuple[Floats, ...]
    """For each warning, (I,) when each phone inside shows it over the ground network."""


@dataclass(frozen=True, eq=False)
class Run:
    """One fleet, or none."""

    id: str
    label: str
    warned_s: tuple[Floats, ...]
    """For each warning, (I,) when each phone inside shows it; inf for never."""
    broadcasts: tuple[tuple[Broadcast, ...], ...]
    texts: Texts
    load: Load
    service: Service
    payload: Payload | None
    help: dict[int, Milestones]
    """By phone, who was heard by the control room."""
    asked_for_help: int
    """Phones whose people texted for help."""


@dataclass(frozen=True, eq=False)
class Played:
    """All runs of a world, the one without satellites first."""

    ground: Ground
    runs: tuple[Run, ...]


@dataclass(frozen=True, eq=False)
class Glimpse:
    """A run while it is played, at an instant of its world. Nothing is copied: what is wanted of it is read at once."""

    id: str
    label: str
    now_s: float
    ground: Ground
    traffic: Traffic
    service: Service

    def warned_s(self) -> tuple[Floats, ...]:
        """For each warning, (I,) when each phone inside shows it, as far as it is known now; inf for those that do not yet."""
        found = _warned(self.ground, self.traffic, self.service)
        return tuple(np.where(each <= self.now_s, each, np.inf) for each in found)


class Onlooker(Protocol):
    """Who watches a world while it is played."""

    def begins(self, ground: Ground, labels: Sequence[str]) -> None:
        """What does not depend on satellites is known; the runs that follow."""

    def sees(self, glimpse: Glimpse) -> None:
        """A run, every quarter of an hour of its world."""

    def works(self) -> None:
        """It is being worked on, such as on a sky of which there is nothing to see yet."""

    def ended(self, run: Run) -> None:
        """A run is over."""


def prepare(world: World, seed: int, progress: Progress | None = None) -> Ground:
    """Sites, failures, phones and warnings: everything that does not depend on satellites. Raises `LocalError`."""
    tell = progress or _nobody
    network = terrestrial.build(world, seed)
    state = terrestrial.play(world, network, seed)
    tell("ground network", 0.3)
    people = phones.draw(world, network, seed)
    tell("ground network", 0.7)
    reached = phones.reach(people, state, world.figures)
    approved: list[Approved] = []
    for number, entry in enumerate(sorted(world.warnings, key=lambda each: each.approved_min), 1):
        used = [each.serial.message_code for made in approved for each in made.on_air]
        approved.append(alerting.approve(entry, number, network, people, used))
    by_ground = tuple(alerting.warned_by_ground(each, network, reached, people, world.figures, seed) for each in approved)
    tell("ground network", 1.0)
    return Ground(world, seed, network, state, people, reached, tuple(approved), by_ground)


def run(
    ground: Ground,
    overhead: Overhead | None,
    progress: Progress | None = None,
    watch: Watch | None = None,
    onlooker: Onlooker | None = None,
) -> Run:
    """One run; `overhead` None for none. The same seed gives the same run, whoever looks on."""
    world, people = ground.world, ground.phones
    tell = progress or _nobody
    label = _label(overhead)
    name = overhead.id if overhead else WITHOUT
    broadcasts: tuple[tuple[Broadcast, ...], ...] = tuple(() for _ in ground.warnings)
    if overhead is None:
        service = no_service(world, len(people.cells))
    else:
        sky = Sky(overhead, people.cells, world.figures)
        service = sky.service(world, lambda share: tell(label, 0.2 * share))
        broadcasts = tuple(
            sky.broadcasts(world, each.entry, Points.of(each.entry.rings(), people.latitude_deg, people.longitude_deg))
            for each in ground.warnings
        )
        for made in broadcasts:
            sky.add_broadcasts(service, made, world)
    tell(label, 0.3)
    dwells = tuple(
        WarningDwell(number, dwell, cell, ground.warnings[number].beam_messages)
        for number, made in enumerate(broadcasts)
        for broadcast in made
        for dwell, cell in sorted({(dwell, cell) for dwell, cell, _ in broadcast.beams})
        if dwell < service.dwells
    )
    written = texts.write(world, people, ground.reach, ground.seed)
    played = Traffic(world, people, ground.reach, service, written, dwells, ground.seed, len(ground.network), watch)

    def during(share: float) -> None:
        if onlooker:
            onlooker.sees(Glimpse(name, label, share * world.seconds, ground, played, service))
        tell(label, 0.3 + 0.65 * share)

    played.run(during)
    warned = _warned(ground, played, service)
    first = _first_texts(written)
    tell(label, 1.0)
    return Run(
        name,
        label,
        warned,
        broadcasts,
        written,
        played.load,
        service,
        overhead.payload if overhead else None,
        played.room.milestones(first),
        len(first),
    )


def play(
    world: World, overheads: Sequence[Overhead], seed: int, progress: Progress | None = None, onlooker: Onlooker | None = None
) -> Played:
    """Without satellites, and under each fleet. Raises `LocalError`."""

    def tell(label: str, share: float) -> None:
        if progress:
            progress(label, share)
        if onlooker:
            onlooker.works()

    ground = prepare(world, seed, progress)
    skies = (None, *overheads)
    if onlooker:
        onlooker.begins(ground, [_label(overhead) for overhead in skies])
    runs: list[Run] = []
    for overhead in skies:
        runs.append(run(ground, overhead, tell, onlooker=onlooker))
        if onlooker:
            onlooker.ended(runs[-1])
    return Played(ground, tuple(runs))


def _label(overhead: Overhead | None) -> str:
    return overhead.label if overhead else "without satellites"


def _warned(ground: Ground, traffic: Traffic, service: Service) -> tuple[Floats, ...]:
    """For each warning, when each phone inside shows it, by what was broadcast so far."""
    warned: list[Floats] = []
    for number, approved in enumerate(ground.warnings):
        by_ground = ground.by_ground_s[number]
        carried = sorted(traffic.carried.get(number, ()))
        by_satellite = alerting.warned_by_satellite(
            approved, carried, service, ground.reach, ground.phones, ground.world.figures, by_ground
        )
        warned.append(np.minimum(by_ground, by_satellite))
    return tuple(warned)


def _first_texts(written: Texts) -> dict[int, float]:
    numbers = np.flatnonzero(written.kind[: written.first_written] == Kind.SOS)
    found: dict[int, float] = {}
    for number in numbers.tolist():
        found.setdefault(int(written.phone[number]), float(written.created_s[number]))
    return found


def _nobody(_what: str, _share: float) -> None:
    pass
