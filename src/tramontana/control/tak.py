"""TAK servers: cases of SOS and areas of warnings go out, positions of field units come in and are deleted when they no longer hold.

One of the server processes (the one that leads) keeps the links; all of them read the positions from the database.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from sqlalchemy.ext.asyncio import AsyncConnection

from tramontana.cell.cot import AREA_TYPE, MAX_CALLSIGN, UID_PREFIX, Event
from tramontana.cell.sos_export import sos_event
from tramontana.cell.tak.driver import TakLink
from tramontana.cell.tak_session import TakSession
from tramontana.cell.units import Unit, Units
from tramontana.cell.warning import Warning
from tramontana.cell.warning_content import ContentRefused
from tramontana.control.store import audit, sos
from tramontana.control.store import units as rows
from tramontana.control.store import warnings as warning_rows
from tramontana.control.store.database import Store, StoreUnavailable
from tramontana.control.store.sos import Stored
from tramontana.control.tak_file import TakServer, TakServers

LOOK_EVERY_S = 1.0
LOOK_WITHOUT_LINKS_S = 60.0
"""Where nobody is heard there is only to forget, what was heard before."""
LOOKED_AGAIN_S = 3600.0
"""Who looks at positions is in the audit trail once in so long, not with every refresh of his screen."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LinkStatus:
    """A link as the operator sees it. fault: why there is no connection."""

    name: str
    connected: bool
    fault: str
    sends: tuple[str, ...]
    receive_only: bool


class Tak:
    """The service. `run` keeps the links and deletes what no longer holds; everything else answers requests."""

    def __init__(self, store: Store, servers: TakServers, clock: Callable[[], float]) -> None:
        self.servers = servers
        self._store = store
        self._clock = clock
        self._links: dict[str, TakLink] = {}
        self._units = Units(servers.kept_s)
        self._areas: dict[str, dict[str, Event]] = {}
        """By warning: what never changes while it is on the air."""
        self._told: dict[str, frozenset[str]] = {}
        """Open cases that stand in the audit trail as told, by server."""
        self._looked: dict[str, float] = {}

    def links(self) -> list[LinkStatus]:
        """All links, connected or not."""
        shown = []
        for server in self.servers.links:
            link = self._links.get(server.name)
            connected = link is not None and link.session.is_connected
            fault = "" if connected else link.fault if link is not None else "another server process keeps the connection"
            shown.append(LinkStatus(server.name, connected, fault, tuple(sorted(server.send)), server.receive_only))
        return shown

    async def positions(self, viewer: str) -> list[Unit]:
        """Units as somebody sees them: that he saw any is in the audit trail before he does."""
        now = self._clock()
        async with self._store.read() as connection:
            found = await rows.listed(connection, now - self.servers.kept_s)
        if found and now - self._looked.get(viewer, -math.inf) >= LOOKED_AGAIN_S:
            async with self._store.write() as connection:
                await audit.append(connection, now=now, actor=viewer, action="units.viewed", subject="positions")
            self._looked[viewer] = now
        return found

    async def run(self) -> None:
        """Until cancelled. Nothing that fails in it ends it."""
        while True:
            try:
                if await self._store.leads():
                    await self._lead()
            except StoreUnavailable as error:
                logger.error("TAK servers: %s", error)
            except Exception:
                logger.exception("keeping the links to TAK servers failed; it is tried again")
            await asyncio.sleep(LOOK_EVERY_S)

    async def _lead(self) -> None:
        """Until another process leads."""
        async with self._store.read() as connection:
            self._units = Units(self.servers.kept_s, await rows.listed(connection, self._clock() - self.servers.kept_s))
        self._links = {
            server.name: TakLink(server.name, server.address, TakSession(server.name, receive_only=server.receive_only), self._on_events)
            for server in self.servers.links
        }
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(link.run()) for link in self._links.values()]
                while await self._store.still_leads():
                    try:
                        await self._look()
                    except StoreUnavailable as error:
                        logger.error("TAK servers: %s", error)
                    await asyncio.sleep(LOOK_EVERY_S if self._links else LOOK_WITHOUT_LINKS_S)
                for task in tasks:
                    task.cancel()
        finally:
            self._links = {}

    def _on_events(self, link: str, events: Sequence[Event]) -> None:
        now = self._clock()
        for event in events:
            self._units.heard(link, event, now)

    async def _look(self) -> None:
        """Keep what was heard, delete what is over, tell what is new."""
        now = self._clock()
        self._units.forget(now)
        changed, gone = self._units.changes()
        try:
            if changed or gone:
                await self._store.beside(lambda connection: rows.keep(connection, changed, gone), durable=False)
            async with self._store.read() as connection:
                has_old = await rows.any_until(connection, now - self.servers.kept_s)
            if has_old:
                await self._store.beside(lambda connection: rows.forget(connection, now - self.servers.kept_s), durable=False)
        except StoreUnavailable:
            self._units.again(changed, gone)
            raise
        if any(server.send for server in self.servers.links):
            await self._tell(now)

    async def _tell(self, now: float) -> None:
        async with self._store.read() as connection:
            cases = [each for each in await _located(connection) if not self.servers.silence.of_phone(each.case.phone)]
            on_air = await warning_rows.on_air(connection)
            for warning_id in on_air:
                if warning_id not in self._areas:
                    self._areas[warning_id] = await _area_of(connection, warning_id)
        self._areas = {warning_id: self._areas[warning_id] for warning_id in on_air}
        areas = {uid: event for events in self._areas.values() for uid, event in events.items()}
        for server in self.servers.links:
            wanted = dict(areas) if "warnings" in server.send else {}
            if "sos" in server.send:
                for each in cases:
                    event = sos_event(each.case, each.case_id, each.case.updated_at, with_phone=server.phones, with_words=server.words)
                    wanted[event.uid] = replace(event, stale=math.inf)  # for as long as it is open
                await self._note(server, [each.case_id for each in cases], now)
            self._links[server.name].desire(wanted)

    async def _note(self, server: TakServer, case_ids: Sequence[str], now: float) -> None:
        """That somebody else learns of a case is in the audit trail before he does."""
        told = self._told.get(server.name, frozenset())
        if new := [case_id for case_id in case_ids if case_id not in told]:
            async with self._store.write() as connection:
                details = {"to": server.name, "with_phone": server.phones, "with_words": server.words}
                for case_id in new:
                    subject = f"case {case_id}"
                    await audit.append(connection, now=now, actor=audit.SERVER, action="sos.told", subject=subject, details=details)
        self._told[server.name] = frozenset(case_ids)


