"""The ladder of ways in which a tunnel's packets reach its gateway, for networks that block some of them.

WireGuard knows nothing of it: rungs are changed below it (`linux/site_ladder.py`), so a session goes on over a change. Which rung works is
found out beside the tunnel, by scouts: small questions that the gateway answers on each rung. So a tunnel moves only to a rung that has
just answered, and looking for a better one costs traffic nothing. What scouts cannot know, whether WireGuard itself comes through, the
tunnel's probes prove after the move.

    works --dead--> asks all rungs --one answers--> moved --a probe comes back--> works
    works, not on the best --from time to time--> asks better rungs --two answers--> moved --no probe comes back--> back where it was
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

ROUND_S: Final = 2.0
"""So long answers are waited for: more than the round trip over two geostationary hops."""
RESEND_S: Final = 0.4
PROOF_S: Final = 12.0
"""So long a dead tunnel may need to prove a rung: WireGuard repeats a handshake every 5 s (REKEY_TIMEOUT)."""
PROOF_UP_S: Final = 2.5
"""So long a living one may: its session goes on, so the next probe has to come back."""
UP_FIRST_S: Final = 60.0
UP_MOST_S: Final = 1800.0
"""A better rung is looked for after a minute, then ever more rarely."""
DOWN_FIRST_S: Final = 1.0
DOWN_MOST_S: Final = 30.0
"""Waits between rounds while nothing answers: the gateway may be dead, or the carrier."""
FAILED_FIRST_S: Final = 600.0
FAILED_MOST_S: Final = 14_400.0
"""A rung on which scouts come through and WireGuard does not is left alone for so long."""
ANSWERS_TO_RISE: Final = 2


class Rung(IntEnum):
    """The best first: nothing around WireGuard, a port that every network knows, a stream that every network lets through."""

    UDP = 0
    UDP_443 = 1
    TLS_443 = 2

    @property
    def label(self) -> str:
        return ("udp", "udp/443", "tls/443")[self]


@dataclass(frozen=True, slots=True)
class Scout:
    """Ask the gateway on each of these rungs whether it is there."""

    rungs: tuple[Rung, ...]


@dataclass(frozen=True, slots=True)
class Move:
    """The tunnel's packets go by this rung from now on."""

    rung: Rung
    reason: str


@dataclass(frozen=True, slots=True)
class Remember:
    """In this network the tunnel works by this rung."""

    rung: Rung


Action = Scout | Move | Remember


@dataclass(slots=True)
class _Round:
    rungs: tuple[Rung, ...]
    began: float
    next_scout_at: float
    answers: Counter[Rung] = field(default_factory=Counter)


