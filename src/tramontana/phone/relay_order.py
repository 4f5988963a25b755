"""The server's order to the media relay: these devices are revoked, carry nothing of theirs any more; those are in force again.

A STUN request of a method of our own, to the relay's own port: no other socket, and it reaches a relay on another machine. It is signed
with a key that both make from their shared secret; a relay that is not ours (coturn) does not answer it. Sans-I/O.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tramontana.phone import stun
from tramontana.phone.relay_secret import RelaySecret
from tramontana.phone.stun import Attribute, Class, MalformedStun, Method, StunMessage

KEY_CONTEXT = "tramontana relay order 2"
MAX_DEVICES = 64
"""In one order: 1,096 octets, so that no path splits the datagram."""
_TIME_BYTES, _ENTRY_BYTES = 8, 17
_IN_FORCE, _REVOKED = b"\x00", b"\x01"


def order_key(secret: RelaySecret) -> bytes:
    """Signs orders and their answers, and no request of a phone: they have names and nonces."""
    return secret.derive_key(KEY_CONTEXT)


@dataclass(frozen=True, slots=True)
class Order:
    """What the server knew at an instant."""

    at: float
    """POSIX seconds, of the server's clock."""
    revoked: tuple[str, ...]
    in_force: tuple[str, ...]
    """Devices that were revoked not long ago and are certified again."""


def encode_orders(secret: RelaySecret, order: Order, transaction_ids: Iterator[bytes]) -> dict[bytes, bytes]:
    """Transaction → datagram, `MAX_DEVICES` in each. transaction_ids: of 12 octets, never used before."""
    entries = [_REVOKED + bytes.fromhex(device_id) for device_id in sorted(set(order.revoked))]
    entries += [_IN_FORCE + bytes.fromhex(device_id) for device_id in sorted(set(order.in_force))]
    at, orders = int(order.at * 1000).to_bytes(_TIME_BYTES, "big"), {}
    for first in range(0, len(entries), MAX_DEVICES):
        transaction_id = next(transaction_ids)
        attributes = [(Attribute.DATA, at + b"".join(entries[first : first + MAX_DEVICES]))]
        orders[transaction_id] = stun.encode(Method.SHUT_OUT, Class.REQUEST, transaction_id, attributes, key=order_key(secret))
    return orders


def parse_order(message: StunMessage, key: bytes) -> Order | None:
    """None if it is not the server's."""
    data = message.get(Attribute.DATA)
    if not message.has_integrity(key) or data is None or len(data) < _TIME_BYTES:
        return None
    at, rest = int.from_bytes(data[:_TIME_BYTES], "big") / 1000, data[_TIME_BYTES:]
    if len(rest) % _ENTRY_BYTES or len(rest) > MAX_DEVICES * _ENTRY_BYTES:
        return None
    entries = [rest[first : first + _ENTRY_BYTES] for first in range(0, len(rest), _ENTRY_BYTES)]
    if any(entry[:1] not in (_REVOKED, _IN_FORCE) for entry in entries):
        return None
    revoked, in_force = (tuple(entry[1:].hex() for entry in entries if entry[:1] == kind) for kind in (_REVOKED, _IN_FORCE))
    return Order(at, revoked, in_force)


def encode_answer(order: StunMessage, key: bytes) -> bytes:
    """That it is carried out."""
    return stun.encode(Method.SHUT_OUT, Class.SUCCESS, order.transaction_id, [], key=key)


def answered(datagram: bytes, secret: RelaySecret) -> bytes | None:
    """The transaction that the relay carried out; None for anything else."""
    try:
        message = stun.parse(datagram)
    except MalformedStun:
        return None
    if (message.method, message.message_class) != (Method.SHUT_OUT, Class.SUCCESS) or not message.has_integrity(order_key(secret)):
        return None
    return message.transaction_id
