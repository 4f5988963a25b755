import { expect, it } from "vitest";

import { fromHex, randomId, toHex, utf8 } from "../../src/keys/bytes";
import { commitTo, newNonce, revealMatches, shortCode, sixDigits } from "../../src/keys/shortcode";
import { encodeStatement } from "../../src/keys/statement";
import { converse, Directory, newDevice } from "./world";

it("commits with SHA-256 over label, zero and nonce", async () => {
  // printf 'tramontana short code 1\0' followed by bytes 00..0f, through sha256sum
  const nonce = fromHex("000102030405060708090a0b0c0d0e0f");
  expect(toHex(await commitTo(nonce))).toBe("3561e801fc2978a397342beeaf014078d398a133d05c41e0bcee74c5e7881807");
});

it("takes the nonce that was committed to and no other", async () => {
  const nonce = newNonce();
  const commitment = await commitTo(nonce);
  expect(await revealMatches(commitment, nonce)).toBe(true);
  expect(await revealMatches(commitment, newNonce())).toBe(false);
  expect(await revealMatches(commitment, new Uint8Array(15))).toBe(false);
});

it("shows six digits with leading zeros", () => {
  expect(sixDigits(fromHex("00000007"))).toBe("000007");
  expect(sixDigits(fromHex("ffffffff"))).toBe("967295");
  expect(sixDigits(fromHex("000f4240"))).toBe("000000");
});

it("is the same at both ends of a conversation and depends on both nonces and the call", async () => {
  const directory = new Directory();
  const { seats } = await converse(await newDevice(directory), [await newDevice(directory)]);
  const [a, b] = seats.map((seat) => seat.conversation.keys().export);
  if (a === undefined || b === undefined) throw new Error("two seats");
  const [call, na, nb] = [randomId(), newNonce(), newNonce()];
  const code = await shortCode(a, call, na, nb);
  expect(code).toMatch(/^\d{6}$/);
  expect(await shortCode(b, call, na, nb)).toBe(code);
  const others = [await shortCode(b, call, nb, na), await shortCode(b, randomId(), na, nb), await shortCode(b, call, na, newNonce())];
  expect(others.filter((other) => other === code).length).toBeLessThan(2); // one in a million may collide
});

it("frames the fields of a statement with two-byte lengths", () => {
  expect(toHex(encodeStatement("c", [utf8("ab"), new Uint8Array(0)]))).toBe("6300" + "00026162" + "0000");
  expect(() => encodeStatement("c", [new Uint8Array(65_536)])).toThrow(RangeError);
});
