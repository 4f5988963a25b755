"""What a gateway has at port 443 for sites whose network blocks the rest, and its answers to scouts (docs/protocols.md)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from tramontana.internet import rung_rules
from tramontana.internet.knock import ScoutKey
from tramontana.internet.linux.firewall import apply_rules
from tramontana.internet.linux.namespace import HostRefused, Namespace
from tramontana.internet.linux.scout_socket import ScoutResponder
from tramontana.internet.linux.tls_stream import TlsFront
from tramontana.internet.overlay import HTTPS_PORT
from tramontana.internet.tunnel_keys import Identity, Trust

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def serving(
    own: Identity,
    trust: Trust,
    addresses: Sequence[str],
    outside: str,
    uplinks: Sequence[int],
    interfaces: Sequence[str],
    directory: Path,
    control: Serve,
) -> AsyncIterator[None]:
    """While the block runs. outside: see `listener`. interfaces: of the tunnels. directory: see `TlsFront`. Raises `HostRefused`."""
    loop = asyncio.get_running_loop()
    key = ScoutKey(trust.root.fingerprint, own.device_id)
    versions = sorted({6 if ":" in address else 4 for address in addresses})
    front = TlsFront(own, trust, directory, control)
    responders: list[ScoutResponder] = []
    try:
        for version in versions:
            responders.append(ScoutResponder(version, key))
            loop.add_reader(responders[-1].socket, responders[-1].answer_all)
        for address in addresses:
            front.listen(address, outside)
        apply_rules(Namespace(), rung_rules.gateway_rules(uplinks, interfaces))
    except OSError as error:
        await _close(loop, responders, front)
        raise HostRefused(
            f"port {HTTPS_PORT} cannot be served ({error.strerror}); is another service there? `port_443 = false` does without it"
        ) from error
    try:
        yield
    finally:
        await _close(loop, responders, front)


async def _close(loop: asyncio.AbstractEventLoop, responders: Sequence[ScoutResponder], front: TlsFront) -> None:
    for responder in responders:
        loop.remove_reader(responder.socket)
        responder.socket.close()
    await front.close()


def remove_rules() -> None:
    """Nothing if there are none. Raises `HostRefused`."""
    apply_rules(Namespace(), f"table inet {rung_rules.GATEWAY_TABLE}\ndelete table inet {rung_rules.GATEWAY_TABLE}\n")
