"""The short code that both sides of a call can compare (docs/protocols.md, "Short code")."""

from __future__ import annotations

import hashlib
import hmac

from tramontana.keys.mls.outcomes import EpochKeys

COMMITMENT_LABEL = b"tramontana short code 1\x00"
EXPORTER_LABEL = "tramontana short code"


def commit_to(nonce: bytes) -> bytes:
    """What the caller sends before he sees the callee's nonce."""
    return hashlib.sha256(COMMITMENT_LABEL + nonce).digest()


def reveal_matches(commitment: bytes, nonce: bytes) -> bool:
    return hmac.compare_digest(commit_to(nonce), commitment)


def short_code(keys: EpochKeys, call_id: str, caller_nonce: bytes, callee_nonce: bytes) -> str:
    """Six digits, the same at both ends."""
    exported = keys.export(EXPORTER_LABEL, bytes.fromhex(call_id) + caller_nonce + callee_nonce, 4)
    return f"{int.from_bytes(exported, 'big') % 1_000_000:06d}"
