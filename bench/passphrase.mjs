// What one try of a passphrase costs the person: PBKDF2 by WebCrypto (native) beside Argon2id in JavaScript, in one run.
// Run from web/: `node ../bench/passphrase.mjs`

import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const require = createRequire(new URL("../web/package.json", import.meta.url));
const { argon2id } = await import(pathToFileURL(require.resolve("@noble/hashes/argon2.js")).href);
const [passphrase, salt] = [new TextEncoder().encode("sette galere a Lepanto"), new Uint8Array(32)];

async function milliseconds(work) {
  const began = performance.now();
  await work();
  return performance.now() - began;
}

const key = await crypto.subtle.importKey("raw", passphrase, "PBKDF2", false, ["deriveBits"]);
const native = await milliseconds(() => crypto.subtle.deriveBits({ name: "PBKDF2", hash: "SHA-512", salt, iterations: 1_000_000 }, key, 256));
console.log(`PBKDF2-HMAC-SHA-512, 1,000,000 iterations, native: ${native.toFixed(0)} ms`);
for (const [mebibytes, passes] of [
  [19, 2],
  [64, 3],
]) {
  const ms = await milliseconds(() => argon2id(passphrase, salt, { m: mebibytes * 1024, t: passes, p: 1, dkLen: 32 }));
  console.log(`Argon2id, ${mebibytes} MiB, ${passes} passes, JavaScript: ${ms.toFixed(0)} ms, ${(ms / native).toFixed(1)} times as long`);
}
