"""Where the satellites are: SGP4 by the `sgp4` package, turned from TEME into ITRS.

Accuracy. SGP4 with WGS-72 reproduces the official verification vectors to 0.1 mm (tests/vectors/sgp4). TEME → ITRS turns by Greenwich
mean sidereal time alone: UTC stands for UT1 (below 0.9 s, so 0.004° of the Earth's turn) and polar motion (below 0.5″) is left out.
Directions agree with skyfield to 0.01°. How true the elements are is another matter: median 5 km after 0.7 days, 194 km
after 9.6 (`ageing`).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from sgp4.api import WGS72, Satrec, SatrecArray

from tramontana.space.fleet import SECONDS_PER_DAY, Fleet, Floats

UNIX_EPOCH_JD = 2440587.5
_SGP4_EPOCH_JD = 2433281.5  # 1949-12-31T00:00Z
_EPOCH_DECIMALS = 11  # of a day: what one double holds beside the days since 1949
EARTH_ROTATION_RAD_PER_S = 7.292115e-5  # WGS 84, NIMA TR8350.2
SIDEREAL_RATE_RAD_PER_S = 7.29211585531e-5  # derivative of `gmst_rad`: (876600·3600 + 8640184.812866)/(36525·86400)² turns a second
_REV_PER_DAY_IN_RAD_PER_MIN = 1440.0 / (2 * np.pi)  # dividing, as the reference program does, keeps its last digits


def julian_date(unix_s: Floats) -> tuple[Floats, Floats]:
    """Split POSIX seconds into whole and fractional Julian days (UTC), as SGP4 wants them to lose no digits."""
    days = np.floor(unix_s / SECONDS_PER_DAY)
    return UNIX_EPOCH_JD + days, (unix_s - days * SECONDS_PER_DAY) / SECONDS_PER_DAY


def gmst_rad(unix_s: Floats) -> Floats:
    """Greenwich mean sidereal time, IAU 1982 (Vallado, Fundamentals of Astrodynamics, eq. 3-47), with UTC for UT1."""
    jd, fraction = julian_date(unix_s)
    t = (jd - 2451545.0 + fraction) / 36525.0
    seconds = 67310.54841 + (876600.0 * 3600.0 + 8640184.812866) * t + 0.093104 * t**2 - 6.2e-6 * t**3
    return np.asarray(np.mod(seconds, SECONDS_PER_DAY) * (2 * np.pi / SECONDS_PER_DAY), dtype=np.float64)


def satrecs(fleet: Fleet) -> list[Satrec]:
    """One initialised SGP4 record per satellite, in fleet order. Records with an SGP4 error are returned as they are."""
    records: list[Satrec] = []
    to_rad = np.pi / 180.0
    columns = zip(
        fleet.epoch_days_1949.tolist(),
        fleet.bstar_per_earth_radius.tolist(),
        fleet.eccentricity.tolist(),
        (fleet.argument_of_perigee_deg * to_rad).tolist(),
        (fleet.inclination_deg * to_rad).tolist(),
        (fleet.mean_anomaly_deg * to_rad).tolist(),
        (fleet.mean_motion_rev_per_day / _REV_PER_DAY_IN_RAD_PER_MIN).tolist(),
        (fleet.raan_deg * to_rad).tolist(),
        strict=True,
    )
    for epoch, bstar, ecc, argp, incl, anomaly, motion, raan in columns:
        record = Satrec()
        # The number plays no part in the propagation, and the package refuses those above 339999: 0 for all.
        # The reference program hands the epoch over as one Julian date, which drops its last digits, and the deep-space terms of the
        # official vectors rest on that. The exact epoch, from which times are counted, goes in afterwards.
        record.sgp4init(WGS72, "i", 0, (epoch + _SGP4_EPOCH_JD) - _SGP4_EPOCH_JD, bstar, 0.0, 0.0, ecc, argp, incl, anomaly, motion, raan)
        day = math.floor(epoch)
        record.jdsatepoch, record.jdsatepochF = day + _SGP4_EPOCH_JD, round(epoch - day, _EPOCH_DECIMALS)
        records.append(record)
    return records


class Propagator:
    """SGP4 for one fleet; keeps the initialised records."""

    def __init__(self, fleet: Fleet) -> None:
        self._records = satrecs(fleet)
        self._all = SatrecArray(self._records)
        motion_rad_per_s = fleet.mean_motion_rev_per_day * (2 * np.pi / SECONDS_PER_DAY)
        ecc = np.clip(fleet.eccentricity, 0.0, 0.999)
        semi_major_axis_m = (3.986008e14 / motion_rad_per_s**2) ** (1 / 3)
        self.apogee_radius_m: Floats = semi_major_axis_m * (1 + ecc)
        self.max_angular_rate_rad_per_s: Floats = motion_rad_per_s * (1 + ecc) ** 2 / (1 - ecc**2) ** 1.5
        """(N,) upper bounds from Kepler's laws, for coarse prefilters that add their own margin."""

    def positions_itrs_m(self, unix_s: Floats, indices: NDArray[np.intp] | None = None) -> Floats:
        """ITRS positions, (T, N, 3) metres, of all satellites or of those at `indices`; NaN where SGP4 gives none (decayed)."""
        array = self._all if indices is None else SatrecArray([self._records[i] for i in indices.tolist()])
        jd, fraction = julian_date(unix_s)
        error, teme_km, _ = array.sgp4(jd, fraction)
        teme_km[error != 0] = np.nan
        return _itrs_m(teme_km.transpose(1, 0, 2), gmst_rad(unix_s)[:, None])

    def states_itrs(self, unix_s: Floats, indices: NDArray[np.intp] | None = None) -> tuple[Floats, Floats]:
        """ITRS positions and velocities in the turning frame, each (T, N, 3), metres and metres per second; NaN where SGP4 gives none."""
        array = self._all if indices is None else SatrecArray([self._records[i] for i in indices.tolist()])
        jd, fraction = julian_date(unix_s)
        error, teme_km, teme_km_per_s = array.sgp4(jd, fraction)
        teme_km[error != 0] = np.nan
        teme_km_per_s[error != 0] = np.nan
        gmst = gmst_rad(unix_s)[:, None]
        position = _itrs_m(teme_km.transpose(1, 0, 2), gmst)
        velocity = _itrs_m(teme_km_per_s.transpose(1, 0, 2), gmst)
        velocity[..., 0] += SIDEREAL_RATE_RAD_PER_S * position[..., 1]
        velocity[..., 1] -= SIDEREAL_RATE_RAD_PER_S * position[..., 0]
        return position, velocity

    def track_itrs_m(self, index: int, unix_s: Floats) -> Floats:
        """ITRS positions, (T, 3) metres, of one satellite."""
        jd, fraction = julian_date(unix_s)
        error, teme_km, _ = self._records[index].sgp4_array(jd, fraction)
        teme_km[error != 0] = np.nan
        return _itrs_m(teme_km, gmst_rad(unix_s))


def _itrs_m(teme_km: Floats, gmst: Floats) -> Floats:
    """Turn TEME (…, 3) kilometres by sidereal time (broadcast against …) into ITRS metres."""
    cos, sin = np.cos(gmst) * 1e3, np.sin(gmst) * 1e3
    out = np.empty(teme_km.shape, dtype=np.float64)
    out[..., 0] = cos * teme_km[..., 0] + sin * teme_km[..., 1]
    out[..., 1] = cos * teme_km[..., 1] - sin * teme_km[..., 0]
    out[..., 2] = 1e3 * teme_km[..., 2]
    return out
