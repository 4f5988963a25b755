"""What the satellites of a fleet bring to a cell beside their number: channels, and how strong they are against what was measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from tramontana.space.parameters import Parameter


@dataclass(frozen=True, slots=True)
class Payload:
    """Of every satellite of a fleet."""

    channels: Parameter
    """Of 5 MHz, each once in a cell: a cell takes so many beams, from one satellite or several."""
    gain_db: Parameter
    """Over the link budget that is calibrated to what was measured of today's fleet (docs/sources/beams.md)."""


TODAY = Payload(
    Parameter(
        1,
        1,
        2,
        "channels of 5 MHz",
        "1990 to 1995 MHz, FCC authorization of 26 November 2024 (tlp.law/2024/11/27); Italy has assigned none",
    ),
    Parameter(0, -3, 3, "dB", "calibrated to about 3 Mbit/s a beam, measured (arXiv 2506.00283 v6); the range is assumed"),
)
_AS_CLAIMED = (
    "the application of 2022 claims a peak of 18.3 Mbit/s in 5 MHz (as quoted by nextbigfuture.com, January 2024), which is what ITU-R "
    "system A gives at 50 to 90° without the calibration of −10 dB; nobody has measured it"
)
FILED_2022 = Payload(
    Parameter(1, 1, 2, "channels of 5 MHz", "the application of 2022: one channel of 1.4 or 5 MHz a beam"),
    Parameter(10, 0, 10, "dB", _AS_CLAIMED),
)
FILED_2025 = Payload(
    Parameter(
        5,
        1,
        5,
        "channels of 5 MHz",
        "50 MHz bought from EchoStar (broadbandbreakfast.com, 23 September 2025); half of it down is assumed, and that Italy assigns it",
    ),
    Parameter(10, 0, 14, "dB", "assumption: as the application of 2022; that of 2025 promises more than today's, no figure of it was read"),
)
PAYLOADS: Mapping[str, Payload] = MappingProxyType(
    {"starlink-direct-to-cell-filed": FILED_2022, "starlink-direct-to-cell-filed-2025": FILED_2025}
)
"""By design; all others are as today's."""


def payload_of(fleet_id: str) -> Payload:
    """Today's where nothing else is known."""
    return PAYLOADS.get(fleet_id, TODAY)
