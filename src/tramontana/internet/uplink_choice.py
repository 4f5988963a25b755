"""Which tunnel carries which flow class: the site's decision, from probes, carrier events, keys, forecasts and policy.

`UplinkChoice.step(now, observations)` is the whole interface. It keeps no clock and does nothing itself: it returns actions, and what it
returns is always consistent with the observations of that step:

- A class never goes over a carrier that the policy refuses, nor over a tunnel without keys. If that leaves none it is
  blocked, with the reason.
- A tunnel that is dead, down, unkeyed or refused is left at once if another one lives.
- Before a predicted outage a class moves to a tunnel for which none is predicted, and returns when it is over (make before break).
- A tunnel that loses much is left for one that loses much less.
- It returns to a preferred carrier only after that was good for `STABLE_S`, and longer the more often it failed.
- A carrier whose terminal says that it is out counts as down, unless probes are answered; one that it doubts, as suspect.
- While its tunnel is suspect, urgent traffic is sent over a second one as well. Where the policy says so it is at all times, over another
  carrier to the same gateway. A copy goes nowhere where the class itself might not.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from tramontana.carriers.carrier import Carrier
from tramontana.errors import LocalError
from tramontana.forecast import EventKind, Forecast
from tramontana.internet.flow_class import FlowClass
from tramontana.internet.overlay import TunnelId
from tramontana.internet.policy import Policy
from tramontana.internet.probe import Health

LEAD_S: Final = 0.5
"""So long before a predicted outage traffic moves. Measured: 0 of 26,998 packets lost over 15 switches."""
LEAD_MARGIN_S: Final = 1.0
"""A tunnel whose outage is predicted within the lead and this much is no refuge from another one."""
SHORTEST_OUTAGE_S: Final = 0.2
"""A shorter predicted outage is sat out: calls carry sound over gaps of 200 ms, and moving twice costs more. Urgent packets go twice."""
BRIEF_MARGIN_S: Final = 0.25
"""So long before and after a short predicted outage: copies take 20 ms to be in place, and instants are predicted to 100 ms or so."""
LEAST_CONFIDENCE: Final = 0.5
STABLE_S: Final = 30.0
"""Good for so long before traffic returns to a preferred carrier: two slots of a Starlink satellite. Doubled with every failure."""
FIRST_STABLE_S: Final = 3.0
"""The same for a tunnel that never failed so far and was never predicted to: at the start, whichever answers first carries meanwhile."""
LONGEST_STABLE_S: Final = 480.0
FORGIVEN_S: Final = 900.0
"""A failure counts towards the doubling for so long."""
LOSSY, MUCH_LESS = 0.10, 0.5
"""Loss at which a tunnel is left, for one with at most this share of its loss. Assumption: ITU-T G.114 has no figure; voice breaks up."""
LOSS_SAMPLES: Final = 40
LOSSY_HOLD_S: Final = 10.0
"""So long a class stays where it is before loss alone moves it again."""
HISTORY: Final = 200


class ObservationError(LocalError):
    """What was observed contradicts itself; the message says how. The choice stays as it was, and the driver must block."""


@dataclass(frozen=True, slots=True)
class PlannedOutage:
    """A span of `now`'s clock in which a tunnel is predicted to be out."""

    start: float
    end: float
    reason: str

    @property
    def is_brief(self) -> bool:
        return self.end - self.start < SHORTEST_OUTAGE_S


@dataclass(frozen=True, slots=True)
class TunnelObservation:
    """A tunnel at the instant of a step."""

    carrier: Carrier
    health: Health
    keyed: bool
    """It has a post-quantum preshared key in force, not outdated."""
    link_up: bool = True
    outage: str | None = None
    """Its carrier's terminal says that it is out, in the operator's words, and no probe says otherwise: as if the link were down."""
    is_doubtful: bool = False
    """Its carrier's terminal says that it barely holds: as if a probe were overdue."""
    loss: float = 0.0
    loss_samples: int = 0
    srtt_s: float | None = None
    used_octets: float = 0.0
    """What the carrier carried this month."""
    planned: tuple[PlannedOutage, ...] = ()
    gateway_rank: int = 0
    """0 is the gateway that the site prefers."""

    @property
    def is_suspect(self) -> bool:
        return self.health is Health.SUSPECT or self.is_doubtful

    @property
    def is_linked(self) -> bool:
        return self.link_up and self.outage is None


