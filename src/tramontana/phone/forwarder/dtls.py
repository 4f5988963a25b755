"""The forwarder's end of a DTLS-SRTP handshake (RFC 5763, RFC 5764): datagrams in, datagrams and SRTP keys out.

OpenSSL does the work between two memory buffers. For retransmissions it keeps its own clock; `next_timeout_s` tells when to call.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

import pylibsrtp
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import SSL

MAX_DATAGRAM_BYTES: Final = 1200
"""Fits every path that a call fits; certificates are sent in fragments."""
CERTIFICATE_DAYS: Final = 30
"""A process that runs longer is replaced by draining; browsers look at the fingerprint only."""
EXPORTER_LABEL: Final = b"EXTRACTOR-dtls_srtp"  # RFC 5764 §4.2
CIPHERS: Final = b"ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-CHACHA20-POLY1305"
_RECORD_HEADER_BYTES: Final = 13  # RFC 6347 §4.1


@dataclass(frozen=True, slots=True)
class SrtpProfile:
    """A protection profile (RFC 5764 §4.1.2, RFC 7714 §14.2)."""

    number: int
    key_bytes: int
    salt_bytes: int


PROFILES: Final = {
    b"SRTP_AEAD_AES_256_GCM": SrtpProfile(pylibsrtp.Policy.SRTP_PROFILE_AEAD_AES_256_GCM, 32, 12),
    b"SRTP_AEAD_AES_128_GCM": SrtpProfile(pylibsrtp.Policy.SRTP_PROFILE_AEAD_AES_128_GCM, 16, 12),
    b"SRTP_AES128_CM_SHA1_80": SrtpProfile(pylibsrtp.Policy.SRTP_PROFILE_AES128_CM_SHA1_80, 16, 14),
}


class DtlsCertificate:
    """A self-signed certificate of one process; phones know it by the fingerprint in the answer (RFC 8122 §5)."""

    def __init__(self, now: datetime) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, secrets.token_hex(16))])
        self._certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self._key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=CERTIFICATE_DAYS))
            .sign(self._key, hashes.SHA256())
        )

    @classmethod
    def at(cls, unix_s: float) -> DtlsCertificate:
        """A new one, valid from a day before that instant."""
        return cls(datetime.fromtimestamp(unix_s, UTC))

    @property
    def fingerprint(self) -> str:
        """SHA-256 in the notation of SDP."""
        return self._certificate.fingerprint(hashes.SHA256()).hex(":").upper()

    def context(self) -> SSL.Context:
        """What every handshake of this process has in common."""
        context = SSL.Context(SSL.DTLS_SERVER_METHOD)
        context.set_options(SSL.OP_NO_TICKET | SSL.OP_NO_RENEGOTIATION)
        # The peer's certificate is self-signed as well: what it must be stands in the offer, and `DtlsServer` compares.
        context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, lambda *_: True)
        context.use_certificate(self._certificate)
        context.use_privatekey(self._key)
        context.set_cipher_list(CIPHERS)
        context.set_tlsext_use_srtp(b":".join(PROFILES))
        return context


@dataclass(frozen=True, slots=True)
class SrtpKeys:
    """Master keys with their salts, by direction."""

    profile: SrtpProfile
    from_phone: bytes = field(repr=False)
    to_phone: bytes = field(repr=False)

    def inbound(self) -> pylibsrtp.Session:
        return self._session(self.from_phone, pylibsrtp.Policy.SSRC_ANY_INBOUND)

    def outbound(self) -> pylibsrtp.Session:
        return self._session(self.to_phone, pylibsrtp.Policy.SSRC_ANY_OUTBOUND)

    def _session(self, key: bytes, direction: int) -> pylibsrtp.Session:
        policy = pylibsrtp.Policy(key=key, ssrc_type=direction, srtp_profile=self.profile.number)
        policy.window_size = 1024
        return pylibsrtp.Session(policy)


class DtlsServer:
    """One handshake. `keys` is set once the peer has proved to hold the certificate that its offer named; `failed` ends it."""

    def __init__(self, context: SSL.Context, peer_fingerprint: bytes) -> None:
        self._connection = SSL.Connection(context, None)
        self._connection.set_accept_state()
        self._connection.set_ciphertext_mtu(MAX_DATAGRAM_BYTES)
        self._peer_fingerprint = peer_fingerprint
        self.keys: SrtpKeys | None = None
        self.failed = False

    def handle_datagram(self, data: bytes) -> list[bytes]:
        """Take a DTLS datagram; gives what to send. Never raises on foreign input."""
        if self.failed:
            return []
        try:
            self._connection.bio_write(data)
            if self.keys is None:
                self._connection.do_handshake()
                self._finish()
            else:
                self._connection.recv(1 << 14)  # alerts, and a last flight that got lost; there is no other data
        except SSL.WantReadError:
            pass
        except (SSL.ZeroReturnError, SSL.SysCallError, SSL.Error):
            self.failed = True
        return self._outgoing()

    def _finish(self) -> None:
        certificate = self._connection.get_peer_certificate(as_cryptography=True)
        profile = PROFILES.get(self._connection.get_selected_srtp_profile())
        if certificate is None or profile is None or certificate.fingerprint(hashes.SHA256()) != self._peer_fingerprint:
            self.failed = True
            return
        key, salt = profile.key_bytes, profile.salt_bytes
        material = self._connection.export_keying_material(EXPORTER_LABEL, 2 * (key + salt))
        # RFC 5764 §4.2: client key, server key, client salt, server salt; the phone is the client.
        client = material[:key] + material[2 * key : 2 * key + salt]
        server = material[key : 2 * key] + material[2 * key + salt :]
        self.keys = SrtpKeys(profile, client, server)

    def next_timeout_s(self) -> float | None:
        """After how many seconds `handle_timer` is due, or None."""
        if self.failed or self.keys is not None:
            return None
        return self._connection.DTLSv1_get_timeout()

    def handle_timer(self) -> list[bytes]:
        """Send the last flight again if its answer is late (RFC 6347 §4.2.4)."""
        if not self.failed:
            try:
                self._connection.DTLSv1_handle_timeout()
            except SSL.Error:
                self.failed = True
        return self._outgoing()

    def _outgoing(self) -> list[bytes]:
        try:
            flight = self._connection.bio_read(1 << 16)
        except SSL.WantReadError:
            return []
        return list(_datagrams(flight))


def _datagrams(flight: bytes) -> Iterator[bytes]:
    """Cut what OpenSSL wrote, whole records after each other, into datagrams (RFC 6347 §4.1.1)."""
    begin = offset = 0
    while offset < len(flight):
        end = offset + _RECORD_HEADER_BYTES + int.from_bytes(flight[offset + 11 : offset + 13], "big")
        if end - begin > MAX_DATAGRAM_BYTES and offset > begin:
            yield flight[begin:offset]
            begin = offset
        offset = end
    if begin < len(flight):
        yield flight[begin:]
