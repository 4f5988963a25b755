"""Loss into buildings by ITU-R P.2109: its medians, and a share that falls with what there is to spare."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tramontana.cell.building_entry import FREQUENCY_GHZ, loss_db, share_reached


@pytest.mark.parametrize("elevation_deg", [0.0, 30.0, 90.0])
def test_half_of_all_places_lose_the_recommendations_median(elevation_deg: float) -> None:
    log = float(np.log10(FREQUENCY_GHZ))
    median_db = 12.64 + 3.72 * log + 0.96 * log**2 + 0.212 * elevation_deg  # equation 9 and 10 of P.2109, traditional buildings
    found = float(loss_db(np.array([0.5]), elevation_deg)[0])
    assert median_db < found < median_db + 1.5  # what goes round about adds a little


@given(st.floats(5, 89), st.floats(-10, 40), st.floats(0.1, 10))
def test_a_stronger_signal_reaches_more_places(elevation_deg: float, spare_db: float, more_db: float) -> None:
    first, second = share_reached(elevation_deg, spare_db), share_reached(elevation_deg, spare_db + more_db)
    assert 0 <= first <= second <= 1
    if 0 < first < 0.99:
        shares = np.array([first])
        assert float(loss_db(shares, round(elevation_deg, 1))[0]) == pytest.approx(spare_db, abs=0.3)
