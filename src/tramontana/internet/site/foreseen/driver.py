"""Outages that carriers announced in a file, and those that the space engine predicts: what the choice of uplinks moves before."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from tramontana.errors import LocalError
from tramontana.internet.driver import unix_s
from tramontana.internet.linux.site_uplinks import SiteUplinks
from tramontana.internet.outlook import Outlook, parse_announcements, planned
from tramontana.internet.settings import Uplink

SHOWN = 20

log = logging.getLogger("tramontana.site")


class Site(Protocol):
    """What is needed of the site's agent."""

    uplinks: SiteUplinks | None


class Foreseen:
    """Told to the choice of uplinks whenever it becomes another."""

    def __init__(self, agent: Site, uplinks: Sequence[Uplink], path: Path | None) -> None:
        """path: of the announcements; None: there are none."""
        self._agent, self._uplinks, self._path = agent, uplinks, path
        self._announced: Outlook = {}
        self._forecast: Outlook = {}
        self._as_of: float | None = None
        self.fault: str | None = None
        """Why the announcements that hold are not those in the file."""

    def predict(self, outlook: Outlook) -> None:
        """The space engine's."""
        self._forecast = outlook
        self.tell()

    def read(self) -> None:
        """What carriers announced, if the file is another one than before. A bad file changes nothing, and is told of once."""
        if self._path is None:
            return
        try:
            as_of = self._path.stat().st_mtime if self._path.exists() else None
            if as_of == self._as_of:
                return
            self._as_of = as_of
            text = "" if as_of is None else self._path.read_text()
            self._announced = parse_announcements(text, (each.carrier for each in self._uplinks), str(self._path))
            self.fault = None
        except (OSError, UnicodeDecodeError, LocalError) as error:
            self.fault = f"announced outages: {error}"
            log.warning("%s", self.fault)
        self.tell()

    def tell(self) -> None:
        """To the choice of uplinks, where there is one now."""
        if (uplinks := self._agent.uplinks) is not None:
            to_clock_s = time.monotonic() - unix_s()
            for live in uplinks.status():
                uplinks.set_planned(live.tunnel.id, planned((self._announced, self._forecast), live.tunnel.carrier.id, to_clock_s))

    def status(self) -> list[dict[str, Any]]:
        """What is still to come, the next first."""
        now = unix_s()
        sources = (self._announced, self._forecast)
        coming = [(each.start - now, carrier, each) for source in sources for carrier, found in source.items() for each in found]
        return [
            {"carrier": carrier, "in_s": round(in_s, 1), "for_s": round(each.end - each.start, 2), "reason": each.reason}
            for in_s, carrier, each in sorted(coming, key=lambda found: found[:2])
            if each.end > now
        ][:SHOWN]
