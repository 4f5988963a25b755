"""Where a PostgreSQL database is, and its password, which never stands in an address, an argument or a log."""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit, urlunsplit

from tramontana.control.store.faults import StoreError

PASSWORD_VARIABLE = "TRAMONTANA_DATABASE_PASSWORD"  # noqa: S105 - the name of the variable


def _is_local(host: str | None) -> bool:
    if not host or host.startswith("/") or host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True, slots=True)
class PostgresqlAddress:
    """`postgresql://USER@HOST:PORT/DATABASE`, as libpq reads it (`?sslmode=…`, `?host=/directory/of/socket`).

    `password` None leaves it to what libpq knows: $PGPASSWORD, a password file, or the server's trust in the user of a local socket.
    """

    url: str
    password: str | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, url: str, password_file: Path | None = None) -> PostgresqlAddress:
        """Read an address and its password: of a file, else of $TRAMONTANA_DATABASE_PASSWORD. Raises `StoreError`.

        A connection that leaves this machine is encrypted and the server's certificate checked, unless the address says otherwise.
        """
        try:
            parts = urlsplit(url)
            query = parse_qs(parts.query, strict_parsing=True) if parts.query else {}
            _ = parts.port
        except ValueError as error:
            raise StoreError(f"the address of the database cannot be read ({error}): write postgresql://USER@HOST:PORT/DATABASE") from error
        if parts.scheme not in ("postgresql", "postgres") or not parts.path.strip("/"):
            raise StoreError("the address of the database must be postgresql://USER@HOST:PORT/DATABASE")
        if parts.password is not None or "password" in query:
            raise StoreError(
                "the address of the database must not hold its password, which every user of this machine could read among the arguments: "
                f"put it into the environment ({PASSWORD_VARIABLE}) or a file (--database-password-file)"
            )
        host = query["host"][0] if "host" in query else parts.hostname
        if "sslmode" not in query and not _is_local(host):
            query["sslmode"] = ["verify-full"]
        return cls(urlunsplit(parts._replace(query=urlencode(query, doseq=True))), _password(password_file))

    def __str__(self) -> str:
        return urlunsplit(urlsplit(self.url)._replace(query=""))


def _password(file: Path | None) -> str | None:
    if file is None:
        return os.environ.get(PASSWORD_VARIABLE)
    try:
        if file.stat().st_mode & 0o077:
            raise StoreError(f"other users can read the password of the database in {file}: chmod 600 {file}")
        return file.read_text("utf-8").rstrip("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(f"the password of the database cannot be read from {file} ({error})") from error
