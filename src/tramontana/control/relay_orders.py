"""Tells the media relay which devices are revoked, so that it carries nothing of theirs any more, whatever credential they still hold;
and which of them are certified again.

Every server process tells its relay, at once and again and again: a relay that was started anew has forgotten, and UDP may lose a word.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable

from tramontana.control.media import CREDENTIAL_S, Relay
from tramontana.control.store import accounts
from tramontana.control.store.database import Store
from tramontana.phone.relay_order import Order, answered, encode_orders

TELL_EVERY_S = 30.0
RESTORED_S = 2 * CREDENTIAL_S + 600.0
"""A revocation is told for the life of a credential, and the relay remembers it for as long again (`turn.SHUT_OUT_S`)."""
TRIES = 4
ANSWER_WITHIN_S = 0.5

logger = logging.getLogger(__name__)


class RelayOrders:
    """`tell` is to be called often, and as soon as a device is revoked."""

    def __init__(self, store: Store, relay: Relay, clock: Callable[[], float]) -> None:
        self._store = store
        self._relay = relay
        self._clock = clock
        self._is_deaf = False

    async def tell(self) -> None:
        """Send what is outstanding until the relay has answered; if it does not, the log says so once."""
        now = self._clock()
        async with self._store.read() as connection:
            revoked = await accounts.revoked_since(connection, now - CREDENTIAL_S)
            in_force = await accounts.restored_since(connection, now - RESTORED_S)
        if not revoked and not in_force:
            return
        orders = encode_orders(self._relay.secret, Order(now, tuple(revoked), tuple(in_force)), iter(lambda: secrets.token_bytes(12), b""))
        try:
            await self._deliver(orders)
        except OSError as error:
            logger.warning("relay: %s", error)
        if orders and not self._is_deaf:
            hours = CREDENTIAL_S / 3600
            logger.warning("the relay takes no orders: for up to %g hours it may carry a revoked device's packets to who permits it", hours)
        self._is_deaf = bool(orders)

    async def _deliver(self, orders: dict[bytes, bytes]) -> None:
        """Takes out what was answered."""
        loop, done = asyncio.get_running_loop(), asyncio.Event()
        relay = self._relay

        class Answers(asyncio.DatagramProtocol):
            def datagram_received(self, data: bytes, _source: object) -> None:
                transaction_id = answered(data, relay.secret)
                if transaction_id is not None and orders.pop(transaction_id, None) is not None and not orders:
                    done.set()

        transport, _ = await loop.create_datagram_endpoint(Answers, remote_addr=(relay.host, relay.port))
        try:
            for _ in range(TRIES):
                for order in orders.values():
                    transport.sendto(order)
                try:
                    async with asyncio.timeout(ANSWER_WITHIN_S):
                        await done.wait()
                    return
                except TimeoutError:
                    continue
        finally:
            transport.close()
