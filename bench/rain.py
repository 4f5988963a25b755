"""What one prediction of attenuation costs, beside the package `itur` called once a point and called with arrays, in one run.

- *one point*: a single place, elevation and percentage in each call, climate looked up anew.
- *many points*: places in one call, climate looked up in it.
- *table*: places × elevations × percentages in one call, per figure; `itur` takes arrays of places only, so it is called once a pair.

"Rain" is the rain attenuation alone (P.618), "total" with gas, cloud and scintillation. The greatest difference between the two is
printed beside the time: figures that differ would compare nothing. Maps and machine code are loaded before the clock starts.

Run: python bench/rain.py
"""

from __future__ import annotations

import importlib.util
import sys
import time
import warnings
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tramontana.space.links import KA_FEEDER_DOWN, RainClimate, RainLink, RainSeries, attenuation_db, availability, rain_attenuation_db

FREQUENCY_GHZ, ELEVATION_DEG, PERCENT, DIAMETER_M, EFFICIENCY = 18.5, 40.0, 0.1, 0.6, 0.65
LINK = RainLink(FREQUENCY_GHZ * 1e9, antenna_diameter_m=DIAMETER_M, antenna_efficiency=EFFICIENCY)
ELEVATIONS_DEG, PERCENTS = np.linspace(25, 90, 20), np.geomspace(0.001, 5, 20)
SCALAR_POINTS, MANY_POINTS, TABLE_PLACES = 40, 100, 8000

Floats = NDArray[np.float64]


def seconds_per_figure(work: Callable[[], Floats]) -> tuple[float, Floats]:
    """Processor seconds, the best of three runs, per figure in the answer: others on the machine do not count."""
    work()
    best, answer = np.inf, np.zeros(0)
    for _ in range(3):
        start = time.process_time()
        answer = work()
        best = min(best, time.process_time() - start)
    return best / answer.size, answer


def places(count: int) -> tuple[Floats, Floats, Floats]:
    rng = np.random.default_rng(7)
    return rng.uniform(30, 60, count), rng.uniform(-10, 40, count), rng.uniform(0, 800, count)


def ours(name: str, latitude: ArrayLike, longitude: ArrayLike, height_m: ArrayLike) -> Floats:
    climate = RainClimate.at(latitude, longitude, height_m)
    predict = rain_attenuation_db if name == "rain" else attenuation_db
    return np.atleast_1d(predict(climate, LINK, ELEVATION_DEG, PERCENT))


def theirs(
    name: str, latitude: ArrayLike, longitude: ArrayLike, height_m: ArrayLike, elevation: float = ELEVATION_DEG, p: float = PERCENT
) -> Floats:
    import itur

    station_km = np.asarray(height_m) / 1000
    if name == "rain":
        answer = itur.models.itu618.rain_attenuation(latitude, longitude, FREQUENCY_GHZ, elevation, hs=station_km, p=p)
    else:
        answer = itur.atmospheric_attenuation_slant_path(
            latitude, longitude, FREQUENCY_GHZ, elevation, p, DIAMETER_M, hs=station_km, eta=EFFICIENCY
        )
    return np.atleast_1d(np.asarray(answer.value))


def each(predict: Callable[..., Floats], name: str, points: tuple[Floats, Floats, Floats]) -> Callable[[], Floats]:
    """One call a point."""
    return lambda: np.concatenate([predict(name, *point) for point in zip(*(values.tolist() for values in points), strict=True)])


def together(predict: Callable[..., Floats], name: str, points: tuple[Floats, Floats, Floats]) -> Callable[[], Floats]:
    """All points in one call."""
    return lambda: predict(name, *points)


def table_of(predict: Callable[..., Floats], climate: RainClimate) -> Callable[[], Floats]:
    """Places × elevations × percentages in one call."""
    return lambda: predict(climate[:, None, None], LINK, ELEVATIONS_DEG[:, None], PERCENTS)


def columns_of(name: str, points: tuple[Floats, Floats, Floats], pairs: tuple[tuple[int, int], ...]) -> Callable[[], Floats]:
    """The same table by `itur`, only the columns of these pairs of elevation and percentage."""
    return lambda: np.stack([theirs(name, *points, float(ELEVATIONS_DEG[e]), float(PERCENTS[p])) for e, p in pairs], axis=1)


def main() -> None:
    warnings.simplefilter("ignore")
    if importlib.util.find_spec("itur") is None:
        sys.exit("bench/rain.py compares with the package itur: install the development dependencies (make setup-dev)")

    print("            case         ms a figure: tramontana        itur     ratio   greatest difference")
    few, many, grid = places(SCALAR_POINTS), places(MANY_POINTS), places(TABLE_PLACES)
    for name in ("rain", "total"):
        show(f"{name}, one point", seconds_per_figure(each(ours, name, few)), seconds_per_figure(each(theirs, name, few)))
        for points in (many, grid):
            pair = [seconds_per_figure(together(predict, name, points)) for predict in (ours, theirs)]
            show(f"{name}, {points[0].size} points", *pair)

    climate = RainClimate.at(*grid)
    pairs = ((0, 0), (5, 9), (12, 15), (19, 19))
    for name, predict in (("rain", rain_attenuation_db), ("total", attenuation_db)):
        mine, table = seconds_per_figure(table_of(predict, climate))
        reference, columns = seconds_per_figure(columns_of(name, grid, pairs))
        show(f"{name}, table", (mine, np.stack([table[:, e, p] for e, p in pairs], axis=1)), (reference, columns))
    print(f"  the table is {TABLE_PLACES} places x {ELEVATIONS_DEG.size} x {PERCENTS.size}: {table.size / 1e6:.1f} million figures")

    mine, _ = seconds_per_figure(lambda: availability(climate, LINK, ELEVATION_DEG, 6.0))
    print(f"  availability for a margin: {mine * 1e6:.1f} µs a place")
    series, day = RainSeries(1, climate[0], KA_FEEDER_DOWN.link), 1.7e9 + 15.0 * np.arange(5760)
    mine, _ = seconds_per_figure(lambda: series.attenuation_db(day, ELEVATION_DEG))
    print(f"  rain series: {mine * day.size * 1e3:.1f} ms a day of 15 s steps")


def show(case: str, mine: tuple[float, Floats], reference: tuple[float, Floats]) -> None:
    ratio, difference = reference[0] / mine[0], np.max(np.abs(mine[1] - reference[1]))
    print(f"{case:>22}  {mine[0] * 1e3:26.5f}  {reference[0] * 1e3:10.4f}  {ratio:7.1f}x  {difference:14.4f} dB")


if __name__ == "__main__":
    main()
