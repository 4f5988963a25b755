"""Where field units are, as TAK servers tell it: the last position of each, for as long as it holds.

A unit's own clock says for how long a position holds, ours that this begins now at the latest: one whose clock is ahead is not shown for
ever. One whose clock is so far behind that its positions are over long ago looks like what a server kept, and is not shown. Only friendly
units and their emergencies are kept; everything else on a TAK server (chats, drawings, tracks of others) is not ours.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tramontana.cell.cot import EMERGENCY_OVER_TYPE, Event

LONGEST_S = 3600.0
"""No position holds longer, whatever its unit says."""
MAX_UNITS = 5000
FRIENDLY, EMERGENCY = "a-f-", "b-a-o-"

Key = tuple[str, str]
"""The link that told it, and its uid there."""


@dataclass(frozen=True, slots=True)
class Unit:
    """Times are POSIX seconds; `stale_at` is until when it holds."""

    link: str
    uid: str
    kind: str
    callsign: str
    latitude_deg: float
    longitude_deg: float
    height_m: float | None
    radius_m: float | None
    course_deg: float | None
    speed_m_s: float | None
    emergency: bool
    at: float
    stale_at: float
    received_at: float

    @property
    def key(self) -> Key:
        return self.link, self.uid


class Units:
    """Everybody who was heard, and what of it is not yet kept elsewhere."""

    def __init__(self, kept_s: float, known: Iterable[Unit] = ()) -> None:
        self.refused = 0
        """Positions that came when there were too many already."""
        self._kept_s = kept_s
        self._units = {unit.key: unit for unit in known}
        self._changed: set[Key] = set()

    def heard(self, link: str, event: Event, now: float) -> None:
        """Somebody told something."""
        key = (link, event.uid)
        if event.kind == EMERGENCY_OVER_TYPE:
            if self._units.pop(key, None) is not None:
                self._changed.add(key)
            return
        if not event.kind.startswith((FRIENDLY, EMERGENCY)):
            return
        before = self._units.get(key)
        if before is None and len(self._units) >= MAX_UNITS:
            self.refused += 1
            return
        at = min(event.at, now)
        stale_at = min(event.stale, now + min(max(0.0, event.stale - event.at), LONGEST_S))
        if stale_at + self._kept_s <= now or (before is not None and at < before.at):
            return  # what a server kept from long ago, or what overtook it on the way
        self._units[key] = Unit(
            link,
            event.uid,
            event.kind,
            event.callsign,
            event.latitude_deg,
            event.longitude_deg,
            event.height_m,
            event.radius_m,
            event.course_deg,
            event.speed_m_s,
            event.emergency == "raised",
            at,
            stale_at,
            now,
        )
        self._changed.add(key)

    def forget(self, now: float) -> None:
        """Whoever went stale so long ago that nobody shall see him any more."""
        for key in [key for key, unit in self._units.items() if unit.stale_at + self._kept_s <= now]:
            del self._units[key]

    def changes(self) -> tuple[list[Unit], list[Key]]:
        """Positions that are new since the last call, and units that took themselves back."""
        changed, self._changed = sorted(self._changed), set()
        return [self._units[key] for key in changed if key in self._units], [key for key in changed if key not in self._units]

    def again(self, units: Iterable[Unit], gone: Iterable[Key]) -> None:
        """These could not be kept: they are changes still."""
        self._changed |= {unit.key for unit in units} | set(gone)
