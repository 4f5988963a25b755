"""The media relay's core: a TURN server (RFC 8656) over UDP that switches between its own allocations and nothing else.

Sans-I/O: `TurnServer.handle_datagram` takes one datagram and returns what to send. A relayed address is a *virtual* port on the
relay's advertised address: no socket is opened for it, and a packet for it is delivered in memory. A peer address that is not such
a port is refused with 403, so the relay cannot be used to reach anything else, whatever the credentials.

One rule is narrower than the RFC. There a permission names a host only (§9); here all relayed addresses share one host, so a
permission names host and port: whoever may use the relay still cannot send into a call that did not invite him.
"""

from __future__ import annotations

import heapq
import hmac
import ipaddress
import secrets
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from tramontana.phone import stun
from tramontana.phone.relay_order import encode_answer, order_key, parse_order
from tramontana.phone.relay_secret import RelaySecret, parse_username
from tramontana.phone.stun import Address, Attribute, Class, MalformedStun, Method, StunMessage

DEFAULT_REALM: Final = "tramontana"

# RFC 8656
DEFAULT_LIFETIME_S: Final = 600  # §3.2
MAX_LIFETIME_S: Final = 3600  # §7.2, recommended
PERMISSION_LIFETIME_S: Final = 300  # §9
CHANNEL_LIFETIME_S: Final = 600  # §12
CHANNEL_FIRST, CHANNEL_LAST = 0x4000, 0x4FFF  # §12
RELAYED_PORT_FIRST, RELAYED_PORT_LAST = 49152, 65535  # §7.2
RELAYED_PORT_REST_S: Final = 120  # §7.2: how long a relayed address rests before someone else may get it
_UDP: Final = 17  # §18.8, REQUESTED-TRANSPORT

# Choices of this relay
NONCE_LIFETIME_S: Final = 3600
MAX_ALLOCATION_AGE_S: Final = 12 * 3600
"""A refreshed allocation outlives its credential up to this age (a long call must not end with it), and no longer."""
MAX_PEERS_PER_ALLOCATION: Final = 64
"""Permissions and channels, each."""
IN_USE_S: Final = 10
"""An allocation that sent within this is in use: ICE asks for consent every 5 s ± 20 % (RFC 7675 §5.1)."""
SHUT_OUT_S: Final = 4 * 3600 + 600
"""How long a revoked device stays shut out after the last order about it: its credential is over then."""
ORDER_FRESH_S: Final = 600
"""By which the server's clock and the relay's may differ at most; an order that somebody recorded is worth nothing after that."""
MAX_USERNAME_BYTES: Final = 255
_NONCE_TAG_HEX: Final = 32

Datagram = tuple[bytes, Address]
"""Payload and destination."""


@dataclass(frozen=True, slots=True)
class _Ordered:
    """What the server said last of a device."""

    at: float
    """POSIX seconds, of the server's clock."""
    until: float
    """When it is forgotten."""
    is_revoked: bool


@dataclass(slots=True)
class _Channel:
    number: int
    peer_port: int
    expires_at: float


@dataclass(slots=True)
class _Allocation:
    client: Address
    port: int
    username: str
    device_id: str
    key: bytes = field(repr=False)
    made_at: float
    expires_at: float
    transaction_id: bytes
    used_at: float
    """When its client last made, refreshed or sent through it."""
    permissions: dict[int, float] = field(default_factory=dict)
    """Peer port → instant of expiry."""
    channels: dict[int, _Channel] = field(default_factory=dict)
    channel_of_port: dict[int, _Channel] = field(default_factory=dict)

    def forget_expired(self, now: float) -> None:
        self.permissions = {port: at for port, at in self.permissions.items() if at > now}
        self.channels = {number: channel for number, channel in self.channels.items() if channel.expires_at > now}
        self.channel_of_port = {channel.peer_port: channel for channel in self.channels.values()}


class _Refused(Exception):
    """A request is answered with an error (RFC 8489 §18.4, RFC 8656 §19)."""

    def __init__(self, code: int, reason: str, *attributes: tuple[Attribute, bytes]) -> None:
        super().__init__(code, reason)
        self.code, self.reason, self.attributes = code, reason, list(attributes)


