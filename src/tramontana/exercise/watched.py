"""What is seen of an exercise while it is played: the world as soon as it is known, a run at an instant, runs that are over."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from tramontana.cell.area import Floats
from tramontana.exercise.results import ground_frames, run_row, warned_frames
from tramontana.exercise.terrestrial import TICK_S
from tramontana.exercise.texts import CODE, Kind, Way
from tramontana.exercise.timeline import Glimpse, Ground, Run

Percent = Annotated[int, Field(ge=-1, le=100)]
Share = Annotated[float, Field(ge=0, le=100)]
Count = Annotated[int, Field(ge=0)]
Seconds = Annotated[float, Field(ge=0)]


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, hide_input_in_errors=True)


class ExercisePlace(_Part):
    name: str
    latitude_deg: Annotated[float, Field(ge=-90, le=90)]
    longitude_deg: Annotated[float, Field(ge=-180, le=180)]
    people: Count


class ExerciseRun(_Part):
    """A run that is over. Delays are seconds from the approval of the first warning, or from the first text; None for never."""

    label: str
    warned: list[list[Percent]] = Field(description="By instant and municipality, percent of the phones inside; -1 where none lives inside")
    warned_percent: list[Share] = Field(description="By instant, of all phones inside")
    half_warned_s: Seconds | None
    nine_tenths_warned_s: Seconds | None
    asked_for_help: Count
    heard: Count
    cut_off_texts: Count
    cut_off_texts_delivered: Count
    busiest_cell_percent: float = Field(ge=0, description="Of its time that the busiest cell's beams were busy in the busiest minute")


class Exercise(_Part):
    """An exercise: F instants, M municipalities. Everything in it is simulated."""

    title: str
    begins_at: float = Field(description="Of the world, POSIX seconds")
    seconds: Seconds
    seed: Count
    phones: Count
    sites: Count
    places: list[ExercisePlace]
    at_s: list[Seconds]
    cut_off: list[list[Percent]] = Field(description="(F, M) percent of the phones that hear no site")
    dark: list[list[bool]] = Field(description="(F, M) without mains")
    cut_off_phones: list[Count] = Field(description="By instant, phones that hear no site")
    runs: list[ExerciseRun]


class ExerciseNow(_Part):
    """Where an exercise is. While a run is played: the instant of its world and what came of it by then."""

    title: str
    state: Literal["playing", "done"]
    began_at: float = Field(description="When its player began, POSIX seconds: another one where it began anew")
    told_at: float = Field(description="When the player last said so, POSIX seconds: at most once a second, and while it works")
    ended: Count = Field(description="Runs that are over: so many does the exercise itself hold")
    labels: list[str] = Field(description="Of all runs, in their order")
    now_s: Seconds
    warned: list[Percent] = Field(description="By municipality, of the run that is played; empty before it shows anything")
    warned_percent: Share
    asked_for_help: Count
    heard: Count
    texts: Count
    texts_delivered: Count
    texts_by_satellite: Count
    texts_waiting: Count


def world_of(ground: Ground, ended: Sequence[Run]) -> Exercise:
    """The world, and the runs that are over."""
    seen, world = ground_frames(ground), ground.world
    places = world.places
    of_group = np.bincount(ground.phones.group, minlength=ground.phones.group_sites.shape[0])
    tick = np.minimum((seen.at_s // TICK_S).astype(np.int64), ground.reach.serving.shape[0] - 1)
    return Exercise(
        title=world.head.title,
        begins_at=world.head.start.timestamp(),
        seconds=float(world.seconds),
        seed=ground.seed,
        phones=len(ground.phones),
        sites=len(ground.network),
        places=[
            ExercisePlace(name=name, latitude_deg=latitude, longitude_deg=longitude, people=people)
            for name, latitude, longitude, people in zip(
                places.names, places.latitude_deg.tolist(), places.longitude_deg.tolist(), places.population.tolist(), strict=True
            )
        ],
        at_s=seen.at_s.tolist(),
        cut_off=seen.cut_off.tolist(),
        dark=seen.dark.tolist(),
        cut_off_phones=((ground.reach.serving[tick] < 0) @ of_group).tolist(),
        runs=[_ended(ground, run, seen.at_s) for run in ended],
    )


def _ended(ground: Ground, run: Run, at_s: Floats) -> ExerciseRun:
    row = run_row(ground, run)
    delivered, written = row.of_cut_off()
    return ExerciseRun(
        label=run.label,
        warned=warned_frames(ground, run.warned_s[0], at_s).tolist(),
        warned_percent=[_percent(run.warned_s[0] <= at) for at in at_s.tolist()],
        half_warned_s=row.warnings[0].after_s["50"],
        nine_tenths_warned_s=row.warnings[0].after_s["90"],
        asked_for_help=row.help.asked,
        heard=row.help.heard,
        cut_off_texts=written,
        cut_off_texts_delivered=delivered,
        busiest_cell_percent=100.0 * row.load.fullest_minute,
    )


def glimpsed(glimpse: Glimpse, labels: Sequence[str], ended: int, began_at: float, told_at: float) -> ExerciseNow:
    """A run while it is played. began_at, told_at: POSIX seconds."""
    ground, texts, now = glimpse.ground, glimpse.traffic.texts, glimpse.now_s
    number = len(texts)
    written = texts.created_s[:number] <= now
    delivered = written & (texts.state[:number] == CODE["delivered"]) & (texts.done_s[:number] <= now)
    waiting = written & ~delivered & ~np.isin(texts.state[:number], (CODE["expired"], CODE["refused"]))
    warned_s = glimpse.warned_s()[0]
    return between(ground, labels, ended, began_at, told_at).model_copy(
        update={
            "now_s": now,
            "warned": warned_frames(ground, warned_s, np.array([now]))[0].tolist(),
            "warned_percent": _percent(np.isfinite(warned_s)),
            "asked_for_help": int(np.unique(texts.phone[:number][written & (texts.kind[:number] == Kind.SOS)]).size),
            "heard": sum(at <= now for at in glimpse.traffic.room.received_s.values()),
            "texts": int(np.count_nonzero(written)),
            "texts_delivered": int(np.count_nonzero(delivered)),
            "texts_by_satellite": int(np.count_nonzero(delivered & (texts.way[:number] == Way.SATELLITE))),
            "texts_waiting": int(np.count_nonzero(waiting)),
        }
    )


def between(ground: Ground, labels: Sequence[str], ended: int, began_at: float, told_at: float) -> ExerciseNow:
    """Before the first run shows anything, between two, and at the end. began_at, told_at: POSIX seconds."""
    return ExerciseNow(
        title=ground.world.head.title,
        state="done" if ended == len(labels) else "playing",
        began_at=began_at,
        told_at=told_at,
        ended=ended,
        labels=list(labels),
        now_s=0.0,
        warned=[],
        warned_percent=0.0,
        asked_for_help=0,
        heard=0,
        texts=0,
        texts_delivered=0,
        texts_by_satellite=0,
        texts_waiting=0,
    )


def _percent(which: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> float:
    return round(100.0 * float(np.mean(which)), 2) if which.size else 0.0
