"""Precedence of calls, texts, flows and warnings: the five levels of RFC 4412 §10.1 (namespace `dsn`)."""

from enum import IntEnum
from typing import Literal, cast

PrecedenceLabel = Literal["routine", "priority", "immediate", "flash", "flash-override"]


class Precedence(IntEnum):
    """A higher value pre-empts a lower one."""

    ROUTINE = 0
    PRIORITY = 1
    IMMEDIATE = 2
    FLASH = 3
    FLASH_OVERRIDE = 4

    @property
    def label(self) -> PrecedenceLabel:
        """The level as RFC 4412 writes it, for example ``flash-override``."""
        return cast(PrecedenceLabel, self.name.lower().replace("_", "-"))

    @classmethod
    def parse(cls, label: str) -> "Precedence":
        """Read an RFC 4412 `dsn` level. Raises `ValueError` that lists the five levels."""
        for level in cls:
            if level.label == label:
                return level
        raise ValueError(f"unknown precedence {label!r}: use one of {', '.join(level.label for level in cls)}")
