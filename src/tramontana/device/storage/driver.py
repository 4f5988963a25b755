"""A device's rows in one SQLite file, each sealed under a key that its passphrase opens.

AES-256-GCM with a random nonce for each row; table and key of a row are bound to it, so that rows cannot be exchanged. Names of tables and
keys of rows (ids) stay readable. Whoever can write the file can put back an old one as a whole: that is not noticed here.
"""

from __future__ import annotations

import errno
import os
import secrets
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tramontana.device.store import Change
from tramontana.errors import LocalError
from tramontana.keys.identity import encode_statement
from tramontana.keys.organisation import seal, unseal
from tramontana.private_file import read_or_make_private

FILE_NAME = "device.db"
ROW_CONTEXT = "tramontana device row 1"
KEY_NAME = "device.secret"
LOCK_CONTEXT = "tramontana device store 1"
KEY_BYTES = 32
NONCE_BYTES = 12
WAIT_S = 1.0

_SCHEMA = """
CREATE TABLE lock (document BLOB NOT NULL);
CREATE TABLE row (name TEXT NOT NULL, key TEXT NOT NULL, sealed BLOB NOT NULL, PRIMARY KEY (name, key)) WITHOUT ROWID;
"""


class StorageRefused(LocalError):
    """The device's directory cannot be used; the message says why and what to do."""


class SealedStore:
    """One device's file, opened by one process at a time."""

    def __init__(self, path: Path, connection: sqlite3.Connection, key: bytes) -> None:
        self._path = path
        self._connection = connection
        self._cipher = AESGCM(key)

    @classmethod
    def make(cls, directory: Path, passphrase: str) -> SealedStore:
        """A new, empty one. Raises `StorageRefused` where there is a device already, or the directory is not its owner's alone."""
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StorageRefused(f"cannot make {directory} ({error.strerror}): choose another directory with --data") from error
        path = _path(directory)
        taken = StorageRefused(f"there is a device in {directory} already: use it, or choose another directory with --data")
        if path.exists():
            raise taken
        key = secrets.token_bytes(KEY_BYTES)
        document = seal(key, passphrase, public=LOCK_CONTEXT.encode())
        draft = path.with_name(f"{FILE_NAME}.{secrets.token_hex(8)}")  # whole or not there: whoever dies here can begin again
        try:
            os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
            try:
                connection = _connect(draft)
                with connection:
                    connection.executescript(_SCHEMA)
                    connection.execute("INSERT INTO lock VALUES (?)", (document,))
                connection.close()
                _put(draft, path)
            finally:
                draft.unlink(missing_ok=True)
                _journal(draft).unlink(missing_ok=True)
        except FileExistsError as error:
            raise taken from error
        except OSError as error:
            raise StorageRefused(f"cannot write in {directory} ({error.strerror}): choose another directory with --data") from error
        return cls(path, _connect(path), key)

    @classmethod
    def open(cls, directory: Path, passphrase: str) -> SealedStore:
        """Raises `StorageRefused`, `WrongPassphrase`, `KeyFileDamaged`."""
        path = _path(directory)
        if not path.exists():
            raise StorageRefused(f"there is no device in {directory}: enrol one there first, with its invitation")
        connection = _connect(path)
        try:
            (document,) = connection.execute("SELECT document FROM lock").fetchone()
        except (sqlite3.DatabaseError, TypeError) as error:
            connection.close()
            raise StorageRefused(f"{path} is damaged, or another process uses this device now: {error}") from error
        try:
            key, _ = unseal(document, passphrase)
        except LocalError:
            connection.close()
            raise
        return cls(path, connection, key)

    @classmethod
    def of_machine(cls, directory: Path) -> SealedStore:
        """One that a machine opens by itself: its key is in a private file beside it. Made where there is none.

        Raises `StorageRefused`, `PrivateFileError`.
        """
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StorageRefused(f"cannot make {directory} ({error.strerror}): choose another directory") from error
        secret = read_or_make_private(directory / KEY_NAME, lambda: secrets.token_hex(KEY_BYTES).encode()).decode("ascii")
        return cls.open(directory, secret) if _path(directory).exists() else cls.make(directory, secret)

    def close(self) -> None:
        self._connection.close()

    def read(self, table: str) -> Mapping[str, bytes]:
        """Raises `StorageRefused` for a row that was not written here."""
        try:
            rows = self._connection.execute("SELECT key, sealed FROM row WHERE name = ?", (table,))
            return {key: self._cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], _bound(table, key)) for key, sealed in rows}
        except (InvalidTag, sqlite3.DatabaseError) as error:
            raise StorageRefused(
                "the device's file is damaged or was changed; restore nothing old: revoke this device, enrol another"
            ) from error

    def write(self, changes: Iterable[Change]) -> None:
        """Raises `StorageRefused`; then nothing was written."""
        try:
            with self._connection:
                for table, key, value in changes:
                    if value is None:
                        self._connection.execute("DELETE FROM row WHERE name = ? AND key = ?", (table, key))
                        continue
                    nonce = secrets.token_bytes(NONCE_BYTES)
                    sealed = nonce + self._cipher.encrypt(nonce, value, _bound(table, key))
                    self._connection.execute("INSERT OR REPLACE INTO row VALUES (?, ?, ?)", (table, key, sealed))
        except sqlite3.DatabaseError as error:
            raise StorageRefused(f"the device's file cannot be written ({error}): make room, then start again; nothing was sent") from error

    def destroy(self) -> None:
        """The key of all rows first (`secure_delete` overwrites it), then the file."""
        with suppress(sqlite3.DatabaseError), self._connection:
            self._connection.execute("DELETE FROM lock")
            self._connection.execute("DELETE FROM row")
        self.close()
        self._path.unlink(missing_ok=True)
        _journal(self._path).unlink(missing_ok=True)


def _path(directory: Path) -> Path:
    if directory.exists() and directory.stat().st_mode & 0o077:
        raise StorageRefused(f"others may look into {directory}: make it yours alone with `chmod 700 {directory}`")
    return directory / FILE_NAME


def _put(draft: Path, path: Path) -> None:
    """Raises `FileExistsError` where somebody was first, `OSError`."""
    try:
        os.link(draft, path)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EOPNOTSUPP) or path.exists():
            raise
        os.rename(draft, path)  # a file system without hard links: two who make one there at once are their owner's doing


def _journal(path: Path) -> Path:
    return path.with_name(f"{path.name}-journal")


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=WAIT_S)
    try:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")  # held from the first write on: one process a device
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA secure_delete = ON")  # keys that are gone leave no trace in free pages,
        connection.execute("PRAGMA journal_mode = TRUNCATE")  # nor in the journal, which else keeps what the last change replaced
        connection.execute("BEGIN EXCLUSIVE")
        connection.execute("COMMIT")
    except sqlite3.DatabaseError as error:
        connection.close()
        raise StorageRefused(f"{path} is in use by another process, or is no device's file ({error})") from error
    return connection


def _bound(table: str, key: str) -> bytes:
    return encode_statement(ROW_CONTEXT, (table.encode(), key.encode()))
