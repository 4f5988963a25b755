// The GSM 7 bit default alphabet with its extension table, and how septets are packed into octets (3GPP TS 23.038).

import type { Bytes } from "../keys/bytes";

const ESCAPE = 0x1b;
// TS 23.038 §6.2.1, in the order of the codes 0x00 to 0x7F; the escape stands at its place as U+001B.
const DEFAULT =
  "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞ\x1bÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà";
// TS 23.038 §6.2.1.1: what follows an escape.
const EXTENSION: ReadonlyMap<number, string> = new Map([
  [0x0a, "\f"],
  [0x14, "^"],
  [0x28, "{"],
  [0x29, "}"],
  [0x2f, "\\"],
  [0x3c, "["],
  [0x3d, "~"],
  [0x3e, "]"],
  [0x40, "|"],
  [0x65, "€"],
]);
const SEPTETS: ReadonlyMap<string, readonly number[]> = new Map([
  ...[...DEFAULT].map((character, code): [string, readonly number[]] => [character, [code]]).filter(([, [code]]) => code !== ESCAPE),
  ...[...EXTENSION].map(([code, character]): [string, readonly number[]] => [character, [ESCAPE, code]]),
]);

/** Octets that are not a text in the GSM 7 bit default alphabet. */
export class BadSeptets extends Error {}

/** The characters of the text that the alphabet lacks, each once, in the order of their appearance. */
export function missing(text: string): string {
  return [...new Set([...text].filter((character) => !SEPTETS.has(character)))].join("");
}

/** Septets that one character takes: 1, or 2 from the extension table; 0 where the alphabet lacks it. */
export function septetsOf(character: string): number {
  return SEPTETS.get(character)?.length ?? 0;
}

/** One octet a septet, its highest bit clear. Throws RangeError on a text with characters that the alphabet lacks. */
export function encode(text: string): Bytes {
  return Uint8Array.from(
    [...text].flatMap((character) => {
      const septets = SEPTETS.get(character);
      if (septets === undefined) throw new RangeError(`the GSM 7 bit default alphabet lacks ${character}`);
      return septets;
    }),
  );
}

/**
 * The text of septets. An unknown code after an escape reads as the default alphabet's character, and an escape at the very end or
 * before another one as a space, as §6.2.1.1 wants of a receiver. Throws BadSeptets on a value above 127.
 */
export function decode(septets: Uint8Array): string {
  let text = "";
  let escaped = false;
  for (const septet of septets) {
    if (septet > 0x7f) throw new BadSeptets(`${septet} is no septet`);
    if (escaped) {
      escaped = false;
      text += septet === ESCAPE ? " " : (EXTENSION.get(septet) ?? DEFAULT[septet] ?? "");
    } else if (septet === ESCAPE) escaped = true;
    else text += DEFAULT[septet] ?? "";
  }
  return escaped ? `${text} ` : text;
}

/** Septets into octets, the first one in the lowest bits (TS 23.038 §6.1.2.1.1). Bits left over are 0. */
export function pack(septets: Uint8Array): Bytes {
  const octets = new Uint8Array(Math.ceil((septets.length * 7) / 8));
  septets.forEach((septet, index) => {
    const at = index * 7;
    const shifted = septet << (at % 8);
    octets[at >> 3] = (octets[at >> 3] ?? 0) | (shifted & 0xff);
    if (shifted > 0xff) octets[(at >> 3) + 1] = shifted >> 8;
  });
  return octets;
}

/** The first `count` septets of octets, one octet each. Throws BadSeptets where there are fewer. */
export function unpack(octets: Uint8Array, count: number): Bytes {
  if (7 * count > 8 * octets.length) throw new BadSeptets(`${count} septets do not fit into ${octets.length} octets`);
  return Uint8Array.from({ length: count }, (_, index) => {
    const at = index * 7;
    const pair = (octets[at >> 3] ?? 0) | ((octets[(at >> 3) + 1] ?? 0) << 8);
    return (pair >> (at % 8)) & 0x7f;
  });
}
