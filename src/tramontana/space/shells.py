"""Constellations generated from what an operator filed: circular Walker shells, in the same array form as real elements."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from tramontana.space.fleet import ELEMENT_FIELDS, SECONDS_PER_DAY, SGP4_EPOCH_UNIX_S, Fleet, FleetError, Floats

WGS72_MU_KM3_PER_S2 = 398600.8  # WGS-72, the gravity model of SGP4 (Spacetrack Report #3; Vallado et al., AIAA 2006-6753)
WGS72_EARTH_RADIUS_KM = 6378.135

Pattern = Literal["delta", "star"]
_TURN_OF_PATTERN_DEG: dict[Pattern, float] = {"delta": 360.0, "star": 180.0}


@dataclass(frozen=True, slots=True)
class Shell:
    """One Walker shell i: planes·satellites_per_plane / planes / phasing (Walker 1984).

    In a delta the ascending nodes go all around the equator; in a star half around, so that planes climb on one side of the Earth and
    descend on the other, with a seam where neighbours fly against each other.
    """

    altitude_km: float
    """Above the equatorial radius."""
    inclination_deg: float
    planes: int
    satellites_per_plane: int
    phasing: int
    """Walker's F: the next plane to the east is ahead by F·360°/(planes·satellites_per_plane). Seldom filed: mostly an assumption."""
    pattern: Pattern = "delta"
    plane_spacing_deg: float | None = None
    """Between the nodes of neighbouring planes; evenly over 360° (delta) or 180° (star) where not given."""
    first_node_deg: float = 0.0
    """Right ascension of the first plane's ascending node at the epoch."""
    name: str = ""

    @property
    def satellite_count(self) -> int:
        return self.planes * self.satellites_per_plane

    @property
    def node_spacing_deg(self) -> float:
        """Between the ascending nodes of neighbouring planes."""
        return _TURN_OF_PATTERN_DEG[self.pattern] / self.planes if self.plane_spacing_deg is None else self.plane_spacing_deg


# Altitude, inclination, planes and satellites per plane: FCC 21-48, Order and Authorization of 27 April 2021 (third modification of the
# SpaceX Gen1 licence, SAT-MOD-20200417-00037): 4,408 satellites.
# Phasing, and all shells starting at RAAN 0°, are assumptions. Range of F: 0 to planes − 1. Each F is one that keeps the satellites of its
# own shell farthest apart on circular orbits, found by trying every value (tests/space/test_shells.py does it again).
STARLINK_GEN1_AS_FILED = (
    Shell(altitude_km=550.0, inclination_deg=53.0, planes=72, satellites_per_plane=22, phasing=65),
    Shell(altitude_km=540.0, inclination_deg=53.2, planes=72, satellites_per_plane=22, phasing=65),
    Shell(altitude_km=570.0, inclination_deg=70.0, planes=36, satellites_per_plane=20, phasing=25),
    Shell(altitude_km=560.0, inclination_deg=97.6, planes=6, satellites_per_plane=58, phasing=1),
    Shell(altitude_km=560.0, inclination_deg=97.6, planes=4, satellites_per_plane=43, phasing=2),
)
STARLINK_GEN1_LABEL = "Starlink Gen1 as filed"
STARLINK_GEN1_SOURCE = "generated from FCC 21-48 (27 April 2021), as filed; Walker phasing assumed"

# 2026-01-01T00:00Z. Fixed, so that every process that generates the default sees the same sky; without drag the shells keep their shape.
FILED_EPOCH_UNIX_S = 1767225600.0


