"""What a running gateway has of the server: the organisation's log, and which sites and gateways there are; it hands on their reports.

It is beside the agent, never in its way: whatever fails here is tried again, and tunnels live on meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tramontana.cli.beside import beside
from tramontana.device.device import Condemned, Device
from tramontana.device.driver import OnlineDevice, PutOut
from tramontana.device.requests import Refusal, Request, Unreachable, b64, unb64
from tramontana.device.storage.driver import SealedStore
from tramontana.errors import TramontanaError
from tramontana.internet import zeroise
from tramontana.internet.control_channel import GatewayAt
from tramontana.internet.driver import now_s, unix_s
from tramontana.internet.gateway.driver import GatewayAgent
from tramontana.internet.linux.namespace import HostRefused
from tramontana.internet.log_file import EntryFile
from tramontana.internet.report import MOST_REPORTS, SignedReport
from tramontana.internet.settings import GatewayPlace, SitePlace
from tramontana.keys.follow import Alarm

LOOK_EVERY_S = 2.0
BATCH_EVERY_S = 0.2
"""Between requests while more reports wait than one takes, or the server says that places changed."""
BATCH_BYTES = 200 * 1024
REPORT_PERIOD_S = 30.0
CATCH_UP_S = 5.0
AGAIN_S = 10.0

log = logging.getLogger("tramontana.gateway")


async def catch_up(store: SealedStore, path: Path) -> None:
    """Read the log on before the agent begins, if the server answers soon; else it begins with what it had."""
    file = EntryFile(path)
    file.read_new()
    online = OnlineDevice(Device(store, lambda start, entries: file.append(file.missing(start, entries))))
    try:
        async with asyncio.timeout(CATCH_UP_S):
            await online.follow()
    except (TramontanaError, TimeoutError) as error:
        log.info("the server: %s", error or "no answer in time")
    finally:
        await online.close()


class ServerLink:
    """Of one gateway. `run` until cancelled."""

    def __init__(self, agent: GatewayAgent, store: SealedStore) -> None:
        self._agent = agent
        self._store = store
        self._device: Device | None = None
        """Kept from one connection to the next: reading what is stored of ten thousand sites takes a moment that their probes notice."""
        self._places_changed = asyncio.Event()

    async def run(self) -> None:
        while True:
            try:
                await self._connected()
            except PutOut as error:
                log.warning("the server: %s", error)
                if error.is_zeroised:  # and with the device's file what the server could be asked with: the agent does the rest
                    await asyncio.Event().wait()
                await self._obey()
            except Alarm as error:
                self._device = None  # its store has the evidence now and makes none any more, unless a clock alone was wrong
                log.error("the server: %s", error)
            except Condemned as error:
                log.error("%s; this gateway goes on with what it knew before", error)
            except TramontanaError as error:
                log.warning("the server: %s", error)
            await asyncio.sleep(AGAIN_S)

    async def _connected(self) -> None:
        if self._device is None:
            self._device = Device(self._store, self._agent.trust.extend, self._begin_zeroise)
        online = OnlineDevice(self._device, on_frame=self._hear, on_refused=lambda sentence: log.warning("the server: %s", sentence))
        try:
            await beside(online.run(), self._look(online))
        finally:
            await online.close()

    def _begin_zeroise(self) -> None:
        """Before anything is destroyed: whoever dies in between goes on with it at the next start. Raises `PrivateFileError`."""
        zeroise.begin(self._agent.settings.state, "the organisation ordered it", unix_s())

    def _hear(self, frame: dict[str, Any]) -> None:
        if frame["type"] == "places":
            self._places_changed.set()

    async def _look(self, online: OnlineDevice) -> None:
        """Hand reports on, and ask for the places that changed whenever the server says that some did; first for all of them."""
        revision, told_at = "", -REPORT_PERIOD_S
        while True:
            await online.online.wait()
            self._places_changed.clear()
            if now_s() >= told_at + REPORT_PERIOD_S:
                own = self._agent.report()
                self._agent.reports[own.device_id] = own
                told_at = now_s()
            batch = self._batch()
            try:
                answer = await online.request(Request("POST", "/gateways/reports", {"reports": [_shape(each) for each in batch]}))
                if answer["revision"] != revision:
                    places = await online.request(Request("GET", f"/gateways/places?since={quote(revision)}"))
                    try:
                        self._take(places)
                    except HostRefused as error:  # the agent tries again, and its status says so
                        log.warning("%s", error)
                    revision = str(places["revision"])
            except (Unreachable, Refusal) as error:
                for report in batch:
                    self._agent.reports.setdefault(report.device_id, report)
                log.info("the server: %s", error)
            except (ValueError, KeyError, TypeError) as error:
                log.warning("the server speaks otherwise than this program (%r); use programs of one version", error)
            await asyncio.sleep(BATCH_EVERY_S)
            if not self._is_batch_full():
                with suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_EVERY_S - BATCH_EVERY_S):
                        await self._places_changed.wait()

    def _batch(self) -> list[SignedReport]:
        """Those that waited longest, as many as one request takes."""
        chosen = self._next()
        for report in chosen:
            del self._agent.reports[report.device_id]
        return chosen

    def _is_batch_full(self) -> bool:
        return len(self._next()) < len(self._agent.reports)

    def _next(self) -> list[SignedReport]:
        chosen: list[SignedReport] = []
        octets = 0
        for report in self._agent.reports.values():
            octets += len(report.report) * 4 // 3 + 200
            if chosen and (octets > BATCH_BYTES or len(chosen) == MOST_REPORTS):
                break
            chosen.append(report)
        return chosen

    def _take(self, told: dict[str, list[dict[str, object]]]) -> None:
        sites = [
            SitePlace.model_validate({"id": each["device_id"], "number": each["number"], "networks": each["networks"]})
            for each in told["sites"]
        ]
        gateways = [
            GatewayPlace.model_validate(
                {"id": each["device_id"], "number": each["number"], "address": each["address"], "address_6": each.get("address_6")}
            )
            for each in told["gateways"]
        ]
        self._agent.set_places(sites, tuple(GatewayAt(each.id, each.number, each.address, each.address_6) for each in gateways))

    async def _obey(self) -> None:
        """The server lets this device read no more of the log: only the organisation's own word says whether it is revoked."""
        device = Device(self._store, self._agent.trust.extend)
        online = OnlineDevice(device)
        device_id = device.enrolment.device_id
        try:
            given = await online.request(Request("GET", f"/devices/{device_id}/revocation", needs_session=False))
            self._agent.trust.obey(unb64(given["revocation"]))
        except TramontanaError as error:
            log.warning("the server: %s", error)
        finally:
            await online.close()


def _shape(report: SignedReport) -> dict[str, str]:
    return {"device_id": report.device_id, "report": b64(report.report), "signature": b64(report.signature)}
