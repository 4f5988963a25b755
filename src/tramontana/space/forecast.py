"""The next minutes of a path with their uncertainty, for leaving it before it breaks.

What is known in advance: orbits, obstacles, slot boundaries. What is not: which of the eligible satellites the operator will choose, and
the rain. So up to the next slot boundary the serving satellite stands; from there on the forecast is the whole ensemble, each satellite
with the probability with which the scheduler draws it, carried on from slot to slot. Rain at each site is as now and then relaxes to the
statistics of the climate at the rate of its series (`links.series`). Nothing is sampled: the same question has the same answer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from tramontana.errors import LocalError
from tramontana.forecast import Forecast, Quantiles
from tramontana.path_profile import PathProfile
from tramontana.space.candidates import Candidates, candidates
from tramontana.space.fleet import Floats
from tramontana.space.forecast_events import ELEMENTS_OLD_AFTER_S, SlotOutlook, events_of
from tramontana.space.forecast_rain import RainOutlook
from tramontana.space.profiles import SAMPLE_STEP_S, PathModel, check_span, sample_times_unix_s
from tramontana.space.serving import slot_of, slot_start_unix_s
from tramontana.space.ways import geometry

LONGEST_FORECAST_S = 3600.0
RECENT_S = 120.0  # measurements that are older say little about the path of this slot
LEAST_MEASUREMENTS = 8
LOST_RUN = 3  # so many measurements lost in a row, up to now, are an outage that the model did not know
UNEXPLAINED_OUTAGE_S = 15.0
"""How long such an outage lasts on average: a slot, after which another satellite may serve. Assumption (range 1 to 60)."""

_ERROR_QUANTILES = np.array([0.1, 0.3, 0.5, 0.7, 0.9])


@dataclass(frozen=True, eq=False)
class Measurements:
    """Round trips measured on this path, (M,) each, in any order; a lost packet has the round trip NaN."""

    time_unix_s: Floats
    round_trip_s: Floats

    def __post_init__(self) -> None:
        if self.time_unix_s.ndim != 1 or self.time_unix_s.shape != self.round_trip_s.shape:
            raise LocalError("measurements need as many round trips as instants, each one-dimensional")
        if (
            not bool(np.all(np.isfinite(self.time_unix_s)))
            or bool(np.any(self.round_trip_s <= 0))
            or bool(np.any(np.isinf(self.round_trip_s)))
        ):
            raise LocalError("measurements need finite instants, and round trips above 0 or NaN for lost")


def forecast_path(
    model: PathModel, now_unix_s: float, horizon_s: float, *, measured: Measurements | None = None, age_s: float | None = None
) -> Forecast:
    """The path of a model over [now, now + horizon), a sample a second.

    measured: what the site saw of late; shifts and widens the delays by what the model missed, and tells of an outage that it does not
    know. age_s: of real elements; when they are too old the serving satellite is not taken as known. Raises `LocalError` for a bad span.
    """
    check_span(now_unix_s, horizon_s, longest_s=LONGEST_FORECAST_S)
    times = sample_times_unix_s(now_unix_s, horizon_s, SAMPLE_STEP_S)
    first = slot_of(now_unix_s)
    too_old = age_s is not None and abs(age_s) > ELEMENTS_OLD_AFTER_S
    error_s = model_error_s(model.profile, measured, now_unix_s)
    rain = RainOutlook(model, now_unix_s) if model.rains else None

    outlooks: list[SlotOutlook] = []
    bands: list[tuple[Floats, Floats, Floats, Floats]] = []
    before: tuple[Candidates, Floats] | None = None
    for slot in range(first, slot_of(float(times[-1])) + 1):
        start, end = slot_start_unix_s(slot), slot_start_unix_s(slot + 1)
        inside = times[(times >= start) & (times < end)]
        if not inside.shape[0]:
            continue
        could = candidates(model, slot, inside)
        if before is None:
            could, chance = (could, could.fresh) if too_old else _known(model, could, inside)
            change = (0.0, 0.0)
        else:
            chance, change = could.after(*before), could.change_probability(*before)
        outlook = SlotOutlook(could, chance, inside, *change, *_outages(could, inside, rain))
        outlooks.append(outlook)
        bands.append(_slot_bands(model, outlook, error_s, rain))
        before = (could, chance)

    delay, down, up, outage = (np.concatenate(parts) for parts in zip(*bands, strict=True))
    if model.parameters.handover_outage_s.value > 0:
        _add_handovers(outage, times, outlooks)
    if lost_now(measured, now_unix_s):
        np.maximum(outage, lost_probability(times - now_unix_s), out=outage)
    return Forecast(
        place=model.place.id,
        carrier=model.carrier,
        source=f"forecast of {model.source(any(o.could.by_laser for o in outlooks))}",
        made_unix_s=now_unix_s,
        known_until_unix_s=now_unix_s if too_old else slot_start_unix_s(first + 1),
        time_unix_s=times,
        delay_s=Quantiles(*delay.T),
        capacity_down_bps=Quantiles(*down.T),
        capacity_up_bps=Quantiles(*up.T),
        outage_probability=np.clip(outage, 0.0, 1.0),
        events=events_of(model, outlooks, now_unix_s, age_s),
        notes=(
            "beyond the next slot the operator's choice of satellite is not known: the spread is that of all it could choose",
            *(() if error_s is None else (f"delays moved by {float(np.median(error_s)) * 1e3:+.1f} ms, as measured of late",)),
            *model.notes(),
        ),
    )


def _known(model: PathModel, could: Candidates, times: Floats) -> tuple[Candidates, Floats]:
    """All probability on the satellite that serves now, with the delay and the gateway of its own way."""
    (way,) = model.ways([could.slot])
    row = int(np.searchsorted(could.satellite, way.entry)) if way else could.count
    if way is None or row == could.count or could.satellite[row] != way.entry:
        return could, could.fresh
    delay_s, gateway = could.delay_s.copy(), could.gateway.copy()
    site = model.ground.gateways[way.gateway]
    seen = geometry(way, model.place, site, times, model.propagator.track_itrs_m, model.hop_s)
    delay_s[:, row], gateway[row] = seen.air_s + model.fixed_delay_s[way.gateway], way.gateway
    chance = np.zeros(could.count)
    chance[row] = 1.0
    return replace(could, delay_s=delay_s, gateway=gateway), chance


def _outages(could: Candidates, times: Floats, rain: RainOutlook | None) -> tuple[Floats, Floats, Floats]:
    """Probabilities, (T, C) each, that rain breaks a candidate's user link, the feeder links at all its gateways, at the nearest one."""
    none = np.zeros(could.delay_s.shape)
    if rain is None:
        return none, none, none
    return rain.user_out(times, could), rain.feeder_out(times, could), rain.nearest_out(times, could)


