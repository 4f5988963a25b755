"""Exercises in the console: which are played or were, and the world of each."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Path

from tramontana.control.api.access import AdministratorOf, ServicesOf
from tramontana.control.problem import Problem, problems
from tramontana.control.reports import NAME
from tramontana.control.shapes import Shape
from tramontana.exercise.watched import Exercise, ExerciseNow

router = APIRouter(prefix="/api/v1/exercises", tags=["console"])


class ExerciseShown(Shape):
    name: str
    now: ExerciseNow


@router.get("", responses=problems("not_logged_in"))
async def exercises(_session: AdministratorOf, services: ServicesOf) -> list[ExerciseShown]:
    """Exercises that are played with `tramontana exercise run --watch` into this server's data directory, or were. Simulated."""
    found = await asyncio.to_thread(services.exercises.listed)
    return [ExerciseShown(name=name, now=now) for name, now in found]


@router.get("/{name}", responses=problems("not_logged_in", "not_found"))
async def exercise(name: Annotated[str, Path(pattern=f"^{NAME}$")], _session: AdministratorOf, services: ServicesOf) -> Exercise:
    """The world of an exercise over time, and what came of the runs that are over. Simulated."""
    found = await asyncio.to_thread(services.exercises.exercise, name)
    if found is None:
        raise Problem("not_found")
    return found
