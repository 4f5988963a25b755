"""SWITCH: the site tells a gateway through which tunnel each flow class goes from now on.

One message carries the whole assignment, so there is no order of messages to get wrong: the one with the higher sequence is the truth, any
other is answered with what is in force. It is sent three times in the new tunnel and repeated until it is acknowledged. Sequences follow
the clock in milliseconds or, if that stands behind, the last one used; a site that has lost both learns the gateway's from the answer.

WireGuard has authenticated who sent a datagram; `site` is that peer.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from tramontana.internet.flow_class import FlowClass
from tramontana.internet.probe import MalformedDatagram

SWITCH_TYPE, SWITCHED_TYPE = 0x13, 0x14
_MESSAGE: Final = struct.Struct(f"!BxQ{len(FlowClass)}B")
NO_TUNNEL: Final = 0
"""In place of an uplink index: this class is blocked, and the gateway drops what it has for it."""
HIGHEST_UPLINK: Final = 255
COPIES: Final = 3
COPY_INTERVAL_S: Final = 0.005
"""Between the copies, so that a burst of loss does not take all. Assumption."""
REPEAT_S, SLOWEST_REPEAT_S = 0.1, 1.0
_U64: Final = 2**64


@dataclass(frozen=True, slots=True)
class Assignment:
    """Which uplink carries which class. `uplinks` has an index (1–255), or `NO_TUNNEL`, for every `FlowClass` in its order."""

    sequence: int
    uplinks: tuple[int, ...] = (NO_TUNNEL,) * len(FlowClass)

    def __post_init__(self) -> None:
        if not 0 <= self.sequence < _U64 or len(self.uplinks) != len(FlowClass) or not all(0 <= u <= HIGHEST_UPLINK for u in self.uplinks):
            raise ValueError("an assignment has a sequence below 2**64 and an uplink of 0 to 255 for every flow class")

    @classmethod
    def of(cls, sequence: int, uplinks: Mapping[FlowClass, int]) -> Assignment:
        """Classes that are not named are blocked."""
        return cls(sequence, tuple(uplinks.get(flow, NO_TUNNEL) for flow in FlowClass))

    def uplink(self, flow: FlowClass) -> int:
        return self.uplinks[flow]


def encode_switch(assignment: Assignment) -> bytes:
    """Site to gateway."""
    return _MESSAGE.pack(SWITCH_TYPE, assignment.sequence, *assignment.uplinks)


def encode_switched(in_force: Assignment) -> bytes:
    """Gateway to site: what is in force now, whether the message was the reason or not."""
    return _MESSAGE.pack(SWITCHED_TYPE, in_force.sequence, *in_force.uplinks)


def parse_switch(datagram: bytes) -> Assignment:
    """Raises `MalformedDatagram`."""
    return _parse(datagram, SWITCH_TYPE, "SWITCH")


def parse_switched(datagram: bytes) -> Assignment:
    """Raises `MalformedDatagram`."""
    return _parse(datagram, SWITCHED_TYPE, "SWITCHED")


def _parse(datagram: bytes, kind: int, name: str) -> Assignment:
    if len(datagram) != _MESSAGE.size or datagram[0] != kind:
        raise MalformedDatagram(f"{len(datagram)} octets are no {name}")
    _, sequence, *uplinks = _MESSAGE.unpack(datagram)
    return Assignment(sequence, tuple(uplinks))


@dataclass
class SiteRoutes:
    """The gateway's belief: one assignment for each site, hence one tunnel for each class of it.

    Start it with what was kept, if anything was: routes that are older than a restart are better than none, and the site hears of
    a gateway that knows none by its ECHO.
    """

    in_force: dict[str, Assignment] = field(default_factory=dict)

    def handle_switch(self, site: str, asked: Assignment) -> tuple[bool, bytes]:
        """(whether routes must be changed to `in_force[site]`, the answer). A lower or equal sequence changes nothing."""
        known = self.in_force.get(site)
        newer = known is None or asked.sequence > known.sequence
        if newer:
            self.in_force[site] = asked
        return newer, encode_switched(self.in_force[site])

    def forget(self, site: str) -> bool:
        """The site was revoked or its tunnels are closed. True if there was anything to take back."""
        return self.in_force.pop(site, None) is not None

    def sequence(self, site: str) -> int:
        """For the ECHO; 0 if nothing is in force."""
        known = self.in_force.get(site)
        return known.sequence if known else 0


class SwitchSender:
    """The site's end: makes assignments with ever higher sequences and repeats the latest until the gateway has it.

    last_sequence: the highest that was ever used, from disk, or 0. The driver writes `sequence` there before it sends anything.
    """

    def __init__(self, last_sequence: int = 0) -> None:
        self.assignment = Assignment(last_sequence)
        self.acknowledged = True
        self._next_at = math.inf
        self._sent = 0

    @property
    def sequence(self) -> int:
        return self.assignment.sequence

    def assign(self, uplinks: Mapping[FlowClass, int], now: float, unix_ms: int) -> None:
        """A new assignment, to be sent from `now` on."""
        self._start(Assignment.of(self._next_sequence(unix_ms), uplinks), now)

    def due(self, now: float) -> bytes | None:
        """What to send now in the new tunnels, if anything; to be called at `next_send_at`."""
        if self.acknowledged or now < self._next_at:
            return None
        self._sent += 1
        repeat = min(SLOWEST_REPEAT_S, REPEAT_S * 2 ** min(10, max(0, self._sent - COPIES)))
        self._next_at = now + (COPY_INTERVAL_S if self._sent < COPIES else repeat)
        return encode_switch(self.assignment)

    @property
    def next_send_at(self) -> float:
        return math.inf if self.acknowledged else self._next_at

    def handle_switched(self, in_force: Assignment, now: float, unix_ms: int) -> None:
        """The gateway's answer. If it holds a higher sequence than ours, ours was lost (disk and clock): go above it."""
        if in_force == self.assignment:
            self.acknowledged = True
        elif in_force.sequence >= self.sequence:
            self._start(Assignment(max(in_force.sequence + 1, self._next_sequence(unix_ms)), self.assignment.uplinks), now)

    def handle_echo(self, switch_sequence: int, now: float) -> None:
        """What an ECHO says is in force: a gateway that lost it is told again.

        A higher sequence is of an earlier life of this site, whose memory was lost (disk and clock), and came late: go above it.
        """
        if not self.acknowledged:
            return
        if switch_sequence > self.sequence:
            self._start(Assignment(switch_sequence + 1, self.assignment.uplinks), now)
        elif self.sequence > switch_sequence and any(self.assignment.uplinks):
            self._start(self.assignment, now)

    def _start(self, assignment: Assignment, now: float) -> None:
        self.assignment, self.acknowledged, self._sent, self._next_at = assignment, False, 0, now

    def _next_sequence(self, unix_ms: int) -> int:
        return max(self.sequence + 1, unix_ms)
