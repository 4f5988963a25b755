"""What can be wrong with the store, as sentences that say what to do."""

from __future__ import annotations

from tramontana.errors import LocalError


class StoreError(LocalError):
    """The store cannot be opened; the message says why and what to do."""


class StoreUnavailable(LocalError):
    """The store cannot be used now (disk full, busy, read-only, restarting). The transaction was rolled back; try again later."""


class StoreConflict(StoreUnavailable):
    """Two transactions got in each other's way and this one was rolled back; the same again may well succeed."""


class StoreInUse(StoreError):
    """Another server holds this data directory or database; stop it first, or choose another one."""
