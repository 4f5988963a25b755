"""Fit of the latency model on published national medians: half of the countries fix the figures, the other half are predicted.

The halves are every other country in alphabetical order of ISO 3166-1 alpha-3, the first one fits; this was fixed before anything was
fitted. What is made small is the mean absolute error, so that one country that the model does not describe (Iceland, over lasers) cannot
bend the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tramontana.errors import LocalError
from tramontana.space.latency.model import LatencyParameters, Sample, medians_s, round_trips_s
from tramontana.space.parameters import PathParameters


@dataclass(frozen=True, slots=True)
class Fit:
    """The figures of least error on the fitting half, and what they say of every country."""

    parameters: LatencyParameters
    fitted: tuple[str, ...]
    predicted: tuple[str, ...]
    medians_s: dict[str, float]
    """The model's, of all countries."""
    error_s: dict[str, float]
    """The model's less the published one."""

    def mean_absolute_error_s(self, countries: Sequence[str]) -> float:
        return float(np.mean([abs(self.error_s[c]) for c in countries]))

    def median_absolute_error_s(self, countries: Sequence[str]) -> float:
        return float(np.median([abs(self.error_s[c]) for c in countries]))


def halves(countries: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Those that fit and those that are predicted: every other one in alphabetical order."""
    ordered = sorted(countries)
    return tuple(ordered[0::2]), tuple(ordered[1::2])


def fit(
    samples: Mapping[bool, Sample],
    countries: Sequence[str],
    published_s: Mapping[str, float],
    *,
    fitting: Sequence[str] | None = None,
    fibre_detour: float | None = None,
) -> Fit:
    """Search the figures of least mean absolute error on the fitting half, or on the countries named in `fitting`.

    samples: the geometry without (False) and with (True) a gateway beside every point of presence; countries: (P,) of its places.
    published_s: median round trip of each country. fibre_detour: that of `PathParameters` unless told.
    For a given rule the best access delay is the median of what is missing, so there is nothing to iterate.
    Raises `LocalError` when a country has no published median, none is left to fit, or one that fits has no coverage at all.
    """
    known = sorted(set(countries))
    fitted = tuple(sorted(fitting)) if fitting is not None else halves(known)[0]
    missing = sorted((set(known) - set(published_s)) | (set(fitted) - set(known)))
    if missing or not fitted:
        raise LocalError(f"a fit needs countries with points and a published median; without one: {', '.join(missing) or 'all'}")
    detour = PathParameters().fibre_detour.value if fibre_detour is None else fibre_detour
    best: tuple[float, LatencyParameters, dict[str, float]] | None = None
    for dense, sample in samples.items():
        parameters = LatencyParameters(0.0, dense, detour)
        medians = medians_s(round_trips_s(sample, parameters), countries)
        rest = np.array([published_s[c] - medians[c] for c in fitted])
        access = float(np.median(rest))
        error = float(np.mean(np.abs(rest - access)))
        if np.isfinite(error) and (best is None or error < best[0]):
            best = error, replace(parameters, access_round_trip_s=access), {c: m + access for c, m in medians.items()}
    if best is None:
        raise LocalError("no figures fit: a country that fits has no coverage at all in the sample; take more slots or gateways")
    _, chosen, model = best
    predicted = tuple(c for c in known if c not in fitted)
    return Fit(chosen, fitted, predicted, model, {c: model[c] - published_s[c] for c in model})
