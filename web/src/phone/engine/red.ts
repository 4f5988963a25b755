// The RTP payload for redundant audio data (RFC 2198), as Chromium sends it: older frames in front, the newest behind.

import type { Bytes } from "../../keys/bytes";

/** RFC 2198 §3: 14 bits of the timestamp's clock, 10 bits of octets. */
export const MAX_OFFSET = (1 << 14) - 1;
export const MAX_BLOCK_OCTETS = (1 << 10) - 1;
const REDUNDANT_HEADER_OCTETS = 4;

export interface RedBlock {
  payloadType: number;
  data: Uint8Array;
}

export interface RedundantBlock extends RedBlock {
  /** How much older than the packet's timestamp, in ticks of its clock. */
  offset: number;
}

export interface RedPayload {
  /** Oldest first. */
  redundant: RedundantBlock[];
  primary: RedBlock;
}

/** Not a payload of RFC 2198. */
export class MalformedRed extends Error {}

/** The blocks are views into `payload`. Throws MalformedRed. */
export function parseRed(payload: Uint8Array): RedPayload {
  const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
  const headers: { payloadType: number; offset: number; length: number }[] = [];
  let at = 0;
  for (;;) {
    if (at >= payload.length) throw new MalformedRed("no primary block");
    const first = view.getUint8(at);
    if ((first & 0x80) === 0) break;
    if (at + REDUNDANT_HEADER_OCTETS > payload.length) throw new MalformedRed("header cut short");
    const fields = view.getUint32(at);
    headers.push({ payloadType: first & 0x7f, offset: (fields >> 10) & MAX_OFFSET, length: fields & MAX_BLOCK_OCTETS });
    at += REDUNDANT_HEADER_OCTETS;
  }
  const payloadType = view.getUint8(at++) & 0x7f;
  const redundant = headers.map(({ payloadType, offset, length }) => {
    if (at + length > payload.length) throw new MalformedRed("block cut short");
    at += length;
    return { payloadType, offset, data: payload.subarray(at - length, at) };
  });
  return { redundant, primary: { payloadType, data: payload.subarray(at) } };
}

/** Throws RangeError for a block that the format cannot carry. */
export function buildRed({ redundant, primary }: RedPayload): Bytes {
  const blocks = redundant.reduce((octets, { data }) => octets + REDUNDANT_HEADER_OCTETS + data.length, 0);
  const payload = new Uint8Array(blocks + 1 + primary.data.length);
  const view = new DataView(payload.buffer);
  let at = 0;
  for (const { payloadType, offset, data } of redundant) {
    if (!(offset >= 0 && offset <= MAX_OFFSET) || data.length > MAX_BLOCK_OCTETS) throw new RangeError("a block too old or too long for RFC 2198");
    view.setUint32(at, ((0x80 | (payloadType & 0x7f)) << 24) | (offset << 10) | data.length);
    at += REDUNDANT_HEADER_OCTETS;
  }
  payload[at++] = primary.payloadType & 0x7f;
  for (const { data } of [...redundant, primary]) {
    payload.set(data, at);
    at += data.length;
  }
  return payload;
}
