"""What a trial's record says: figures, outages, handovers seen, and whether the line meets its target. Sans-I/O."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tramontana.internet.trial import Record, Target, Throughput, Way

Floats = NDArray[np.float64]

SHORTEST_OUTAGE_S: Final = 0.5
"""So long must nothing come back before it counts as an outage, and not as loss."""
LEAST_SHARE_OF_TESTS: Final = 0.9
"""So many throughput tests must reach the rate."""
LEAST_TESTS: Final = 10
ROUND_TRIP_PERCENTILE: Final = 95.0
LEAST_MEASURED_S: Final = 86400.0
"""A line that is good for less than a day has not seen all that a day brings."""
STEP_SPAN_S: Final = 3.0
"""A handover shows as a step of the round trip between so long before and so long after."""
LEAST_STEP_S: Final = 0.002
STEP_IN_DEVIATIONS: Final = 4.0


class Verdict(StrEnum):
    MET = "met"
    MISSED = "missed"
    TOO_EARLY = "too early"
    """Nothing missed yet, and not enough measured to say that it is met."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """One promise, what was measured of it, and the verdict."""

    promise: str
    measured: str
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Outage:
    """A span in which nothing came back, from the first lost probe to the next one that was answered."""

    start_unix_s: float
    end_unix_s: float

    @property
    def seconds(self) -> float:
        return self.end_unix_s - self.start_unix_s


@dataclass(frozen=True, eq=False)
class Probes:
    """All probes of a record by time; each array is (N,). `round_trip_s` is NaN for a lost one."""

    at_unix_s: Floats
    round_trip_s: Floats
    interval_s: Floats
    loaded: NDArray[np.bool_]

    @classmethod
    def of(cls, record: Record) -> Probes:
        at, trips, intervals, loaded = [], [], [], []
        for second in record.seconds:
            for number, trip in enumerate(second.round_trips_s):
                at.append(second.at_unix_s + number * second.interval_s)
                trips.append(np.nan if trip is None else trip)
                intervals.append(second.interval_s)
                loaded.append(second.loaded)
        return cls(np.array(at), np.array(trips), np.array(intervals), np.array(loaded, dtype=np.bool_))


@dataclass(frozen=True, eq=False)
class Figures:
    """A record in numbers. Round trips are those of an unloaded line unless the name says otherwise; NaN where nothing was measured."""

    measured_s: float
    sent: int
    lost: int
    outages: tuple[Outage, ...]
    availability: float
    loss_outside_outages: float
    round_trip_s: dict[str, float]
    """Percentiles: p50, p95, p99."""
    loaded_round_trip_s: dict[str, float]
    idle_round_trips_s: Floats
    """All of them, sorted."""
    handovers_unix_s: tuple[float, ...]
    down_bps: Floats
    up_bps: Floats

    def share_slower_than(self, round_trip_s: float) -> float:
        """Of the probes that came back over the unloaded line; NaN if none did."""
        count = self.idle_round_trips_s.shape[0]
        within = int(np.searchsorted(self.idle_round_trips_s, round_trip_s, side="right"))
        return (count - within) / count if count else float("nan")


def figures(record: Record) -> Figures:
    """Everything that can be said of a record without knowing what was promised."""
    probes = Probes.of(record)
    lost = np.isnan(probes.round_trip_s)
    outages = find_outages(probes)
    idle = np.sort(probes.round_trip_s[~lost & ~probes.loaded])
    measured_s = float(len(record.seconds))
    out_s = sum(outage.seconds for outage in outages)
    within = np.zeros(lost.shape, dtype=np.bool_)
    for outage in outages:
        within |= (probes.at_unix_s >= outage.start_unix_s) & (probes.at_unix_s < outage.end_unix_s)
    outside = int(np.count_nonzero(~within))
    return Figures(
        measured_s=measured_s,
        sent=lost.shape[0],
        lost=int(np.count_nonzero(lost)),
        outages=outages,
        availability=max(0.0, 1 - out_s / measured_s) if measured_s else float("nan"),
        loss_outside_outages=float(np.count_nonzero(lost & ~within)) / outside if outside else float("nan"),
        round_trip_s=_percentiles(idle),
        loaded_round_trip_s=_percentiles(probes.round_trip_s[~lost & probes.loaded]),
        idle_round_trips_s=idle,
        handovers_unix_s=find_steps(probes),
        down_bps=_rates(record.throughputs, Way.DOWN),
        up_bps=_rates(record.throughputs, Way.UP),
    )


def find_outages(probes: Probes) -> tuple[Outage, ...]:
    """Runs of lost probes of at least `SHORTEST_OUTAGE_S`; a gap in the record ends one, for nobody knows what came after."""
    found = []
    start: float | None = None
    end = 0.0
    for at, trip, interval in zip(probes.at_unix_s.tolist(), probes.round_trip_s.tolist(), probes.interval_s.tolist(), strict=True):
        goes_on = start is not None and at - end < 1.5  # the next second of the record at the latest
        if start is not None and (trip == trip or not goes_on):
            found.append(Outage(start, at if goes_on else end))
            start = None
        if trip != trip:
            start = at if start is None else start
            end = at + interval
    if start is not None:
        found.append(Outage(start, end))
    return tuple(outage for outage in found if outage.seconds >= SHORTEST_OUTAGE_S - 1e-6)


def find_steps(probes: Probes) -> tuple[float, ...]:
    """Instants at which the round trip of the unloaded line steps to another level: handovers, or routes that changed.

    Compared are the lower quartiles of three seconds before and three after each second: a queue only ever adds to a round trip.
    """
    good = ~np.isnan(probes.round_trip_s) & ~probes.loaded
    at, trips = probes.at_unix_s[good], probes.round_trip_s[good]
    if at.shape[0] < 20:
        return ()
    candidates = []
    for second in np.arange(np.ceil(at[0] + STEP_SPAN_S), at[-1] - STEP_SPAN_S + 1.0):
        low, middle, high = np.searchsorted(at, [second - STEP_SPAN_S, second, second + STEP_SPAN_S])
        before, after = trips[low:middle], trips[middle:high]
        if min(before.shape[0], after.shape[0]) < 6:
            continue
        step = abs(float(np.percentile(after, 25) - np.percentile(before, 25)))
        spread = max(_deviation(before), _deviation(after))
        if step > max(LEAST_STEP_S, STEP_IN_DEVIATIONS * spread):
            candidates.append((float(second), step))
    steps: list[tuple[float, float]] = []
    for second, step in candidates:  # of those that overlap only the highest is the step
        if steps and second - steps[-1][0] < STEP_SPAN_S:
            if step > steps[-1][1]:
                steps[-1] = (second, step)
        else:
            steps.append((second, step))
    return tuple(second for second, _ in steps)


def judge(found: Figures, target: Target) -> tuple[Judgement, ...]:
    """Every promise of the target, held against what was measured.

    A promise is missed once the failures are more than the target allows in a whole day, or in ten throughput tests; it is met when so much
    has been measured and the failures are within what is allowed.
    """
    day = LEAST_MEASURED_S / found.measured_s if found.measured_s else np.inf
    tail = found.round_trip_s[f"p{ROUND_TRIP_PERCENTILE:.0f}"]
    hours = found.measured_s / 3600
    out_s = sum(outage.seconds for outage in found.outages)
    return (
        _judge_rate(f"{target.down_bps / 1e6:g} Mbit/s down", found.down_bps, target.down_bps),
        _judge_rate(f"{target.up_bps / 1e6:g} Mbit/s up", found.up_bps, target.up_bps),
        Judgement(
            f"round trip of {target.round_trip_s * 1e3:g} ms for {ROUND_TRIP_PERCENTILE:.0f} % of probes, line idle",
            "nothing came back" if np.isnan(tail) else f"{ROUND_TRIP_PERCENTILE:.0f} % within {tail * 1e3:.1f} ms in {hours:.1f} h",
            _verdict(found.share_slower_than(target.round_trip_s), 1 - ROUND_TRIP_PERCENTILE / 100, day),
        ),
        Judgement(
            f"available {target.availability:.3%} of the time",
            "nothing was measured" if not found.sent else f"{found.availability:.4%} in {hours:.1f} h, outages {out_s:.1f} s together",
            _verdict(out_s / found.measured_s if found.measured_s else np.nan, 1 - target.availability, day),
        ),
    )


def matched(seen: tuple[float, ...], predicted: Floats, within_s: float = 2.5) -> int:
    """How many of the instants seen have a predicted one close by."""
    if not predicted.shape[0]:
        return 0
    return sum(bool(np.min(np.abs(predicted - at)) <= within_s) for at in seen)


def _judge_rate(promise: str, rates: Floats, least_bps: float) -> Judgement:
    if not rates.shape[0]:
        return Judgement(promise, "not tested", Verdict.TOO_EARLY)
    share = float(np.mean(rates >= least_bps))
    text = f"{share:.0%} of {rates.shape[0]} tests, median {np.median(rates) / 1e6:.1f} Mbit/s"
    return Judgement(promise, text, _verdict(1 - share, 1 - LEAST_SHARE_OF_TESTS, LEAST_TESTS / rates.shape[0]))


def _verdict(failed: float, allowed: float, whole: float) -> Verdict:
    """failed, allowed: shares of what was measured; whole: how many times as much would have been enough to measure."""
    if np.isnan(failed):
        return Verdict.TOO_EARLY
    if failed > allowed * max(1.0, whole) + 1e-9:
        return Verdict.MISSED
    return Verdict.MET if whole <= 1.0 else Verdict.TOO_EARLY


def _percentiles(values: Floats) -> dict[str, float]:
    return {f"p{p}": float(np.percentile(values, p)) if values.shape[0] else float("nan") for p in (50, 95, 99)}


def _rates(tests: tuple[Throughput, ...], way: Way) -> Floats:
    return np.array([test.bps for test in tests if test.way is way], dtype=np.float64)


def _deviation(values: Floats) -> float:
    """Median absolute deviation of the lower half: what queues add is not spread."""
    lower = values[values <= np.median(values)]
    return float(np.median(np.abs(lower - np.median(lower))))