def _slot_bands(
    model: PathModel, outlook: SlotOutlook, error_s: Floats | None, rain: RainOutlook | None
) -> tuple[Floats, Floats, Floats, Floats]:
    """Quantiles of delay, of capacity down and up, each (T, 3), and outage probability (T,), in one slot."""
    could, n = outlook.could, outlook.times_unix_s.shape[0]
    if not could.count:
        return np.full((n, 3), np.nan), np.zeros((n, 3)), np.zeros((n, 3)), np.ones(n)
    errors = np.zeros(1) if error_s is None else error_s
    possible = outlook.chance > 0
    delays = (could.delay_s[:, possible, None] + errors).reshape(n, -1)
    delay = quantiles_between(delays, np.repeat(outlook.chance[possible], errors.shape[0]))

    clear = np.zeros((1, 1, 1))
    fades = (clear, clear) if rain is None else rain.user_fades_db(outlook.times_unix_s, could)
    elevation, range_m = could.elevation_deg[:, :, None], could.range_m[:, :, None]
    rates = model.radio.user_bps(model.parameters, model.options.load, elevation, range_m, fades)
    if rain is not None:
        left = rain.feeder_shares(outlook.times_unix_s, could)
        rates = rates[0] * left[0][:, :, None], rates[1] * left[1][:, :, None]
    atoms = rates[0].shape[2]
    up_share = outlook.chance * (1.0 - outlook.feeder_out) * ~could.hidden  # (T, C) that it serves, lands and is not hidden
    weight = np.repeat(up_share / atoms, atoms, axis=1)
    lost = np.maximum(0.0, 1.0 - np.sum(up_share, axis=1))[:, None]
    down, up = (
        quantiles(np.concatenate([rate.reshape(n, -1), np.zeros((n, 1))], axis=1), np.concatenate([weight, lost], axis=1)) for rate in rates
    )
    survives = up_share * (1.0 - outlook.user_out)
    return delay, down, up, 1.0 - np.sum(survives, axis=1)


