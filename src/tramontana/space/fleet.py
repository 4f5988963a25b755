"""A fleet: the satellites of one constellation as plain arrays, whether they were observed or generated from a filing."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tramontana.errors import LocalError

Floats = NDArray[np.float64]
Provenance = Literal["filed", "elements"]

SECONDS_PER_DAY = 86400.0
SGP4_EPOCH_UNIX_S = -631238400.0  # 1949-12-31T00:00Z, day 0 of SGP4's own epoch count (Spacetrack Report #3)

ELEMENT_FIELDS = (
    "epoch_days_1949",
    "inclination_deg",
    "raan_deg",
    "eccentricity",
    "argument_of_perigee_deg",
    "mean_anomaly_deg",
    "mean_motion_rev_per_day",
    "bstar_per_earth_radius",
)


class FleetError(LocalError):
    """The fleet is malformed; the message names the field. Load elements again or use `tramontana sky default`."""


@dataclass(frozen=True, slots=True)
class EpochSummary:
    """When a fleet's elements were valid, POSIX seconds."""

    oldest_unix_s: float
    median_unix_s: float
    newest_unix_s: float


@dataclass(frozen=True, eq=False)
class Fleet:
    """N satellites as SGP4 mean elements (TEME of epoch, WGS-72), in the units of a two-line element set.

    Shapes: `names` has N entries, every array is (N,). `catalogue_number` is negative for generated satellites.
    Epochs count UTC days from 1949-12-31, as SGP4 does: an eight-decimal epoch of a TLE is kept exactly.
    """

    label: str
    """What people see, e.g. ``Starlink Gen1 as filed`` or ``10,359 satellites of starlink.json, elements of 2026-05-21``."""
    provenance: Provenance
    source: str
    """Where the elements come from, with the notice the origin asks for."""
    names: tuple[str, ...]
    catalogue_number: NDArray[np.int64]
    epoch_days_1949: Floats
    inclination_deg: Floats
    raan_deg: Floats
    eccentricity: Floats
    argument_of_perigee_deg: Floats
    mean_anomaly_deg: Floats
    mean_motion_rev_per_day: Floats
    bstar_per_earth_radius: Floats

    def __post_init__(self) -> None:
        n = len(self.names)
        if n == 0:
            raise FleetError("the fleet holds no satellite: load an elements file or use `tramontana sky default`")
        if self.provenance not in ("filed", "elements"):
            raise FleetError(f"provenance must be 'filed' or 'elements', not {self.provenance!r}")
        for name in ("catalogue_number", *ELEMENT_FIELDS):
            array = getattr(self, name)
            if array.shape != (n,):
                raise FleetError(f"{name} must have shape ({n},), not {array.shape}")
            if not bool(np.all(np.isfinite(array))):
                raise FleetError(f"{name} must be finite")
            array.flags.writeable = False
        if np.unique(self.catalogue_number).shape[0] != n:
            raise FleetError("catalogue_number must be unique")

    def __len__(self) -> int:
        return len(self.names)

    @property
    def epochs(self) -> EpochSummary:
        oldest, median, newest = np.percentile(self.epoch_days_1949, [0, 50, 100]) * SECONDS_PER_DAY + SGP4_EPOCH_UNIX_S
        return EpochSummary(float(oldest), float(median), float(newest))

    def age_s(self, now_unix_s: float) -> float | None:
        """Seconds since the median epoch; None for a constellation as filed, which is ideal and does not age."""
        return now_unix_s - self.epochs.median_unix_s if self.provenance == "elements" else None

    def take(self, indices: NDArray[np.intp]) -> Fleet:
        """The fleet of the satellites at these indices, in that order."""
        picked = {name: getattr(self, name)[indices] for name in ("catalogue_number", *ELEMENT_FIELDS)}
        names = tuple(self.names[i] for i in indices.tolist())
        return Fleet(label=self.label, provenance=self.provenance, source=self.source, names=names, **picked)

    def equals(self, other: Fleet) -> bool:
        """Whether both hold the same satellites, elements and labels, bit for bit."""
        return all(
            np.array_equal(a, b) if isinstance(a, np.ndarray) else a == b
            for a, b in ((getattr(self, f.name), getattr(other, f.name)) for f in fields(self))
        )


def utc_text(unix_s: float) -> str:
    """An instant as ``2026-05-21 16:25 UTC``."""
    return datetime.fromtimestamp(unix_s, tz=UTC).strftime("%Y-%m-%d %H:%M UTC")
