"""The TLS presentation language as MLS uses it (RFC 9420 §2.1): a strict reader, and the few ways to write."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol, TypeVar

from tramontana.keys.mls.errors import FramingError

T = TypeVar("T")


class Encodable(Protocol):
    def encode(self) -> bytes: ...


class Reader:
    """Reads the TLS presentation language from bytes; every read checks what is left. Raises `FramingError`."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def at_end(self) -> bool:
        return self._at == len(self._data)

    def take(self, count: int) -> bytes:
        if count > len(self._data) - self._at:
            raise FramingError(f"the message ends {count - (len(self._data) - self._at)} bytes too early")
        start, self._at = self._at, self._at + count
        return self._data[start : self._at]

    def rest(self) -> bytes:
        return self.take(len(self._data) - self._at)

    def uint(self, width: int) -> int:
        return int.from_bytes(self.take(width), "big")

    def vector(self) -> bytes:
        """opaque<V>: a length as in RFC 9420 §2.1.2 (1, 2 or 4 bytes, minimal), then that many bytes."""
        first = self.uint(1)
        prefix, length = first >> 6, first & 0x3F
        if prefix == 3:
            raise FramingError("a vector length starts with the reserved prefix 11")
        for _ in range((1 << prefix) - 1):
            length = (length << 8) | self.uint(1)
        if prefix >= 1 and length < 1 << (8 * (1 << (prefix - 1)) - 2):
            raise FramingError("a vector length is not in its shortest form")
        return self.take(length)

    def list_of(self, parse: Callable[[Reader], T]) -> tuple[T, ...]:
        """T<V>: a vector that is filled by elements."""
        inner = Reader(self.vector())
        found: list[T] = []
        while not inner.at_end:
            found.append(parse(inner))
        return tuple(found)

    def uints(self, width: int) -> tuple[int, ...]:
        return self.list_of(lambda inner: inner.uint(width))

    def optional(self, parse: Callable[[Reader], T]) -> T | None:
        """optional<T> (RFC 9420 §2.1.1)."""
        if (present := self.uint(1)) > 1:
            raise FramingError("an optional value is marked neither present nor absent")
        return parse(self) if present else None

    def end(self) -> None:
        if not self.at_end:
            raise FramingError(f"{len(self._data) - self._at} bytes follow the end of the message")


def parse_whole(data: bytes, parse: Callable[[Reader], T]) -> T:
    """The one thing that the bytes hold, with nothing behind it. Raises `FramingError`."""
    reader = Reader(data)
    parsed = parse(reader)
    reader.end()
    return parsed


def uint(value: int, width: int) -> bytes:
    return value.to_bytes(width, "big")


def vector(value: bytes) -> bytes:
    """The inverse of `Reader.vector`, for at most 2³⁰-1 bytes."""
    length = len(value)
    if length < 1 << 6:
        return length.to_bytes(1, "big") + value
    if length < 1 << 14:
        return (length | 1 << 14).to_bytes(2, "big") + value
    return (length | 1 << 31).to_bytes(4, "big") + value


def vector_of(values: Iterable[Encodable]) -> bytes:
    return vector(b"".join([value.encode() for value in values]))


def vector_of_uints(values: Iterable[int], width: int) -> bytes:
    return vector(b"".join([value.to_bytes(width, "big") for value in values]))


def optional(value: bytes | None) -> bytes:
    return b"\x00" if value is None else b"\x01" + value
