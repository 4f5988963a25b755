"""An exercise that is watched in the console of a server beside it: its player writes down where it is."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import click

from tramontana.cli.output import write_whole
from tramontana.control.exercises import DIRECTORY, files
from tramontana.control.reports import NAME
from tramontana.errors import LocalError
from tramontana.exercise.timeline import Glimpse, Ground, Run
from tramontana.exercise.watched import ExerciseNow, between, glimpsed, world_of

EVERY_S: Final = 1.0
"""At most so often is a run written down while it is played."""


class Watched:
    """Writes an exercise into a data directory as it is played (control/exercises.py)."""

    def __init__(self, data: Path, name: str, clock: Callable[[], float] = time.time) -> None:
        if not re.fullmatch(NAME, name):
            raise LocalError(f"{name!r} is no name to watch an exercise by: name its file with small letters, digits and dashes")
        folder = data / DIRECTORY
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise LocalError(f"cannot make {folder} ({error.strerror}): check the data directory and its permissions") from error
        self._world, self._now = files(folder, name)
        self._clock = clock
        self._ground: Ground | None = None
        self._labels: tuple[str, ...] = ()
        self._ended: list[Run] = []
        self._began_at = 0.0
        self._told: ExerciseNow | None = None
        self._is_blind = False

    def begins(self, ground: Ground, labels: Sequence[str]) -> None:
        self._ground, self._labels, self._ended, self._began_at = ground, tuple(labels), [], self._clock()
        self._tell_world(ground)

    def sees(self, glimpse: Glimpse) -> None:
        at = self._clock()
        if self._is_due(at):
            self._tell(glimpsed(glimpse, self._labels, len(self._ended), self._began_at, at))

    def works(self) -> None:
        at = self._clock()
        if self._told is not None and self._is_due(at):
            self._tell(self._told.model_copy(update={"told_at": at}))

    def ended(self, run: Run) -> None:
        assert self._ground is not None
        self._ended.append(run)
        self._tell_world(self._ground)

    def _is_due(self, at: float) -> bool:
        return self._told is None or not 0 <= at - self._told.told_at < EVERY_S

    def _tell_world(self, ground: Ground) -> None:
        """The world first: who sees that a run is over finds it there."""
        self._write(self._world, world_of(ground, self._ended).model_dump_json().encode())
        self._tell(between(ground, self._labels, len(self._ended), self._began_at, self._clock()))

    def _tell(self, now: ExerciseNow) -> None:
        self._told = now
        self._write(self._now, now.model_dump_json().encode())

    def _write(self, path: Path, data: bytes) -> None:
        """An onlooker's full disk ends no exercise."""
        try:
            write_whole(path, data)
        except LocalError as error:
            if not self._is_blind:
                click.echo(f"not shown in the console: {error}", err=True)
            self._is_blind = True
