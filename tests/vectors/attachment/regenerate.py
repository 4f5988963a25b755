"""Makes `vectors.json`: sealed attachments, from the definition in docs/protocols.md and `cryptography` alone.

Nothing of this project is imported, so that the vectors can disagree with it. Chunks are given as their length and SHA-256, small ones
in full.
"""

import json
import math
from base64 import b64encode
from hashlib import sha256
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

CHUNK = 131_072
SIZES = [0, 1, 1023, 1024, 1025, 4000, 131_072, 131_073, 300_001]
PADDED = [*SIZES, 65_537, 1_000_000, 33_554_432]


def field(value: bytes) -> bytes:
    return len(value).to_bytes(2, "big") + value


def padme(size: int) -> int:
    """Nikitin et al., "Reducing Metadata Leakage from Encrypted Files and Communication with PURBs", PoPETs 2019, algorithm 1."""
    size = max(size, 1024)
    exponent = math.floor(math.log2(size))
    significant = math.floor(math.log2(exponent)) + 1
    step = 1 << (exponent - significant)
    return math.ceil(size / step) * step


def content(size: int) -> bytes:
    """Octets that anybody can make."""
    return bytes((i * 7 + (i >> 8)) & 0xFF for i in range(size))


def sealed(key: bytes, attachment_id: bytes, plaintext: bytes) -> list[bytes]:
    padded = plaintext + bytes(padme(len(plaintext)) - len(plaintext))
    count = math.ceil(len(padded) / CHUNK)
    chunks = []
    for index in range(count):
        numbers = field(index.to_bytes(8, "big")) + field(count.to_bytes(8, "big"))
        additional = b"tramontana attachment chunk 1\x00" + field(attachment_id) + numbers
        chunks.append(AESGCM(key).encrypt(index.to_bytes(12, "big"), padded[index * CHUNK : (index + 1) * CHUNK], additional))
    return chunks


def main() -> None:
    attachments = []
    for size in SIZES:
        key, attachment_id = sha256(b"key %d" % size).digest(), sha256(b"id %d" % size).digest()[:16]
        plaintext = content(size)
        chunks = sealed(key, attachment_id, plaintext)
        attachments.append(
            {
                "attachment_id": attachment_id.hex(),
                "key": b64encode(key).decode(),
                "size": size,
                "sha256": b64encode(sha256(plaintext).digest()).decode(),
                "chunks": [
                    {"octets": len(chunk), "sha256": b64encode(sha256(chunk).digest()).decode()}
                    | ({"sealed": b64encode(chunk).decode()} if len(chunk) < 1100 else {})
                    for chunk in chunks
                ],
            }
        )
    vectors = {"padded": [[size, padme(size)] for size in PADDED], "attachments": attachments}
    (Path(__file__).parent / "vectors.json").write_text(json.dumps(vectors, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
