"""The GSM 7 bit default alphabet with its extension table, and how septets are packed into octets (3GPP TS 23.038).

Texts of cell broadcast and of short messages use the same alphabet; they differ in what fills the last octet, so packing knows nothing
of pages or of user data headers: `fill_bits` shifts the septets behind a header (TS 23.040 §9.2.3.24), and who reads says how many
septets there are.
"""

from __future__ import annotations

from collections.abc import Iterable

from tramontana.errors import LocalError, RemoteError

ESCAPE = 0x1B
CARRIAGE_RETURN = 0x0D

# TS 23.038 §6.2.1, in the order of the codes 0x00 to 0x7F; the escape stands at its place as U+001B.
_DEFAULT = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞ\x1bÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
# TS 23.038 §6.2.1.1: what follows an escape.
_EXTENSION = {0x0A: "\f", 0x14: "^", 0x28: "{", 0x29: "}", 0x2F: "\\", 0x3C: "[", 0x3D: "~", 0x3E: "]", 0x40: "|", 0x65: "€"}

_SEPTETS = {character: bytes([code]) for code, character in enumerate(_DEFAULT) if code != ESCAPE}
_SEPTETS |= {character: bytes([ESCAPE, code]) for code, character in _EXTENSION.items()}


class NotInAlphabet(LocalError):
    """The text has characters that the GSM 7 bit default alphabet lacks. Write it without them, or send it as UCS-2."""

    def __init__(self, characters: str) -> None:
        self.characters = characters
        super().__init__(f"the GSM 7 bit default alphabet lacks {characters!r}: write the text without them, or send it as UCS-2")


class BadSeptets(RemoteError):
    """Octets that are not a text in the GSM 7 bit default alphabet."""


def missing(text: str) -> str:
    """The characters of the text that the alphabet lacks, each once, in the order of their appearance."""
    return "".join(dict.fromkeys(character for character in text if character not in _SEPTETS))


def length(character: str) -> int:
    """Septets that one character takes: 1, or 2 from the extension table. Raises `NotInAlphabet`."""
    try:
        return len(_SEPTETS[character])
    except KeyError:
        raise NotInAlphabet(character) from None


def encode(text: str) -> bytes:
    """One octet a septet, its highest bit clear. Raises `NotInAlphabet` that names all characters that cannot be written."""
    if lacking := missing(text):
        raise NotInAlphabet(lacking)
    return b"".join(_SEPTETS[character] for character in text)


def decode(septets: Iterable[int]) -> str:
    """The text of septets. An unknown code after an escape reads as the default alphabet's character, and an escape at the very end
    or before another one as a space, as §6.2.1.1 wants of a receiver. Raises `BadSeptets` for a value above 127.
    """
    text: list[str] = []
    escaped = False
    for septet in septets:
        if not 0 <= septet <= 0x7F:
            raise BadSeptets(f"{septet} is no septet")
        if escaped:
            escaped = False
            text.append(" " if septet == ESCAPE else _EXTENSION.get(septet, _DEFAULT[septet]))
        elif septet == ESCAPE:
            escaped = True
        else:
            text.append(_DEFAULT[septet])
    return "".join(text) + (" " if escaped else "")


def pack(septets: bytes, fill_bits: int = 0) -> bytes:
    """Septets into octets, the first one in the lowest bits (TS 23.038 §6.1.2.1.1, §6.1.2.2.1). Bits left over are 0.

    fill_bits: 0 to 6 zero bits before the first septet, which let it begin on a septet's boundary behind a header.
    """
    bits, width = 0, fill_bits
    for septet in septets:
        bits |= septet << width
        width += 7
    return bits.to_bytes((width + 7) // 8, "little")


def unpack(octets: bytes, count: int, fill_bits: int = 0) -> bytes:
    """The first `count` septets of octets, one octet each. Raises `BadSeptets` where there are fewer."""
    if count < 0 or fill_bits + 7 * count > 8 * len(octets):
        raise BadSeptets(f"{count} septets do not fit into {len(octets)} octets")
    bits = int.from_bytes(octets, "little") >> fill_bits
    return bytes(bits >> 7 * index & 0x7F for index in range(count))
