"""What a simulated world rests on beside its events: each figure with its range, and with a source or the word "assumption"."""

# ruff: noqa: RUF009 - figures are frozen
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Literal

from tramontana.errors import LocalError
from tramontana.space.parameters import Parameter

MOST_BEYOND = 10.0
"""A figure of one's own may be so many times the highest that is built in; shares end at 1 anyway."""


def _assumed(value: float, low: float, high: float, unit: str, why: str) -> Parameter:
    return Parameter(value, low, high, unit, f"assumption: {why}")


@dataclass(frozen=True, slots=True)
class Figures:
    """All of a world. A file of one's own sets any of them under [figures]."""

    people_per_site: Parameter = _assumed(800, 400, 2000, "people", "all operators' sites taken as one network; no list may be shipped")
    site_range_km: Parameter = _assumed(8, 4, 15, "km", "macro cells below 1 GHz in hills and villages")
    site_texts_per_s: Parameter = _assumed(3, 0.5, 20, "texts/s", "signalling of one site while everybody calls")
    battery_share: Parameter = _assumed(0.9, 0.5, 1.0, "of sites", "batteries are usual, and some are old or stolen")
    battery_h: Parameter = Parameter(
        4,
        1,
        8,
        "h",
        "1 h is what the British government recommended, 8 h what the FCC ordered after Katrina (both as quoted by itworldcanada.com, "
        "2008, “UK base stations not required to have backup power”); 4 h between is assumed",
    )
    generator_share: Parameter = _assumed(0.1, 0.02, 0.3, "of sites", "hubs and large sites")
    generator_h: Parameter = _assumed(24, 8, 72, "h", "one tank, never filled up")
    exchange_population: Parameter = _assumed(15_000, 8_000, 40_000, "people", "towns whose exchange reaches the core by fibre of its own")
    second_path_share: Parameter = _assumed(0.3, 0.0, 0.8, "of hubs", "backhaul over a second town; the others hang on one")
    crews: Parameter = _assumed(
        12, 3, 60, "crews", "all operators'; more than 900 technicians worked in Emilia-Romagna in 2023 over a week"
    )
    repair_starts_h: Parameter = _assumed(3, 1, 12, "h", "until crews are there")
    repair_h: Parameter = _assumed(4, 1, 24, "h", "mean of one repair, exponential")
    phones_per_person: Parameter = _assumed(0.85, 0.7, 1.0, "phones", "phones that are with their people")
    phone_on_share: Parameter = _assumed(0.9, 0.7, 1.0, "of phones", "the others are switched on in the hours after")
    phone_battery_h: Parameter = _assumed(24, 8, 48, "h", "longest; charge at the start of a power cut is anything up to it")
    satellite_phone_share: Parameter = _assumed(0.9, 0.5, 1.0, "of phones", "phones that can use the satellites' band")
    steps_outside: Parameter = _assumed(0.1, 0.02, 0.3, "of the time", "people who are not outdoors anyway, at a window or in the street")
    sky_blocked: Parameter = _assumed(0.25, 0.1, 0.5, "of dwells", "outdoors, but a house, a slope or the pocket is between")
    page_heard: Parameter = _assumed(0.9, 0.6, 0.99, "of repetitions", "a phone in coverage hears one repetition of a warning")
    text_lost: Parameter = _assumed(0.05, 0.01, 0.3, "of messages", "over satellite; the network sends it again")
    beam_free: Parameter = _assumed(1.0, 0.2, 1.0, "of a beam", "left by whatever else the operator carries")
    beams_at_once: Parameter = _assumed(16, 4, 64, "beams", "of one satellite over this country at a time")
    satellite_repeat_min: Parameter = _assumed(15, 5, 60, "min", "a warning in force is planned over the satellites anew so often")
    texts_per_phone_h: Parameter = _assumed(1.0, 0.2, 4.0, "texts/h", "of the public, in the first minutes after an event that is felt")
    texts_fall_by_half_h: Parameter = _assumed(3, 1, 8, "h", "after it")
    text_valid_h: Parameter = _assumed(6, 1, 48, "h", "then the sender's phone gives up")
    officials_share: Parameter = _assumed(0.002, 0.0005, 0.01, "of phones", "mayors, crews, volunteers whose texts have precedence")
    official_texts_h: Parameter = _assumed(4, 1, 20, "texts/h", "of each of them")
    sos_after_min: Parameter = _assumed(20, 5, 120, "min", "mean from the blow to the first text for help, exponential")
    sos_answer_s: Parameter = _assumed(60, 20, 300, "s", "mean until somebody in need answers a question")
    sos_again_min: Parameter = _assumed(10, 3, 30, "min", "then somebody without any answer texts again, three times at most")
    control_room_seats: Parameter = _assumed(12, 4, 60, "operators", "who take cases")
    case_care_s: Parameter = _assumed(180, 60, 600, "s", "an operator's mean time with a case, exponential")
    queue_limit: Parameter = _assumed(20_000, 2_000, 100_000, "messages", "a beam in which so many wait refuses further routine texts")

    def with_values(self, given: Mapping[str, float | Parameter]) -> Figures:
        """Some of them set. A bare number must lie in the range of the built-in figure, one with its source may leave it. Raises
        `LocalError`."""
        known = {field.name for field in fields(self)}
        changed: dict[str, Parameter] = {}
        for name, value in given.items():
            if name not in known:
                raise LocalError(f"figures.{name} is not known here: use {', '.join(sorted(known))}")
            built_in: Parameter = getattr(self, name)
            if isinstance(value, Parameter):
                most = 1.0 if built_in.unit.startswith("of ") else MOST_BEYOND * built_in.high
                if not 0 < value.value <= most:
                    raise LocalError(f"figures.{name} is {value.value:g} {built_in.unit}: it must be more than 0 and at most {most:g}")
                changed[name] = value
                continue
            if not built_in.low <= value <= built_in.high:
                raise LocalError(
                    f"figures.{name} is {value:g} {built_in.unit}, and its range is {built_in.low:g} to {built_in.high:g}: "
                    f'correct it, or say on what it rests: {name} = {{ value = {value:g}, low = …, high = …, source = "…" }}'
                )
            changed[name] = replace(built_in, value=value)
        return replace(self, **changed)

    def at_bound(self, name: str, bound: Literal["low", "high"]) -> Figures:
        """One of them at an end of its range. Raises `LocalError`."""
        figure = dict(self.table()).get(name)
        if figure is None:
            raise LocalError(f"{name!r} is no figure of an exercise: use {', '.join(sorted(each for each, _ in self.table()))}")
        return replace(self, **{name: replace(figure, value=getattr(figure, bound))})

    def table(self) -> tuple[tuple[str, Parameter], ...]:
        """Name and figure of all, in their order."""
        return tuple((field.name, getattr(self, field.name)) for field in fields(self))
