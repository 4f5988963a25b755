"""How many people are in an area, from a table of places that the operator loads: nothing is known where none is loaded."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tramontana.cell import area as areas
from tramontana.cell.area import Floats, Ring
from tramontana.errors import LocalError

COLUMNS = ("name", "latitude", "longitude", "population")
MAX_PLACES = 200_000


class PopulationRefused(LocalError):
    """The table of places cannot be used; the message says what to change."""


@dataclass(frozen=True, eq=False)
class Population:
    """P places with the people who live there. A place counts as inside an area when its point does."""

    names: tuple[str, ...]
    latitude_deg: Floats
    """(P,)"""
    longitude_deg: Floats
    """(P,)"""
    people: NDArray[np.int64]
    """(P,)"""

    def inside(self, rings: tuple[Ring, ...]) -> NDArray[np.intp]:
        """Indices of the places in the area."""
        return np.flatnonzero(areas.contains(rings, self.latitude_deg, self.longitude_deg))


def parse(text: str) -> Population:
    """Read CSV with the columns name, latitude, longitude and population; further ones are left alone. A blank population counts as 0.

    Raises `PopulationRefused`.
    """
    reader = csv.DictReader(io.StringIO(text))
    try:
        columns = reader.fieldnames or ()
    except csv.Error as error:
        raise PopulationRefused(f"the first line of the table: {error}") from error
    if lacking := [column for column in COLUMNS if column not in columns]:
        raise PopulationRefused(f"the table has no column {lacking[0]!r}: its first line names {', '.join(COLUMNS)}")
    names: list[str] = []
    numbers: list[tuple[float, float, float]] = []
    try:
        for row in reader:
            latitude, longitude, people = float(row["latitude"]), float(row["longitude"]), float(row["population"] or 0)
            if not (abs(latitude) <= 90 and abs(longitude) <= 180 and 0 <= people < 1e9 and not math.isnan(people)):
                raise ValueError("not a place on Earth, or not a number of people")
            names.append(row["name"] or "")
            numbers.append((latitude, longitude, people))
            if len(names) > MAX_PLACES:
                raise PopulationRefused(f"the table has more than {MAX_PLACES:,} places")
    except (ValueError, TypeError, csv.Error) as error:
        raise PopulationRefused(f"line {reader.line_num} of the table: {error}") from error
    if not numbers:
        raise PopulationRefused("the table has no places")
    table = np.array(numbers)
    return Population(tuple(names), table[:, 0], table[:, 1], np.rint(table[:, 2]).astype(np.int64))
