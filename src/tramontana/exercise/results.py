"""What came of a world, as plain numbers for tables, pages and files. Delays count what was never delivered as longer than anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from tramontana.cell.area import Floats
from tramontana.cell.beam_time import Rank
from tramontana.exercise.terrestrial import TICK_S, Cause
from tramontana.exercise.texts import CODE, Kind
from tramontana.exercise.timeline import Ground, Played, Run

SHARES = (0.5, 0.9, 0.99)
SATURATED = 0.9
"""A beam that carries more than this of what it could, over a minute, is full."""
CURVE_MIN = (0, 1, 2, 3, 5, 7, 10, 15, 20, 30, 45, 60, 90, 120, 180, 240, 360, 480, 720, 1080, 1440, 2160, 2880, 4320)
FRAMES = 72
"""Of the map."""


@dataclass(frozen=True, slots=True)
class WarnedRow:
    """A warning under one fleet. Seconds from its approval; None for never in the exercise."""

    name: str
    inside: int
    after_s: dict[str, float | None]
    warned: float
    """Share of the phones inside, at the end."""
    by_satellite: int
    """Phones that had it from a satellite first."""
    plans: int
    beams: int
    overspill_km2: float
    curve: tuple[float, ...]
    """Share at `CURVE_MIN` minutes after the approval."""


@dataclass(frozen=True, slots=True)
class TextRow:
    """Texts of one kind and precedence, written by phones that heard no ground network (`cut_off`) or by all."""

    kind: str
    precedence: str
    cut_off: bool
    written: int
    delivered: int
    by_satellite: int
    expired: int
    refused: int
    waiting: int
    after_s: dict[str, float | None]


@dataclass(frozen=True, slots=True)
class HelpRow:
    """People in need: seconds from their first text. None for more than half, nine tenths, ninety-nine hundredths who never got there."""

    asked: int
    heard: int
    taken: int
    located: int
    heard_s: dict[str, float | None]
    taken_s: dict[str, float | None]


@dataclass(frozen=True, slots=True)
class LoadRow:
    """What was full."""

    beams: int
    carried: int
    fullest_minute: float
    """Share of its time that the busiest cell's beams were busy, in the busiest minute."""
    full_at_times: float | None
    """With so many times the messages that minute would be full."""
    cell_per_s: float | None
    """Messages a second that a cell's beams carry to phones outdoors, on average while there are any."""
    indoors: float | None
    """Share of indoor places that hear them, on average."""
    beam_minutes_saturated: int
    most_waiting: int
    longest_told_s: float | None
    without_satellite: float
    """Share of beam-minutes in which no satellite served the cell."""
    pre_empted: int
    sites_overflowed: int
    site_minutes_overflowed: int
    by_rank: dict[str, int]


@dataclass(frozen=True, slots=True)
class RunRow:
    """All of one fleet."""

    id: str
    label: str
    warnings: tuple[WarnedRow, ...]
    texts: tuple[TextRow, ...]
    states: dict[str, int]
    help: HelpRow
    load: LoadRow

    def of_cut_off(self) -> tuple[int, int]:
        """Of the public's and officials' texts that were written where no site was heard: delivered, written."""
        mine = [each for each in self.texts if each.cut_off and each.kind in ("official", "public")]
        return sum(each.delivered for each in mine), sum(each.written for each in mine)


@dataclass(frozen=True, slots=True)
class GroundRow:
    """The ground network, by ticks of a minute."""

    sites: int
    phones: int
    people: int
    out: dict[str, tuple[int, ...]]
    """By cause, sites that do not work."""
    cut_off: tuple[int, ...]
    """Phones that hear no site."""
    municipalities_dark: tuple[int, ...]
    repairs: int
    largest_cascade: tuple[str, int]
    """The municipality whose hub most other sites hang on, and how many."""


@dataclass(frozen=True, slots=True)
class Results:
    """All of an exercise."""

    ground: GroundRow
    runs: tuple[RunRow, ...]

    def as_json(self) -> dict[str, object]:
        return asdict(self)


def results(played: Played) -> Results:
    """The numbers of all runs."""
    return Results(_ground(played), tuple(run_row(played.ground, run) for run in played.runs))


