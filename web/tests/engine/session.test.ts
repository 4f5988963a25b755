import { describe, expect, it } from "vitest";

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
