"""Key packages: what others need to begin a conversation with this device while it is away (RFC 9420 §10)."""

from __future__ import annotations

import json

from tramontana.device.requests import Procedure, Request, b64, unb64
from tramontana.device.store import Change, Store
from tramontana.keys.mls.client import CLOCK_GRACE_S, Client, OwnKeyPackage

TABLE = "key packages"
WANTED = 20
FEWEST = 10
RENEW_BEFORE_END_S = 70 * 86_400
"""New ones replace what is at the server after this, so that none there ever comes near the end of its 12 weeks."""


class KeyPackages:
    """The private halves that a welcome may still need."""

    def __init__(self, client: Client, store: Store) -> None:
        self._client = client
        self._store = store
        self._rows = {key: _Row.parse(value) for key, value in store.read(TABLE).items()}

    @property
    def held(self) -> list[OwnKeyPackage]:
        return [row.package for row in self._rows.values()]

    def replenish(self, now: float) -> Procedure[None]:
        """Make sure that the server has enough. Private halves are stored before the public ones leave."""
        remaining = (yield Request("GET", "/me/key-packages"))["remaining"]
        newest = max((row.not_after for row in self._rows.values()), default=0.0)
        if remaining >= FEWEST and newest - now > RENEW_BEFORE_END_S:
            return
        not_after = now - CLOCK_GRACE_S + self._client.max_lifetime_s
        packages = [self._client.new_key_package(now) for _ in range(WANTED + 1)]
        fresh = {package.reference.hex(): _Row(package, not_after, at == WANTED) for at, package in enumerate(packages)}
        # Older ones may be in a welcome that is under way: they stay until they expire.
        expired = [key for key, row in self._rows.items() if row.not_after < now]
        rows = [Change(TABLE, key, row.encode()) for key, row in fresh.items()]
        self._store.write([*rows, *(Change(TABLE, key, None) for key in expired)])
        self._rows = {**{key: row for key, row in self._rows.items() if key not in expired}, **fresh}
        messages = [b64(package.message) for package in packages]
        yield Request("PUT", "/me/key-packages", {"key_packages": messages[:-1], "last_resort": messages[-1]})

    def spend(self, used: OwnKeyPackage) -> list[Change]:
        """What deletes a used one; the last resort stays, as others may have been given it too. Call `forget` once it is stored."""
        key = used.reference.hex()
        return [] if self._rows[key].is_last_resort else [Change(TABLE, key, None)]

    def forget(self, spent: list[Change]) -> None:
        for change in spent:
            self._rows.pop(change.key, None)


class _Row:
    def __init__(self, package: OwnKeyPackage, not_after: float, is_last_resort: bool) -> None:
        self.package = package
        self.not_after = not_after
        self.is_last_resort = is_last_resort

    def encode(self) -> bytes:
        row = {"package": b64(self.package.serialise()), "not_after": self.not_after, "last_resort": self.is_last_resort}
        return json.dumps(row).encode()

    @classmethod
    def parse(cls, stored: bytes) -> _Row:
        row = json.loads(stored)
        return cls(OwnKeyPackage.restore(unb64(row["package"])), float(row["not_after"]), bool(row["last_resort"]))
