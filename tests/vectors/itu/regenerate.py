"""Makes the two files that rest on ITU-R's digital maps. Needs the `itur` package (development only; 163 MB of maps inside).

    python tests/vectors/itu/regenerate.py tables    # src/tramontana/space/links/climate.npz, shipped with the product
    python tests/vectors/itu/regenerate.py golden    # tests/vectors/itu/golden.csv, what the tests compare with

Both are deterministic: the same `itur` gives the same bytes.
"""

from __future__ import annotations

import csv
import json
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

HERE = Path(__file__).parent
TABLES = HERE.parents[2] / "src/tramontana/space/links/climate.npz"
GOLDEN = HERE / "golden.csv"

LEVELS_PERCENT = (1, 2, 3, 5, 10, 20, 30, 50)
FINE_SOUTH, FINE_NORTH, FINE_WEST, FINE_EAST = 15.0, 72.0, -30.0, 65.0

Floats = NDArray[np.float64]

PLACES = (  # latitude, longitude, height m: the region's climates, then the rest of the world, then the awkward corners
    (41.90, 12.50, 20.0),
    (45.46, 9.19, 120.0),
    (37.79, 12.49, 10.0),
    (41.51, 15.59, 70.0),
    (46.50, 11.35, 260.0),
    (35.50, 12.61, 5.0),
    (36.81, 10.18, 5.0),
    (32.89, 13.19, 20.0),
    (23.10, 25.00, 400.0),
    (30.04, 31.24, 25.0),
    (24.71, 46.68, 610.0),
    (39.93, 32.86, 890.0),
    (43.30, 5.37, 10.0),
    (51.51, -0.13, 15.0),
    (60.17, 24.94, 10.0),
    (69.65, 18.96, 5.0),
    (47.42, 10.98, 2960.0),
    (33.80, 25.00, 0.0),
    (63.07, -21.30, 0.0),
    (15.60, 32.53, 380.0),
    (40.71, -74.01, 10.0),
    (1.35, 103.82, 15.0),
    (-33.92, 18.42, 20.0),
    (41.90, 180.0, 0.0),
    (-17.0, -179.9, 0.0),
    (89.99, 0.0, 0.0),
)
FREQUENCIES_GHZ = (11.7, 14.25, 18.5, 28.5, 40.0, 50.0)
ELEVATIONS_DEG = (5.0, 25.0, 55.0, 90.0)
PERCENTS = (0.001, 0.01, 0.3, 1.0, 3.5, 5.0, 20.0)
ANTENNA_DIAMETER_M, ANTENNA_EFFICIENCY = 0.6, 0.65


def _raw(name: str) -> Floats:
    from itur.utils import dataset_dir

    with np.load(f"{dataset_dir}{name}.npz") as archive:
        return np.asarray(archive["arr_0"], dtype=np.float64)


def _south_west_first(values: Floats, latitude: Floats, longitude: Floats) -> Floats:
    """Rows from south to north, columns from -180 to 180, both ends included; (…, rows, columns)."""
    if latitude[0, 0] > latitude[-1, 0]:
        values = values[..., ::-1, :]
    if longitude[0, 0] >= 0:  # 0 to 360
        half = (values.shape[-1] - 1) // 2
        values = np.concatenate([values[..., half:-1], values[..., : half + 1]], axis=-1)
    return values


def _filled(values: Floats) -> Floats:
    """The maps of P.836-6 and P.840-7 lack most of one row near the north pole: take the row poleward of it."""
    values = values.copy()
    for row in range(values.shape[-2]):
        hole = ~np.isfinite(values[..., row, :])
        if np.any(hole):
            values[..., row, :] = np.where(hole, values[..., row + 1, :], values[..., row, :])
    if not np.all(np.isfinite(values)):
        raise SystemExit("a map has a hole that its neighbour row does not fill")
    return values


