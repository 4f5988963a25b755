"""What one satellite beam carries in short messages, from the link budget (docs/sources.md, "Direct to cell").

The downlink of a phone in the hand, calibrated 10 dB below the paper budget to the throughput that was measured in the field. It is
a planning figure: real beams share their signalling with whatever else they carry.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass
from typing import Literal

from tramontana.errors import LocalError

EARTH_RADIUS_KM = 6371.0
REFERENCE_ALTITUDE_KM = 525.0
SNR_DB = ((30.0, -4.6), (50.0, -0.5), (90.0, 2.6))
"""Elevation in degrees and outdoor SNR in dB at 525 km, ITU "System A" 39.9 dBW/MHz, calibrated −10 dB (docs/sources.md)."""
INDOOR_LOSS_DB = 15.0
LOWEST_SNR_DB = -6.7
"""CQI 1 of LTE, QPSK at rate 0.076 (3GPP TS 36.213 table 7.2.3-1, by link simulation): below it nothing is decoded without repetitions."""
MESSAGES_PER_S = {"5 MHz": 100.0, "1.4 MHz": 20.0, "200 kHz": 2.0}
"""Planning estimates at 50° of elevation outdoors (docs/sources.md)."""
Bandwidth = Literal["5 MHz", "1.4 MHz", "200 kHz"]


class NotServed(LocalError):
    """At this elevation there is no beam to plan with: the satellite must stand 30° high or more."""


@dataclass(frozen=True, slots=True)
class BeamCapacity:
    """`messages_per_s` is 0 where a phone there decodes nothing."""

    snr_db: float
    messages_per_s: float


def slant_range_km(elevation_deg: float, altitude_km: float) -> float:
    """To a satellite of a circular orbit over a spherical Earth."""
    sine = math.sin(math.radians(elevation_deg))
    radius = EARTH_RADIUS_KM + altitude_km
    return math.sqrt(radius**2 - (EARTH_RADIUS_KM * math.cos(math.radians(elevation_deg))) ** 2) - EARTH_RADIUS_KM * sine


def beam_capacity(
    elevation_deg: float, *, altitude_km: float = REFERENCE_ALTITUDE_KM, bandwidth: Bandwidth, indoors: bool, gain_db: float = 0.0
) -> BeamCapacity:
    """What a beam carries to phones outdoors or indoors; gain_db: over what was measured. Raises `NotServed` below 30°."""
    first, last = SNR_DB[0][0], SNR_DB[-1][0]
    if not first <= elevation_deg <= last:
        raise NotServed(f"a beam at {elevation_deg:g}° cannot be planned: the satellite must stand {first:g}° to {last:g}° high")
    at = min(bisect_right([elevation for elevation, _ in SNR_DB], elevation_deg), len(SNR_DB) - 1)
    (low, low_db), (high, high_db) = SNR_DB[at - 1], SNR_DB[at]
    snr_db = low_db + (high_db - low_db) * (elevation_deg - low) / (high - low) + gain_db
    snr_db -= 20 * math.log10(slant_range_km(elevation_deg, altitude_km) / slant_range_km(elevation_deg, REFERENCE_ALTITUDE_KM))
    snr_db -= INDOOR_LOSS_DB if indoors else 0.0
    return BeamCapacity(snr_db, messages_per_s(snr_db, bandwidth))


def messages_per_s(snr_db: float, bandwidth: Bandwidth) -> float:
    """What a beam carries to phones that have this; 0 where they decode nothing."""
    if snr_db < LOWEST_SNR_DB:
        return 0.0
    return MESSAGES_PER_S[bandwidth] * _bits_per_hertz(snr_db) / _bits_per_hertz(SNR_DB[1][1])


def _bits_per_hertz(snr_db: float) -> float:
    return math.log2(1 + 10 ** (snr_db / 10))
