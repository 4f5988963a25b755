"""How long until a warning has reached the people of an area over satellites that talk to ordinary phones. Simulated, not measured.

The municipalities inside the area are lit by beams that satellites hold on cells (space/beams/held.py), each in as many dwells as the
study wants, from several instants over a day on. Covered is who lives where a beam stood for a whole dwell: a phone indoors, switched
off, or on another operator's network hears nothing, and how many do is not known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tramontana.planning.estimate import Source
from tramontana.planning.figure import Figure, Simulated
from tramontana.planning.losses import Loss, Serving, left_after
from tramontana.planning.sky import SkyDesign
from tramontana.space.beams.cells import Cells
from tramontana.space.beams.held import DWELL_S, MINIMUM_ELEVATION_DEG, HeldBeams, cells_of_points
from tramontana.space.ephemeris import Ephemeris
from tramontana.space.fleet import Fleet
from tramontana.space.shells import FILED_EPOCH_UNIX_S

Floats = NDArray[np.float64]
SHARES: Final = (0.5, 0.9, 0.99)
"""Of the people: how long until so many are covered."""
SHOWN: Final = 0.9
"""The one that is shown where there is room for one."""
HORIZON_S: Final = 3600.0
STARTS: Final = 24
BETWEEN_STARTS_S: Final = 3607.0
"""An hour and a little: the same phase of the orbits does not come again and again."""
_DWELLS_A_TURN = 30


@dataclass(frozen=True, eq=False, slots=True)
class WarnedArea:
    """P municipalities inside the area, everybody in each at its point."""

    id: str
    title: str
    latitude_deg: Floats
    longitude_deg: Floats
    people: Floats
    times: int
    """In how many dwells everybody is to be covered."""
    sources: tuple[Source, ...]


@dataclass(frozen=True, slots=True)
class PhoneSky:
    """Satellites that ordinary phones hear, and how many beams of each carry the warning at a time."""

    sky: SkyDesign
    beams_at_once: int


@dataclass(frozen=True, slots=True)
class PhoneServing:
    """What reaches phones, and the years of the study in which it does."""

    serving: Serving
    beams_at_once: int

    @property
    def sky(self) -> PhoneSky:
        return PhoneSky(self.serving.sky, self.beams_at_once)


@dataclass(frozen=True, eq=False, slots=True)
class Reached:
    """Of A areas over S starts."""

    after_s: Floats
    """(A, S, `SHARES`) seconds from the start until so many people are covered; infinite where not within the horizon."""
    share: Floats
    """(A, S) of the people covered within the horizon."""


@dataclass(frozen=True, slots=True)
class Warned:
    """What one alternative reaches in each year of the study, whole and after each loss."""

    by_year: tuple[Reached, ...]
    best: int
    """The first year, from 0, in which most of its satellites' systems serve: the one that is shown."""
    after: Mapping[str, tuple[Reached, ...]]

    def whole(self) -> Reached:
        return self.by_year[self.best]

    def left(self, loss: Loss) -> Reached:
        """In the year in which it reaches most: one that comes later through the loss counts when it has come."""
        years = self.after[loss.id]
        return max(years, key=lambda year: float(year.share.mean()))


Runner: TypeAlias = Callable[["WarnPeople", Sequence[PhoneSky]], list[Reached]]


def reached(lit: NDArray[np.bool_], people: Floats, times: int) -> tuple[Floats, float]:
    """When each of `SHARES` of the people is covered `times` times, in dwells from the start (infinite: never), and the share at the end.

    lit: (T, C) which cell is lit in which dwell; people: (C,).
    """
    covered = np.cumsum(lit, axis=0) >= times
    share = covered @ people / people.sum()
    # A share that is met but for the last bits of its sum is met.
    after = [np.flatnonzero(share >= wanted - 1e-9) for wanted in SHARES]
    return np.array([dwells[0] + 1.0 if dwells.size else np.inf for dwells in after]), float(share[-1])


@dataclass(frozen=True, eq=False, slots=True)
class WarnPeople:
    """The work of one sky, picklable: every area from every start."""

    areas: tuple[WarnedArea, ...]
    starts: int = STARTS
    start_unix_s: float = FILED_EPOCH_UNIX_S

    def __call__(self, phone: PhoneSky) -> Reached:
        fleet, gone = phone.sky.fleet(), phone.sky.without.planes
        found, lit_by = self._warn(fleet, phone.beams_at_once)
        if gone:
            planes = phone.sky.planes()
            busy = np.bincount(planes, weights=lit_by, minlength=int(planes.max()) + 1)
            lost = np.argsort(-busy, kind="stable")[: min(gone, busy.size - 1)]
            found, _ = self._warn(fleet.take(np.flatnonzero(~np.isin(planes, lost))), phone.beams_at_once)
        return found

    def _warn(self, fleet: Fleet, beams_at_once: int) -> tuple[Reached, Floats]:
        """And how many people each satellite lit, (N,)."""
        ephemeris, lit_by = Ephemeris(fleet), np.zeros(len(fleet))
        after = np.full((len(self.areas), self.starts, len(SHARES)), np.inf)
        share = np.zeros((len(self.areas), self.starts))
        for row, area in enumerate(self.areas):
            ids, of_place = cells_of_points(area.latitude_deg.tolist(), area.longitude_deg.tolist())
            cells = Cells.of(ids, minimum_elevation_deg=MINIMUM_ELEVATION_DEG)
            people = np.bincount(of_place, weights=area.people, minlength=len(ids)).astype(np.float64)
            for start in range(self.starts):
                begin = self.start_unix_s + start * BETWEEN_STARTS_S
                lit = _light(ephemeris, HeldBeams(cells, beams_at_once), begin, people, area.times, lit_by)
                dwells, share[row, start] = reached(lit, people, area.times)
                after[row, start] = dwells * DWELL_S
        return Reached(after, share), lit_by


