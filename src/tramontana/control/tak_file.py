"""The file that says which TAK servers this one is linked to, and what may pass (TOML, docs/tak.md)."""

from __future__ import annotations

import ipaddress
import ssl
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from tramontana.cell.silence import NOBODY, Silence
from tramontana.cell.tak.driver import Address
from tramontana.complaints import complaints
from tramontana.errors import LocalError

TLS_PORT, CLEAR_PORT = 8089, 8087
"""As TAK servers are set up by default."""
MOST_LINKS = 8
Sent = Literal["sos", "warnings"]


class TakFileError(LocalError):
    """The file of TAK servers cannot be used; the message names the entry and what to write there."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class _Server(_Strict):
    """One `[[tak]]`."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")]
    host: Annotated[str, Field(min_length=1, max_length=253)]
    port: Annotated[int, Field(gt=0, lt=65536)] | None = None
    tls: bool = True
    clear: bool = False
    ca: str | None = None
    certificate: str | None = None
    key: str | None = None
    server_name: str | None = None
    send: tuple[Sent, ...] = Field(default=(), strict=False)
    phones: bool = False
    words: bool = False
    receive_only: bool = False

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.receive_only and self.send:
            raise ValueError("a link that receives only sends nothing: remove 'send', or 'receive_only'")
        if (self.phones or self.words) and "sos" not in self.send:
            raise ValueError("'phones' and 'words' are of SOS cases, and these are not sent: write send = [\"sos\"], or remove them")
        if not self.tls:
            if self.ca or self.certificate or self.key or self.server_name:
                raise ValueError("'ca', 'certificate', 'key' and 'server_name' are for TLS: remove them, or 'tls = false'")
            if not self.clear and not _is_loopback(self.host):
                raise ValueError("without TLS whoever is on the way reads where everybody is: use TLS, or say 'clear = true' over a tunnel")
        elif self.ca is None:
            raise ValueError("'ca' is missing: the file (PEM) with the certificate of the authority that signed the server's")
        elif (self.certificate is None) != (self.key is None):
            raise ValueError("'certificate' and 'key' belong together")
        return self


class _Silent(_Strict):
    """One `[[units.silent]]`."""

    name: Annotated[str, Field(min_length=1, max_length=128)]
    phones: Annotated[tuple[Annotated[str, Field(pattern=r"^\+?[0-9 ]{3,24}$")], ...], Field(strict=False, max_length=100)] = ()


class _Units(_Strict):
    """`[units]`."""

    kept_s: Annotated[float, Field(ge=0, le=86400)] = 1800.0
    silent: tuple[_Silent, ...] = Field(default=(), strict=False, max_length=1000)


class _File(_Strict):
    tak: tuple[_Server, ...] = Field(default=(), strict=False, max_length=MOST_LINKS)
    units: _Units = _Units()

    @model_validator(mode="after")
    def _names(self) -> Self:
        if len({server.name for server in self.tak}) != len(self.tak):
            raise ValueError("two servers have the same name: give each its own")
        return self


@dataclass(frozen=True)
class TakServer:
    """One link. phones, words: of SOS cases, the phone's number and what the person wrote last."""

    name: str
    address: Address
    send: frozenset[Sent] = frozenset()
    phones: bool = False
    words: bool = False
    receive_only: bool = False


@dataclass(frozen=True)
class TakServers:
    """Everything that the file says."""

    links: tuple[TakServer, ...] = ()
    kept_s: float = _Units().kept_s
    """How long a position is kept after it has gone stale: then it is deleted."""
    silence: Silence = NOBODY
    """Units that must not emit."""


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def parse_tak_servers(text: str, directory: Path) -> TakServers:
    """Read the file; certificates stand relative to `directory`. Raises `TakFileError`."""
    try:
        found = _File.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise TakFileError(f"it is not TOML: {error}") from None
    except ValidationError as error:
        raise TakFileError(complaints(error)) from None
    silent = found.units.silent
    silence = Silence.of(frozenset(each.name for each in silent), frozenset(phone for each in silent for phone in each.phones))
    return TakServers(tuple(_server(each, directory) for each in found.tak), found.units.kept_s, silence)


def _server(each: _Server, directory: Path) -> TakServer:
    context = _context(each, directory) if each.tls else None
    address = Address(each.host, each.port or (TLS_PORT if each.tls else CLEAR_PORT), context, each.server_name)
    return TakServer(each.name, address, frozenset(each.send), each.phones, each.words, each.receive_only)


def _context(each: _Server, directory: Path) -> ssl.SSLContext:
    """Believes that one authority and no other, whatever else the machine believes."""
    assert each.ca is not None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    where = f"tak {each.name!r}"
    try:
        context.load_verify_locations(directory / each.ca)
    except OSError as error:
        raise TakFileError(
            f"{where}: the authority's certificate {directory / each.ca} cannot be used ({error.strerror or error})"
        ) from None
    if each.certificate is not None and each.key is not None:
        key = directory / each.key
        try:
            if key.stat().st_mode & 0o077:
                raise TakFileError(f"{where}: others can read {key}; chmod 600 it")
            context.load_cert_chain(directory / each.certificate, key, password=_no_passphrase)
        except OSError as error:
            raise TakFileError(f"{where}: the certificate or its key cannot be used ({error.strerror or error})") from None
    return context


def _no_passphrase() -> str:
    """OpenSSL would ask at the terminal, where nobody sits."""
    return ""
