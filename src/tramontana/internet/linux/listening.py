"""TCP sockets at which sites reach a gateway."""

from __future__ import annotations

import errno
import socket

BACKLOG = 128


def listener(address: str, port: int, outside: str) -> socket.socket:
    """At this address, or where a router in front of this machine translates it, at whatever address the interface `outside` has.

    Raises `OSError`.
    """
    is_6 = ":" in address
    made = socket.socket(socket.AF_INET6 if is_6 else socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if is_6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        try:
            made.bind((address, port))
        except OSError as error:
            if error.errno != errno.EADDRNOTAVAIL:
                raise
            made.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, outside.encode())
            made.bind(("::" if is_6 else "", port))
        made.listen(BACKLOG)
    except OSError:
        made.close()
        raise
    return made
