"""A study is a file: what is known, from whom, and which alternatives are compared. [planning.md](../../../docs/planning.md) describes it.

[study]
title = "A line for five years"
currency = "EUR"
price_year = 2025                    # in whose prices everything is expressed
first_year = 2026
years = 5
discount_rate = "discount-rate"      # names of inputs stand for them everywhere
users = "users"                      # optional: an input in user
country = "IT"                       # optional: on whose soil traffic should land

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
[[alternatives.lines]]
name = "control room"
product = ["seats", "people-by-seat", "cost-of-a-person"]
shared = "control-room"              # optional: lines of several parts that name the same are paid once in a mix of them
[alternatives.sky]                   # left out: no satellites, or none that are measured here
design = "starlink-gen1"             # a built-in one, or [[alternatives.sky.shells]] of one's own
landing = ["IT"]                     # countries of gateways; left out: all that are known
lasers = "offer"                     # who says that its satellites have lasers: then landing at home is shown with them as well
first = 1                            # the years in which it serves; `last` as well
lifetime = "lifetime"                # an input in years: how long a satellite lasts when no new one is launched
[alternatives.sky.beams]             # left out: what it carries is not computed
each = "beams-of-a-satellite"        # an input in 1/satellite
share = "share-of-the-beams"         # a plain number: what of them the study may use
channels = "channels"                # a plain number: at most so many beams on one cell
rate = "rate-of-a-beam"              # an input in Mbit/s
[alternatives.phones]                # left out: ordinary phones hear nothing of it
design = "starlink-direct-to-cell"   # or shells; first, last and lifetime as above
beams = "beams-for-a-warning"        # an input in 1/satellite: how many of each carry a warning at a time
[alternatives.dependence.operator]   # also factory, launch: who, and under whose law
name = "SpaceX"
countries = ["US"]
source = "offer"

[shared.control-room]                # what such lines pay for, and who says that one does for several
title = "one control room for several carriers"
source = "offer"

[[losses]]                           # what is lost when something goes wrong
id = "operator"
title = "The operator withdraws"
operator = "SpaceX"                  # or country = "US", launch = "Arianespace" (both with years = an input in years),
                                     # gateways = ["milano"], points_of_presence = ["mlnnita1"] (or its cable), planes = 1

[design]                             # optional: what `plan design` searches
alternative = "national"             # whose constellation: its prices count
altitudes_km = [600, 1200]
inclinations_deg = [42, 48]
planes = [6, 8]
satellites_per_plane = [6, 8]
landing = ["IT"]
available = 0.995                    # the target over the places: share of a year, median round trip
round_trip_ms = 60
seas = true                          # optional: the study's areas count among the places, each as one of share 1; or names: ["tyrrhenian"]
carried = 0.9                        # optional: of the demand at the busy hour, likely; needs `busy` of places and beams of its sky
schedule_years = 15                  # optional: launches and replacements are shown for so many years; left out: the study's
[design.second]                      # left out: one shell alone. Else one of these may stand beside it, if that takes fewer satellites
altitudes_km = [600]
inclinations_deg = [36]
planes = [4]
satellites_per_plane = [6]

[[reported]]                         # optional: what was reported of the case, as the report begins
fact = "1.5 thousand million euro"
input = "fee"                        # the input that holds it, with its source
output = "lease"                     # optional: where the report shows what comes of it: an alternative, or costs, places, sovereignty,
                                     # losses, busy-hour, seas, warning
note = "the lease"                   # what the study makes of it

[areas.tyrrhenian]                   # a sea whose coverage and gaps are shown, on a map as well
title = "Tyrrhenian Sea"
ring = [[9.4, 43.0], [9.85, 44.0], [15.7, 38.25], [12.4, 37.8], [8.6, 38.9]]
source = "offer"

[warned.apennines]                   # an area in which people are warned by satellites that phones hear
title = "Central Apennines"
ring = [[12.5, 42.2], [14.0, 42.2], [14.0, 43.3], [12.5, 43.3]]
people = "municipalities.csv"        # beside the study: columns name, lat, lon, population; those inside the ring count
times = 3                            # in how many dwells everybody is to be covered
source = "offer"

[gateways.thermopylae]               # beside the built-in ones; [points_of_presence.…] alike
title = "Thermopylae"
country = "GR"
latitude = 38.8
longitude = 22.5
source = "offer"

[places.rome]                        # where service is needed; measured only where a study has places
title = "Rome"
latitude = 41.9
longitude = 12.5
share = 3                            # of the need; 1 where left out
busy = "rome-at-the-busy-hour"       # optional: an input in Mbit/s

[places.frigate]                     # a unit that moves: positions of its track, each as long as the others
title = "Frigate, Ionian Sea"
track = [[38.0, 16.0], [37.0, 17.5], [36.5, 19.0]]
share = 2                            # of the whole track
"""

