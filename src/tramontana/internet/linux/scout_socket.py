"""Sockets of the ladder: a site's scouts and knocks in its underlay, and the gateway's answers."""

from __future__ import annotations

import os
import socket
import struct
from contextlib import suppress
from typing import Final

from tramontana.internet.knock import LENGTH, NONCE_OCTETS, NotAScout, ScoutKey, knock, udp_segment
from tramontana.internet.ladder import Rung
from tramontana.internet.linux.namespace import Namespace
from tramontana.internet.overlay import HTTPS_PORT, SCOUT_PORT, WIREGUARD_PORT

LONGEST: Final = 9_216
DATAGRAMS_A_TURN: Final = 64
KNOCKS: Final = 2
"""At once: one may be lost."""
_IP_MTU_DISCOVER: Final = 10  # linux/in.h
_IPV6_MTU_DISCOVER: Final = 23  # linux/in6.h
_PMTUDISC_PROBE: Final = 3  # never fragmented, whatever the kernel believes of the path: ip(7)
_IP_PKTINFO: Final = 8  # linux/in.h
NONCES_KEPT: Final = 256


class ScoutSocket:
    """A site's, towards one gateway over one uplink."""

    def __init__(self, underlay: Namespace, uplink: int, gateway: str, site_port: int, key: ScoutKey) -> None:
        """site_port: from which WireGuard sends. Raises `HostRefused`, `OSError`."""
        self._uplink, self._gateway, self._site_port, self._key = uplink, gateway, site_port, key
        family = socket.AF_INET6 if ":" in gateway else socket.AF_INET
        self._underlay = underlay
        with underlay.entered():
            self.socket = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, uplink)
        if family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER, _PMTUDISC_PROBE)
        else:
            self.socket.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _PMTUDISC_PROBE)
        self._asked: dict[bytes, Rung] = {}

    def scout(self, rung: Rung, length: int = LENGTH) -> None:
        """Ask on a rung of UDP. What does not leave counts as lost."""
        nonce = os.urandom(NONCE_OCTETS)
        self._asked[nonce] = rung
        while len(self._asked) > NONCES_KEPT:
            del self._asked[next(iter(self._asked))]
        port = HTTPS_PORT if rung is Rung.UDP_443 else WIREGUARD_PORT + self._uplink
        try:
            self.socket.sendto(self._key.scout(nonce, length), (self._gateway, port))
        except OSError:
            del self._asked[nonce]

    def answers(self) -> list[tuple[Rung, int]]:
        """(rung, octets of the datagram) of every echo that waits."""
        found = []
        for _ in range(DATAGRAMS_A_TURN):
            try:
                datagram, sender = self.socket.recvfrom(LONGEST)
            except BlockingIOError:
                break
            except OSError:  # an ICMP error of an earlier one
                continue
            try:
                rung = self._asked.pop(self._key.parse_echo(datagram), None)
            except NotAScout:
                continue
            if rung is not None and sender[0] == self._gateway:
                found.append((rung, len(datagram)))
        return found

    def knock(self) -> None:
        """As WireGuard's own packets go at this moment: the rules that lead them lead this."""
        target = (self._gateway, WIREGUARD_PORT + self._uplink)
        family = self.socket.family
        with self._underlay.entered():
            known = socket.socket(family, socket.SOCK_DGRAM)
            raw = socket.socket(family, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.IPPROTO_UDP)
        with known, raw, suppress(OSError):  # no way out at the moment; it is done again
            for each in (known, raw):
                each.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, self._uplink)
            known.connect(target)
            source = known.getsockname()[0]
            for _ in range(KNOCKS):
                segment = udp_segment((source, self._site_port), target, knock(self._uplink, os.urandom(LENGTH - 5)))
                raw.sendto(segment, (self._gateway, 0))

    def close(self) -> None:
        self.socket.close()


class ScoutResponder:
    """A gateway's end, for one family of addresses: it answers whoever knows the organisation, from the address that was asked."""

    def __init__(self, version: int, key: ScoutKey) -> None:
        """Raises `OSError`."""
        self._key, self._version = key, version
        self.socket = socket.socket(socket.AF_INET if version == 4 else socket.AF_INET6, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        if version == 4:
            self.socket.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
            self.socket.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _PMTUDISC_PROBE)
        else:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
            self.socket.setsockopt(socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER, _PMTUDISC_PROBE)
        self.socket.bind(("" if version == 4 else "::", SCOUT_PORT))

    def answer_all(self) -> None:
        """Everything that waits."""
        for _ in range(DATAGRAMS_A_TURN):
            try:
                scout, ancillary, _, sender = self.socket.recvmsg(LONGEST, 256)
            except BlockingIOError:
                return
            except OSError:
                continue
            try:
                self.socket.sendmsg([self._key.echo(scout)], [self._from(ancillary)], 0, sender)
            except (NotAScout, OSError, StopIteration):
                continue

    def _from(self, ancillary: list[tuple[int, int, bytes]]) -> tuple[int, int, bytes]:
        """So that the answer leaves from the address to which the scout was led: in_pktinfo, in6_pktinfo (ip(7), ipv6(7))."""
        level, kind, data = next(each for each in ancillary if each[1] in (_IP_PKTINFO, socket.IPV6_PKTINFO))
        if self._version == 6:
            return level, kind, data
        return level, kind, struct.pack("=I4s4s", 0, data[4:8], data[4:8])
