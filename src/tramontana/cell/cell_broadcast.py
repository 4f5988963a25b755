"""Cell broadcast of public warnings: message identifiers, serial numbers and pages (3GPP TS 23.041, alphabets TS 23.038).

A text becomes up to 15 pages of 82 octets. Where a character would be cut between two pages (an escape from what it escapes, one half of
a surrogate pair from the other) the page ends before it, so that every page reads by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum

from tramontana.cell import gsm_alphabet
from tramontana.errors import LocalError, RemoteError

PAGE_OCTETS = 82  # TS 23.041 §9.4.2.2.5
MAX_PAGES = 15
GSM_7_CHARACTERS_A_PAGE = PAGE_OCTETS * 8 // 7  # 93
UCS_2_CHARACTERS_A_PAGE = PAGE_OCTETS // 2  # 41
MESSAGE_CODES = 1 << 10
UPDATE_NUMBERS = 1 << 4
ADDITIONAL_LANGUAGE = 13
"""What is added to a message identifier for the same warning in a further language (TS 23.041 §9.4.1.2.2: 4383 and on for 4370 and on)."""


class TextRefused(LocalError):
    """The text cannot be broadcast; the message says what to change."""


class BadPages(RemoteError):
    """Pages that are not a cell broadcast message."""


class Alphabet(StrEnum):
    """How the characters of a text are coded (TS 23.038 §5)."""

    GSM_7 = "gsm-7"
    UCS_2 = "ucs-2"

    @property
    def capacity(self) -> int:
        """Characters of 15 pages: 1,395 septets, or 615 UTF-16 code units."""
        return MAX_PAGES * self.characters_a_page

    @property
    def characters_a_page(self) -> int:
        return GSM_7_CHARACTERS_A_PAGE if self is Alphabet.GSM_7 else UCS_2_CHARACTERS_A_PAGE


class Level(StrEnum):
    """How phones show a warning, and whether their owners can switch it off. Android with MCC 222: docs/warnings.md."""

    ALWAYS_ON = "always-on"
    LEVEL_1 = "level-1"
    LEVEL_2 = "level-2"
    LEVEL_3 = "level-3"
    EXERCISE = "exercise"

    @property
    def message_identifier(self) -> int:
        """TS 23.041 §9.4.1.2.2; those between are not sent in Italy, where phones do not show them."""
        return _MESSAGE_IDENTIFIERS[self]


_MESSAGE_IDENTIFIERS = {Level.ALWAYS_ON: 4370, Level.LEVEL_1: 4371, Level.LEVEL_2: 4375, Level.LEVEL_3: 4379, Level.EXERCISE: 4381}

# TS 23.038 §5, coding group 0000: the GSM 7 bit default alphabet with the language said.
_GSM_7_LANGUAGES = {
    "de": 0x00, "en": 0x01, "it": 0x02, "fr": 0x03, "es": 0x04, "nl": 0x05, "sv": 0x06, "da": 0x07,
    "pt": 0x08, "fi": 0x09, "no": 0x0A, "el": 0x0B, "tr": 0x0C, "hu": 0x0D, "pl": 0x0E,
}  # fmt: skip
_GSM_7_LANGUAGE_UNSPECIFIED = 0x0F
_UCS_2 = 0x48  # TS 23.038 §5, general data coding: UCS-2, no message class


def message_identifier(level: Level, *, additional_language: bool) -> int:
    """The identifier under which phones know a warning, in the language of the country or in a further one."""
    return level.message_identifier + (ADDITIONAL_LANGUAGE if additional_language else 0)


class Scope(IntEnum):
    """Geographical scope of a serial number (TS 23.041 §9.4.1.2.1): within it a phone shows one message code and update number once."""

    CELL_IMMEDIATE = 0
    PLMN = 1
    LOCATION_AREA = 2
    CELL = 3


@dataclass(frozen=True, slots=True, order=True)
class SerialNumber:
    """Which message this is and which revision of it (TS 23.041 §9.4.1.2.1). An update keeps scope and code: phones show it as new."""

    message_code: int
    update_number: int = 0
    scope: Scope = Scope.PLMN

    def __post_init__(self) -> None:
        if not 0 <= self.message_code < MESSAGE_CODES or not 0 <= self.update_number < UPDATE_NUMBERS:
            raise LocalError("a message code has 10 bits and an update number 4")

    @property
    def value(self) -> int:
        """16 bits."""
        return self.scope << 14 | self.message_code << 4 | self.update_number

    @classmethod
    def parse(cls, value: int) -> SerialNumber:
        if not 0 <= value <= 0xFFFF:
            raise BadPages(f"{value} is no serial number")
        return cls(value >> 4 & 0x3FF, value & 0xF, Scope(value >> 14))

    def updated(self) -> SerialNumber:
        """The next revision; after 15 comes 0 again."""
        return SerialNumber(self.message_code, (self.update_number + 1) % UPDATE_NUMBERS, self.scope)


@dataclass(frozen=True, slots=True)
class Page:
    """82 octets, of which the first `length` are used."""

    octets: bytes
    length: int

    def __post_init__(self) -> None:
        if len(self.octets) != PAGE_OCTETS or not 0 <= self.length <= PAGE_OCTETS:
            raise BadPages(f"a page has {PAGE_OCTETS} octets, and no more of them are used")


@dataclass(frozen=True, slots=True)
class Message:
    """One text as it is broadcast."""

    data_coding_scheme: int
    pages: tuple[Page, ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.pages) <= MAX_PAGES:
            raise BadPages(f"a message has 1 to {MAX_PAGES} pages, not {len(self.pages)}")

    @property
    def alphabet(self) -> Alphabet:
        """Raises `BadPages` for a coding that is neither of the two."""
        return alphabet_of(self.data_coding_scheme)

    def text(self) -> str:
        """What phones show. Raises `BadPages`."""
        return decode(self)


@dataclass(frozen=True, slots=True)
class Count:
    """What a text takes, for the writer's eyes while he types."""

    alphabet: Alphabet
    characters: int
    """Septets or UTF-16 code units, with those that are lost at page ends."""
    capacity: int
    pages: int
    needs_ucs_2: str
    """The characters that the GSM 7 bit alphabet lacks: without them the text may be more than twice as long."""

    @property
    def fits(self) -> bool:
        return self.pages <= MAX_PAGES


