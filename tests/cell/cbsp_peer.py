"""A base-station controller for tests of the core: it reads what a cell broadcast centre sends and answers as it is told to."""

from __future__ import annotations

from dataclasses import dataclass, field

from tramontana.cell.cbsp import Cell, Discriminator, Element, MessageType

PLMN = bytes.fromhex("22f201")


@dataclass
class Asked:
    """A write, replace or kill as it arrived."""

    type: MessageType
    message_identifier: int
    new: int | None
    old: int | None
    cells: list[Cell]
    pages: int
    broadcasts: int = 0
    """0: until killed."""


@dataclass
class Peer:
    """`air`: cell, message identifier and serial number of each message. `refuses`: cells and the cause they give."""

    air: set[tuple[Cell, int, int]] = field(default_factory=set)
    refuses: dict[Cell, int] = field(default_factory=dict)
    heard: list[Asked] = field(default_factory=list)
    keep_alives: int = 0
    _octets: bytes = b""

    def receive(self, octets: bytes) -> bytes:
        """The answers to whatever is whole now."""
        self._octets += octets
        answers = b""
        while len(self._octets) >= 4 and len(self._octets) >= 4 + int.from_bytes(self._octets[1:4], "big"):
            end = 4 + int.from_bytes(self._octets[1:4], "big")
            kind, body = MessageType(self._octets[0]), self._octets[4:end]
            self._octets = self._octets[end:]
            if kind is MessageType.KEEP_ALIVE:
                self.keep_alives += 1
                answers += framed(MessageType.KEEP_ALIVE_COMPLETE, b"")
            else:
                answers += self._do(read(kind, body))
        return answers

    def _do(self, asked: Asked) -> bytes:
        self.heard.append(asked)
        done, failed = [], []
        for cell in asked.cells:
            new, old = ((cell, asked.message_identifier, serial) for serial in (asked.new or 0, asked.old or 0))
            if cell in self.refuses:
                failed.append((cell, self.refuses[cell]))
            elif asked.old is not None and old not in self.air:
                failed.append((cell, 0x02))
            elif asked.old is None and new in self.air:
                failed.append((cell, 0x0D))
            else:
                done.append(cell)
                self.air -= {old}
                if asked.new is not None:
                    self.air |= {new}
        base = MessageType.WRITE_REPLACE_COMPLETE if asked.type is MessageType.WRITE_REPLACE else MessageType.KILL_COMPLETE
        return answer(MessageType(base + bool(failed)), asked, done, failed)

    def restart(self) -> bytes:
        """Everything is lost."""
        self.air.clear()
        return framed(MessageType.RESTART, bytes.fromhex("040001061600" + "0d01"))


def read(kind: MessageType, body: bytes) -> Asked:
    asked = Asked(kind, 0, None, None, [], 0)
    at = 0
    while at < len(body):
        element, at = body[at], at + 1
        if element == Element.CELL_LIST:
            length = int.from_bytes(body[at : at + 2], "big")
            value, at = body[at + 2 : at + 2 + length], at + 2 + length
            assert value[0] == Discriminator.LAC_AND_CI
            asked.cells = [
                Cell(int.from_bytes(value[n : n + 2], "big"), int.from_bytes(value[n + 2 : n + 4], "big")) for n in range(1, length, 4)
            ]
            continue
        wide = {Element.MESSAGE_CONTENT: 83, Element.MESSAGE_IDENTIFIER: 2, Element.NEW_SERIAL_NUMBER: 2, Element.OLD_SERIAL_NUMBER: 2}
        wide |= {Element.REPETITION_PERIOD: 2, Element.BROADCASTS_REQUESTED: 2}
        length = wide.get(Element(element), 1)
        value, at = body[at : at + length], at + length
        number = int.from_bytes(value, "big")
        if element == Element.MESSAGE_IDENTIFIER:
            asked.message_identifier = number
        elif element == Element.NEW_SERIAL_NUMBER:
            asked.new = number
        elif element == Element.OLD_SERIAL_NUMBER:
            asked.old = number
        elif element == Element.BROADCASTS_REQUESTED:
            asked.broadcasts = number
        elif element == Element.MESSAGE_CONTENT:
            asked.pages += 1
    return asked


def answer(kind: MessageType, asked: Asked, done: list[Cell], failed: list[tuple[Cell, int]]) -> bytes:
    body = bytes([Element.MESSAGE_IDENTIFIER]) + asked.message_identifier.to_bytes(2, "big")
    if asked.new is not None:
        body += bytes([Element.NEW_SERIAL_NUMBER]) + asked.new.to_bytes(2, "big")
    if asked.old is not None:
        body += bytes([Element.OLD_SERIAL_NUMBER]) + asked.old.to_bytes(2, "big")
    if done:
        cells = b"".join(PLMN + place(cell) for cell in done)
        body += bytes([Element.CELL_LIST]) + (1 + len(cells)).to_bytes(2, "big") + bytes([Discriminator.CGI]) + cells
    if failed:
        cells = b"".join(bytes([Discriminator.CGI]) + PLMN + place(cell) + bytes([cause]) for cell, cause in failed)
        body += bytes([Element.FAILURE_LIST]) + len(cells).to_bytes(2, "big") + cells
    return framed(kind, body)


def place(cell: Cell) -> bytes:
    assert cell.lac is not None
    assert cell.ci is not None
    return cell.lac.to_bytes(2, "big") + cell.ci.to_bytes(2, "big")


def framed(kind: MessageType, body: bytes) -> bytes:
    return bytes([kind]) + len(body).to_bytes(3, "big") + body
