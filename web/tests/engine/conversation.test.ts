import { describe, expect, it } from "vitest";

import { fromUtf8, randomId, utf8 } from "../../src/keys/bytes";
import { Conversation, MessageRefused, type Received, type StoredKeyPackage } from "../../src/keys/conversation";
import { DeviceKey } from "../../src/keys/statement";
import { SUITE_NAME, suiteFor } from "../../src/keys/suite";
import { converse, Directory, keep, newDevice, NOW } from "./world";

async function pair() {
  const directory = new Directory();
  const [alice, bob] = [await newDevice(directory), await newDevice(directory)];
  const { seats } = await converse(alice, [bob]);
  const [a, b] = seats.map((seat) => seat.conversation) as [Conversation, Conversation];
  return { directory, alice, bob, a, b };
}

function text(received: Received): string {
  if (received.kind !== "application") throw new Error("not an application message");
  return fromUtf8(received.plaintext);
}

describe("suite 0xF002", () => {
  it("is X-Wing: sizes of key and ciphertext, and what is sealed opens", async () => {
    const { hpke } = suiteFor(await DeviceKey.generate());
    const pair = await hpke.generateKeyPair();
    const publicKey = await hpke.exportPublicKey(pair.publicKey);
    expect(publicKey.length).toBe(1216);
    const untouched = publicKey.slice();
    const sealed = await hpke.seal(await hpke.importPublicKey(publicKey), utf8("testo"), utf8("info"), utf8("aad"));
    expect(sealed.enc.length).toBe(1120);
    expect(publicKey).toEqual(untouched);
    expect(fromUtf8(await hpke.open(pair.privateKey, sealed.enc, sealed.ct, utf8("info"), utf8("aad")))).toBe("testo");
    await expect(hpke.open(pair.privateKey, sealed.enc, sealed.ct, utf8("other"), utf8("aad"))).rejects.toThrow();
  });

  it("derives the same key pair from the same secret, after export and import too", async () => {
    const { hpke } = suiteFor(await DeviceKey.generate());
    const secret = new Uint8Array(48).fill(7);
    const [first, second] = [await hpke.deriveKeyPair(secret), await hpke.deriveKeyPair(secret)];
    expect(await hpke.exportPublicKey(first.publicKey)).toEqual(await hpke.exportPublicKey(second.publicKey));
    const copy = await hpke.importPrivateKey(await hpke.exportPrivateKey(first.privateKey));
    const sealed = await hpke.seal(second.publicKey, utf8("x"), new Uint8Array());
    expect(await hpke.open(copy, sealed.enc, sealed.ct, new Uint8Array())).toEqual(utf8("x"));
  });

  it("signs with the device's own key only, and that key cannot be exported", async () => {
    const key = await DeviceKey.generate();
    const suite = suiteFor(key);
    const signature = await suite.signature.sign(key.publicKey, utf8("m"));
    expect(await suite.signature.verify(key.publicKey, utf8("m"), signature)).toBe(true);
    expect(await suite.signature.verify(key.publicKey, utf8("n"), signature)).toBe(false);
    await expect(suite.signature.sign(new Uint8Array(32), utf8("m"))).rejects.toThrow("another device key");
    await expect(crypto.subtle.exportKey("pkcs8", key.store().privateKey)).rejects.toThrow();
  });
});

