"""Planes: those that were generated are found again, those of ragged elements as well, and what belongs to none gets none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tramontana.errors import LocalError
from tramontana.space.fleet import Fleet
from tramontana.space.orbits import satrecs
from tramontana.space.routing.planes import NO_PLANE, PlaneRules, Planes, infer_planes
from tramontana.space.shells import FILED_EPOCH_UNIX_S, Shell, starlink_gen1_as_filed

AT = FILED_EPOCH_UNIX_S + 3000.0
IN_TRANSIT = 30
Walker = Callable[..., Fleet]


def groups(planes: Planes) -> set[frozenset[int]]:
    return {frozenset(planes.satellites(p).tolist()) for p in range(planes.plane_count)}


def filed_groups(fleet: Fleet) -> set[frozenset[int]]:
    """By the names of the generator: shell-plane-slot."""
    found: dict[str, set[int]] = {}
    for index, name in enumerate(fleet.names):
        found.setdefault(name.rsplit("-", 1)[0], set()).add(index)
    return {frozenset(plane) for plane in found.values()}


@settings(max_examples=30, deadline=None)
@given(
    planes=st.integers(1, 40),
    slots=st.integers(1, 30),
    phasing=st.integers(0, 39),
    inclination=st.floats(5.0, 120.0),
    altitude=st.floats(400.0, 1500.0),
    days=st.floats(-20.0, 20.0),
)
def test_generated_planes_are_found_exactly(
    walker: Walker, planes: int, slots: int, phasing: int, inclination: float, altitude: float, days: float
) -> None:
    fleet = walker(Shell(altitude, inclination, planes, slots, phasing % planes))
    found = infer_planes(fleet, FILED_EPOCH_UNIX_S + days * 86400)
    assert groups(found) == filed_groups(fleet)
    assert found.shell_count == 1
    for number in range(found.plane_count):  # the generator numbers slots by phase, so the order is theirs but for where it begins
        slot = np.array([int(fleet.names[i].rsplit("-", 1)[1]) - 1 for i in found.satellites(number)])
        assert np.all(np.mod(np.diff(slot), slots) == 1)


def test_the_default_fleet_is_found_exactly() -> None:
    """But for the two polar shells of equal altitude and inclination: where their planes coincide, nothing tells them apart."""
    fleet = starlink_gen1_as_filed()
    found = infer_planes(fleet, FILED_EPOCH_UNIX_S + 200 * 86400)
    polar = range(1584 * 2 + 720, len(fleet))
    assert np.all(found.plane != NO_PLANE)
    assert [fleet.names[found.satellites(p)[0]].split("-")[1] for p in range(72)] == [f"{p + 1:02d}" for p in range(72)]
    assert {g for g in groups(found) if min(g) < polar.start} == {g for g in filed_groups(fleet) if min(g) < polar.start}
    assert sorted(len(g) for g in groups(found) if min(g) >= polar.start) == [43, 43, 58, 58, 58, 58, 101, 101]
    assert found.shell_count == 4
    assert np.bincount(found.shell).tolist() == [72, 72, 36, 8]


def test_ragged_elements_give_the_planes_they_were_made_of(ragged_fleet: Fleet) -> None:
    found = infer_planes(ragged_fleet, AT + 3 * 86400)
    assert found.shell_count == 2
    assert found.plane_count == 24 + 6
    assert np.count_nonzero(found.plane == NO_PLANE) == IN_TRANSIT
    for number in range(found.plane_count):
        assert len({ragged_fleet.names[i].rsplit("-", 1)[0] for i in found.satellites(number)}) == 1
        assert np.all(np.diff(found.phase_deg[found.satellites(number)]) >= 0)


def test_old_elements_are_brought_to_one_instant(grid_fleet: Fleet) -> None:
    """Nodes precess by 5° a day: elements taken days apart fall into the right planes only when that is undone."""
    rng = np.random.default_rng(3)
    days = rng.uniform(0, 10, len(grid_fleet))
    now = infer_planes(grid_fleet, AT)
    # The same orbits described at earlier epochs, by the secular rates that SGP4 itself gives.
    record = satrecs(grid_fleet)[0]
    per_day = 1440.0 * np.degrees(np.array([record.nodedot, record.argpdot, record.mdot]))
    older = replace(
        grid_fleet,
        provenance="elements",
        epoch_days_1949=grid_fleet.epoch_days_1949 - days,
        raan_deg=np.mod(grid_fleet.raan_deg - per_day[0] * days, 360.0),
        argument_of_perigee_deg=np.mod(grid_fleet.argument_of_perigee_deg - per_day[1] * days, 360.0),
        mean_anomaly_deg=np.mod(grid_fleet.mean_anomaly_deg - per_day[2] * days, 360.0),
    )
    assert groups(infer_planes(older, AT)) == groups(now)


def test_an_equatorial_ring_is_one_plane_ordered_by_longitude(walker: Walker) -> None:
    ring = walker(Shell(8062.0, 0.05, 1, 12, 0))
    scattered = replace(
        ring,
        raan_deg=np.linspace(0, 330, 12),
        mean_anomaly_deg=np.mod(ring.mean_anomaly_deg - np.linspace(0, 330, 12), 360.0),
    )
    found = infer_planes(scattered, FILED_EPOCH_UNIX_S)
    assert found.plane_count == 1
    assert np.all(np.abs(np.diff(found.members)) % 12 % 11 == 1)


def test_the_seam_of_a_star_has_no_neighbours_and_a_delta_closes(walker: Walker) -> None:
    delta = infer_planes(walker(Shell(780.0, 53.0, 6, 11, 1)), AT)
    assert delta.neighbours(3.0).tolist() == [1, 2, 3, 4, 5, 0]
    fleet = walker(Shell(780.0, 86.4, 6, 11, 1))
    star = replace(fleet, raan_deg=fleet.raan_deg / 360.0 * 190.0)  # as Iridium: 31.6° apart, the last against the first
    assert infer_planes(star, AT).neighbours(3.0).tolist() == [1, 2, 3, 4, 5, NO_PLANE]
    two = walker(Shell(780.0, 86.4, 2, 11, 1))
    assert infer_planes(replace(two, raan_deg=two.raan_deg / 2), AT).neighbours(3.0).tolist() == [1, NO_PLANE]
    gap = infer_planes(fleet.take(np.flatnonzero((np.arange(66) // 11 != 2) & (np.arange(66) // 11 != 3))), AT)
    assert gap.neighbours(1.5).tolist() == [1, NO_PLANE, 3, 0]


def test_eccentric_and_decayed_satellites_get_no_plane(grid_fleet: Fleet) -> None:
    eccentricity = np.zeros(len(grid_fleet))
    eccentricity[5] = 0.1
    drag = np.zeros(len(grid_fleet))
    drag[7] = 9.0
    found = infer_planes(replace(grid_fleet, eccentricity=eccentricity, bstar_per_earth_radius=drag), AT + 40 * 86400)
    assert found.plane[5] == found.plane[7] == NO_PLANE
    assert np.isnan(found.phase_deg[7])
    assert np.count_nonzero(found.plane == NO_PLANE) == 2


def test_one_satellite_and_bad_arguments(walker: Walker) -> None:
    one = infer_planes(walker(Shell(600.0, 97.0, 1, 1, 0)), AT)
    assert one.satellites(0).tolist() == [0]
    assert one.neighbours(3.0).tolist() == [NO_PLANE]
    with pytest.raises(LocalError, match="there is no plane 1: this fleet has planes 0 to 0"):
        one.satellites(1)
    with pytest.raises(LocalError, match="instant"):
        infer_planes(walker(Shell(600.0, 97.0, 1, 1, 0)), float("nan"))
    with pytest.raises(LocalError, match="node_gap_deg"):
        PlaneRules(node_gap_deg=-1.0)
