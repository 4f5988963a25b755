"""The catalogue of designs: counts as published, orbits where they should be, phasing as stated."""

from __future__ import annotations

import numpy as np
import pytest

from tramontana.errors import LocalError
from tramontana.space.designs import DESIGNS, Design, design
from tramontana.space.ephemeris import Ephemeris
from tramontana.space.fleet import Floats
from tramontana.space.in_view import in_view
from tramontana.space.observers import Places
from tramontana.space.orbits import Propagator
from tramontana.space.shells import FILED_EPOCH_UNIX_S, WGS72_EARTH_RADIUS_KM, Shell, generate, starlink_gen1_as_filed, usual_phasing

COUNTS = {
    "starlink-gen1": 4408,
    "starlink-gen2": 29_988,
    "starlink-gen2-granted-2022": 7476,
    "starlink-direct-to-cell": 650,
    "starlink-direct-to-cell-filed": 2016,
    "starlink-direct-to-cell-filed-2025": 15_000,
    "oneweb": 588,
    "kuiper": 3236,
    "iridium": 66,
    "iris2": 264 + 18,
}
EVERY = pytest.mark.parametrize("one", DESIGNS.values(), ids=DESIGNS.keys())


def test_the_catalogue_is_complete() -> None:
    assert {key: one.satellite_count for key, one in DESIGNS.items()} == COUNTS
    assert all(key == one.id for key, one in DESIGNS.items())
    with pytest.raises(LocalError, match="unknown design 'gen3': use one of starlink-gen1, starlink-gen2"):
        design("gen3")


def test_sums_of_the_filing_as_the_grant_repeats_them() -> None:
    shells = design("starlink-gen2").shells
    assert sum(s.satellite_count for s in shells if s.altitude_km <= 360) == 19_440
    assert sum(s.satellite_count for s in shells if 525 <= s.altitude_km <= 535) == 10_080
    assert sum(s.satellite_count for s in shells if s.altitude_km > 600) == 468
    assert design("starlink-gen2-granted-2022").satellite_count <= 7500


@EVERY
def test_every_design_says_where_it_comes_from_and_what_it_assumes(one: Design) -> None:
    assert one.source
    assert one.label
    assert one.operator
    assert any("assumed" in text for text in one.assumptions)
    fleet = one.fleet()
    assert fleet.label == one.label
    assert fleet.provenance == "filed"
    assert len(fleet) == one.satellite_count


@EVERY
def test_satellites_fly_at_the_altitude_and_latitude_of_their_shell(one: Design) -> None:
    fleet = one.fleet()
    some = np.arange(0, len(fleet), max(1, len(fleet) // 500))
    position = Propagator(fleet.take(some)).positions_itrs_m(FILED_EPOCH_UNIX_S + np.arange(0.0, 20_000.0, 900.0))
    radius_km = np.linalg.norm(position, axis=-1) / 1e3
    latitude = np.degrees(np.arcsin(position[..., 2] / 1e3 / radius_km))
    of = np.repeat(np.arange(len(one.shells)), [shell.satellite_count for shell in one.shells])[some]
    for number, shell in enumerate(one.shells):
        here = of == number
        assert np.max(np.abs(radius_km[:, here] - WGS72_EARTH_RADIUS_KM - shell.altitude_km)) < 15
        assert np.max(np.abs(latitude[:, here])) < min(shell.inclination_deg, 180 - shell.inclination_deg) + 0.3


def smallest_distance(shell: Shell, phasing: int) -> float:
    """By positions of all satellites at 2,000 instants of a revolution, in radii of the orbit."""
    plane, slot = np.indices((shell.planes, shell.satellites_per_plane)).reshape(2, -1)
    node = np.radians(plane * shell.node_spacing_deg)
    phase = 2 * np.pi * (slot / shell.satellites_per_plane + plane * phasing / shell.satellite_count)
    tilt = np.radians(shell.inclination_deg)
    closest = np.inf
    for u in np.linspace(0, 2 * np.pi, 2000, endpoint=False):
        x, y = np.cos(phase + u), np.sin(phase + u) * np.cos(tilt)
        unit: Floats = np.stack(
            [x * np.cos(node) - y * np.sin(node), x * np.sin(node) + y * np.cos(node), np.sin(phase + u) * np.sin(tilt)]
        )
        closest = min(closest, float(np.min(np.linalg.norm(unit[:, 1:] - unit[:, :1], axis=0))))
    return closest


@EVERY
def test_phasing_is_the_usual_one(one: Design) -> None:
    for shell in one.shells:
        usual = usual_phasing(shell)
        if shell.pattern == "star":
            assert shell.phasing == usual
        elif shell.phasing != usual:  # another value that keeps satellites exactly as far apart
            assert smallest_distance(shell, shell.phasing) == pytest.approx(smallest_distance(shell, usual), rel=0.02)


@pytest.mark.parametrize("shell", [Shell(550, 53, 12, 9, 0), Shell(550, 97.6, 7, 11, 0), Shell(8000, 50, 3, 6, 0), Shell(600, 30, 5, 1, 0)])
def test_the_usual_phasing_keeps_satellites_farthest_apart(shell: Shell) -> None:
    best = max(smallest_distance(shell, phasing) for phasing in range(shell.planes))
    assert smallest_distance(shell, usual_phasing(shell)) == pytest.approx(best, rel=0.02)
    assert usual_phasing(Shell(550, 53, 1, 1, 0)) == 0


def test_nodes_of_a_delta_go_around_and_of_a_star_half_around() -> None:
    def nodes(shell: Shell) -> list[float]:
        fleet = generate((shell,), label="t", source="t", name_prefix="T")
        return [float(node) for node in np.unique(np.round(fleet.raan_deg, 9))]

    assert nodes(Shell(550, 53, 4, 2, 0)) == [0, 90, 180, 270]
    assert nodes(Shell(550, 90, 4, 2, 0, pattern="star")) == [0, 45, 90, 135]
    assert nodes(Shell(550, 90, 3, 2, 0, pattern="star", plane_spacing_deg=31.6)) == [0, 31.6, 63.2]
    assert nodes(Shell(550, 53, 2, 2, 0, first_node_deg=350.0, plane_spacing_deg=20.0)) == [10, 350]


def test_the_default_fleet_is_the_first_design() -> None:
    built_in, chosen = starlink_gen1_as_filed(), design("starlink-gen1").fleet()
    np.testing.assert_array_equal(built_in.raan_deg, chosen.raan_deg)
    np.testing.assert_array_equal(built_in.mean_anomaly_deg, chosen.mean_anomaly_deg)


@pytest.mark.parametrize(("name", "mask_deg"), [("iridium", 8.0), ("oneweb", 30.0)])
def test_polar_stars_cover_the_whole_earth_as_their_operators_say(name: str, mask_deg: float) -> None:
    """Iridium was designed for 8.2° everywhere (recalled); 588 OneWeb satellites leave no place without one 30° high, poles first."""
    rng = np.random.default_rng(2)
    latitude, longitude = np.degrees(np.arcsin(rng.uniform(-1, 1, 400))), rng.uniform(-180, 180, 400)
    times = FILED_EPOCH_UNIX_S + np.arange(0.0, 6000.0, 60.0)
    count = in_view(Ephemeris(design(name).fleet()), Places(latitude, longitude, minimum_elevation_deg=mask_deg), times).count
    assert np.mean(count >= 1) > 0.995
    polar = np.abs(latitude) > 70
    assert count[:, polar].mean() > 2 * count[:, np.abs(latitude) < 20].mean()
