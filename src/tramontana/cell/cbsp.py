"""Cell Broadcast Service Protocol between us and base-station controllers: its messages and their octets (3GPP TS 48.049).

Only what a cell broadcast centre says and hears is here; what is done with it is in `controller.py`. A message is a header of four octets
(type, length) and information elements, each with a fixed or a told length.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum

from tramontana.cell.cell_broadcast import PAGE_OCTETS, BadPages, Message, Page, SerialNumber
from tramontana.errors import LocalError, RemoteError

PORT = 48049  # TS 48.049 §5.2, registered with IANA
HEADER_OCTETS = 4
MAX_MESSAGE_OCTETS = 1 << 20
"""More than any controller has cells for; the length field could say 16 MiB."""
REPETITION_UNIT_S = 1.883  # TS 48.049 §8.2.10: one cell broadcast block a BCCH multiframe cycle
LONGEST_REPETITION = 4095
MOST_BROADCASTS = 0xFFFF  # coded in two octets; 0 would mean until killed, and a controller that is cut off from us would never stop
MOST_CELLS = 0xFFFE // 4
"""Of four octets each in a list whose length is told in two."""


class BadCbsp(RemoteError):
    """Octets that are no message of TS 48.049; the connection they came over is closed."""


class MessageType(IntEnum):
    """TS 48.049 §8.2.2"""

    WRITE_REPLACE = 0x01
    WRITE_REPLACE_COMPLETE = 0x02
    WRITE_REPLACE_FAILURE = 0x03
    KILL = 0x04
    KILL_COMPLETE = 0x05
    KILL_FAILURE = 0x06
    RESET = 0x10
    RESET_COMPLETE = 0x11
    RESET_FAILURE = 0x12
    RESTART = 0x13
    FAILURE = 0x14
    ERROR_INDICATION = 0x15
    KEEP_ALIVE = 0x16
    KEEP_ALIVE_COMPLETE = 0x17


class Element(IntEnum):
    """Information element identifiers, TS 48.049 §8.2.1"""

    MESSAGE_CONTENT = 0x01
    OLD_SERIAL_NUMBER = 0x02
    NEW_SERIAL_NUMBER = 0x03
    CELL_LIST = 0x04
    CATEGORY = 0x05
    REPETITION_PERIOD = 0x06
    BROADCASTS_REQUESTED = 0x07
    BROADCASTS_COMPLETED_LIST = 0x08
    FAILURE_LIST = 0x09
    RADIO_RESOURCE_LOADING_LIST = 0x0A
    CAUSE = 0x0B
    DATA_CODING_SCHEME = 0x0C
    RECOVERY_INDICATION = 0x0D
    MESSAGE_IDENTIFIER = 0x0E
    EMERGENCY_INDICATOR = 0x0F
    WARNING_TYPE = 0x10
    WARNING_SECURITY_INFORMATION = 0x11
    CHANNEL_INDICATOR = 0x12
    NUMBER_OF_PAGES = 0x13
    SCHEDULE_PERIOD = 0x14
    RESERVED_SLOTS = 0x15
    BROADCAST_MESSAGE_TYPE = 0x16
    WARNING_PERIOD = 0x17
    KEEP_ALIVE_REPETITION_PERIOD = 0x18


_TOLD_LENGTH = frozenset({Element.CELL_LIST, Element.BROADCASTS_COMPLETED_LIST, Element.FAILURE_LIST, Element.RADIO_RESOURCE_LOADING_LIST})
_LENGTHS = {
    Element.MESSAGE_CONTENT: 1 + PAGE_OCTETS,
    Element.OLD_SERIAL_NUMBER: 2,
    Element.NEW_SERIAL_NUMBER: 2,
    Element.REPETITION_PERIOD: 2,
    Element.BROADCASTS_REQUESTED: 2,
    Element.MESSAGE_IDENTIFIER: 2,
    Element.WARNING_TYPE: 2,
    Element.WARNING_SECURITY_INFORMATION: 50,
}
"""Octets of values whose length is neither told nor one."""


class Category(IntEnum):
    """TS 48.049 §8.2.9"""

    HIGH_PRIORITY = 0
    BACKGROUND = 1
    NORMAL = 2


class Cause(IntEnum):
    """Why a controller could not, TS 48.049 §8.2.13"""

    PARAMETER_NOT_RECOGNISED = 0x00
    PARAMETER_VALUE_INVALID = 0x01
    REFERENCE_NOT_IDENTIFIED = 0x02
    CELL_IDENTITY_NOT_VALID = 0x03
    UNRECOGNISED_MESSAGE = 0x04
    MISSING_MANDATORY_ELEMENT = 0x05
    BSC_CAPACITY_EXCEEDED = 0x06
    CELL_MEMORY_EXCEEDED = 0x07
    BSC_MEMORY_EXCEEDED = 0x08
    CELL_BROADCAST_NOT_SUPPORTED = 0x09
    CELL_BROADCAST_NOT_OPERATIONAL = 0x0A
    INCOMPATIBLE_DRX_PARAMETER = 0x0B
    EXTENDED_CHANNEL_NOT_SUPPORTED = 0x0C
    MESSAGE_REFERENCE_ALREADY_USED = 0x0D
    UNSPECIFIED_ERROR = 0x0E
    LAI_OR_LAC_NOT_VALID = 0x0F


def cause_words(value: int) -> str:
    """A cause in words, also one that is not of the standard."""
    try:
        return Cause(value).name.replace("_", " ").lower()
    except ValueError:
        return f"cause {value:#04x}"


class Discriminator(IntEnum):
    """How the cells of a list are named, TS 48.049 §8.2.6 (after TS 48.008 §3.2.2.17)."""

    CGI = 0x00
    LAC_AND_CI = 0x01
    CI = 0x02
    LAI = 0x04
    LAC = 0x05
    ALL = 0x06


_CELL_OCTETS = {
    Discriminator.CGI: 7,
    Discriminator.LAC_AND_CI: 4,
    Discriminator.CI: 2,
    Discriminator.LAI: 5,
    Discriminator.LAC: 2,
    Discriminator.ALL: 0,
}


@dataclass(frozen=True, slots=True, order=True)
class Cell:
    """A cell, a location area or (both None) all cells of a controller."""

    lac: int | None = None
    ci: int | None = None
    plmn: str = ""
    """Octets of MCC and MNC in hex as they stand on the wire, where a controller names them."""

    def __str__(self) -> str:
        if self.lac is None and self.ci is None:
            return "all"
        return "-".join(str(part) for part in (self.lac, self.ci) if part is not None)

    @classmethod
    def parse(cls, text: str) -> Cell:
        """`LAC-CI` as an operator writes it. Raises `LocalError`."""
        lac, dash, ci = text.partition("-")
        if not dash or not lac.isdecimal() or not ci.isdecimal() or int(lac) > 0xFFFF or int(ci) > 0xFFFF:
            raise LocalError(f"{text!r} names no cell: write LAC-CI, two numbers up to 65535, for example 23-6969")
        return cls(int(lac), int(ci))

    @property
    def is_all(self) -> bool:
        return self.lac is None and self.ci is None


ALL_CELLS = Cell()


@dataclass(frozen=True, slots=True)
class WriteReplace:
    """WRITE-REPLACE of a cell broadcast message (§8.1.3.1). With `replaces` the message of that serial number goes off the air."""

    message_identifier: int
    serial: SerialNumber
    cells: tuple[Cell, ...]
    message: Message
    repetition_period_s: float
    lasts_s: float
    """How long it shall be on the air from now on, whether the controller hears of us again or not."""
    replaces: SerialNumber | None = None
    category: Category = Category.HIGH_PRIORITY

    @property
    def repetition_units(self) -> int:
        """1 to 4095 times 1.883 s, rounded to the nearest."""
        return min(max(round(self.repetition_period_s / REPETITION_UNIT_S), 1), LONGEST_REPETITION)

    @property
    def broadcasts(self) -> int:
        """How often until its time is over: at least once, and not a whole period longer than asked."""
        return min(max(math.ceil(self.lasts_s / (self.repetition_units * REPETITION_UNIT_S)), 1), MOST_BROADCASTS)

    def encode(self) -> bytes:
        elements = [_word(Element.MESSAGE_IDENTIFIER, self.message_identifier), _word(Element.NEW_SERIAL_NUMBER, self.serial.value)]
        if self.replaces is not None:
            elements.append(_word(Element.OLD_SERIAL_NUMBER, self.replaces.value))
        elements += [
            encode_cells(self.cells),
            _octet(Element.CHANNEL_INDICATOR, 0),  # the basic channel: phones need not read the extended one
            _octet(Element.CATEGORY, self.category),
            _word(Element.REPETITION_PERIOD, self.repetition_units),
            _word(Element.BROADCASTS_REQUESTED, self.broadcasts),
            _octet(Element.NUMBER_OF_PAGES, len(self.message.pages)),
            _octet(Element.DATA_CODING_SCHEME, self.message.data_coding_scheme),
        ]
        for page in self.message.pages:
            elements.append(bytes([Element.MESSAGE_CONTENT, page.length]) + page.octets)
        return _framed(MessageType.WRITE_REPLACE, elements)


@dataclass(frozen=True, slots=True)
class Kill:
    """KILL (§8.1.3.4): off the air in these cells."""

    message_identifier: int
    serial: SerialNumber
    cells: tuple[Cell, ...]

    def encode(self) -> bytes:
        elements = [
            _word(Element.MESSAGE_IDENTIFIER, self.message_identifier),
            _word(Element.OLD_SERIAL_NUMBER, self.serial.value),
            encode_cells(self.cells),
            _octet(Element.CHANNEL_INDICATOR, 0),
        ]
        return _framed(MessageType.KILL, elements)


@dataclass(frozen=True, slots=True)
class KeepAlive:
    """KEEP-ALIVE (§8.1.3.19). period_s: 1 to 10, in which the next one comes."""

    period_s: int

    def encode(self) -> bytes:
        if not 1 <= self.period_s <= 10:
            raise LocalError("the keep-alive period is 1 to 10 s")  # §8.2.26 codes longer ones in steps
        return _framed(MessageType.KEEP_ALIVE, [_octet(Element.KEEP_ALIVE_REPETITION_PERIOD, self.period_s)])


@dataclass(frozen=True, slots=True)
class Answer:
    """What a controller answered to a write, replace or kill, for all cells that it names."""

    type: MessageType
    message_identifier: int
    new_serial: SerialNumber | None
    old_serial: SerialNumber | None
    done: tuple[Cell, ...]
    failed: tuple[tuple[Cell, int], ...]
    """Cells and causes."""
    broadcasts: tuple[tuple[Cell, int], ...]
    """How often the replaced or killed message was on the air in each cell, where the controller counts it."""


@dataclass(frozen=True, slots=True)
class Restart:
    """RESTART (§8.1.3.16): the controller lost the messages of these cells, or found that it still has them."""

    cells: tuple[Cell, ...]
    emergency: bool
    data_lost: bool


@dataclass(frozen=True, slots=True)
class CellFailure:
    """FAILURE (§8.1.3.17): these cells cannot broadcast now."""

    failed: tuple[tuple[Cell, int], ...]


@dataclass(frozen=True, slots=True)
class ErrorIndication:
    """ERROR INDICATION (§8.1.3.18): the controller did not understand something of ours."""

    cause: int
    message_identifier: int | None


@dataclass(frozen=True, slots=True)
class Done:
    """RESET COMPLETE, RESET FAILURE and KEEP-ALIVE COMPLETE."""

    type: MessageType


Received = Answer | Restart | CellFailure | ErrorIndication | Done


class Reader:
    """Cuts the stream of a connection into messages. Octets go in as they come; after `BadCbsp` the connection is lost."""

    def __init__(self) -> None:
        self._octets = bytearray()

    def receive(self, octets: bytes) -> list[Received]:
        """The messages that are whole now. Raises `BadCbsp`."""
        self._octets += octets
        messages: list[Received] = []
        while len(self._octets) >= HEADER_OCTETS:
            length = int.from_bytes(self._octets[1:HEADER_OCTETS], "big")
            if length > MAX_MESSAGE_OCTETS:
                raise BadCbsp(f"a message of {length} octets is longer than any that a controller sends")
            if len(self._octets) < HEADER_OCTETS + length:
                break
            message = bytes(self._octets[: HEADER_OCTETS + length])
            del self._octets[: HEADER_OCTETS + length]
            messages.append(parse(message))
        return messages


def parse(octets: bytes) -> Received:
    """One whole message of a controller. Raises `BadCbsp`."""
    if len(octets) < HEADER_OCTETS or len(octets) != HEADER_OCTETS + int.from_bytes(octets[1:HEADER_OCTETS], "big"):
        raise BadCbsp("the length of a message is not the one that it tells")
    try:
        kind = MessageType(octets[0])
        read = _READERS[kind]
    except (ValueError, KeyError) as error:
        raise BadCbsp(f"a controller does not send messages of type {octets[0]:#04x}") from error
    return read(kind, _Elements(octets[HEADER_OCTETS:]))


def encode_cells(cells: Sequence[Cell]) -> bytes:
    """A cell list element (§8.2.6): all cells, or cells by location area and identity. Raises `LocalError` for none and for mixtures."""
    if list(cells) == [ALL_CELLS]:
        return bytes([Element.CELL_LIST, 0, 1, Discriminator.ALL])
    entries = [cell.lac.to_bytes(2, "big") + cell.ci.to_bytes(2, "big") for cell in cells if cell.lac is not None and cell.ci is not None]
    if not entries or len(entries) != len(cells):
        raise LocalError("name at least one cell, each by its location area code and cell identity, or all of them")
    value = bytes([Discriminator.LAC_AND_CI]) + b"".join(entries)
    if len(entries) > MOST_CELLS:
        raise LocalError(f"a list names at most {MOST_CELLS:,} cells")
    return bytes([Element.CELL_LIST]) + len(value).to_bytes(2, "big") + value


class _Elements:
    """The elements of one message, each at most once but for pages."""

    def __init__(self, octets: bytes) -> None:
        self._values: dict[Element, bytes] = {}
        self.pages: list[Page] = []
        at = 0
        while at < len(octets):
            try:
                element = Element(octets[at])
            except ValueError as error:
                raise BadCbsp(f"there is no information element {octets[at]:#04x}") from error
            at += 1
            length = _LENGTHS.get(element, 1)
            if element in _TOLD_LENGTH:
                length = int.from_bytes(octets[at : at + 2], "big")
                at += 2
            if at + length > len(octets):
                raise BadCbsp(f"the element {element.name} is cut off")
            value = octets[at : at + length]
            at += length
            if element is Element.MESSAGE_CONTENT:
                try:
                    self.pages.append(Page(value[1:], value[0]))
                except BadPages as error:
                    raise BadCbsp(str(error)) from error
            elif self._values.setdefault(element, value) != value:
                raise BadCbsp(f"the element {element.name} stands there twice with different values")

    def octets(self, element: Element) -> bytes | None:
        return self._values.get(element)

    def number(self, element: Element) -> int | None:
        value = self._values.get(element)
        return None if value is None else int.from_bytes(value, "big")

    def needed(self, element: Element) -> int:
        value = self.number(element)
        if value is None:
            raise BadCbsp(f"the element {element.name} is missing")
        return value

    def serial(self, element: Element) -> SerialNumber | None:
        value = self.number(element)
        return None if value is None else SerialNumber.parse(value)

    def cells(self, element: Element = Element.CELL_LIST) -> tuple[Cell, ...]:
        return tuple(cell for cell, _ in self.cells_with(element, 0))

    def cells_with(self, element: Element, extra: int) -> tuple[tuple[Cell, bytes], ...]:
        """The cells of a list that has one discriminator for all, each with so many octets behind it."""
        value = self._values.get(element)
        if value is None:
            return ()
        if not value:
            raise BadCbsp(f"the element {element.name} is empty")
        discriminator = _discriminator(value[0])
        step = _CELL_OCTETS[discriminator] + extra
        entries = value[1:]
        if step == 0:
            return ((ALL_CELLS, b""),)
        if len(entries) % step:
            raise BadCbsp(f"the element {element.name} ends within a cell")
        found = (entries[at : at + step] for at in range(0, len(entries), step))
        return tuple((_cell(discriminator, entry), entry[step - extra :]) for entry in found)

    def failures(self) -> tuple[tuple[Cell, int], ...]:
        """The failure list, in which every cell has a discriminator of its own (§8.2.11)."""
        value = self._values.get(Element.FAILURE_LIST, b"")
        failed: list[tuple[Cell, int]] = []
        at = 0
        while at < len(value):
            discriminator = _discriminator(value[at])
            end = at + 1 + _CELL_OCTETS[discriminator]
            if end >= len(value):
                raise BadCbsp("the failure list ends within a cell")
            failed.append((_cell(discriminator, value[at + 1 : end]), value[end]))
            at = end + 1
        return tuple(failed)


def _discriminator(octet: int) -> Discriminator:
    try:
        return Discriminator(octet & 0x0F)
    except ValueError as error:
        raise BadCbsp(f"cells named by the discriminator {octet & 0x0F} are not understood") from error


def _cell(discriminator: Discriminator, octets: bytes) -> Cell:
    def number(at: int) -> int:
        return int.from_bytes(octets[at : at + 2], "big")

    match discriminator:
        case Discriminator.CGI:
            return Cell(number(3), number(5), octets[:3].hex())
        case Discriminator.LAC_AND_CI:
            return Cell(number(0), number(2))
        case Discriminator.CI:
            return Cell(None, number(0))
        case Discriminator.LAI:
            return Cell(number(3), None, octets[:3].hex())
        case Discriminator.LAC:
            return Cell(number(0), None)
        case Discriminator.ALL:
            return ALL_CELLS


def _answer(kind: MessageType, elements: _Elements) -> Received:
    counted = elements.cells_with(Element.BROADCASTS_COMPLETED_LIST, 3)  # §8.2.10: a count of two octets, and whether it overflowed
    counts = tuple((cell, int.from_bytes(extra[:2], "big")) for cell, extra in counted)
    done = elements.cells() or tuple(cell for cell, _ in counts)
    return Answer(
        kind,
        elements.needed(Element.MESSAGE_IDENTIFIER),
        elements.serial(Element.NEW_SERIAL_NUMBER),
        elements.serial(Element.OLD_SERIAL_NUMBER),
        done,
        elements.failures(),
        counts,
    )


def _restart(_kind: MessageType, elements: _Elements) -> Received:
    emergency = elements.number(Element.BROADCAST_MESSAGE_TYPE) == 1
    # §8.2.15: 1 means that data was lost; where nothing is said the worse is assumed.
    return Restart(elements.cells(), emergency, elements.number(Element.RECOVERY_INDICATION) != 0)


def _failure(_kind: MessageType, elements: _Elements) -> Received:
    return CellFailure(elements.failures())


def _error(_kind: MessageType, elements: _Elements) -> Received:
    return ErrorIndication(elements.needed(Element.CAUSE), elements.number(Element.MESSAGE_IDENTIFIER))


def _done(kind: MessageType, _elements: _Elements) -> Received:
    return Done(kind)


_READERS: dict[MessageType, Callable[[MessageType, _Elements], Received]] = {
    MessageType.WRITE_REPLACE_COMPLETE: _answer,
    MessageType.WRITE_REPLACE_FAILURE: _answer,
    MessageType.KILL_COMPLETE: _answer,
    MessageType.KILL_FAILURE: _answer,
    MessageType.RESTART: _restart,
    MessageType.FAILURE: _failure,
    MessageType.ERROR_INDICATION: _error,
    MessageType.RESET_COMPLETE: _done,
    MessageType.RESET_FAILURE: _done,
    MessageType.KEEP_ALIVE_COMPLETE: _done,
}


def _octet(element: Element, value: int) -> bytes:
    return bytes([element, value])


def _word(element: Element, value: int) -> bytes:
    return bytes([element]) + value.to_bytes(2, "big")


def _framed(kind: MessageType, elements: Iterable[bytes]) -> bytes:
    body = b"".join(elements)
    return bytes([kind]) + len(body).to_bytes(3, "big") + body
