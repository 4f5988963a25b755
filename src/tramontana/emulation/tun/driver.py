"""A TUN interface (Linux): what the kernel routes into it this process reads, what it writes the kernel receives from it.

Needs CAP_NET_ADMIN. The interface lives as long as its descriptor: nothing is left behind by a process that dies.
"""

from __future__ import annotations

import fcntl
import os
import struct
from typing import Final

from tramontana.errors import LocalError
from tramontana.network_namespace import within

"""Where ip-netns(8) keeps named namespaces."""
MAX_PACKET_BYTES: Final = 4096
"""What is read at once; interfaces are left at their MTU of 1,500 octets."""
# linux/if_tun.h, linux/if.h
_TUNSETIFF: Final = 0x400454CA
_TUNSETCARRIER: Final = 0x400454E2
_IFF_TUN: Final = 0x0001
_IFF_NO_PI: Final = 0x1000
_IFF_TUN_EXCL: Final = 0x8000


class TunError(LocalError):
    """A TUN interface cannot be made; the message says why and what to change."""


class Tun:
    """One interface, not yet up: whoever asked for it gives it addresses."""

    __slots__ = ("_descriptor",)

    def __init__(self, namespace: str | None, name: str) -> None:
        """Make the interface in a named network namespace, or in the caller's own. Raises `TunError`."""
        where = f"{name} in {namespace}" if namespace else name
        try:
            with within(namespace):
                self._descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
                try:
                    flags = _IFF_TUN | _IFF_NO_PI | _IFF_TUN_EXCL
                    fcntl.ioctl(self._descriptor, _TUNSETIFF, struct.pack("16sH22x", name.encode(), flags))
                except BaseException:
                    self.close()
                    raise
        except PermissionError:
            raise TunError(f"cannot make the interface {where}: not permitted, run the path player as root") from None
        except OSError as error:
            raise TunError(f"cannot make the interface {where}: {error.strerror}") from None

    def fileno(self) -> int:
        """The descriptor, -1 once closed."""
        return self._descriptor

    def read(self) -> bytes:
        """One IP packet. Raises `BlockingIOError` if none waits, another `OSError` once the interface is gone."""
        return os.read(self._descriptor, MAX_PACKET_BYTES)

    def write(self, packet: bytes) -> None:
        """Hand one IP packet to the kernel. Raises `OSError`, for example while the interface is down."""
        os.write(self._descriptor, packet)

    def set_carrier(self, plugged: bool) -> None:
        """Plug the cable in or pull it: the interface stays, the kernel tells those who watch its state. Raises `OSError`."""
        fcntl.ioctl(self._descriptor, _TUNSETCARRIER, struct.pack("i", plugged))

    def close(self) -> None:
        """Remove the interface; a second time does nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
