"""Files with a secret in them: made for their owner alone, and not believed where others could read or change them."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Callable
from pathlib import Path

from tramontana.errors import LocalError

MAX_BYTES = 1 << 20


class PrivateFileError(LocalError):
    """A file that must stay private cannot be used; the message says why and what to do."""


def read_private(path: Path) -> bytes:
    """Raises `PrivateFileError` if it is missing, of another user, or open to anyone but its owner."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise PrivateFileError(f"cannot read {path} ({error.strerror})") from error
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise PrivateFileError(f"{path} is not a file: choose another path")
        if found.st_mode & 0o077:
            raise PrivateFileError(f"others may use {path}: make it private with `chmod 600 {path}`")
        if found.st_uid not in (os.geteuid(), 0):
            raise PrivateFileError(f"{path} belongs to another user: take it over with chown, or choose another path")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read(MAX_BYTES)
    finally:
        os.close(descriptor)


def make_private(path: Path, content: bytes) -> None:
    """Make a file that must not be there yet, whole or not at all. Raises `PrivateFileError`; `FileExistsError` where there is one."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        try:
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(descriptor)
            os.link(draft, path)  # fails where somebody was first
        finally:
            draft.unlink(missing_ok=True)
    except FileExistsError:
        raise
    except OSError as error:
        raise PrivateFileError(f"cannot write {path} ({error.strerror}): choose a directory that can be written") from error


def replace_private(path: Path, content: bytes) -> None:
    """Put the content in place of what is there, in one step. Raises `PrivateFileError`."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}.new")
    make_private(draft, content)
    try:
        os.replace(draft, path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise PrivateFileError(f"cannot write {path} ({error.strerror})") from error


def read_or_make_private(path: Path, make: Callable[[], bytes]) -> bytes:
    """Read it, or make it if there is none. Two processes that start together end with the same content. Raises `PrivateFileError`."""
    if not path.exists():
        with contextlib.suppress(FileExistsError):
            make_private(path, make())
    return read_private(path)
