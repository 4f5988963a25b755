"""A study is a file: what is known, from whom, and which alternatives are compared. [planning.md](../../../docs/planning.md) describes it.

[study]
title = "A line for five years"
currency = "EUR"
price_year = 2025                    # in whose prices everything is expressed
first_year = 2026
years = 5
discount_rate = "discount-rate"      # names of inputs stand for them everywhere
users = "users"

[sources.offer]
title = "…"
url = "https://…"
date = "2025-01-06"

[inputs.fee]
low = 1.4e9
likely = 1.5e9
high = 1.6e9
unit = "EUR"
price_year = 2025                    # for money: of which year; another year or currency is changed by [currencies]
source = "offer"

[currencies.USD]
rate = "dollar"                      # an input in EUR/USD
inflation = "us-inflation"           # a plain number a year, between the input's price year and the study's

[[alternatives]]
id = "lease"
title = "Lease"
[[alternatives.lines]]
name = "fee"
product = ["fee"]                    # multiplied; `divide` what divides; the result is money, or money a year
[alternatives.sky]                   # left out: no satellites, or none that are measured here
design = "starlink-gen1"             # a built-in one, or [[alternatives.sky.shells]] of one's own
landing = ["IT"]                     # countries of gateways; left out: all that are known
first = 1                            # the years in which it serves; `last` as well

[places.rome]                        # where service is needed; measured only where a study has places
title = "Rome"
latitude = 41.9
longitude = 12.5
share = 3                            # of the need; 1 where left out
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import reduce
from typing import Annotated, Final, Self

import numpy as np
import pint
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from tramontana.complaints import complaints
from tramontana.errors import LocalError
from tramontana.planning.cost import Constellation, CostError, Costs, Line, constellation, costs, line
from tramontana.planning.design_search import Grid, Search, Target
from tramontana.planning.estimate import Estimate, EstimateError, Source
from tramontana.planning.figure import Figure, Input, constant
from tramontana.planning.measures import Demand, Serving, SkyDesign
from tramontana.planning.units import CURRENCIES, UnitError, factor, shown, unit
from tramontana.space.designs import design
from tramontana.space.ground import Place
from tramontana.space.shells import Shell, usual_phasing

MOST_YEARS: Final = 50
MOST_DRAWS: Final = 1_000_000


class StudyError(LocalError):
    """The study cannot be used; the message names the place in the file and what to do."""


Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
Currency = Annotated[str, Field(pattern="^(" + "|".join(CURRENCIES) + ")$")]
Year = Annotated[int, Field(ge=1950, le=2150)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class StudyHead(_Strict):
    title: str = Field(min_length=1)
    currency: Currency
    price_year: Year
    first_year: Year
    years: int = Field(ge=1, le=MOST_YEARS)
    discount_rate: Name
    users: Name | None = None
    draws: int = Field(default=10_000, ge=100, le=MOST_DRAWS)
    seed: int = Field(default=1, ge=0)


class SourceEntry(_Strict):
    title: str = Field(min_length=1)
    url: str = Field(pattern=r"^(https?://|docs/)")
    date: str = Field(pattern=r"^\d{4}(-\d\d(-\d\d)?)?$")


class InputEntry(_Strict):
    """Either low, likely and high, or one `value` that is certain: a contract, a design, a definition."""

    low: float | None = None
    likely: float | None = None
    high: float | None = None
    value: float | None = None
    unit: str
    source: Name | tuple[Name, ...] = Field(min_length=1)
    """Several where the bounds are not from one."""
    price_year: Year | None = None
    note: str = ""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.value is not None and (self.low, self.likely, self.high) != (None, None, None):
            raise ValueError("give low, likely and high, or else value alone")
        return self

    @property
    def sources(self) -> tuple[str, ...]:
        return (self.source,) if isinstance(self.source, str) else self.source


class CurrencyEntry(_Strict):
    rate: Name | None = None
    inflation: Name | None = None


class LineEntry(_Strict):
    name: str = Field(min_length=1)
    product: tuple[Name, ...] = Field(min_length=1)
    divide: tuple[Name, ...] = ()
    first: int = 1
    last: int | None = None
    growth: Name | None = None


class ConstellationEntry(_Strict):
    satellites: Name
    spares: Name
    lifetime: Name
    satellite_price: Name
    satellites_a_launch: Name
    launch_price: Name
    development: Name | None = None
    operation: Name | None = None
    first: int = 1
    complete: int


class ShellEntry(_Strict):
    altitude_km: float = Field(gt=150, lt=36_000)
    inclination_deg: float = Field(ge=0, le=180)
    planes: int = Field(ge=1, le=1000)
    satellites_per_plane: int = Field(ge=1, le=1000)
    phasing: int | None = None
    """Walker's F; left out: the usual one (space/shells.py)."""


