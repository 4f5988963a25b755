"""Cells and who may serve them, against brute force; what cells get for what they ask."""

from __future__ import annotations

import h3
import numpy as np
import pytest
from numpy.typing import NDArray

from tramontana.errors import LocalError
from tramontana.space.beams.assignment import BeamRules
from tramontana.space.beams.capacity import CHANNEL_HZ, EFFICIENCY_BPS_PER_HZ, beams_for, serve
from tramontana.space.beams.cells import Cells, Ints, Pairs, pairs_in_view
from tramontana.space.orbits import Propagator
from tramontana.space.shells import FILED_EPOCH_UNIX_S, starlink_gen1_as_filed
from tramontana.space.visibility import look_angles

POSITION_M = Propagator(starlink_gen1_as_filed()).positions_itrs_m(np.array([FILED_EPOCH_UNIX_S + 3600.0]))[0]
IDS = tuple(
    sorted(
        h3.grid_disk(h3.latlng_to_cell(41.9, 12.5, 4), 3)  # Rome
        + h3.grid_disk(h3.latlng_to_cell(-17.0, 180.0, 4), 2)  # the date line
        + h3.grid_disk(h3.latlng_to_cell(90.0, 0.0, 3), 1)
    )
)


def elevations(cells: Cells) -> NDArray[np.float64]:
    """(C, N) degrees."""
    rows = zip(cells.latitude_deg, cells.longitude_deg, strict=True)
    return np.array([look_angles(float(la), float(lo), 0.0, POSITION_M)[0] for la, lo in rows])


def as_table(pairs: Pairs) -> NDArray[np.bool_]:
    table = np.zeros((pairs.cells, pairs.satellites), dtype=np.bool_)
    table[pairs.cell, pairs.satellite] = True
    return table


@pytest.mark.parametrize("minimum_deg", [25.0, 40.0])
def test_pairs_equal_brute_force(minimum_deg: float) -> None:
    cells = Cells.of(IDS, minimum_elevation_deg=minimum_deg)
    np.testing.assert_array_equal(as_table(pairs_in_view(cells, POSITION_M)), elevations(cells) >= minimum_deg)


def test_a_mask_leaves_out_satellites_and_the_hook_leaves_out_pairs() -> None:
    cells = Cells.of(IDS)
    seen = as_table(pairs_in_view(cells, POSITION_M))
    may_serve = np.arange(seen.shape[1]) % 3 > 0

    def odd_pairs(cell: Ints, satellite: Ints) -> NDArray[np.bool_]:
        return np.asarray((cell + satellite) % 2 == 1)

    left = as_table(pairs_in_view(cells, POSITION_M, may_serve=may_serve, exclude=odd_pairs))
    odd = np.add.outer(np.arange(seen.shape[0]), np.arange(seen.shape[1])) % 2 == 1
    np.testing.assert_array_equal(left, seen & may_serve & ~odd)
    assert 0 < left.sum() < seen.sum()


def test_keeping_away_from_the_geostationary_arc_only_takes_pairs_away() -> None:
    free, away = (as_table(pairs_in_view(Cells.of(IDS, arc_avoidance_deg=angle), POSITION_M)) for angle in (0.0, 18.0))
    assert not np.any(away & ~free)
    assert away.sum() < free.sum()


@pytest.mark.parametrize(("ids", "message"), [((), "at least one"), (("85nonsense",), "no H3 cell"), ((IDS[0], IDS[0]), "once only")])
def test_bad_cells_are_refused(ids: tuple[str, ...], message: str) -> None:
    with pytest.raises(LocalError, match=message):
        Cells.of(ids)


def test_capacity_and_served_share() -> None:
    """Three cells under one satellite of four beams: 1 and 2 beams' worth are asked, and nothing."""
    pairs = Pairs(np.array([0, 1, 2, 3]), np.zeros(3, dtype=np.int32), 1)
    beam = CHANNEL_HZ.value * EFFICIENCY_BPS_PER_HZ.value
    got = serve(pairs, np.array([beam, 4 * beam, 0.0]), rules=BeamRules(4, 8))
    assert got.plan.beams_of_cell.tolist() == [1, 3, 0]
    np.testing.assert_allclose(got.capacity_bps, [beam, 3 * beam, 0.0])
    np.testing.assert_allclose(got.served_share, [1.0, 0.75, 1.0])
    assert got.served_share_of_all == pytest.approx(0.8)
    assert got.bound.total == 4
    assert serve(pairs, 0.0).served_share_of_all == 1.0


def test_demand_beyond_the_channels_is_served_in_part() -> None:
    rules = BeamRules(48, 8)
    assert beams_for(np.array([0.0, 1.0, 600e6, 600e6 + 1, 1e12]), 600e6, rules).tolist() == [0, 1, 1, 2, 8]
    pairs = Pairs(np.array([0, 1]), np.zeros(1, dtype=np.int32), 1)
    got = serve(pairs, 1e10, rules=rules, channel_hz=250e6, efficiency_bps_per_hz=2.0)
    assert got.capacity_bps.tolist() == [8 * 500e6]
    assert got.served_share.tolist() == [0.4]


@pytest.mark.parametrize("demand", [-1.0, np.nan, np.array([1.0, 2.0])])
def test_bad_demand_is_refused(demand: float | NDArray[np.float64]) -> None:
    with pytest.raises(LocalError, match="demand must be finite"):
        serve(Pairs(np.array([0, 0]), np.empty(0, dtype=np.int32), 1), demand)


def test_a_beam_without_capacity_is_refused() -> None:
    with pytest.raises(LocalError, match="above zero"):
        serve(Pairs(np.array([0, 0]), np.empty(0, dtype=np.int32), 1), 1.0, efficiency_bps_per_hz=0.0)


def test_the_efficiency_spans_what_is_claimed_for_a_satellite() -> None:
    satellite_bps = 48 * CHANNEL_HZ.value * np.array([EFFICIENCY_BPS_PER_HZ.low, EFFICIENCY_BPS_PER_HZ.high])
    np.testing.assert_allclose(satellite_bps, [6e9, 96e9], rtol=0.01)
