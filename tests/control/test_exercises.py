"""Exercises at the server: what their player writes down, for administrators."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.control.house import Houses
from tests.exercise.small_world import small_world
from tramontana.cli.exercise_watch import Watched
from tramontana.control.exercises import DIRECTORY, Exercises
from tramontana.exercise import timeline

LIST = "/api/v1/exercises"


@pytest.mark.anyio
async def test_the_server_shows_it_to_administrators(houses: Houses, tmp_path: Path) -> None:
    async with houses() as house:
        administrator = await house.administrator()
        assert (await house.http.get(LIST)).status_code == 401
        assert (await house.http.get(f"{LIST}/small")).status_code == 401
        assert (await house.http.get(LIST, headers=administrator)).json() == []
        timeline.play(small_world(hours=0.5), (), 1, onlooker=Watched(tmp_path, "small"))
        house.services.exercises = Exercises(tmp_path / DIRECTORY)
        [shown] = (await house.http.get(LIST, headers=administrator)).json()
        assert (shown["name"], shown["now"]["state"], shown["now"]["ended"]) == ("small", "done", 1)
        world = (await house.http.get(f"{LIST}/small", headers=administrator)).json()
        assert [place["name"] for place in world["places"]] == ["Borgo", "Valle", "Città"]
        assert world["runs"][0]["label"] == "without satellites"
        assert (await house.http.get(f"{LIST}/other", headers=administrator)).status_code == 404
        assert (await house.http.get(f"{LIST}/small.now", headers=administrator)).status_code == 422
