"""Orbital planes inferred from elements: which satellites fly in one file, in which order, and which planes lie side by side.

Operators do not publish planes, but station-keeping shows them: in the elements of May 2026 the satellites of one Starlink shell agree
within 0.1 km of mean altitude and 0.01° of inclination, and planes stand apart by gaps of the node that no satellite fills. So shells
are dense groups in inclination and altitude, and planes are groups of the node inside a shell. All elements are first brought to one
instant by SGP4's own secular terms (precession of node and perigee, drag). What raises, drifts or decays lies outside every dense group
and gets no plane.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tramontana.errors import LocalError
from tramontana.space.fleet import Fleet, Floats
from tramontana.space.orbits import julian_date, satrecs
from tramontana.space.shells import WGS72_EARTH_RADIUS_KM

NO_PLANE = -1
EQUATORIAL_DEG = 1.0  # assumption (range 0.3 to 3): below this inclination the node says nothing, and all satellites share one plane

Ints = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class PlaneRules:
    """How near satellites must be to count as one shell and one plane. All figures are assumptions read off the elements of May 2026."""

    inclination_gap_deg: float = 0.02
    """A wider step in sorted inclination separates two shells (range 0.01 to 0.05)."""
    altitude_gap_km: float = 0.25
    """A wider step in sorted mean altitude separates two shells (range 0.1 to 1)."""
    altitude_width_km: float = 1.0
    """Farther than this from the shell's median altitude means on the way up or down (range 0.5 to 5)."""
    node_gap_deg: float = 0.75
    """A wider step in the sorted node separates two planes (range 0.6 to 0.85: real ones have steps to 0.58 inside, from 0.9 between)."""
    widest_plane_deg: float = 2.0
    """A group of nodes wider than this is a crowd without planes (range 1.5 to 5)."""
    smallest_shell_share: float = 0.01
    """A group with a smaller share of the fleet is a batch in transit (range 0 to 0.02)."""
    smallest_shell: int = 3
    """Fewer satellites are no shell (range 2 to 6)."""
    smallest_plane_share: float = 0.2
    """A plane with a smaller share of the median plane of its shell is stragglers (range 0 to 0.5)."""
    largest_eccentricity: float = 0.01
    """Rounder orbits only (range 0.003 to 0.02): phase order along an eccentric orbit changes around it."""

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            value = getattr(self, name)
            if not (np.isfinite(value) and value >= 0):
                raise LocalError(f"{name} must be finite and not negative, not {value}")


REAL_RULES = PlaneRules()
FILED_RULES = PlaneRules(
    inclination_gap_deg=1e-3,
    altitude_gap_km=1e-3,
    altitude_width_km=1e-2,
    node_gap_deg=1e-3,
    widest_plane_deg=1e-2,
    smallest_shell_share=0.0,
    smallest_shell=1,
    smallest_plane_share=0.0,
)
"""For generated fleets, whose planes are exact: any two that differ are told apart."""


@dataclass(frozen=True, eq=False)
class MeanElements:
    """Mean elements of N satellites at one instant, each (N,); NaN where SGP4 gives none (decayed)."""

    altitude_km: Floats
    """Mean semi-major axis less the equatorial radius of WGS-72."""
    inclination_deg: Floats
    node_deg: Floats
    """Right ascension of the ascending node, TEME, 0 to 360; 0 for an equatorial orbit."""
    phase_deg: Floats
    """Argument of perigee plus mean anomaly, 0 to 360: where on a nearly circular orbit; counted from the equinox on an equatorial one."""
    eccentricity: Floats
    precession_deg: Floats
    """How far the node has gone since the fleet's median epoch."""


