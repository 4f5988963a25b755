"""A path while it rains hard at the place, on demand: the rain of a chosen share of the year, from the first sample to the last.

The seeded rain of a profile comes and goes as statistics have it. A laboratory wants it now.
"""

from __future__ import annotations

from dataclasses import replace
from statistics import NormalDist

import numpy as np

from tramontana.carriers.carrier import Carrier, CarrierKind
from tramontana.carriers.paths import GEOSTATIONARY_OF_CARRIER, RING_OF_CARRIER, radio_of
from tramontana.errors import LocalError
from tramontana.path_profile import PathProfile
from tramontana.space.fleet import Floats
from tramontana.space.ground import Place
from tramontana.space.links import RainLink, bits_per_symbol, slant_range_m
from tramontana.space.parameters import PathParameters
from tramontana.space.path_options import USUAL_LOAD
from tramontana.space.profiles import merge, outage_windows
from tramontana.space.sky import Sky

USUAL_EXCEEDANCE = 1e-4
"""Rain that is exceeded 53 minutes a year: the design point of ITU-R P.618."""
_ALTITUDE_M = 550e3  # as in space.radio: the satellite holds its flux, the altitude hardly matters


def in_rain(profile: PathProfile, carrier: Carrier, place: Place, sky: Sky, *, exceedance: float = USUAL_EXCEEDANCE) -> PathProfile:
    """The profile under rain that is exceeded for this share of the year (0 to 0.5) at the place; samples without a rate become outages.

    Raises `LocalError` for a carrier that no rain touches.
    """
    if not 0 < exceedance < 0.5:
        raise LocalError(f"rain is exceeded for a share of the year above 0 and below 0.5, not {exceedance}")
    state = NormalDist().inv_cdf(1 - exceedance)
    elevation = np.nan_to_num(profile.elevation_deg, nan=90.0)  # where nothing serves nothing is lost either
    down, up = _shares(carrier, place, sky, elevation, state)
    step = float(profile.time_unix_s[-1] - profile.time_unix_s[-2]) if profile.time_unix_s.shape[0] > 1 else 1.0
    end = max(profile.end_unix_s + step, float(np.max(profile.outage_end_unix_s, initial=-np.inf)))
    drowned = outage_windows(profile.time_unix_s, (down <= 0) | (up <= 0), end)
    windows = [*zip(profile.outage_start_unix_s.tolist(), profile.outage_end_unix_s.tolist(), strict=True), *drowned]
    merged = merge(windows, profile.start_unix_s, end)
    return replace(
        profile,
        source=f"{profile.source}; with rain on demand, exceeded {exceedance:.2%} of the year",
        capacity_down_bps=profile.capacity_down_bps * down,
        capacity_up_bps=profile.capacity_up_bps * up,
        outage_start_unix_s=merged[:, 0],
        outage_end_unix_s=merged[:, 1],
    )


def _shares(carrier: Carrier, place: Place, sky: Sky, elevation_deg: Floats, state: float) -> tuple[Floats, Floats]:
    """What is left of the rates down and up, 0–1."""

    def fades(link: RainLink) -> tuple[Floats, Floats]:
        fade = sky.weather.at_place(place, link)
        return fade.at_normal_db(np.full(elevation_deg.shape, state), elevation_deg), fade.clear_db(elevation_deg)

    if carrier.kind is CarrierKind.LEO and (radio := radio_of(carrier)).fixed_bps is None:
        range_m = slant_range_m(_ALTITUDE_M, elevation_deg)
        pairs = [fades(budget.link) for budget in (radio.user_down, radio.user_up)]
        wet, dry = (
            radio.user_bps(PathParameters(), USUAL_LOAD, elevation_deg, range_m, (pairs[0][which], pairs[1][which])) for which in (0, 1)
        )
        return _ratio(wet[0], dry[0]), _ratio(wet[1], dry[1])
    known = RING_OF_CARRIER.get(carrier.id) or GEOSTATIONARY_OF_CARRIER.get(carrier.id)
    if known is None:
        raise LocalError(f"no rain is modelled for the carrier {carrier.id!r} ({carrier.kind}): choose one over satellites")
    wet_db, dry_db = fades(known.link)
    clear = known.clear_es_n0_db.value
    share = _ratio(bits_per_symbol(clear - wet_db), bits_per_symbol(clear - dry_db))
    return share, share


def _ratio(part: Floats, whole: Floats) -> Floats:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
