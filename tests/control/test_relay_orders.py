"""What the server tells its relay of a device that is revoked and certified again; the relay's core answers over a real socket."""

from __future__ import annotations

import asyncio
import time
from typing import cast

import pytest

from tests.control.house import Houses
from tramontana.control.media import Relay
from tramontana.control.relay_orders import RelayOrders
from tramontana.phone.relay_order import Order, order_key, parse_order
from tramontana.phone.relay_secret import RelaySecret
from tramontana.phone.stun import parse
from tramontana.phone.turn import TurnServer

pytestmark = pytest.mark.anyio

SECRET = RelaySecret("a-secret-of-at-least-32-characters")


class Listening(asyncio.DatagramProtocol):
    """The relay's core, and what it was told."""

    def __init__(self, unix_s: float) -> None:
        self._core = TurnServer(secret=SECRET, advertised_host="127.0.0.1")
        self._unix_s = unix_s
        self.told: list[Order] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        order = parse_order(parse(data), order_key(SECRET))
        assert order is not None
        self.told.append(order)
        for answer, to in self._core.handle_datagram(data, addr, time.monotonic(), self._unix_s):
            self._transport.sendto(answer, to)


async def test_a_device_that_is_certified_again_is_in_force_for_the_relay(houses: Houses) -> None:
    async with houses() as house:
        ada = await house.phone("Ada")
        transport, relay = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: Listening(house.clock()), local_addr=("127.0.0.1", 0)
        )
        port = transport.get_extra_info("sockname")[1]
        orders = RelayOrders(house.store, Relay("127.0.0.1", port, SECRET), house.clock)
        await orders.tell()
        assert not relay.told
        await house.custodians.revoke(house, ada)
        await orders.tell()
        assert [(order.revoked, order.in_force) for order in relay.told] == [((ada.device_id,), ())]
        relay.told.clear()
        await house.custodians.certify(house, ada, roles=("custodian", "member"))
        await orders.tell()
        assert [(order.revoked, order.in_force) for order in relay.told] == [((), (ada.device_id,))]
        transport.close()
