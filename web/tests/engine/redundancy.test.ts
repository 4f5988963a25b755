import { describe, expect, it } from "vitest";

import { CallPath, forecastOf, type Clock } from "../../src/phone/engine/callpath";
import type { PathProfile } from "../../src/phone/engine/path";
import { buildRed, MalformedRed, MAX_OFFSET, parseRed, type RedPayload } from "../../src/phone/engine/red";
import { CopyWriter, gapsOnTheWay, offsetsAt, planCopies, playoutDelayMs, type Gap } from "../../src/phone/engine/redundancy";

/** A small generator with a seed, so that a failure can be repeated. */
function seeded(seed: number): (below: number) => number {
  let state = seed >>> 0 || 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}
const octets = (draw: (below: number) => number, length: number): Uint8Array => Uint8Array.from({ length }, () => draw(256));

describe("RFC 2198", () => {
  it("reads the layout of the standard's figure", () => {
    // One block of 5 octets, 160 ticks old, payload type 7; the primary is of type 5 (RFC 2198 §4's layout).
    const payload = Uint8Array.of(0x87, 160 >> 6, (160 & 0x3f) << 2, 5, 0x05, 1, 2, 3, 4, 5, 9, 8);
    expect(parseRed(payload)).toEqual({
      redundant: [{ payloadType: 7, offset: 160, data: Uint8Array.of(1, 2, 3, 4, 5) }],
      primary: { payloadType: 5, data: Uint8Array.of(9, 8) },
    });
    expect(buildRed(parseRed(payload))).toEqual(payload);
  });

  it("gives back whatever was put in", () => {
    for (let seed = 1; seed <= 200; seed++) {
      const draw = seeded(seed);
      const block = (most: number) => ({ payloadType: draw(128), data: octets(draw, draw(most)) });
      const redundant = Array.from({ length: draw(5) }, () => ({ ...block(1_024), offset: draw(MAX_OFFSET + 1) }));
      const made: RedPayload = { redundant, primary: block(2_000) };
      expect(parseRed(buildRed(made)), `seed ${seed}`).toEqual(made);
    }
  });

  it("refuses what is cut short, at every length, and never reads beyond", () => {
    const whole = buildRed({ redundant: [{ payloadType: 111, offset: 960, data: new Uint8Array(40) }], primary: { payloadType: 111, data: new Uint8Array() } });
    for (let length = 0; length < whole.length; length++) expect(() => parseRed(whole.subarray(0, length))).toThrow(MalformedRed);
    for (let seed = 1; seed <= 300; seed++) {
      const draw = seeded(seed);
      const noise = octets(draw, draw(60));
      try {
        const { redundant, primary } = parseRed(noise);
        expect(redundant.reduce((sum, { data }) => sum + 4 + data.length, 1) + primary.data.length).toBe(noise.length);
      } catch (error) {
        expect(error).toBeInstanceOf(MalformedRed);
      }
    }
  });

  it("cannot be made of blocks that its fields do not hold", () => {
    const primary = { payloadType: 111, data: new Uint8Array(1) };
    expect(() => buildRed({ redundant: [{ payloadType: 111, offset: MAX_OFFSET + 1, data: new Uint8Array(1) }], primary })).toThrow(RangeError);
    expect(() => buildRed({ redundant: [{ payloadType: 111, offset: 1, data: new Uint8Array(1_024) }], primary })).toThrow(RangeError);
  });
});

const FRAME_MS = 20;

/** A path that drops what is sent in its gaps; gives the frames, by number, that a receiver playing `delayMs` late had in time. */
function heard(gaps: readonly Gap[], planned: readonly Gap[], loss: number, delayMs: number, frames: number, clockErrorMs = 0): Set<number> {
  const writer = new CopyWriter();
  writer.plan = planCopies(planned, loss, clockErrorMs, 0);
  const had = new Set<number>();
  for (let n = 0; n < frames; n++) {
    const now = n * FRAME_MS;
    const frame = buildRed({ redundant: [], primary: { payloadType: 111, data: Uint8Array.of(n & 0xff, n >> 8) } });
    const written = parseRed(writer.write(frame, (4_294_000_000 + n * 960) >>> 0, now)); // wraps on the way
    if (gaps.some(({ at, lastsMs }) => now >= at && now < at + lastsMs)) continue;
    for (const { data } of [...written.redundant, written.primary]) {
      const number = (data[0] ?? 0) + 256 * (data[1] ?? 0);
      if ((n - number) * FRAME_MS <= delayMs) had.add(number);
    }
  }
  return had;
}

