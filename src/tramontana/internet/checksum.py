"""The checksum of IP, ICMP, TCP and UDP."""

from __future__ import annotations

import struct


def internet_checksum(data: bytes) -> int:
    """RFC 1071 §1: the complement of the sum of words; an odd last octet is followed by a zero."""
    even = data + bytes(len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(even) // 2}H", even))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
