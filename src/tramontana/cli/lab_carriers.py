"""The laboratory's carriers: the path that each plays, and what was done to it (cut, rain, unplugged)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final

import numpy as np

from tramontana.carriers.carrier import Carrier
from tramontana.carriers.catalogue import carrier as carrier_by_id
from tramontana.carriers.downpour import USUAL_EXCEEDANCE, in_rain
from tramontana.carriers.paths import path_profile
from tramontana.cli.lab_network import Uplink
from tramontana.path_profile import PathProfile
from tramontana.space.ground import Place
from tramontana.space.sky import Sky

WINDOW_S: Final = 600.0
"""What the path player is sent at once; longer profiles hold up its packets while they are parsed."""
RENEW_S: Final = 300.0
FOREVER_S: Final = 366 * 86400.0


class Treatment(StrEnum):
    """What was done to a carrier."""

    CLEAR = "clear"
    CUT = "cut"
    """Packets vanish; nobody is told."""
    UNPLUGGED = "unplugged"
    """The cable is pulled: the kernel tells those who watch the interface."""
    RAIN = "rain"


@dataclass(slots=True)
class PlayedCarrier:
    """One carrier of the laboratory. Not thread-safe; `prepare` alone is slow."""

    uplink: Uplink
    carrier: Carrier
    place: Place
    sky: Sky
    treatment: Treatment = Treatment.CLEAR
    exceedance: float = USUAL_EXCEEDANCE
    announced: tuple[float, float] | None = None
    """An outage that the site was told of beforehand: from, until; POSIX seconds."""
    _clear: PathProfile | None = None

    @classmethod
    def of(cls, uplink: Uplink, place: Place, sky: Sky) -> PlayedCarrier:
        return cls(uplink, carrier_by_id(uplink.carrier_id), place, sky)

    def prepare(self, now: float) -> None:
        """Compute the path of the next ten minutes. Raises `LocalError`."""
        self._clear = path_profile(self.carrier, self.place, self.sky, now - 1.0, WINDOW_S)

    def played(self) -> PathProfile:
        """What the path player is to play. Raises `LocalError` for rain on a carrier that no rain touches."""
        assert self._clear is not None, "prepare comes first"
        if self.treatment is Treatment.RAIN:
            return in_rain(self._clear, self.carrier, self.place, self.sky, exceedance=self.exceedance)
        if self.treatment is Treatment.CLEAR:
            return self._clear if self.announced is None else _with_outage(self._clear, self.announced)
        start = self._clear.start_unix_s
        return replace(
            self._clear,
            source=f"{self._clear.source}; {self.treatment} by the laboratory",
            outage_start_unix_s=np.array([start]),
            outage_end_unix_s=np.array([start + FOREVER_S]),
        )

    def as_dict(self, now: float) -> dict[str, Any]:
        """The path at an instant, for `lab status`."""
        path = self.played()
        at = path.at(now)
        handover = path.next_handover_unix_s(now)
        return {
            "carrier": self.uplink.carrier_id,
            "name": self.carrier.name,
            "treatment": self.treatment.value,
            "in_outage": at.in_outage,
            "path_round_trip_ms": None if at.in_outage else 2e3 * at.one_way_delay_s,
            "capacity_down_mbps": at.capacity_down_bps / 1e6,
            "capacity_up_mbps": at.capacity_up_bps / 1e6,
            "serving": at.serving,
            "next_handover_s": None if handover is None else handover - now,
            "source": path.source,
        }


def _with_outage(profile: PathProfile, span: tuple[float, float]) -> PathProfile:
    """One more outage; those that it touches become part of it."""
    spans = sorted([*zip(profile.outage_start_unix_s.tolist(), profile.outage_end_unix_s.tolist(), strict=True), span])
    joined = [spans[0]]
    for start, end in spans[1:]:
        if start <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(joined[-1][1], end)
        else:
            joined.append((start, end))
    starts, ends = np.array(joined).T
    return replace(profile, source=f"{profile.source}; outage by the laboratory", outage_start_unix_s=starts, outage_end_unix_s=ends)
