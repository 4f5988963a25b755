"""The example of docs/links.md runs, and what it says of ranges holds."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

DOCUMENT = Path(__file__).parents[3] / "docs/links.md"


def test_the_example_runs() -> None:
    found = re.search(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    names = {"times_unix_s": 1.7e9 + 15.0 * np.arange(100), "elevations_deg": np.full(100, 50.0), "ranges_m": np.full(100, 7e5)}
    exec(found[1], names)
    assert np.shape(names["fade_db"]) == (100,)


def test_the_climate_file_is_as_small_as_stated() -> None:
    size = (DOCUMENT.parents[1] / "src/tramontana/space/links/climate.npz").stat().st_size
    assert f"({size / 1e6:.1f} MB)" in DOCUMENT.read_text(encoding="utf-8")
