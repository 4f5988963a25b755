import { describe, expect, it } from "vitest";

import { utf8 } from "../../src/keys/bytes";
import { FrameGate, type MediaKeys } from "../../src/phone/engine/frames";
import { HealthMeter, LossMeter } from "../../src/phone/engine/health";

const baseKey = new Uint8Array(32).fill(5);
const keysOf = (own: bigint, peer: bigint, key = baseKey): MediaKeys => ({ send: { kid: own, baseKey: key }, receive: { kid: peer, baseKey: key } });
const frame = utf8("twenty milliseconds of speech");

describe("the gate that every frame passes", () => {
  it("lets nothing out and nothing in before the keys are set", async () => {
    const gate = new FrameGate();
    expect(await gate.seal(frame)).toBeNull();
    expect(await gate.open(frame)).toBeNull();
    expect(gate.counts).toEqual({ sealed: 0, withheld: 1, decrypted: 0, refused: 0, copies: 0 });
  });

  it("carries frames between two ends with the same key, and nobody hears himself", async () => {
    const [caller, callee] = [new FrameGate(), new FrameGate()];
    await caller.useKeys(keysOf(1n, 257n));
    await callee.useKeys(keysOf(257n, 1n));
    const sealed = (await caller.seal(frame)) as Uint8Array;
    expect(Buffer.from(sealed).includes("speech")).toBe(false);
    expect(await callee.open(sealed)).toEqual(frame);
    expect(await caller.open(sealed)).toBeNull();
    expect(callee.counts).toMatchObject({ decrypted: 1, refused: 0 });
  });

  it("drops everything under a wrong key, clear frames too", async () => {
    const [caller, callee] = [new FrameGate(), new FrameGate()];
    await caller.useKeys(keysOf(1n, 257n));
    await callee.useKeys(keysOf(257n, 1n, new Uint8Array(32)));
    for (let i = 0; i < 20; i++) expect(await callee.open((await caller.seal(frame)) as Uint8Array)).toBeNull();
    expect(await callee.open(frame)).toBeNull();
    expect(callee.counts).toMatchObject({ decrypted: 0, refused: 21 });
  });

  it("passes frames without content, and takes keys once only", async () => {
    const gate = new FrameGate();
    expect(await gate.seal(new Uint8Array())).toEqual(new Uint8Array());
    expect(await gate.open(new Uint8Array())).toEqual(new Uint8Array());
    await gate.useKeys(keysOf(1n, 257n));
    await expect(gate.useKeys(keysOf(1n, 257n))).rejects.toThrow("set already");
  });
});

describe("health, second by second", () => {
  const play = (...samples: [decrypted: number, refused: number][]): string[] => {
    const meter = new HealthMeter();
    let [decrypted, refused] = [0, 0];
    return samples.map(([d, r]) => meter.sample({ sealed: 0, withheld: 0, decrypted: (decrypted += d), refused: (refused += r), copies: 0 }));
  };

  it("is good while frames decrypt, interrupted when they stop, good again", () => {
    expect(play([0, 0], [50, 0], [48, 0], [0, 0], [3, 0], [50, 0])).toEqual(["starting", "good", "good", "interrupted", "interrupted", "good"]);
  });

  it("is undecryptable when all are refused, and not for a few stragglers", () => {
    expect(play([0, 3], [0, 50], [0, 50], [50, 0])).toEqual(["starting", "undecryptable", "undecryptable", "good"]);
    expect(play([45, 5])).toEqual(["good"]);
  });
});

it("measures loss over the last seconds only", () => {
  const meter = new LossMeter(2);
  expect(meter.sample(0, 0)).toBeNull();
  expect(meter.sample(10, 90)).toBeCloseTo(0.1);
  expect(meter.sample(10, 190)).toBeCloseTo(0.05);
  expect(meter.sample(10, 290)).toBe(0);
});
