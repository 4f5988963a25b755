"""What a device keeps: rows of bytes in tables. Every step writes its rows in one transaction before anything of it leaves the device."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple, Protocol


class Change(NamedTuple):
    """A row as it is to be from now on; None deletes it."""

    table: str
    key: str
    value: bytes | None


class Store(Protocol):
    """Rows, sealed where they rest. `storage/driver.py` has the one on disk."""

    def read(self, table: str) -> Mapping[str, bytes]:
        """All rows of a table."""
        ...

    def write(self, changes: Iterable[Change]) -> None:
        """All of them or none; when it returns they outlive a crash."""
        ...

    def destroy(self) -> None:
        """Everything, for good. Nothing may be read or written afterwards."""
        ...


class MemoryStore:
    """The twin in memory."""

    def __init__(self) -> None:
        self._tables: dict[str, dict[str, bytes]] = {}

    def read(self, table: str) -> Mapping[str, bytes]:
        return dict(self._tables.get(table, {}))

    def write(self, changes: Iterable[Change]) -> None:
        for table, key, value in changes:
            rows = self._tables.setdefault(table, {})
            if value is None:
                rows.pop(key, None)
            else:
                rows[key] = value

    def destroy(self) -> None:
        self._tables.clear()
