"""What the model of lasers and landing needs beyond elements: each figure with its range, and a source or the word "assumption"."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from tramontana.errors import LocalError
from tramontana.space.parameters import Parameter, PathParameters

LONGEST_LASER = Parameter(5.4e6, 2e6, 6e6, "m", "operator's engineer, 2024, after press reports: 5,400 km (docs/sources/routes.md)")
GRAZING_ALTITUDE = Parameter(
    80e3, 20e3, 120e3, "m", "assumption: the beam stays above the air that bends, scatters and absorbs it; nobody published a limit"
)
ACQUISITION = Parameter(30.0, 5.0, 120.0, "s", "assumption: pointing, acquisition and tracking of a new partner; not published")
REWIRING_PERIOD = Parameter(
    6 * 3600.0, 900.0, 86400.0, "s", "assumption: how often the operator chooses partners across planes anew; not published"
)
LASERS_PER_SATELLITE = Parameter(4, 2, 4, "terminals", "assumption: what +grid needs; some satellites may carry fewer")
WIDEST_PLANE_GAP = Parameter(3.0, 1.5, 5.0, "× median step of the node", "assumption: lasers bridge one or two missing planes")
HOP_PROCESSING = Parameter(0.0, 0.0, 1e-3, "s", "assumption: time in one satellite from laser to laser; not published")


@dataclass(frozen=True, slots=True)
class LaserParameters:
    """Optical links between satellites. Replace one with `dataclasses.replace`."""

    longest_range_m: Parameter = LONGEST_LASER
    grazing_altitude_m: Parameter = GRAZING_ALTITUDE
    acquisition_s: Parameter = ACQUISITION
    rewiring_period_s: Parameter = REWIRING_PERIOD
    lasers_per_satellite: Parameter = LASERS_PER_SATELLITE
    widest_plane_gap: Parameter = WIDEST_PLANE_GAP
    hop_processing_s: Parameter = HOP_PROCESSING


@dataclass(frozen=True, slots=True)
class GroundRule:
    """Which satellites a station on the ground can use."""

    minimum_elevation_deg: float = 25.0
    """FCC 21-48: lowest elevation of Gen1 user terminals."""
    longest_range_m: float | None = None
    """A limit of the slant range, as satgenpy has one instead of an elevation; None for no limit."""

    def __post_init__(self) -> None:
        if not -90.0 <= self.minimum_elevation_deg <= 90.0:
            raise LocalError(f"the minimum elevation must lie in -90 to 90 degrees, not {self.minimum_elevation_deg}")
        if self.longest_range_m is not None and not self.longest_range_m > 0:
            raise LocalError(f"the longest range must be positive metres or None, not {self.longest_range_m}")


@dataclass(frozen=True)
class RouterOptions:
    """Everything a `Router` can be told besides fleet and ground."""

    laser: LaserParameters = field(default_factory=LaserParameters)
    path: PathParameters = field(default_factory=PathParameters)
    user: GroundRule = field(default_factory=GroundRule)
    lasers: bool = True
    """False: bent pipe only, user, satellite, gateway."""
    laser_pairs: tuple[tuple[int, int], ...] | None = None
    """Links of a given constellation by satellite index instead of +grid from planes. They stand at all times that geometry permits."""
    antennas_per_gateway: int | None = 8
    """One antenna tracks one satellite. 8 at Milano, Marsala and Foggia (docs/sources/routes.md), assumed elsewhere. None: no limit."""
    antennas: Mapping[str, int] = field(default_factory=dict)
    """Antenna counts of single gateways, by id."""
    feeder_links_per_satellite: int | None = 2
    """How many gateways a satellite lands at in one instant. Assumption (range 1 to 4): not published. None: no limit."""
    relay_only: frozenset[int] = frozenset()
    """Satellites by index that pass traffic on but serve no terminal on the ground, such as direct-to-cell ones for a dish."""
    jurisdiction: str = "US"
    """Country whose law binds the operator of the satellites, ISO 3166-1 alpha-2: United States for Starlink."""
    gateway_jurisdictions: Mapping[str, str] = field(default_factory=dict)
    """Gateways that somebody under another law operates, by id, e.g. a national ground segment."""

    def __post_init__(self) -> None:
        for limit in (self.antennas_per_gateway, self.feeder_links_per_satellite, *self.antennas.values()):
            if limit is not None and limit < 0:
                raise LocalError(f"a number of antennas or feeder links must not be negative: {limit}")
        if any(a < 0 or b < 0 or a == b for a, b in self.laser_pairs or ()):
            raise LocalError("laser_pairs must join two different satellites by index")

    def assumptions(self) -> tuple[str, ...]:
        """One line for each laser figure that nobody published, for notes on screen."""
        rows = ((f.name, getattr(self.laser, f.name)) for f in fields(self.laser))
        return tuple(f"{name} {p.value:g} {p.unit} ({p.low:g} to {p.high:g}): {p.source}" for name, p in rows if p.is_assumption)
