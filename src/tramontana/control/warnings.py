"""Warnings at the server: who submits and who approves, what the controllers shall have on the air, and who was reached when.

The rules are `cell.warning`; every change stands in one transaction with its signed decision and its row of the audit trail. One of the
server processes (the one that leads) talks to the controllers; the others tell the database, where it looks once a second.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy.ext.asyncio import AsyncConnection

from tramontana.cell import warning as rules
from tramontana.cell import warning_content, warning_decision
from tramontana.cell.broadcast_network import BroadcastNetwork, ControllerSite
from tramontana.cell.cap import Envelope, Reference, encode, instant
from tramontana.cell.cbsp import Cell
from tramontana.cell.cell_broadcast import SerialNumber
from tramontana.cell.controller import Broadcast, CellState, Key, Report
from tramontana.cell.controllers.driver import Address, ControllerLink
from tramontana.cell.population import Population
from tramontana.cell.warning import OnAir, Person, Warning
from tramontana.cell.warning_content import Content, ContentRefused
from tramontana.cell.warning_decision import Decision
from tramontana.control.custody import Custody
from tramontana.control.problem import Problem
from tramontana.control.store import accounts, audit
from tramontana.control.store import warnings as rows
from tramontana.control.store.database import Store, StoreUnavailable
from tramontana.keys.refused import Refused

LOOK_EVERY_S = 1.0
WRITE_AGAIN_S = 1.0
MAX_REASON = 120
MAX_OPEN = 20
"""Submissions of one author that wait for a decision: an approver reads every one."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class WarningData:
    """What the operator has loaded."""

    network: BroadcastNetwork = field(default_factory=BroadcastNetwork)
    population: Population | None = None
    areas: Mapping[str, tuple[tuple[tuple[float, float], ...], ...]] = field(default_factory=dict)
    """Named areas to choose from."""


@dataclass(frozen=True, slots=True)
class ControllerStatus:
    """A controller as the operator sees it. fault: why there is no connection."""

    name: str
    cells: int
    connected: bool
    fault: str