from __future__ import annotations

from typing import Annotated, Final, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tramontana.planning.units import CURRENCIES

MOST_YEARS: Final = 50
SECTIONS: Final = ("costs", "places", "sovereignty", "losses", "busy-hour", "seas", "warning")
"""Of the report."""
MOST_DRAWS: Final = 1_000_000

Latitude = Annotated[float, Field(ge=-90, le=90)]
Longitude = Annotated[float, Field(ge=-180, le=180)]
MOST_POSITIONS: Final = 48
"""Of a track: one for every half hour of a day."""
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
Currency = Annotated[str, Field(pattern="^(" + "|".join(CURRENCIES) + ")$")]
Year = Annotated[int, Field(ge=1950, le=2150)]
Country = Annotated[str, Field(pattern="^[A-Z]{2}$")]
Sources = Annotated[Name | tuple[Name, ...], Field(min_length=1)]
"""Several where what is said is not from one."""


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
    country: Country | None = None
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
    source: Sources
    price_year: Year | None = None
    note: str = ""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        given = [one is not None for one in (self.low, self.likely, self.high)]
        if any(given) if self.value is not None else not all(given):
            raise ValueError("give low, likely and high, or else value alone")
        return self

    @property
    def bounds(self) -> tuple[float, float, float]:
        """Low, likely, high."""
        if self.value is not None:
            return self.value, self.value, self.value
        assert self.low is not None
        assert self.likely is not None
        assert self.high is not None
        return self.low, self.likely, self.high


def named_sources(given: str | tuple[str, ...]) -> tuple[str, ...]:
    """One or several, as a tuple."""
    return (given,) if isinstance(given, str) else given


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
    shared: Name | None = None
    """What it pays for together with lines of other parts (`SharedEntry`): a mix pays it once."""


class SharedEntry(_Strict):
    """What several alternatives need and a mix of them pays once, such as a control room."""

    title: str = Field(min_length=1)
    source: Sources
    note: str = ""


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


class BeamsEntry(_Strict):
    each: Name
    share: Name | None = None
    channels: Name
    rate: Name


class SatellitesEntry(_Strict):
    design: Name | None = None
    shells: tuple[ShellEntry, ...] = ()
    first: int = 1
    last: int | None = None
    """Years of the study in which it serves; left out: to the end."""
    lifetime: Name | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.design is None) == (not self.shells):
            raise ValueError("give a design, or else shells")
        return self


class SkyEntry(SatellitesEntry):
    landing: tuple[Country, ...] = ()
    lasers: Sources | None = None
    """Who says that its satellites pass traffic on to each other; left out: they do not, or nothing is asked about it."""
    beams: BeamsEntry | None = None


class PhonesEntry(SatellitesEntry):
    """Satellites that ordinary phones hear. They pass on what they get from any gateway, so no landing is named."""

    beams: Name


class PlaceEntry(_Strict):
    """A place, or the track of what moves: positions, latitude before longitude, that it is at for equal times."""

    title: str = Field(min_length=1)
    latitude: float | None = Field(default=None, ge=-90, le=90)
    longitude: float | None = Field(default=None, ge=-180, le=180)
    track: tuple[tuple[Latitude, Longitude], ...] = Field(default=(), max_length=MOST_POSITIONS)
    share: float = Field(default=1.0, gt=0)
    busy: Name | None = None

    @model_validator(mode="after")
    def _somewhere(self) -> Self:
        if (self.latitude is None) != (self.longitude is None) or (self.latitude is None) == (not self.track):
            raise ValueError("give latitude and longitude, or else a track")
        if len(self.track) == 1:
            raise ValueError("a track has two positions or more; for one give latitude and longitude")
        return self

    @property
    def positions(self) -> tuple[tuple[float, float], ...]:
        """Latitude and longitude: one, or those of the track."""
        if self.latitude is None or self.longitude is None:
            return self.track
        return ((self.latitude, self.longitude),)


class StationEntry(_Strict):
    """A gateway or a point of presence of the study's own."""

    title: str = Field(min_length=1)
    country: Country
    latitude: float = Field(ge=-90, le=90)
    longitude: float = Field(ge=-180, le=180)
    source: Sources


class GatewayEntry(StationEntry):
    minimum_elevation: float = Field(default=25.0, ge=0, lt=90)


