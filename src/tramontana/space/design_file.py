"""A constellation of one's own in a small TOML file. The format is described in docs/space.md, "A constellation of your own".

name = "Tricolore"
source = "feasibility study, 2026"
gateways = ["fucino", "matera"]

[[shell]]
altitude_km = 600
inclination_deg = 45
planes = 8
satellites_per_plane = 12
"""

from __future__ import annotations

import difflib
import math
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tramontana.errors import LocalError
from tramontana.space.designs import Design
from tramontana.space.shells import Shell, usual_phasing

LARGEST_FILE_BYTES = 256 * 1024
MOST_SHELLS, MOST_PLANES, MOST_PER_PLANE, MOST_SATELLITES = 64, 1000, 5000, 100_000
LOWEST_ALTITUDE_KM, HIGHEST_ALTITUDE_KM = 160.0, 45_000.0
LONGEST_TEXT = 200
ID_OF_OWN = "own"

_TOP_KEYS = ("name", "operator", "source", "gateways", "shell")
_SHELL_KEYS = (
    "name", "altitude_km", "inclination_deg", "planes", "satellites_per_plane", "pattern", "phasing", "plane_spacing_deg", "first_node_deg",
)  # fmt: skip


class DesignFileError(LocalError):
    """The file does not describe a constellation; the message lists every fault with its place. Correct them and try again."""


def read_design(path: Path) -> Design:
    """The design in a TOML file. Raises `DesignFileError`."""
    try:
        if path.stat().st_size > LARGEST_FILE_BYTES:
            raise DesignFileError(f"{path.name} is larger than {LARGEST_FILE_BYTES // 1024} KiB: that is no description of a constellation")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise DesignFileError(f"cannot read {path} ({error.strerror}): check its name and permissions") from error
    except UnicodeDecodeError as error:
        raise DesignFileError(f"{path.name} is not UTF-8 text: save it as UTF-8") from error
    return parse_design(text, where=path.name)


def parse_design(text: str, *, where: str = "the file") -> Design:
    """The design in a TOML text; `where` is what messages call it. Raises `DesignFileError` that names every fault."""
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise DesignFileError(f"{where} is not TOML: {error}") from error
    faults: list[str] = []
    top = _Table(document, _TOP_KEYS, "", faults)
    name = top.text("name", required=True)
    operator, source = top.text("operator"), top.text("source")
    gateways = top.texts("gateways")
    rows = document.get("shell")
    shells: list[Shell] = []
    assumed: list[str] = []
    if not isinstance(rows, list) or not rows or len(rows) > MOST_SHELLS or not all(isinstance(row, dict) for row in rows):
        faults.append(f"give 1 to {MOST_SHELLS} shells, each under a line [[shell]]")
    else:
        for number, row in enumerate(rows, start=1):
            shell = _shell(row, number, faults, assumed)
            if shell is not None:
                shells.append(shell)
        total = sum(shell.satellite_count for shell in shells)
        if total > MOST_SATELLITES:
            faults.append(f"{total:,} satellites are more than {MOST_SATELLITES:,}")
    if faults:
        raise DesignFileError(f"{where}: " + "; ".join(faults))
    return Design(
        id=ID_OF_OWN,
        label=f"{name} as designed",
        operator=operator,
        shells=tuple(shells),
        source=source or f"generated from {where}",
        assumptions=tuple(assumed),
        gateways=gateways,
    )


class _Table:
    """One TOML table that notes what is wrong with it, in words for the person who wrote it."""

    def __init__(self, table: Mapping[str, Any], keys: tuple[str, ...], where: str, faults: list[str]) -> None:
        self._table, self._where, self._faults = table, where, faults
        for key in table:
            if key not in keys:
                near = difflib.get_close_matches(key, keys, n=1)
                self.fault(f"unknown key {key!r}" + (f", did you mean {near[0]!r}?" if near else f", use {', '.join(keys)}"))

    def fault(self, text: str) -> None:
        self._faults.append(self._where + text)

    def text(self, key: str, *, required: bool = False) -> str:
        value = self._table.get(key)
        if value is None:
            if required:
                self.fault(f"{key} is missing")
            return ""
        if not isinstance(value, str) or not value.strip() or len(value) > LONGEST_TEXT or not value.isprintable():
            self.fault(f"{key} must be a line of 1 to {LONGEST_TEXT} characters in quotes")
            return ""
        return value.strip()

    def texts(self, key: str) -> tuple[str, ...]:
        value = self._table.get(key, [])
        if not isinstance(value, list) or not all(isinstance(one, str) and one.strip() and one.isprintable() for one in value):
            self.fault(f'{key} must be a list of ids in quotes, as ["fucino"]')
            return ()
        if len(set(value)) != len(value):
            self.fault(f"{key} names one id twice")
        return tuple(value)

    def number(self, key: str, low: float, high: float, default: float | None = None) -> float:
        return self._number(key, low, high, default, (int, float), "a number", float)

    def whole(self, key: str, low: int, high: int, default: int | None = None) -> int:
        return round(self._number(key, low, high, default, (int,), "a whole number", int))

    def _number(
        self, key: str, low: float, high: float, default: float | None, kinds: tuple[type, ...], what: str, convert: Callable[[Any], float]
    ) -> float:
        value: Any = self._table.get(key)
        if value is None:
            if default is None:
                self.fault(f"{key} is missing")
                return low
            return default
        fits = isinstance(value, kinds) and not isinstance(value, bool)
        if not fits or not (math.isfinite(float(value)) and low <= value <= high):
            self.fault(f"{key} must be {what} from {low:g} to {high:g}, not {value!r}")
            return low
        return convert(value)


def _shell(row: Mapping[str, Any], number: int, faults: list[str], assumed: list[str]) -> Shell | None:
    """The shell, or None where a fault was noted. What the file leaves open is noted as assumed."""
    before = len(faults)
    table = _Table(row, _SHELL_KEYS, f"shell {number}: ", faults)
    pattern = table.text("pattern") if "pattern" in row else "delta"
    if pattern not in ("delta", "star"):
        table.fault('pattern must be "delta" (nodes all around) or "star" (half around, polar)')
    planes = table.whole("planes", 1, MOST_PLANES)
    phasing = table.whole("phasing", 0, max(0, planes - 1)) if "phasing" in row else None
    spacing = table.number("plane_spacing_deg", 0.0, 360.0) if "plane_spacing_deg" in row else None
    shell = Shell(
        altitude_km=table.number("altitude_km", LOWEST_ALTITUDE_KM, HIGHEST_ALTITUDE_KM),
        inclination_deg=table.number("inclination_deg", 0.0, 180.0),
        planes=planes,
        satellites_per_plane=table.whole("satellites_per_plane", 1, MOST_PER_PLANE),
        phasing=0,
        pattern="star" if pattern == "star" else "delta",
        plane_spacing_deg=spacing,
        first_node_deg=table.number("first_node_deg", 0.0, 360.0, 0.0),
        name=table.text("name"),
    )
    if len(faults) > before or shell.satellite_count > MOST_SATELLITES:
        if len(faults) == before:
            table.fault(f"{shell.satellite_count:,} satellites are more than {MOST_SATELLITES:,}")
        return None
    if phasing is None:
        phasing = usual_phasing(shell)
        assumed.append(f"shell {number}: phasing {phasing} is assumed")
    return replace(shell, phasing=phasing)
