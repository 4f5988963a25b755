"""Carrier events of real interfaces, in a network namespace of the test's own."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator

import pytest

from tests.internet import namespaces
from tests.internet.namespaces import Lab, require_namespaces
from tramontana.internet.linux.carrier_events import CarrierEvents
from tramontana.internet.linux.namespace import HostRefused, Namespace

PATIENCE_S = 20.0


@pytest.fixture
def lab() -> Iterator[Lab]:
    require_namespaces()
    with namespaces.lab() as made:
        made.add("u")
        yield made


def test_a_pulled_cable_and_a_vanished_interface_are_told_without_being_asked_for(lab: Lab) -> None:
    asyncio.run(pulled_and_vanished(lab))


async def pulled_and_vanished(lab: Lab) -> None:
    for name in ("up1", "up2"):
        lab.run("u", "ip", "link", "add", name, "type", "veth", "peer", "name", f"{name}far")
        for end in (name, f"{name}far"):
            lab.run("u", "ip", "link", "set", end, "up")
    told: asyncio.Queue[tuple[str, bool]] = asyncio.Queue()
    events = CarrierEvents(Namespace(lab.real("u")), ["up1", "up2", "up3"], lambda name, up: told.put_nowait((name, up)))
    events.listen()
    try:
        assert sorted([told.get_nowait() for _ in range(3)]) == [("up1", True), ("up2", True), ("up3", False)]
        for words, expected in (
            (("link", "set", "up1far", "down"), ("up1", False)),
            (("link", "set", "up1far", "up"), ("up1", True)),
            (("link", "set", "up1", "down"), ("up1", False)),
            (("link", "del", "up2"), ("up2", False)),
        ):
            lab.run("u", "ip", *words)
            assert await asyncio.wait_for(told.get(), PATIENCE_S) == expected
    finally:
        events.close()


def test_without_the_namespace_it_says_so() -> None:
    with pytest.raises(HostRefused, match="cannot enter the network namespace"):
        CarrierEvents(Namespace(f"none{secrets.token_hex(4)}"), ["eth0"], lambda name, up: None)
