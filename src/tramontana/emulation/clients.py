"""Who may use a front: a bounded table in which strangers cannot displace those who are in a call.

A front is an open UDP port, so anybody may send to it, from as many source addresses as he likes to forge. A client starts as a
*newcomer*; newcomers have few places and the longest silent one makes room for the next. Once packets have gone both ways for
a while the client is *established*: then only its own silence ends it.

What counts is packets, not proof of who sent them: a stranger who finds the port and speaks STUN with the upstream for long enough is
established as well, and enough of them keep newcomers out. Fronts therefore belong on loopback or behind a firewall.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, Generic, Protocol, TypeVar

NEWCOMERS_PER_FRONT: Final = 16
ESTABLISHED_PER_FRONT: Final = 48
ESTABLISHED_AFTER_PACKETS: Final = 8
"""In each direction. A TURN allocation, a permission and the first checks of ICE take about as many."""
ESTABLISHED_AFTER_S: Final = 1.0
IDLE_S: Final = 900.0
"""Above the refresh interval of a TURN allocation (600 s, RFC 8656 §3.2): while a phone rings it is silent, but keeps its five-tuple."""

Address = tuple[str, int]


class Closable(Protocol):
    """What a table entry owns, for example a socket."""

    def close(self) -> None: ...


Resource = TypeVar("Resource", bound=Closable)


class Client(Generic[Resource]):
    """One client of a front and the upstream resource that speaks for it."""

    __slots__ = ("address", "first_at", "from_client", "last_at", "resource", "to_client")

    def __init__(self, address: Address, resource: Resource, now: float) -> None:
        self.address = address
        self.resource = resource
        self.first_at = self.last_at = now
        self.from_client = self.to_client = 0


class ClientTable(Generic[Resource]):
    """The clients of one front. `now` is any clock that never goes back."""

    def __init__(
        self,
        *,
        max_newcomers: int = NEWCOMERS_PER_FRONT,
        max_established: int = ESTABLISHED_PER_FRONT,
    ) -> None:
        self._max_newcomers = max_newcomers
        self._max_established = max_established
        self._newcomers: OrderedDict[Address, Client[Resource]] = OrderedDict()
        """The longest silent one first."""
        self._established: dict[Address, Client[Resource]] = {}
        self.displaced = 0
        """Newcomers that had to make room."""

    def __len__(self) -> int:
        return len(self._newcomers) + len(self._established)

    def heard(self, address: Address, now: float) -> Client[Resource] | None:
        """The client at an address that has just sent a packet; None for a stranger."""
        client = self._established.get(address)
        if client is None:
            client = self._newcomers.get(address)
            if client is None:
                return None
            self._newcomers.move_to_end(address)
            client.from_client += 1
            client.last_at = now
            self._promote(client, now)
            return client
        client.last_at = now
        return client

    def answered(self, client: Client[Resource]) -> None:
        """The upstream has sent a packet for this client."""
        client.to_client += 1

    def add(self, address: Address, resource: Resource, now: float) -> Client[Resource]:
        """Let a stranger in as a newcomer; the longest silent newcomer makes room for it."""
        if len(self._newcomers) >= self._max_newcomers:
            _, silent = self._newcomers.popitem(last=False)
            silent.resource.close()
            self.displaced += 1
        client = Client(address, resource, now)
        client.from_client = 1
        self._newcomers[address] = client
        return client

    def close_idle(self, now: float) -> None:
        """Let those go who have been silent too long."""
        for client in self.all():
            if now - client.last_at > IDLE_S:
                self._newcomers.pop(client.address, None)
                self._established.pop(client.address, None)
                client.resource.close()

    def close(self) -> None:
        for client in self.all():
            client.resource.close()
        self._newcomers.clear()
        self._established.clear()

    def all(self) -> list[Client[Resource]]:
        return [*self._newcomers.values(), *self._established.values()]

    def _promote(self, client: Client[Resource], now: float) -> None:
        enough = min(client.from_client, client.to_client) >= ESTABLISHED_AFTER_PACKETS
        if enough and now - client.first_at >= ESTABLISHED_AFTER_S and len(self._established) < self._max_established:
            del self._newcomers[client.address]
            self._established[client.address] = client