class SkyEntry(_Strict):
    design: Name | None = None
    shells: tuple[ShellEntry, ...] = ()
    landing: tuple[Annotated[str, Field(pattern="^[A-Z]{2}$")], ...] = ()
    first: int = 1
    last: int | None = None
    """Years of the study in which it serves; left out: to the end."""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.design is None) == (not self.shells):
            raise ValueError("give a design, or else shells")
        return self


class PlaceEntry(_Strict):
    title: str = Field(min_length=1)
    latitude: float = Field(ge=-90, le=90)
    longitude: float = Field(ge=-180, le=180)
    share: float = Field(default=1.0, gt=0)


class DesignEntry(_Strict):
    """What `plan design` tries, and what it must meet."""

    alternative: Name
    """Whose constellation is designed: its prices count."""
    altitudes_km: tuple[Annotated[float, Field(gt=150, lt=36_000)], ...] = Field(min_length=1)
    inclinations_deg: tuple[Annotated[float, Field(ge=0, le=180)], ...] = Field(min_length=1)
    planes: tuple[Annotated[int, Field(ge=1, le=200)], ...] = Field(min_length=1)
    satellites_per_plane: tuple[Annotated[int, Field(ge=1, le=200)], ...] = Field(min_length=1)
    landing: tuple[Annotated[str, Field(pattern="^[A-Z]{2}$")], ...] = ()
    available: float = Field(gt=0, lt=1)
    round_trip_ms: float = Field(gt=0)


class AlternativeEntry(_Strict):
    id: Name
    title: str = Field(min_length=1)
    includes: tuple[Name, ...] = ()
    """Other alternatives whose costs are part of this one: a mix."""
    lines: tuple[LineEntry, ...] = ()
    constellation: ConstellationEntry | None = None
    sky: SkyEntry | None = None


class StudyFile(_Strict):
    study: StudyHead
    sources: dict[Name, SourceEntry]
    inputs: dict[Name, InputEntry]
    currencies: dict[Currency, CurrencyEntry] = {}
    places: dict[Name, PlaceEntry] = {}
    design: DesignEntry | None = None
    alternatives: tuple[AlternativeEntry, ...] = Field(min_length=1)


@dataclass(frozen=True, slots=True)
class Alternative:
    id: str
    title: str
    costs: Costs
    per_user: Figure | None
    """Present value by protected user and year; None where the study does not count users."""
    skies: tuple[Serving, ...]
    """What serves; empty where nothing of it is measured."""


@dataclass(frozen=True, slots=True)
class Study:
    head: StudyHead
    sources: Mapping[str, Source]
    inputs: Mapping[str, Input]
    alternatives: tuple[Alternative, ...]
    demand: Demand | None
    """None where the study has no places."""
    design: DesignTask | None


@dataclass(frozen=True, slots=True)
class DesignTask:
    """A constellation to search for. `satellites` is the name of the input that counts it, for its cost."""

    alternative: Alternative
    satellites: str
    search: Search


def parse_study(text: str) -> Study:
    """Raises `StudyError`, also for units that do not fit and for what nothing uses: a typing error must not go unseen."""
    try:
        file = StudyFile.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise StudyError(f"the study is not TOML: {error}") from None
    except ValidationError as error:
        raise StudyError("the study cannot be used: " + complaints(error)) from None
    try:
        return _Builder(file).study()
    except (UnitError, EstimateError, CostError) as error:
        raise StudyError(f"the study cannot be used: {error}") from error