describe("copies over the gaps", () => {
  it("leave no frame unheard for any gap that the format spans, wherever it falls and however wrong the clock is", () => {
    for (let seed = 1; seed <= 60; seed++) {
      const draw = seeded(seed);
      const gap = { at: 3_000 + draw(2_000), lastsMs: 20 + draw(300) };
      const clockErrorMs = draw(500);
      const wrong = draw(2 * clockErrorMs + 1) - clockErrorMs;
      const delay = playoutDelayMs([gap], 0, 0) ?? 0;
      const had = heard([gap], [{ ...gap, at: gap.at + wrong }], 0, delay, 400, clockErrorMs);
      expect(had.size, `seed ${seed}: ${JSON.stringify(gap)}, clock ${wrong} ms`).toBe(400);
    }
  });

  it("are why: without them the frames of the gap are lost", () => {
    expect(heard([{ at: 3_000, lastsMs: 200 }], [], 0, 400, 400).size).toBe(390);
  });

  it("cost next to nothing where nothing is coming", () => {
    const gap = { at: 60_000, lastsMs: 200 };
    const plan = planCopies([gap], 0, 50, 0);
    expect(offsetsAt(plan, 30_000)).toEqual([]);
    const during = Array.from({ length: 15_000 / FRAME_MS }, (_, i) => offsetsAt(plan, 55_000 + i * FRAME_MS).length).reduce((a, b) => a + b);
    expect(during * FRAME_MS).toBeLessThan(1_000); // under a second of every fifteen
  });

  it("follow the measured loss between the gaps", () => {
    expect(planCopies([], 0.001, 0, 0).offsetsMs).toEqual([]);
    expect(planCopies([], 0.01, 0, 0).offsetsMs).toEqual([20]);
    expect(planCopies([], 0.05, 0, 0).offsetsMs).toEqual([80]);
    expect(planCopies([], 0.2, 0, 0).offsetsMs).toEqual([80, 160]);
  });

  it("leave long silences alone, and never make the receiver wait for more than G.114 allows", () => {
    expect(gapsOnTheWay([{ at: 1_000, lastsMs: 9_000 }], [], 0)).toEqual([]);
    for (const lastsMs of [20, 100, 200, 341, 400, 1_000]) expect(playoutDelayMs([{ at: 5_000, lastsMs }], 0.2, 0)).toBeLessThanOrEqual(400);
    expect(playoutDelayMs([], 0, 0)).toBeNull();
  });

  it("take gaps of both ends together where they touch", () => {
    expect(gapsOnTheWay([{ at: 1_000, lastsMs: 50 }], [{ at: 1_030, lastsMs: 50 }], 30)).toEqual([{ at: 1_000, lastsMs: 50 }]);
    expect(gapsOnTheWay([{ at: 1_000, lastsMs: 50 }], [{ at: 1_000, lastsMs: 50 }], 30)).toEqual([{ at: 970, lastsMs: 80 }]);
    expect(gapsOnTheWay([{ at: 1_000, lastsMs: 50 }], [{ at: 5_000, lastsMs: 50 }], 30)).toHaveLength(2);
  });

  it("never outgrow the packet, nor reach into another stream of time", () => {
    const writer = new CopyWriter();
    writer.plan = { offsetsMs: [20, 80], windows: [] };
    const frame = (data: Uint8Array) => buildRed({ redundant: [], primary: { payloadType: 111, data } });
    for (let n = 0; n < 20; n++) expect(writer.write(frame(new Uint8Array(600)), n * 960, 0).length).toBeLessThanOrEqual(1_100);
    expect(parseRed(writer.write(frame(new Uint8Array(60)), 5_000_000, 0)).redundant).toEqual([]);
  });

  it("replace the browser's own only once there is a plan", () => {
    const own = buildRed({ redundant: [{ payloadType: 111, offset: 960, data: new Uint8Array(9) }], primary: { payloadType: 111, data: new Uint8Array(9) } });
    const writer = new CopyWriter();
    expect(writer.write(own, 0, 0)).toBe(own);
    writer.plan = { offsetsMs: [], windows: [] };
    expect(parseRed(writer.write(own, 960, 0)).redundant).toEqual([]);
  });
});

