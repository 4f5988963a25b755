"""Lasers: +grid on regular shells, limits of range, air and terminals, acquisition, and answers independent of what was asked before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from tramontana.errors import LocalError
from tramontana.space.fleet import Fleet, Floats
from tramontana.space.ground import Ground
from tramontana.space.orbits import Propagator
from tramontana.space.parameters import Parameter
from tramontana.space.routing.lasers import LaserLinks
from tramontana.space.routing.options import LaserParameters, RouterOptions
from tramontana.space.routing.planes import NO_PLANE, infer_planes
from tramontana.space.routing.router import Router
from tramontana.space.routing.wiring import plus_grid
from tramontana.space.shells import FILED_EPOCH_UNIX_S, Shell
from tramontana.space.visibility import SPEED_OF_LIGHT_M_PER_S, WGS84_SEMI_MAJOR_AXIS_M

AT = FILED_EPOCH_UNIX_S + 3000.0
PERIOD_S = LaserParameters().rewiring_period_s.value
Walker = Callable[..., Fleet]


def set_to(parameter: Parameter, value: float) -> Parameter:
    return replace(parameter, value=value, low=min(value, parameter.low), high=max(value, parameter.high))


def options(**changes: Parameter) -> RouterOptions:
    return RouterOptions(laser=replace(LaserParameters(), **changes))


def standing(links: LaserLinks) -> set[tuple[int, int]]:
    tail = np.repeat(np.arange(links.indptr.shape[0] - 1), np.diff(links.indptr))
    up = np.isfinite(links.delay_s)
    return {(a, b) for a, b in zip(tail[up].tolist(), links.neighbour[up].tolist(), strict=True) if a < b}


@pytest.mark.parametrize("phasing", [0, 5, 12, 23])
def test_a_delta_shell_is_a_torus_of_four_links_each(walker: Walker, phasing: int) -> None:
    planes = infer_planes(walker(Shell(550.0, 53.0, 24, 18, phasing)), AT)
    wiring = plus_grid(planes, LaserParameters())
    assert wiring.pairs.shape[0] == 2 * 24 * 18
    assert np.all(np.bincount(wiring.pairs.ravel()) == 4)
    inside = wiring.pairs[~wiring.crosses]
    assert np.all(planes.plane[inside[:, 0]] == planes.plane[inside[:, 1]])
    assert np.all(np.isin(np.abs(np.diff(planes.slot[inside], axis=1)), (1, 17)))
    across = wiring.pairs[wiring.crosses]
    assert np.all(np.isin(np.mod(np.diff(planes.plane[across], axis=1), 24), (1, 23)))


def test_the_partner_across_is_the_nearest_of_its_plane(walker: Walker) -> None:
    """At every instant of an orbit the mean distance to the partner is the least that any constant shift of slots gives."""
    fleet = walker(Shell(550.0, 53.0, 24, 18, 5))
    wiring = plus_grid(infer_planes(fleet, AT), LaserParameters())
    position_m = Propagator(fleet).positions_itrs_m(AT + np.arange(0, 5700, 300.0))
    pair = wiring.pairs[wiring.crosses][0]
    mean_m = [np.linalg.norm(position_m[:, pair[0]] - position_m[:, other], axis=1).mean() for other in range(18, 36)]
    assert int(np.argmin(mean_m)) + 18 == pair[1]


def test_three_terminals_make_a_brick_wall_and_two_leave_rings(walker: Walker) -> None:
    planes = infer_planes(walker(Shell(550.0, 53.0, 24, 18, 0)), AT)
    three = plus_grid(planes, replace(LaserParameters(), lasers_per_satellite=Parameter(3, 2, 4, "", "test")))
    assert np.all(np.bincount(three.pairs.ravel()) == 3)
    joined = {tuple(sorted(p)) for p in planes.plane[three.pairs[three.crosses]].tolist()}
    assert len(joined) == 24  # every plane is still joined to both sides
    two = plus_grid(planes, replace(LaserParameters(), lasers_per_satellite=Parameter(2, 2, 4, "", "test")))
    assert not two.crosses.any()
    assert np.all(np.bincount(two.pairs.ravel()) == 2)


def test_the_seam_of_a_star_stays_open(walker: Walker) -> None:
    fleet = walker(Shell(780.0, 86.4, 6, 11, 1))
    star = replace(fleet, raan_deg=fleet.raan_deg / 360.0 * 190.0)
    planes = infer_planes(star, AT)
    wiring = plus_grid(planes, LaserParameters())
    joined = {tuple(sorted(p)) for p in planes.plane[wiring.pairs[wiring.crosses]].tolist()}
    assert joined == {(0, 1), (1, 2), (2, 3), (3, 4), (4, 5)}
    assert np.bincount(wiring.pairs.ravel())[planes.satellites(0)].tolist() == [3] * 11


def test_ragged_planes_are_matched_one_to_one(ragged_fleet: Fleet) -> None:
    planes = infer_planes(ragged_fleet, AT)
    wiring = plus_grid(planes, LaserParameters())
    degree = np.bincount(wiring.pairs.ravel(), minlength=len(ragged_fleet))
    assert degree.max() == 4
    assert np.all(degree[planes.plane == NO_PLANE] == 0)
    assert degree[planes.plane != NO_PLANE].mean() > 3.3
    assert len({tuple(p) for p in wiring.pairs.tolist()}) == wiring.pairs.shape[0]
    assert np.all(wiring.pairs[:, 0] < wiring.pairs[:, 1])


def clear_of_air(a: Floats, b: Floats, height_m: float) -> bool:
    """By brute force: a thousand points on the line, each above the ellipsoid raised by the height."""
    points = a + np.linspace(0, 1, 1001)[:, None] * (b - a)
    equatorial, polar = WGS84_SEMI_MAJOR_AXIS_M + height_m, 6356752.314245 + height_m
    return bool(np.all((points[:, :2] ** 2).sum(axis=1) / equatorial**2 + points[:, 2] ** 2 / polar**2 >= 1.0))


@pytest.mark.parametrize(("longest_m", "height_m"), [(2.8e6, 80e3), (1e8, 420e3), (1e8, 80e3)])
def test_range_and_air_limit_links_as_a_brute_force_check_says(
    ragged_fleet: Fleet, ground: Ground, longest_m: float, height_m: float
) -> None:
    default = LaserParameters()
    limited, unlimited = (
        Router(
            ragged_fleet,
            ground,
            options(
                longest_range_m=set_to(default.longest_range_m, longest), grazing_altitude_m=set_to(default.grazing_altitude_m, height)
            ),
        )
        for longest, height in ((longest_m, height_m), (1e8, -6.3e6))
    )
    now, before = Propagator(ragged_fleet).positions_itrs_m(AT - np.array([0.0, default.acquisition_s.value]))

    def reach(position_m: Floats, a: int, b: int) -> bool:
        near = np.linalg.norm(position_m[a] - position_m[b]) <= longest_m
        return bool(near and clear_of_air(position_m[a], position_m[b], height_m))

    links, every = standing(limited.lasers(AT)), standing(unlimited.lasers(AT))
    assert links == {(a, b) for a, b in every if reach(now, a, b) and reach(before, a, b)}
    assert 0 < len(links) < len(every)


def test_delay_is_length_over_c_and_processing(grid_fleet: Fleet, ground: Ground) -> None:
    position_m = Propagator(grid_fleet).positions_itrs_m(np.array([AT]))[0]
    plain = Router(grid_fleet, ground).lasers(AT)
    slow = Router(grid_fleet, ground, options(hop_processing_s=Parameter(5e-4, 0, 1e-3, "s", "test"))).lasers(AT)
    tail = np.repeat(np.arange(len(grid_fleet)), np.diff(plain.indptr))
    length_m = np.linalg.norm(position_m[tail] - position_m[plain.neighbour], axis=1)
    np.testing.assert_allclose(plain.delay_s, length_m / SPEED_OF_LIGHT_M_PER_S, rtol=1e-12)
    np.testing.assert_allclose(slow.delay_s, plain.delay_s + 5e-4, rtol=1e-12)


def test_a_link_back_in_reach_is_down_for_the_acquisition_time(walker: Walker, ground: Ground) -> None:
    """Two planes that meet at the poles and part at the equator: with a short range the links come and go."""
    fleet = walker(Shell(800.0, 90.0, 8, 10, 0))
    fleet = replace(fleet, raan_deg=fleet.raan_deg / 2)
    short = set_to(LaserParameters().longest_range_m, 1.5e6)
    step_s = 10.0
    times = AT + np.arange(0, 3000, step_s)
    slow, fast = (
        Router(fleet, ground, options(longest_range_m=short, acquisition_s=Parameter(value, 0, 120, "s", "test"))) for value in (60.0, 0.0)
    )
    position_m = Propagator(fleet).positions_itrs_m(times)
    came_back = 0
    for index in range(6, len(times)):
        now, geometric = standing(slow.lasers(times[index])), standing(fast.lasers(times[index]))
        for a, b in geometric:
            in_reach_before = np.linalg.norm(position_m[index - 6, a] - position_m[index - 6, b]) <= 1.5e6
            assert ((a, b) in now) == in_reach_before
            came_back += not in_reach_before
        assert now <= geometric
    assert came_back > 50


def test_a_new_partner_is_down_for_the_acquisition_time(walker: Walker, ground: Ground) -> None:
    """Planes of unequal height drift against each other; at the beginning of a period the partner is chosen anew."""
    fleet = walker(Shell(550.0, 53.0, 12, 15, 2))
    motion = fleet.mean_motion_rev_per_day + 0.0005 * (np.arange(len(fleet)) // 15 % 2)
    drifting = replace(fleet, mean_motion_rev_per_day=motion, provenance="elements")
    router = Router(drifting, ground)
    began = next(
        at
        for at in (np.ceil(AT / PERIOD_S) + np.arange(800)) * PERIOD_S
        if not np.array_equal(router._network.topology(at).wiring.pairs, router._network.topology(at - 1).wiring.pairs)
    )
    old = {tuple(p) for p in router._network.topology(began - 1).wiring.pairs.tolist()}
    new = {tuple(p) for p in router._network.topology(began).wiring.pairs.tolist()}
    assert new - old
    assert standing(router.lasers(began + 1.0)) <= old & new
    assert standing(router.lasers(began + 31.0)) & (new - old)


def test_filed_shells_never_change_partners(grid_fleet: Fleet, ground: Ground) -> None:
    router = Router(grid_fleet, ground)
    first = router._network.topology(AT).wiring.pairs
    for days in (1, 30, 300):
        assert np.array_equal(router._network.topology(AT + days * 86400).wiring.pairs, first)


def test_chunks_of_time_join_without_seam(ragged_fleet: Fleet, ground: Ground) -> None:
    times = (np.floor(AT / PERIOD_S) + 1) * PERIOD_S + np.arange(-60, 90, 15.0)
    straight = Router(ragged_fleet, ground)
    whole = [straight.lasers(at).delay_s for at in times]
    for at, expected in zip(times[::-1], whole[::-1], strict=True):  # each in a process of its own, as it were, and backwards
        assert np.array_equal(Router(ragged_fleet, ground).lasers(at).delay_s, expected)


def test_coinciding_satellites_still_take_time(walker: Walker, ground: Ground) -> None:
    lasers = Router(walker(Shell(550.0, 97.6, 1, 10, 0), Shell(550.0, 97.6, 1, 15, 0)), ground).lasers(AT)
    assert lasers.delay_s.min() == 1.0 / SPEED_OF_LIGHT_M_PER_S


def test_given_pairs_replace_the_grid(grid_fleet: Fleet, ground: Ground) -> None:
    pairs = ((1, 0), (2, 3), (3, 2))
    assert standing(Router(grid_fleet, ground, RouterOptions(laser_pairs=pairs)).lasers(AT)) == {(0, 1), (2, 3)}
    assert standing(Router(grid_fleet, ground, RouterOptions(lasers=False)).lasers(AT)) == set()
    with pytest.raises(LocalError, match="past the end"):
        Router(grid_fleet, ground, RouterOptions(laser_pairs=((0, 99999),)))
    with pytest.raises(LocalError, match="two different satellites"):
        RouterOptions(laser_pairs=((4, 4),))


def test_every_figure_names_its_source_or_says_assumption() -> None:
    notes = RouterOptions().assumptions()
    assert any("acquisition_s 30 s (5 to 120)" in note for note in notes)
    assert not any("longest_range_m" in note for note in notes)
