"""One base-station controller: what shall be on the air in each of its cells, what it answered, and what is said to it next.

The caller tells what is desired; this core writes, replaces and kills until the controller has confirmed it cell by cell, again after
every loss: of an answer, of the connection, of the controller's memory (RESTART). Nothing is given up while it is desired, because a
warning that one cell refused now may be taken in a minute. Without sockets and clocks: octets and instants go in, octets and reports out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from tramontana.cell import cbsp
from tramontana.cell.cbsp import Cause, Cell, Kill, MessageType, WriteReplace
from tramontana.cell.cell_broadcast import Message, SerialNumber

ANSWER_TIMEOUT_S = 5.0
KEEP_ALIVE_S = 10.0  # the longest that is coded in seconds, TS 48.049 §8.2.26
SILENCE_S = 2.5 * KEEP_ALIVE_S
RETRY_FIRST_S = 2.0
RETRY_MOST_S = 60.0

Key = tuple[int, int]
"""Message identifier and message code: what stays the same over the revisions of a message."""


class CellState(StrEnum):
    """What is known of a message in a cell."""

    ASKED = "asked"
    ON_AIR = "on-air"
    FAILED = "failed"
    OFF_AIR = "off-air"


@dataclass(frozen=True, slots=True)
class Broadcast:
    """A message that shall be on the air in some cells of a controller."""

    message_identifier: int
    serial: SerialNumber
    message: Message
    cells: frozenset[Cell]
    repetition_period_s: float
    lasts_s: float = field(compare=False)
    """How long it shall stay, counted from `desire`; then it is taken off the air even if nobody says so."""

    @property
    def key(self) -> Key:
        return self.message_identifier, self.serial.message_code


@dataclass(frozen=True, slots=True)
class Report:
    """A change in one cell. serial: the revision it is about; at: the core's `now`; attempts: how often it was asked for in a row."""

    message_identifier: int
    serial: SerialNumber
    cell: Cell
    state: CellState
    at: float
    attempts: int = 0
    reason: str = ""


@dataclass(slots=True)
class _InCell:
    """possible: revisions that may be on the air, the last one asked for first; sure: the first of them is, and it alone.

    An answer that is lost leaves two possible: what was there, and what was asked for.
    """

    possible: list[SerialNumber] = field(default_factory=list)
    sure: bool = False
    attempts: int = 0
    due: float = 0.0

    def leaves(self, serial: SerialNumber) -> None:
        """The revision is not on the air."""
        self.possible = [other for other in self.possible if other != serial]


@dataclass(slots=True)
class _Asked:
    request: WriteReplace | Kill
    deadline: float
    new_in: frozenset[Cell] = frozenset()
    """Cells in which the revision was not possible before: refused there, it is not on the air."""


@dataclass(slots=True)
class _Track:
    """One message over its revisions."""

    desired: Broadcast | None = None
    ends_at: float = 0.0
    cells: dict[Cell, _InCell] = field(default_factory=dict)
    asked: _Asked | None = None


