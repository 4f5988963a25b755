"""Is a tunnel alive, how long does it take, how much does it lose and carry: small datagrams inside it and the estimator that reads them.

The site sends PROBE in every tunnel, the gateway answers ECHO. The estimator tells three things apart that look alike from outside: a dead
link, a link that loses at random, and a link that is full of what we ourselves put into it. It counts how much was sent ahead of each
probe: what our own queue explains is not held against the link, up to `EXPLAINED_LIMIT_S`.

`now` is seconds of any clock that never jumps; the two ends' clocks need not agree. Octets are counted inside the tunnel.
"""

from __future__ import annotations

import math
import struct
from collections import deque
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from tramontana.errors import RemoteError
from tramontana.internet.flow_class import URGENT, FlowClass

PORT: Final = 51850
"""UDP, inside the tunnels, both ends."""
PROBE_TYPE, ECHO_TYPE = 0x11, 0x12  # version 1 in the upper half of the first octet
_PROBE: Final = struct.Struct("!BBQI")
_ECHO: Final = struct.Struct("!BxQQIQQQ")
_TUNNEL_OCTETS: Final = 28 + 40 + 8 + 32
"""Around a datagram: inner IPv4 and UDP headers, outer IPv6 and UDP headers, WireGuard's header and tag; padded to 16 inside."""
ROUND_OCTETS: Final = sum(_TUNNEL_OCTETS + size + -(size + 28) % 16 for size in (_PROBE.size, _ECHO.size))
"""What a PROBE and its ECHO take of the uplink together."""

MUTE_S: Final = 1.5
"""Traffic arrives, echoes do not: our direction is dead, or the gateway's queue is enormous. Assumption."""
EXPLAINED_LIMIT_S: Final = 1.0
"""However much we queued, a link that is silent longer than this beyond the rest is dead. Assumption: buffers of terminals hold less."""
CARRYING_S: Final = 0.020
"""With `LEAST_OVERDUE` a clean link is dead 60 ms + srtt + 4·rttvar after the last probe that came through. Measured: fail-over of UDP in
230–250 ms without false alarms."""
IDLE_S: Final = 0.100
"""Carries, but nothing was sent or received for `IDLE_AFTER_S`."""
STANDBY_S: Final = 0.250
DEAD_S: Final = 0.500
SLOWEST_S: Final = 5.0
"""On a metered link whose budget is used up."""
IDLE_AFTER_S: Final = 2.0
LEAST_OVERDUE, MOST_OVERDUE = 3, 8
FALSE_ALARM: Final = 1e-6
"""As many probes must be overdue as are lost together by chance with this probability; within the two bounds above."""
PROOF_ECHOES: Final = 5
"""In a row, before a tunnel that is new or was dead counts as alive."""
LOSS_PROBES: Final = 100
LOADED_S: Final = 0.060
"""So much above the least one-way delay, for `RATE_SPAN_S`, a direction is full: what arrives then is its capacity. More than a change of
satellite makes (a mean of 15 ms, by lasers 32 ms, of the round trip, was published for 2023)."""
WINDOW_S: Final = 30
RATE_SPAN_S: Final = 0.2
UNKNOWN_CAPACITY_BPS: Final = 1e6
"""Until something was measured. Assumption, cautious: it makes our own queue look long."""
_ALPHA, _BETA, _K = 1 / 8, 1 / 4, 4  # RFC 6298 §2


class MalformedDatagram(RemoteError):
    """The other end of a tunnel sent a datagram that is none of ours; it was dropped. Run the same version at site and gateway."""


