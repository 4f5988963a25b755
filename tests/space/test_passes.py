"""Rise, culmination and set against skyfield, and passes that hide between samples."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest
from skyfield.api import EarthSatellite, load, wgs84
from skyfield.vectorlib import VectorFunction

from tramontana.errors import LocalError
from tramontana.space.ephemeris import Ephemeris
from tramontana.space.fleet import Floats
from tramontana.space.orbits import satrecs
from tramontana.space.passes import find_passes
from tramontana.space.shells import FILED_EPOCH_UNIX_S, Shell, generate
from tramontana.space.visibility import look_angles

START, END = FILED_EPOCH_UNIX_S + 5000.0, FILED_EPOCH_UNIX_S + 5000.0 + 86_400.0
ROME = (41.9, 12.5, 50.0)


@pytest.fixture(scope="module")
def ephemeris() -> Ephemeris:
    return Ephemeris(generate((Shell(550, 53, 3, 2, 1), Shell(1200, 87.9, 2, 1, 1)), label="t", source="t", name_prefix="T"), step_s=60.0)


def test_times_of_passes_agree_with_skyfield_to_a_tenth_of_a_second(ephemeris: Ephemeris) -> None:
    """Skyfield's altitude crosses the mask, and its slope changes sign, within 0.1 s of our rise, set and culmination.

    Its own search stops at half a second, so its altitudes are asked. It turns the Earth by UT1 and we by UTC, which differ by less than
    0.1 s in 2026; passes that only touch the mask are left out, because there a hundredth of a degree is seconds.
    """
    mask = 10.0
    found = find_passes(ephemeris, *ROME, START, END, minimum_elevation_deg=mask)
    timescale = load.timescale(builtin=True)
    site = wgs84.latlon(ROME[0], ROME[1], elevation_m=ROME[2])
    compared = 0
    for index, record in enumerate(satrecs(ephemeris.fleet)):
        seen_from = EarthSatellite.from_satrec(record, timescale) - site

        def altitude(unix_s: Floats, seen_from: VectorFunction = seen_from) -> Floats:
            instants = timescale.from_datetimes([datetime.fromtimestamp(t, UTC) for t in unix_s.tolist()])
            return np.asarray(seen_from.at(instants).altaz()[0].degrees)

        mine = (found.satellite == index) & (found.highest_elevation_deg > mask + 5)
        rises, sets = (t[mine & np.isfinite(t)] for t in (found.rise_unix_s, found.set_unix_s))
        assert np.all(altitude(rises - 0.1) < mask)
        assert np.all(altitude(rises + 0.1) > mask)
        assert np.all(altitude(sets - 0.1) > mask)
        assert np.all(altitude(sets + 0.1) < mask)
        tops = found.culmination_unix_s[mine & np.isfinite(found.rise_unix_s) & np.isfinite(found.set_unix_s)]
        assert np.all(altitude(tops - 0.05) > altitude(tops - 0.15))
        assert np.all(altitude(tops + 0.05) > altitude(tops + 0.15))
        compared += tops.shape[0]
    assert compared > 20


def test_every_pass_of_a_dense_sampling_is_found_and_no_other(ephemeris: Ephemeris) -> None:
    mask = 40.0
    found = find_passes(ephemeris, *ROME, START, END, minimum_elevation_deg=mask)
    times = np.arange(START, END, 1.0)
    for index in range(len(ephemeris.fleet)):
        up = look_angles(*ROME, ephemeris.propagator.track_itrs_m(index, times))[0] >= mask
        starts = times[1:][up[1:] & ~up[:-1]]
        mine = np.flatnonzero(found.satellite == index)
        rises = found.rise_unix_s[mine]
        rises = rises[np.isfinite(rises)]
        matched = [np.min(np.abs(rises - s)) < 1.1 for s in starts]
        assert all(matched)
        assert rises.shape[0] - starts.shape[0] in (0, 1)  # a pass of less than a second may fall between the samples


def test_short_passes_between_samples_are_found(ephemeris: Ephemeris) -> None:
    """With the mask just under a culmination, passes last a few seconds, less than the sampling step."""
    usual = find_passes(ephemeris, *ROME, START, END, minimum_elevation_deg=10.0)
    best = int(np.nanargmax(usual.highest_elevation_deg))
    mask = float(usual.highest_elevation_deg[best]) - 0.01
    found = find_passes(ephemeris, *ROME, START, END, minimum_elevation_deg=mask)
    assert found.satellite.tolist() == [usual.satellite[best]]
    assert found.set_unix_s[0] - found.rise_unix_s[0] < 10.0
    assert found.rise_unix_s[0] < found.culmination_unix_s[0] < found.set_unix_s[0]
    assert found.culmination_unix_s[0] == pytest.approx(usual.culmination_unix_s[best], abs=0.01)


def test_passes_cut_by_the_span(ephemeris: Ephemeris) -> None:
    usual = find_passes(ephemeris, *ROME, START, END, minimum_elevation_deg=25.0)
    middle = (usual.rise_unix_s[0] + usual.set_unix_s[0]) / 2
    late = find_passes(ephemeris, *ROME, middle, END, minimum_elevation_deg=25.0)
    assert np.isnan(late.rise_unix_s[0])
    assert late.set_unix_s[0] == pytest.approx(usual.set_unix_s[0], abs=0.01)
    early = find_passes(ephemeris, *ROME, START, middle, minimum_elevation_deg=25.0)
    assert np.isnan(early.set_unix_s[-1])
    only = find_passes(ephemeris, *ROME, START, END, minimum_elevation_deg=25.0, satellites=usual.satellite[:1])
    assert set(only.satellite.tolist()) == {usual.satellite[0]}


def test_what_cannot_be_asked(ephemeris: Ephemeris) -> None:
    for start, end in ((START, START), (np.nan, END), (START, START + 1e9)):
        with pytest.raises(LocalError, match="finite span"):
            find_passes(ephemeris, *ROME, start, end)
    with pytest.raises(LocalError, match="out of range"):
        find_passes(ephemeris, 91.0, 0.0, 0.0, START, END)
    with pytest.raises(LocalError, match="at least one satellite"):
        find_passes(ephemeris, *ROME, START, END, satellites=np.empty(0, dtype=np.intp))