def make_tables() -> None:
    import itur

    members: dict[str, Any] = {}
    about: dict[str, Any] = {}

    def keep(name: str, values: Floats, scale: float, south: float, west: float, step: float, source: str) -> None:
        members[name] = np.rint(values / scale).astype(np.int16 if np.min(values) < 0 else np.uint16)
        about[name] = {"scale": scale, "south_deg": south, "west_deg": west, "step_deg": step, "source": source}

    rain = _south_west_first(_raw("837/v7_r001"), _raw("837/v7_lat_r001"), _raw("837/v7_lon_r001"))
    row, column = slice(840, 1297), slice(1200, 1961)  # 15 to 72 N, 30 W to 65 E, every 0.125 degrees
    source = "ITU-R P.837-7, rainfall rate exceeded for 0.01 %, mm/h"
    keep("rain_rate_fine", rain[row, column], 0.01, FINE_SOUTH, FINE_WEST, 0.125, f"{source}, native grid")
    keep("rain_rate", rain[::4, ::4], 0.01, -90, -180, 0.5, f"{source}, every fourth node")

    def probability(south: float, west: float, step: float, rows: int, columns: int) -> Floats:
        lat, lon = np.meshgrid(south + step * np.arange(rows), west + step * np.arange(columns), indexing="ij")
        return np.asarray(itur.models.itu837.rainfall_probability(np.clip(lat, -90, 90), lon).value)

    source = "ITU-R P.837-7 annex 1, annual probability of rain, %, from monthly rainfall and P.1510-1 temperature"
    keep("rain_probability_fine", probability(14.875, -30.125, 0.25, 230, 382), 0.002, 14.875, -30.125, 0.25, source)
    keep("rain_probability", probability(-90, -180, 1.0, 181, 361), 0.002, -90, -180, 1.0, source)

    isotherm = _south_west_first(_raw("839/v4_esa0height"), _raw("839/v4_esalat"), _raw("839/v4_esalon"))
    keep("isotherm", isotherm, 0.001, -90, -180, 1.5, "ITU-R P.839-4, mean height of the 0 degree isotherm, km")
    temperature = _south_west_first(_raw("1510/v1_t_annual"), _raw("1510/v1_lat"), _raw("1510/v1_lon"))
    keep("temperature", temperature, 0.01, -90, -180, 0.75, "ITU-R P.1510-1, annual mean surface temperature, K")
    wet = _south_west_first(_raw("453/v13_nwet_annual_50"), _raw("453/v13_lat_n"), _raw("453/v13_lon_n"))
    keep("wet_refractivity", wet, 0.01, -90, -180, 0.75, "ITU-R P.453-13, median wet term of radio refractivity, N-units")

    lat, lon = _raw("836/v6_lat"), _raw("836/v6_lon")
    for name, stem, scale, what in (
        ("vapour_content", "836/v6_v", 0.01, "P.836-6, total columnar water vapour, kg/m2"),
        ("vapour_scale_height", "836/v6_vsch", 0.002, "P.836-6, water vapour scale height, km"),
        ("vapour_density", "836/v6_rho", 0.005, "P.836-6, surface water vapour density, g/m3"),
        ("cloud_liquid", "840/v7_lred", 0.001, "P.840-7, total columnar reduced cloud liquid, kg/m2"),
    ):
        stack = np.stack([_raw(f"{stem}_{percent}") for percent in LEVELS_PERCENT])
        source = f"ITU-R {what}, exceeded for {', '.join(map(str, LEVELS_PERCENT))} % of the year"
        keep(name, _filled(_south_west_first(stack, lat, lon)), scale, -90, -180, 1.125, source)

    nodes_lat, nodes_lon = np.meshgrid(-90 + 1.125 * np.arange(161), np.mod(-180 + 1.125 * np.arange(321), 360), indexing="ij")
    ground = itur.models.itu836._ITU836_6().topo_alt(nodes_lat, nodes_lon)  # the terrain that the P.836-6 maps are referred to
    keep("ground", np.nan_to_num(ground), 0.001, -90, -180, 1.125, "ITU-R P.836-6, terrain height of the map, km")

    np.savez_compressed(TABLES, about=np.array(json.dumps(about)), levels_percent=np.array(LEVELS_PERCENT, dtype=np.float64), **members)
    print(f"{TABLES.name}: {TABLES.stat().st_size / 1e6:.2f} MB")


def make_golden() -> None:
    import itur

    latitude, longitude, height_m = (np.array(column) for column in zip(*PLACES, strict=True))
    rows = []
    for frequency in FREQUENCIES_GHZ:
        for elevation in ELEVATIONS_DEG:
            for percent in PERCENTS:
                parts = itur.atmospheric_attenuation_slant_path(
                    latitude,
                    longitude,
                    frequency,
                    elevation,
                    percent,
                    ANTENNA_DIAMETER_M,
                    hs=height_m / 1000,
                    eta=ANTENNA_EFFICIENCY,
                    return_contributions=True,
                )
                gas, cloud, rain, scintillation, total = (np.broadcast_to(part.value, latitude.shape) for part in parts)
                for i, (lat, lon, height) in enumerate(PLACES):
                    values = (rain[i], gas[i], cloud[i], scintillation[i], total[i])
                    rows.append([lat, lon, height, frequency, elevation, percent, *(f"{value:.5f}" for value in values)])
    with GOLDEN.open("w", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        names = "latitude_deg longitude_deg height_m frequency_ghz elevation_deg exceeded_percent"
        writer.writerow([*names.split(), "rain_db", "gas_db", "cloud_db", "scintillation_db", "total_db"])
        writer.writerows(rows)
    print(f"{GOLDEN.name}: {len(rows)} rows, itur {itur.__version__}")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    if sys.argv[1:] == ["tables"]:
        make_tables()
    elif sys.argv[1:] == ["golden"]:
        make_golden()
    else:
        raise SystemExit(__doc__)
