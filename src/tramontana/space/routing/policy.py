"""What a user allows: where traffic may land and whose law the operator may be under."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tramontana.errors import LocalError
from tramontana.space.ground import Gateway, PointOfPresence

_COUNTRY = re.compile(r"[A-Z]{2}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Policy:
    """Countries are ISO 3166-1 alpha-2. None allows all; the empty set allows none.

    A route lands where its gateway and its point of presence stand. Not judged are the countries that a satellite passes over, those that
    the fibre between gateway and point of presence crosses, and those of the two ends, which the user has chosen.
    """

    landing_countries: frozenset[str] | None = None
    """Gateway and point of presence must stand in one of these."""
    avoided_countries: frozenset[str] = frozenset()
    """Neither may stand in one of these."""
    jurisdictions: frozenset[str] | None = None
    """The operators of satellites and of the gateway must be bound by the law of these."""

    def __post_init__(self) -> None:
        for country in (self.landing_countries or frozenset()) | self.avoided_countries | (self.jurisdictions or frozenset()):
            if not _COUNTRY.fullmatch(country):
                raise LocalError(f"{country!r} is no country code: use two capital letters of ISO 3166-1, for example IT")

    def allows_country(self, country: str) -> bool:
        """Whether traffic may land there; at a site of unknown country only if every country is allowed."""
        if not country:
            return self.landing_countries is None and not self.avoided_countries
        return country not in self.avoided_countries and (self.landing_countries is None or country in self.landing_countries)

    def allows_jurisdiction(self, country: str) -> bool:
        """Whether an operator may be bound by the law of this country."""
        return self.jurisdictions is None or country in self.jurisdictions

    def allows_gateway(self, gateway: Gateway, jurisdiction: str) -> bool:
        """jurisdiction: country whose law binds the gateway's operator."""
        return self.allows_country(gateway.country) and self.allows_jurisdiction(jurisdiction)

    def allows_point_of_presence(self, point: PointOfPresence) -> bool:
        return self.allows_country(point.country)


ANYTHING = Policy()
