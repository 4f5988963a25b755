"""A study in use: its file (study_file.py) turned into figures, alternatives and the skies to measure."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import reduce

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from tramontana.complaints import complaints
from tramontana.errors import LocalError
from tramontana.planning.busy_hour import Beams
from tramontana.planning.cost import Constellation, CostError, Costs, Line, constellation, costs, line
from tramontana.planning.design_search import Grid, Search, Target
from tramontana.planning.estimate import Estimate, EstimateError, Source
from tramontana.planning.figure import Figure, Input, constant, total
from tramontana.planning.losses import Dependence, Loss, Party, Serving, renewal_ends
from tramontana.planning.measures import Demand
from tramontana.planning.sea_places import with_seas
from tramontana.planning.sky import SkyDesign
from tramontana.planning.study_file import (
    SECTIONS,
    AlternativeEntry,
    BeamsEntry,
    ConstellationEntry,
    CurrencyEntry,
    InputEntry,
    LineEntry,
    LossEntry,
    PartyEntry,
    PhonesEntry,
    ReportedEntry,
    SatellitesEntry,
    SharedEntry,
    ShellEntry,
    ShellsEntry,
    SkyEntry,
    StudyFile,
    StudyHead,
    WarnedEntry,
    named_sources,
)
from tramontana.planning.units import UnitError, currency_of, factor, shown, unit
from tramontana.planning.warning_time import PhoneServing, WarnedArea
from tramontana.space.designs import design
from tramontana.space.ground import Gateway, Place, PointOfPresence
from tramontana.space.rings import inside
from tramontana.space.shells import Shell, usual_phasing
from tramontana.space.studies.sites import parse_place_list


class StudyError(LocalError):
    """The study cannot be used; the message names the place in the file and what to do."""


@dataclass(frozen=True, slots=True)
class Alternative:
    id: str
    title: str
    costs: Costs
    per_user: Figure | None
    """Present value by protected user and year; None where the study does not count users."""
    skies: tuple[Serving, ...]
    """What serves; empty where nothing of it is measured."""
    lasers: tuple[SkyDesign, ...]
    """Those of its skies whose satellites pass traffic on to each other."""
    phones: tuple[PhoneServing, ...]
    """What ordinary phones hear."""
    dependences: tuple[tuple[str, Dependence], ...]
    """Of each part that names any, with the part's title."""


@dataclass(frozen=True, eq=False, slots=True)
class Area:
    id: str
    title: str
    ring: NDArray[np.float64]
    """(n, 2) longitude and latitude, closed."""
    sources: tuple[Source, ...]


@dataclass(frozen=True, slots=True)
class SharedCost:
    """What alternatives need each, and a mix of them pays once; `lines` as `alternative: line`."""

    id: str
    title: str
    lines: tuple[str, ...]
    sources: tuple[Source, ...]
    note: str


@dataclass(frozen=True, slots=True)
class Reported:
    """Something that was reported of the case, the input that holds it, and the part of the report that shows what comes of it."""

    fact: str
    input: Input
    output: str | None
    note: str


@dataclass(frozen=True, slots=True)
class Study:
    head: StudyHead
    sources: Mapping[str, Source]
    inputs: Mapping[str, Input]
    alternatives: tuple[Alternative, ...]
    demand: Demand | None
    """None where the study has no places."""
    busy: Figure | None
    """What all places ask for at the busy hour; None where that is not known."""
    losses: tuple[Loss, ...]
    areas: tuple[Area, ...]
    warned: tuple[WarnedArea, ...]
    reported: tuple[Reported, ...]
    shared: tuple[SharedCost, ...]
    design: DesignTask | None
    origin: StudyText
    """What it was read from: work elsewhere reads it again, because formulas do not travel."""


@dataclass(frozen=True, slots=True)
class DesignTask:
    """A constellation to search for. `satellites` is the name of the input that counts it, for its cost."""

    alternative: Alternative
    satellites: str
    search: Search
    second: Grid | None
    """Shells that may stand beside one of the search; None: one shell alone."""
    seas: tuple[str, ...]
    """Titles of the areas that count among the search's places."""
    constellation: Constellation
    """The alternative's, for its schedule."""
    schedule_years: int
    """Over which launches and replacements are shown, from the study's first year."""


