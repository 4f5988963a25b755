"""Named sets of algorithms. The root of an organisation names its profile, and the root's hash pins it: nobody can talk a client down.

Each says what it lacks against the rule that it is named after, so that nobody takes a name for a conformity.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from cryptography.hazmat.primitives.asymmetric.mldsa import (
    MLDSA65PrivateKey,
    MLDSA65PublicKey,
    MLDSA87PrivateKey,
    MLDSA87PublicKey,
)

from tramontana.keys.refused import Refused


@dataclass(frozen=True, slots=True)
class Profile:
    """What an organisation's statements are signed with, besides Ed25519; both signatures must verify."""

    name: str
    summary: str
    ml_dsa: str
    """Parameter set of FIPS 204."""
    public_key_bytes: int
    signature_bytes: int
    private_key: type[MLDSA65PrivateKey] | type[MLDSA87PrivateKey]
    public_key: type[MLDSA65PublicKey] | type[MLDSA87PublicKey]
    lacks: tuple[str, ...]


_CONVERSATIONS = (
    "conversations use MLS suite 0xF002: X-Wing (ML-KEM-768 + X25519), AES-256-GCM, SHA-384, and Ed25519 alone for signatures of messages"
)
_NOT_VALIDATED = "the implementations are not validated (FIPS 140-3, Common Criteria)"

PROFILES: Mapping[str, Profile] = MappingProxyType(
    {
        profile.name: profile
        for profile in (
            Profile(
                "hybrid-1",
                "Ed25519 and ML-DSA-65 together: holds while either holds",
                "ML-DSA-65",
                1952,  # FIPS 204 table 2
                3309,
                MLDSA65PrivateKey,
                MLDSA65PublicKey,
                (_CONVERSATIONS, _NOT_VALIDATED),
            ),
            Profile(
                "cnsa-2.0-like-1",
                "ML-DSA-87 as CNSA 2.0 asks for, with Ed25519 beside it",
                "ML-DSA-87",
                2592,  # FIPS 204 table 2
                4627,
                MLDSA87PrivateKey,
                MLDSA87PublicKey,
                (
                    f"CNSA 2.0 asks for ML-KEM-1024 and ML-DSA-87 everywhere; here {_CONVERSATIONS}",
                    "CNSA 2.0 asks for SHA-384 or SHA-512; the log's tree and the statements' digests are SHA-256",
                    _NOT_VALIDATED,
                ),
            ),
            Profile(
                "bsi-anssi-like-1",
                "ML-DSA-87 with Ed25519: hybrid, and the larger parameters that ANSSI prefers",
                "ML-DSA-87",
                2592,
                4627,
                MLDSA87PrivateKey,
                MLDSA87PublicKey,
                (
                    f"BSI TR-02102-1 and ANSSI ask for hybrid signatures too where they must last; here {_CONVERSATIONS}",
                    "X-Wing is a combiner of its own, in no catalogue of BSI; neither FrodoKEM nor Classic McEliece is offered",
                    _NOT_VALIDATED,
                ),
            ),
        )
    }
)
DEFAULT_PROFILE = "hybrid-1"


def find_profile(name: str) -> Profile:
    """The profile of that name. Raises `Refused` (`unknown_profile`)."""
    try:
        return PROFILES[name]
    except KeyError:
        known = ", ".join(PROFILES)
        raise Refused(
            "unknown_profile", f"the organisation's profile {name!r} is not known here (known: {known}); update this client"
        ) from None
