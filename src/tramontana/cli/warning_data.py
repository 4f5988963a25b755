"""What an operator loads for warnings, as files in the data directory: controllers and cells, people, named areas."""

from __future__ import annotations

import json
from pathlib import Path

from tramontana.cell import area, broadcast_network, population
from tramontana.cell.area import Ring
from tramontana.control.warnings import WarningData
from tramontana.errors import LocalError
from tramontana.private_file import replace_private

DIRECTORY = "warnings"
NETWORK_NAME, POPULATION_NAME, AREAS_NAME = "network.toml", "population.csv", "areas.geojson"
MAX_NAME = 200


def load_warning_data(data: Path) -> WarningData:
    """What is there; nothing where nothing was loaded. Raises `LocalError` that names the file which is damaged."""
    directory = data / DIRECTORY
    try:
        network, people, areas = (_read(directory / name) for name in (NETWORK_NAME, POPULATION_NAME, AREAS_NAME))
        return WarningData(
            broadcast_network.BroadcastNetwork() if network is None else broadcast_network.parse(network),
            None if people is None else population.parse(people),
            {} if areas is None else parse_areas(areas),
        )
    except LocalError as error:
        raise LocalError(f"a file in {directory} cannot be used: {error}. Load it again with `tramontana warn load`") from error


def keep(data: Path, name: str, text: str) -> None:
    """Put a file there that was checked."""
    directory = data / DIRECTORY
    directory.mkdir(mode=0o700, exist_ok=True)
    replace_private(directory / name, text.encode("utf-8"))


def parse_areas(text: str) -> dict[str, tuple[Ring, ...]]:
    """The named areas of a GeoJSON feature collection: `name` of a feature's properties. Raises `LocalError`."""
    try:
        found = json.loads(text)
        features = found["features"]
        named = [(feature["properties"]["name"], feature["geometry"]) for feature in features]
    except (ValueError, KeyError, TypeError) as error:
        raise LocalError("areas are a GeoJSON feature collection, each feature with a `name` among its properties") from error
    areas: dict[str, tuple[Ring, ...]] = {}
    for name, geometry in named:
        if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME:
            raise LocalError(f"the name of an area has 1 to {MAX_NAME} characters")
        if name in areas:
            raise LocalError(f"two areas have the name {name!r}; write for example the province behind it")
        try:
            areas[name] = area.from_geojson(geometry)
        except LocalError as error:
            raise LocalError(f"area {name!r}: {error}") from error
    return areas


def _read(path: Path) -> str | None:
    try:
        return path.read_text("utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise LocalError(f"{path.name} cannot be read ({error})") from error