def generate(shells: tuple[Shell, ...], *, label: str, source: str, name_prefix: str, epoch_unix_s: float = FILED_EPOCH_UNIX_S) -> Fleet:
    """The satellites of the shells at the epoch, circular and without drag.

    Names read ``PREFIX shell-plane-slot``, counted from 1; catalogue numbers are negative.
    Raises `FleetError` for a shell without satellites.
    """
    if not shells or any(s.planes < 1 or s.satellites_per_plane < 1 or s.altitude_km <= 0 for s in shells):
        raise FleetError("every shell needs at least one plane, one satellite in it and an altitude above zero")
    names: list[str] = []
    raan, anomaly, inclination, motion = [], [], [], []
    for number, shell in enumerate(shells, start=1):
        plane, slot = (axis.ravel() for axis in np.indices((shell.planes, shell.satellites_per_plane)))
        raan.append(np.mod(shell.first_node_deg + plane * shell.node_spacing_deg, 360.0))
        phase_deg = slot * (360.0 / shell.satellites_per_plane) + plane * (shell.phasing * 360.0 / shell.satellite_count)
        anomaly.append(np.mod(phase_deg, 360.0))
        inclination.append(np.full(shell.satellite_count, shell.inclination_deg))
        semi_major_axis_km = WGS72_EARTH_RADIUS_KM + shell.altitude_km
        rev_per_day = SECONDS_PER_DAY / (2 * np.pi) * np.sqrt(WGS72_MU_KM3_PER_S2 / semi_major_axis_km**3)
        motion.append(np.full(shell.satellite_count, rev_per_day))
        names += [f"{name_prefix} {number}-{p + 1:02d}-{s + 1:02d}" for p, s in zip(plane.tolist(), slot.tolist(), strict=True)]
    n = len(names)
    arrays = dict.fromkeys(ELEMENT_FIELDS, np.zeros(n)) | {
        "epoch_days_1949": np.full(n, (epoch_unix_s - SGP4_EPOCH_UNIX_S) / SECONDS_PER_DAY),
        "inclination_deg": np.concatenate(inclination),
        "raan_deg": np.concatenate(raan),
        "mean_anomaly_deg": np.concatenate(anomaly),
        "mean_motion_rev_per_day": np.concatenate(motion),
    }
    numbers = -np.arange(1, n + 1, dtype=np.int64)
    return Fleet(label=label, provenance="filed", source=source, names=tuple(names), catalogue_number=numbers, **arrays)


def usual_phasing(shell: Shell) -> int:
    """The phasing for a shell whose own is not known: half a slot from plane to plane in a star, farthest apart in a delta.

    In a star neighbours fly side by side, and half a slot between them leaves the smallest holes. In a delta every value is tried; the
    first one counts that keeps the two nearest satellites of the shell farthest apart.
    """
    if shell.pattern == "star":
        return shell.planes // 2
    distances = [_smallest_distance(shell, phasing) for phasing in range(shell.planes)]
    best = max(distances)
    return next(phasing for phasing, distance in enumerate(distances) if distance >= best * (1 - 1e-9))


def _smallest_distance(shell: Shell, phasing: int) -> float:
    """Smallest distance of the first satellite to any other of its shell over one revolution, in radii of the orbit.

    The cosine of the angle between two satellites of one inclination is c0 + c1·cos 2u + c2·sin 2u in the argument of latitude u: its
    values at u = 0°, 45° and 90° give the coefficients, and they give the greatest cosine exactly.
    """
    plane, slot = (axis.ravel()[1:] for axis in np.indices((shell.planes, shell.satellites_per_plane)))
    if plane.size == 0:
        return 2.0
    node = np.radians(plane * shell.node_spacing_deg)
    ahead = 2 * np.pi * (slot / shell.satellites_per_plane + plane * phasing / shell.satellite_count)
    tilt = math.radians(shell.inclination_deg)

    def cosine(u: float) -> Floats:
        own_x, own_y, own_z = math.cos(u), math.sin(u) * math.cos(tilt), math.sin(u) * math.sin(tilt)
        x = np.cos(node) * np.cos(ahead + u) - np.sin(node) * np.sin(ahead + u) * math.cos(tilt)
        y = np.sin(node) * np.cos(ahead + u) + np.cos(node) * np.sin(ahead + u) * math.cos(tilt)
        return np.asarray(own_x * x + own_y * y + own_z * np.sin(ahead + u) * math.sin(tilt), dtype=np.float64)

    middle = (cosine(0.0) + cosine(np.pi / 2)) / 2
    greatest = middle + np.hypot(cosine(0.0) - middle, cosine(np.pi / 4) - middle)
    return math.sqrt(max(0.0, float(np.min(2 - 2 * greatest))))


def starlink_gen1_as_filed(epoch_unix_s: float = FILED_EPOCH_UNIX_S) -> Fleet:
    """The built-in default: 4,408 satellites, labelled "as filed"."""
    return generate(
        STARLINK_GEN1_AS_FILED,
        label=STARLINK_GEN1_LABEL,
        source=STARLINK_GEN1_SOURCE,
        name_prefix="GEN1 AS FILED",
        epoch_unix_s=epoch_unix_s,
    )