def percentiles(after_s: Floats, shares: Sequence[float] = SHARES) -> dict[str, float | None]:
    """By share in percent: within how long so many had it; None where fewer ever had."""
    ordered = np.sort(after_s)
    found: dict[str, float | None] = {}
    for share in shares:
        place = max(0, int(np.ceil(share * ordered.size)) - 1)
        value = float(ordered[place]) if ordered.size else np.inf
        found[f"{share * 100:g}"] = value if np.isfinite(value) else None
    return found


def run_row(ground: Ground, run: Run) -> RunRow:
    """The numbers of one run."""
    return RunRow(
        run.id,
        run.label,
        tuple(_warned(ground, run, number) for number in range(len(run.warned_s))),
        tuple(_texts(run)),
        {state: count for state, count in run.texts.counts().items() if count},
        _help(run),
        _load(run),
    )


def _warned(ground: Ground, run: Run, number: int) -> WarnedRow:
    approved, warned = ground.warnings[number], run.warned_s[number]
    broadcasts = run.broadcasts[number]
    curve = tuple(float(np.mean(warned <= approved.begin_s + minutes * 60.0)) for minutes in curve_minutes(ground))
    return WarnedRow(
        approved.entry.name,
        int(warned.size),
        percentiles(warned - approved.begin_s),
        float(np.mean(np.isfinite(warned))),
        int(np.count_nonzero(warned < ground.by_ground_s[number])),
        len(broadcasts),
        sum(len(each.beams) for each in broadcasts),
        max((each.overspill_km2 for each in broadcasts), default=0.0),
        curve,
    )


def curve_minutes(ground: Ground) -> tuple[int, ...]:
    """Minutes after a warning's approval at which curves have a point."""
    last = ground.world.head.hours * 60 - min(each.begin_s for each in ground.warnings) / 60
    return tuple(minutes for minutes in CURVE_MIN if minutes <= last)


def _texts(run: Run) -> list[TextRow]:
    texts, number = run.texts, len(run.texts)
    kind, rank, cut_off = texts.kind[:number], texts.rank[:number], texts.cut_off[:number]
    state, way = texts.state[:number], texts.way[:number]
    delivered = state == CODE["delivered"]
    after_s = np.where(delivered, texts.done_s[:number] - texts.created_s[:number], np.inf)
    rows: list[TextRow] = []
    for which, level in (
        (Kind.SOS, Rank.SOS),
        (Kind.ANSWER, Rank.SOS),
        *((Kind.OFFICIAL, Rank(each)) for each in (4, 3, 2, 1, 0)),
        (Kind.PUBLIC, Rank.ROUTINE),
    ):
        for only_cut_off in (True, False):
            mine = (kind == which) & (rank == level) & (cut_off | (not only_cut_off))
            count = int(np.count_nonzero(mine))
            if not count:
                continue
            rows.append(
                TextRow(
                    which.name.lower(),
                    level.name.lower().replace("_", "-"),
                    only_cut_off,
                    count,
                    int(np.count_nonzero(mine & delivered)),
                    int(np.count_nonzero(mine & delivered & (way == 2))),
                    int(np.count_nonzero(mine & (state == CODE["expired"]))),
                    int(np.count_nonzero(mine & (state == CODE["refused"]))),
                    int(np.count_nonzero(mine & (state == CODE["queued"]))),
                    percentiles(after_s[mine]),
                )
            )
    return rows


def _help(run: Run) -> HelpRow:
    heard = np.full(run.asked_for_help, np.inf)
    taken = np.full(run.asked_for_help, np.inf)
    for place, each in enumerate(run.help.values()):
        heard[place] = each.received_s - each.first_text_s
        taken[place] = np.inf if each.taken_s is None else each.taken_s - each.first_text_s
    located = sum(each.located_s is not None for each in run.help.values())
    return HelpRow(run.asked_for_help, len(run.help), int(np.isfinite(taken).sum()), located, percentiles(heard), percentiles(taken))


