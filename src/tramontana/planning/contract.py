"""The life of a contract: what sites measured of a carrier in a month, against what was promised, and what is due for it.

[contract]
title = "Satellite lines of the embassies"
carrier = "starlink"
currency = "EUR"
first_day = 2026-01-01
last_day = 2030-12-31
sites = ["Embassy A", "Embassy B"]     # left out: every site that has the carrier
least_observed = 0.9                   # a site that watched less of the month decides nothing
most_credit = 1.0                      # of the month's price, at most; 1 where left out

[price]
by_site_and_month = 2500
included_gb = 1000                     # left out: no limit
by_further_gb = 0.5

[[level]]
measure = "availability"               # percent of the time; or round_trip_ms, loss, longest_outage_s, down_mbps, up_mbps
at_least = 99.9                        # availability and rates; the others have at_most
percentile = 95                        # of round_trip_ms alone
[[level.credit]]                       # what is due of the site's price of the month, the hardest that applies
beyond = 99.9                          # below it (above it, for at_most)
share = 0.05

[[maintenance]]                        # allowed by the contract: hours that it touches count neither way
from = 2026-11-08T01:00:00+01:00
until = 2026-11-08T03:00:00+01:00
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Annotated, Final, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from tramontana.carrier_hours import HOUR_S, CarrierHour, delay_percentile_s, rate_while_full_bps
from tramontana.complaints import complaints
from tramontana.errors import LocalError

OCTETS_A_GB: Final = 1e9
Measure = Literal["availability", "round_trip_ms", "loss", "longest_outage_s", "down_mbps", "up_mbps"]
AT_LEAST: Final = ("availability", "down_mbps", "up_mbps")
"""Measures of which more is better."""
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]


class ContractError(LocalError):
    """A contract's file is refused; the message names the place and says what to do."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Credit(_Strict):
    """beyond: worse than this, and `share` of the site's price of the month is due."""

    beyond: Amount
    share: Share


class Level(_Strict):
    """One promise."""

    measure: Measure
    at_least: Amount | None = None
    at_most: Amount | None = None
    percentile: Annotated[float, Field(gt=0, le=100)] | None = None
    credit: tuple[Credit, ...] = ()

    @model_validator(mode="after")
    def _has_its_bound(self) -> Self:
        needed, other = ("at_least", "at_most") if self.measure in AT_LEAST else ("at_most", "at_least")
        if getattr(self, needed) is None or getattr(self, other) is not None:
            raise ValueError(f"{self.measure} is promised with {needed}")
        if (self.percentile is None) == (self.measure == "round_trip_ms"):
            raise ValueError("percentile belongs to round_trip_ms, which needs it")
        if self.measure == "availability" and self.bound > 100:
            raise ValueError("availability is in percent: 99.9")
        for each in self.credit:
            if self.is_worse(self.bound, each.beyond):
                raise ValueError(f"a credit beyond {each.beyond:g} is due although {self.bound:g} is kept: move it to what is missed")
        return self

    @property
    def bound(self) -> float:
        found = self.at_least if self.at_least is not None else self.at_most
        assert found is not None
        return found

    def is_worse(self, value: float, than: float) -> bool:
        return value < than if self.measure in AT_LEAST else value > than

    @property
    def words(self) -> str:
        return f"{WORDS[self.measure].format(percentile=self.percentile)} {'≥' if self.measure in AT_LEAST else '≤'} {self.bound:g}"


WORDS: Final[Mapping[Measure, str]] = {
    "availability": "availability, %",
    "round_trip_ms": "round trip ({percentile:g}th percentile), ms",
    "loss": "loss",
    "longest_outage_s": "longest outage, s",
    "down_mbps": "to the site while full, Mbit/s",
    "up_mbps": "from the site while full, Mbit/s",
}


class _Head(_Strict):
    title: Annotated[str, Field(min_length=1)]
    carrier: Annotated[str, Field(min_length=1)]
    currency: Annotated[str, Field(pattern="^[A-Z]{3}$")]
    first_day: date
    last_day: date
    sites: tuple[str, ...] | None = None
    least_observed: Share = 0.9
    most_credit: Share = 1.0

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.last_day < self.first_day:
            raise ValueError("last_day is before first_day")
        if self.sites is not None and len(set(self.sites)) != len(self.sites):
            raise ValueError("a site stands twice in sites")
        return self