class TurnServer:
    """One relay. `now` is a monotonic clock in seconds; `unix_s`, POSIX seconds, only for the expiry of credentials and the age
    of orders.

    `advertised_host` is the IP address in XOR-RELAYED-ADDRESS; clients on the other side must take it for the relay's.
    """

    def __init__(
        self,
        *,
        secret: RelaySecret,
        advertised_host: str,
        realm: str = DEFAULT_REALM,
        max_allocations: int = 4096,
        max_allocations_per_device: int = 32,
        random_below: Callable[[int], int] = secrets.randbelow,
        nonce_key: bytes | None = None,
    ) -> None:
        self.advertised_host = str(ipaddress.ip_address(advertised_host))
        self.counts: Counter[str] = Counter()
        """What was relayed, and what was dropped or refused and why. Never holds addresses or names."""
        self._family = 1 if ipaddress.ip_address(advertised_host).version == 4 else 2
        self._secret = secret
        self._order_key = order_key(secret)
        self._ordered: dict[str, _Ordered] = {}
        """By device. What is forgotten next stands first."""
        self._realm = realm
        self._max_allocations = max_allocations
        self._max_per_device = max_allocations_per_device
        self._random_below = random_below
        self._nonce_key = nonce_key or secrets.token_bytes(32)
        self._by_client: dict[Address, _Allocation] = {}
        self._by_port: dict[int, _Allocation] = {}
        self._of_device: dict[str, dict[int, _Allocation]] = {}
        self._deadlines: list[tuple[float, int, Address]] = []
        self._resting: deque[tuple[float, int]] = deque()
        self._resting_ports: set[int] = set()

    # --- the faces of the core ---

    def handle_datagram(self, data: bytes, source: Address, now: float, unix_s: float) -> list[Datagram]:
        """Handle one datagram of a client; gives what to send. Never raises on foreign input."""
        if not data:
            return self._drop("dropped_malformed")
        first = data[0]
        if 0x40 <= first <= 0x4F:
            return self._handle_channel_data(data, source, now)
        if first > 0x03:
            return self._drop("dropped_malformed")
        try:
            message = stun.parse(data)
        except MalformedStun:
            return self._drop("dropped_malformed")
        if message.method == Method.SHUT_OUT:
            return self._handle_order(message, source, now, unix_s)
        if message.message_class == Class.REQUEST:
            return [(self._answer(message, source, now, unix_s), source)]
        if message.message_class == Class.INDICATION and message.method == Method.SEND:
            return self._handle_send(message, source, now)
        if message.message_class == Class.INDICATION and message.method == Method.BINDING:
            return []  # a keep-alive (RFC 8489 §2)
        return self._drop("dropped_unexpected")

    def handle_timer(self, now: float) -> None:
        """Remove what has expired."""
        while self._deadlines and self._deadlines[0][0] <= now:
            _, port, client = heapq.heappop(self._deadlines)
            allocation = self._by_client.get(client)
            if allocation is None or allocation.port != port:
                continue  # deleted meanwhile
            if allocation.expires_at > now:  # refreshed meanwhile
                heapq.heappush(self._deadlines, (allocation.expires_at, port, client))
            else:
                self._delete(allocation, now)
                self.counts["allocations_expired"] += 1
        while self._resting and self._resting[0][0] <= now:
            self._resting_ports.discard(self._resting.popleft()[1])

    def next_timer(self) -> float | None:
        """When `handle_timer` wants to be called, or None."""
        deadlines = [queue[0][0] for queue in (self._deadlines, self._resting) if queue]
        return min(deadlines) if deadlines else None

    @property
    def allocations(self) -> int:
        """How many allocations stand now."""
        return len(self._by_client)

    # --- media ---

    def _handle_channel_data(self, data: bytes, source: Address, now: float) -> list[Datagram]:
        """RFC 8656 §12.6. Over UDP the datagram may be longer than the length field says (padding), never shorter."""
        if len(data) < 4:
            return self._drop("dropped_malformed")
        allocation = self._by_client.get(source)
        if allocation is None or allocation.expires_at <= now:
            return self._drop("dropped_no_allocation")
        channel = allocation.channels.get(data[0] << 8 | data[1])
        if channel is None or channel.expires_at <= now:
            return self._drop("dropped_no_channel")
        length = data[2] << 8 | data[3]
        if length + 4 > len(data):
            return self._drop("dropped_malformed")
        return self._relay(allocation, channel.peer_port, data[4 : 4 + length], now)

    def _handle_send(self, message: StunMessage, source: Address, now: float) -> list[Datagram]:
        """RFC 8656 §11.2. Indications are never answered."""
        allocation = self._by_client.get(source)
        if allocation is None or allocation.expires_at <= now:
            return self._drop("dropped_no_allocation")
        peer, payload = message.get(Attribute.XOR_PEER_ADDRESS), message.get(Attribute.DATA)
        if peer is None or payload is None or message.unknown_required():
            return self._drop("dropped_malformed")
        try:
            port = self._own_port(peer, message.transaction_id)
        except (MalformedStun, _Refused):
            return self._drop("dropped_foreign_peer")
        return self._relay(allocation, port, payload, now)

    def _relay(self, sender: _Allocation, to_port: int, payload: bytes, now: float) -> list[Datagram]:
        """Both ends must have permitted the other: the sender's own permission (§11.2), then the receiver's (§11.3)."""
        if sender.permissions.get(to_port, 0.0) <= now:
            return self._drop("dropped_no_permission")
        receiver = self._by_port.get(to_port)
        if receiver is None or receiver.expires_at <= now:
            return self._drop("dropped_no_peer")
        if receiver.permissions.get(sender.port, 0.0) <= now:
            return self._drop("dropped_not_permitted_by_peer")
        sender.used_at = now
        self.counts["relayed"] += 1
        channel = receiver.channel_of_port.get(sender.port)
        if channel is not None and channel.expires_at > now:
            return [(channel.number.to_bytes(2, "big") + len(payload).to_bytes(2, "big") + payload, receiver.client)]
        transaction_id = secrets.token_bytes(12)
        peer = stun.pack_xor_address((self.advertised_host, sender.port), transaction_id)
        attributes = [(Attribute.XOR_PEER_ADDRESS, peer), (Attribute.DATA, payload)]
        return [(stun.encode(Method.DATA, Class.INDICATION, transaction_id, attributes), receiver.client)]

    def _drop(self, why: str) -> list[Datagram]:
        self.counts[why] += 1
        return []

    # --- orders of the server ---

    def _handle_order(self, message: StunMessage, source: Address, now: float, unix_s: float) -> list[Datagram]:
        """Revoked devices lose what they have here, and get nothing more until they are in force again. An order that says what was before
        a later one changes nothing of what that one said. Who is not the server, or hands on an old order, gets no answer."""
        order = parse_order(message, self._order_key) if message.message_class == Class.REQUEST else None
        if order is None or abs(unix_s - order.at) > ORDER_FRESH_S:
            return self._drop("dropped_unexpected")
        for device_id in order.in_force + order.revoked:
            before = self._ordered.get(device_id)
            if before is not None and before.at > order.at:
                continue
            self._ordered.pop(device_id, None)  # to the end of the line
            is_revoked = device_id in order.revoked
            self._ordered[device_id] = _Ordered(order.at, now + SHUT_OUT_S, is_revoked)
            if not is_revoked:
                continue
            for allocation in list(self._of_device.get(device_id, {}).values()):
                self._delete(allocation, now)
                self.counts["allocations_shut_out"] += 1
        while (first := next(iter(self._ordered), None)) is not None and self._ordered[first].until <= now:
            del self._ordered[first]
        return [(encode_answer(message, self._order_key), source)]

    # --- requests ---

    def _answer(self, request: StunMessage, source: Address, now: float, unix_s: float) -> bytes:
        """The response to a request. A response is signed as soon as the request's signature was right."""
        key: bytes | None = None
        try:
            if request.method == Method.BINDING:
                self._check_attributes(request)
                attributes = [(Attribute.XOR_MAPPED_ADDRESS, stun.pack_xor_address(source, request.transaction_id))]
            else:
                username, device_id, key = self._authenticate(request, source, now)
                self._check_attributes(request)
                if request.method == Method.ALLOCATE:
                    attributes = self._allocate(request, source, username, device_id, key, now, unix_s)
                else:
                    allocation = self._by_client.get(source)
                    if allocation is None or allocation.expires_at <= now:
                        raise _Refused(437, "Allocation Mismatch")
                    if allocation.username != username:
                        raise _Refused(441, "Wrong Credentials")
                    if request.method == Method.REFRESH:
                        attributes = self._refresh(request, allocation, now)
                    elif request.method == Method.CREATE_PERMISSION:
                        attributes = self._create_permission(request, allocation, now)
                    elif request.method == Method.CHANNEL_BIND:
                        attributes = self._bind_channel(request, allocation, now)
                    else:
                        raise _Refused(400, "Bad Request")
            kind = Class.SUCCESS
        except MalformedStun:
            self.counts["refused_400"] += 1
            kind, attributes = Class.ERROR, [(Attribute.ERROR_CODE, stun.pack_error_code(400, "Bad Request"))]
        except _Refused as refusal:
            self.counts[f"refused_{refusal.code}"] += 1
            kind = Class.ERROR
            attributes = [(Attribute.ERROR_CODE, stun.pack_error_code(refusal.code, refusal.reason)), *refusal.attributes]
        return stun.encode(request.method, kind, request.transaction_id, attributes, key=key, fingerprint=request.has_fingerprint)

    def _authenticate(self, request: StunMessage, source: Address, now: float) -> tuple[str, str, bytes]:
        """The long-term credential mechanism (RFC 8489 §9.2.4), in the order of the clause: `(username, device_id, key)`."""
        if request.integrity is None:
            raise self._challenge(401, "Unauthorized", source, now)
        name, realm, nonce = (request.get(kind) for kind in (Attribute.USERNAME, Attribute.REALM, Attribute.NONCE))
        if name is None or realm is None or nonce is None or len(name) > MAX_USERNAME_BYTES:
            raise _Refused(400, "Bad Request")
        if not self._is_fresh(nonce, source, now):
            raise self._challenge(438, "Stale Nonce", source, now)
        try:
            username = name.decode()
        except UnicodeDecodeError:
            raise _Refused(400, "Bad Request") from None
        parsed = parse_username(username)
        allocation = self._by_client.get(source)
        if allocation is not None and allocation.username == username:
            key = allocation.key
        else:
            key = self._secret.long_term_key(username, self._realm)
        if not request.has_integrity(key) or parsed is None or realm != self._realm.encode():
            raise self._challenge(401, "Unauthorized", source, now)
        return username, parsed[1], key

    def _challenge(self, code: int, reason: str, source: Address, now: float) -> _Refused:
        realm = (Attribute.REALM, self._realm.encode())
        return _Refused(code, reason, realm, (Attribute.NONCE, self._nonce(int(now) + NONCE_LIFETIME_S, source)))

    def _nonce(self, expires_at: int, source: Address) -> bytes:
        """Stateless: an expiry and a tag that binds it to the client's address, so that a nonce is of no use to another one."""
        text = f"{expires_at:x}-"
        tag = hmac.digest(self._nonce_key, f"{text}{source[0]}|{source[1]}".encode(), "sha256").hex()[:_NONCE_TAG_HEX]
        return (text + tag).encode()

    def _is_fresh(self, nonce: bytes, source: Address, now: float) -> bool:
        expiry = nonce.partition(b"-")[0]
        if len(expiry) > 16:
            return False
        try:
            expires_at = int(expiry, 16)
        except ValueError:
            return False
        return hmac.compare_digest(self._nonce(expires_at, source), nonce) and expires_at > now

    def _check_attributes(self, request: StunMessage) -> None:
        unknown = request.unknown_required()
        if unknown:
            types = b"".join(kind.to_bytes(2, "big") for kind in unknown)
            raise _Refused(420, "Unknown Attribute", (Attribute.UNKNOWN_ATTRIBUTES, types))

    def _allocate(
        self, request: StunMessage, source: Address, username: str, device_id: str, key: bytes, now: float, unix_s: float
    ) -> list[tuple[Attribute, bytes]]:
        """RFC 8656 §7.2."""
        self.handle_timer(now)
        allocation = self._by_client.get(source)
        if allocation is not None:
            if allocation.transaction_id != request.transaction_id:
                raise _Refused(437, "Allocation Mismatch")
            return self._allocated(allocation, request.transaction_id, now)  # the answer to the first try was lost
        parsed = parse_username(username)
        if parsed is None or parsed[0] <= unix_s:
            raise self._challenge(401, "Unauthorized", source, now)
        ordered = self._ordered.get(device_id)
        if ordered is not None and ordered.is_revoked and ordered.until > now:
            raise _Refused(403, "Forbidden")
        transport = request.get(Attribute.REQUESTED_TRANSPORT)
        if transport is None or len(transport) != 4:
            raise _Refused(400, "Bad Request")
        if transport[0] != _UDP:
            raise _Refused(442, "Unsupported Transport Protocol")
        reserved = request.get(Attribute.RESERVATION_TOKEN) is not None
        even_port = request.get(Attribute.EVEN_PORT) is not None
        family = request.get(Attribute.REQUESTED_ADDRESS_FAMILY)
        if reserved and (even_port or family is not None):
            raise _Refused(400, "Bad Request")
        if reserved or even_port:
            raise _Refused(508, "Insufficient Capacity")
        if family is not None and family[:1] != bytes([self._family]):
            raise _Refused(440, "Address Family not Supported")
        lifetime = _requested_lifetime(request)
        self._keep_within_quota(device_id, now)
        port = self._free_port()
        if port is None or len(self._by_client) >= self._max_allocations:
            raise _Refused(508, "Insufficient Capacity")
        expires_at = now + max(DEFAULT_LIFETIME_S, lifetime)
        allocation = _Allocation(source, port, username, device_id, key, now, expires_at, request.transaction_id, now)
        self._by_client[source] = self._by_port[port] = allocation
        self._of_device.setdefault(device_id, {})[port] = allocation
        heapq.heappush(self._deadlines, (expires_at, port, source))
        self.counts["allocations_made"] += 1
        return self._allocated(allocation, request.transaction_id, now)

    def _keep_within_quota(self, device_id: str, now: float) -> None:
        """Makes room for one more allocation of a device. Raises `_Refused` 486 if all that it has are in use.

        The end of a call is often not heard: its path is gone before the last REFRESH, or the page was closed. Whoever calls often would be
        refused until those allocations expire; so the one that was silent for longest goes. A device can harm nobody but itself by it.
        """
        own = self._of_device.get(device_id, {})
        if len(own) < self._max_per_device:
            return
        stalest = min(own.values(), key=lambda allocation: allocation.used_at)
        if now - stalest.used_at < IN_USE_S:
            raise _Refused(486, "Allocation Quota Reached")
        self._delete(stalest, now)
        self.counts["allocations_displaced"] += 1

    def _allocated(self, allocation: _Allocation, transaction_id: bytes, now: float) -> list[tuple[Attribute, bytes]]:
        return [
            (Attribute.XOR_RELAYED_ADDRESS, stun.pack_xor_address((self.advertised_host, allocation.port), transaction_id)),
            (Attribute.LIFETIME, int(allocation.expires_at - now).to_bytes(4, "big")),
            (Attribute.XOR_MAPPED_ADDRESS, stun.pack_xor_address(allocation.client, transaction_id)),
        ]

    def _refresh(self, request: StunMessage, allocation: _Allocation, now: float) -> list[tuple[Attribute, bytes]]:
        """RFC 8656 §8.2."""
        family = request.get(Attribute.REQUESTED_ADDRESS_FAMILY)
        if family is not None and family[:1] != bytes([self._family]):
            raise _Refused(443, "Peer Address Family Mismatch")
        lifetime = _requested_lifetime(request)
        left_s = allocation.made_at + MAX_ALLOCATION_AGE_S - now
        if lifetime == 0 or left_s < 1:
            self._delete(allocation, now)
            return [(Attribute.LIFETIME, bytes(4))]
        lifetime = int(min(max(DEFAULT_LIFETIME_S, lifetime), left_s))
        allocation.expires_at, allocation.used_at = now + lifetime, now
        allocation.forget_expired(now)
        return [(Attribute.LIFETIME, lifetime.to_bytes(4, "big"))]

    def _create_permission(self, request: StunMessage, allocation: _Allocation, now: float) -> list[tuple[Attribute, bytes]]:
        """RFC 8656 §10.2: all peers of the request or none."""
        ports = [self._own_port(peer, request.transaction_id) for peer in request.get_all(Attribute.XOR_PEER_ADDRESS)]
        if not ports:
            raise _Refused(400, "Bad Request")
        self._permit(allocation, ports, now)
        return []

    def _bind_channel(self, request: StunMessage, allocation: _Allocation, now: float) -> list[tuple[Attribute, bytes]]:
        """RFC 8656 §12.2: one channel for one peer, until both have expired."""
        number_value, peer = request.get(Attribute.CHANNEL_NUMBER), request.get(Attribute.XOR_PEER_ADDRESS)
        if number_value is None or peer is None or len(number_value) != 4:
            raise _Refused(400, "Bad Request")
        number = int.from_bytes(number_value[:2], "big")
        port = self._own_port(peer, request.transaction_id)
        if not CHANNEL_FIRST <= number <= CHANNEL_LAST:
            raise _Refused(400, "Bad Request")
        allocation.forget_expired(now)
        channel, bound = allocation.channels.get(number), allocation.channel_of_port.get(port)
        if channel is not bound:
            raise _Refused(400, "Bad Request")
        if channel is None and len(allocation.channels) >= MAX_PEERS_PER_ALLOCATION:
            raise _Refused(508, "Insufficient Capacity")
        self._permit(allocation, [port], now)
        channel = _Channel(number, port, now + CHANNEL_LIFETIME_S)
        allocation.channels[number] = allocation.channel_of_port[port] = channel
        return []

    def _permit(self, allocation: _Allocation, ports: list[int], now: float) -> None:
        if len(allocation.permissions.keys() | set(ports)) > MAX_PEERS_PER_ALLOCATION:
            allocation.forget_expired(now)
            if len(allocation.permissions.keys() | set(ports)) > MAX_PEERS_PER_ALLOCATION:
                raise _Refused(508, "Insufficient Capacity")
        for port in ports:
            allocation.permissions[port] = now + PERMISSION_LIFETIME_S

    def _own_port(self, peer: bytes, transaction_id: bytes) -> int:
        """The port of a peer address that can be one of this relay's. Raises `_Refused` 403 or 443, or `MalformedStun`."""
        host, port = stun.parse_xor_address(peer, transaction_id)
        if peer[1] != self._family:
            raise _Refused(443, "Peer Address Family Mismatch")
        if host != self.advertised_host or not RELAYED_PORT_FIRST <= port <= RELAYED_PORT_LAST:
            raise _Refused(403, "Forbidden")
        return port

    def _free_port(self) -> int | None:
        """A random port that is neither in use nor resting: who holds one cannot guess another."""
        count = RELAYED_PORT_LAST - RELAYED_PORT_FIRST + 1
        start = self._random_below(count)
        for step in range(count):
            port = RELAYED_PORT_FIRST + (start + step) % count
            if port not in self._by_port and port not in self._resting_ports:
                return port
        return None

    def _delete(self, allocation: _Allocation, now: float) -> None:
        del self._by_client[allocation.client]
        del self._by_port[allocation.port]
        own = self._of_device[allocation.device_id]
        del own[allocation.port]
        if not own:
            del self._of_device[allocation.device_id]
        self._resting.append((now + RELAYED_PORT_REST_S, allocation.port))
        self._resting_ports.add(allocation.port)


def _requested_lifetime(request: StunMessage) -> int:
    """LIFETIME of a request, at most `MAX_LIFETIME_S`; the default if there is none. Raises `_Refused` 400."""
    value = request.get(Attribute.LIFETIME)
    if value is None:
        return DEFAULT_LIFETIME_S
    if len(value) != 4:
        raise _Refused(400, "Bad Request")
    return min(int.from_bytes(value, "big"), MAX_LIFETIME_S)