def used_share(run: Run) -> Floats:
    """(K, C) of its time that each cell's beams were busy in each minute; NaN without a satellite."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(run.load.served_s > 0, run.load.busy_s / run.load.served_s, np.nan), dtype=np.float64)


def _load(run: Run) -> LoadRow:
    used = used_share(run)
    served = run.load.served_s > 0
    told = run.load.told_s[np.isfinite(run.load.told_s)]
    by_rank = run.load.taken.sum(axis=(0, 1))
    lit = run.service.messages_per_s > 0
    fullest = float(np.nanmax(used)) if served.any() else 0.0
    return LoadRow(
        int(run.load.taken.shape[1]),
        int(run.load.taken.sum()),
        fullest,
        1.0 / fullest if fullest > 0 else None,
        float(run.service.messages_per_s[lit].mean()) if lit.any() else None,
        float(run.service.indoors[lit].mean()) if lit.any() else None,
        int(np.count_nonzero(used[served] > SATURATED)),
        int(run.load.waiting.max(initial=0)),
        float(told.max()) if told.size else None,
        float(1.0 - served.mean()),
        run.load.pre_empted,
        int(np.count_nonzero(run.load.overflow)),
        int(run.load.overflow.sum()),
        {rank.name.lower().replace("_", "-"): int(by_rank[rank]) for rank in Rank},
    )


def _ground(played: Played) -> GroundRow:
    ground = played.ground
    phones_of_group = np.bincount(ground.phones.group, minlength=ground.phones.group_sites.shape[0])
    cut_off = (ground.reach.serving < 0) @ phones_of_group
    hanging = [ground.network.hanging_on(hub) for hub in np.unique(ground.network.place, return_index=True)[1].tolist()]
    worst = int(np.argmax(hanging))
    return GroundRow(
        len(ground.network),
        len(ground.phones),
        int(ground.world.places.population.sum()),
        {cause.name.lower(): _per_tick(ground.state.cause == cause) for cause in (Cause.LOST, Cause.POWER, Cause.BACKHAUL)},
        tuple(int(value) for value in cut_off),
        _per_tick(~ground.state.mains),
        len([each for each in ground.state.repairs if each[0] <= ground.world.seconds]),
        (ground.world.places.names[worst], hanging[worst]),
    )


def _per_tick(array: NDArray[np.bool_]) -> tuple[int, ...]:
    return tuple(int(value) for value in np.count_nonzero(array, axis=1))


@dataclass(frozen=True, eq=False)
class GroundFrames:
    """The ground network over time for a map: F instants, M municipalities."""

    at_s: Floats
    cut_off: NDArray[np.int64]
    """(F, M) phones that hear no ground network, percent."""
    dark: NDArray[np.bool_]
    """(F, M) without mains."""


@dataclass(frozen=True, eq=False)
class Frames(GroundFrames):
    """A world over time for a map."""

    warned: Mapping[str, NDArray[np.int64]]
    """By run, (F, M) percent of the phones inside the first warning's area that show it; −1 where none lives inside."""


def ground_frames(ground: Ground) -> GroundFrames:
    """What the map shows of the ground network: the same under every fleet."""
    at = np.linspace(0.0, ground.world.seconds, FRAMES + 1)
    towns = len(ground.world.places)
    tick = np.minimum((at // TICK_S).astype(np.int64), ground.reach.serving.shape[0] - 1)
    groups = ground.phones.group_sites.shape[0]
    pair, of_pair = np.unique(ground.phones.place.astype(np.int64) * groups + ground.phones.group, return_inverse=True)
    many = np.bincount(of_pair)
    place, group = pair // groups, pair % groups
    people = np.bincount(place, weights=many, minlength=towns)
    cut_off = np.array([np.bincount(place, weights=many * (ground.reach.serving[each, group] < 0), minlength=towns) for each in tick])
    return GroundFrames(at, np.rint(100.0 * cut_off / np.maximum(people, 1)).astype(np.int64), ~ground.state.mains[tick])


def warned_frames(ground: Ground, warned_s: Floats, at_s: Floats) -> NDArray[np.int64]:
    """(F, M) percent of the phones inside the first warning's area that show it at each instant; −1 where none lives inside.

    warned_s: (I,) when each phone inside shows it.
    """
    towns = len(ground.world.places)
    home = ground.phones.place[ground.warnings[0].inside]
    live = np.bincount(home, minlength=towns)
    rows = [np.bincount(home[warned_s <= now], minlength=towns) for now in at_s.tolist()]
    share = np.rint(100.0 * np.array(rows) / np.maximum(live, 1)).astype(np.int64)
    return np.where(live > 0, share, -1)


def frames(played: Played) -> Frames:
    """What the map shows."""
    seen = ground_frames(played.ground)
    warned = {run.id: warned_frames(played.ground, run.warned_s[0], seen.at_s) for run in played.runs}
    return Frames(seen.at_s, seen.cut_off, seen.dark, warned)
