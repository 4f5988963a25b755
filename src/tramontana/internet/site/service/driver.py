"""What each carrier of a running site carried this month, and what it was worth, hour by hour."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, Protocol

from tramontana.errors import LocalError
from tramontana.internet.driver import StateDirectory, boot_id, now_s, unix_s
from tramontana.internet.linux.namespace import Namespace
from tramontana.internet.linux.site_uplinks import SiteUplinks, TunnelStatus
from tramontana.internet.linux.tunnel_socket import counters
from tramontana.internet.probe import Health
from tramontana.internet.service_record import Look
from tramontana.internet.settings import Uplink

USAGE_PERIOD_S = 10.0
LOOK_S = 1.0
WRITTEN_S = 60.0

log = logging.getLogger("tramontana.site")


class Site(Protocol):
    """What is needed of the site's agent."""

    state: StateDirectory
    underlay: Namespace
    uplinks: SiteUplinks | None


class Service:
    """Counts and looks, and keeps what it found in the state directory."""

    def __init__(self, agent: Site, uplinks: Sequence[Uplink]) -> None:
        """Raises `StateDamaged`."""
        self._agent = agent
        self._carriers = {uplink.interface: uplink.carrier for uplink in uplinks}
        self.usage = agent.state.read_usage()
        self.record = agent.state.read_service_record()

    def month(self) -> dict[str, Any]:
        """For the site's status."""
        return {"of": self.usage.month, "octets": {carrier: round(octets) for carrier, octets in self.usage.octets.items()}}

    async def count(self) -> None:
        """Octets, for the policy's caps."""
        while True:
            with self._agent.underlay.entered():
                seen = {interface: sum(octets) for interface, octets in counters().items()}
            self.record.add_octets(self.usage.count(seen, self._carriers, boot_id(), unix_s()), unix_s())
            if self._agent.uplinks is not None:
                self._agent.uplinks.set_used(self.usage.octets)
            try:
                self._agent.state.write_usage(self.usage)
            except LocalError as error:
                log.warning("the usage of this month cannot be stored: %s", error)
            await asyncio.sleep(USAGE_PERIOD_S)

    async def record_hours(self) -> None:
        """Second by second."""
        written = now_s()
        try:
            while True:
                looks: dict[str, list[Look]] = {carrier: [] for carrier in self._carriers.values()}
                for live in self._agent.uplinks.status() if self._agent.uplinks is not None else ():
                    looks[live.tunnel.carrier.id].append(_look(live))
                self.record.look(looks, unix_s())
                if now_s() - written >= WRITTEN_S:
                    written = now_s()
                    self._write()
                await asyncio.sleep(LOOK_S)
        finally:
            self._write()

    def _write(self) -> None:
        try:
            self._agent.state.write_service_record(self.record)
        except LocalError as error:
            log.warning("the record of the carriers' hours cannot be stored: %s", error)


def _look(live: TunnelStatus) -> Look:
    estimate = live.estimate
    down, up = (way.bps if way.measured_full else None for way in (estimate.capacity_down, estimate.capacity_up))
    return Look(live.keyed, live.link_up and live.health in (Health.ALIVE, Health.SUSPECT), estimate.srtt_s, estimate.loss, down, up)
