import { describe, expect, it } from "vitest";

import { randomId, toBase64 } from "../../src/keys/bytes";
import { Directory } from "../../src/phone/engine/directory";
import { backoffMs, ServerClock } from "../../src/phone/engine/session";

describe("the server's clock", () => {
  const aheadMs = 7_300;

  it("is known ever better from headers that are cut to whole seconds, some of them a second old", () => {
    const clock = new ServerClock();
    expect(clock.aheadMs).toBe(0);
    let width = Number.POSITIVE_INFINITY;
    for (let i = 0; i < 40; i++) {
      const sentAt = 1_000_000 + i * 777;
      const staleMs = (i * 337) % 1_000;
      clock.observe(Math.floor((sentAt + 40 + aheadMs - staleMs) / 1_000), sentAt, sentAt + 80);
      expect(Math.abs(clock.aheadMs - aheadMs)).toBeLessThanOrEqual(clock.errorMs);
      expect(clock.errorMs).toBeLessThanOrEqual(width);
      width = clock.errorMs;
    }
    expect(width).toBeLessThan(600);
  });

  it("is known to half a round trip from a time that is told exactly", () => {
    const clock = new ServerClock();
    clock.observe(1_007, 1_000_000, 1_000_080);
    clock.observe((1_000_500 + 40 + aheadMs) / 1_000, 1_000_500, 1_000_580, 0);
    expect(clock.errorMs).toBeLessThanOrEqual(40);
    expect(Math.abs(clock.aheadMs - aheadMs)).toBeLessThanOrEqual(40);
  });

  it("starts again when a clock was set", () => {
    const clock = new ServerClock();
    clock.observe(1_000, 1_000_000, 1_000_050);
    clock.observe(5_000, 1_001_000, 1_001_050);
    expect(Math.abs(clock.aheadMs / 1_000 - 3_999.5)).toBeLessThan(1);
  });
});

it("waits longer after every failure, never beyond 15 s, and not in step with others", () => {
  expect([0, 1, 2, 3].map((failures) => backoffMs(failures, 1))).toEqual([500, 1_000, 2_000, 4_000]);
  expect(backoffMs(50, 1)).toBe(15_000);
  expect(backoffMs(3, 0)).toBe(2_000);
});

describe("directory and pins", () => {
  const own = { accountId: randomId(), deviceId: randomId() };
  const ownKey = new Uint8Array(32).fill(1);
  const [peer, device] = [randomId(), randomId()];
  const [key, otherKey] = [new Uint8Array(32).fill(2), new Uint8Array(32).fill(3)];
  const listed = (...devices: [string, Uint8Array][]) => [
    { account_id: peer, display_name: "Bruno", precedence_ceiling: "routine" as const, online: true, devices: devices.map(([device_id, k]) => ({ device_id, signature_public_key: toBase64(k) })) },
  ];

  it("pins a key at first sight and believes nothing that comes later", () => {
    const directory = new Directory(own, ownKey);
    expect(directory.accepts(peer, device, key)).toBe(false);
    const changes = directory.update(listed([device, key]));
    expect(changes.map(({ table, key: row }) => [table, row])).toEqual([["pins", peer]]);
    expect(directory.accepts(peer, device, key)).toBe(true);
    expect(directory.accepts(peer, device, otherKey)).toBe(false);
    expect(directory.update(listed([device, key]))).toEqual([]);

    directory.update(listed([device, otherKey]));
    expect([directory.keyChanged(peer), directory.accepts(peer, device, otherKey), directory.accepts(peer, device, key)]).toEqual([true, false, false]);
    directory.update(listed([device, key], [randomId(), otherKey]));
    expect(directory.keyChanged(peer)).toBe(true);
    directory.update(listed([device, key]));
    expect([directory.keyChanged(peer), directory.accepts(peer, device, key)]).toEqual([false, true]);
  });

  it("keeps pins over a restart, before the server was asked", () => {
    const first = new Directory(own, ownKey);
    const rows = new Map(first.update(listed([device, key])).map(({ key: row, value }) => [row, value]));
    const again = new Directory(own, ownKey);
    again.load(rows);
    expect(again.people()).toMatchObject([{ accountId: peer, displayName: "Bruno", online: false, keyChanged: false }]);
    expect(again.accepts(peer, device, key)).toBe(false); // the directory has to say so too
    again.update(listed([device, otherKey]));
    expect(again.keyChanged(peer)).toBe(true);
  });

  it("knows itself by its own key, whatever the directory says", () => {
    const directory = new Directory(own, ownKey);
    expect(directory.accepts(own.accountId, own.deviceId, ownKey)).toBe(true);
    expect(directory.accepts(own.accountId, own.deviceId, otherKey)).toBe(false);
    expect(directory.accepts(own.accountId, randomId(), ownKey)).toBe(false);
  });
});