def _light(ephemeris: Ephemeris, beams: HeldBeams, begin_unix_s: float, people: Floats, times: int, lit_by: Floats) -> NDArray[np.bool_]:
    """(T, C) the cells lit in each dwell, until every one was lit so often or the horizon ends. Adds to `lit_by`."""
    rows: list[NDArray[np.bool_]] = []
    left = np.where(people > 0, times, 0)
    middles = begin_unix_s + DWELL_S * np.arange(0.5, HORIZON_S / DWELL_S)
    for at, nodes in ephemeris.chunks(middles, _DWELLS_A_TURN):
        for position in nodes.positions_itrs_m(at):
            made = beams.light(position, left > 0)
            lit = np.zeros(people.shape, np.bool_)
            lit[made.cell] = True
            lit_by[made.satellite] += people[made.cell]
            left -= lit
            rows.append(lit)
            if not np.any(left > 0):
                return np.array(rows)
    return np.array(rows)


def warn_all(
    servings: Mapping[str, Sequence[PhoneServing]], losses: Iterable[Loss], areas: tuple[WarnedArea, ...], years: int, run: Runner
) -> dict[str, Warned]:
    """By alternative; one that reaches no phone is left out. Every sky in every state is looked at once, all in one run."""
    several, losses = {name: each for name, each in servings.items() if each}, tuple(losses)
    if not areas or not several:
        return {}
    states = {(name, loss.id): _left(loss, each) for name, each in several.items() for loss in losses}
    skies = list(dict.fromkeys(one.sky for each in (*several.values(), *states.values()) for one in each))
    found = dict(zip(skies, run(WarnPeople(areas), skies), strict=True))
    nothing = Reached(np.full((len(areas), STARTS, len(SHARES)), np.inf), np.zeros((len(areas), STARTS)))

    def by_year(each: Sequence[PhoneServing]) -> tuple[Reached, ...]:
        serving = [[found[one.sky] for one in each if one.serving.first <= year <= one.serving.last] for year in range(1, years + 1)]
        return tuple(together(parts) if parts else nothing for parts in serving)

    best = {
        name: max(range(years), key=lambda year: sum(one.serving.first <= year + 1 <= one.serving.last for one in each))
        for name, each in several.items()
    }
    return {
        name: Warned(by_year(each), best[name], {loss.id: by_year(states[name, loss.id]) for loss in losses})
        for name, each in several.items()
    }


def together(parts: Sequence[Reached]) -> Reached:
    """Several skies: people are warned by the quickest, and at least as many as by the best."""
    return Reached(np.min([part.after_s for part in parts], axis=0), np.max([part.share for part in parts], axis=0))


def typical_s(found: Reached, percent: float) -> Floats:
    """(A, `SHARES`) a percentile over the starts, rounded up to one of them; infinite where so many starts do not get there."""
    return np.asarray(np.percentile(found.after_s, percent, axis=1, method="higher"))


def within_words() -> str:
    return f"people warned within {HORIZON_S / 60:g} min"


def time_words(share: float) -> str:
    return f"time to warn {share * 100:g} % of the people"


def warned_figures(areas: Sequence[WarnedArea], losses: Iterable[Loss], found: Warned) -> list[Figure]:
    """Over the starts: median, nine of ten, who is reached at all; after each loss with what is lost. Times of never are left out."""
    figures = _Figures()
    figures.add(areas, found.whole(), "")
    for loss in losses:
        named = f", after: {loss.title}"
        figures.add(areas, found.left(loss), named)
        for area in areas:
            name = f"{within_words()}, {area.title}"
            figures.known[f"{name}: lost{named}"] = (figures.known[name] - figures.known[name + named]).called(f"{name}: lost{named}")
    return list(figures.known.values())


@dataclass(frozen=True, slots=True)
class _Figures:
    known: dict[str, Figure] = field(default_factory=dict)

    def add(self, areas: Sequence[WarnedArea], found: Reached, named: str) -> None:
        median, slow = typical_s(found, 50), typical_s(found, 90)
        for row, area in enumerate(areas):
            method = (
                f"{area.people.sum():,.0f} people of {len(area.people)} municipalities, each covered in {area.times} dwells of "
                f"{DWELL_S:g} s at {MINIMUM_ELEVATION_DEG:g}° or more, outdoors; {STARTS} starts over a day"
            )
            self._simulated(f"{within_words()}, {area.title}{named}", float(found.share[row].mean()), "", f"mean over the starts, {method}")
            for column, share in enumerate(SHARES):
                if named and share != SHOWN:
                    continue
                name = f"{time_words(share)}, {area.title}{named}"
                self._simulated(name, float(median[row, column]), "s", f"median over the starts, {method}")
                if not named:
                    self._simulated(
                        f"{name}, nine starts of ten", float(slow[row, column]), "s", f"90th percentile over the starts, {method}"
                    )

    def _simulated(self, name: str, value: float, of: str, method: str) -> None:
        if np.isfinite(value):
            self.known[name] = Simulated(name, value, of, method)


def _left(loss: Loss, servings: Sequence[PhoneServing]) -> list[PhoneServing]:
    return [replace(one, serving=left) for one in servings for left in left_after(loss, [one.serving])]
