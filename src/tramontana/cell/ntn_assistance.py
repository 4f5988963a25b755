"""What a satellite's cell tells phones about itself: where the satellite is, from when and for how long that holds, how far signals go.

TS 38.331 calls it NTN-Config (SIB19), TS 36.331 ServingSatelliteInfo (SIB31): a phone that knows its own place works out from it how
early it must send and by how much its frequency is shifted. Positions are turned with the Earth (ECEF, which ITRS is), in steps of the
standard; `worst_position_m` and `worst_velocity_m_per_s` are what the steps cost. Positions are SGP4's own, not interpolated. Simulated:
they are those of the loaded elements, and the satellites' operator knows better.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from tramontana.cell.area import Floats
from tramontana.cell.broadcast_plan import BroadcastPlan, Pointing
from tramontana.errors import LocalError
from tramontana.space.orbits import EARTH_ROTATION_RAD_PER_S, Propagator
from tramontana.space.visibility import itrs_position_m

POSITION_STEP_M = 1.3  # TS 38.331 §6.3.2, EphemerisInfo; TS 36.331 §6.3.6 has the same
VELOCITY_STEP_M_PER_S = 0.06
_MOST_POSITION, _MOST_VELOCITY = 33_554_431, 131_071
AXIS_STEP_M, LEAST_AXIS_M = 4.249e-3, 6_500_000.0
ECCENTRICITY_STEP = 1.431e-8
ANGLE_STEP_RAD = 2.341e-8
_MOST_AXIS, _MOST_ECCENTRICITY, _MOST_ANGLE, _MOST_INCLINATION = 8_589_934_591, 1_048_575, 268_435_455, 67_108_863
VALIDITIES_S = (5, 10, 15, 20, 25, 30, 35, 40, 45, 50, 55, 60, 120, 180, 240, 900)
"""ntn-UlSyncValidityDuration: how long after its epoch a phone may use what it was told."""
LONGEST_K_OFFSET_MS = 1023
LARGEST_DISTANCE_STEPS, DISTANCE_STEP_M = 65_525, 50.0
SPEED_OF_LIGHT_M_PER_S = 299_792_458.0
MU_M3_PER_S2, J2, EQUATOR_M = 3.986004418e14, 1.08262982e-3, 6_378_137.0  # WGS 84
GPS_TIME_ZERO_UNIX_S = 315_964_800.0 - 18.0
"""6 January 1980 in seconds that count no leap seconds: GPS is 18 s ahead of UTC since 2017."""
_STEP_S = 10.0
_EITHER_SIDE_S = 0.5
_FRAMES, _FRAME_MS = 1024, 10

Form = Literal["state-vectors", "orbital"]


@dataclass(frozen=True, slots=True)
class StateVectors:
    """Position and velocity in ECEF, in the standard's steps."""

    position: tuple[int, int, int]
    velocity: tuple[int, int, int]

    @classmethod
    def of(cls, position_itrs_m: Floats, velocity_itrs_m_per_s: Floats) -> StateVectors:
        """The nearest steps to (3,) and (3,). Raises `LocalError` where there is no such satellite to tell of."""
        found = [*(position_itrs_m / POSITION_STEP_M).tolist(), *(velocity_itrs_m_per_s / VELOCITY_STEP_M_PER_S).tolist()]
        most = (_MOST_POSITION,) * 3 + (_MOST_VELOCITY,) * 3
        if not all(math.isfinite(value) and abs(round(value)) <= limit for value, limit in zip(found, most, strict=True)):
            raise LocalError("a satellite within 43,600 km and 7.8 km/s of the turning Earth can be told of, and this one is not")
        x, y, z, vx, vy, vz = (round(value) for value in found)
        return cls((x, y, z), (vx, vy, vz))

    def state_itrs(self) -> tuple[Floats, Floats]:
        """(3,) metres and (3,) metres per second, as a phone reads them."""
        return np.array(self.position) * POSITION_STEP_M, np.array(self.velocity) * VELOCITY_STEP_M_PER_S