class Price(_Strict):
    by_site_and_month: Amount
    included_gb: Amount | None = None
    by_further_gb: Amount = 0.0

    @model_validator(mode="after")
    def _further_than_what(self) -> Self:
        if self.by_further_gb and self.included_gb is None:
            raise ValueError("by_further_gb needs included_gb")
        return self

    def of(self, gigabytes: float) -> float:
        """Of one site and one month."""
        further = 0.0 if self.included_gb is None else max(0.0, gigabytes - self.included_gb)
        return self.by_site_and_month + further * self.by_further_gb


class Maintenance(_Strict):
    start: Annotated[AwareDatetime, Field(alias="from")]
    until: AwareDatetime

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.until <= self.start:
            raise ValueError("it ends before it begins")
        return self

    def touches(self, hour: int) -> bool:
        return self.start.timestamp() < (hour + 1) * HOUR_S and self.until.timestamp() > hour * HOUR_S


class Contract(_Strict):
    contract: _Head
    price: Price
    level: Annotated[tuple[Level, ...], Field(min_length=1)]
    maintenance: tuple[Maintenance, ...] = ()


def parse_contract(text: str, origin: str) -> Contract:
    """Raises `ContractError`."""
    try:
        return Contract.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise ContractError(f"{origin} is not TOML: {error}") from error
    except ValidationError as error:
        raise ContractError(f"{origin} is refused. {complaints(error)}") from error


