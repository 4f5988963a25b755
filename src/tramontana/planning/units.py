"""Units of planning: those of physics, and money, satellites, launches, users.

A year is 365.25 days. Money of different currencies has different dimensions: it is changed by a rate, which is a figure with a source.
"""

from __future__ import annotations

from functools import cache
from typing import Final

import pint

from tramontana.errors import LocalError

COUNTED: Final = ("satellite", "launch", "gateway", "terminal", "user", "person", "site")
CURRENCIES: Final = ("EUR", "USD", "GBP")


class UnitError(LocalError):
    """A unit is not known, or a formula would add what cannot be added. The message says which."""


@cache
def registry() -> pint.UnitRegistry[float]:
    known: pint.UnitRegistry[float] = pint.UnitRegistry(cache_folder=None)
    for word in (*COUNTED, *CURRENCIES):
        known.define(f"{word} = [{word}]")
    return known


@cache
def unit(words: str) -> pint.Unit:
    """`"EUR/satellite"`, `"Mbit/s"`, `"1/year"`; `""` and `"1"` are plain numbers. Raises `UnitError`."""
    try:
        return registry().Unit("" if words.strip() == "1" else words)
    except Exception as error:  # pint raises its own, those of tokenize and ValueError, as it comes upon them
        raise UnitError(f'"{words}" is not a unit: {error}') from error


def factor(given: pint.Unit, wanted: pint.Unit) -> float:
    """How many of `wanted` are in one of `given`. Raises `UnitError` where they measure different things."""
    try:
        return float(registry().Quantity(1.0, given).to(wanted).magnitude)
    except pint.DimensionalityError as error:
        raise UnitError(f"{shown(given)} is not {shown(wanted)}: they measure different things") from error


def shown(of: pint.Unit) -> str:
    """For people: `EUR/user/year`, `Mbit/s`, `EUR/(Mbit/s)/year`."""
    words = f"{of:~C}".replace("**", "^").replace("*", "·") or "1"
    joined = "/".join("year" if part == "a" else part for part in words.split("/"))
    return joined.replace("·s/Mbit", "/(Mbit/s)")


def counted(words: str, count: float) -> str:
    """A unit beside a number, for people: `5 years`, `1 satellite`; what is no plain noun stays as it is."""
    if count == 1 or words not in (*COUNTED, "year"):
        return words
    return {"person": "people", "launch": "launches"}.get(words, f"{words}s")


def currency_of(of: pint.Unit) -> str | None:
    """The currency in which a unit counts; None for none. Raises `UnitError` for two, and for money below the line."""
    found = {name: power for name in CURRENCIES if (power := of.dimensionality.get(f"[{name}]", 0))}
    if not found or (len(found) == 2 and sum(found.values()) == 0):  # a rate of exchange is not money
        return None
    if len(found) > 1 or set(found.values()) != {1}:
        raise UnitError(f"{shown(of)} is not an amount of money by something")
    return next(iter(found))
