"""What a running gateway has of the server: the organisation's log, and which sites and gateways there are.

It is beside the agent, never in its way: whatever fails here is tried again, and tunnels live on meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
from ipaddress import ip_address

from tramontana.cli.beside import beside
from tramontana.device.device import Condemned, Device
from tramontana.device.driver import OnlineDevice, PutOut
from tramontana.device.requests import Request, Unreachable, unb64
from tramontana.device.storage.driver import SealedStore
from tramontana.errors import TramontanaError
from tramontana.internet.control_channel import GatewayAt
from tramontana.internet.gateway.driver import GatewayAgent
from tramontana.internet.settings import SitePlace

LOOK_EVERY_S = 5.0
AGAIN_S = 10.0

log = logging.getLogger("tramontana.gateway")


class ServerLink:
    """Of one gateway. `run` until cancelled."""

    def __init__(self, agent: GatewayAgent, store: SealedStore) -> None:
        self._agent = agent
        self._store = store

    async def run(self) -> None:
        while True:
            try:
                await self._connected()
            except PutOut as error:
                log.warning("the server: %s", error)
                await self._obey()
            except Condemned as error:
                log.error("%s; this gateway goes on with what it knew before", error)
            except TramontanaError as error:
                log.warning("the server: %s", error)
            await asyncio.sleep(AGAIN_S)

    async def _connected(self) -> None:
        device = Device(self._store, self._agent.trust.extend)

        async def ignore(_received: object) -> None:
            return

        online = OnlineDevice(device, on_message=ignore, on_refused=lambda sentence: log.warning("the server: %s", sentence))
        try:
            await beside(online.run(), self._look(online))
        finally:
            await online.close()

    async def _look(self, online: OnlineDevice) -> None:
        while True:
            await online.online.wait()
            try:
                self._take(await online.request(Request("GET", "/gateways/places")))
            except Unreachable as error:
                log.info("%s", error)
            await asyncio.sleep(LOOK_EVERY_S)

    def _take(self, told: dict[str, list[dict[str, object]]]) -> None:
        sites = [
            SitePlace.model_validate({"id": each["device_id"], "number": each["number"], "networks": each["networks"]})
            for each in told["sites"]
        ]
        gateways = [
            GatewayAt(str(each["device_id"]), int(str(each["number"])), ip_address(str(each["address"]))) for each in told["gateways"]
        ]
        self._agent.set_places(sites, tuple(gateways))

    async def _obey(self) -> None:
        """The server lets this device read no more of the log: only the organisation's own word says whether it is revoked."""
        device = Device(self._store, self._agent.trust.extend)
        online = OnlineDevice(device, on_message=lambda _received: asyncio.sleep(0))
        device_id = device.enrolment.device_id
        try:
            given = await online.request(Request("GET", f"/devices/{device_id}/revocation", needs_session=False))
            self._agent.trust.obey(unb64(given["revocation"]))
        except TramontanaError as error:
            log.warning("the server: %s", error)
        finally:
            await online.close()
