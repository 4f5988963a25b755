"""An exercise that is watched while it is played: what is seen on the way fits what comes out, and the server shows no half of it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from tests.exercise.small_world import small_text, small_world
from tramontana.cli.exercise_watch import EVERY_S, Watched
from tramontana.cli.main import tramontana
from tramontana.control.exercises import DIRECTORY, Exercises, files
from tramontana.exercise import satellites, timeline
from tramontana.exercise.texts import CODE
from tramontana.exercise.watched import ExerciseNow


class Clock:
    """Passes far enough at every look that every look is written down."""

    def __init__(self, step_s: float = EVERY_S) -> None:
        self.now, self.step_s = 1_700_000_000.0, step_s

    def __call__(self) -> float:
        self.now += self.step_s
        return self.now


class Kept(Watched):
    """What the console could have read at every look."""

    def __init__(self, data: Path, clock: Clock) -> None:
        super().__init__(data, "small", clock)
        self.exercises, self.seen, self.alive = Exercises(data / DIRECTORY), list[ExerciseNow](), 0

    def begins(self, ground: timeline.Ground, labels: Sequence[str]) -> None:
        super().begins(ground, labels)
        self._look()

    def sees(self, glimpse: timeline.Glimpse) -> None:
        super().sees(glimpse)
        self._look()

    def works(self) -> None:
        before = self._told
        super().works()
        if self._told is not before:
            self._look()
            self.alive += 1

    def ended(self, run: timeline.Run) -> None:
        super().ended(run)
        self._look()

    def _look(self) -> None:
        [(name, now)] = self.exercises.listed()
        world = self.exercises.exercise(name)
        assert world is not None
        assert len(world.runs) == now.ended  # what it says is over is there
        self.seen.append(now)


def test_what_is_seen_on_the_way_leads_to_what_comes_out(tmp_path: Path) -> None:
    world = small_world(hours=2.0)
    kept = Kept(tmp_path, Clock())
    played = timeline.play(world, (satellites.of_design("starlink-direct-to-cell", world),), 1, onlooker=kept)
    unwatched = timeline.play(world, (satellites.of_design("starlink-direct-to-cell", world),), 1)
    exercise = kept.exercises.exercise("small")
    assert exercise is not None
    # Looking on changes nothing.
    for run, other in zip(played.runs, unwatched.runs, strict=True):
        assert np.array_equal(run.warned_s[0], other.warned_s[0])
        assert run.texts.counts() == other.texts.counts()
    for number, run in enumerate(played.runs):
        during = [now for now in kept.seen if now.ended == number and now.now_s > 0]
        assert len(during) >= 7  # every quarter of an hour
        for now in during:
            # Nobody is warned, heard or served later than he was seen to be.
            warned = 100 * float(np.mean(run.warned_s[0] <= now.now_s))
            assert now.warned_percent == pytest.approx(warned, abs=0.01)
            done = run.texts.state[: len(run.texts)] == CODE["delivered"]
            assert now.texts_delivered == int(np.count_nonzero(done & (run.texts.done_s[: len(run.texts)] <= now.now_s)))
            assert now.heard == sum(each.received_s <= now.now_s for each in run.help.values())
            assert now.heard <= now.asked_for_help <= run.asked_for_help
            assert now.texts_by_satellite <= now.texts_delivered <= now.texts
            assert now.texts_delivered + now.texts_waiting <= now.texts
        over = exercise.runs[number]
        assert over.label == run.label
        assert over.warned_percent[-1] == pytest.approx(100 * float(np.mean(np.isfinite(run.warned_s[0]))), abs=0.01)
        assert (over.asked_for_help, over.heard) == (run.asked_for_help, len(run.help))
    assert kept.alive > 5  # while a sky is found there is nothing to see, but that it works
    assert len({now.began_at for now in kept.seen}) == 1
    assert any(now.texts_by_satellite for now in kept.seen)
    assert not any(now.texts_by_satellite for now in kept.seen if now.ended == 0)
    assert [now.state for now in kept.seen] == ["playing"] * (len(kept.seen) - 1) + ["done"]
    towns = len(exercise.places)
    for rows in (exercise.cut_off, exercise.dark, exercise.runs[1].warned):
        assert [len(row) for row in rows] == [towns] * len(exercise.at_s)
    assert len(exercise.cut_off_phones) == len(exercise.at_s)


def test_it_is_written_down_at_most_once_a_second(tmp_path: Path) -> None:
    world = small_world(hours=2.0)
    kept = Kept(tmp_path, Clock(EVERY_S / 4))
    timeline.play(world, (), 1, onlooker=kept)
    told = [now.told_at for now in kept.seen if now.now_s > 0]
    assert len(set(told)) < len(told)


def test_what_does_not_fit_is_not_shown(tmp_path: Path) -> None:
    timeline.play(small_world(hours=0.5), (), 1, onlooker=Watched(tmp_path, "small"))
    folder = tmp_path / DIRECTORY
    exercises = Exercises(folder)
    world, now = files(folder, "small")
    (folder / "Loud.now.json").write_bytes(now.read_bytes())
    os.symlink(now, folder / "link.now.json")
    os.symlink(world, folder / "link.json")
    (folder / "half.now.json").write_bytes(now.read_bytes()[:-9])
    (folder / "more.now.json").write_bytes(now.read_bytes()[:-1] + b',"more":1}')
    assert [name for name, _ in exercises.listed()] == ["small"]
    for name in ("link", "half", "../exercises/small", "small.now", "nothing"):
        assert exercises.exercise(name) is None
    assert Exercises(None).listed() == []
    assert Exercises(tmp_path / "none").listed() == []


def test_the_command_is_watched(tmp_path: Path) -> None:
    mine = tmp_path / "Mine.toml"
    mine.write_text(small_text(hours=0.5))
    data = tmp_path / "data"
    given = ["exercise", "run", str(mine), "--fleet", "starlink-direct-to-cell", "--quiet", "--watch", "--data", str(data)]
    answer = CliRunner().invoke(tramontana, given)
    assert answer.exit_code == 0, (answer.output, answer.exception)
    [(name, now)] = Exercises(data / DIRECTORY).listed()
    assert (name, now.state, now.ended, len(now.labels)) == ("mine", "done", 2, 2)
    assert ((data / DIRECTORY).stat().st_mode & 0o777) == 0o700
    mine.rename(tmp_path / "my own.toml")
    bad = CliRunner().invoke(tramontana, [*given[:2], str(tmp_path / "my own.toml"), *given[3:]])
    assert "is no name to watch an exercise by" in str(bad.exception)
