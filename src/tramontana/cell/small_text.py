"""A text in as few octets as it needs: the plaintext of a sealed text (keys/sealed_text.py)."""

from __future__ import annotations

from tramontana.cell import gsm_alphabet
from tramontana.keys.sealed_text import MOST_PLAINTEXT_BYTES, CannotSeal, Refused


def encode_text(text: str) -> bytes:
    """A text as plaintext: count (1) ‖ packed septets, or 0 ‖ UTF-8, whichever is shorter. Raises `CannotSeal`."""
    try:
        plain = b"\0" + text.encode()
    except UnicodeEncodeError:
        raise CannotSeal("the text is not Unicode: type it anew, or set a UTF-8 locale") from None
    if not gsm_alphabet.missing(text):
        septets = gsm_alphabet.encode(text)
        if 0 < len(septets) <= 255:
            packed = bytes((len(septets),)) + gsm_alphabet.pack(septets)
            plain = min(plain, packed, key=len)
    if len(plain) > MOST_PLAINTEXT_BYTES:
        raise CannotSeal(f"the text needs {len(plain)} octets, {MOST_PLAINTEXT_BYTES} fit: shorten it or send two")
    return plain


def decode_text(plaintext: bytes) -> str:
    """The text of a plaintext. Raises `Refused`."""
    if not plaintext:
        raise Refused("a sealed text without content")
    try:
        if plaintext[0] == 0:
            return plaintext[1:].decode()
        septets = gsm_alphabet.unpack(plaintext[1:], plaintext[0])
    except (UnicodeDecodeError, gsm_alphabet.BadSeptets):
        raise Refused("a sealed text whose content cannot be read; the other end may be newer") from None
    return gsm_alphabet.decode(septets)
