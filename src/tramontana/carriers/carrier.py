"""What can carry traffic: who operates it, under whose law, where it lands, and what it costs."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class CarrierKind(StrEnum):
    LEO = "leo"
    MEO = "meo"
    GEO = "geo"
    FIBRE = "fibre"
    MOBILE = "mobile"
    DIRECT_TO_CELL = "direct-to-cell"


@dataclass(frozen=True, slots=True)
class Price:
    """A published price a month and site. `high` is None where only a starting price was published."""

    low: float
    high: float | None
    currency: str
    source: str


@dataclass(frozen=True, slots=True)
class Carrier:
    """One carrier. Countries are ISO 3166-1 alpha-2.

    `jurisdiction` is the country whose law binds the operator; `landing_countries` are those where its traffic can reach the ground.
    """

    id: str
    name: str
    operator: str
    kind: CarrierKind
    jurisdiction: str
    landing_countries: tuple[str, ...]
    price: Price | None
    """None: not published."""
    source: str
    """Where the facts of this row come from."""
