"""Where warnings can be sent: the base-station controllers that an operator connects, and where their cells stand."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from typing import Any

import numpy as np

from tramontana.cell import area as areas
from tramontana.cell.area import Floats, Ring
from tramontana.cell.cbsp import MOST_CELLS, PORT, Cell
from tramontana.errors import LocalError

MAX_RANGE_M = 100_000.0
DEFAULT_RANGE_M = 5_000.0


class NetworkRefused(LocalError):
    """The file of controllers and cells cannot be used; the message says what to change."""


@dataclass(frozen=True, eq=False)
class ControllerSite:
    """One controller and its C cells."""

    name: str
    host: str
    port: int
    cells: tuple[Cell, ...]
    latitude_deg: Floats
    """(C,)"""
    longitude_deg: Floats
    """(C,)"""
    range_m: Floats
    """(C,) how far each cell is heard."""

    def cells_for(self, rings: tuple[Ring, ...]) -> frozenset[Cell]:
        """The cells that are heard somewhere in the area: rather too many than too few."""
        near = areas.distance_m(rings, self.latitude_deg, self.longitude_deg) <= self.range_m
        return frozenset(self.cells[index] for index in np.flatnonzero(near).tolist())


@dataclass(frozen=True, eq=False)
class BroadcastNetwork:
    """All controllers."""

    controllers: tuple[ControllerSite, ...] = ()

    @property
    def cells(self) -> int:
        return sum(len(controller.cells) for controller in self.controllers)


def parse(text: str) -> BroadcastNetwork:
    """Read a TOML file (docs/warnings.md). Raises `NetworkRefused`."""
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise NetworkRefused(f"this is no TOML: {error}") from error
    if unknown := found.keys() - {"controller"}:
        raise NetworkRefused(f"{sorted(unknown)[0]!r} is not known: a network is made of [[controller]] tables")
    controllers = tuple(_controller(table) for table in _tables(found.get("controller", []), "controller"))
    names = [controller.name for controller in controllers]
    if len(set(names)) != len(names):
        raise NetworkRefused("two controllers have one name")
    return BroadcastNetwork(controllers)


def _tables(found: Any, what: str) -> list[dict[str, Any]]:
    if not isinstance(found, list) or not all(isinstance(table, dict) for table in found):
        raise NetworkRefused(f"{what} is a list of tables: write [[{what}]]")
    return found


def _controller(table: dict[str, Any]) -> ControllerSite:
    name = table.get("name")
    if not isinstance(name, str) or not 0 < len(name) <= 64 or not name.isprintable():
        raise NetworkRefused("a controller has a name of 1 to 64 characters")
    try:
        if unknown := table.keys() - {"name", "host", "port", "cell"}:
            raise NetworkRefused(f"{sorted(unknown)[0]!r} is not known")
        host, port = table.get("host"), table.get("port", PORT)
        if not isinstance(host, str) or not host:
            raise NetworkRefused("say at which host it listens")
        if not isinstance(port, int) or not 0 < port < 65536:
            raise NetworkRefused("its port is a number from 1 to 65535")
        rows = [_cell(row) for row in _tables(table.get("cell", []), "controller.cell")]
        if not rows:
            raise NetworkRefused("it has no cells")
        if len(rows) > MOST_CELLS:
            raise NetworkRefused(
                f"it has {len(rows):,} cells, and a message names at most {MOST_CELLS:,}: write them as several controllers"
            )
        cells = tuple(cell for cell, _ in rows)
        if len(set(cells)) != len(cells):
            raise NetworkRefused("a cell stands there twice")
    except LocalError as error:
        raise NetworkRefused(f"controller {name!r}: {error}") from error
    numbers = np.array([where for _, where in rows])
    return ControllerSite(name, host, port, cells, numbers[:, 0], numbers[:, 1], numbers[:, 2])


def _cell(row: dict[str, Any]) -> tuple[Cell, tuple[float, float, float]]:
    if unknown := row.keys() - {"id", "latitude", "longitude", "range_m"}:
        raise NetworkRefused(f"{sorted(unknown)[0]!r} of a cell is not known")
    cell = Cell.parse(str(row.get("id", "")))
    numbers = [row.get("latitude"), row.get("longitude"), row.get("range_m", DEFAULT_RANGE_M)]
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in numbers):
        raise NetworkRefused(f"cell {cell} needs latitude and longitude in degrees")
    latitude, longitude, range_m = (float(value) for value in numbers if value is not None)
    if not (abs(latitude) <= 90 and abs(longitude) <= 180 and 0 < range_m <= MAX_RANGE_M):
        raise NetworkRefused(f"cell {cell} is at no place on Earth, or its range is not between 0 and {MAX_RANGE_M / 1000:g} km")
    return cell, (latitude, longitude, range_m)
