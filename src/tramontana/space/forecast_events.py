"""Events in a forecast: what may happen when, how surely, and what it means for the traffic."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from tramontana.forecast import EventKind, ForecastEvent
from tramontana.space.candidates import Candidates
from tramontana.space.fleet import Floats
from tramontana.space.profiles import SAMPLE_STEP_S, PathModel
from tramontana.space.serving import slot_start_unix_s

ELEMENTS_OLD_AFTER_S = 2 * 86400.0  # space/ageing.py: median errors are 7 km after one day and 97 km after nine
LEAST_CONFIDENCE = 0.05
"""Less probable events are left out."""


@dataclass(frozen=True, eq=False)
class SlotOutlook:
    """One slot of a forecast: the candidates, and the probabilities of what may become of them."""

    could: Candidates
    chance: Floats
    """(C,) that each serves."""
    times_unix_s: Floats
    change: float
    """That satellite or gateway change as the slot begins."""
    route_change: float
    """That the gateway does."""
    user_out: Floats
    """(T, C) that rain breaks the user link."""
    feeder_out: Floats
    """(T, C) that rain breaks the feeder links to all gateways in view."""
    gateway_out: Floats
    """(T, C) the same for the gateway of least delay alone."""

    @property
    def begins_unix_s(self) -> float:
        return slot_start_unix_s(self.could.slot)

    @property
    def gateway(self) -> int:
        """The most probable gateway."""
        return int(np.argmax(np.bincount(self.could.gateway, self.chance)))

    def mean_delay_s(self, row: int) -> float:
        return float(self.could.delay_s[row] @ self.chance)


def events_of(model: PathModel, outlooks: list[SlotOutlook], now_unix_s: float, age_s: float | None) -> tuple[ForecastEvent, ...]:
    """All events of a forecast by time."""
    end = float(outlooks[-1].times_unix_s[-1]) + SAMPLE_STEP_S
    found = [*_handovers(model, outlooks), *_gaps(outlooks, now_unix_s, end), *_spells(model, outlooks)]
    if age_s is not None and abs(age_s) > ELEMENTS_OLD_AFTER_S:
        effect = f"elements are {abs(age_s) / 86400:.0f} days from their epoch: the satellites named may be others; load newer ones"
        found.append(ForecastEvent(EventKind.OLD_ELEMENTS, now_unix_s, end, 1.0, 0.0, effect))
    return tuple(sorted(found, key=lambda event: (event.at_unix_s, event.kind)))


def _handovers(model: PathModel, outlooks: list[SlotOutlook]) -> Iterator[ForecastEvent]:
    outage_s = model.parameters.handover_outage_s.value
    for before, after in pairwise(outlooks):
        if not (before.could.count and after.could.count):
            continue
        begins = after.begins_unix_s
        if after.change >= LEAST_CONFIDENCE:
            jump_ms = (after.mean_delay_s(0) - before.mean_delay_s(-1)) * 1e3
            effect = f"another satellite or gateway, delay {jump_ms:+.1f} ms on average"
            yield ForecastEvent(EventKind.HANDOVER, begins, begins + outage_s, after.change, outage_s, effect)
        if after.route_change >= LEAST_CONFIDENCE:
            now, then = (model.ground.gateways[outlook.gateway] for outlook in (before, after))
            effect = f"lands at {then.name} ({then.country}) most probably" if now != then else f"may leave {now.name} ({now.country})"
            yield ForecastEvent(EventKind.ROUTE_CHANGE, begins, begins + outage_s, after.route_change, outage_s, effect)


def _gaps(outlooks: list[SlotOutlook], now_unix_s: float, end_unix_s: float) -> Iterator[ForecastEvent]:
    empty = np.array([not outlook.could.count for outlook in outlooks])
    edges = [*(outlook.begins_unix_s for outlook in outlooks), end_unix_s]
    for first, last in _runs(empty):
        start, end = max(now_unix_s, edges[first]), min(end_unix_s, edges[last + 1])
        effect = "no satellite that the policy permits could carry the place"
        yield ForecastEvent(EventKind.COVERAGE_GAP, start, end, 1.0, end - start, effect)


def _spells(model: PathModel, outlooks: list[SlotOutlook]) -> Iterator[ForecastEvent]:
    """Spells of seconds in which a satellite may be hidden, or a link rained out."""
    times = np.concatenate([outlook.times_unix_s for outlook in outlooks])

    def over_time(figure: str) -> Floats:
        return np.concatenate([_expected(outlook, figure) for outlook in outlooks])

    for kind, figure, breaks, effect in (
        (EventKind.OBSTRUCTION, "hidden", True, "the satellite passes behind an obstacle of the place"),
        (EventKind.RAIN, "user_out", True, "rain at the place that no coding bridges"),
        (EventKind.GATEWAY_IN_RAIN, "gateway_out", False, ""),
    ):
        probability = over_time(figure)
        for first, last in _runs(probability >= LEAST_CONFIDENCE):
            start, end = float(times[first]), float(times[last]) + SAMPLE_STEP_S
            confidence = float(np.max(probability[first : last + 1]))
            if kind is EventKind.GATEWAY_IN_RAIN:
                outlook = next(o for o in outlooks if o.times_unix_s[-1] >= start)
                name = model.ground.gateways[outlook.gateway].name
                breaks = bool(np.max(over_time("feeder_out")[first : last + 1]) >= LEAST_CONFIDENCE)
                effect = f"heavy rain at {name}: " + ("no other gateway may take over" if breaks else "traffic lands elsewhere")
            yield ForecastEvent(kind, start, end, min(1.0, confidence), end - start if breaks else 0.0, effect)


def _expected(outlook: SlotOutlook, figure: str) -> Floats:
    """(T,) probability over all candidates; 0 without any."""
    if not outlook.could.count:
        return np.zeros(outlook.times_unix_s.shape)
    of_each = outlook.could.hidden if figure == "hidden" else getattr(outlook, figure)
    return np.asarray(of_each @ outlook.chance, dtype=np.float64)


def _runs(flags: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Iterator[tuple[int, int]]:
    """First and last index of every run of true."""
    edges = np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8))
    yield from zip(np.flatnonzero(edges == 1).tolist(), (np.flatnonzero(edges == -1) - 1).tolist(), strict=True)
