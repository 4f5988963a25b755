"""The RTP payload for redundant audio data (RFC 2198): older frames in front, the newest behind."""

from __future__ import annotations

from dataclasses import dataclass

MAX_OFFSET = (1 << 14) - 1
MAX_BLOCK_BYTES = (1 << 10) - 1


class MalformedRed(ValueError):
    """Not a payload of RFC 2198."""


@dataclass(frozen=True, slots=True)
class Block:
    """`offset`: how much older than the packet's timestamp, in ticks of its clock; 0 for the newest."""

    payload_type: int
    offset: int
    data: bytes


def parse_red(payload: bytes) -> list[Block]:
    """Oldest first, the newest last. Raises `MalformedRed`."""
    headers, at = [], 0
    while True:
        if at >= len(payload):
            raise MalformedRed("no newest block")
        if not payload[at] & 0x80:
            break
        if at + 4 > len(payload):
            raise MalformedRed("a header is cut short")
        fields = int.from_bytes(payload[at : at + 4], "big")
        headers.append((payload[at] & 0x7F, (fields >> 10) & MAX_OFFSET, fields & MAX_BLOCK_BYTES))
        at += 4
    newest_type = payload[at]
    at += 1
    blocks = []
    for payload_type, offset, length in headers:
        if at + length > len(payload):
            raise MalformedRed("a block is cut short")
        blocks.append(Block(payload_type, offset, payload[at : at + length]))
        at += length
    return [*blocks, Block(newest_type, 0, payload[at:])]


def encode_red(blocks: list[Block]) -> bytes:
    """Raises `MalformedRed` for a block that the format cannot carry."""
    *older, newest = blocks
    heads = []
    for block in older:
        if not 0 < block.offset <= MAX_OFFSET or len(block.data) > MAX_BLOCK_BYTES:
            raise MalformedRed("a block too old or too long for RFC 2198")
        heads.append(((0x80 | block.payload_type) << 24 | block.offset << 10 | len(block.data)).to_bytes(4, "big"))
    return b"".join([*heads, bytes([newest.payload_type]), *(block.data for block in blocks)])
