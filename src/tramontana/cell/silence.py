"""Units that must not emit: what carries their name or comes from their telephones is told to nobody, and nothing is sent to them.

A text that is sent to a telephone makes it answer the network, and a position that is passed on is where the unit is. So a server that
knows such a unit listens to it and says nothing: that is all it can do, since a unit that sends of itself emits anyway.
"""

from __future__ import annotations

from dataclasses import dataclass


def _digits(number: str) -> str:
    found = "".join(each for each in number if each.isdigit())
    return found.removeprefix("00")


@dataclass(frozen=True)
class Silence:
    """names: callsigns or uids on a TAK server, in any case of letters. phones: numbers, however they are written."""

    names: frozenset[str] = frozenset()
    phones: frozenset[str] = frozenset()

    @classmethod
    def of(cls, names: frozenset[str], phones: frozenset[str]) -> Silence:
        return cls(frozenset(name.strip().casefold() for name in names), frozenset(_digits(phone) for phone in phones))

    def of_unit(self, callsign: str, uid: str) -> bool:
        """Whether a unit that was heard must not emit."""
        return callsign.strip().casefold() in self.names or uid.strip().casefold() in self.names

    def of_phone(self, number: str) -> bool:
        """Whether a telephone is of such a unit."""
        return _digits(number) in self.phones


NOBODY = Silence()
"""Everybody may emit."""