async def _located(connection: AsyncConnection) -> list[Stored]:
    """All open cases with a position."""
    found: list[Stored] = []
    after: tuple[int, int] | None = None
    while True:
        page, after = await sos.listed(connection, closed=False, after=after)
        found += [each for each in page if each.case.position is not None]
        if after is None:
            return found


async def _area_of(connection: AsyncConnection, warning_id: str) -> dict[str, Event]:
    """Empty where the content is refused by this release: the links know of everything else."""
    try:
        stored = await warning_rows.find(connection, warning_id)
    except ContentRefused as error:
        logger.error("TAK servers are not told of warning %s, because its content is refused by this release: %s", warning_id, error)
        return {}
    return area_events(stored.warning) if stored else {}


def area_events(warning: Warning) -> dict[str, Event]:
    """The area of a warning that is on the air: a drawing for each polygon, by uid."""
    area, content = warning.content.area, warning.content
    if area is None or warning.approved_at is None:
        return {}
    exercise = "EXERCISE " if content.status == "exercise" else ""
    words = " / ".join(text.text for text in content.texts)
    found = {}
    for number, ring in enumerate(area.polygons):
        latitudes, longitudes = [point[0] for point in ring], [point[1] for point in ring]
        uid = f"{UID_PREFIX}warning-{warning.warning_id}-{number}"
        found[uid] = Event(
            uid,
            AREA_TYPE,
            "h-e",
            warning.approved_at,
            warning.approved_at,
            warning.expires_at or warning.approved_at,
            sum(latitudes) / len(ring),
            sum(longitudes) / len(ring),
            callsign=f"{exercise}{content.event}"[:MAX_CALLSIGN],
            remarks=f"{exercise}{content.level.value}. {words}",
            corners=(*ring, ring[0]),
        )
    return found