class Health(StrEnum):
    """What the estimator believes of a tunnel."""

    UNPROVEN = "unproven"
    """New, or back after it was dead: not enough echoes in a row yet."""
    ALIVE = "alive"
    SUSPECT = "suspect"
    """A probe is overdue that our own queue does not explain."""
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class Probe:
    """Site to gateway. `shape_kbps`: to what rate the gateway shall shape what it sends in this tunnel; 0 is unknown."""

    sent_us: int
    """The site's clock; no two probes of a tunnel have the same, so it names the probe."""
    shape_kbps: int = 0
    copies: frozenset[FlowClass] = frozenset()
    """Urgent classes whose small packets for the site shall come through this tunnel as well (copies.py)."""

    def encode(self) -> bytes:
        flags = sum(1 << bit for bit, flow in enumerate(URGENT) if flow in self.copies)
        return _PROBE.pack(PROBE_TYPE, flags, self.sent_us, self.shape_kbps)

    @classmethod
    def parse(cls, datagram: bytes) -> Probe:
        """Raises `MalformedDatagram`."""
        if len(datagram) != _PROBE.size or datagram[0] != PROBE_TYPE:
            raise MalformedDatagram(f"{len(datagram)} octets are no PROBE")
        _, flags, sent_us, shape_kbps = _PROBE.unpack(datagram)
        return cls(sent_us, shape_kbps, frozenset(flow for bit, flow in enumerate(URGENT) if flags >> bit & 1))


@dataclass(frozen=True, slots=True)
class Echo:
    """Gateway to site: which probe, and what the gateway saw when it came."""

    sent_us: int
    received_us: int
    """The gateway's clock."""
    probes_received: int
    received_octets: int
    """Of this tunnel, before encryption; 0 is not known, and the site then counts what it sent, as if nothing were lost."""
    sent_octets: int
    switch_sequence: int
    """The SWITCH that is in force at the gateway, 0 is none: a gateway that started anew is noticed."""

    def encode(self) -> bytes:
        return _ECHO.pack(
            ECHO_TYPE,
            self.sent_us,
            self.received_us,
            self.probes_received & 0xFFFF_FFFF,
            self.received_octets,
            self.sent_octets,
            self.switch_sequence,
        )

    @classmethod
    def parse(cls, datagram: bytes) -> Echo:
        """Raises `MalformedDatagram`."""
        if len(datagram) != _ECHO.size or datagram[0] != ECHO_TYPE:
            raise MalformedDatagram(f"{len(datagram)} octets are no ECHO")
        return cls(*_ECHO.unpack(datagram)[1:])


class Responder:
    """The gateway's end of one tunnel."""

    def __init__(self) -> None:
        self.probes_received = 0

    def echo(self, probe: Probe, now: float, received_octets: int, sent_octets: int, switch_sequence: int) -> Echo:
        """The answer to a probe that came at `now`, with the counters of the tunnel at that instant."""
        self.probes_received += 1
        return Echo(probe.sent_us, round(now * 1e6), self.probes_received, received_octets, sent_octets, switch_sequence)


@dataclass(frozen=True, slots=True)
class Capacity:
    """What a direction carried, bits a second. Only if `measured_full` more would not have fitted; else it carries at least that."""

    bps: float
    measured_full: bool


@dataclass(frozen=True, slots=True)
class Estimate:
    """A tunnel as its probes see it. Seconds; None until an echo came."""

    srtt_s: float | None
    rttvar_s: float
    loss: float
    """Share of the last `LOSS_PROBES` probes without an answer, both directions together."""
    loss_up: float
    """Of the way to the gateway alone."""
    samples: int
    queue_up_s: float
    """Above the least one-way delay of the last `WINDOW_S`, at the latest echo."""
    queue_down_s: float
    capacity_up: Capacity
    capacity_down: Capacity
    switch_sequence: int


@dataclass(frozen=True, slots=True)
class ProbeBudget:
    """What probing may take of a metered link: so much a day, and a share of the traffic that the tunnel carries."""

    octets_a_day: float
    share_of_traffic: float = 0.02
    store_octets: float = 250_000.0
    """What may be saved up for a busy time."""


UNMETERED: Final = None
METERED: Final = ProbeBudget(50e6)
"""Assumption: 50 MB a day, 1.5 GB a month; a probe every half a second, and 20 ms while traffic pays for it."""


@dataclass(slots=True)
class _Sent:
    sequence: int
    sent_us: int
    at: float
    octets_before: int
    explained_s: float
    answered: bool = False