@dataclass(frozen=True, slots=True)
class Switch:
    """Route these classes into this tunnel, and tell its gateway."""

    flows: tuple[FlowClass, ...]
    to: TunnelId
    before: TunnelId | None
    reason: str


@dataclass(frozen=True, slots=True)
class Duplicate:
    """Send small packets of these classes over `over` as well; None ends it."""

    flows: tuple[FlowClass, ...]
    over: TunnelId | None


@dataclass(frozen=True, slots=True)
class Blocked:
    """Drop these classes: there is nothing that may carry them."""

    flows: tuple[FlowClass, ...]
    before: TunnelId | None
    reason: str


@dataclass(frozen=True, slots=True)
class Hurry:
    """Probe this tunnel fast for a moment: it may have to take over."""

    tunnel: TunnelId


Action = Switch | Duplicate | Blocked | Hurry


@dataclass(frozen=True, slots=True)
class Changed:
    """An entry of the history."""

    at: float
    flows: tuple[FlowClass, ...]
    before: TunnelId | None
    after: TunnelId | None
    reason: str


@dataclass(slots=True)
class _Record:
    """What is remembered of a tunnel between steps."""

    good_since: float | None = None
    failures: deque[float] = field(default_factory=lambda: deque(maxlen=8))
    was_good: bool = False
    lapsed: bool = False
    """It was good and then was not, for whatever reason."""

    def stable_s(self, now: float) -> float:
        """How long it must be good before traffic comes back to it."""
        while self.failures and self.failures[0] < now - FORGIVEN_S:
            self.failures.popleft()
        if not self.lapsed:
            return FIRST_STABLE_S
        return min(LONGEST_STABLE_S, STABLE_S * (1 << max(0, len(self.failures) - 1)))


