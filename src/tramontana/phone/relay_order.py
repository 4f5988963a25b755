"""The server's order to the media relay: these devices are revoked, carry nothing of theirs any more.

A STUN request of a method of our own, to the relay's own port: no other socket, and it reaches a relay on another machine. It is signed
with a key that both make from their shared secret; a relay that is not ours (coturn) does not answer it. Sans-I/O.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from tramontana.phone import stun
from tramontana.phone.relay_secret import RelaySecret
from tramontana.phone.stun import Attribute, Class, MalformedStun, Method, StunMessage

KEY_CONTEXT = "tramontana relay order 1"
MAX_DEVICES = 64
"""In one order: 1,024 octets, so that no path splits the datagram."""
_ID_BYTES = 16


def order_key(secret: RelaySecret) -> bytes:
    """Signs orders and their answers, and no request of a phone: they have names and nonces."""
    return secret.derive_key(KEY_CONTEXT)


def encode_orders(secret: RelaySecret, device_ids: Collection[str], transaction_ids: Iterator[bytes]) -> dict[bytes, bytes]:
    """Transaction → datagram, `MAX_DEVICES` in each. transaction_ids: of 12 octets, never used before."""
    octets = [bytes.fromhex(device_id) for device_id in sorted(set(device_ids))]
    orders = {}
    for first in range(0, len(octets), MAX_DEVICES):
        transaction_id = next(transaction_ids)
        attributes = [(Attribute.DATA, b"".join(octets[first : first + MAX_DEVICES]))]
        orders[transaction_id] = stun.encode(Method.SHUT_OUT, Class.REQUEST, transaction_id, attributes, key=order_key(secret))
    return orders


def parse_order(message: StunMessage, key: bytes) -> list[str] | None:
    """The devices of an order; None if it is not the server's."""
    data = message.get(Attribute.DATA)
    if not message.has_integrity(key) or data is None or len(data) % _ID_BYTES or len(data) > MAX_DEVICES * _ID_BYTES:
        return None
    return [data[at : at + _ID_BYTES].hex() for at in range(0, len(data), _ID_BYTES)]


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
