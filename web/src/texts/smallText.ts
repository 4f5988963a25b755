// A text in as few octets as it needs: the plaintext of a sealed text (keys/sealedText.ts, cell/small_text.py).

import { utf8, type Bytes } from "../keys/bytes";
import { BadSeptets, decode, encode, missing, pack, unpack } from "./gsmAlphabet";

const MOST_SEPTETS = 255;
const utf8Decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** The octets of a text: count (1) ‖ packed septets, or 0 ‖ UTF-8, whichever is shorter. They may be too many: compare with the most. */
export function encodeText(text: string): Bytes {
  const plain = Uint8Array.of(0, ...utf8(text));
  if (missing(text) !== "") return plain;
  const septets = encode(text);
  if (septets.length === 0 || septets.length > MOST_SEPTETS) return plain;
  const packed = Uint8Array.of(septets.length, ...pack(septets));
  return packed.length < plain.length ? packed : plain;
}

/** The text of a plaintext; null where its content cannot be read: the other end may be newer. */
export function decodeText(plaintext: Uint8Array): string | null {
  const [count] = plaintext;
  if (count === undefined) return null;
  try {
    return count === 0 ? utf8Decoder.decode(plaintext.subarray(1)) : decode(unpack(plaintext.subarray(1), count));
  } catch (error) {
    if (error instanceof TypeError || error instanceof BadSeptets) return null;
    throw error;
  }
}
