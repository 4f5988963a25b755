"""Exercises that are played beside this server, as their player writes them down: shown in the console while they are played and after.

Two files each in a folder of the data directory: `NAME.json` is the world and the runs that are over, `NAME.now.json` where the exercise
is. Who plays one replaces them whole, so that what is read is never half of it; what does not fit the shapes is not shown.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final, TypeVar

from pydantic import BaseModel, ValidationError

from tramontana.control.reports import NAME
from tramontana.exercise.watched import Exercise, ExerciseNow

DIRECTORY: Final = "exercises"
"""In the data directory."""
MOST_BYTES: Final = 32 << 20
MOST_EXERCISES: Final = 50
_NOW: Final = ".now.json"

Shape = TypeVar("Shape", bound=BaseModel)


class Exercises:
    """The exercises of one folder, as they are at the moment. None: there are none."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def listed(self) -> list[tuple[str, ExerciseNow]]:
        """Names and where each is; what was told last comes first."""
        found: list[tuple[str, ExerciseNow]] = []
        for path in () if self._folder is None else self._folder.glob(f"*{_NOW}"):
            name = path.name.removesuffix(_NOW)
            if re.fullmatch(NAME, name) and (now := _read(path, ExerciseNow)) is not None:
                found.append((name, now))
        return sorted(found, key=lambda one: (-one[1].told_at, one[0]))[:MOST_EXERCISES]

    def exercise(self, name: str) -> Exercise | None:
        """None where there is no such exercise."""
        if self._folder is None or not re.fullmatch(NAME, name):
            return None
        return _read(self._folder / f"{name}.json", Exercise)


def files(folder: Path, name: str) -> tuple[Path, Path]:
    """Where an exercise is written down: the world, and where it is now."""
    return folder / f"{name}.json", folder / f"{name}{_NOW}"


def _read(path: Path, shape: type[Shape]) -> Shape | None:
    try:
        if path.is_symlink() or path.stat().st_size > MOST_BYTES:
            return None
        return shape.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
