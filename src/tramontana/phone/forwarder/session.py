"""One phone's connection to the forwarder: ICE-lite credentials, DTLS, and SRTP in both directions."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Final

import pylibsrtp
from OpenSSL import SSL

from tramontana.phone.forwarder.dtls import DtlsServer
from tramontana.phone.forwarder.rtp import MalformedRtp, Reception, RtpPacket, parse_rtp, ssrc_of
from tramontana.phone.forwarder.sdp import Offer
from tramontana.phone.stun import Address

CONSENT_S: Final = 30.0  # RFC 7675 §5.1
PACKETS_A_SECOND: Final = 150.0
"""A phone sends 50; the rest is for what a held path releases at once."""
PACKETS_AT_ONCE: Final = 300.0
MAX_SOURCES: Final = 8
"""SSRCs that one connection may use in its life: each costs libsrtp a replay window."""
FIRST_SEQUENCE: Final = 1000
"""Well below 2¹⁵: so a loss at the start cannot put the receiver's rollover counter wrong (RFC 3711 §3.3.1)."""


@dataclass(slots=True)
class Feed:
    """How the packets of one slot are numbered for one listener, who misses some (his own), so that he sees no gap."""

    generation: int = -1
    shift: int = 0
    """Subtracted from the slot's extended sequence numbers."""
    last: int = FIRST_SEQUENCE - 1
    packets: int = 0
    octets: int = 0


class Session:
    """One connection. `now` is monotonic throughout."""

    def __init__(self, device_id: str, *, may_speak: bool, offer: Offer, slots: int, dtls_context: SSL.Context, now: float) -> None:
        self.device_id = device_id
        self.may_speak = may_speak
        self.offer = offer
        self.made_at = self.checked_at = now
        self.ufrag = self.password = ""
        self.renew_credentials()
        self.address: Address | None = None
        self.dtls = DtlsServer(dtls_context, offer.fingerprint)
        self.feeds = [Feed() for _ in range(slots)]
        """One for each slot that the phone receives."""
        self.receptions: dict[int, Reception] = {}
        self.reported_loss: float | None = None
        """Share of the packets to this phone that its last report missed."""
        self.round_trip_s: float | None = None
        self.discarded = 0
        self.outbound: pylibsrtp.Session | None = None
        """SRTP to the phone, once the handshake is over."""
        self._inbound: pylibsrtp.Session | None = None
        self._tokens = PACKETS_AT_ONCE
        self._tokens_at = now

    def renew_credentials(self) -> None:
        """New ICE credentials (RFC 8445 §5.3: at least 24 and 128 bits)."""
        self.ufrag, self.password = secrets.token_hex(8), secrets.token_hex(16)

    @property
    def is_open(self) -> bool:
        """Whether media can flow."""
        return self.outbound is not None and self.address is not None

    def open(self) -> bool:
        """Take the keys of a finished handshake. True if that was now."""
        if self.outbound is not None or self.dtls.keys is None:
            return False
        self.outbound, self._inbound = self.dtls.keys.outbound(), self.dtls.keys.inbound()
        return True

    def take_token(self, now: float) -> bool:
        """Whether one more packet is within the rate."""
        self._tokens = min(PACKETS_AT_ONCE, self._tokens + (now - self._tokens_at) * PACKETS_A_SECOND)
        self._tokens_at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def unprotect_rtp(self, datagram: bytes, now: float) -> RtpPacket:
        """Open the hop's protection; the payload stays sealed. Raises `MalformedRtp` or `pylibsrtp.Error`."""
        if self._inbound is None:
            raise MalformedRtp("no keys yet")
        ssrc = ssrc_of(datagram)
        reception = self.receptions.get(ssrc)
        if reception is None and len(self.receptions) >= MAX_SOURCES:
            raise MalformedRtp("too many sources")
        packet = parse_rtp(self._inbound.unprotect(datagram), self.offer.sections[0].level_id)
        if reception is None:
            reception = self.receptions[ssrc] = Reception(ssrc)
        reception.heard(packet, now)
        return packet

    def unprotect_rtcp(self, datagram: bytes) -> bytes:
        """Raises `MalformedRtp` or `pylibsrtp.Error`."""
        if self._inbound is None:
            raise MalformedRtp("no keys yet")
        return self._inbound.unprotect_rtcp(datagram)

    def protect_rtcp(self, packet: bytes) -> bytes:
        """Of an open session only."""
        assert self.outbound is not None
        return self.outbound.protect_rtcp(packet)