class UplinkChoice:
    """The choice of one site. Starts with everything blocked."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.assigned: dict[FlowClass, TunnelId | None] = dict.fromkeys(FlowClass)
        self.blocked: dict[FlowClass, str] = dict.fromkeys(FlowClass, "the site has only just started")
        self.duplicated: dict[FlowClass, TunnelId | None] = dict.fromkeys(FlowClass)
        self.uncopied: dict[FlowClass, str] = {}
        """Classes that the policy wants to go over two carriers at all times and that go over one, with the reason."""
        self.history: deque[Changed] = deque(maxlen=HISTORY)
        self._records: dict[TunnelId, _Record] = {}
        self._moved_at = dict.fromkeys(FlowClass, -math.inf)
        self._rules = {flow: policy.rules.index(policy.rule(flow)) for flow in FlowClass}
        self._verdicts: dict[tuple[FlowClass, int], tuple[Carrier, bool]] = {}
        """By class and identity of the carrier, with the carrier itself; not for capped ones."""
        self._adopted: dict[TunnelId, float] = {}
        self._now = -math.inf

    def adopt(self, assigned: Mapping[FlowClass, TunnelId], until: float) -> None:
        """Go on where an agent before this one left off: tunnels count as alive for what they carry until they are proven, or `until`."""
        for flow, tunnel in assigned.items():
            self.assigned[flow] = tunnel
            self.blocked.pop(flow, None)
        self._adopted = dict.fromkeys(assigned.values(), until)

    def step(self, now: float, observations: Mapping[TunnelId, TunnelObservation]) -> list[Action]:
        """Decide anew. `now` never goes back; tunnels that are not observed do not exist. Raises `ObservationError`."""
        self._check(now, observations)
        self._now = now
        self._remember(now, observations)
        switches: dict[tuple[TunnelId | None, TunnelId | None, str], list[FlowClass]] = {}
        duplicates: dict[TunnelId | None, list[FlowClass]] = {}
        hurried: set[TunnelId] = set()
        made: dict[tuple[object, ...], tuple[TunnelId | None, str, TunnelId | None, TunnelId | None]] = {}
        for flow in FlowClass:
            before = self.assigned[flow]
            may = tuple(tunnel for tunnel, o in observations.items() if self._may(flow, o))
            alike = (self._rules[flow], may, before, now - self._moved_at[flow] >= LOSSY_HOLD_S)
            if alike not in made:
                allowed = {tunnel: observations[tunnel] for tunnel in may}
                after, reason = self._choose(flow, before, now, observations, allowed)
                made[alike] = (after, reason, self._second(after, now, allowed), self._standing(flow, after, now, allowed))
            after, reason, second, standing = made[alike]
            if after != before or (after is None and self.blocked.get(flow) != reason):
                switches.setdefault((before, after, reason), []).append(flow)
            if after != before:
                self._moved_at[flow] = now
            self.assigned[flow] = after
            if after is None:
                self.blocked[flow] = reason
            else:
                self.blocked.pop(flow, None)
            if second is not None and after is not None and observations[after].is_suspect:
                hurried.add(second)
            wanted = (standing or second) if flow.is_urgent else None
            if after is not None and wanted is None and self._is_always_copied(flow):
                self.uncopied[flow] = self._why_single(flow, after, observations)
            else:
                self.uncopied.pop(flow, None)
            if wanted != self.duplicated[flow]:
                duplicates.setdefault(wanted, []).append(flow)
                self.duplicated[flow] = wanted
        actions: list[Action] = []
        for (before, after, reason), flows in switches.items():
            self.history.append(Changed(now, tuple(flows), before, after, reason))
            actions.append(Blocked(tuple(flows), before, reason) if after is None else Switch(tuple(flows), after, before, reason))
        actions += [Duplicate(tuple(flows), over) for over, flows in duplicates.items()]
        return actions + [Hurry(tunnel) for tunnel in sorted(hurried)]

    def next_change_at(self, now: float, observations: Mapping[TunnelId, TunnelObservation]) -> float:
        """When `step` may decide otherwise though nothing else happens: a planned outage nears or ends, a tunnel has become stable."""
        plans = [plan for o in observations.values() for plan in o.planned]
        instants = [t for plan in plans if not plan.is_brief for t in (plan.start - LEAD_S, plan.end)]
        instants += [t for plan in plans if plan.is_brief for t in (plan.start - BRIEF_MARGIN_S, plan.end + BRIEF_MARGIN_S)]
        records = [self._records[tunnel] for tunnel in observations if tunnel in self._records]
        instants += [until for tunnel, until in self._adopted.items() if tunnel in observations]
        instants += [r.good_since + r.stable_s(now) for r in records if r.good_since is not None]
        return min((t for t in instants if t > now), default=math.inf)

    # ---- one class

    def _choose(
        self,
        flow: FlowClass,
        current: TunnelId | None,
        now: float,
        seen: Mapping[TunnelId, TunnelObservation],
        allowed: Mapping[TunnelId, TunnelObservation],
    ) -> tuple[TunnelId | None, str]:
        living = {tunnel: o for tunnel, o in allowed.items() if self._lives(o) or (tunnel == current and self._is_adopted(tunnel, o, now))}
        if not living:
            return None, self._why_none(flow, seen, allowed)
        ranked = sorted(living, key=lambda tunnel: self._order(tunnel, living[tunnel], now, tunnel == current))
        best = ranked[0]
        if current not in living:
            if current is None:
                return best, "first choice that lives and is allowed"
            return best, f"{self._name(current, seen)} {self._what_ails(flow, seen.get(current))}"
        here = living[current]
        if best == current:
            return current, ""
        there = living[best]
        plan = _soon(here, now)
        if plan is not None and _soon(there, now, LEAD_MARGIN_S) is None:
            return best, f"{plan.reason} of {here.carrier.name} predicted"
        rested = now - self._moved_at[flow] >= LOSSY_HOLD_S
        if rested and self._is_lossy(here) and not self._is_lossy(there) and there.loss <= MUCH_LESS * here.loss:
            return best, f"{here.carrier.name} loses {here.loss:.0%}"
        for candidate in ranked[: ranked.index(current)]:
            if self._rank(candidate, living[candidate]) < self._rank(current, here) and self._is_stable(candidate, living[candidate], now):
                return candidate, f"{living[candidate].carrier.name} is preferred and has been good again for a while"
        return current, ""

    def _second(self, current: TunnelId | None, now: float, allowed: Mapping[TunnelId, TunnelObservation]) -> TunnelId | None:
        """Where to turn if the suspect tunnel of a class is dead indeed, and what carries on meanwhile while it changes satellites."""
        if current is None or not (allowed[current].is_suspect or _is_brief_gap(allowed[current], now)):
            return None
        others = [tunnel for tunnel, o in allowed.items() if tunnel != current and self._lives(o)]
        return min(others, key=lambda tunnel: self._order(tunnel, allowed[tunnel], now, False), default=None)

    def _is_always_copied(self, flow: FlowClass) -> bool:
        return flow.is_urgent and self.policy.rules[self._rules[flow]].copies == "always"

    def _standing(
        self, flow: FlowClass, current: TunnelId | None, now: float, allowed: Mapping[TunnelId, TunnelObservation]
    ) -> TunnelId | None:
        """The second best carrier of a class that goes over two at all times.

        To the same gateway: from another one the copies would come under another address. Never over a cap, not even by levels that may go
        on there: that is for what has no other way.
        """
        if current is None or self.policy.rules[self._rules[flow]].copies != "always":
            return None
        others = [
            tunnel
            for tunnel, o in allowed.items()
            if _is_second(tunnel, o, current, allowed[current]) and self._lives(o) and self.policy.spent(o.carrier, o.used_octets) is None
        ]
        return min(others, key=lambda tunnel: self._order(tunnel, allowed[tunnel], now, False), default=None)

    def _may(self, flow: FlowClass, o: TunnelObservation) -> bool:
        known = self._verdicts.get((flow, id(o.carrier)))
        if known is None or known[0] is not o.carrier or o.carrier.id in self.policy.caps:
            known = self._verdicts[flow, id(o.carrier)] = (o.carrier, self.policy.evaluate(flow, o.carrier, o.used_octets).allowed)
        return o.keyed and known[1]

    def _lives(self, o: TunnelObservation) -> bool:
        return o.is_linked and o.health in (Health.ALIVE, Health.SUSPECT)

    def _is_adopted(self, tunnel: TunnelId, o: TunnelObservation, now: float) -> bool:
        return o.is_linked and o.health is Health.UNPROVEN and now < self._adopted.get(tunnel, -math.inf)

    def _is_lossy(self, o: TunnelObservation) -> bool:
        return o.loss >= LOSSY and o.loss_samples >= LOSS_SAMPLES

    def _rank(self, tunnel: TunnelId, o: TunnelObservation) -> tuple[int, int, int]:
        """What the site prefers when all is well: the gateway, then the carrier, then the uplink's number."""
        return o.gateway_rank, self.policy.preference(o.carrier), tunnel.uplink

    def _order(self, tunnel: TunnelId, o: TunnelObservation, now: float, is_current: bool) -> tuple[object, ...]:
        margin = 0.0 if is_current else LEAD_MARGIN_S
        suspect = o.is_suspect and not is_current
        return suspect, _soon(o, now, margin) is not None, self._is_lossy(o), *self._rank(tunnel, o), tunnel

    def _is_stable(self, tunnel: TunnelId, o: TunnelObservation, now: float) -> bool:
        record = self._records[tunnel]
        return record.good_since is not None and now - record.good_since >= record.stable_s(now) and _soon(o, now, LEAD_MARGIN_S) is None

    # ---- memory, words, checks

    def _remember(self, now: float, seen: Mapping[TunnelId, TunnelObservation]) -> None:
        for tunnel in set(self._records) - set(seen):
            record = self._records[tunnel]
            record.lapsed |= record.was_good
            record.good_since, record.was_good = None, False
        for tunnel, o in seen.items():
            record = self._records.setdefault(tunnel, _Record())
            good = self._lives(o) and o.keyed and not self._is_lossy(o) and _soon(o, now) is None
            if good and record.good_since is None:
                record.good_since = now
            if not good:
                record.lapsed |= record.was_good
                if record.was_good and not any(p.start - LEAD_S <= now < p.end + LEAD_S for p in o.planned):
                    record.failures.append(now)
                record.good_since = None
            record.was_good = good

    def _why_none(self, flow: FlowClass, seen: Mapping[TunnelId, TunnelObservation], allowed: Mapping[TunnelId, TunnelObservation]) -> str:
        if not seen:
            return "there is no tunnel"
        if allowed:
            return "no carrier lives that the policy allows: " + "; ".join(
                dict.fromkeys(f"{o.carrier.name} {self._what_ails(flow, o)}" for o in allowed.values())
            )
        return "; ".join(dict.fromkeys(f"{o.carrier.name} {self._what_ails(flow, o)}" for o in seen.values()))

    def _why_single(self, flow: FlowClass, current: TunnelId, seen: Mapping[TunnelId, TunnelObservation]) -> str:
        others = [o for tunnel, o in seen.items() if _is_second(tunnel, o, current, seen[current])]
        if not others:
            return "there is no second carrier"
        return "; ".join(dict.fromkeys(self._why_no_copies(flow, o) for o in others))

    def _why_no_copies(self, flow: FlowClass, o: TunnelObservation) -> str:
        spent = self.policy.spent(o.carrier, o.used_octets)
        if spent is not None and self._may(flow, o) and self._lives(o):
            return f"{o.carrier.name} takes no copies: {spent}"
        return f"{o.carrier.name} {self._what_ails(flow, o)}"

    def _what_ails(self, flow: FlowClass, o: TunnelObservation | None) -> str:
        if o is None:
            return "is gone"
        verdict = self.policy.evaluate(flow, o.carrier, o.used_octets)
        if not verdict.allowed:
            return str(verdict)
        if not o.keyed:
            return "has no post-quantum key in force"
        if not o.link_up:
            return "has no link"
        if o.outage is not None:
            return f"is out, says its terminal ({o.outage})"
        return {Health.DEAD: "is dead", Health.UNPROVEN: "has not answered yet"}.get(o.health, "lives")

    def _name(self, tunnel: TunnelId, seen: Mapping[TunnelId, TunnelObservation]) -> str:
        return seen[tunnel].carrier.name if tunnel in seen else f"uplink {tunnel.uplink}"

    def _check(self, now: float, seen: Mapping[TunnelId, TunnelObservation]) -> None:
        if not math.isfinite(now) or now < self._now:
            raise ObservationError(f"the clock went from {self._now} to {now}: use one that never goes back")
        for tunnel, o in seen.items():
            if not 1 <= tunnel.uplink <= 255:
                raise ObservationError(f"uplink {tunnel.uplink}: number uplinks from 1 to 255")
            if not 0 <= o.loss <= 1:
                raise ObservationError(f"loss {o.loss} of uplink {tunnel.uplink} is no share")
        if len({tunnel.site for tunnel in seen}) > 1:
            raise ObservationError("tunnels of several sites were observed: one choice serves one site")


