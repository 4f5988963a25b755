"""What is wrong with data from outside, in the words that a person reads."""

from __future__ import annotations

from typing import Final

from pydantic import ValidationError

MOST_COMPLAINTS: Final = 10
"""Whoever sends thousands of faults gets no longer sentence."""


def complaints(error: ValidationError) -> str:
    """Where and what, of each fault; places in lists are counted from 1."""
    found = error.errors(include_url=False, include_input=False)
    said = [_complaint(each["loc"], each["msg"], each["type"]) for each in found[:MOST_COMPLAINTS]]
    return "; ".join([*said, *([f"and {len(found) - MOST_COMPLAINTS} more"] if len(found) > MOST_COMPLAINTS else [])])


def _complaint(where: tuple[int | str, ...], message: str, kind: str) -> str:
    place = ".".join(str(part + 1) if isinstance(part, int) else part for part in where)
    if kind == "extra_forbidden":
        return f"{place} is not known here: delete it or correct its name"
    what = message.removeprefix("Value error, ")
    return f"{place}: {what}" if place else what
