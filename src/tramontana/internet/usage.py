"""What each carrier carried this month, out of counters that begin anew with the machine or the interface. For data caps (policy.py)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from tramontana.errors import LocalError


class UsageDamaged(LocalError):
    """What was stored of the month's usage cannot be read."""


@dataclass
class Usage:
    """Octets by carrier, both directions, of a month in UTC."""

    month: str = ""
    octets: dict[str, float] = field(default_factory=dict)
    boot: str = ""
    """The run of the machine that `counted` belongs to."""
    counted: dict[str, int] = field(default_factory=dict)
    """What the counter of each interface showed last."""

    def count(self, counters: Mapping[str, int], carriers: Mapping[str, str], boot: str, unix_s: float) -> dict[str, float]:
        """counters: octets that each interface carried since it was made. carriers: whose interface it is. What came to each carrier."""
        month = datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m")
        if month != self.month:
            self.month, self.octets = month, {}
        if boot != self.boot:
            self.boot, self.counted = boot, {}
        added: dict[str, float] = {}
        for interface, carrier in carriers.items():
            octets = counters.get(interface)
            if octets is None:
                continue
            before = self.counted.get(interface, 0)
            # A counter that is lower than before is that of an interface that was made anew.
            added[carrier] = added.get(carrier, 0.0) + (octets - before if octets >= before else octets)
            self.counted[interface] = octets
        for carrier, more in added.items():
            self.octets[carrier] = self.octets.get(carrier, 0.0) + more
        return added

    def serialise(self) -> bytes:
        return json.dumps({"month": self.month, "octets": self.octets, "boot": self.boot, "counted": self.counted}).encode()

    @classmethod
    def parse(cls, stored: bytes) -> Usage:
        """Raises `UsageDamaged`."""
        try:
            found = json.loads(stored)
            octets = {str(carrier): float(value) for carrier, value in found["octets"].items()}
            counted = {str(interface): int(value) for interface, value in found["counted"].items()}
            return cls(str(found["month"]), octets, str(found["boot"]), counted)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UsageDamaged("the usage of this month is damaged; remove the file: caps then count from now") from error
