"""Copies of urgent packets towards a site: it asks for them by a flag in the PROBEs of the tunnel through which they shall come as well."""

from __future__ import annotations

from typing import Final

LAPSE_S: Final = 2.0
"""A request ends by itself when no probe has renewed it for so long: the site, or its second tunnel, is gone."""


class CopyRequests:
    """What every site of a gateway asks for: one tunnel each."""

    def __init__(self) -> None:
        self.over: dict[str, int] = {}
        """The uplink through which a site wants copies."""
        self._asked_at: dict[str, float] = {}

    def handle_probe(self, site: str, uplink: int, wanted: bool, now: float) -> bool:
        """A probe came in a tunnel. True if `over` changed."""
        if wanted:
            self._asked_at[site] = now
            changed = self.over.get(site) != uplink
            self.over[site] = uplink
            return changed
        return self.over.get(site) == uplink and self.forget(site)

    def handle_timer(self, now: float) -> bool:
        """About once a second. True if `over` changed."""
        lapsed = [site for site, at in self._asked_at.items() if now - at > LAPSE_S]
        return any([self.forget(site) for site in lapsed])

    def forget(self, site: str) -> bool:
        """True if `over` changed."""
        self._asked_at.pop(site, None)
        return self.over.pop(site, None) is not None