class Controller:
    """The state machine of one controller. Use: `desire`, then after every call send `octets_to_send()` and look at `next_timer`."""

    def __init__(self) -> None:
        self.is_connected = False
        self._tracks: dict[Key, _Track] = {}
        self._reader = cbsp.Reader()
        self._outgoing: list[bytes] = []
        self._reports: list[Report] = []
        self._keep_alive_due = self._heard_at = 0.0

    def desire(
        self, broadcasts: Iterable[Broadcast], now: float, *, still_there: Mapping[Key, Mapping[Cell, Sequence[SerialNumber]]] | None = None
    ) -> None:
        """What shall be on the air from now on, and nothing else of ours.

        still_there: revisions that an earlier process put on the air; they are replaced or killed like this one's own.
        """
        for key, found in (still_there or {}).items():
            track = self._tracks.setdefault(key, _Track())
            for cell, serials in found.items():
                track.cells.setdefault(cell, _InCell(list(serials)))
        wanted = {broadcast.key: broadcast for broadcast in broadcasts if broadcast.lasts_s > 0}
        for key in list(dict.fromkeys([*self._tracks, *wanted])):  # in the order given: the first language goes out first
            track = self._tracks.setdefault(key, _Track())
            before, track.desired = track.desired, wanted.get(key)
            if track.desired is not None:
                track.ends_at = now + track.desired.lasts_s
            if before != track.desired:
                for in_cell in track.cells.values():  # what failed before need not fail now
                    in_cell.attempts, in_cell.due = 0, now
        self._reconcile(now)

    def connected(self, now: float) -> None:
        """A new connection. What was confirmed over an older one is asked for again: the controller may have been exchanged."""
        self.is_connected = True
        self._reader = cbsp.Reader()
        self._outgoing = []
        self._heard_at = now
        self._keep_alive_due = now
        for track in self._tracks.values():
            track.asked = None
            for in_cell in track.cells.values():
                in_cell.attempts, in_cell.due = 0, now
                in_cell.sure = False
        self.handle_timer(now)

    def disconnected(self) -> None:
        self.is_connected = False
        self._outgoing = []
        for track in self._tracks.values():
            track.asked = None

    def receive(self, octets: bytes, now: float) -> None:
        """Octets of the controller. Raises `BadCbsp`: then close the connection."""
        for message in self._reader.receive(octets):
            self._heard_at = now
            match message:
                case cbsp.Answer():
                    self._answered(message, now)
                case cbsp.Restart():
                    self._restarted(message, now)
                case cbsp.CellFailure(failed):
                    self._cells_failed(dict((_bare(cell), cause) for cell, cause in failed), now)
                case cbsp.ErrorIndication():
                    self._misunderstood(message, now)
                case cbsp.Done():
                    pass
        self._reconcile(now)

    def handle_timer(self, now: float) -> None:
        """Time passed: answers that did not come, what is due again, the keep-alive."""
        if not self.is_connected:
            return
        for track in self._tracks.values():
            if track.asked is not None and track.asked.deadline <= now:
                asked, track.asked = track.asked, None
                for cell in asked.request.cells:
                    self._failed(track, asked.request, cell, "no answer", now)
        if self._keep_alive_due <= now:
            self._outgoing.append(cbsp.KeepAlive(int(KEEP_ALIVE_S)).encode())
            self._keep_alive_due = now + KEEP_ALIVE_S
        self._reconcile(now)

    def is_silent(self, now: float) -> bool:
        """Nothing was heard for so long that the connection must be dead: close it and connect again."""
        return self.is_connected and now - self._heard_at >= SILENCE_S

    def next_timer(self) -> float | None:
        """When `handle_timer` has something to do; None while there is no connection."""
        if not self.is_connected:
            return None
        due = [self._keep_alive_due, self._heard_at + SILENCE_S]
        for track in self._tracks.values():
            if track.desired is not None:
                due.append(track.ends_at)
            if track.asked is not None:
                due.append(track.asked.deadline)
            else:
                due += [in_cell.due for cell, in_cell in track.cells.items() if self._is_amiss(track, cell, in_cell)]
        return min(due)

    def octets_to_send(self) -> bytes:
        """What must go out now, once."""
        octets, self._outgoing = b"".join(self._outgoing), []
        return octets

    def reports(self) -> list[Report]:
        """What changed since the last call."""
        reports, self._reports = self._reports, []
        return reports

    @staticmethod
    def _is_amiss(track: _Track, cell: Cell, in_cell: _InCell) -> bool:
        if track.desired is not None and cell in track.desired.cells:
            return not in_cell.sure or in_cell.possible != [track.desired.serial]
        return bool(in_cell.possible)

    def _reconcile(self, now: float) -> None:
        for key, track in list(self._tracks.items()):
            if track.desired is not None and track.ends_at <= now:
                track.desired = None
                for in_cell in track.cells.values():
                    in_cell.attempts, in_cell.due = 0, now
            if track.desired is not None:
                for cell in track.desired.cells:
                    track.cells.setdefault(cell, _InCell(due=now))
            if track.asked is None and self.is_connected:
                self._ask_next(key, track, now)
            if track.desired is None and track.asked is None and not any(in_cell.possible for in_cell in track.cells.values()):
                del self._tracks[key]

    def _ask_next(self, key: Key, track: _Track, now: float) -> None:
        """One request for all cells that need the same; the next one goes out when it is answered."""
        amiss = [(cell, in_cell) for cell, in_cell in sorted(track.cells.items()) if self._is_amiss(track, cell, in_cell)]
        due = [(cell, in_cell) for cell, in_cell in amiss if in_cell.due <= now]
        if not due:
            return
        desired = track.desired
        # Cells that shall have it first: there nobody may have heard anything yet.
        wanted = [(cell, in_cell) for cell, in_cell in due if desired is not None and cell in desired.cells]
        revisions = [(self._to_go(desired if wanted else None, in_cell), cell) for cell, in_cell in wanted or due]
        revision = min((found for found, _ in revisions), key=lambda serial: (serial is not None, serial))
        cells = tuple(cell for found, cell in revisions if found == revision)
        new_in: frozenset[Cell] = frozenset()
        request: WriteReplace | Kill
        if wanted and desired is not None:
            identifier, period_s, lasts_s = desired.message_identifier, desired.repetition_period_s, track.ends_at - now
            request = WriteReplace(identifier, desired.serial, cells, desired.message, period_s, lasts_s, replaces=revision)
            new_in = frozenset(cell for cell in cells if desired.serial not in track.cells[cell].possible)
        else:
            assert revision is not None
            request = Kill(key[0], revision, cells)
        for cell in new_in:
            track.cells[cell].possible.insert(0, request.serial)
        for cell in cells:
            track.cells[cell].sure = False
        track.asked = _Asked(request, now + ANSWER_TIMEOUT_S, new_in)
        self._outgoing.append(request.encode())
        for cell in cells:
            track.cells[cell].attempts += 1
            self._report(request, cell, CellState.ASKED, now, track.cells[cell].attempts)

    @staticmethod
    def _to_go(desired: Broadcast | None, in_cell: _InCell) -> SerialNumber | None:
        """The revision that must leave the cell next."""
        return next((serial for serial in in_cell.possible if desired is None or serial != desired.serial), None)

    def _answered(self, answer: cbsp.Answer, now: float) -> None:
        track = self._track_of(answer)
        if track is None or track.asked is None:
            return  # an answer that came after its deadline: it was asked again, and that one counts
        request, new_in = track.asked.request, track.asked.new_in
        failed = {_bare(cell): cause for cell, cause in answer.failed}
        told = {_bare(cell) for cell in answer.done}
        if (told or failed) and not (told | failed.keys()) & set(request.cells):
            return  # to an earlier request of the same revision, for other cells
        track.asked = None
        is_complete = not told and answer.type in (MessageType.WRITE_REPLACE_COMPLETE, MessageType.KILL_COMPLETE)
        for cell in request.cells:
            if cell in failed:
                self._refused(track, request, cell, failed[cell], now, is_new=cell in new_in)
            elif cell in told or is_complete:
                self._confirmed(track, request, cell, now)
            else:
                self._failed(track, request, cell, "not named in the answer", now)

    def _track_of(self, answer: cbsp.Answer) -> _Track | None:
        is_write = answer.type in (MessageType.WRITE_REPLACE_COMPLETE, MessageType.WRITE_REPLACE_FAILURE)
        serial = answer.new_serial if is_write else answer.old_serial
        if serial is None:
            return None
        track = self._tracks.get((answer.message_identifier, serial.message_code))
        if track is None or track.asked is None:
            return None
        request = track.asked.request
        return track if isinstance(request, WriteReplace) == is_write and request.serial == serial else None

    def _confirmed(self, track: _Track, request: WriteReplace | Kill, cell: Cell, now: float) -> None:
        in_cell = track.cells[cell]
        is_write = isinstance(request, WriteReplace)
        if is_write:
            for other in in_cell.possible:
                if other != request.serial:
                    self._reports.append(Report(request.message_identifier, other, cell, CellState.OFF_AIR, now))
            in_cell.possible, in_cell.sure = [request.serial], True
        else:
            in_cell.leaves(request.serial)
        self._report(request, cell, CellState.ON_AIR if is_write else CellState.OFF_AIR, now, in_cell.attempts)
        in_cell.attempts, in_cell.due = 0, now

    def _refused(self, track: _Track, request: WriteReplace | Kill, cell: Cell, cause: int, now: float, *, is_new: bool) -> None:
        in_cell = track.cells[cell]
        if cause == Cause.MESSAGE_REFERENCE_ALREADY_USED and isinstance(request, WriteReplace):
            self._confirmed(track, request, cell, now)  # the answer to an earlier try was lost
        elif cause == Cause.REFERENCE_NOT_IDENTIFIED and isinstance(request, Kill):
            self._confirmed(track, request, cell, now)
        elif cause == Cause.REFERENCE_NOT_IDENTIFIED and isinstance(request, WriteReplace) and request.replaces is not None:
            self._reports.append(Report(request.message_identifier, request.replaces, cell, CellState.OFF_AIR, now))
            in_cell.leaves(request.replaces)  # it is gone: the new one is written, or replaces another
            in_cell.due = now
            if is_new:
                in_cell.leaves(request.serial)
        else:
            if is_new:
                in_cell.leaves(request.serial)
            self._failed(track, request, cell, cbsp.cause_words(cause), now)

    def _failed(self, track: _Track, request: WriteReplace | Kill, cell: Cell, reason: str, now: float) -> None:
        in_cell = track.cells[cell]
        in_cell.due = now + min(RETRY_FIRST_S * 2.0 ** min(in_cell.attempts - 1, 10), RETRY_MOST_S)
        self._report(request, cell, CellState.FAILED, now, in_cell.attempts, reason)

    def _restarted(self, restart: cbsp.Restart, now: float) -> None:
        if restart.emergency:
            return  # of ETWS messages, which are not ours
        named = {_bare(cell) for cell in restart.cells}
        for track in self._tracks.values():
            for cell, in_cell in track.cells.items():
                if _is_among(cell, named):
                    in_cell.attempts, in_cell.due = 0, now
                    in_cell.sure = False  # what was on its way may be there even if all is lost: it stays possible

    def _cells_failed(self, failed: Mapping[Cell, int], now: float) -> None:
        for track in self._tracks.values():
            if track.desired is None:
                continue
            for cell, in_cell in track.cells.items():
                cause = next((failed[named] for named in failed if _is_among(cell, {named})), None)
                if cause is not None and in_cell.sure:
                    in_cell.sure, in_cell.attempts, in_cell.due = False, 0, now + RETRY_FIRST_S
                    desired = track.desired
                    reason = cbsp.cause_words(cause)
                    self._reports.append(Report(desired.message_identifier, desired.serial, cell, CellState.FAILED, now, 0, reason))

    def _misunderstood(self, error: cbsp.ErrorIndication, now: float) -> None:
        for key, track in self._tracks.items():
            if track.asked is not None and (error.message_identifier is None or error.message_identifier == key[0]):
                asked, track.asked = track.asked, None
                for cell in asked.request.cells:
                    self._failed(track, asked.request, cell, cbsp.cause_words(error.cause), now)

    def _report(self, request: WriteReplace | Kill, cell: Cell, state: CellState, now: float, attempts: int, reason: str = "") -> None:
        if state is CellState.ASKED and isinstance(request, Kill):
            return  # the message is on the air until the controller says otherwise
        if state is CellState.FAILED and isinstance(request, Kill):
            reason = f"still on the air: {reason}"
        self._reports.append(Report(request.message_identifier, request.serial, cell, state, now, attempts, reason))


def _bare(cell: Cell) -> Cell:
    """Controllers answer with the network's code as well, which is one for a controller."""
    return Cell(cell.lac, cell.ci)


def _is_among(cell: Cell, named: set[Cell]) -> bool:
    return (
        any(other.is_all or (other.lac in (None, cell.lac) and other.ci in (None, cell.ci)) for other in named) or not named
    )  # a controller that names none means all