class _Extreme:
    """The least or greatest value of the last `WINDOW_S` seconds, to the second: only values that no later one exceeds are kept."""

    def __init__(self, greatest: bool) -> None:
        self._sign = 1.0 if greatest else -1.0
        self._buckets: deque[tuple[int, float]] = deque()

    def add(self, value: float, now: float) -> None:
        second, value = math.floor(now), value * self._sign
        while self._buckets and self._buckets[-1][1] <= value:
            self._buckets.pop()
        if not self._buckets or self._buckets[-1][0] != second:
            self._buckets.append((second, value))
        while self._buckets[0][0] < second - WINDOW_S:
            self._buckets.popleft()

    def value(self) -> float | None:
        return self._buckets[0][1] * self._sign if self._buckets else None


class _Rate:
    """Capacity of one direction from a counter of octets at the far end of it."""

    def __init__(self) -> None:
        self._points: deque[tuple[float, int, float]] = deque()
        self._any = _Extreme(greatest=True)
        self._full = _Extreme(greatest=True)

    def add(self, at: float, octets: int, queue_s: float, now: float) -> None:
        """at: seconds of the clock that the counter was read with."""
        if self._points and (octets < self._points[-1][1] or at <= self._points[-1][0]):
            self._points.clear()  # the far end started anew, or echoes overtook one another
        self._points.append((at, octets, queue_s))
        while len(self._points) > 2 and self._points[1][0] <= at - RATE_SPAN_S:
            self._points.popleft()
        since, before, _ = self._points[0]
        if at - since >= RATE_SPAN_S:
            bps = (octets - before) * 8 / (at - since)
            self._any.add(bps, now)
            if min(queue for _, _, queue in self._points) >= LOADED_S:
                self._full.add(bps, now)

    def capacity(self) -> Capacity:
        full = self._full.value()
        return Capacity(full, True) if full is not None else Capacity(self._any.value() or 0.0, False)


