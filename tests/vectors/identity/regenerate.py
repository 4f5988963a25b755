"""Makes `vectors.json`: statements of an organisation and proofs of a log, from the definitions and `cryptography` alone.

Nothing of this project is imported, so that the vectors can disagree with it. Keys come from fixed seeds; ML-DSA-65 signs with fresh
randomness (FIPS 204 §3.4), so a new run gives other signatures over the same statements. The Merkle hashes and proofs follow the
recursive definitions of RFC 9162 §2.1.1, §2.1.3.1 and §2.1.4.1, which verifiers do not use.
"""

import json
from base64 import b32encode, b64encode
from hashlib import sha256
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey

CREATED = 1_790_000_000
DAY = 86_400
LOG_ENTRIES = 19


def field(value: bytes) -> bytes:
    return len(value).to_bytes(2, "big") + value


def statement(context: str, *fields: str | int | bytes) -> bytes:
    return context.encode() + b"\x00" + b"".join(field(encoded(value)) for value in fields)


def encoded(value: str | int | bytes) -> bytes:
    if isinstance(value, str):
        return value.encode()
    return value.to_bytes(8, "big") if isinstance(value, int) else value


def hex_id(name: str) -> str:
    return sha256(name.encode()).hexdigest()[:32]


def mth(leaves: list[bytes]) -> bytes:
    """RFC 9162 §2.1.1."""
    if not leaves:
        return sha256().digest()
    if len(leaves) == 1:
        return sha256(b"\x00" + leaves[0]).digest()
    k = largest_power_below(len(leaves))
    return sha256(b"\x01" + mth(leaves[:k]) + mth(leaves[k:])).digest()


def largest_power_below(n: int) -> int:
    return 1 << ((n - 1).bit_length() - 1)


def subproof(m: int, leaves: list[bytes], whole: bool) -> list[bytes]:
    """RFC 9162 §2.1.4.1."""
    n = len(leaves)
    if m == n:
        return [] if whole else [mth(leaves)]
    k = largest_power_below(n)
    if m <= k:
        return [*subproof(m, leaves[:k], whole), mth(leaves[k:])]
    return [*subproof(m - k, leaves[k:], False), mth(leaves[:k])]


class Signer:
    def __init__(self, name: str) -> None:
        self.ed25519 = Ed25519PrivateKey.from_private_bytes(sha256(f"{name} ed25519".encode()).digest())
        self.mldsa = MLDSA65PrivateKey.from_seed_bytes(sha256(f"{name} ml-dsa-65".encode()).digest())

    def sign(self, message: bytes) -> bytes:
        return field(message) + field(self.ed25519.sign(message)) + field(self.mldsa.sign(message))

    def root(self, name: str, profile: str) -> bytes:
        ed25519, mldsa = self.ed25519.public_key().public_bytes_raw(), self.mldsa.public_key().public_bytes_raw()
        return statement("tramontana organisation 1", name, ed25519, mldsa, profile, CREATED)


def device_code(fingerprint: bytes, signature_public_key: bytes) -> str:
    digest = sha256(statement("tramontana device code 1", fingerprint, signature_public_key)).digest()
    characters = b32encode(digest).decode()[:16]
    return " ".join(characters[at : at + 4] for at in range(0, 16, 4))


