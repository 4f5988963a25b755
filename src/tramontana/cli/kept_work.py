"""Answers of long work, kept in a folder as they come: what was killed goes on where it was, and comes to the same result.

An answer is found again by a digest of the work, the piece and the program's own code: nothing of another study or version is taken for
it. The folder is the user's own; still, only plain records of planning and space are read back from it, never code.
"""

from __future__ import annotations

import hashlib
import io
import pickle
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np

import tramontana
from tramontana.cli.output import write_whole
from tramontana.errors import LocalError

_ROOMS: Final = ("planning", "space")
_ARRAYS: Final = frozenset({"_reconstruct", "ndarray", "dtype", "scalar"})
"""What numpy makes its arrays and numbers of."""


class KeptAnswers:
    """A folder of answers, one file each."""

    def __init__(self, folder: Path) -> None:
        """Raises `LocalError` where it cannot be made."""
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise LocalError(f"cannot keep answers in {folder} ({error.strerror}): choose another folder with --resume") from error
        self._folder = folder

    def path(self, work: object, piece: object) -> Path:
        """Where the answer to a piece is, or will be."""
        digest = hashlib.sha256(_program())
        for part in (work, piece):
            for written in _canonical(part):
                digest.update(written)
        return self._folder / f"{digest.hexdigest()}.answer"

    def read(self, path: Path) -> tuple[bool, Any]:
        """Whether the answer is there, and what it is. One that cannot be read, through whatever happened to it, is not there."""
        try:
            digest, content = path.read_bytes().split(b"\n", 1)
            if hashlib.sha256(content).hexdigest().encode() != digest:
                return False, None
            return True, _Records(io.BytesIO(content)).load()
        except (OSError, ValueError, EOFError, AttributeError, ImportError, IndexError, TypeError, pickle.UnpicklingError):
            return False, None

    def keep(self, path: Path, answer: object) -> None:
        """Whole or not at all. Raises `LocalError`."""
        content = pickle.dumps(answer, protocol=4)  # 5 asks numpy for buffers that broadcast arrays do not have
        write_whole(path, hashlib.sha256(content).hexdigest().encode() + b"\n" + content)


class _Records(pickle.Unpickler):
    """Dataclasses of planning and space, and arrays; nothing else is looked up, so nothing else can be called."""

    def find_class(self, module: str, name: str) -> Any:
        root, *rest = module.split(".")
        if root == "numpy" and name in _ARRAYS:
            return super().find_class(module, name)
        if root == "tramontana" and rest and rest[0] in _ROOMS and "." not in name:
            found = super().find_class(module, name)
            if isinstance(found, type) and is_dataclass(found):
                return found
        raise pickle.UnpicklingError(f"{module}.{name} is no record")


@cache
def _program() -> bytes:
    """A digest of the code that the answers come from: another version may answer otherwise."""
    root, digest = Path(tramontana.__file__).parent, hashlib.sha256(np.__version__.encode())
    for file in sorted(file for room in _ROOMS for file in (root / room).rglob("*.py")):
        digest.update(file.relative_to(root).as_posix().encode())
        digest.update(file.read_bytes())
    return digest.digest()


def _canonical(value: object) -> Iterator[bytes]:
    """The same octets for the same value in every process: sets and mappings are sorted. Raises `TypeError` for what is no plain record."""
    yield f"{type(value).__module__}.{type(value).__qualname__}(".encode()
    match value:
        case None | bool() | int() | str() | bytes() | range():
            yield repr(value).encode()
        case float():
            yield value.hex().encode()
        case np.ndarray():
            yield f"{value.dtype.str}{value.shape}".encode()
            yield np.ascontiguousarray(value).tobytes()
        case tuple() | list():
            for item in value:
                yield from _canonical(item)
        case frozenset() | set():
            yield from sorted(b"".join(_canonical(item)) for item in value)
        case Mapping():
            yield from sorted(b"".join((*_canonical(key), *_canonical(item))) for key, item in value.items())
        case _ if is_dataclass(value):
            for field in fields(value):
                yield field.name.encode()
                yield from _canonical(getattr(value, field.name))
        case _:
            raise TypeError(f"{type(value)} is no plain record: its answers cannot be found again")
    yield b")"
