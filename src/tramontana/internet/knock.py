"""Datagrams beside the tunnels that look like WireGuard's cookie replies: knocks, and scouts with their echoes (docs/protocols.md).

A site never begins a flow with a cookie reply, so the first packet of a flow tells a gateway whose it is: by its fifth octet the rules of
the gateway lead the flow to the tunnel of that uplink, all of which share port 443, or to the agent that answers scouts. Everything that
follows goes the same way in the kernel.
"""

from __future__ import annotations

import hmac
import struct
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

from tramontana.errors import RemoteError
from tramontana.internet.checksum import internet_checksum

TYPE: Final = b"\x03\x00\x00\x00"
"""WireGuard's type of a cookie reply."""
LENGTH: Final = 64
"""Of a cookie reply."""
SCOUT_INDEX: Final = 0
NONCE_OCTETS: Final = 16
_CONTEXTS: Final = (b"tramontana scout 1\x00", b"tramontana scout echo 1\x00")
_HEAD: Final = len(TYPE) + 4 + NONCE_OCTETS
_PROOF_OCTETS: Final = 32
UDP_HEADER: Final = 8
UDP_PROTOCOL: Final = 17


class NotAScout(RemoteError):
    """A datagram at the port for scouts that is none, or of somebody who does not know the organisation; it is not answered."""


@dataclass(frozen=True, slots=True)
class ScoutKey:
    """What both ends know: the organisation, and which gateway is asked."""

    fingerprint: bytes
    gateway_id: str

    def scout(self, nonce: bytes, length: int = LENGTH) -> bytes:
        """nonce: 16 random octets; length: of the datagram, at least 64."""
        return self._encode(0, nonce, length)

    def echo(self, scout: bytes) -> bytes:
        """The answer to a scout: as long as it, so that it shows the way back as well. Raises `NotAScout`."""
        return self._encode(1, self._parse(0, scout), len(scout))

    def parse_echo(self, datagram: bytes) -> bytes:
        """The nonce of the scout that it answers. Raises `NotAScout`."""
        return self._parse(1, datagram)

    def _encode(self, which: int, nonce: bytes, length: int) -> bytes:
        head = TYPE + bytes((SCOUT_INDEX, 0, 0, 0)) + nonce
        return (head + self._proof(which, nonce, length)).ljust(length, b"\x00")

    def _parse(self, which: int, datagram: bytes) -> bytes:
        nonce, proof = datagram[_HEAD - NONCE_OCTETS : _HEAD], datagram[_HEAD : _HEAD + _PROOF_OCTETS]
        if len(datagram) < LENGTH or datagram[:5] != TYPE + bytes((SCOUT_INDEX,)):
            raise NotAScout("a datagram that is no scout")
        if not hmac.compare_digest(proof, self._proof(which, nonce, len(datagram))):
            raise NotAScout("a scout of somebody who does not know the organisation, or asks for another gateway")
        return nonce

    def _proof(self, which: int, nonce: bytes, length: int) -> bytes:
        what = _CONTEXTS[which] + bytes.fromhex(self.gateway_id) + nonce + length.to_bytes(2, "big")
        return hmac.digest(self.fingerprint, what, "sha256")


def knock(uplink: int, random: bytes) -> bytes:
    """Before the first packet of a tunnel at port 443: whose flow it is. random: 59 octets."""
    return TYPE + bytes((uplink,)) + random


def udp_segment(source: tuple[str, int], target: tuple[str, int], payload: bytes) -> bytes:
    """A UDP datagram with its header and checksum, for a raw socket (RFC 768; RFC 8200 §8.1)."""
    length = UDP_HEADER + len(payload)
    first, second = ip_address(source[0]).packed, ip_address(target[0]).packed
    pseudo = first + second + (struct.pack("!HH", UDP_PROTOCOL, length) if len(first) == 4 else struct.pack("!IxxxB", length, UDP_PROTOCOL))
    summed = pseudo + struct.pack("!HHHH", source[1], target[1], length, 0) + payload
    return struct.pack("!HHHH", source[1], target[1], length, internet_checksum(summed) or 0xFFFF) + payload
