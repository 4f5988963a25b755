"""Login challenges without a table that strangers could fill: random, authenticated, for one device, 60 s, single use.

A challenge is `nonce (16) ‖ expiry (8, milliseconds) ‖ HMAC-SHA-256 (32)` under a key that the server processes share: handing one out
stores nothing and says nothing about whether the device exists. Only challenges that a *correct* signature used up are remembered, in the
store (`sessions.use_challenge`), until they expire.
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

    def __init__(self, key: bytes) -> None:
        self._key = key

    def __repr__(self) -> str:
        return "Challenges(…)"

    def _tag(self, device_id: str, head: bytes) -> bytes:
        return hmac.new(self._key, head + device_id.encode(), hashlib.sha256).digest()

    def make(self, device_id: str, now: float) -> tuple[bytes, float]:
        """A challenge for a device that may or may not exist, and when it expires."""
        expires_ms = round((now + CHALLENGE_LIFETIME_S) * 1000)
        head = secrets.token_bytes(_NONCE) + expires_ms.to_bytes(_EXPIRY, "big")
        return head + self._tag(device_id, head), expires_ms / 1000

    def is_timely(self, device_id: str, challenge: bytes, now: float) -> bool:
        """Whether the challenge was made here for this device and has not expired. Whether it is unused, the store knows."""
        head = challenge[: _NONCE + _EXPIRY]
        if not hmac.compare_digest(challenge[_NONCE + _EXPIRY :], self._tag(device_id, head)):
            return False
        return now < int.from_bytes(head[_NONCE:], "big") / 1000
