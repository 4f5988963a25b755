"""Results of a study: a table on screen, the same table as CSV, Parquet or GeoJSON, and pages around a picture.

Every file appears whole or not at all. Every one carries its label: what is simulated, from which source, how old the elements are.
"""

from __future__ import annotations

import csv
import io
import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet
from numpy.typing import NDArray

from tramontana.errors import LocalError

Kind = Literal["text", "number", "instant"]


@dataclass(frozen=True, eq=False)
class Column:
    """One column: its name ends in the unit. Instants are POSIX seconds. NaN is "none"."""

    name: str
    values: Sequence[str] | NDArray[Any]
    kind: Kind = "number"
    digits: int = 0
    """After the point, on screen."""

    def shown(self, row: int) -> str:
        """One value for people; "–" for none."""
        if self.kind == "text":
            return str(self.values[row])
        value = float(self.values[row])
        if not np.isfinite(value):
            return "–"
        return f"{value:,.{self.digits}f}" if self.kind == "number" else instant_text(value, "seconds")

    def written(self, row: int) -> str:
        """One value for machines; empty for none."""
        if self.kind == "text":
            return str(self.values[row])
        value = self.values[row]
        if not np.isfinite(value):
            return ""
        if self.kind == "instant":
            return instant_text(float(value), "milliseconds")
        return str(int(value)) if self._whole else format(float(value), ".9g")

    def native(self, row: int) -> str | int | float | None:
        """One value for JSON."""
        if self.kind == "text" or not np.isfinite(self.values[row]):
            return str(self.values[row]) if self.kind == "text" else None
        if self.kind == "instant":
            return self.written(row)
        return int(self.values[row]) if self._whole else float(format(float(self.values[row]), ".9g"))

    def arrow(self) -> pa.Array:
        """The column for Parquet; instants become timestamps with a zone, none becomes null."""
        if self.kind == "text":
            return pa.array([str(v) for v in self.values], pa.string())
        if self.kind == "instant":
            moments = [None if not np.isfinite(v) else round(float(v) * 1000) for v in self.values]
            return pa.array(moments, pa.timestamp("ms", tz="UTC"))
        values = np.asarray(self.values)
        return pa.array(values) if self._whole else pa.array(values.astype(np.float64), from_pandas=True)

    @property
    def _whole(self) -> bool:
        return isinstance(self.values, np.ndarray) and np.issubdtype(self.values.dtype, np.integer)


@dataclass(frozen=True, eq=False)
class Report:
    """A table with its label. `about` says what it rests on, `summary` the whole in a few lines; both are rows of a word and a sentence."""

    title: str
    about: tuple[tuple[str, str], ...]
    columns: tuple[Column, ...]
    summary: tuple[tuple[str, str], ...] = ()
    geometries: tuple[dict[str, Any] | None, ...] = field(default=())
    """For GeoJSON, one for each row; none for a table without places."""

    @property
    def count(self) -> int:
        """How many rows."""
        return len(self.columns[0].values)

    @property
    def label(self) -> str:
        """One line that says what the figures are, for the last column of every row and the foot of every picture."""
        return "; ".join(
            text for word, text in self.about if word in ("Simulated", "Constellation", "Satellites", "Elements", "Years", "Ranges")
        )

    def as_text(self, most_rows: int) -> str:
        """What a person sees in a terminal."""
        lines = [self.title, ""]
        width = max(15, *(len(word) + 1 for word, _ in (*self.about, *self.summary)))
        lines += [f"{word:<{width}}{text}" for word, text in self.about]
        rows = min(self.count, most_rows)
        cells = [[c.name, *(c.shown(row) for row in range(rows))] for c in self.columns]
        widths = [max(len(cell) for cell in column) for column in cells]
        lines.append("")
        for row in range(rows + 1):
            pairs = zip(self.columns, cells, widths, strict=True)
            lines.append("  ".join(f"{x[row]:>{w}}" if c.kind == "number" else f"{x[row]:<{w}}" for c, x, w in pairs).rstrip())
        if rows < self.count:
            lines.append(f"… {self.count - rows:,} more rows: --rows shows more, --csv, --parquet or --geojson writes all")
        elif not self.count:
            lines.append("(no row)")
        if self.summary:
            lines += ["", *(f"{word:<{width}}{text}" for word, text in self.summary)]
        return "\n".join(lines)

    def as_csv(self) -> str:
        """RFC 4180 with one line of headings; the last column, `label`, is the same in every row so that no row loses what it rests on."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\r\n")
        writer.writerow([*(c.name for c in self.columns), "label"])
        for row in range(self.count):
            writer.writerow([*(c.written(row) for c in self.columns), self.label])
        return out.getvalue()

    def as_parquet(self) -> bytes:
        """The columns of the CSV file, typed; `about` and `summary` stand in the metadata of the schema."""
        arrays = [c.arrow() for c in self.columns]
        label = pa.DictionaryArray.from_arrays(pa.array([0] * self.count, pa.int32()), pa.array([self.label]))
        table = pa.table([*arrays, label], names=[*(c.name for c in self.columns), "label"])
        rows = {"title": self.title, **dict(self.about), **dict(self.summary)}
        metadata = {f"tramontana.{key.lower().replace(' ', '_')}".encode(): value.encode() for key, value in rows.items()}
        out = io.BytesIO()
        pyarrow.parquet.write_table(table.replace_schema_metadata(metadata), out)
        return out.getvalue()

    def as_geojson(self) -> str:
        """A collection of features (RFC 7946), one for each row; title, about and summary are members of the collection."""
        if not self.geometries:
            raise LocalError("this table has no places and cannot be written as GeoJSON: use --csv or --parquet")
        features = [
            {"type": "Feature", "geometry": geometry, "properties": {c.name: c.native(row) for c in self.columns} | {"label": self.label}}
            for row, geometry in enumerate(self.geometries)
        ]
        document = {
            "type": "FeatureCollection",
            "title": self.title,
            "about": dict(self.about),
            "summary": dict(self.summary),
            "features": features,
        }
        return json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def write_whole(path: Path, data: bytes) -> None:
    """Write a file in one step: an interrupted study leaves the file of before, or none. Raises `LocalError`."""
    temporary = None
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)  # the temporary file is private; the result is a file like any other
        os.replace(temporary, path)
        temporary = None
    except OSError as error:
        raise LocalError(f"cannot write {path} ({error.strerror}): check the folder and its permissions") from error
    finally:
        if temporary:
            Path(temporary).unlink(missing_ok=True)


def check_writable(path: Path) -> None:
    """Raise `LocalError` before a long study, not after it, if a result could not be written."""
    folder = path.parent
    if not folder.is_dir():
        raise LocalError(f"cannot write {path}: the folder {folder} does not exist, make it first")
    if path.is_dir() or not os.access(folder, os.W_OK):
        raise LocalError(f"cannot write {path}: it is a folder, or its folder is not writable")


def instant_text(unix_s: float, precision: str) -> str:
    """ISO 8601 in UTC, ``2026-05-21T12:00:00Z``."""
    rounded = round(unix_s * 1000) / 1000  # isoformat cuts off
    return datetime.fromtimestamp(rounded, tz=UTC).isoformat(timespec=precision).replace("+00:00", "Z")