@dataclass(frozen=True, slots=True)
class StudyText:
    """A study and the files that it names, as they were read."""

    text: str
    files: Mapping[str, str]


def named_files(text: str) -> tuple[str, ...]:
    """The files that a study names, as it writes them. Raises `StudyError`."""
    return tuple(dict.fromkeys(entry.people for entry in _parsed(text).warned.values()))


def parse_study(text: str, files: Mapping[str, str] | None = None) -> Study:
    """files: what stands in those that it names.

    Raises `StudyError`, also for units that do not fit and for what nothing uses: a typing error must not go unseen.
    """
    file, origin = _parsed(text), StudyText(text, files or {})
    try:
        return _Builder(file, origin).study()
    except (UnitError, EstimateError, CostError) as error:
        raise StudyError(f"the study cannot be used: {error}") from error


def _parsed(text: str) -> StudyFile:
    try:
        return StudyFile.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise StudyError(f"the study is not TOML: {error}") from None
    except ValidationError as error:
        raise StudyError("the study cannot be used: " + complaints(error)) from None


class _Builder:
    def __init__(self, file: StudyFile, origin: StudyText) -> None:
        self.file = file
        self.origin = origin
        self.money = unit(file.study.currency)
        self.sources = {name: Source(name, entry.title, entry.url, entry.date) for name, entry in file.sources.items()}
        self.named: set[str] = set()
        """Sources that something names."""
        self.inputs = {name: self._input(name, entry) for name, entry in file.inputs.items()}
        self.used: set[str] = set()
        self.in_study_money: dict[str, Figure] = {}

    def study(self) -> Study:
        file, head = self.file, self.file.study
        entries = {entry.id: entry for entry in file.alternatives}
        if len(entries) < len(file.alternatives):
            raise StudyError("two alternatives have the same id")
        if taken := sorted(set(entries) & set(SECTIONS)):
            raise StudyError(f"alternatives.{taken[0]} has the name of a section of the report; call it otherwise")
        alternatives = tuple(self._alternative(entry, entries) for entry in file.alternatives)
        demand, busy, losses = self._demand(), self._busy(), tuple(self._loss(entry, alternatives) for entry in file.losses)
        reported = tuple(self._reported(f"reported.{number}", one) for number, one in enumerate(file.reported, start=1))
        if unused := sorted(set(self.inputs) - self.used):
            raise StudyError(f"inputs that nothing uses: {', '.join(unused)}; delete them or correct a name")
        areas = tuple(
            Area(name, one.title, np.array([*one.ring, one.ring[0]]), self._sources(one.source, f"areas.{name}"))
            for name, one in file.areas.items()
        )
        warned = tuple(self._warned(name, one) for name, one in file.warned.items())
        shared = tuple(self._shared(name, one) for name, one in file.shared.items())
        if unused := sorted(set(self.sources) - self.named):
            raise StudyError(f"sources that nothing names: {', '.join(unused)}; delete them or correct a name")
        return Study(
            head, self.sources, self.inputs, alternatives, demand, busy, losses, areas, warned, reported, shared,
            self._design(alternatives, entries, demand, areas), self.origin,
        )  # fmt: skip

    def _warned(self, name: str, entry: WarnedEntry) -> WarnedArea:
        where = f"warned.{name}"
        if entry.people not in self.origin.files:
            raise StudyError(f"{where}.people: {entry.people} was not read; put it beside the study")
        try:
            places = parse_place_list(self.origin.files[entry.people], name=entry.people)
        except LocalError as error:
            raise StudyError(f"{where}.people: {error}") from error
        people = np.nan_to_num(places.population)
        within = np.flatnonzero(inside([(lat, lon) for lon, lat in entry.ring], places.latitude_deg, places.longitude_deg) & (people > 0))
        if not within.size:
            raise StudyError(f"{where}: nobody of {entry.people} lives inside the ring; correct the ring, or give a column population")
        return WarnedArea(
            name, entry.title, places.latitude_deg[within], places.longitude_deg[within], people[within], entry.times,
            self._sources(entry.source, where),
        )  # fmt: skip

    def _reported(self, where: str, entry: ReportedEntry) -> Reported:
        file, places = self.file, bool(self.file.places)
        there = {
            "costs": True, "places": places, "sovereignty": places and file.study.country is not None,
            "losses": places and bool(file.losses), "busy-hour": places and any(one.busy for one in file.places.values()),
            "seas": bool(file.areas), "warning": bool(file.warned),
        }  # fmt: skip
        outputs = [*(name for name in SECTIONS if there[name]), *(one.id for one in file.alternatives)]
        if entry.output is not None and entry.output not in outputs:
            raise StudyError(f"{where}.output: the report has no {entry.output}; use one of {', '.join(outputs)}")
        return Reported(entry.fact, self._given(entry.input, where), entry.output, entry.note)

    def _shared(self, name: str, entry: SharedEntry) -> SharedCost:
        where = f"shared.{name}"
        lines = [f"{one.id}: {line.name}" for one in self.file.alternatives for line in one.lines if line.shared == name]
        if len({line.partition(":")[0] for line in lines}) < 2:
            raise StudyError(f"{where}: {' and '.join(lines) or 'no line'} names it; what is shared needs a line in two alternatives")
        return SharedCost(name, entry.title, tuple(lines), self._sources(entry.source, where), entry.note)

    def _sources(self, given: str | tuple[str, ...], where: str) -> tuple[Source, ...]:
        names = named_sources(given)
        if missing := [name for name in names if name not in self.sources]:
            raise StudyError(f"{where}: there is no source {missing[0]}; add [sources.{missing[0]}]")
        self.named.update(names)
        return tuple(self.sources[name] for name in names)

    def _design(
        self,
        alternatives: Iterable[Alternative],
        entries: Mapping[str, AlternativeEntry],
        demand: Demand | None,
        areas: Iterable[Area],
    ) -> DesignTask | None:
        entry = self.file.design
        if entry is None:
            return None
        if demand is None:
            raise StudyError("a design is searched for places: give [places.…]")
        given = entries.get(entry.alternative)
        if given is None or given.constellation is None:
            raise StudyError(f"design.alternative: {entry.alternative} is not an alternative with a constellation of its own")
        try:
            SkyDesign(None, (), entry.landing, *self._stations()).ground()
        except LocalError as error:
            raise StudyError(f"design.landing: {error}") from error

        def grid_of(one: ShellsEntry) -> Grid:
            return Grid(one.altitudes_km, one.inclinations_deg, one.planes, one.satellites_per_plane, entry.landing, *self._stations())

        grid, second = grid_of(entry), None if entry.second is None else grid_of(entry.second)
        beams = None
        if entry.carried is not None:
            if demand.busy_bps is None:
                raise StudyError("design.carried: no place asks for anything at the busy hour; give places what they ask for with busy")
            if given.sky is None or given.sky.beams is None:
                raise StudyError(f"design.carried: what a satellite of {entry.alternative} carries is not known; give its sky [….beams]")
            beams = self._beams(given.sky.beams, f"alternatives.{entry.alternative}.sky.beams")
        target = Target(entry.available, entry.round_trip_ms / 1e3, entry.carried)
        seas = self._seas(entry.seas, areas)
        try:
            wanted = with_seas(demand, sum(one.share for one in self.file.places.values()), [(one.title, one.ring) for one in seas])
        except LocalError as error:
            raise StudyError(f"design.seas: {error}") from error
        search = Search(grid, wanted, target, self.file.study.seed, beams)
        chosen = next(one for one in alternatives if one.id == entry.alternative)
        years = self.file.study.years if entry.schedule_years is None else entry.schedule_years
        if years < self.file.study.years:
            raise StudyError(f"design.schedule_years: the study has {self.file.study.years} years; give as many or more")
        return DesignTask(
            chosen, given.constellation.satellites, search, second, tuple(one.title for one in seas),
            self._constellation(entry.alternative, given.constellation), years,
        )  # fmt: skip

    def _seas(self, asked: bool | tuple[str, ...], areas: Iterable[Area]) -> tuple[Area, ...]:
        known = {area.id: area for area in areas}
        names = tuple(known) if asked is True else asked or ()
        if asked is True and not names:
            raise StudyError("design.seas: the study has no areas; give it [areas.…]")
        if missing := [name for name in names if name not in known]:
            raise StudyError(f"design.seas: there is no area {missing[0]}; the study has {', '.join(known) or 'none'}")
        if len(set(names)) < len(names):
            raise StudyError("design.seas names an area twice")
        return tuple(known[name] for name in names)

    def _demand(self) -> Demand | None:
        entries = self.file.places
        if not entries:
            return None
        places: list[Place] = []
        shares: list[float] = []
        asked = np.zeros((3, sum(len(entry.positions) for entry in entries.values())))
        for name, entry in entries.items():
            if entry.busy is not None:  # what moves asks where its track begins: at the busy hour it is at one place
                asked[:, len(places)] = self._bounds(entry.busy, f"places.{name}.busy", "bit/s")
            many = len(entry.positions)
            for number, (latitude, longitude) in enumerate(entry.positions, 1):
                where = (name, entry.title) if many == 1 else (f"{name}-{number}", f"{entry.title}, {number} of {many}")
                places.append(Place(*where, "", "city", latitude, longitude))
                shares.append(entry.share / many)
        if len({place.id for place in places}) < len(places):
            raise StudyError("two places have the same name: positions of a track are named by number, such as frigate-1")
        busy = asked if any(entry.busy is not None for entry in entries.values()) else None
        return Demand(tuple(places), np.array(shares) / sum(shares), busy, self.file.study.country or "")

    def _busy(self) -> Figure | None:
        rate = unit("Mbit/s")
        # An input that several places name counts once for each.
        asked = [self._named(entry.busy, f"places.{name}.busy").to(rate) for name, entry in self.file.places.items() if entry.busy]
        return total(asked).called("demand at the busy hour") if asked else None

    def _bounds(self, name: str, where: str, of: str) -> tuple[float, float, float]:
        """Low, likely and high of an input in a unit, for what is simulated instead of drawn."""
        given = self._given(name, where).estimate
        try:
            scale = factor(given.unit, unit(of))
        except UnitError:
            raise StudyError(f"{where}: {name} is in {shown(given.unit)}; it must be in {of or 'a plain number'}") from None
        return given.low * scale, given.likely * scale, given.high * scale

    def _loss(self, entry: LossEntry, alternatives: Iterable[Alternative]) -> Loss:
        where = f"losses.{entry.id}"
        years = 0.0 if entry.years is None else self._bounds(entry.years, f"{where}.years", "year")[1]
        loss = Loss(
            entry.id, entry.title, entry.operator, entry.country, entry.launch, years,
            frozenset(entry.gateways), frozenset(entry.points_of_presence), entry.planes,
        )  # fmt: skip
        if sum(one.id == entry.id for one in self.file.losses) > 1:
            raise StudyError(f"two losses have the id {entry.id}")
        servings = [one for alternative in alternatives for one in (*alternative.skies, *(each.serving for each in alternative.phones))]
        dependences = [one for alternative in alternatives for _, one in alternative.dependences]
        for field, role in (("operator", "operator"), ("launch", "launch")):
            names = sorted({party.name for one in dependences for named, party in one.roles() if named == role})
            if (name := getattr(entry, field)) is not None and name not in names:
                raise StudyError(f"{where}.{field}: no alternative depends on {name}; they name {', '.join(names) or 'nobody'}")
        for one in servings:
            if one.first == 1 and one.lifetime_years is None and renewal_ends(loss, one.dependence):
                raise StudyError(f"{where} ends the launches of a sky that serves from the first year: give its sky a lifetime")
        try:
            SkyDesign(None, (), (), *self._stations()).check(entry.gateways, entry.points_of_presence)
        except LocalError as error:
            raise StudyError(f"{where}: {error}") from error
        return loss

    def _stations(self) -> tuple[tuple[Gateway, ...], tuple[PointOfPresence, ...]]:
        """The study's own gateways and points of presence."""

        def words(entry_source: str | tuple[str, ...], where: str) -> str:
            return "; ".join(f"{source.title} ({source.url})" for source in self._sources(entry_source, where))

        gateways = tuple(
            Gateway(name, one.title, one.country, one.latitude, one.longitude, one.minimum_elevation, words(one.source, f"gateways.{name}"))
            for name, one in self.file.gateways.items()
        )
        points = tuple(
            PointOfPresence(name, one.title, one.country, one.latitude, one.longitude, words(one.source, f"points_of_presence.{name}"))
            for name, one in self.file.points_of_presence.items()
        )
        return gateways, points

    def _dependence(self, part: AlternativeEntry) -> Dependence:
        def party(entry: PartyEntry | None, role: str) -> Party | None:
            if entry is None:
                return None
            where = f"alternatives.{part.id}.dependence.{role}"
            return Party(entry.name, entry.countries, self._sources(entry.source, where), entry.note)

        given = part.dependence
        return Dependence(party(given.operator, "operator"), party(given.factory, "factory"), party(given.launch, "launch"))

    def _phones(self, part: AlternativeEntry, entry: PhonesEntry) -> PhoneServing:
        where = f"alternatives.{part.id}.phones"
        beams = self._bounds(entry.beams, f"{where}.beams", "1/satellite")[1]
        if beams < 1:
            raise StudyError(f"{where}.beams: a satellite that warns has at least one beam for it")
        return PhoneServing(self._serving(part, entry, self._sky(entry, where), where), int(beams))

    def _serving(self, part: AlternativeEntry, entry: SatellitesEntry, sky: SkyDesign, where: str) -> Serving:
        years = self.file.study.years
        last = years if entry.last is None else entry.last
        if not 1 <= entry.first <= last <= years:
            raise StudyError(f"{where}: years {entry.first} to {last} are not within the study's 1 to {years}")
        lifetime = None if entry.lifetime is None else self._bounds(entry.lifetime, f"{where}.lifetime", "year")[1]
        return Serving(sky, entry.first, last, self._dependence(part), lifetime)

    def _sky(self, entry: SatellitesEntry, where: str) -> SkyDesign:
        def shell(one: ShellEntry) -> Shell:
            found = Shell(one.altitude_km, one.inclination_deg, one.planes, one.satellites_per_plane, one.phasing or 0)
            return found if one.phasing is not None else replace(found, phasing=usual_phasing(found))

        landing, beams = (entry.landing, entry.beams) if isinstance(entry, SkyEntry) else ((), None)
        carries = None if beams is None else self._beams(beams, f"{where}.beams")
        found = SkyDesign(entry.design, tuple(shell(one) for one in entry.shells), landing, *self._stations(), carries)
        try:
            if entry.design is not None:
                design(entry.design)
            found.ground()
        except LocalError as error:
            raise StudyError(f"{where}: {error}") from error
        return found

    def _beams(self, entry: BeamsEntry, where: str) -> Beams:
        each = self._bounds(entry.each, f"{where}.each", "1/satellite")
        share = (1.0, 1.0, 1.0) if entry.share is None else self._bounds(entry.share, f"{where}.share", "")
        channels = self._bounds(entry.channels, f"{where}.channels", "")[1]
        rate = self._bounds(entry.rate, f"{where}.rate", "bit/s")
        if min(each) < 0 or min(share) < 0 or max(share) > 1 or channels < 1 or min(rate) <= 0:
            raise StudyError(f"{where}: beams and channels count from 1, a share lies in 0 to 1, and a beam carries more than nothing")
        low, likely, high = (one * part for one, part in zip(each, share, strict=True))
        return Beams((low, likely, high), int(channels), rate)

    def _input(self, name: str, entry: InputEntry) -> Input:
        sources = self._sources(entry.source, f"inputs.{name}")
        of = unit(entry.unit)
        if currency_of(of) is not None and entry.price_year is None:
            raise StudyError(f"inputs.{name} is money: say of which year with price_year")
        if currency_of(of) is None and entry.price_year is not None:
            raise StudyError(f"inputs.{name} is not money: delete price_year")
        try:
            return Input(name, Estimate(*entry.bounds, of, sources, entry.note))
        except EstimateError as error:
            raise StudyError(f"inputs.{name}: {error}") from error

    def _given(self, name: str, where: str) -> Input:
        if name not in self.inputs:
            raise StudyError(f"{where}: there is no input {name}; add [inputs.{name}] or correct the name")
        self.used.add(name)
        return self.inputs[name]

    def _named(self, name: str, where: str) -> Figure:
        """The input in the study's currency and prices."""
        given = self._given(name, where)
        currency = currency_of(given.unit)
        if currency is None:
            return given
        if name not in self.in_study_money:
            self.in_study_money[name] = self._converted(given, name, currency)
        return self.in_study_money[name]

    def _converted(self, given: Input, name: str, currency: str) -> Figure:
        head, entry = self.file.study, self.file.inputs[name]
        table = self.file.currencies.get(currency, CurrencyEntry())
        worth: Figure = given
        apart = head.price_year - (entry.price_year or head.price_year)
        if apart:
            if table.inflation is None:
                years = f"prices of {entry.price_year}, the study in those of {head.price_year}"
                raise StudyError(f"inputs.{name} is in {years}: give currencies.{currency}.inflation")
            rate = self._named(table.inflation, f"currencies.{currency}.inflation")
            scale = factor(rate.unit, unit(""))
            worth = worth * Figure(unit(""), (rate,), lambda each: (1.0 + scale * each) ** apart, f"(1 + {rate.words})^{apart}")
        if currency != head.currency:
            if table.rate is None:
                raise StudyError(f"inputs.{name} is in {currency}, the study in {head.currency}: give currencies.{currency}.rate")
            rate = self._given(table.rate, f"currencies.{currency}.rate")
            worth = worth * rate.to(unit(f"{head.currency}/{currency}"))
        return worth if worth is given else worth.called(f"{name} in {head.currency} of {head.price_year}")

    def _alternative(self, entry: AlternativeEntry, entries: Mapping[str, AlternativeEntry]) -> Alternative:
        years = self.file.study.years
        terms: list[Figure] = []
        residual: Figure | None = None
        parts = list(self._parts(entry, entries, ()))
        together = self._paid_once(parts)
        skies: list[Serving] = []
        lasers: list[SkyDesign] = []
        phones: list[PhoneServing] = []
        dependences: list[tuple[str, Dependence]] = []
        for part in parts:
            own = [(part.id, given) for given in part.lines if given.shared is None]
            first = [together.pop(given.shared) for given in part.lines if given.shared in together]
            terms += [line(self._line(name, given), self.money, years) for name, given in (*own, *first)]
            if part.sky is not None:
                where = f"alternatives.{part.id}.sky"
                skies.append(self._serving(part, part.sky, self._sky(part.sky, where), where))
                if part.sky.lasers is not None:
                    self._sources(part.sky.lasers, f"{where}.lasers")
                    lasers.append(skies[-1].sky)
            if part.phones is not None:
                phones.append(self._phones(part, part.phones))
            dependence = self._dependence(part)
            if any(dependence.roles()):
                dependences.append((part.title, dependence))
            if part.constellation is not None:
                built, left = constellation(self._constellation(part.id, part.constellation), self.money, years)
                terms += built
                residual = left if residual is None else residual + left
        if not terms:
            raise StudyError(f"alternatives.{entry.id} has no costs: give lines, a constellation, or includes")
        rate = self._named(self.file.study.discount_rate, "study.discount_rate")
        sums = costs(terms, residual, rate, years)
        return Alternative(
            entry.id, entry.title, sums, self._per_user(sums), tuple(skies), tuple(lasers), tuple(phones), tuple(dependences)
        )

    def _parts(
        self, entry: AlternativeEntry, entries: Mapping[str, AlternativeEntry], above: tuple[str, ...]
    ) -> Iterable[AlternativeEntry]:
        if entry.id in above:
            raise StudyError(f"alternatives.{entry.id} includes itself: {' → '.join((*above, entry.id))}")
        for name in entry.includes:
            if name not in entries:
                raise StudyError(f"alternatives.{entry.id}.includes: there is no alternative {name}")
            yield from self._parts(entries[name], entries, (*above, entry.id))
        yield entry

    def _paid_once(self, parts: Iterable[AlternativeEntry]) -> dict[str, tuple[str, LineEntry]]:
        """By what is shared: who pays it, and the one line that is paid, over all years in which any of them does."""
        several: dict[str, list[tuple[str, LineEntry]]] = {}
        for part in parts:
            for given in part.lines:
                if given.shared is not None:
                    several.setdefault(given.shared, []).append((part.id, given))
        return {name: self._joined(name, each) for name, each in several.items()}

    def _joined(self, name: str, several: list[tuple[str, LineEntry]]) -> tuple[str, LineEntry]:
        where = " and ".join(dict.fromkeys(f"alternatives.{part}, line {given.name}" for part, given in several))
        if name not in self.file.shared:
            raise StudyError(f"{where}: nothing is called {name} that is shared; add [shared.{name}]")
        one = several[0][1]
        if any((each.product, each.divide, each.growth) != (one.product, one.divide, one.growth) for _, each in several):
            raise StudyError(f"{where}: what is paid once as shared.{name} has one price; give both the same product, divide and growth")
        spans = sorted((each.first, self.file.study.years if each.last is None else each.last) for _, each in several)
        last = spans[0][1]
        for begins, ends in spans:
            if begins > last + 1:
                raise StudyError(f"{where}: nobody pays for shared.{name} from year {last + 1} to {begins - 1}; close the gap")
            last = max(last, ends)
        paid = one.model_copy(update={"first": spans[0][0], "last": last})
        parts = list(dict.fromkeys(part for part, _ in several))
        return (parts[0], paid) if len(parts) == 1 else (" and ".join(parts), paid.model_copy(update={"name": f"{one.name}, paid once"}))

    def _line(self, alternative: str, given: LineEntry) -> Line:
        where = f"alternatives.{alternative}, line {given.name}"
        product = reduce(lambda one, other: one * other, (self._named(name, where) for name in given.product))
        product = reduce(lambda one, other: one / other, (self._named(name, where) for name in given.divide), product)
        growth = None if given.growth is None else self._named(given.growth, where)
        last = self.file.study.years if given.last is None else given.last
        return Line(f"{alternative}: {given.name}", product, given.first, last, growth)

    def _constellation(self, alternative: str, given: ConstellationEntry) -> Constellation:
        where = f"alternatives.{alternative}.constellation"
        wanted = {
            "satellites": "satellite", "spares": "", "lifetime": "year", "satellite_price": f"{self.money}/satellite",
            "satellites_a_launch": "satellite/launch", "launch_price": f"{self.money}/launch", "development": str(self.money),
            "operation": f"{self.money}/satellite/year",
        }  # fmt: skip
        figures: dict[str, Figure] = {}
        for field, of in wanted.items():
            name = getattr(given, field)
            if name is None:
                continue
            figure = self._named(name, where)
            try:
                figures[field] = figure.to(unit(of))
            except UnitError:
                raise StudyError(f"{where}.{field} is in {shown(figure.unit)}; it must be in {of or 'a plain number'}") from None
        return Constellation(alternative, **figures, first=given.first, complete=given.complete)

    def _per_user(self, sums: Costs) -> Figure | None:
        head = self.file.study
        if head.users is None:
            return None
        period = constant(float(head.years), "year", "years of the study")
        share = sums.present_value / self._named(head.users, "study.users") / period
        return share.to(unit(f"{head.currency}/user/year")).called("present value of the cost by user and year")
