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
from tramontana.exercise.watched import between, glimpsed, world_of

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
        self._told_at = 0.0
        self._is_blind = False

    def begins(self, ground: Ground, labels: Sequence[str]) -> None:
        self._ground, self._labels, self._ended = ground, tuple(labels), []
        self._tell_world(ground)

    def sees(self, glimpse: Glimpse) -> None:
        at = self._clock()
        if 0 <= at - self._told_at < EVERY_S:
            return
        self._told_at = at
        self._write(self._now, glimpsed(glimpse, self._labels, len(self._ended), at).model_dump_json().encode())

    def ended(self, run: Run) -> None:
        assert self._ground is not None
        self._ended.append(run)
        self._tell_world(self._ground)

    def _tell_world(self, ground: Ground) -> None:
        """The world first: who sees that a run is over finds it there."""
        self._write(self._world, world_of(ground, self._ended).model_dump_json().encode())
        self._told_at = self._clock()
        self._write(self._now, between(ground, self._labels, len(self._ended), self._told_at).model_dump_json().encode())

    def _write(self, path: Path, data: bytes) -> None:
        """An onlooker's full disk ends no exercise."""
        try:
            write_whole(path, data)
        except LocalError as error:
            if not self._is_blind:
                click.echo(f"not shown in the console: {error}", err=True)
            self._is_blind = True