class Warnings:
    """The service. `run` keeps the controllers; everything else answers requests."""

    def __init__(self, store: Store, custody: Custody, data: WarningData, clock: Callable[[], float]) -> None:
        self.data = data
        self._store = store
        self._custody = custody
        self._clock = clock
        self._changed = asyncio.Event()
        self._links: dict[str, ControllerLink] = {}
        self._sites = {site.name: site for site in data.network.controllers}
        self._known: dict[rows.CellKey, rows.InCell] = {}
        self._reported: asyncio.Queue[tuple[str, Sequence[Report]]] = asyncio.Queue()
        self._warning_of: dict[tuple[int, int], str] = {}
        self._on_air: dict[str, tuple[float, dict[str, list[Broadcast]]]] = {}
        """By warning: when it expires, and what it wants at each controller. Neither changes while it is on the air."""
        self._unreadable: set[str] = set()

    # What persons do

    async def submit(self, by: Person, warning_id: str, octets: bytes, statement: bytes, signature: bytes) -> Warning:
        """Take a signed submission; one from a template goes on the air. The same again changes nothing. Raises `Problem`."""
        now = self._clock()
        try:
            content = warning_content.parse(octets)
        except ContentRefused as error:
            raise Problem("warning_refused", str(error)) from error
        async with self._store.write() as connection:
            existing = await rows.find(connection, warning_id)
            if existing is not None:
                if existing.content != octets or existing.warning.author != by.account_id:
                    raise Problem("warning_refused", "this id is taken by another warning; choose a new one")
                return existing.warning
            decision = await self._verified(connection, by, warning_id, "submit", octets, statement, signature, now)
            try:
                if content.template is not None:
                    template = await rows.find(connection, content.template)
                    remembered, last = await rows.codes(connection, now)
                    made = rules.use_template(warning_id, content, by, template.warning if template else None, remembered, last, now)
                else:
                    if await rows.open_submissions(connection, by.account_id, now) >= MAX_OPEN:
                        raise rules.Refused(f"{MAX_OPEN} of your warnings wait for a decision: have them decided, or withdraw some")
                    made = rules.submit(warning_id, content, by, await self._replaced(connection, content), now)
            except rules.Refused as error:
                raise Problem("warning_refused", str(error)) from error
            await rows.create(connection, made, octets)
            await rows.decide(connection, decision)
            await self._audit(connection, by, "warning.used" if content.template else "warning.submitted", made, octets, now)
        self._changed.set()
        return made

    async def decide(self, by: Person, warning_id: str, decision: Decision, statement: bytes, signature: bytes) -> Warning:
        """Approve, reject or withdraw. Raises `Problem`."""
        now = self._clock()
        async with self._store.write() as connection:
            stored = await rows.find(connection, warning_id)
            if stored is None or decision == "submit":
                raise Problem("not_found")
            signed = await self._verified(connection, by, warning_id, decision, stored.content, statement, signature, now)
            before = rules.overdue(stored.warning, now) or stored.warning
            ended: Warning | None = None
            try:
                if decision == "approve":
                    replaced = await self._replaced(connection, before.content)
                    remembered, last = await rows.codes(connection, now)
                    outcome = rules.approve(before, by, replaced, remembered, last, now)
                    after, ended = outcome.warning, outcome.ended
                elif decision == "reject":
                    after = rules.reject(before, by, now)
                else:
                    after = rules.withdraw(before, by, now)
            except rules.Refused as error:
                raise Problem("warning_refused", str(error)) from error
            await rows.save(connection, after)
            if ended is not None:
                await rows.save(connection, ended)
            await rows.decide(connection, signed)
            action = {"approve": "warning.approved", "reject": "warning.rejected", "withdraw": "warning.withdrawn"}[decision]
            await self._audit(connection, by, action, after, stored.content, now)
        self._changed.set()
        return after

    async def _verified(
        self,
        connection: AsyncConnection,
        by: Person,
        warning_id: str,
        decision: Decision,
        octets: bytes,
        statement: bytes,
        signature: bytes,
        now: float,
    ) -> rows.Decision:
        organisation_id = (await self._custody.organisation(connection)).root.organisation_id
        device = await accounts.device(connection, by.device_id)
        if device is None:
            raise Problem("not_found")
        unverified = warning_decision.Unverified(statement, signature)
        try:
            unverified.verify(organisation_id, warning_id, decision, octets, by.device_id, device.signature_public_key, now)
        except Refused as error:
            raise Problem("warning_refused", f"{error}", reason=error.reason) from error
        return rows.Decision(warning_id, decision, by.account_id, by.device_id, statement, signature, now)

    async def _replaced(self, connection: AsyncConnection, content: Content) -> Warning | None:
        if content.replaces is None:
            return None
        found = await rows.find(connection, content.replaces)
        return found.warning if found else None

    async def _audit(self, connection: AsyncConnection, by: Person, action: str, warning: Warning, octets: bytes, now: float) -> None:
        details: dict[str, object] = {
            "kind": warning.content.kind,
            "status": warning.content.status,
            "level": warning.content.level.value,
            "content_sha256": warning_content.digest(octets).hex(),
        }
        if warning.content.replaces is not None:
            details["replaces"] = warning.content.replaces
        if warning.content.template is not None:
            details["template"] = warning.content.template
        if warning.serial is not None:
            details["serial_number"] = f"{warning.serial.value:04x}"
        actor, subject = audit.device_actor(by.device_id), f"warning {warning.warning_id}"
        await audit.append(connection, now=now, actor=actor, action=action, subject=subject, details=details)

    async def cap(self, stored: rows.Stored) -> bytes:
        """The warning as a CAP document. Raises `Problem` before it was approved."""
        warning = stored.warning
        if warning.approved_at is None or warning.content.kind == "template":
            raise Problem("warning_refused", "only a warning that was approved is a CAP alert")
        async with self._store.read() as connection:
            root = (await self._custody.organisation(connection)).root
            earlier = await self._replaced(connection, warning.content)
        sender = f"{root.organisation_id}.tramontana"
        references: tuple[Reference, ...] = ()
        if earlier is not None and earlier.approved_at is not None:
            references = (Reference(sender, earlier.warning_id, instant(earlier.approved_at)),)
        return encode(warning.content, Envelope(warning.warning_id, sender, warning.approved_at, root.name, references))

    # What the controllers have on the air

    def controllers(self) -> list[ControllerStatus]:
        """All controllers, connected or not."""
        shown = []
        for site in self.data.network.controllers:
            link = self._links.get(site.name)
            connected = link is not None and link.is_connected
            fault = "" if connected else link.fault if link is not None else "another server process keeps the connection"
            shown.append(ControllerStatus(site.name, len(site.cells), connected, fault))
        return shown

    async def run(self) -> None:
        """Until cancelled: let time end warnings, and while this process leads, keep the controllers as the warnings want them.

        Nothing that fails in it ends it: the rest of the server has no fault in a warning, and a warning waits for no restart.
        """
        while True:
            try:
                if await self._store.leads():
                    await self._lead()
            except StoreUnavailable as error:
                logger.error("warnings: %s", error)
            except Exception:
                logger.exception("warnings: keeping the controllers failed; it is tried again")
            await asyncio.sleep(LOOK_EVERY_S)

    async def _lead(self) -> None:
        """Until another process leads. What was known from an earlier time is not: others wrote meanwhile."""
        self._known, self._reported = {}, asyncio.Queue()
        still_there = await self._take_over()
        self._links = {
            site.name: ControllerLink(site.name, Address(site.host, site.port), self._on_reports) for site in self.data.network.controllers
        }
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._write_reports())]
                is_first = leads = True
                while leads:
                    self._changed.clear()
                    try:
                        await self._look(still_there if is_first else {})
                        if is_first:
                            tasks += [group.create_task(link.run()) for link in self._links.values()]
                        is_first = False
                    except StoreUnavailable as error:
                        logger.error("warnings: %s", error)
                    try:
                        async with asyncio.timeout(LOOK_EVERY_S):
                            await self._changed.wait()
                    except TimeoutError:
                        pass
                    leads = await self._store.still_leads()
                logger.warning("another server process leads now: this one closes its connections to the controllers")
                for task in tasks:
                    task.cancel()
        finally:
            self._links = {}

    async def _look(self, still_there: Mapping[str, Mapping[Key, Mapping[Cell, Sequence[SerialNumber]]]]) -> None:
        """Compare the database with the clock and with what the controllers were told last."""
        now = self._clock()
        async with self._store.read() as connection:
            overdue = [warning_id for warning_id in await rows.overdue(connection, now) if warning_id not in self._unreadable]
            self._warning_of = await rows.by_serial(connection)
        if overdue:
            await self._end(overdue, now)
        async with self._store.read() as connection:
            on_air = await rows.on_air(connection)
            new = [found for each in on_air if each not in self._on_air and (found := await self._readable(connection, each)) is not None]
        for warning in new:
            # Thousands of cells against thousands of corners: once for a warning, and not where requests wait.
            sites = await asyncio.to_thread(self._at_sites, warning, rules.broadcasts(warning))
            self._on_air[warning.warning_id] = (warning.expires_at or 0.0, sites)
        self._on_air = {each: self._on_air[each] for each in on_air if each in self._on_air}
        for name, link in self._links.items():
            wanted = [
                dataclasses.replace(broadcast, lasts_s=expires_at - now)
                for expires_at, sites in self._on_air.values()
                for broadcast in sites[name]
            ]
            link.desire(wanted, still_there=still_there.get(name))

    def _at_sites(self, warning: Warning, forms: Sequence[OnAir]) -> dict[str, list[Broadcast]]:
        """What it wants, or wanted, at each controller."""
        return {site.name: broadcasts_at(site, warning, forms) for site in self.data.network.controllers}

    async def _readable(self, connection: AsyncConnection, warning_id: str) -> Warning | None:
        """A warning, or None with a line in the log where its content is none by the rules of this release."""
        if warning_id in self._unreadable:
            return None
        try:
            stored = await rows.find(connection, warning_id)
        except ContentRefused as error:
            logger.error("warning %s is left alone, because its content is refused by this release: %s", warning_id, error)
            self._unreadable.add(warning_id)
            return None
        return stored.warning if stored else None

    async def _end(self, overdue: Sequence[str], now: float) -> None:
        """Keep what time ended, each with its row of the audit trail."""
        async with self._store.write() as connection:
            for warning_id in overdue:
                warning = await self._readable(connection, warning_id)
                after = rules.overdue(warning, now) if warning else None
                if after is None:
                    continue  # somebody decided meanwhile
                await rows.save(connection, after)
                action = f"warning.{after.state.value}"
                await audit.append(connection, now=now, actor=audit.SERVER, action=action, subject=f"warning {after.warning_id}")

    async def _take_over(self) -> dict[str, dict[Key, dict[Cell, list[SerialNumber]]]]:
        """What an earlier process may have left on the air, by controller; also every row that is known.

        A process may die between asking a controller and keeping a row of it. So what ended not long ago may be on the air in every
        cell of its area whose row does not say otherwise.
        """
        found: dict[str, dict[Key, dict[Cell, list[SerialNumber]]]] = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
        async with self._store.read() as connection:
            left = await rows.not_off_air(connection)
            ended = [await self._readable(connection, each) for each in await rows.ended(connection, self._clock())]
            kept = await rows.cell_keys(connection, [warning.warning_id for warning in ended if warning is not None])
        for in_cell, serial in left:
            self._known[in_cell.key] = in_cell
            found[in_cell.controller][(in_cell.message_identifier, serial.message_code)][Cell.parse(in_cell.cell)].append(serial)
        for warning in filter(None, ended):
            for name, broadcasts in (await asyncio.to_thread(self._at_sites, warning, rules.forms(warning))).items():
                for sent in broadcasts:
                    for cell in sent.cells:
                        if (warning.warning_id, name, sent.message_identifier, str(cell)) not in kept:
                            found[name][sent.key][cell].append(sent.serial)
        return {name: {key: dict(cells) for key, cells in keys.items()} for name, keys in found.items()}

    def _on_reports(self, controller: str, reports: Sequence[Report]) -> None:
        self._reported.put_nowait((controller, reports))

    async def _write_reports(self) -> None:
        """Keep what the controllers answered; while the store is away, what came last for each cell waits."""
        waiting: dict[rows.CellKey, rows.InCell] = {}
        while True:
            if not waiting:
                self._note(*await self._reported.get(), waiting)
            while not self._reported.empty():
                self._note(*self._reported.get_nowait(), waiting)
            try:
                async with self._store.write() as connection:
                    await rows.keep_cells(connection, list(waiting.values()))
            except StoreUnavailable as error:
                logger.error("warnings: %s", error)
                await asyncio.sleep(WRITE_AGAIN_S)
                continue
            self._known |= waiting
            waiting = {}

    def _note(self, controller: str, reports: Sequence[Report], waiting: dict[rows.CellKey, rows.InCell]) -> None:
        for report in reports:
            warning_id = self._warning_of.get((report.serial.message_code, report.serial.update_number))
            if warning_id is None:
                continue
            key = (warning_id, controller, report.message_identifier, str(report.cell))
            before = waiting.get(key) or self._known.get(key)
            row = rows.InCell(*key, report.state.value, report.attempts, report.reason[:MAX_REASON], report.at, None, None)
            if before is not None:
                row = dataclasses.replace(row, on_air_at=before.on_air_at, off_air_at=before.off_air_at)
            if report.state is CellState.ON_AIR:
                row = dataclasses.replace(row, on_air_at=row.on_air_at or report.at, off_air_at=None)
            elif report.state is CellState.OFF_AIR:
                row = dataclasses.replace(row, off_air_at=report.at)
            waiting[key] = row


def broadcasts_at(site: ControllerSite, warning: Warning, forms: Sequence[OnAir]) -> list[Broadcast]:
    """What a warning wants, or wanted, on the air at one controller in these forms, for as long as it was approved for."""
    if warning.content.area is None:
        return []
    cells = site.cells_for(warning.content.area.polygons)
    if not cells:
        return []
    lasts_s = float(warning.content.duration_s)
    return [Broadcast(sent.message_identifier, sent.serial, sent.message, cells, float(sent.repetition_s), lasts_s) for sent in forms]
