"""What a carrier was worth to a site in one hour: measured by the site, kept by the server, held against the contract by planning.

Delays are counted in bins, because a percentile of months cannot be had from percentiles of hours.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from typing import Annotated, Final, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

HOUR_S: Final = 3600
FINEST_MS: Final = 1.0
"""The upper edge of the first bin."""
BIN_RATIO: Final = 1.05
"""Each bin is so much wider than the one before: a percentile is right within 2.5 %."""
LAST_BIN: Final = 180
"""6.5 s and more: a probe that takes longer is lost."""

Seconds = Annotated[float, Field(ge=0, le=HOUR_S, allow_inf_nan=False)]
Bin = Annotated[int, Field(ge=0, le=LAST_BIN)]
Count = Annotated[int, Field(ge=1, le=10 * HOUR_S)]


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Full(_Strict):
    """While a direction was full: for how long, and what it carried then. What a line carries that is not full says nothing of it."""

    seconds: Annotated[float, Field(gt=0, le=HOUR_S, allow_inf_nan=False)]
    bps: Annotated[float, Field(ge=0, lt=1e13, allow_inf_nan=False)]
    """Bits a second inside the tunnel: some five per cent below what the line carries."""


class CarrierHour(_Strict):
    """One carrier, one site, one hour of UTC."""

    carrier: Annotated[str, Field(min_length=1, max_length=64)]
    hour: Annotated[int, Field(ge=0, lt=2**31)]
    """It begins at `hour` × 3600 POSIX seconds."""
    observed_s: Seconds
    """Seconds in which the site looked; in the others it was off, or had no key to look with."""
    down_s: Seconds
    """Of those, seconds in which no tunnel over the carrier answered."""
    alone_s: Seconds
    """Of those, seconds in which another carrier of the site did answer: neither the site nor its gateways had failed."""
    outages: Annotated[int, Field(ge=0, le=HOUR_S)]
    """That began in this hour."""
    longest_outage_s: Seconds
    """Of what lies in this hour."""
    down_at_start_s: Seconds = 0.0
    """Of an outage that lasted already when the hour began."""
    down_at_end_s: Seconds = 0.0
    """Of the one that lasted at the last look: the next hour says how it went on."""
    loss: Annotated[float, Field(ge=0, le=1)] | None
    """Share of probes without an answer, mean over the seconds in which the carrier was up; None if it never was."""
    delays: Annotated[tuple[tuple[Bin, Count], ...], Field(max_length=LAST_BIN + 1, strict=False)]
    """Round trips, one a second: bin and how many."""
    full_down: Full | None
    full_up: Full | None
    octets: Annotated[int, Field(ge=0, lt=2**53)]
    """Both directions, as the interface counts them."""

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        if not self.alone_s <= self.down_s <= self.observed_s:
            raise ValueError("a carrier is not down longer than it was observed")
        if not max(self.down_at_start_s, self.down_at_end_s) <= self.longest_outage_s <= self.down_s:
            raise ValueError("no outage is longer than the longest, and that is part of all")
        if len({bin for bin, _ in self.delays}) != len(self.delays):
            raise ValueError("a bin of delays stands twice")
        return self


def bin_of(delay_s: float) -> int:
    """The bin of a round trip."""
    milliseconds = delay_s * 1e3
    return 0 if milliseconds <= FINEST_MS else min(LAST_BIN, math.ceil(math.log(milliseconds / FINEST_MS, BIN_RATIO)))


def delay_percentile_s(hours: Iterable[CarrierHour], percent: float) -> float | None:
    """The round trip that `percent` of all stay below, as the middle of its bin; None if nothing was measured."""
    counts: Counter[int] = Counter()
    for each in hours:
        counts.update(dict(each.delays))
    left = counts.total() * percent / 100
    for bin in sorted(counts):
        left -= counts[bin]
        if left <= 1e-9:
            return FINEST_MS * math.pow(BIN_RATIO, bin - 0.5) / 1e3
    return None


def rate_while_full_bps(full: Iterable[Full | None]) -> float | None:
    """Mean over all the time that the direction was full; None if it never was."""
    found = [each for each in full if each is not None]
    seconds = sum(each.seconds for each in found)
    return sum(each.bps * each.seconds for each in found) / seconds if seconds else None