describe("a conversation", () => {
  it("carries texts both ways, names the sender, and both export the same keys", async () => {
    const { alice, bob, a, b } = await pair();
    const there = await b.receive((await a.encrypt(utf8("ciao"), keep)).message, keep);
    expect(text(there)).toBe("ciao");
    expect(there.sender).toMatchObject(alice.identity);
    const back = await a.receive((await b.encrypt(utf8("salve"), keep)).message, keep);
    expect(text(back)).toBe("salve");
    expect(back.sender).toMatchObject(bob.identity);
    const [ka, kb] = [a.keys(), b.keys()];
    expect(ka.ownLeaf).not.toBe(kb.ownLeaf);
    expect(await ka.export("l", utf8("c"), 32)).toEqual(await kb.export("l", utf8("c"), 32));
    expect(await ka.export("l", utf8("d"), 32)).not.toEqual(await kb.export("l", utf8("c"), 32));
  });

  it("writes the suite's number and PrivateMessage framing that the server reads", async () => {
    const { alice, a } = await pair();
    const keyPackage = (await alice.newKeyPackage(NOW)).message;
    expect([...keyPackage.slice(0, 8)]).toEqual([0, 1, 0, 5, 0, 1, 0xf0, 0x02]); // mls10, key package, mls10, suite
    const pending = await a.prepareCommit({}, NOW);
    expect([...pending.commit.slice(0, 5)]).toEqual([0, 1, 0, 2, 16]); // mls10, private message, 16 bytes of group id
    expect(pending.commit[5 + 16 + 8]).toBe(3); // content type commit
    expect(SUITE_NAME).toBe("61442");
  });

  it("takes messages out of order and of the epoch before", async () => {
    const { a, b } = await pair();
    const first = await a.encrypt(utf8("1"), keep);
    const second = await a.encrypt(utf8("2"), keep);
    expect(text(await b.receive(second.message, keep))).toBe("2");
    expect(text(await b.receive(first.message, keep))).toBe("1");
    const late = await b.encrypt(utf8("late"), keep);
    const pending = await a.prepareCommit({}, NOW);
    await a.merge(pending, keep);
    expect(text(await a.receive(late.message, keep))).toBe("late");
    expect(await b.receive(pending.commit, keep)).toMatchObject({ kind: "commit", epoch: 2n });
    expect(text(await b.receive((await a.encrypt(utf8("after"), keep)).message, keep))).toBe("after");
  });

  it("renews all secrets with an update commit", async () => {
    const { a, b } = await pair();
    const before = a.keys();
    const pending = await a.prepareCommit({}, NOW);
    expect(pending.welcome).toBeNull();
    await a.merge(pending, keep);
    await b.receive(pending.commit, keep);
    expect(await a.keys().export("l", utf8(""), 32)).toEqual(await b.keys().export("l", utf8(""), 32));
    expect(await a.keys().export("l", utf8(""), 32)).not.toEqual(await before.export("l", utf8(""), 32));
    expect((await before.export("l", utf8(""), 32)).length).toBe(32); // a call keeps the keys that it began with
  });

  it("survives being stored and restored at both ends, with messages under way", async () => {
    const { alice, bob, a, b } = await pair();
    const underWay = await a.encrypt(utf8("in flight"), keep);
    const accounts = new Set([alice.identity.accountId, bob.identity.accountId]);
    const a2 = Conversation.restore(a.id, alice, accounts, a.serialise());
    const b2 = Conversation.restore(b.id, bob, accounts, b.serialise());
    expect(text(await b2.receive(underWay.message, keep))).toBe("in flight");
    expect(text(await b2.receive((await a2.encrypt(utf8("next"), keep)).message, keep))).toBe("next");
    expect(() => Conversation.restore(randomId(), alice, accounts, a.serialise())).toThrow(RangeError);
  });

  it("persists before anything leaves or is believed: if that fails, nothing has moved", async () => {
    const { a, b } = await pair();
    const before = a.serialise();
    const refuse = async (): Promise<void> => {
      throw new Error("disk full");
    };
    await expect(a.encrypt(utf8("x"), refuse)).rejects.toThrow("disk full");
    expect(a.serialise()).toEqual(before);
    const sealed = await a.encrypt(utf8("y"), keep);
    await expect(b.receive(sealed.message, refuse)).rejects.toThrow("disk full");
    expect(text(await b.receive(sealed.message, keep))).toBe("y");
    let kept: Uint8Array | undefined;
    await a.encrypt(utf8("z"), async (state) => {
      kept = state;
    });
    expect(kept).toEqual(a.serialise());
  });

  it("refuses tampered, foreign, repeated and senseless messages without burning a key", async () => {
    const { a, b } = await pair();
    const { message } = await a.encrypt(utf8("whole"), keep);
    const before = b.serialise();
    for (let i = 0; i < message.length; i += 7) {
      const tampered = message.slice();
      tampered[i] = (tampered[i] ?? 0) ^ 0x40;
      await expect(b.receive(tampered, keep)).rejects.toThrow(MessageRefused);
    }
    await expect(b.receive(message.slice(0, -1), keep)).rejects.toThrow(MessageRefused);
    await expect(b.receive(new Uint8Array(), keep)).rejects.toThrow(MessageRefused);
    const stranger = await pair();
    await expect(b.receive((await stranger.a.encrypt(utf8("?"), keep)).message, keep)).rejects.toThrow("another conversation");
    expect(b.serialise()).toEqual(before);
    expect(text(await b.receive(message, keep))).toBe("whole");
    await expect(b.receive(message, keep)).rejects.toThrow(MessageRefused);
  });

  it("drops a pending commit that lost the race and follows the one that was accepted", async () => {
    const { a, b } = await pair();
    const [mine, theirs] = [await a.prepareCommit({}, NOW), await b.prepareCommit({}, NOW)];
    await b.merge(theirs, keep);
    await a.receive(theirs.commit, keep); // the server took b's: a's is forgotten
    await expect(a.merge(mine, keep)).rejects.toThrow("another epoch");
    expect(text(await b.receive((await a.encrypt(utf8("in step"), keep)).message, keep))).toBe("in step");
  });

  it("admits only names and keys that the directory confirms, of accounts that belong here", async () => {
    const directory = new Directory();
    const [alice, bob, mallory] = [await newDevice(directory), await newDevice(directory), await newDevice(directory)];
    const accounts = new Set([alice.identity.accountId, bob.identity.accountId]);
    const conversation = await Conversation.create(randomId(), alice, accounts, NOW);
    const offer = async (device: typeof bob, identity = device.identity, now = NOW) =>
      conversation.prepareCommit({ added: [{ identity, keyPackage: (await device.newKeyPackage(now)).message }] }, NOW);
    await expect(offer(mallory)).rejects.toThrow("outside the conversation");
    await expect(offer(mallory, bob.identity)).rejects.toThrow("another name");
    await expect(offer(bob, bob.identity, NOW - 200 * 86_400)).rejects.toThrow("expired");
    directory.enter(bob.identity, mallory.key.publicKey); // the directory now names another key for bob
    await expect(offer(bob)).rejects.toThrow("Could not validate credential");
    directory.enter(bob.identity, bob.key.publicKey);
    expect((await offer(bob)).welcome).not.toBeNull();
  });

  it("refuses a welcome into a group with somebody whom the joiner does not expect", async () => {
    const directory = new Directory();
    const [alice, bob, mallory] = [await newDevice(directory), await newDevice(directory), await newDevice(directory)];
    const id = randomId();
    const everyone = new Set([alice, bob, mallory].map((device) => device.identity.accountId));
    const trap = await Conversation.create(id, mallory, everyone, NOW);
    const packages = [await alice.newKeyPackage(NOW), await bob.newKeyPackage(NOW)] as [StoredKeyPackage, StoredKeyPackage];
    const added = [
      { identity: alice.identity, keyPackage: packages[0].message },
      { identity: bob.identity, keyPackage: packages[1].message },
    ];
    const pending = await trap.prepareCommit({ added }, NOW);
    const welcome = pending.welcome as Uint8Array;
    const join = (accounts: Iterable<string>) => Conversation.join(id, bob, new Set(accounts), welcome, [packages[1]]);
    await expect(join([alice.identity.accountId, bob.identity.accountId])).rejects.toThrow("outside the conversation");
    await expect(Conversation.join(randomId(), bob, everyone, welcome, [packages[1]])).rejects.toThrow("another conversation");
    await expect(Conversation.join(id, bob, everyone, welcome, [await bob.newKeyPackage(NOW)])).rejects.toThrow("no longer has");
    await expect(join(everyone)).resolves.toBeDefined();
  });
});

describe("three members", () => {
  it("hear each other, and each knows who spoke", async () => {
    const directory = new Directory();
    const devices = [await newDevice(directory), await newDevice(directory), await newDevice(directory)] as const;
    const { seats } = await converse(devices[0], devices.slice(1));
    for (const speaker of seats) {
      const { message } = await speaker.conversation.encrypt(utf8(speaker.device.identity.deviceId), keep);
      for (const listener of seats) {
        if (listener === speaker) continue;
        const received = await listener.conversation.receive(message, keep);
        expect(received.sender.deviceId).toBe(speaker.device.identity.deviceId);
        expect(text(received)).toBe(speaker.device.identity.deviceId);
      }
    }
  });
});