def quantiles(values: Floats, weights: Floats) -> Floats:
    """(T, 3) the least values at which the weights before and at them reach 10, 50 and 90 % of all; (T, A) each."""
    order = np.argsort(values, axis=1, kind="stable")
    ordered = np.take_along_axis(values, order, axis=1)
    reached = np.cumsum(np.take_along_axis(weights, order, axis=1), axis=1)
    reached /= reached[:, -1:]
    picks = [np.argmax(reached >= share - 1e-9, axis=1) for share in (0.1, 0.5, 0.9)]
    return np.stack([np.take_along_axis(ordered, pick[:, None], axis=1)[:, 0] for pick in picks], axis=1)


def quantiles_between(values: Floats, weights: Floats) -> Floats:
    """(T, 3) the 10, 50 and 90 % quantiles of values (T, A) with weights (A,) above 0, linear between the middles of their weights.

    For a figure that could lie between two of the values as well, as a delay between those of two satellites.
    """
    order = np.argsort(values, axis=1, kind="stable")
    ordered, weight = np.take_along_axis(values, order, axis=1), weights[order] / np.sum(weights)
    middle = np.cumsum(weight, axis=1) - weight / 2
    return np.array([np.interp((0.1, 0.5, 0.9), x, y) for x, y in zip(middle, ordered, strict=True)])


def _add_handovers(outage: Floats, times: Floats, outlooks: list[SlotOutlook]) -> None:
    """A step in which a slot begins has an outage if the satellite or the gateway changes then."""
    for outlook in outlooks[1:]:
        begins = slot_start_unix_s(outlook.could.slot)
        if outlook.could.count:
            at = int(np.searchsorted(times, begins, side="right")) - 1
            outage[at] = 1.0 - (1.0 - outage[at]) * (1.0 - outlook.change)


def model_error_s(profile: Callable[[float, float], PathProfile], measured: Measurements | None, now_unix_s: float) -> Floats | None:
    """Quantiles of (measured one-way delay − modelled) over the recent past, or None where too little was measured.

    profile: start and duration → what the model says of that span.
    """
    if measured is None:
        return None
    recent = (measured.time_unix_s > now_unix_s - RECENT_S) & (measured.time_unix_s <= now_unix_s) & np.isfinite(measured.round_trip_s)
    if np.count_nonzero(recent) < LEAST_MEASUREMENTS:
        return None
    times, half_s = measured.time_unix_s[recent], measured.round_trip_s[recent] / 2
    past = profile(float(np.min(times)), float(np.ptp(times)) + 2 * SAMPLE_STEP_S)
    modelled = np.array([past.at(at).one_way_delay_s for at in times.tolist()])
    error = (half_s - modelled)[np.isfinite(modelled)]
    return np.quantile(error, _ERROR_QUANTILES) if error.shape[0] >= LEAST_MEASUREMENTS else None


def lost_now(measured: Measurements | None, now_unix_s: float) -> bool:
    """Whether the last measurements say that the path is out."""
    if measured is None:
        return False
    past = measured.time_unix_s <= now_unix_s
    last = measured.round_trip_s[past][np.argsort(measured.time_unix_s[past], kind="stable")][-LOST_RUN:]
    return last.shape[0] == LOST_RUN and bool(np.all(np.isnan(last)))


def lost_probability(elapsed_s: Floats) -> Floats:
    """How probably an outage of unknown cause still lasts after a while."""
    return np.asarray(np.exp(-elapsed_s / UNEXPLAINED_OUTAGE_S), dtype=np.float64)