@dataclass(frozen=True, slots=True)
class Month:
    """Of UTC."""

    year: int
    month: int

    @classmethod
    def parse(cls, text: str) -> Month:
        """Raises `ContractError`."""
        try:
            found = datetime.strptime(text, "%Y-%m").replace(tzinfo=UTC)
        except ValueError as error:
            raise ContractError(f"{text!r} is no month: write it as 2026-11") from error
        return cls(found.year, found.month)

    @property
    def after(self) -> Month:
        return Month(self.year + self.month // 12, self.month % 12 + 1)

    @property
    def first_hour(self) -> int:
        return int(datetime(self.year, self.month, 1, tzinfo=UTC).timestamp()) // HOUR_S

    @property
    def end_hour(self) -> int:
        return self.after.first_hour

    def __str__(self) -> str:
        return f"{self.year}-{self.month:02}"


class Verdict(StrEnum):
    KEPT = "kept"
    MISSED = "missed"
    UNDECIDED = "undecided"
    """Too little was observed, or the line was never full."""


@dataclass(frozen=True, slots=True)
class Judged:
    """One promise at one site. value: in the measure's unit; None if nothing was measured. credit: share of the site's price."""

    level: Level
    value: float | None
    verdict: Verdict
    credit: float


@dataclass(frozen=True, slots=True)
class SiteMonth:
    """One site, one month. Shares are of 1, money is of the contract's currency."""

    site: str
    observed: float
    """Of the hours that count."""
    down_s: float
    alone_s: float
    """Of it, while another carrier of the site did answer."""
    outages: int
    gigabytes: float
    price: float
    credit: float
    judged: tuple[Judged, ...]


@dataclass(frozen=True, slots=True)
class Statement:
    """A month of the contract, all its sites."""

    contract: Contract
    month: Month
    sites: tuple[SiteMonth, ...]
    excused_hours: int

    @property
    def price(self) -> float:
        return sum(site.price for site in self.sites)

    @property
    def credit(self) -> float:
        return sum(site.credit for site in self.sites)


def statement(contract: Contract, month: Month, measured: Mapping[str, Sequence[CarrierHour]]) -> Statement:
    """measured: by site, hours of this carrier; others are left out. Raises `ContractError` for a month outside the contract.

    A site that the contract names and that measured nothing is there as well: paid for, and nothing decided.
    """
    head = contract.contract
    hours = range(*(_within(head, month)))
    excused = {hour for hour in hours if any(each.touches(hour) for each in contract.maintenance)}
    names = head.sites if head.sites is not None else sorted(measured)
    counted = len(hours) - len(excused)
    sites = tuple(_site_month(contract, name, _of(measured.get(name, ()), head.carrier, hours), excused, counted) for name in names)
    return Statement(contract, month, sites, len(excused))


def _within(head: _Head, month: Month) -> tuple[int, int]:
    first = int(datetime.combine(head.first_day, datetime.min.time(), UTC).timestamp()) // HOUR_S
    end = int(datetime.combine(head.last_day, datetime.min.time(), UTC).timestamp()) // HOUR_S + 24
    found = max(first, month.first_hour), min(end, month.end_hour)
    if found[0] >= found[1]:
        raise ContractError(f"{month} is outside the contract, which runs from {head.first_day} to {head.last_day}: choose another month")
    return found


def _of(hours: Iterable[CarrierHour], carrier: str, within: range) -> list[CarrierHour]:
    return [each for each in hours if each.carrier == carrier and each.hour in within]


def _site_month(contract: Contract, name: str, hours: Sequence[CarrierHour], excused: set[int], counted: int) -> SiteMonth:
    counting = [each for each in hours if each.hour not in excused]
    observed_s = sum(each.observed_s for each in counting)
    observed = observed_s / (counted * HOUR_S) if counted else 0.0
    decides = observed > 0 and observed >= contract.contract.least_observed
    judged = tuple(_judge(level, counting, decides) for level in contract.level)
    gigabytes = sum(each.octets for each in hours) / OCTETS_A_GB
    due = min(contract.contract.most_credit, sum(each.credit for each in judged))
    return SiteMonth(
        site=name,
        observed=observed,
        down_s=sum(each.down_s for each in counting),
        alone_s=sum(each.alone_s for each in counting),
        outages=sum(each.outages for each in counting),
        gigabytes=gigabytes,
        price=contract.price.of(gigabytes),
        credit=due * contract.price.by_site_and_month,
        judged=judged,
    )


def _judge(level: Level, hours: Sequence[CarrierHour], decides: bool) -> Judged:
    value = _value(level, hours)
    if value is None or not decides:
        return Judged(level, value, Verdict.UNDECIDED, 0.0)
    is_missed = level.is_worse(value, level.bound)
    credit = max((each.share for each in level.credit if level.is_worse(value, each.beyond)), default=0.0)
    return Judged(level, value, Verdict.MISSED if is_missed else Verdict.KEPT, credit)


def _value(level: Level, hours: Sequence[CarrierHour]) -> float | None:
    observed = sum(each.observed_s for each in hours)
    if not observed:
        return None
    if level.measure == "availability":
        return 100 * (1 - sum(each.down_s for each in hours) / observed)
    if level.measure == "longest_outage_s":
        return _longest_outage_s(hours)
    if level.measure == "loss":
        up = [(each.loss, each.observed_s - each.down_s) for each in hours if each.loss is not None]
        seconds = sum(weight for _, weight in up)
        return sum(loss * weight for loss, weight in up) / seconds if seconds else None
    if level.measure == "round_trip_ms":
        assert level.percentile is not None
        found = delay_percentile_s(hours, level.percentile)
    else:
        full = (each.full_down if level.measure == "down_mbps" else each.full_up for each in hours)
        found = rate_while_full_bps(full)
    return None if found is None else found * (1e3 if level.measure == "round_trip_ms" else 1e-6)


def _longest_outage_s(hours: Sequence[CarrierHour]) -> float:
    """One that goes on over the hour is one; an hour that does not count, or that nobody saw, parts it."""
    longest, lasts, last = 0.0, 0.0, None
    for each in sorted(hours, key=lambda hour: hour.hour):
        ended = each.down_at_start_s + (lasts if last == each.hour - 1 else 0.0)
        is_whole = each.down_at_start_s >= each.observed_s > 0
        lasts, last = ended if is_whole else each.down_at_end_s, each.hour
        longest = max(longest, each.longest_outage_s, ended)
    return longest
