"""The published medians and the ground of the 18 countries, where they lie beside the repository; they are no part of the product."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from tramontana.space.elements import parse_elements
from tramontana.space.ground import Gateway, Place, PointOfPresence
from tramontana.space.latency.countries import COUNTRIES, country_points
from tramontana.space.latency.model import Sample, sample_geometry
from tramontana.space.serving import slot_of

ELEMENTS = "starlink_2026-05-30.tle.gz"


@dataclass(frozen=True, eq=False)
class Published:
    places: tuple[Place, ...]
    countries: tuple[str, ...]
    median_s: dict[str, float]
    best_fifth_s: dict[str, float]
    samples: dict[bool, Sample]


def _near(latitude_deg: float, longitude_deg: float) -> bool:
    """Europe, the near East and what a satellite over them can reach."""
    return 15 < latitude_deg < 72 and -30 < longitude_deg < 62


@pytest.fixture(scope="session")
def published() -> Published:
    folder = Path(__file__).resolve().parents[4] / "shared" / "data" / "space"
    if not folder.is_dir():
        pytest.skip("published medians and gateways are not beside the repository (../shared/data)")
    with (folder / "starlink_gateways_community_2023-10.csv").open() as file:
        gateways = [
            Gateway(r["name"], r["name"], "", float(r["lat"]), float(r["lon"]), 25.0, "community list, October 2023")
            for r in csv.DictReader(file)
            if r["kind"] == "gateway" and "TT&C" not in r["name"] and _near(float(r["lat"]), float(r["lon"]))
        ]
    exits = [
        PointOfPresence(p["code"], p["city"], "", p["lat"], p["lon"], "community list, April 2026")
        for p in json.loads((folder / "starlink_pops_2026-04.json").read_text())
        if _near(p["lat"], p["lon"])
    ]
    with (folder / "starlink_published_latency_2026-09.csv").open() as file:
        rows = list(csv.DictReader(file))
    places = tuple(place for country in COUNTRIES for place in country_points(country))
    fleet = parse_elements((folder / ELEMENTS).read_bytes(), name=ELEMENTS).fleet
    first = slot_of(fleet.epochs.median_unix_s)
    windows = [range(first + hour * 240, first + hour * 240 + 4) for hour in range(24)]
    return Published(
        places,
        tuple(place.country for place in places),
        {r["iso3"]: float(r["lat_ms_median"]) / 1e3 for r in rows},
        {r["iso3"]: float(r["lat_ms_best20"]) / 1e3 for r in rows},
        {dense: sample_geometry(fleet, places, gateways, exits, windows, gateway_at_every_exit=dense, seed=1) for dense in (False, True)},
    )
