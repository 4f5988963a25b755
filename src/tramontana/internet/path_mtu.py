"""How long a datagram may be on the way to a gateway: found by scouts of many lengths that are never fragmented, and their echoes.

A lost scout is not one that was too long: a length counts as too long only when short scouts came back in the same rounds and it did not,
so often that chance does so once in a thousand at the loss that was seen. What was found is looked at again from time to time: a
path that has become narrower is a black hole for full packets while everything small still comes through.
"""

from __future__ import annotations

import math
from typing import Final

from tramontana.internet.knock import LENGTH as LEAST_SCOUT

ETHERNET: Final = 1500
LEAST_INNER: Final = 1280
"""RFC 8200 §5: what IPv6 needs in a tunnel; so long a tunnel's packets may be at any rate."""
WIREGUARD_OCTETS: Final = 32
"""Header and tag of a transport message."""
UDP_OCTETS: Final = 8
IP_OCTETS: Final = {4: 20, 6: 40}
ROUND_S: Final = 1.5
"""So long an echo is waited for."""
CHANCE: Final = 1e-3
LEAST_TRIES: Final = 3
MOST_TRIES: Final = 24
GRAIN: Final = 8
"""Octets to which the search is driven."""
CHECK_S: Final = 30.0
"""How often a length that was found is tried again."""
SEARCH_AGAIN_S: Final = 600.0
"""How often a longer one is looked for: RFC 8899 §5.1.1 (PMTU_RAISE_TIMER)."""
IDLE_S: Final = 5.0
"""Between rounds in which nothing comes back, not even what is short."""
PADDED_TO: Final = 16
"""WireGuard pads what it encrypts to a multiple of so many octets, at most to the MTU (its white paper, §5.4.6)."""


def inner_mtu(outer: int, version: int) -> int:
    """Of the tunnel's interface, for an underlay packet of at most `outer` octets; version: of the underlay's IP.

    wireguard-go does not learn that the MTU of an interface in another namespace has changed, and pads beyond it: so on a narrow
    path the MTU is a multiple of what is padded to.
    """
    room = outer - IP_OCTETS[version] - UDP_OCTETS - WIREGUARD_OCTETS
    return max(LEAST_INNER, room if outer >= ETHERNET else room - room % PADDED_TO)


class PathMtu:
    """Of one tunnel's way. Lengths are those of IP packets in the underlay.

    The driver sends scouts of the lengths that `due` names, hands in every echo, and sets what `outer` says when it changes.
    """

    def __init__(self, version: int, now: float, *, most: int = ETHERNET, known: int | None = None) -> None:
        """most: what the uplink's interface takes. known: found before in this network; it is believed until it is disproved."""
        self._overhead = IP_OCTETS[version] + UDP_OCTETS
        self._least = LEAST_INNER + self._overhead + WIREGUARD_OCTETS
        self._most = max(most, self._least)
        self.outer = self._clamped(known) if known is not None else self._most
        """What is believed."""
        self.is_proven = False
        self._low, self._high = self._least, self._most
        """Searched between: `_low` is taken for granted, longer than `_high` does not pass."""
        self._tried = self.outer
        self._is_search = False
        self._begun = now
        self._next_at = now
        self._awaited = False
        self._short_came = self._long_came = False
        self._missed = 0
        """Rounds in a row in which the short scout came and the long did not."""
        self._rounds = self._short_lost = 0
        self._search_again_at = now + SEARCH_AGAIN_S

    def _clamped(self, outer: int) -> int:
        return max(self._least, min(self._most, outer))

    def due(self, now: float) -> list[int]:
        """Lengths of UDP payloads to send now as scouts; empty where nothing is due."""
        if now < self._next_at:
            return []
        if self._awaited:
            self._judge(now)
            if now < self._next_at:
                return []
        self._awaited, self._short_came, self._long_came = True, False, False
        self._next_at = now + ROUND_S
        return [LEAST_SCOUT, self._tried - self._overhead]

    def handle_echo(self, payload_octets: int) -> None:
        """A scout came back."""
        if payload_octets == LEAST_SCOUT:
            self._short_came = True
        elif payload_octets == self._tried - self._overhead:
            self._long_came = True

    def _judge(self, now: float) -> None:
        """The round is over."""
        self._awaited = False
        self._rounds += 1
        self._short_lost += not self._short_came
        if self._long_came:
            self._passes(now)
        elif self._short_came:
            self._missed += 1
            if self._missed >= self._tries():
                self._fails(now)
        else:
            self._next_at = now + (IDLE_S if self._missed == 0 else 0.0)
        if self._rounds >= 64:
            self._rounds, self._short_lost = self._rounds // 2, self._short_lost // 2

    def _tries(self) -> int:
        """So many misses in a row are chance only once in 1 / `CHANCE`, at the loss of short scouts (Laplace's rule)."""
        loss = (self._short_lost + 1) / (self._rounds + 2)
        return max(LEAST_TRIES, min(MOST_TRIES, math.ceil(math.log(CHANCE) / math.log(loss))))

    def _passes(self, now: float) -> None:
        self._missed = 0
        self._low = max(self._low, self._tried)
        if self._tried >= self.outer:
            self.outer, self.is_proven = self._tried, True
        self._aim(now)

    def _fails(self, now: float) -> None:
        self._missed = 0
        if self._tried <= self._low:  # what was found passes no more
            self._low = self._least
        self._high = min(self._high, self._tried - 1)
        self.outer = self._clamped(min(self.outer, self._low))
        self.is_proven = self.outer == self._least
        self._is_search = True
        self._aim(now)

    def _aim(self, now: float) -> None:
        """What to try next."""
        if self._is_search and self._high - self._low >= GRAIN:
            self._tried = (self._low + self._high + 1) // 2
            return
        self._is_search = False
        self._tried = self.outer
        self._next_at = now + CHECK_S
        if self.outer < self._most and now >= self._search_again_at:
            self._is_search, self._high, self._low = True, self._most, self.outer
            self._tried = self._most
            self._next_at = now
        if now >= self._search_again_at:
            self._search_again_at = now + SEARCH_AGAIN_S