class TunnelProbe:
    """The site's end of one tunnel: when to probe, and what the answers mean.

    The driver sends `probe()` when `next_probe_at` has come, hands in every echo and the tunnel's counters, and asks `health()` after each
    of these and at `next_verdict_at()`.
    """

    def __init__(self, now: float, *, budget: ProbeBudget | None = UNMETERED) -> None:
        self.next_probe_at = now
        self.shape_kbps = 0
        self.copies: frozenset[FlowClass] = frozenset()
        """What the gateway is asked to send through this tunnel too."""
        self.answered_at: float | None = None
        """When the newest probe that was answered was sent."""
        self._carrying = False
        self._urgent_until = -math.inf
        self._budget = budget
        self._purse = budget.store_octets if budget else 0.0
        self._purse_at = now
        self._sequence = 0
        self._log: deque[_Sent] = deque(maxlen=256)
        self._answered_octets = 0
        self._newest_answered = 0
        self._overdue_in_a_row = 0
        self._in_a_row = 0
        self._health = Health.UNPROVEN
        self._dead_since: float | None = None
        self._srtt: float | None = None
        self._rttvar = 0.0
        self._counters: tuple[int, int] | None = None
        self._traffic_received_at = -math.inf
        self._traffic_at = -math.inf
        self._outcomes: deque[tuple[int, int]] = deque(maxlen=LOSS_PROBES)
        """(sequence, the gateway's count of probes) of answered probes, by arrival."""
        self._least_up = _Extreme(greatest=False)
        self._least_down = _Extreme(greatest=False)
        self._queue_up_s = self._queue_down_s = 0.0
        self._up, self._down = _Rate(), _Rate()
        self._switch_sequence = 0

    # ---- what the driver does

    def set_carrying(self, carrying: bool, now: float) -> None:
        """Traffic is routed into this tunnel: find out fast when it dies."""
        self._carrying = carrying
        self._hasten(now)

    def hurry(self, now: float, for_s: float = 1.0) -> None:
        """Another tunnel is suspect and this one may have to take over: know at once whether it is alive."""
        self._urgent_until = max(self._urgent_until, now + for_s)
        self._hasten(now)

    def probe(self, now: float, sent_octets: int) -> Probe:
        """The next probe, sent at `now` with the tunnel's counter of sent octets at that instant."""
        self._sequence += 1
        ahead_s = max(0, sent_octets - self._answered_octets) * 8 / self._usable_bps() - (self._srtt or 0.0)
        explained = min(EXPLAINED_LIMIT_S, max(0.0, ahead_s)) if self._srtt is not None else 0.0
        sent_us = max(round(now * 1e6), self._log[-1].sent_us + 1 if self._log else 0)
        self._log.append(_Sent(self._sequence, sent_us, now, sent_octets, explained))
        self._save(now)
        self._purse -= ROUND_OCTETS
        self.next_probe_at = now + self._interval(now)
        return Probe(sent_us, self.shape_kbps, self.copies)

    def handle_counters(self, received_octets: int, sent_octets: int, now: float) -> None:
        """The tunnel's own counters: whatever arrives shows that the link is alive, probes' answers included."""
        if self._counters is not None:
            received, sent = received_octets - self._counters[0], sent_octets - self._counters[1]
            if received > 0:
                self._traffic_received_at = now
            if received > 3 * ROUND_OCTETS or sent > 3 * ROUND_OCTETS:
                self._traffic_at = now
                if self._budget:
                    self._purse += self._budget.share_of_traffic * max(0, received + sent)
                self._hasten(now)
        self._counters = (received_octets, sent_octets)

    def handle_echo(self, echo: Echo, now: float) -> None:
        """An answer. Answers to what was never asked or is answered already count for nothing."""
        sent = next((s for s in reversed(self._log) if s.sent_us == echo.sent_us), None)
        if sent is None or sent.answered:
            return
        sent.answered = True
        self._measure(now - sent.at)
        up = echo.received_us / 1e6 - sent.at
        down = now - echo.received_us / 1e6
        self._least_up.add(up, now)
        self._least_down.add(down, now)
        self._queue_up_s = up - (self._least_up.value() or 0.0)
        self._queue_down_s = down - (self._least_down.value() or 0.0)
        self._outcomes.append((sent.sequence, echo.probes_received))
        self._in_a_row = self._in_a_row + 1 if sent.sequence == self._newest_answered + 1 else 1
        if sent.sequence > self._newest_answered:
            self._newest_answered = sent.sequence
            self.answered_at = sent.at
            self._answered_octets = sent.octets_before
            self._switch_sequence = echo.switch_sequence
            self._up.add(echo.received_us / 1e6, echo.received_octets or sent.octets_before, self._queue_up_s, now)
            if self._counters is not None:
                self._down.add(now, self._counters[0], self._queue_down_s, now)
        if self._health in (Health.UNPROVEN, Health.DEAD):
            self._health, self._dead_since = Health.UNPROVEN, None
            self._hasten(now)

    def health(self, now: float) -> Health:
        """What to believe at `now`. A dead tunnel becomes alive again by `PROOF_ECHOES` answers in a row."""
        self._overdue_in_a_row = sum(1 for s in self._unanswered() if now >= self._due(s))
        dead = self._is_dead(now)
        if self._health is Health.UNPROVEN and self._in_a_row >= PROOF_ECHOES and not dead:
            self._health = Health.ALIVE
        if dead and self._health is not Health.DEAD:
            self._health, self._dead_since = Health.DEAD, now
            self._in_a_row = 0
            self._traffic_at = -math.inf
        elif self._health in (Health.ALIVE, Health.SUSPECT):
            suspect = self._overdue_in_a_row > 0 and self._quiet(now, CARRYING_S)
            if suspect and self._health is Health.ALIVE:
                self.hurry(now)
            self._health = Health.SUSPECT if suspect else Health.ALIVE
        return self._health

    def next_verdict_at(self, now: float) -> float:
        """When `health` may change though nothing arrives; infinity if it cannot."""
        if self._health is Health.DEAD:
            return math.inf
        later = [self._due(s) for s in self._unanswered() if self._due(s) > now]
        quiet_at = self._traffic_received_at + 2 * CARRYING_S + _K * self._rttvar
        return min([*later[:1], *([quiet_at] if quiet_at > now and self._overdue_in_a_row else [])], default=math.inf)

    def estimate(self, now: float) -> Estimate:
        """Everything measured, as it stands at `now`."""
        loss, loss_up, samples = self._loss(now)
        return Estimate(
            self._srtt,
            self._rttvar,
            loss,
            loss_up,
            samples,
            self._queue_up_s,
            self._queue_down_s,
            self._up.capacity(),
            self._down.capacity(),
            self._switch_sequence,
        )

    # ---- verdicts

    def _unanswered(self) -> list[_Sent]:
        """The run of probes without an answer since the newest answered one, by age."""
        run: list[_Sent] = []
        for sent in reversed(self._log):
            if sent.sequence <= self._newest_answered:
                break
            run.append(sent)
        return run[::-1]

    def _due(self, sent: _Sent) -> float:
        """When the answer ought to be here."""
        if self._srtt is None:
            return sent.at + 1.0  # RFC 6298 §2.1: before the first measurement
        return sent.at + self._srtt + _K * self._rttvar + sent.explained_s

    def _quiet(self, now: float, for_s: float) -> bool:
        return now - self._traffic_received_at >= for_s + _K * self._rttvar

    def _is_dead(self, now: float) -> bool:
        if self._overdue_in_a_row < LEAST_OVERDUE or self._overdue_in_a_row < self._overdue_needed(now):
            return False
        run = self._unanswered()
        if now - self._due(run[0]) < 2 * CARRYING_S:
            return False
        mute = now - self._due(run[0]) >= MUTE_S
        return mute or self._quiet(now, 2 * CARRYING_S)

    def _overdue_needed(self, now: float) -> int:
        """So many in a row are lost by chance only once in 1 / `FALSE_ALARM`."""
        loss = min(0.9, self._loss(now)[0])
        by_chance = math.ceil(math.log(FALSE_ALARM) / math.log(loss)) if loss > 0 else 0
        return max(LEAST_OVERDUE, min(MOST_OVERDUE, by_chance))

    def _loss(self, now: float) -> tuple[float, float, int]:
        """(both directions, way up, probes) of what was sent before the run of unanswered probes began, the last `LOSS_PROBES`."""
        first = max(1, self._newest_answered - LOSS_PROBES + 1)
        counted = [s for s in self._log if first <= s.sequence <= self._newest_answered and (s.answered or now >= self._due(s))]
        if not counted:
            return 0.0, 0.0, 0
        lost = sum(not s.answered for s in counted) / len(counted)
        sequences = [(s, n) for s, n in self._outcomes if s >= first]
        up = 0.0
        if len(sequences) >= 2:
            (low, low_n), (high, high_n) = min(sequences), max(sequences)
            if high > low and high_n >= low_n:
                up = max(0.0, 1.0 - (high_n - low_n) / (high - low))
        return lost, min(up, lost), len(counted)

    def _measure(self, rtt_s: float) -> None:
        if self._srtt is None:
            self._srtt, self._rttvar = rtt_s, rtt_s / 2  # RFC 6298 §2.2
            return
        self._rttvar += _BETA * (abs(self._srtt - rtt_s) - self._rttvar)  # RFC 6298 §2.3
        self._srtt += _ALPHA * (rtt_s - self._srtt)

    def _usable_bps(self) -> float:
        return max(self._up.capacity().bps, UNKNOWN_CAPACITY_BPS)

    # ---- how often

    def _wanted_interval(self, now: float) -> float:
        if now < self._urgent_until or self._health is Health.SUSPECT:
            return CARRYING_S
        if self._health is Health.UNPROVEN and self._srtt is not None:
            return CARRYING_S * 2
        if self._health is Health.DEAD:
            return DEAD_S
        if self._carrying:
            return CARRYING_S if now - self._traffic_at < IDLE_AFTER_S else IDLE_S
        return STANDBY_S

    def _interval(self, now: float) -> float:
        wanted = self._wanted_interval(now)
        if self._budget is None or self._purse >= ROUND_OCTETS:
            return wanted
        income = self._budget.octets_a_day / 86_400
        return max(wanted, min(SLOWEST_S, (ROUND_OCTETS - self._purse) / income if income > 0 else SLOWEST_S))

    def _hasten(self, now: float) -> None:
        self._save(now)
        last = self._log[-1].at if self._log else -math.inf
        self.next_probe_at = min(self.next_probe_at, max(now, last + self._interval(now)))

    def _save(self, now: float) -> None:
        if self._budget:
            self._purse = min(self._budget.store_octets, self._purse + (now - self._purse_at) * self._budget.octets_a_day / 86_400)
            self._purse_at = now
