"""Login challenges without a table that strangers could fill: random, authenticated, for one device, 60 s, single use.

A challenge is `nonce (16) ‖ expiry (8, milliseconds) ‖ HMAC-SHA-256 (32)` under a key of this process: handing one out stores nothing
and says nothing about whether the device exists. Only challenges that a *correct* signature used up are remembered, until they expire.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets

CHALLENGE_LIFETIME_S = 60.0
_NONCE = 16
_EXPIRY = 8


class Challenges:
    """Hands out challenges and checks them."""

    def __init__(self, key: bytes | None = None) -> None:
        self._key = key or secrets.token_bytes(32)
        self._used: dict[bytes, float] = {}

    def __repr__(self) -> str:
        return f"Challenges({len(self._used)} used)"

    def _tag(self, device_id: str, head: bytes) -> bytes:
        return hmac.new(self._key, head + device_id.encode(), hashlib.sha256).digest()

    def make(self, device_id: str, now: float) -> tuple[bytes, float]:
        """A challenge for a device that may or may not exist, and when it expires."""
        expires_ms = round((now + CHALLENGE_LIFETIME_S) * 1000)
        head = secrets.token_bytes(_NONCE) + expires_ms.to_bytes(_EXPIRY, "big")
        return head + self._tag(device_id, head), expires_ms / 1000

    def is_open(self, device_id: str, challenge: bytes, now: float) -> bool:
        """Whether the challenge was made here for this device, is in time and unused."""
        head = challenge[: _NONCE + _EXPIRY]
        if not hmac.compare_digest(challenge[_NONCE + _EXPIRY :], self._tag(device_id, head)):
            return False
        return now < int.from_bytes(head[_NONCE:], "big") / 1000 and challenge not in self._used

    def use_up(self, challenge: bytes, now: float) -> None:
        """Remember a challenge that a correct signature answered. Call only after `is_open`, with no await in between."""
        self._used = {used: expiry for used, expiry in self._used.items() if expiry > now}
        self._used[challenge] = now + CHALLENGE_LIFETIME_S
