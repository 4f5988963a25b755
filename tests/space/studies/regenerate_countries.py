"""Makes src/tramontana/space/studies/countries.npz from Natural Earth (public domain) as the `world-atlas` package 2.0.2 carries it.

    pip install pycountry                                        # ISO 3166-1 numeric to alpha-2; needed here only
    python tests/space/studies/regenerate_countries.py           # reads web/node_modules/world-atlas

All countries are those of the 1:50m scale; Italy, whose smallest inhabited islands that scale leaves out, is that of 1:10m. Coordinates are
rounded to 0.001°. The same packages give the same bytes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pycountry  # type: ignore[import-not-found,unused-ignore]

ROOT = Path(__file__).parents[3]
ATLAS = ROOT / "web/node_modules/world-atlas"
TABLE = ROOT / "src/tramontana/space/studies/countries.npz"
FINER = "380"  # Italy

Ring = list[tuple[int, int]]


def polygons(file: Path) -> dict[str, tuple[str, list[list[Ring]]]]:
    """Numeric code (or name, where there is none) → name and polygons; every polygon is an outer ring and its holes, in 0.001°."""
    topology = json.loads(file.read_text())
    (scale_x, scale_y), (from_x, from_y) = topology["transform"]["scale"], topology["transform"]["translate"]
    arcs: list[Ring] = []
    for steps in topology["arcs"]:
        total = np.cumsum(np.array(steps), axis=0) * (scale_x, scale_y) + (from_x, from_y)
        arcs.append([(int(x), int(y)) for x, y in np.rint(total * 1000)])

    def ring(numbers: list[int]) -> Ring:
        points: Ring = []
        for number in numbers:
            arc = arcs[number] if number >= 0 else arcs[~number][::-1]
            points += [p for p in arc if not points or p != points[-1]]
        return points

    def shapes(geometry: dict[str, Any]) -> list[list[Ring]]:
        parts = geometry["arcs"] if geometry["type"] == "MultiPolygon" else [geometry["arcs"]]
        rings = [[ring(numbers) for numbers in part] for part in parts]
        return [[r for r in part if len(r) > 3] for part in rings if len(part[0]) > 3]

    rows = topology["objects"]["countries"]["geometries"]
    found: dict[str, tuple[str, list[list[Ring]]]] = {}
    for row in rows:  # a country may come in several rows, such as one for its islands far away
        name = row["properties"]["name"]
        first, before = found.get(row.get("id", name), (name, []))
        found[row.get("id", name)] = (first, before + shapes(row))
    return found


def main() -> None:
    rows = polygons(ATLAS / "countries-50m.json")
    rows[FINER] = polygons(ATLAS / "countries-10m.json")[FINER]
    codes: list[str] = []
    names: list[str] = []
    points: Ring = []
    ring_length: list[int] = []
    ring_is_hole: list[bool] = []
    ring_country: list[int] = []
    for key, (name, shapes) in sorted(rows.items()):
        country = pycountry.countries.get(numeric=key) if key.isdigit() else None
        for shape in shapes:
            for place, ring in enumerate(shape):
                points += ring
                ring_length.append(len(ring))
                ring_is_hole.append(place > 0)
                ring_country.append(len(codes))
        codes.append(country.alpha_2 if country else "XK" if name == "Kosovo" else "")
        names.append(name)
    steps = np.diff(np.array(points, dtype=np.int32), axis=0, prepend=0)
    np.savez_compressed(
        TABLE,
        source=np.array("Natural Earth 4.1.0 (public domain), by way of world-atlas 2.0.2: 1:50m, Italy 1:10m"),
        code=np.array(codes),
        name=np.array(names),
        step_milli_deg=steps,
        ring_length=np.array(ring_length, dtype=np.int32),
        ring_is_hole=np.array(ring_is_hole),
        ring_country=np.array(ring_country, dtype=np.int16),
    )
    print(f"{len(codes)} countries, {len(ring_length)} rings, {len(points)} points, {TABLE.stat().st_size} bytes")


if __name__ == "__main__":
    main()
