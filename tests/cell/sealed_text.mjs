// A second implementation of the framing of sealed texts, by Node's own cryptography: one JSON object a line in, one out.
import { createCipheriv, createDecipheriv } from "node:crypto";
import { createInterface } from "node:readline";

for await (const line of createInterface({ input: process.stdin })) {
  const { exported, counter, plaintext, datagram } = JSON.parse(line);
  const secret = Buffer.from(exported, "hex");
  const [key, salt, keyId] = [secret.subarray(0, 32), secret.subarray(32, 44), secret.subarray(44)];
  const nonceOf = (octets) => {
    const nonce = Buffer.from(salt);
    for (let i = 0; i < 5; i++) nonce[7 + i] ^= octets[i];
    return nonce;
  };
  const count = Buffer.alloc(8);
  count.writeBigUInt64BE(BigInt(counter));
  const header = Buffer.concat([keyId, count.subarray(3)]);
  const cipher = createCipheriv("aes-256-gcm", key, nonceOf(count.subarray(3)));
  cipher.setAAD(header);
  const sealed = Buffer.concat([header, cipher.update(Buffer.from(plaintext, "hex")), cipher.final(), cipher.getAuthTag()]);
  const given = Buffer.from(datagram, "hex");
  const decipher = createDecipheriv("aes-256-gcm", key, nonceOf(given.subarray(2, 7)));
  decipher.setAAD(given.subarray(0, 7));
  decipher.setAuthTag(given.subarray(-16));
  const opened = Buffer.concat([decipher.update(given.subarray(7, -16)), decipher.final()]);
  console.log(JSON.stringify({ sealed: sealed.toString("hex"), opened: opened.toString("hex") }));
}