describe("the way between two phones", () => {
  const profile = (outages: [number, number][], capacity = 5e6): PathProfile =>
    ({
      outage_start_unix_s: outages.map(([at]) => at),
      outage_end_unix_s: outages.map(([at, seconds]) => at + seconds),
      loss: [0.0, 0.0],
      capacity_up_bps: [capacity, 0],
      capacity_down_bps: [capacity, 0],
    }) as unknown as PathProfile;
  const clock = (): Clock & { at: number } => ({ at: 1_000_000, now() { return this.at; }, serverAheadMs: () => 5_000, serverErrorMs: () => 0 }); // prettier-ignore
  const quiet = { rttMs: 80, lossReceived: 0, lossSent: 0, availableBps: null };

  it("both ends plan the same for one direction, each from what it knows", () => {
    const [hers, his] = [profile([[1_010, 0.2]]), profile([[1_030, 0.1]])]; // the server's clock is 5 s ahead: 5 s and 25 s from now
    const [ada, bruno] = [new CallPath(clock()), new CallPath(clock())];
    bruno.peerTold(ada.ownChanged(hers));
    ada.peerTold(bruno.ownChanged(his));
    const [sends, receives] = [ada.tune(quiet), bruno.tune(quiet)];
    expect(sends.plan.windows.map(({ offsetsMs }) => offsetsMs)).toEqual([[220], [120]]);
    expect(sends.plan.windows[0]?.from).toBeLessThan(1_005_000 + 220);
    expect(sends.plan.windows[0]?.until).toBeGreaterThan(1_005_200 + 220);
    expect(receives.playoutDelayMs).toBe(280);
  });

  it("keeps the receiver's delay for a while after the last gap", () => {
    const now = clock();
    const path = new CallPath(now);
    path.ownChanged(profile([[1_010, 0.2]]));
    const delays = Array.from({ length: 120 }, () => {
      now.at += 1_000;
      return path.tune(quiet).playoutDelayMs;
    });
    expect(delays.slice(0, 70)).toEqual(Array(70).fill(280));
    expect(delays.at(-1)).toBeNull();
  });

  it("does not take the loss of an expected gap for loss of the path", () => {
    const now = clock();
    const path = new CallPath(now);
    path.ownChanged(profile([[1_010, 0.6]]));
    now.at += 20_000;
    expect(path.tune({ ...quiet, lossSent: 0.02 }).plan.offsetsMs).toEqual([]);
    expect(path.tune({ ...quiet, lossSent: 0.06 }).plan.offsetsMs).toEqual([80]);
  });

  it("spends what a thin path carries, down to 6 kbit/s, and comes back slowly", () => {
    const thin = new CallPath(clock());
    thin.ownChanged(profile([], 60_000));
    expect(thin.tune(quiet).rate).toBe(8_000);
    thin.ownChanged(profile([], 20_000));
    expect(thin.tune(quiet).rate).toBe(6_000);
    thin.ownChanged(profile([]));
    const rates = Array.from({ length: 60 }, () => thin.tune(quiet).rate);
    expect(rates[0]).toBe(6_000);
    expect(rates.at(-1)).toBe(32_000);
  });

  it("gives way when the queue builds up or a third is lost", () => {
    for (const bad of [{ rttMs: 600 }, { lossSent: 0.3 }]) {
      const path = new CallPath(clock());
      const before = path.tune(quiet).rate;
      const rates = Array.from({ length: 20 }, () => path.tune({ ...quiet, ...bad }).rate);
      expect(rates.at(-1)).toBeLessThan(before);
      expect(Math.min(...rates)).toBeGreaterThanOrEqual(6_000);
    }
  });

  it("tells at most what a message may hold, from now on", () => {
    const many = Array.from({ length: 90 }, (_, i): [number, number] => [900 + 5 * i, 0.05]);
    const told = forecastOf(profile(many), 1_000);
    expect(told.outages).toHaveLength(32);
    expect(told.outages[0]?.[0]).toBe(1_000);
    expect(told.capacityUpBps).toBe(5e6);
  });
});
