import { describe, expect, it } from "vitest";

import { QualityMeter, type StreamTotals } from "../../src/phone/engine/quality";
import type { MediaHealth } from "../../src/phone/model";

const SECOND = 48_000;

/** Seconds of a stream: share concealed, packets lost, buffer in ms. */
function play(seconds: readonly { concealed?: number; lost?: number; bufferMs?: number; health?: MediaHealth }[], rttMs: number | null = 80) {
  const meter = new QualityMeter();
  const totals: StreamTotals = { packetsLost: 0, packetsReceived: 0, samples: 0, concealedSamples: 0, bufferDelayS: 0, emitted: 0 };
  return seconds.map(({ concealed = 0, lost = 0, bufferMs = 60, health = "good" }) => {
    totals.packetsLost += lost;
    totals.packetsReceived += 50 - lost;
    totals.samples += SECOND;
    totals.concealedSamples += concealed * SECOND;
    totals.emitted += SECOND;
    totals.bufferDelayS += (bufferMs / 1_000) * SECOND;
    return meter.sample({ ...totals }, health, rttMs);
  });
}
const steady = (second: Parameters<typeof play>[0][number]) => Array.from({ length: 12 }, () => second);

describe("how it sounds", () => {
  it("is good, fair or poor by what had to be made up", () => {
    expect(play(steady({})).at(-1)).toEqual({ grade: "good", concealed: 0, loss: 0, delayMs: 80 / 2 + 60 + 26.5 });
    expect(play(steady({ concealed: 0.013, lost: 1 })).at(-1)).toMatchObject({ grade: "fair", loss: 0.02 });
    expect(play(steady({ concealed: 0.1, lost: 5 })).at(-1)).toMatchObject({ grade: "poor", loss: 0.1 });
  });

  it("counts what was heard, not what was lost on the way: copies that helped are no harm", () => {
    expect(play(steady({ lost: 5 })).at(-1)).toMatchObject({ grade: "good", loss: 0.1, concealed: 0 });
  });

  it("suffers from delay alone", () => {
    expect(play(steady({ bufferMs: 280 }), 240).at(-1)?.grade).toBe("fair");
    expect(play(steady({ bufferMs: 380 }), 600).at(-1)?.grade).toBe("poor");
  });

  it("says so when nothing is heard", () => {
    expect(play([...steady({}), { concealed: 1 }, { concealed: 1 }]).at(-1)?.grade).toBe("none");
    expect(play(steady({ health: "undecryptable" })).at(-1)?.grade).toBe("none");
    expect(play([...steady({}), { health: "interrupted" }]).at(-1)?.grade).toBe("none");
  });

  it("claims nothing before it has measured", () => {
    expect(play([{}], null)).toEqual([null]);
    expect(play([{}, {}], null)[1]).toEqual({ grade: "good", concealed: 0, loss: 0, delayMs: null });
  });
});
