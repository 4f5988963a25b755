"""Seas as places of a demand: in a search for a constellation they count beside towns, embassies and ships."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tramontana.planning.measures import Demand
from tramontana.space.ground import Place
from tramontana.space.studies.area import cells_of
from tramontana.space.studies.countries import Polygon

RESOLUTION: Final = 2
"""H3 cells of about 87,000 km²: every one that the sea touches, so half a dozen in a middling sea."""


def with_seas(demand: Demand, whole_share: float, seas: Sequence[tuple[str, NDArray[np.float64]]]) -> Demand:
    """Each sea counts as a place of share 1, spread evenly over its cells; nobody asks for anything there at the busy hour.

    whole_share: the sum of the shares of `demand` before they were made to be together 1. seas: titles and rings, (n, 2) of longitude and
    latitude, closed. Raises `AreaError` for one that cannot be cut into cells.
    """
    places, shares = list(demand.places), [demand.shares * whole_share]
    for number, (title, ring) in enumerate(seas, 1):
        cells = cells_of([Polygon(ring)], RESOLUTION)
        centres = zip(cells.ids, cells.latitude_deg.tolist(), cells.longitude_deg.tolist(), strict=True)
        # Two seas may share a cell at their border; a study's own names have no colon.
        places += [Place(f"{number}:{cell}", title, "", "ship", latitude, longitude) for cell, latitude, longitude in centres]
        shares.append(np.full(len(cells), 1.0 / len(cells)))
    weights = np.concatenate(shares)
    asked = None if demand.busy_bps is None else np.pad(demand.busy_bps, ((0, 0), (0, len(places) - len(demand.places))))
    return replace(demand, places=tuple(places), shares=weights / weights.sum(), busy_bps=asked)
