"""The fields of statements: text, numbers, ids, labels, lists; whatever is not exactly one is refused as `malformed`."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import Literal, get_args

from tramontana.keys.identity import PUBLIC_KEY_BYTES, is_usable_public_key, parse_statement
from tramontana.keys.refused import Refused
from tramontana.precedence import Precedence

Role = Literal["approver", "archive", "auditor", "custodian", "gateway", "member", "nested", "operator", "site"]
ROLES: frozenset[str] = frozenset(get_args(Role))
NUMBER_BYTES = 8
MAX_NUMBER = 2**53 - 1
"""So that a browser reads every number exactly."""
MAX_TEXT = 64

_ID = re.compile(rb"[0-9a-f]{32}\Z")


def malformed(what: str) -> Refused:
    return Refused("malformed", f"{what}; make the statement as docs/protocols.md says")


def parse_fields(context: str, statement: bytes, count: int) -> list[bytes]:
    """Raises `Refused`."""
    try:
        fields = parse_statement(context, statement)
    except ValueError as error:
        raise malformed(str(error)) from error
    if len(fields) != count:
        raise malformed(f"a statement of context {context!r} has {count} fields, this one {len(fields)}")
    return fields


def is_displayable(value: str) -> bool:
    """No space at either end, no control or formatting characters."""
    return value == value.strip() and not any(unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp") for c in value)


def text(field: bytes, what: str, longest: int = MAX_TEXT, *, may_be_empty: bool = False) -> str:
    """Displayable UTF-8. Raises `Refused`."""
    try:
        value = field.decode("utf-8")
    except UnicodeDecodeError as error:
        raise malformed(f"the {what} is not UTF-8") from error
    if len(value) > longest or not is_displayable(value) or not (value or may_be_empty):
        raise malformed(f"the {what} must have 1 to {longest} characters, no space at either end and no control characters")
    return value


def number(value: int) -> bytes:
    return value.to_bytes(NUMBER_BYTES, "big")


def instant(field: bytes, what: str) -> int:
    """A number or POSIX seconds. Raises `Refused`."""
    value = int.from_bytes(field, "big")
    if len(field) != NUMBER_BYTES or value > MAX_NUMBER:
        raise malformed(f"{what} is not a number of 8 bytes below 2^53")
    return value


def identifier(field: bytes, what: str) -> str:
    """32 hex characters. Raises `Refused`."""
    if not _ID.match(field):
        raise malformed(f"the {what} is not 16 bytes in lower-case hex")
    return field.decode("ascii")


def identifiers(field: bytes, what: str) -> tuple[str, ...]:
    """Comma-joined ids, sorted, none twice, perhaps none. Raises `Refused`."""
    found = tuple(identifier(part, what) for part in field.split(b",")) if field else ()
    if list(found) != sorted(set(found)):
        raise malformed(f"the {what} are not sorted, or one stands there twice")
    return found


def public_key(field: bytes) -> bytes:
    if len(field) != PUBLIC_KEY_BYTES or not is_usable_public_key(field):
        raise malformed("the signature key is not a usable Ed25519 key")
    return field


def unit(field: bytes) -> str:
    value = text(field, "unit", may_be_empty=True)
    if "," in value:
        raise malformed("a unit has no comma")
    return value


def roles(field: bytes) -> tuple[str, ...]:
    """Comma-joined roles, sorted, at least one. Raises `Refused`."""
    found = tuple(field.decode("ascii", "replace").split(","))
    if list(found) != sorted(set(found)) or not set(found) <= ROLES:
        raise malformed(f"roles are some of {', '.join(sorted(ROLES))}, sorted")
    return found


def precedence(field: bytes) -> Precedence:
    try:
        return Precedence.parse(field.decode("ascii", "replace"))
    except ValueError as error:
        raise malformed(str(error)) from error


def joined(values: Iterable[str]) -> bytes:
    """A list as a field: sorted, comma-joined."""
    return ",".join(sorted(values)).encode()
