"""The server's fixtures, for devices that talk to one."""

from __future__ import annotations

from tests.control.conftest import anyio_backend, houses, sky

__all__ = ["anyio_backend", "houses", "sky"]