@dataclass(frozen=True, slots=True)
class Orbital:
    """Kepler's elements at the epoch, in the standard's steps, in axes that do not turn and lie on ECEF's at the epoch."""

    semi_major_axis: int
    eccentricity: int
    periapsis: int
    longitude: int
    inclination: int
    anomaly: int

    @classmethod
    def of(cls, position_itrs_m: Floats, velocity_itrs_m_per_s: Floats) -> Orbital:
        """Those of an ellipse through this state. Raises `LocalError` where the fields cannot hold them, as inclinations above 90°."""
        r, v = position_itrs_m, velocity_itrs_m_per_s + np.cross((0.0, 0.0, EARTH_ROTATION_RAD_PER_S), position_itrs_m)
        radius, momentum = float(np.linalg.norm(r)), np.cross(r, v)
        across = float(np.linalg.norm(momentum))
        node = math.atan2(momentum[0], -momentum[1])
        inclination = math.acos(float(momentum[2]) / across)
        ahead = np.array([math.cos(node), math.sin(node), 0.0])
        beside = np.cross(momentum / across, ahead)
        shape = np.cross(v, momentum) / MU_M3_PER_S2 - r / radius
        eccentricity = float(np.linalg.norm(shape))
        periapsis = math.atan2(float(shape @ beside), float(shape @ ahead))
        true = math.atan2(float(r @ beside), float(r @ ahead)) - periapsis
        eccentric = 2.0 * math.atan2(math.sqrt(1.0 - eccentricity) * math.sin(true / 2), math.sqrt(1.0 + eccentricity) * math.cos(true / 2))
        axis = 1.0 / (2.0 / radius - float(v @ v) / MU_M3_PER_S2)
        fields = (
            ((axis - LEAST_AXIS_M) / AXIS_STEP_M, _MOST_AXIS),
            (eccentricity / ECCENTRICITY_STEP, _MOST_ECCENTRICITY),
            (periapsis % (2 * math.pi) / ANGLE_STEP_RAD, _MOST_ANGLE),
            (node % (2 * math.pi) / ANGLE_STEP_RAD, _MOST_ANGLE),
            (inclination / ANGLE_STEP_RAD, _MOST_INCLINATION),
            ((eccentric - eccentricity * math.sin(eccentric)) % (2 * math.pi) / ANGLE_STEP_RAD, _MOST_ANGLE),
        )
        if not all(math.isfinite(value) and 0 <= round(value) <= most for value, most in fields):
            raise LocalError(
                "orbital parameters tell of orbits from 6,500 to 43,000 km, nearly round and inclined by at most 90°: use state vectors"
            )
        return cls(*(round(value) for value, _ in fields))

    def state_itrs(self) -> tuple[Floats, Floats]:
        """(3,) metres and (3,) metres per second, as a phone works them out."""
        axis, eccentricity = LEAST_AXIS_M + self.semi_major_axis * AXIS_STEP_M, self.eccentricity * ECCENTRICITY_STEP
        mean = self.anomaly * ANGLE_STEP_RAD
        eccentric = mean
        for _ in range(12):  # Newton's method; the eccentricity is at most 0.015
            eccentric -= (eccentric - eccentricity * math.sin(eccentric) - mean) / (1.0 - eccentricity * math.cos(eccentric))
        node, incline, periapsis = (each * ANGLE_STEP_RAD for each in (self.longitude, self.inclination, self.periapsis))
        ahead = np.array([math.cos(node), math.sin(node), 0.0])
        beside = np.array([-math.sin(node) * math.cos(incline), math.cos(node) * math.cos(incline), math.sin(incline)])
        towards = ahead * math.cos(periapsis) + beside * math.sin(periapsis)
        sideways = beside * math.cos(periapsis) - ahead * math.sin(periapsis)
        flat = math.sqrt(1.0 - eccentricity**2)
        position = axis * (towards * (math.cos(eccentric) - eccentricity) + sideways * flat * math.sin(eccentric))
        rate = math.sqrt(MU_M3_PER_S2 / axis) / (1.0 - eccentricity * math.cos(eccentric))
        velocity = rate * (sideways * flat * math.cos(eccentric) - towards * math.sin(eccentric))
        return position, velocity - np.cross((0.0, 0.0, EARTH_ROTATION_RAD_PER_S), position)