def _soon(o: TunnelObservation, now: float, margin_s: float = 0.0) -> PlannedOutage | None:
    """The planned outage that is under way or begins within the lead, and is worth moving for."""
    return next((plan for plan in o.planned if not plan.is_brief and plan.start - LEAD_S - margin_s <= now < plan.end), None)


def _is_second(tunnel: TunnelId, o: TunnelObservation, current: TunnelId, here: TunnelObservation) -> bool:
    """Another carrier to the same gateway."""
    return tunnel.gateway == current.gateway and tunnel.uplink != current.uplink and o.carrier.id != here.carrier.id


def _is_brief_gap(o: TunnelObservation, now: float) -> bool:
    """A short outage is predicted for now, more or less."""
    return any(plan.is_brief and plan.start - BRIEF_MARGIN_S <= now < plan.end + BRIEF_MARGIN_S for plan in o.planned)


def outages_of_forecast(forecast: Forecast, to_clock_s: float) -> tuple[PlannedOutage, ...]:
    """Events of a forecast that are likely and put the path out. to_clock_s: what turns POSIX seconds into `now`'s clock."""
    kinds = set(EventKind) - {EventKind.OLD_ELEMENTS}
    return tuple(
        PlannedOutage(
            start=event.at_unix_s + to_clock_s,
            end=max(event.until_unix_s, event.at_unix_s + event.outage_s) + to_clock_s,
            reason=event.kind.value,
        )
        for event in forecast.events
        if event.kind in kinds and event.outage_s > 0 and event.confidence >= LEAST_CONFIDENCE
    )
