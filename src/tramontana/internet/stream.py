"""What goes through TLS at port 443 where a network lets nothing else through: a control channel, or a tunnel's datagrams.

TLS is a hull here: keys, packets and control messages inside are protected by themselves. The gateway makes a key and a certificate at
each start; once a site has shown that it knows the organisation, the gateway shows its device certificate and signs which TLS certificate
is its own, so that a site takes no other end for it, and a stranger who connects learns nothing (docs/protocols.md).
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tramontana.errors import RemoteError
from tramontana.internet.overlay import MAX_UPLINK_INDEX
from tramontana.internet.tunnel_keys import Identity, Trust, check_standing
from tramontana.keys.certificate import UnverifiedCertificate
from tramontana.keys.identity import SignatureRefused, encode_statement, verify_signature
from tramontana.keys.refused import Refused

CONTROL: Final = 0
"""Purpose of a stream that carries a control channel; 1 to 15: the datagrams of that uplink's tunnel."""
_OPENING_CONTEXT: Final = b"tramontana stream 2\x00"
_TLS_CONTEXT: Final = "tramontana gateway tls 2"
RANDOM_OCTETS: Final = 32
OPENING_OCTETS: Final = 1 + RANDOM_OCTETS + 32
SIGNATURE_OCTETS: Final = 64
LONGEST_CERTIFICATE: Final = 16_384
MOST_WAITING: Final = 65_536
"""Octets that wait to be sent. What comes while more wait is dropped: a packet that is late is worth less than none."""
CERTIFICATE_DAYS: Final = 3650
"""Nobody looks at it: what counts is who signed for this certificate."""


class StreamRefused(RemoteError):
    """The other end of a TLS connection is not who it should be, or sent what it may not; the connection was closed."""


@dataclass(frozen=True, slots=True)
class Opening:
    """The first words of a site in the stream."""

    purpose: int
    random: bytes

    def encode(self, fingerprint: bytes, gateway_id: str, tls_certificate: bytes) -> bytes:
        """tls_certificate: as the gateway's end showed it, DER: another end cannot hand these words on."""
        return bytes((self.purpose,)) + self.random + _proof(fingerprint, gateway_id, self.purpose, self.random, tls_certificate)


def parse_opening(data: bytes, fingerprint: bytes, gateway_id: str, tls_certificate: bytes) -> Opening:
    """tls_certificate: the gateway's own. Raises `StreamRefused`."""
    purpose, random, proof = data[0], data[1 : 1 + RANDOM_OCTETS], data[1 + RANDOM_OCTETS :]
    right = _proof(fingerprint, gateway_id, purpose, random, tls_certificate)
    if len(data) != OPENING_OCTETS or not hmac.compare_digest(proof, right):
        raise StreamRefused("somebody who does not know the organisation, or asks for another gateway")
    if purpose > MAX_UPLINK_INDEX:
        raise StreamRefused(f"a stream for an unknown purpose {purpose}; the other end may be newer")
    return Opening(purpose, random)


def _proof(fingerprint: bytes, gateway_id: str, purpose: int, random: bytes, tls_certificate: bytes) -> bytes:
    shown = hashlib.sha256(tls_certificate).digest()
    return hmac.digest(fingerprint, _OPENING_CONTEXT + bytes.fromhex(gateway_id) + bytes((purpose,)) + random + shown, "sha256")


def answer(own: Identity, opening: Opening, tls_certificate: bytes) -> bytes:
    """The gateway's first words: its certificate with its length in 2 octets, and its signature over its TLS certificate."""
    encoded = own.certificate.encoded
    statement = _statement(own.device_id, opening, tls_certificate)
    return len(encoded).to_bytes(2, "big") + encoded + own.key.sign(statement)


def check_answer(
    certificate: bytes, signature: bytes, opening: Opening, tls_certificate: bytes, gateway_id: str, trust: Trust, now: float
) -> None:
    """tls_certificate: as the other end of the connection showed it, DER. Raises `StreamRefused`, `Refused`."""
    given = UnverifiedCertificate(certificate).verify(trust.root)
    try:
        check_standing(given, trust, "gateway", now)
    except Refused as refused:  # the rest of the log may have to come through this very stream
        if refused.reason not in ("not_logged", "superseded"):
            raise
    if given.grant.device_id != gateway_id:
        raise StreamRefused("the other end is another gateway than the one that was asked for")
    try:
        verify_signature(given.grant.signature_public_key, signature, _statement(gateway_id, opening, tls_certificate))
    except SignatureRefused as error:
        raise StreamRefused("the TLS connection does not end at the gateway: somebody stands between") from error


def _statement(gateway_id: str, opening: Opening, tls_certificate: bytes) -> bytes:
    """Over the certificate as it came: a stranger's is never parsed."""
    return encode_statement(_TLS_CONTEXT, (gateway_id.encode(), hashlib.sha256(tls_certificate).digest(), opening.random))


def make_tls_certificate(now: float) -> tuple[bytes, bytes]:
    """(PEM of key and certificate, DER of the certificate): of a key that lives as long as the process."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([])
    begin = datetime.fromtimestamp(now, UTC) - timedelta(days=1)
    builder = x509.CertificateBuilder(
        name, name, key.public_key(), x509.random_serial_number(), begin, begin + timedelta(days=CERTIFICATE_DAYS)
    )
    made = builder.sign(key, hashes.SHA256())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + made.public_bytes(Encoding.PEM)
    return pem, made.public_bytes(Encoding.DER)


def frame(datagram: bytes) -> bytes:
    """A datagram in the stream. An empty one asks whether the other end is there, and is answered by an empty one."""
    return len(datagram).to_bytes(2, "big") + datagram


class DatagramReader:
    """Octets of the stream in, whole datagrams out."""

    def __init__(self) -> None:
        self._unread = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        self._unread += data
        found, at = [], 0
        while at + 2 <= len(self._unread) and (end := at + 2 + int.from_bytes(self._unread[at : at + 2], "big")) <= len(self._unread):
            found.append(bytes(self._unread[at + 2 : end]))
            at = end
        del self._unread[:at]
        return found
