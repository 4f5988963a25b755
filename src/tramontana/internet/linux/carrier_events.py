"""Whether the uplinks' interfaces have a carrier: the kernel tells at once (rtnetlink(7)), mostly; so it is asked for as well."""

from __future__ import annotations

import asyncio
import fcntl
import socket
import struct
from collections.abc import Callable, Sequence
from typing import Final

from tramontana.internet.linux.namespace import Namespace

_RTMGRP_LINK: Final = 1  # rtnetlink(7)
_SIOCGIFFLAGS: Final = 0x8913  # netdevice(7)
_IFF_UP: Final = 0x1
_IFF_RUNNING: Final = 0x40
_IFREQ: Final = "16sh22x"
EVENT_OCTETS: Final = 65_536


class CarrierEvents:
    """The interfaces of one namespace. `changed(interface, up)` is called for each that came or went, and for each at the start."""

    def __init__(self, namespace: Namespace, interfaces: Sequence[str], changed: Callable[[str, bool], None]) -> None:
        """Raises `HostRefused` if the namespace is not there."""
        self._interfaces = interfaces
        self._changed = changed
        self._up: dict[str, bool] = {}
        with namespace.entered():
            self._events = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE)
            self._asked = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._events.bind((0, _RTMGRP_LINK))

    def listen(self) -> None:
        """From now on, in the loop that runs."""
        asyncio.get_running_loop().add_reader(self._events, self._heard)
        self.look()

    def look(self) -> None:
        """Ask for the state of each interface: an event may be late or lost."""
        for interface in self._interfaces:
            up = self._has_carrier(interface)
            if self._up.get(interface) != up:
                self._up[interface] = up
                self._changed(interface, up)

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._events)
        self._events.close()
        self._asked.close()

    def _heard(self) -> None:
        try:
            while self._events.recv(EVENT_OCTETS):
                pass  # which interface it is about does not matter: looking costs microseconds
        except BlockingIOError:
            pass
        except OSError:  # ENOBUFS: more events than the socket holds, so some are lost
            pass
        self.look()

    def _has_carrier(self, interface: str) -> bool:
        try:
            answer = fcntl.ioctl(self._asked, _SIOCGIFFLAGS, struct.pack(_IFREQ, interface.encode(), 0))
        except OSError:  # it is gone
            return False
        flags: int = struct.unpack(_IFREQ, answer)[1]
        return flags & (_IFF_UP | _IFF_RUNNING) == _IFF_UP | _IFF_RUNNING
