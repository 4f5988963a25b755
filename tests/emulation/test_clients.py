"""Strangers cannot displace those who are in a call."""

from __future__ import annotations

import itertools

import pytest

from tramontana.emulation.clients import (
    ESTABLISHED_AFTER_PACKETS,
    ESTABLISHED_AFTER_S,
    IDLE_S,
    Client,
    ClientTable,
)

CALLER = ("192.0.2.1", 5000)


class Resource:
    def __init__(self) -> None:
        self.closed = 0

    def close(self) -> None:
        self.closed += 1


def established(table: ClientTable[Resource], *, address: tuple[str, int] = CALLER, since: float = 0.0) -> Client[Resource]:
    """A client that has talked both ways for long enough."""
    client = table.add(address, Resource(), since)
    for number in range(1, ESTABLISHED_AFTER_PACKETS + 1):
        table.answered(client)
        assert table.heard(address, since + ESTABLISHED_AFTER_S * number / ESTABLISHED_AFTER_PACKETS) is client
    return client


def flood(table: ClientTable[Resource], now: float, *, addresses: int = 1000) -> None:
    for port in range(addresses):
        assert table.heard(("203.0.113.9", port), now) is None
        table.add(("203.0.113.9", port), Resource(), now)


def test_a_flood_leaves_an_established_client_where_it_is() -> None:
    table: ClientTable[Resource] = ClientTable(max_newcomers=4, max_established=4)
    caller = established(table)
    flood(table, 2.0)
    assert table.heard(CALLER, 2.0) is caller
    assert caller.resource.closed == 0
    assert len(table) == 5
    assert table.displaced == 996


@pytest.mark.parametrize(
    ("answers", "lasting_s"), [(0, ESTABLISHED_AFTER_S), (ESTABLISHED_AFTER_PACKETS, 0.0), (ESTABLISHED_AFTER_PACKETS - 1, 5.0)]
)
def test_one_way_traffic_or_a_short_burst_establishes_nobody(answers: int, lasting_s: float) -> None:
    table: ClientTable[Resource] = ClientTable(max_newcomers=1)
    client = table.add(CALLER, Resource(), 0.0)
    for _ in range(answers):
        table.answered(client)
    for number in range(100):
        table.heard(CALLER, lasting_s * number / 100)
    flood(table, 6.0, addresses=1)
    assert table.heard(CALLER, 6.0) is None
    assert client.resource.closed == 1


def test_the_longest_silent_newcomer_makes_room() -> None:
    table: ClientTable[Resource] = ClientTable(max_newcomers=2)
    first, second = (table.add(("192.0.2.1", port), Resource(), 0.0) for port in (1, 2))
    table.heard(first.address, 1.0)
    table.add(("192.0.2.1", 3), Resource(), 2.0)
    assert (first.resource.closed, second.resource.closed) == (0, 1)


def test_the_silent_are_let_go() -> None:
    table: ClientTable[Resource] = ClientTable()
    caller, newcomer = established(table), table.add(("192.0.2.2", 1), Resource(), 10.0)
    for now, closed in [(IDLE_S, (0, 0)), (IDLE_S + 5.0, (1, 0)), (IDLE_S + 11.0, (1, 1))]:
        table.close_idle(now)
        assert (caller.resource.closed, newcomer.resource.closed) == closed
    assert len(table) == 0
    assert table.heard(CALLER, IDLE_S + 12.0) is None


def test_the_established_are_bounded_too() -> None:
    table: ClientTable[Resource] = ClientTable(max_newcomers=8, max_established=2)
    clients = [established(table, address=("192.0.2.1", port), since=10.0 * port) for port in itertools.islice(itertools.count(1), 3)]
    flood(table, 100.0, addresses=8)
    assert [client.resource.closed for client in clients] == [0, 0, 1]


def test_closing_closes_everybody() -> None:
    table: ClientTable[Resource] = ClientTable()
    clients = [established(table), table.add(("192.0.2.2", 1), Resource(), 0.0)]
    table.close()
    assert [client.resource.closed for client in clients] == [1, 1]
    assert len(table) == 0
