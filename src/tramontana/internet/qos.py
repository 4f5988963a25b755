"""Precedence on the wire: what each flow class keeps of a tunnel's capacity, and what it loses first when that falls.

A tunnel is shaped a little below what it carries, so that packets wait here, where their class is known, and not in the carrier's queue,
where it is not. Guarantees are given out in order of rank; what nobody uses of them goes to whoever asks, the highest rank first. A class
for which nothing is left gets what others leave over: that is pre-emption when capacity falls. Every queue is bounded in time.

Rates are bits a second of packets inside the tunnel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tramontana.internet.flow_class import FlowClass, Kind, in_order

SHARE_OF_MEASURED: Final = 0.95
LEAST_RATE_BPS: Final = 64e3
"""However little was measured, a tunnel is shaped to no less."""
TRICKLE_BPS: Final = 8e3
"""What a class keeps that has no guarantee, so that its connections do not break; all of them together at most a quarter of the rate."""
CONTROL_BPS: Final = 120e3
"""Probes at 20 ms and SWITCH."""
CALL_BPS: Final = 85e3
"""One participant's wire rate (decision 0015); each level of voice is guaranteed two of them."""
CALLS_A_LEVEL: Final = 2
DATA_SHARE: Final = 0.05
BULK_SHARE: Final = 0.01
VOICE_QUEUE_S, DATA_QUEUE_S = 0.040, 0.100
SMALLEST_QUEUE_OCTETS, LARGEST_QUEUE_OCTETS = 4 * 1500, 1 << 20
CONTROL_PRIORITY: Final = 0
LOWEST_PRIORITY: Final = 7
"""Linux HTB has eight (TC_HTB_NUMPRIO)."""


@dataclass(frozen=True, slots=True)
class Share:
    """What one class has. `flow` is None for probes and SWITCH. `priority`: 0 borrows first."""

    flow: FlowClass | None
    guaranteed_bps: float
    priority: int
    queue_octets: int
    preempted: bool = False


@dataclass(frozen=True, slots=True)
class Shaping:
    """A tunnel, or one site's share of a gateway's tunnel interface."""

    rate_bps: float
    shares: tuple[Share, ...]
    """The first is served first."""

    def preempted(self) -> tuple[FlowClass, ...]:
        """What has no guarantee at this rate, for people."""
        return tuple(share.flow for share in self.shares if share.preempted and share.flow is not None)


def plan(measured_bps: float) -> Shaping:
    """Shares of a tunnel that carries so much. The guarantees together never exceed the rate."""
    rate = max(LEAST_RATE_BPS, SHARE_OF_MEASURED * measured_bps)
    order = in_order()
    trickle = min(TRICKLE_BPS, rate / 4 / len(order))
    left = rate - trickle * len(order)
    given: dict[FlowClass | None, float] = {}
    for flow in (None, *order):
        wanted = _wanted(flow, rate)
        if flow is None:
            given[None] = min(wanted, rate / 4)
            left -= given[None]
        elif left >= wanted - trickle:
            given[flow] = wanted
            left -= wanted - trickle
        else:
            break  # nor has any below, however little they want: a lower class never keeps what a higher one lost
    return Shaping(rate, tuple(_share(flow, given.get(flow), trickle, rate) for flow in (None, *order)))


def _wanted(flow: FlowClass | None, rate: float) -> float:
    if flow is None:
        return CONTROL_BPS
    if flow.kind is Kind.VOICE:
        return CALLS_A_LEVEL * CALL_BPS
    return max(TRICKLE_BPS, rate * (BULK_SHARE if flow is FlowClass.BULK else DATA_SHARE))


def _share(flow: FlowClass | None, guaranteed: float | None, trickle: float, rate: float) -> Share:
    wait_s = DATA_QUEUE_S if flow is not None and flow.kind is not Kind.VOICE else VOICE_QUEUE_S
    octets = int(min(LARGEST_QUEUE_OCTETS, max(SMALLEST_QUEUE_OCTETS, rate * wait_s / 8)))
    return Share(flow, trickle if guaranteed is None else guaranteed, priority(flow), octets, guaranteed is None)


def priority(flow: FlowClass | None) -> int:
    """Eight steps: probes and voice of flash override first, then by rank, bulk last."""
    if flow is None:
        return CONTROL_PRIORITY
    return LOWEST_PRIORITY if flow is FlowClass.BULK else 5 - flow.rank


class ShapedRate:
    """To what capacity a tunnel is shaped: follows measurements down fast and up slowly, and ignores small changes.

    Until a direction was measured full nothing is known but that it carries at least what it did: `nominal_bps` holds.
    """

    CHANGE: Final = 0.10
    PROBE_UP: Final = 1.10
    """While it is full, try a little more each time: a shaper that only follows what it let through would never grow."""

    def __init__(self, nominal_bps: float) -> None:
        self.bps = nominal_bps
        self._nominal_bps = nominal_bps

    def update(self, measured_bps: float, full: bool, queue_s: float) -> bool:
        """A new measurement, once a second or so. True if the shaping is to be renewed.

        full: the carrier's queue stood when it was measured; queue_s: how long that queue is now.
        """
        if full and queue_s > 0:
            wanted = max(measured_bps, self.bps / 2)  # a path that became longer looks full for a moment: no fall at one stroke
        elif measured_bps >= 0.9 * SHARE_OF_MEASURED * self.bps:
            wanted = min(self._nominal_bps, self.bps * self.PROBE_UP)
        else:
            return False
        if abs(wanted - self.bps) < self.CHANGE * self.bps and wanted <= self.bps:
            return False
        changed = wanted != self.bps
        self.bps = wanted
        return changed