class Ladder:
    """Of one tunnel. `observe` is to be called a few times a second; it is the timer as well."""

    def __init__(self, now: float, remembered: Rung | None = None) -> None:
        self.handle_network(remembered, now)

    def handle_network(self, remembered: Rung | None, now: float) -> None:
        """The uplink is in another network; what was learned of the last one does not count. All rungs are asked at once."""
        self.rung = Rung.UDP if remembered is None else remembered
        self._since = now
        """When the tunnel came to its rung."""
        self.is_proven = False
        """A probe came back by it."""
        self._rose_from: Rung | None = None
        """The rung that worked, while a better one is not proven."""
        self._is_new = True
        """Nothing was decided in this network yet."""
        self._round: _Round | None = _Round(tuple(Rung), now, now)
        self._dead_since: float | None = None
        self._next_down_at = now
        self._down_wait_s = DOWN_FIRST_S
        self._next_up_at = now + UP_FIRST_S
        self._up_wait_s = UP_FIRST_S
        self._failed_until: dict[Rung, float] = {}
        self._failed_wait_s: dict[Rung, float] = {}

    @property
    def scouted(self) -> tuple[Rung, ...]:
        """The rungs that are being asked."""
        return () if self._round is None else self._round.rungs

    def handle_answer(self, rung: Rung) -> None:
        """A scout came back."""
        if self._round is not None:
            self._round.answers[rung] += 1

    def observe(self, *, keyed: bool, dead: bool, answered_at: float | None, now: float) -> list[Action]:
        """What the probes in the tunnel say, and what is to be done now. answered_at: when the newest probe that was answered was sent."""
        dead = dead and keyed
        self._dead_since = None if not dead else now if self._dead_since is None else self._dead_since
        actions = self._prove(keyed, answered_at, now)
        if self._round is None:
            self._begin(dead, now)
        if self._round is not None:
            if now >= self._round.began + ROUND_S:
                actions += self._decide(self._round, dead, now)
            elif now >= self._round.next_scout_at:
                self._round.next_scout_at = now + RESEND_S
                actions.append(Scout(self._round.rungs))
        return actions

    def _prove(self, keyed: bool, answered_at: float | None, now: float) -> list[Action]:
        if self.is_proven:
            return []
        if answered_at is not None and answered_at > self._since:
            self.is_proven, self._is_new, self._rose_from = True, False, None
            self._down_wait_s, self._up_wait_s = DOWN_FIRST_S, UP_FIRST_S
            self._next_up_at = now + self._up_wait_s
            self._failed_wait_s.pop(self.rung, None)
            return [Remember(self.rung)]
        if not keyed:
            self._since = max(self._since, now)  # nothing can be proven yet
        elif now >= self._since + (PROOF_S if self._rose_from is None else PROOF_UP_S) and not self._is_new:
            back, self._rose_from = self._rose_from, None
            self._exclude(self.rung, now)
            if back is not None:
                return [self._move(back, "no probe came back by the better way", now)]
            self._is_new = True  # so that it may be left
            self._next_down_at = now
        return []

    def _begin(self, dead: bool, now: float) -> None:
        """A round, where one is due."""
        waits_for_proof = not self.is_proven and not self._is_new
        if waits_for_proof:
            return
        if dead and now >= self._next_down_at:
            self._round = _Round(tuple(Rung), now, now)
        elif not dead and self.is_proven and self.rung is not Rung.UDP and now >= self._next_up_at:
            better = tuple(rung for rung in Rung if rung < self.rung and not self._is_excluded(rung, now))
            self._next_up_at = now + self._up_wait_s
            if better:
                self._round = _Round(better, now, now)

    def _decide(self, asked: _Round, dead: bool, now: float) -> list[Action]:
        self._round = None
        answered = [rung for rung in asked.rungs if asked.answers[rung]]
        if dead and self.rung in answered and self._dead_since is not None and now >= self._dead_since + PROOF_S:
            self._exclude(self.rung, now)  # scouts come through, WireGuard does not
        if self.is_proven and not dead:
            return self._decide_to_rise(asked, now)
        usable = [rung for rung in answered if not self._is_excluded(rung, now)]
        if usable and min(usable) != self.rung:
            reason = "a better way answers" if self.rung in usable else "the way before does not work"
            return [self._move(min(usable), reason, now)]
        self._next_down_at = now + self._down_wait_s
        self._down_wait_s = DOWN_FIRST_S if answered else min(DOWN_MOST_S, 2 * self._down_wait_s)
        if answered and not usable:
            self._failed_until.clear()  # each has failed once: begin anew rather than stand still
        return []

    def _decide_to_rise(self, asked: _Round, now: float) -> list[Action]:
        better = [r for r in asked.rungs if r < self.rung and asked.answers[r] >= ANSWERS_TO_RISE and not self._is_excluded(r, now)]
        if better:
            before = self.rung
            move = self._move(min(better), "a better way answers", now)
            self._rose_from = before
            return [move]
        self._up_wait_s = min(UP_MOST_S, 2 * self._up_wait_s)
        self._next_up_at = now + self._up_wait_s
        return []

    def _move(self, rung: Rung, reason: str, now: float) -> Move:
        self.rung, self._since, self.is_proven, self._is_new = rung, now, False, False
        return Move(rung, reason)

    def _exclude(self, rung: Rung, now: float) -> None:
        wait = self._failed_wait_s.get(rung, FAILED_FIRST_S)
        self._failed_until[rung] = now + wait
        self._failed_wait_s[rung] = min(FAILED_MOST_S, 2 * wait)

    def _is_excluded(self, rung: Rung, now: float) -> bool:
        return now < self._failed_until.get(rung, -math.inf)


class Networks:
    """What works in which network with which gateway: the rung, and how long a packet may be. The networks used last are kept.

    What identifies a network, the driver says.
    """

    MOST: Final = 64

    def __init__(self, kept: Sequence[tuple[str, str, Rung, int | None]] = ()) -> None:
        """kept: (network, gateway, rung, octets of an IP packet), oldest first."""
        self._known = {(network, gateway): (rung, length) for network, gateway, rung, length in kept}

    @property
    def kept(self) -> list[tuple[str, str, Rung, int | None]]:
        """As it was given, and has changed since."""
        return [(network, gateway, rung, length) for (network, gateway), (rung, length) in self._known.items()]

    def remembered(self, network: str, gateway: str) -> Rung | None:
        """Of this gateway; of another one where nothing is known of this."""
        known = self._known.get((network, gateway))
        if known is not None:
            return known[0]
        return next((rung for (at, _), (rung, _) in reversed(self._known.items()) if at == network), None)

    def length(self, network: str, gateway: str) -> int | None:
        """Octets of the longest IP packet."""
        return self._known.get((network, gateway), (Rung.UDP, None))[1]

    def remember(self, network: str, gateway: str, rung: Rung, length: int | None = None) -> bool:
        """Whether that is news. length None: as it was."""
        before = self._known.pop((network, gateway), None)
        now = (rung, length if length is not None or before is None else before[1])
        self._known[network, gateway] = now
        while len(self._known) > self.MOST:
            del self._known[next(iter(self._known))]
        return before != now