@dataclass(frozen=True, slots=True)
class EpochTime:
    """A radio frame of the cell and the millisecond in it."""

    frame: int
    subframe: int

    @classmethod
    def at(cls, unix_s: float, frame_zero_unix_s: float) -> EpochTime:
        """The frame that begins or goes on at an instant, where frame 0 began at another."""
        milliseconds = round((unix_s - frame_zero_unix_s) * 1000.0)
        return cls(milliseconds // _FRAME_MS % _FRAMES, milliseconds % _FRAME_MS)


@dataclass(frozen=True, slots=True)
class CommonDelay:
    """From the satellite to where uplink and downlink are in step, there and back: µs at the epoch, µs/s, µs/s² (not halved)."""

    us: float
    us_per_s: float
    us_per_s2: float

    @classmethod
    def of(cls, distance_m: Floats, seconds: float) -> CommonDelay:
        """The parabola through the distances (3,) at the epoch, after half the seconds and after all of them."""
        first, middle, last = (2e6 / SPEED_OF_LIGHT_M_PER_S * distance_m).tolist()
        return cls(first, (4 * middle - 3 * first - last) / seconds, 2 * (first + last - 2 * middle) / seconds**2)


@dataclass(frozen=True, slots=True)
class ReferenceCell:
    """The middle of the beam and how far it reaches. moves: dragged along; then it is where the middle is at the epoch."""

    latitude_deg: float
    longitude_deg: float
    radius_m: float
    moves: bool = False


@dataclass(frozen=True, slots=True)
class Assistance:
    """One block. k_offset_ms: no less than there and back to the edge of the beam, the common delay with it."""

    ephemeris: StateVectors | Orbital
    validity_s: int
    k_offset_ms: int
    epoch: EpochTime | None = None
    """None: the end of the window in which the block is sent."""
    common: CommonDelay | None = None
    """None: uplink and downlink are in step at the satellite itself."""
    cell: ReferenceCell | None = None
    stops_unix_s: float | None = None
    """When this satellite leaves the cell; a cell that moves with it has none."""
    follows: Assistance | None = None
    """The satellite that takes the cell over at that instant."""

    def __post_init__(self) -> None:
        if self.validity_s not in VALIDITIES_S:
            raise LocalError(f"a block holds for one of {', '.join(map(str, VALIDITIES_S))} s")
        if not 1 <= self.k_offset_ms <= LONGEST_K_OFFSET_MS:
            raise LocalError(f"signals that take more than {LONGEST_K_OFFSET_MS} ms cannot be told of")


@dataclass(frozen=True, slots=True)
class BeamAssistance:
    """A beam of a plan and what phones in it are told."""

    begin_unix_s: float
    satellite: int
    latitude_deg: float
    longitude_deg: float
    assistance: Assistance
    epoch_error_m: float
    """How far from SGP4's own position a phone puts the satellite at the epoch."""
    error_m: float
    """The same when the validity ends."""


def worst_position_m() -> float:
    """Half a step on each of three axes."""
    return math.sqrt(3.0) * POSITION_STEP_M / 2


def worst_velocity_m_per_s() -> float:
    return math.sqrt(3.0) * VELOCITY_STEP_M_PER_S / 2


def position_after_m(ephemeris: StateVectors | Orbital, seconds: float) -> Floats:
    """(3,) metres ECEF: where a phone puts the satellite later. The standard leaves open how; here: Newton and the Earth's flattening."""
    position, velocity = ephemeris.state_itrs()
    turning = np.array([0.0, 0.0, EARTH_ROTATION_RAD_PER_S])
    state = np.concatenate([position, velocity + np.cross(turning, position)])
    steps = max(1, math.ceil(seconds / _STEP_S))
    step = seconds / steps
    for _ in range(steps):  # Runge and Kutta's fourth order
        a = _change(state)
        b = _change(state + step / 2 * a)
        c = _change(state + step / 2 * b)
        d = _change(state + step * c)
        state = state + step / 6 * (a + 2 * b + 2 * c + d)
    angle = EARTH_ROTATION_RAD_PER_S * seconds
    cos, sin = math.cos(angle), math.sin(angle)
    x, y, z = state[:3].tolist()
    return np.array([cos * x + sin * y, cos * y - sin * x, z])


def _change(state: Floats) -> Floats:
    position = state[:3]
    square = float(position @ position)
    radius = math.sqrt(square)
    flat = 1.5 * J2 * (EQUATOR_M / radius) ** 2
    height = 5.0 * float(position[2]) ** 2 / square
    pull = -MU_M3_PER_S2 / radius**3 * position * (1.0 + flat * (np.array([1.0, 1.0, 3.0]) - height))
    return np.concatenate([state[3:], pull])


def of_plan(
    plan: BroadcastPlan,
    propagator: Propagator,
    *,
    form: Form = "state-vectors",
    gateway: tuple[float, float] | None = None,
    frame_zero_unix_s: float | None = GPS_TIME_ZERO_UNIX_S,
) -> tuple[BeamAssistance, ...]:
    """A block for every beam, in the plan's order.

    gateway: latitude and longitude of where uplink and downlink are in step; None for the satellite itself. frame_zero_unix_s: when the
    network's frame 0 began; None leaves the epoch to the end of the window. Raises `LocalError` for a gateway that sees no satellite.
    """
    if not plan.dwell.size:
        return ()
    rules = plan.rules
    satellites, column = np.unique(plan.satellite, return_inverse=True)
    dwells, row = np.unique(plan.dwell, return_inverse=True)
    begins: Floats = np.floor(plan.unix_s[dwells] * 1000.0) / 1000.0  # an epoch is the start of a subframe
    validity_s = next(each for each in VALIDITIES_S if each >= rules.dwell_s)
    at = [propagator.positions_itrs_m(begins + share * validity_s, satellites.astype(np.intp)) for share in (0.0, 0.5, 1.0)]
    # SGP4's own velocity is not quite how its positions change (0.03 m/s beside it), and a phone goes on with what it is told.
    before, after = (propagator.positions_itrs_m(begins + side, satellites.astype(np.intp)) for side in (-_EITHER_SIDE_S, _EITHER_SIDE_S))
    velocities: Floats = (after - before) / (2 * _EITHER_SIDE_S)
    moves = rules.pointing is Pointing.EARTH_MOVING
    ground = None if gateway is None else itrs_position_m(*gateway, 0.0)
    beams = list(zip(row.tolist(), column.tolist(), plan.latitude_deg.tolist(), plan.longitude_deg.tolist(), strict=True))
    ends = {} if moves else _ends(plan)
    made: list[BeamAssistance] = []
    for beam, (when, who, latitude, longitude) in enumerate(beams):
        positions, velocity = [position[when, who] for position in at], velocities[when, who]
        centre = latitude, longitude
        if moves:
            centre = _carried_back(centre, positions[0], velocity, rules.dwell_s / 2)
        # The distance to a point that stands still bends upwards, so it is longest at one of the ends; a dragged beam keeps its own.
        place = itrs_position_m(*centre, 0.0)
        seen_from = positions[:1] if moves else positions
        farthest = max(float(np.linalg.norm(position - place)) for position in seen_from) + rules.beam_radius_m
        common = None
        if ground is not None:
            away = np.array([float(np.linalg.norm(position - ground)) for position in positions])
            if min(float((position - ground) @ ground) for position in positions) <= 0:
                raise LocalError(
                    "the gateway does not see every satellite of the plan: choose one nearer to the area, or none where satellites pass "
                    "traffic on among themselves"
                )
            common = CommonDelay.of(away, validity_s)
            farthest += float(away.max())
        ephemeris = (StateVectors if form == "state-vectors" else Orbital).of(positions[0], velocity)
        begin = float(begins[when])
        made.append(
            BeamAssistance(
                begin,
                int(satellites[who]),
                latitude,
                longitude,
                Assistance(
                    ephemeris,
                    validity_s,
                    math.ceil(2e3 * farthest / SPEED_OF_LIGHT_M_PER_S),
                    None if frame_zero_unix_s is None else EpochTime.at(begin, frame_zero_unix_s),
                    common,
                    ReferenceCell(*centre, rules.beam_radius_m, moves),
                    ends.get(beam),
                ),
                float(np.linalg.norm(ephemeris.state_itrs()[0] - positions[0])),
                float(np.linalg.norm(position_after_m(ephemeris, validity_s) - positions[2])),
            )
        )
    if moves:
        return tuple(made)
    # The satellite that goes on where another one stops: phones that know it need not look for the cell anew.
    taken_over = {(each.begin_unix_s, each.latitude_deg, each.longitude_deg): each for each in made}
    return tuple(_with_next(each, taken_over) for each in made)


def _with_next(beam: BeamAssistance, taken_over: dict[tuple[float, float, float], BeamAssistance]) -> BeamAssistance:
    stops = beam.assistance.stops_unix_s
    later = None if stops is None else taken_over.get((math.floor(stops * 1000.0) / 1000.0, beam.latitude_deg, beam.longitude_deg))
    return beam if later is None else replace(beam, assistance=replace(beam.assistance, follows=later.assistance))


def _ends(plan: BroadcastPlan) -> dict[int, float]:
    """By beam, when its satellite leaves the cell: at the end of the last dwell of those that follow each other without a gap."""
    places = list(zip(plan.satellite.tolist(), plan.latitude_deg.tolist(), plan.longitude_deg.tolist(), strict=True))
    until: dict[tuple[int, tuple[int, float, float]], float] = {}
    found: dict[int, float] = {}
    for beam in range(len(places) - 1, -1, -1):
        dwell = int(plan.dwell[beam])
        end = until.get((dwell + 1, places[beam]), float(plan.unix_s[dwell]) + plan.rules.dwell_s)
        until[dwell, places[beam]] = found[beam] = end
    return found


def _carried_back(centre: tuple[float, float], position: Floats, velocity: Floats, seconds: float) -> tuple[float, float]:
    """Where the middle of a beam that is dragged along was so many seconds before, on a sphere."""
    latitude, longitude = (math.radians(each) for each in centre)
    place = np.array([math.cos(latitude) * math.cos(longitude), math.cos(latitude) * math.sin(longitude), math.sin(latitude)])
    turn = np.cross(position, velocity)
    rate = float(np.linalg.norm(turn)) / float(position @ position)
    axis, angle = turn / np.linalg.norm(turn), -rate * seconds
    moved = place * math.cos(angle) + np.cross(axis, place) * math.sin(angle) + axis * float(axis @ place) * (1 - math.cos(angle))
    return math.degrees(math.asin(float(moved[2]))), math.degrees(math.atan2(float(moved[1]), float(moved[0])))
