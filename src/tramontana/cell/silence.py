"""Units that must not emit: what carries their name or comes from their telephones is told to nobody, and nothing is sent to them.

A text that is sent to a telephone makes it answer the network, and a position that is passed on is where the unit is. So a server that
knows such a unit listens to it and says nothing: that is all it can do, since a unit that sends of itself emits anyway.
"""

from __future__ import annotations

from dataclasses import dataclass

MOST_COUNTRY_DIGITS = 3
"""Of a country's code (ITU-T E.164 §6.2)."""
LEAST_NATIONAL_DIGITS = 7
"""Shorter ones, as those of services, are compared whole."""


def _without_country(digits: str) -> frozenset[str]:
    """What the number may be within its country."""
    return frozenset(digits[cut:] for cut in range(1, MOST_COUNTRY_DIGITS + 1) if len(digits) - cut >= LEAST_NATIONAL_DIGITS)


def _digits(number: str) -> str:
    found = "".join(each for each in number if each.isdigit())
    return found.removeprefix("00")


@dataclass(frozen=True)
class Silence:
    """names: callsigns or uids on a TAK server, in any case of letters. phones: numbers, however they are written; with or without the
    country, as one network tells them and another does not.
    """

    names: frozenset[str] = frozenset()
    phones: frozenset[str] = frozenset()
    national: frozenset[str] = frozenset()
    """The same without what may be their country."""

    @classmethod
    def of(cls, names: frozenset[str], phones: frozenset[str]) -> Silence:
        whole = frozenset(_digits(phone) for phone in phones)
        return cls(frozenset(name.strip().casefold() for name in names), whole, frozenset().union(*map(_without_country, whole)))

    def of_unit(self, callsign: str, uid: str) -> bool:
        """Whether a unit that was heard must not emit."""
        return callsign.strip().casefold() in self.names or uid.strip().casefold() in self.names

    def of_phone(self, number: str) -> bool:
        """Whether a telephone is of such a unit."""
        digits = _digits(number)
        return digits in self.phones or digits in self.national or not self.phones.isdisjoint(_without_country(digits))


NOBODY = Silence()
"""Everybody may emit."""
