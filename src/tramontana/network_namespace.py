"""Entering a named network namespace of Linux (ip-netns(8)): sockets and interfaces that are made within stay in it for good."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

NAMESPACES: Final = Path("/run/netns")
_CLONE_NEWNET: Final = 0x40000000  # setns(2)


@contextmanager
def within(namespace: str | None) -> Iterator[None]:
    """This thread alone is in it meanwhile; None is where it is already. Do not await within. Raises `OSError`."""
    if namespace is None:
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    with open("/proc/thread-self/ns/net", "rb") as home, open(NAMESPACES / namespace, "rb") as away:
        if libc.setns(away.fileno(), _CLONE_NEWNET):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        try:
            yield
        finally:
            if libc.setns(home.fileno(), _CLONE_NEWNET):
                os._exit(70)  # a process that does not know where its sockets are must not go on