class _Builder:
    def __init__(self, file: StudyFile) -> None:
        self.file = file
        self.money = unit(file.study.currency)
        self.sources = {name: Source(name, entry.title, entry.url, entry.date) for name, entry in file.sources.items()}
        self.inputs = {name: self._input(name, entry) for name, entry in file.inputs.items()}
        self.used: set[str] = set()
        self.in_study_money: dict[str, Figure] = {}

    def study(self) -> Study:
        file, head = self.file, self.file.study
        entries = {entry.id: entry for entry in file.alternatives}
        if len(entries) < len(file.alternatives):
            raise StudyError("two alternatives have the same id")
        alternatives = tuple(self._alternative(entry, entries) for entry in file.alternatives)
        if unused := sorted(set(self.inputs) - self.used):
            raise StudyError(f"inputs that nothing uses: {', '.join(unused)}; delete them or correct a name")
        if unused := sorted(set(self.sources) - {name for entry in file.inputs.values() for name in entry.sources}):
            raise StudyError(f"sources that no input names: {', '.join(unused)}; delete them or correct a name")
        demand = self._demand()
        return Study(head, self.sources, self.inputs, alternatives, demand, self._design(alternatives, entries, demand))

    def _design(
        self, alternatives: Iterable[Alternative], entries: Mapping[str, AlternativeEntry], demand: Demand | None
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
            SkyDesign(None, (), entry.landing).ground()
        except LocalError as error:
            raise StudyError(f"design.landing: {error}") from error
        grid = Grid(entry.altitudes_km, entry.inclinations_deg, entry.planes, entry.satellites_per_plane, entry.landing)
        search = Search(grid, demand, Target(entry.available, entry.round_trip_ms / 1e3), self.file.study.seed)
        chosen = next(one for one in alternatives if one.id == entry.alternative)
        return DesignTask(chosen, given.constellation.satellites, search)

    def _demand(self) -> Demand | None:
        entries = self.file.places
        if not entries:
            return None
        places = tuple(Place(name, entry.title, "", "city", entry.latitude, entry.longitude) for name, entry in entries.items())
        shares = np.array([entry.share for entry in entries.values()])
        return Demand(places, shares / shares.sum())

    def _input(self, name: str, entry: InputEntry) -> Input:
        if missing := [source for source in entry.sources if source not in self.sources]:
            raise StudyError(f"inputs.{name}: there is no source {missing[0]}; add [sources.{missing[0]}]")
        of = unit(entry.unit)
        if _currency(of) is not None and entry.price_year is None:
            raise StudyError(f"inputs.{name} is money: say of which year with price_year")
        if _currency(of) is None and entry.price_year is not None:
            raise StudyError(f"inputs.{name} is not money: delete price_year")
        certain = entry.value
        low, likely, high = (certain, certain, certain) if certain is not None else (entry.low, entry.likely, entry.high)
        if low is None or likely is None or high is None:
            raise StudyError(f"inputs.{name}: give low, likely and high, or else value alone")
        try:
            return Input(name, Estimate(low, likely, high, of, tuple(self.sources[source] for source in entry.sources), entry.note))
        except EstimateError as error:
            raise StudyError(f"inputs.{name}: {error}") from error

    def _named(self, name: str, where: str) -> Figure:
        """The input in the study's currency and prices."""
        if name not in self.inputs:
            raise StudyError(f"{where}: there is no input {name}; add [inputs.{name}] or correct the name")
        self.used.add(name)
        given = self.inputs[name]
        currency = _currency(given.unit)
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
            rate = self._rate(table.rate, currency)
            worth = worth * rate
        return worth if worth is given else worth.called(f"{name} in {head.currency} of {head.price_year}")

    def _rate(self, name: str, currency: str) -> Figure:
        where = f"currencies.{currency}.rate"
        if name not in self.inputs:
            raise StudyError(f"{where}: there is no input {name}; add [inputs.{name}] or correct the name")
        self.used.add(name)
        given = self.inputs[name]
        return given.to(unit(f"{self.file.study.currency}/{currency}"))

    def _alternative(self, entry: AlternativeEntry, entries: Mapping[str, AlternativeEntry]) -> Alternative:
        years = self.file.study.years
        terms: list[Figure] = []
        residual: Figure | None = None
        skies: list[Serving] = []
        for part in self._parts(entry, entries, ()):
            terms += [line(self._line(part.id, given), self.money, years) for given in part.lines]
            if part.sky is not None:
                skies.append(_serving(part.id, part.sky, years))
            if part.constellation is not None:
                built, left = constellation(self._constellation(part.id, part.constellation), self.money, years)
                terms += built
                residual = left if residual is None else residual + left
        if not terms:
            raise StudyError(f"alternatives.{entry.id} has no costs: give lines, a constellation, or includes")
        rate = self._named(self.file.study.discount_rate, "study.discount_rate")
        sums = costs(terms, residual, rate, years)
        return Alternative(entry.id, entry.title, sums, self._per_user(sums), tuple(skies))

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


def _serving(alternative: str, entry: SkyEntry, years: int) -> Serving:
    last = years if entry.last is None else entry.last
    if not 1 <= entry.first <= last <= years:
        raise StudyError(f"alternatives.{alternative}.sky: years {entry.first} to {last} are not within the study's 1 to {years}")
    return Serving(_sky(alternative, entry), entry.first, last)


def _sky(alternative: str, entry: SkyEntry) -> SkyDesign:
    shells = [Shell(one.altitude_km, one.inclination_deg, one.planes, one.satellites_per_plane, one.phasing or 0) for one in entry.shells]
    phased = tuple(
        shell if one.phasing is not None else replace(shell, phasing=usual_phasing(shell))
        for shell, one in zip(shells, entry.shells, strict=True)
    )
    found = SkyDesign(entry.design, phased, entry.landing)
    try:
        if entry.design is not None:
            design(entry.design)
        found.ground()
    except LocalError as error:
        raise StudyError(f"alternatives.{alternative}.sky: {error}") from error
    return found


def _currency(of: pint.Unit) -> str | None:
    """The currency in which a unit counts; None for none. Raises `UnitError` for two, and for money below the line."""
    found = {name: power for name in CURRENCIES if (power := of.dimensionality.get(f"[{name}]", 0))}
    if not found or (len(found) == 2 and sum(found.values()) == 0):  # a rate of exchange is not money
        return None
    if len(found) > 1 or set(found.values()) != {1}:
        raise UnitError(f"{shown(of)} is not an amount of money by something")
    return next(iter(found))
