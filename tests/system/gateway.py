"""Debian's Kannel as the gateway of operators' networks, beside a test that drives browsers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from anyio.from_thread import BlockingPortal, start_blocking_portal

from tests.cell.kannel import Kannel, kannel


class Gateway:
    """What subscribers send and get through Kannel, which is asked in a thread of its own: the browsers' driver has the test's."""

    def __init__(self, inner: Kannel, portal: BlockingPortal) -> None:
        self._inner, self._portal = inner, portal

    @property
    def octets(self) -> list[bytes]:
        """Of all messages that came to subscribers, in their order."""
        return self._inner.octets

    @property
    def texts(self) -> list[tuple[str, str]]:
        """Who got which text."""
        return [(fields["to"], fields["text"]) for path, fields in self._inner.calls if path == "/incoming"]

    def until(self, is_so: Callable[[Gateway], bool]) -> None:
        self._portal.call(self._inner.until, lambda: is_so(self))

    def send(self, sender: str, to: str, text: str) -> None:
        self._portal.call(self._inner.send, sender, to, text)

    def send_octets(self, sender: str, to: str, octets: bytes) -> None:
        self._portal.call(self._inner.send_octets, sender, to, octets)


@contextmanager
def gateway(directory: Path, port: int) -> Iterator[Gateway]:
    """Kannel, bound or binding to the message centre on `port`."""
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(kannel(directory, port)) as inner:
        yield Gateway(inner, portal)