def main() -> None:
    signer = Signer("organisation")
    root = signer.root("Ministry of Examples", "hybrid-1")
    organisation_id = sha256(root).hexdigest()[:32]
    device_key = Ed25519PrivateKey.from_private_bytes(sha256(b"device").digest()).public_key().public_bytes_raw()

    def certificate(
        serial: str,
        roles: str = "custodian,member",
        ceiling: str = "flash",
        approvers: str = f"{min(hex_id('a'), hex_id('b'))},{max(hex_id('a'), hex_id('b'))}",
        key: bytes = device_key,
        not_after: int = CREATED + 365 * DAY,
        organisation: str = organisation_id,
        name: str = "Ada",
        unit: str = "Coast guard",
    ) -> bytes:
        who = (hex_id("account"), hex_id("device"), key, name, unit, roles, ceiling)
        return statement("tramontana device certificate 1", organisation, hex_id(serial), *who, CREATED, not_after, approvers)

    # Sound signatures over statements that no verifier may accept.
    refused = {
        "roles out of order": certificate("x", roles="member,custodian"),
        "a role twice": certificate("x", roles="member,member"),
        "an unknown role": certificate("x", roles="admiral"),
        "an unknown precedence": certificate("x", ceiling="urgent"),
        "an approver that is no id": certificate("x", approvers="Ada"),
        "a short device key": certificate("x", key=device_key[:31]),
        "never valid": certificate("x", not_after=CREATED),
        "another organisation": certificate("x", organisation="0" * 32),
        "no name": certificate("x", name=""),
        "no role": certificate("x", roles=""),
        "a comma in the unit": certificate("x", unit="Coast guard, north"),
        "a space at the end of the name": certificate("x", name="Ada "),
        "a name of 65 characters": certificate("x", name="A" * 65),
        "a control character in the name": certificate("x", name="Ada\x07"),
        "a field too many": certificate("x") + field(b""),
        "a byte too many": certificate("x") + b"\x00",
        "a field too few": certificate("x")[: -len(field(f"{hex_id('a')},{hex_id('b')}".encode()))],
        "another context": certificate("x").replace(b"certificate 1", b"certificate 2"),
    }

    revoked = (hex_id("first"), hex_id("device"))
    log_private = Ed25519PrivateKey.from_private_bytes(sha256(b"log").digest())
    log_public = log_private.public_key().public_bytes_raw()
    sizes = range(LOG_ENTRIES + 1)
    entries = [f"entry {i}".encode() for i in range(LOG_ENTRIES)]

    def head(size: int, root_hash: bytes) -> dict[str, object]:
        log_id, at = sha256(log_public).digest(), CREATED + size
        signature = log_private.sign(statement("tramontana tree head 1", log_id, size, root_hash, at))
        return {"log_id": log_id, "tree_size": size, "root_hash": root_hash, "at": at, "signature": signature}

    vectors = {
        "organisation": {
            "id": organisation_id,
            "name": "Ministry of Examples",
            "profile": "hybrid-1",
            "created_unix_s": CREATED,
            "fingerprint": sha256(root).digest(),
            "signed_root": signer.sign(root),
            "unknown_profile_root": signer.sign(signer.root("Ministry of Examples", "classical-1")),
            "device_code": device_code(sha256(root).digest(), device_key),
            "foreign_root": Signer("foreign").sign(Signer("foreign").root("Ministry of Examples", "hybrid-1")),
        },
        "certificate": {
            "claims": {
                "serial": hex_id("first"),
                "account_id": hex_id("account"),
                "device_id": hex_id("device"),
                "signature_public_key": device_key,
                "display_name": "Ada",
                "unit": "Coast guard",
                "roles": ["custodian", "member"],
                "precedence_ceiling": "flash",
                "not_before": CREATED,
                "not_after": CREATED + 365 * DAY,
                "approvers": sorted([hex_id("a"), hex_id("b")]),
            },
            "signed": signer.sign(certificate("first")),
            "founding": signer.sign(certificate("founding", roles="member", ceiling="routine", approvers="")),
            "signed_by_a_foreign_key": Signer("foreign").sign(certificate("first")),
            "refused": {name: signer.sign(message) for name, message in refused.items()},
        },
        "revocation": {
            "serial": hex_id("first"),
            "device_id": hex_id("device"),
            "reason": "lost",
            "revoked_at": CREATED + DAY,
            "signed": signer.sign(statement("tramontana revocation 1", organisation_id, *revoked, "lost", CREATED + DAY)),
        },
        "log": {
            "service_id": hex_id("service"),
            "signed_key": signer.sign(statement("tramontana log key 1", organisation_id, hex_id("service"), log_public, CREATED)),
            "log_id": sha256(log_public).digest(),
            "entries": entries,
            "roots": [mth(entries[:size]) for size in sizes],
            "heads": [head(size, mth(entries[:size])) for size in sizes],
            "consistency": [[subproof(first, entries[:second], True) for first in range(1, second + 1)] for second in sizes],
        },
    }
    target = Path(__file__).with_name("vectors.json")
    target.write_text(json.dumps(vectors, indent=1, default=lambda value: b64encode(value).decode()) + "\n")


if __name__ == "__main__":
    main()
