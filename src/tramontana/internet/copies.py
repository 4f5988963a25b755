"""Copies of urgent packets towards a site: asked for class by class, in the PROBEs of the tunnel through which they shall come as well."""

from __future__ import annotations

from typing import Final

from tramontana.internet.flow_class import FlowClass

LAPSE_S: Final = 2.0
"""A request ends by itself when no probe has renewed it for so long: the site, or that tunnel, is gone."""


class CopyRequests:
    """What every site of a gateway asks for. Classes that go by different tunnels may have their copies in different ones."""

    def __init__(self) -> None:
        self.wanted: dict[tuple[str, int], frozenset[FlowClass]] = {}
        """By site and uplink; none is empty. A class goes through a tunnel only if it is asked for there: the policy is the site's."""
        self._asked_at: dict[tuple[str, int], float] = {}

    def handle_probe(self, site: str, uplink: int, flows: frozenset[FlowClass], now: float) -> bool:
        """A probe came in a tunnel. True if `wanted` changed."""
        tunnel = site, uplink
        if not flows:
            return self._end(tunnel)
        self._asked_at[tunnel] = now
        changed = self.wanted.get(tunnel) != flows
        self.wanted[tunnel] = flows
        return changed

    def handle_timer(self, now: float) -> bool:
        """About once a second. True if `wanted` changed."""
        lapsed = [tunnel for tunnel, at in self._asked_at.items() if now - at > LAPSE_S]
        return any([self._end(tunnel) for tunnel in lapsed])

    def forget(self, site: str) -> bool:
        """True if `wanted` changed."""
        return any([self._end(tunnel) for tunnel in list(self.wanted) if tunnel[0] == site])

    def _end(self, tunnel: tuple[str, int]) -> bool:
        self._asked_at.pop(tunnel, None)
        return self.wanted.pop(tunnel, None) is not None