def alphabet_of(data_coding_scheme: int) -> Alphabet:
    """Raises `BadPages`."""
    if data_coding_scheme <= _GSM_7_LANGUAGE_UNSPECIFIED or data_coding_scheme in (0x40, 0xF0):
        return Alphabet.GSM_7
    if data_coding_scheme == _UCS_2:
        return Alphabet.UCS_2
    raise BadPages(f"the data coding scheme {data_coding_scheme:#04x} is not one of those of warnings")


def plain(text: str) -> str:
    """The text as it is broadcast: lines end with a line feed, since a carriage return fills pages; no blanks at its end."""
    return text.replace("\r\n", "\n").replace("\r", "\n").rstrip()


def count(text: str) -> Count:
    """How long a text is. Never raises: the text may be half written."""
    text = plain(text)
    lacking = gsm_alphabet.missing(text)
    alphabet = Alphabet.UCS_2 if lacking else Alphabet.GSM_7
    pieces = _pieces(text, alphabet)
    used = (len(pieces) - 1) * alphabet.characters_a_page + _units(pieces[-1], alphabet)
    return Count(alphabet, used, alphabet.capacity, len(pieces), lacking)


def encode(text: str, language: str, alphabet: Alphabet | None = None) -> Message:
    """The pages of a text. language: ISO 639-1, in which GSM 7 bit texts are marked; alphabet: the one that fits by default.

    Raises `TextRefused` for no text, a text that is too long, and half a surrogate pair; `NotInAlphabet`.
    """
    text = plain(text)
    if not text:
        raise TextRefused("a warning needs a text")
    alphabet = alphabet or count(text).alphabet
    if alphabet is Alphabet.UCS_2 and any(0xD800 <= ord(character) < 0xE000 for character in text):
        raise TextRefused("the text has half a character in it; type it again")
    if alphabet is Alphabet.GSM_7 and (lacking := gsm_alphabet.missing(text)):
        raise gsm_alphabet.NotInAlphabet(lacking)
    pieces = _pieces(text, alphabet)
    if len(pieces) > MAX_PAGES:
        raise TextRefused(
            f"the text takes {len(pieces)} pages and {MAX_PAGES} can be broadcast ({alphabet.capacity:,} characters): shorten it"
        )
    if alphabet is Alphabet.GSM_7:
        return Message(_GSM_7_LANGUAGES.get(language, _GSM_7_LANGUAGE_UNSPECIFIED), tuple(_gsm_7_page(piece) for piece in pieces))
    return Message(_UCS_2, tuple(_ucs_2_page(piece) for piece in pieces))


def decode(message: Message) -> str:
    """The text of a message. Raises `BadPages`."""
    if message.alphabet is Alphabet.GSM_7:
        return "".join(_gsm_7_text(page) for page in message.pages)
    try:
        return "".join(page.octets[: page.length].decode("utf-16-be").rstrip("\r") for page in message.pages)
    except UnicodeDecodeError as error:
        raise BadPages("a page has half a character in it") from error


def _units(text: str, alphabet: Alphabet) -> int:
    return sum(_unit(character, alphabet) for character in text)


def _unit(character: str, alphabet: Alphabet) -> int:
    return gsm_alphabet.length(character) if alphabet is Alphabet.GSM_7 else 1 + (ord(character) > 0xFFFF)


def _pieces(text: str, alphabet: Alphabet) -> Sequence[str]:
    """The text of each page; one empty piece for an empty text."""
    pieces: list[str] = []
    start = used = 0
    for index, character in enumerate(text):
        units = _unit(character, alphabet)
        if used + units > alphabet.characters_a_page:
            pieces.append(text[start:index])
            start, used = index, 0
        used += units
    return [*pieces, text[start:]]


def _gsm_7_page(text: str) -> Page:
    septets = gsm_alphabet.encode(text)
    filled = septets.ljust(GSM_7_CHARACTERS_A_PAGE, bytes([gsm_alphabet.CARRIAGE_RETURN]))  # TS 23.038 §6.1.2.2.1
    return Page(gsm_alphabet.pack(filled), (7 * len(septets) + 7) // 8)


def _gsm_7_text(page: Page) -> str:
    try:
        septets = gsm_alphabet.unpack(page.octets, page.length * 8 // 7)
    except gsm_alphabet.BadSeptets as error:
        raise BadPages(str(error)) from error
    return gsm_alphabet.decode(septets.rstrip(bytes([gsm_alphabet.CARRIAGE_RETURN])))


def _ucs_2_page(text: str) -> Page:
    octets = text.encode("utf-16-be")
    return Page((octets + "\r".encode("utf-16-be") * UCS_2_CHARACTERS_A_PAGE)[:PAGE_OCTETS], len(octets))
