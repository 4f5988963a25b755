"""Constellations to route over: small generated ones, and one as ragged as those in orbit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from tramontana.space.fleet import Fleet
from tramontana.space.ground import Gateway, Ground, Place, PointOfPresence
from tramontana.space.shells import Shell, generate

WalkerMaker = Callable[..., Fleet]


def make_walker(*shells: Shell) -> Fleet:
    return generate(shells, label="test", source="test", name_prefix="T")


def make_ragged(seed: int = 7) -> Fleet:
    """A fleet like the real ones: 24 planes with gaps, uneven phases, epochs days apart, satellites on the way up and one re-entering."""
    rng = np.random.default_rng(seed)
    fleet = make_walker(Shell(550.0, 53.0, 24, 20, 5), Shell(560.0, 97.6, 6, 12, 1))
    kept = np.sort(rng.choice(len(fleet), 470, replace=False))
    fleet = fleet.take(kept)
    n = len(fleet)
    motion = fleet.mean_motion_rev_per_day.copy()
    in_transit = rng.choice(n, 30, replace=False)
    motion[in_transit] += rng.uniform(0.05, 0.4, 30)
    return replace(
        fleet,
        provenance="elements",
        raan_deg=np.mod(fleet.raan_deg + rng.normal(0, 0.1, n), 360.0),
        inclination_deg=fleet.inclination_deg + rng.normal(0, 0.001, n),
        mean_anomaly_deg=np.mod(fleet.mean_anomaly_deg + rng.normal(0, 2.0, n), 360.0),
        mean_motion_rev_per_day=motion,
    )


GROUND = Ground(
    places=(
        Place("rome", "Rome", "IT", "city", 41.90, 12.50),
        Place("oslo", "Oslo", "NO", "city", 59.91, 10.75),
        Place("nairobi", "Nairobi", "KE", "city", -1.28, 36.82),
        Place("ship", "Ship, Indian Ocean", "", "ship", -25.0, 75.0),
        Place("santiago", "Santiago", "CL", "city", -33.45, -70.66),
        Place("fiji", "Date line", "FJ", "city", -17.7, 179.99),
        Place("pole", "South Pole", "", "city", -90.0, 0.0),
    ),
    gateways=tuple(
        Gateway(name, name, country, latitude, longitude, 25.0, "test")
        for name, country, latitude, longitude in (
            ("g-it", "IT", 45.3, 9.2),
            ("g-it2", "IT", 37.8, 12.5),
            ("g-de", "DE", 50.3, 8.5),
            ("g-ke", "KE", -1.0, 37.0),
            ("g-au", "AU", -31.9, 116.0),
            ("g-cl", "CL", -33.0, -71.0),
        )
    ),
    points_of_presence=(
        PointOfPresence("p-it", "Milan", "IT", 45.48, 9.1, "test"),
        PointOfPresence("p-de", "Frankfurt", "DE", 50.12, 8.73, "test"),
        PointOfPresence("p-ke", "Nairobi", "KE", -1.3, 36.8, "test"),
    ),
)


@pytest.fixture(scope="session")
def walker() -> WalkerMaker:
    """Makes a fleet of shells."""
    return make_walker


@pytest.fixture(scope="session")
def ground() -> Ground:
    return GROUND


@pytest.fixture(scope="session")
def ragged_fleet() -> Fleet:
    return make_ragged()


@pytest.fixture(scope="session")
def grid_fleet() -> Fleet:
    return make_walker(Shell(550.0, 53.0, 24, 18, 5))
