"""SIB19 of NR and SIB31 of LTE as octets: assistance information of a satellite's cell (TS 38.331 §6.3.1, TS 36.331 §6.3.1), UPER.

Only octets are made here: who sends them is the satellites' operator.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from tramontana.cell.asn1_directory import directory
from tramontana.cell.ntn_assistance import (
    DISTANCE_STEP_M,
    LARGEST_DISTANCE_STEPS,
    Assistance,
    CommonDelay,
    Orbital,
    ReferenceCell,
    StateVectors,
)

Release = Literal[17, 18]
UNIX_SINCE_1900_S = 2_208_988_800
"""t-Service counts from 1 January 1900."""


@dataclass(frozen=True, slots=True)
class DelaySteps:
    """How a generation writes the common delay: steps and highest values."""

    us: float
    most: int
    us_per_s: float
    most_drift: int
    us_per_s2: float
    most_variation: int

    def of(self, delay: CommonDelay) -> tuple[int, int, int]:
        """The nearest steps; what is beyond the field, which happens to the third alone and low over a gateway, is its highest value."""
        drift = max(-self.most_drift, min(self.most_drift, round(delay.us_per_s / self.us_per_s)))
        variation = max(0, min(self.most_variation, round(delay.us_per_s2 / self.us_per_s2)))
        return min(self.most, round(delay.us / self.us)), drift, variation


NR_DELAY = DelaySteps(4.072e-3, 66_485_757, 0.2e-3, 257_303, 0.2e-4, 28_949)  # TS 38.331, TA-Info
LTE_DELAY = DelaySteps(32.55208e-3, 8_316_827, 0.2e-3, 261_935, 0.2e-4, 29_479)  # TS 36.331, nta-CommonParameters


def sib19(assistance: Assistance, release: Release = 18) -> bytes:
    """A BCCH-DL-SCH message with SIB19. Release 17 knows neither the middle of a beam that moves nor the satellite that follows."""
    block: dict[str, Any] = {"ntn-Config-r17": _ntn_config(assistance)}
    if assistance.stops_unix_s is not None:
        block["t-Service-r17"] = _t_service(assistance.stops_unix_s)
    if assistance.cell is not None and (release >= 18 or not assistance.cell.moves):
        block["movingReferenceLocation-r18" if assistance.cell.moves else "referenceLocation-r17"] = reference_location(assistance.cell)
        block["distanceThresh-r17"] = min(LARGEST_DISTANCE_STEPS, round(assistance.cell.radius_m / DISTANCE_STEP_M))
    if release >= 18 and assistance.follows is not None and assistance.stops_unix_s is not None:
        start = _t_service(assistance.stops_unix_s)
        block["satSwitchWithReSync-r18"] = {"ntn-Config-r18": _ntn_config(assistance.follows), "t-ServiceStart-r18": start}
    pdu = directory("RRCNR").NR_RRC_Definitions.BCCH_DL_SCH_Message
    information = ("systemInformation", {"sib-TypeAndInfo": [("sib19-v1700", block)]})
    pdu.set_val({"message": ("c1", ("systemInformation", {"criticalExtensions": information}))})
    return bytes(pdu.to_uper())


def sib31(assistance: Assistance) -> bytes:
    """A BCCH-DL-SCH message with SystemInformationBlockType31."""
    satellite: dict[str, Any] = {
        "ephemerisInfo-r17": _ephemeris(assistance, ("stateVectors", "orbitalParameters"), ""),
        "nta-CommonParameters-r17": {},
        "ul-SyncValidityDuration-r17": f"s{assistance.validity_s}",
        "k-Offset-r17": assistance.k_offset_ms,
    }
    if assistance.common is not None:
        names = ("nta-Common-r17", "nta-CommonDrift-r17", "nta-CommonDriftVariation-r17")
        satellite["nta-CommonParameters-r17"] = dict(zip(names, LTE_DELAY.of(assistance.common), strict=True))
    if assistance.epoch is not None:
        satellite["epochTime-r17"] = {"startSFN-r17": assistance.epoch.frame, "startSubFrame-r17": assistance.epoch.subframe}
    pdu = directory("RRCLTE").EUTRA_RRC_Definitions.BCCH_DL_SCH_Message
    block = {"servingSatelliteInfo-r17": satellite}
    information = ("systemInformation-r8", {"sib-TypeAndInfo": [("sib31-v1700", block)]})
    pdu.set_val({"message": ("c1", ("systemInformation", {"criticalExtensions": information}))})
    return bytes(pdu.to_uper())


def reference_location(cell: ReferenceCell) -> bytes:
    """An Ellipsoid-Point of TS 37.355 in six octets: sign, 23 bits of 90°, 24 bits of 360° (TS 23.032 §6.1)."""
    latitude = min((1 << 23) - 1, math.floor(abs(cell.latitude_deg) / 90.0 * (1 << 23)))
    longitude = max(-(1 << 23), min((1 << 23) - 1, math.floor(cell.longitude_deg / 360.0 * (1 << 24))))
    sign = (1 << 23) if cell.latitude_deg < 0 else 0
    # A range whose low end is negative is written from that end on (ITU-T X.691 §11.5.6).
    return (sign | latitude).to_bytes(3, "big") + (longitude + (1 << 23)).to_bytes(3, "big")


def _ntn_config(assistance: Assistance) -> dict[str, Any]:
    config: dict[str, Any] = {
        "ntn-UlSyncValidityDuration-r17": f"s{assistance.validity_s}",
        "cellSpecificKoffset-r17": assistance.k_offset_ms,  # slots of 15 kHz, which last a millisecond
        "ephemerisInfo-r17": _ephemeris(assistance, ("positionVelocity-r17", "orbital-r17"), "mean"),
    }
    if assistance.epoch is not None:
        config["epochTime-r17"] = {"sfn-r17": assistance.epoch.frame, "subFrameNR-r17": assistance.epoch.subframe}
    if assistance.common is not None:
        names = ("ta-Common-r17", "ta-CommonDrift-r17", "ta-CommonDriftVariant-r17")
        config["ta-Info-r17"] = dict(zip(names, NR_DELAY.of(assistance.common), strict=True))
    return config


def _ephemeris(assistance: Assistance, names: tuple[str, str], anomaly: str) -> tuple[str, dict[str, int]]:
    told = assistance.ephemeris
    if isinstance(told, StateVectors):
        positions = zip(("positionX-r17", "positionY-r17", "positionZ-r17"), told.position, strict=True)
        return names[0], dict((*positions, *zip(("velocityVX-r17", "velocityVY-r17", "velocityVZ-r17"), told.velocity, strict=True)))
    assert isinstance(told, Orbital)
    return names[1], {
        "semiMajorAxis-r17": told.semi_major_axis,
        "eccentricity-r17": told.eccentricity,
        "periapsis-r17": told.periapsis,
        "longitude-r17": told.longitude,
        "inclination-r17": told.inclination,
        "meanAnomaly-r17" if anomaly else "anomaly-r17": told.anomaly,
    }


def _t_service(unix_s: float) -> int:
    """Tens of milliseconds; the cell stops between the one before and this one."""
    return math.ceil((unix_s + UNIX_SINCE_1900_S) * 100.0)
