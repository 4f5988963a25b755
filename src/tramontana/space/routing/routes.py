"""The answer to "which way": a route hop by hop, or why there is none."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

HopKind = Literal["place", "satellite", "gateway", "point of presence"]


@dataclass(frozen=True, slots=True)
class Hop:
    """One station on the way."""

    kind: HopKind
    id: str
    """Id of the place, gateway or point of presence; name of the satellite."""
    satellite: int | None
    """Index in the fleet; None on the ground."""
    delay_s: float
    """One-way from the hop before: propagation, and processing where a laser ends. 0 for the first."""


@dataclass(frozen=True, slots=True)
class Route:
    """One way through the constellation at one instant."""

    at_unix_s: float
    hops: tuple[Hop, ...]
    access_s: float
    """One-way delay of the radio access, which lies on no single hop."""
    landed_countries: tuple[str, ...]
    """Countries of gateway and point of presence, each once, in order; empty for a route from terminal to terminal."""
    policy_cost_s: float
    """How much longer the shortest route that the policy allows is than the shortest of all; 0 without a policy."""

    @property
    def delay_s(self) -> float:
        """One-way, everything included."""
        return self.access_s + sum(hop.delay_s for hop in self.hops)

    @property
    def satellites(self) -> tuple[int, ...]:
        """Indices of the satellites in order."""
        return tuple(hop.satellite for hop in self.hops if hop.satellite is not None)

    @property
    def lasers(self) -> tuple[tuple[int, int], ...]:
        """Pairs of satellites joined by laser, in order."""
        return tuple(pairwise(self.satellites))

    @property
    def is_bent_pipe(self) -> bool:
        """Up to one satellite and straight down."""
        return len(self.satellites) == 1

    @property
    def gateway_id(self) -> str | None:
        """None for a route from terminal to terminal."""
        return next((hop.id for hop in self.hops if hop.kind == "gateway"), None)

    def __str__(self) -> str:
        way = " → ".join(hop.id for hop in self.hops)
        cost = f", policy costs {self.policy_cost_s * 1e3:.1f} ms" if self.policy_cost_s else ""
        return f"{way}: {self.delay_s * 1e3:.1f} ms one way{cost}"


@dataclass(frozen=True, slots=True)
class NoRoute:
    """There is no way at this instant."""

    at_unix_s: float
    reason: str
    """What stands in the way, for people."""
    unconstrained_delay_s: float | None
    """Delay of the shortest route that the policy forbids; None if there is none either."""

    def __str__(self) -> str:
        return self.reason
