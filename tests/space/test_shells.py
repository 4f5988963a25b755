"""The constellation as filed: the right number, height and order of satellites, and the stated choice of phasing."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from tramontana.space.fleet import FleetError, Floats
from tramontana.space.orbits import Propagator
from tramontana.space.shells import (
    FILED_EPOCH_UNIX_S,
    STARLINK_GEN1_AS_FILED,
    WGS72_EARTH_RADIUS_KM,
    Shell,
    generate,
    starlink_gen1_as_filed,
)


def test_the_filing_has_4408_satellites_and_says_as_filed() -> None:
    fleet = starlink_gen1_as_filed()
    assert [shell.satellite_count for shell in STARLINK_GEN1_AS_FILED] == [1584, 1584, 720, 348, 172]
    assert len(fleet) == 4408
    assert "as filed" in fleet.label
    assert "as filed" in fleet.source
    assert fleet.provenance == "filed"
    assert len(set(fleet.names)) == 4408
    assert all("AS FILED" in name for name in fleet.names)
    assert np.all(fleet.catalogue_number < 0)
    assert fleet.age_s(FILED_EPOCH_UNIX_S + 1e8) is None
    assert fleet.epochs.median_unix_s == FILED_EPOCH_UNIX_S


@pytest.mark.parametrize("days", [0, 200])
def test_satellites_fly_at_their_filed_altitude_and_latitude(days: int) -> None:
    fleet = starlink_gen1_as_filed()
    times = FILED_EPOCH_UNIX_S + days * 86400 + np.arange(0, 5800, 200.0)
    position = Propagator(fleet).positions_itrs_m(times)
    radius_km = np.linalg.norm(position, axis=-1) / 1e3
    latitude = np.degrees(np.arcsin(position[..., 2] / 1e3 / radius_km))
    start = 0
    for shell in STARLINK_GEN1_AS_FILED:
        rows = slice(start, start + shell.satellite_count)
        start = rows.stop
        altitude_km = radius_km[:, rows] - WGS72_EARTH_RADIUS_KM
        # J2 moves a circular orbit by up to 12 km in and out, and SGP4's mean axis by 1 km.
        assert np.max(np.abs(altitude_km - shell.altitude_km)) < 15
        reach = min(shell.inclination_deg, 180 - shell.inclination_deg)
        assert np.max(np.abs(latitude[:, rows])) == pytest.approx(reach, abs=0.3)


def _smallest_distance_km(shell: Shell) -> float:
    """Smallest distance of the first satellite to any other of its shell over one revolution, on circular orbits.

    The cosine of the angle between two satellites of one inclination is c0 + c1·cos 2u + c2·sin 2u in the argument of latitude u: three
    values of u give the coefficients, and they give the greatest cosine exactly.
    """
    plane, slot = (axis.ravel()[1:] for axis in np.indices((shell.planes, shell.satellites_per_plane)))
    raan = plane * 2 * np.pi / shell.planes
    ahead = slot * 2 * np.pi / shell.satellites_per_plane + plane * shell.phasing * 2 * np.pi / shell.satellite_count
    inclination = np.radians(shell.inclination_deg)

    def unit(node: Floats, argument: Floats) -> Floats:
        x = np.cos(node) * np.cos(argument) - np.sin(node) * np.sin(argument) * np.cos(inclination)
        y = np.sin(node) * np.cos(argument) + np.cos(node) * np.sin(argument) * np.cos(inclination)
        return np.stack([x, y, np.sin(argument) * np.sin(inclination) + 0 * node], axis=-1)

    def cosine(u: float) -> Floats:
        return np.asarray(np.sum(unit(raan, ahead + u) * unit(np.zeros(1), np.array([u])), axis=-1))

    c0 = (cosine(0) + cosine(np.pi / 2)) / 2
    greatest = c0 + np.hypot(cosine(0) - c0, cosine(np.pi / 4) - c0)
    chord = math.sqrt(max(0.0, float(np.min(2 - 2 * greatest))))
    return chord * (WGS72_EARTH_RADIUS_KM + shell.altitude_km)


@pytest.mark.parametrize("shell", STARLINK_GEN1_AS_FILED, ids=lambda s: f"{s.altitude_km:.0f} km, {s.planes}x{s.satellites_per_plane}")
def test_phasing_keeps_satellites_farthest_apart(shell: Shell) -> None:
    chosen = _smallest_distance_km(shell)
    others = [_smallest_distance_km(replace(shell, phasing=f)) for f in range(shell.planes)]
    assert chosen == pytest.approx(max(others), rel=1e-6)
    assert chosen > 45


def test_a_user_shell_in_the_same_array_form() -> None:
    fleet = generate((Shell(1200.0, 87.9, 12, 49, 1),), label="Own as designed", source="test", name_prefix="OWN", epoch_unix_s=1.8e9)
    assert len(fleet) == 588
    assert fleet.names[0] == "OWN 1-01-01"
    assert fleet.names[-1] == "OWN 1-12-49"
    assert fleet.epochs.median_unix_s == pytest.approx(1.8e9, abs=1e-5)


@pytest.mark.parametrize("shells", [(), (Shell(550, 53, 0, 22, 1),), (Shell(550, 53, 72, 0, 1),), (Shell(-5, 53, 72, 22, 1),)])
def test_an_empty_design_is_refused(shells: tuple[Shell, ...]) -> None:
    with pytest.raises(FleetError, match="at least one plane"):
        generate(shells, label="x", source="x", name_prefix="x")