def mean_elements_at(fleet: Fleet, at_unix_s: float) -> MeanElements:
    """Every satellite's mean elements brought to one instant by SGP4's secular and drag terms."""
    jd, fraction = (float(part[0]) for part in julian_date(np.array([at_unix_s])))
    rows = np.full((len(fleet), 7), np.nan)
    for row, record in zip(rows, satrecs(fleet), strict=True):
        error, _, _ = record.sgp4(jd, fraction)
        if error == 0:
            row[:] = record.am, record.im, record.Om, record.om, record.mm, record.em, record.nodedot
    inclination, node, phase = np.degrees(rows[:, 1]), np.degrees(rows[:, 2]), np.degrees(rows[:, 3] + rows[:, 4])
    equatorial = inclination < EQUATORIAL_DEG
    return MeanElements(
        altitude_km=(rows[:, 0] - 1.0) * WGS72_EARTH_RADIUS_KM,
        inclination_deg=inclination,
        node_deg=np.where(equatorial, 0.0, np.mod(node, 360.0)),
        phase_deg=np.mod(np.where(equatorial, phase + node, phase), 360.0),
        eccentricity=rows[:, 5],
        precession_deg=np.where(equatorial, 0.0, np.degrees(rows[:, 6]) / 60.0 * (at_unix_s - fleet.epochs.median_unix_s)),
    )


@dataclass(frozen=True, eq=False)
class Planes:
    """The planes of a fleet of N satellites at one instant: P planes in H shells.

    Planes are numbered shell by shell, inside a shell by ascending node at the fleet's median epoch, so that a number stays with its plane
    as the nodes precess; shells from the most numerous down.
    `members[first[p]:first[p + 1]]` are the satellites of plane p by ascending phase.
    """

    at_unix_s: float
    plane: Ints
    """(N,) plane of each satellite, `NO_PLANE` for one without."""
    slot: Ints
    """(N,) position in the plane by phase, -1 without plane."""
    first: Ints
    """(P + 1,)"""
    members: Ints
    """(M,), M ≤ N"""
    phase_deg: Floats
    """(N,) argument of latitude of the mean motion, 0 to 360; NaN if SGP4 gives none."""
    shell: Ints
    """(P,) shell of each plane."""
    node_deg: Floats
    """(P,) mean node of the members, 0 to 360."""
    shell_inclination_deg: Floats
    """(H,) median of the members."""
    shell_altitude_km: Floats
    """(H,) median of the members."""

    @property
    def plane_count(self) -> int:
        return int(self.node_deg.shape[0])

    @property
    def shell_count(self) -> int:
        return int(self.shell_altitude_km.shape[0])

    def satellites(self, plane: int) -> Ints:
        """The members of a plane by ascending phase. Raises `LocalError` for a plane that is not there."""
        if not 0 <= plane < self.plane_count:
            raise LocalError(f"there is no plane {plane}: this fleet has planes 0 to {self.plane_count - 1}")
        return self.members[self.first[plane] : self.first[plane + 1]]

    def sizes(self) -> Ints:
        """(P,) satellites in each plane."""
        return np.diff(self.first)

    def neighbours(self, widest_gap: float) -> Ints:
        """(P,) the plane next to the east of each, or `NO_PLANE` across a seam or a gap.

        Two planes whose nodes lie 180° or more apart run against each other: that is the seam of a Walker star. A step of more than
        `widest_gap` times the shell's median step is a gap that nobody fills.
        """
        east = np.full(self.plane_count, NO_PLANE, dtype=np.int32)
        for shell in range(self.shell_count):
            planes = np.flatnonzero(self.shell == shell)
            if planes.shape[0] < 2:
                continue
            following = np.roll(planes, -1)
            step = np.mod(self.node_deg[following] - self.node_deg[planes], 360.0)
            near = (step < 180.0 - 1e-6) & (step <= widest_gap * np.median(step))
            east[planes[near]] = following[near]
        return east


