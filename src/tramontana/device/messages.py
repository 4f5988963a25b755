"""Application messages inside MLS (docs/protocols.md): UTF-8 JSON, told apart by `type`. What is used is checked field by field."""

from __future__ import annotations

import json
import math
import re
from base64 import b64decode
from collections.abc import Mapping, Sequence
from typing import Any

from tramontana.device.membership import parse_head
from tramontana.device.requests import b64
from tramontana.errors import RemoteError
from tramontana.keys.log import TreeHead, UnverifiedTreeHead

MAX_TEXT_CHARACTERS = 10_000
_ID = re.compile(r"[0-9a-f]{32}\Z")


class MalformedMessage(RemoteError):
    """A member's device broke the format of a message; it was dropped."""


Fields = Mapping[str, Any]


def parse(plaintext: bytes) -> Fields:
    """A message of whatever type. Raises `MalformedMessage`."""
    try:
        read = json.loads(plaintext.decode("utf-8"))
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise MalformedMessage("a message is not UTF-8 JSON") from error
    if not isinstance(read, dict) or not isinstance(read.get("type"), str):
        raise MalformedMessage("a message is no JSON object with a type")
    return read


def encode(message: Fields) -> bytes:
    return json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode("utf-8")


def identifier(message: Fields, name: str) -> str:
    """32 hex characters. Raises `MalformedMessage`, as all below."""
    value = message.get(name)
    if not isinstance(value, str) or not _ID.match(value):
        raise MalformedMessage(f"{name} of a message is not 32 hex characters")
    return value


def text(message: Fields, name: str, most: int) -> str:
    value = message.get(name)
    if not isinstance(value, str) or len(value) > most:
        raise MalformedMessage(f"{name} of a message is not a text of at most {most} characters")
    return value


def number(message: Fields, name: str) -> float:
    value = message.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise MalformedMessage(f"{name} of a message is not a number")
    return float(value)


def octets(message: Fields, name: str, length: int) -> bytes:
    try:
        value = b64decode(text(message, name, 2 * length + 4), validate=True)
    except ValueError:
        value = b""
    if len(value) != length:
        raise MalformedMessage(f"{name} of a message is not {length} bytes in base64")
    return value


def head(message: Fields) -> UnverifiedTreeHead:
    """What a `head` message tells."""
    try:
        return parse_head(dict(message))
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise MalformedMessage("the head in a message is none") from error


def head_told(seen: TreeHead) -> bytes:
    return encode(
        {
            "type": "head",
            "log_id": b64(seen.log_id),
            "tree_size": seen.tree_size,
            "root_hash": b64(seen.root_hash),
            "at": seen.at,
            "signature": b64(seen.signature),
        }
    )


def delivered(ids: Sequence[str]) -> bytes:
    """A receipt: this device has these texts and has stored that it had them."""
    return encode({"type": "receipt", "ids": list(ids), "state": "delivered"})


_NUMBER = re.compile(r"\+?[0-9]{2,20}\Z", re.ASCII)


def is_number(value: str) -> bool:
    """A telephone number: with its country and a plus, or a short code."""
    return _NUMBER.match(value) is not None


def number_of(message: Fields) -> str:
    """The number that a `number` message tells; "" takes the last one back."""
    value = text(message, "number", 21)
    if value and not is_number(value):
        raise MalformedMessage("number of a message is no telephone number")
    return value


def number_told(number: str) -> bytes:
    """At this number the sending device takes sealed texts."""
    return encode({"type": "number", "number": number})


def written(message_id: str, body: str, now: float) -> bytes:
    """A text."""
    return encode({"type": "text", "id": message_id, "body": body, "sent_at": int(now)})
