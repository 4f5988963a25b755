"""Field types that requests, answers and WebSocket frames share: base64 byte strings, ids, instants."""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, WithJsonSchema

from tramontana.keys.fields import is_displayable


class Shape(BaseModel):
    """A JSON object: unknown fields are refused and nothing is converted silently."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, hide_input_in_errors=True)


def _decode(value: object) -> object:
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str):
        raise ValueError("must be a base64 string")
    decoded = b64decode(value, validate=True)
    if len(value) % 4 or b64encode(decoded).decode() != value:
        raise ValueError("must be standard base64 with padding, in its one canonical spelling")
    return decoded


def _encode(value: bytes) -> str:
    return b64encode(value).decode("ascii")


def base64_bytes(min_bytes: int, max_bytes: int) -> tuple[Any, ...]:
    """The annotations of a byte string that travels as standard base64 with padding."""
    schema = {
        "type": "string",
        "contentEncoding": "base64",
        "minLength": -(-min_bytes // 3) * 4,
        "maxLength": -(-max_bytes // 3) * 4,
    }
    return (
        Field(min_length=min_bytes, max_length=max_bytes),
        BeforeValidator(_decode),
        PlainSerializer(_encode, return_type=str, when_used="json"),
        WithJsonSchema(schema),
    )


MAX_KEY_PACKAGE_BYTES = 12 * 1024
MAX_MESSAGE_BYTES = 128 * 1024
MAX_COMMIT_BYTES = 1536 * 1024
"""In a talk group of 1,000 in which nobody has committed yet a commit is sealed to each leaf: 1.2 MB (bench/rekey.py)."""
MAX_WELCOME_BYTES = 380 * 1024

PublicKey = Annotated[bytes, *base64_bytes(32, 32)]
Signature = Annotated[bytes, *base64_bytes(64, 64)]
Digest = Annotated[bytes, *base64_bytes(32, 32)]
AlarmSecret = Annotated[bytes, *base64_bytes(32, 32)]
Challenge = Annotated[bytes, *base64_bytes(1, 128)]
KeyPackageMessage = Annotated[bytes, *base64_bytes(1, MAX_KEY_PACKAGE_BYTES)]
CommitMessage = Annotated[bytes, *base64_bytes(1, MAX_COMMIT_BYTES)]
WelcomeMessage = Annotated[bytes, *base64_bytes(1, MAX_WELCOME_BYTES)]
ApplicationMessage = Annotated[bytes, *base64_bytes(1, MAX_MESSAGE_BYTES)]
Payload = Annotated[bytes, *base64_bytes(1, MAX_COMMIT_BYTES)]

SignedStatement = Annotated[bytes, *base64_bytes(1, 16 * 1024)]
Statement = Annotated[bytes, *base64_bytes(1, 4096)]
Sha256 = Annotated[bytes, *base64_bytes(32, 32)]

Token = Annotated[str, Field(min_length=1, max_length=128, description="32 random bytes, base64url without padding")]
Id = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$", description="16 bytes in lower-case hex")]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
Epoch = Annotated[int, Field(ge=0, lt=2**53)]
Sequence = Annotated[int, Field(ge=0, lt=2**53)]
Role = Literal["approver", "archive", "auditor", "custodian", "gateway", "member", "nested", "operator", "site"]
UnixSeconds = Annotated[float, Field(allow_inf_nan=False, description="POSIX seconds (UTC)")]


def _displayable(name: str) -> str:
    if not is_displayable(name):
        raise ValueError("must not start or end with a space or contain control or formatting characters")
    return name


def _distinct(roles: list[Role]) -> list[Role]:
    if len(set(roles)) != len(roles):
        raise ValueError("must not name a role twice")
    return roles


DisplayName = Annotated[str, Field(min_length=1, max_length=64), AfterValidator(_displayable)]
Note = Annotated[str, Field(max_length=120), AfterValidator(_displayable)]
Unit = Annotated[str, Field(max_length=64, pattern=r"^[^,]*$"), AfterValidator(_displayable)]
Roles = Annotated[list[Role], Field(min_length=1), AfterValidator(_distinct)]
DeviceState = Literal["pending", "certified", "expired", "revoked", "rejected"]