class PartyEntry(_Strict):
    name: str = Field(min_length=1)
    countries: tuple[Country, ...] = Field(min_length=1)
    source: Sources
    note: str = ""


class AreaEntry(_Strict):
    """A sea area: a ring of [longitude, latitude] in degrees, the first point not again at the end."""

    title: str = Field(min_length=1)
    ring: tuple[tuple[Annotated[float, Field(ge=-180, le=180)], Annotated[float, Field(ge=-90, le=90)]], ...] = Field(min_length=3)
    source: Sources


class WarnedEntry(AreaEntry):
    """An area in which people are warned; `people` is a file beside the study's."""

    people: str = Field(pattern=r"^[^\x00]{1,500}\.csv$")
    times: int = Field(default=3, ge=1, le=100)


class ReportedEntry(_Strict):
    fact: str = Field(min_length=1)
    input: Name
    output: Name | None = None
    """Where the report shows what the study makes of it: one of `SECTIONS`, or the id of an alternative."""
    note: str = ""


class DependenceEntry(_Strict):
    operator: PartyEntry | None = None
    factory: PartyEntry | None = None
    launch: PartyEntry | None = None


class LossEntry(_Strict):
    id: Name
    title: str = Field(min_length=1)
    operator: str | None = None
    country: Country | None = None
    launch: str | None = None
    years: Name | None = None
    gateways: tuple[str, ...] = ()
    points_of_presence: tuple[str, ...] = ()
    planes: int = Field(default=0, ge=0, le=100)

    @model_validator(mode="after")
    def _one_thing(self) -> Self:
        given = [self.operator, self.country, self.launch, self.gateways, self.points_of_presence, self.planes]
        if sum(bool(one) for one in given) != 1:
            raise ValueError("give one of operator, country, launch, gateways, points_of_presence and planes")
        if (self.years is not None) != (self.country is not None or self.launch is not None):
            raise ValueError("give years with country or launch, for how long nothing is launched, and not elsewhere")
        return self


class ShellsEntry(_Strict):
    """Shells that are tried: every combination."""

    altitudes_km: tuple[Annotated[float, Field(gt=150, lt=36_000)], ...] = Field(min_length=1)
    inclinations_deg: tuple[Annotated[float, Field(ge=0, le=180)], ...] = Field(min_length=1)
    planes: tuple[Annotated[int, Field(ge=1, le=200)], ...] = Field(min_length=1)
    satellites_per_plane: tuple[Annotated[int, Field(ge=1, le=200)], ...] = Field(min_length=1)


class DesignEntry(ShellsEntry):
    """What `plan design` tries, and what it must meet."""

    alternative: Name
    """Whose constellation is designed: its prices count."""
    second: ShellsEntry | None = None
    """Shells that may be added to one of the others; left out: one shell alone."""
    landing: tuple[Country, ...] = ()
    available: float = Field(gt=0, lt=1)
    round_trip_ms: float = Field(gt=0)
    seas: bool | Annotated[tuple[Name, ...], Field(min_length=1)] = False
    """Areas that count among the places of the target, each as a place with share 1; true: all of the study."""
    schedule_years: int | None = Field(default=None, ge=1, le=MOST_YEARS)
    """Over how many years launches and replacements are shown; left out: the study's."""
    carried: float | None = Field(default=None, gt=0, le=1)
    """Share of the demand at the busy hour, in the likely case; left out: not asked."""


class AlternativeEntry(_Strict):
    id: Name
    title: str = Field(min_length=1)
    includes: tuple[Name, ...] = ()
    """Other alternatives whose costs are part of this one: a mix."""
    lines: tuple[LineEntry, ...] = ()
    constellation: ConstellationEntry | None = None
    sky: SkyEntry | None = None
    phones: PhonesEntry | None = None
    dependence: DependenceEntry = DependenceEntry()


class StudyFile(_Strict):
    study: StudyHead
    sources: dict[Name, SourceEntry]
    inputs: dict[Name, InputEntry]
    currencies: dict[Currency, CurrencyEntry] = {}
    shared: dict[Name, SharedEntry] = {}
    places: dict[Name, PlaceEntry] = {}
    gateways: dict[Name, GatewayEntry] = {}
    points_of_presence: dict[Name, StationEntry] = {}
    areas: dict[Name, AreaEntry] = {}
    warned: dict[Name, WarnedEntry] = {}
    losses: tuple[LossEntry, ...] = ()
    reported: tuple[ReportedEntry, ...] = ()
    design: DesignEntry | None = None
    alternatives: tuple[AlternativeEntry, ...] = Field(min_length=1)