def infer_planes(fleet: Fleet, at_unix_s: float, rules: PlaneRules | None = None) -> Planes:
    """Find shells, planes and the order inside them at an instant.

    rules: `FILED_RULES` for a generated fleet and `REAL_RULES` for real elements unless given. Two filed shells of equal altitude and
    inclination count as one, and planes of equal node as one plane: nothing in the elements tells them apart.
    """
    if not np.isfinite(at_unix_s):
        raise LocalError("the instant must be finite POSIX seconds")
    rules = rules or (FILED_RULES if fleet.provenance == "filed" else REAL_RULES)
    mean = mean_elements_at(fleet, at_unix_s)
    plane_groups: list[tuple[int, float, NDArray[np.intp]]] = []
    inclinations: list[float] = []
    altitudes: list[float] = []
    for members in _shells(mean, rules):
        planes = _planes(mean, members, rules)
        if planes:
            plane_groups += [(len(altitudes), node, plane) for node, plane in planes]
            inside = np.concatenate([plane for _, plane in planes])
            inclinations.append(float(np.median(mean.inclination_deg[inside])))
            altitudes.append(float(np.median(mean.altitude_km[inside])))
    plane_of = np.full(len(fleet), NO_PLANE, dtype=np.int32)
    slot_of = np.full(len(fleet), -1, dtype=np.int32)
    ordered = []
    for number, (_, _, plane) in enumerate(plane_groups):
        by_phase = plane[np.lexsort((plane, mean.phase_deg[plane]))]
        plane_of[by_phase], slot_of[by_phase] = number, np.arange(by_phase.shape[0])
        ordered.append(by_phase)
    return Planes(
        at_unix_s=at_unix_s,
        plane=plane_of,
        slot=slot_of,
        first=np.concatenate([[0], np.cumsum([p.shape[0] for p in ordered])]).astype(np.int32),
        members=np.concatenate([np.empty(0, dtype=np.intp), *ordered]).astype(np.int32),
        phase_deg=mean.phase_deg,
        shell=np.array([shell for shell, _, _ in plane_groups], dtype=np.int32),
        node_deg=np.array([node for _, node, _ in plane_groups], dtype=np.float64),
        shell_inclination_deg=np.array(inclinations),
        shell_altitude_km=np.array(altitudes),
    )


def _shells(mean: MeanElements, rules: PlaneRules) -> list[NDArray[np.intp]]:
    """Dense groups in inclination, then in altitude, the most numerous first."""
    usable = np.flatnonzero(np.isfinite(mean.altitude_km) & (mean.eccentricity <= rules.largest_eccentricity))
    smallest = max(rules.smallest_shell, rules.smallest_shell_share * mean.altitude_km.shape[0])
    shells = []
    for inclined in _split(mean.inclination_deg, usable, rules.inclination_gap_deg):
        for level in _split(mean.altitude_km, inclined, rules.altitude_gap_km):
            altitude = mean.altitude_km[level]
            kept = level[np.abs(altitude - np.median(altitude)) <= rules.altitude_width_km]
            if kept.shape[0] >= smallest:
                shells.append(kept)
    return sorted(shells, key=lambda members: (-members.shape[0], int(members.min())))


def _split(values: Floats, indices: NDArray[np.intp], gap: float) -> list[NDArray[np.intp]]:
    """Cut the indices, sorted by value, wherever the value steps by more than the gap."""
    if indices.shape[0] == 0:
        return []
    by_value = indices[np.argsort(values[indices], kind="stable")]
    return np.split(by_value, np.flatnonzero(np.diff(values[by_value]) > gap) + 1)


def _planes(mean: MeanElements, members: NDArray[np.intp], rules: PlaneRules) -> list[tuple[float, NDArray[np.intp]]]:
    """Groups of the node around the circle with their mean node, in order of numbering."""
    node_deg = mean.node_deg
    precession_deg = float(np.median(mean.precession_deg[members]))
    by_node = members[np.argsort(node_deg[members], kind="stable")]
    nodes = node_deg[by_node]
    cuts = np.flatnonzero(np.diff(nodes, append=nodes[0] + 360.0) > rules.node_gap_deg)
    if cuts.shape[0] == 0:
        return []
    # The circle is opened behind the last cut, so that a group over 0° stays in one piece.
    turn = int(cuts[-1]) + 1
    groups = np.split(np.roll(by_node, -turn), np.mod(cuts[:-1] + 1 - turn, nodes.shape[0]))
    smallest = rules.smallest_plane_share * float(np.median([group.shape[0] for group in groups]))
    planes = []
    for group in groups:
        offset = np.mod(node_deg[group] - node_deg[group[0]] + 180.0, 360.0) - 180.0
        if group.shape[0] >= smallest and np.ptp(offset) <= rules.widest_plane_deg:
            planes.append((_turn(float(node_deg[group[0]] + offset.mean())), group))
    return sorted(planes, key=lambda plane: _turn(plane[0] - precession_deg))


def _turn(angle_deg: float) -> float:
    """The angle in 0 to 360; one that is short of a full turn by rounding alone is 0."""
    turned = angle_deg % 360.0
    return 0.0 if turned > 360.0 - 1e-6 else turned
