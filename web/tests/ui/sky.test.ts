import { describe, expect, test } from "vitest";
import { drawnLinks, takenOver } from "../../src/console/sky/links";
import { endUnixS, groundVector, parsePositions, positionAt, stepAt } from "../../src/console/sky/positions";
import { parseAdminToken } from "../../src/console/adminToken";
import type { Link, SkySummary } from "../../src/console/api";

/** Two satellites at three steps of 5 s; the second has no position at the last step. */
function octets(): ArrayBuffer {
  const buffer = new ArrayBuffer(24 + 3 * 2 * 12);
  const view = new DataView(buffer);
  view.setUint32(0, 2, true);
  view.setUint32(4, 3, true);
  view.setFloat64(8, 1000, true);
  view.setFloat64(16, 5, true);
  const values = [7000, 0, 0, 0, 0, 7000, 0, 7000, 0, 0, 0, 7000, -7000, 0, 0, NaN, NaN, NaN];
  values.forEach((value, i) => view.setFloat32(24 + 4 * i, value, true));
  return buffer;
}

describe("positions", () => {
  const track = parsePositions(octets());

  test("are read as the server writes them", () => {
    expect([track.count, track.steps, track.startUnixS, track.stepS]).toEqual([2, 3, 1000, 5]);
    expect(endUnixS(track)).toBe(1010);
    expect(positionAt(track, 0, 1000)).toEqual([7000, 0, 0]);
    expect(positionAt(track, 1, 1002)).toEqual([0, 0, 7000]);
  });

  test("are mixed between two steps and held at the ends", () => {
    expect(positionAt(track, 0, 1002.5)).toEqual([3500, 3500, 0]);
    expect(positionAt(track, 0, 0)).toEqual([7000, 0, 0]);
    expect(positionAt(track, 0, 5000)).toEqual([-7000, 0, 0]);
    expect(stepAt(track, 1009)).toEqual({ step: 1, share: 0.8 });
  });

  test("are null for a satellite that is no more, or never was", () => {
    expect(positionAt(track, 1, 1008)).toBeNull();
    expect(positionAt(track, 2, 1000)).toBeNull();
    expect(positionAt(track, -1, 1000)).toBeNull();
  });

  test.each([
    ["too short", (buffer: ArrayBuffer) => buffer.slice(0, 20)],
    ["cut off", (buffer: ArrayBuffer) => buffer.slice(0, -4)],
    ["longer than its header says", (buffer: ArrayBuffer) => new Uint8Array([...new Uint8Array(buffer), 0, 0, 0, 0]).buffer],
    [
      "without a step in time",
      (buffer: ArrayBuffer) => {
        new DataView(buffer).setFloat64(16, 0, true);
        return buffer;
      },
    ],
  ])("are refused when %s", (_, spoil) => {
    expect(() => parsePositions(spoil(octets()))).toThrow(RangeError);
  });
});

test("a place on the ground lies on the ellipsoid", () => {
  expect(groundVector(0, 0)[0]).toBeCloseTo(6378.137, 3);
  expect(groundVector(90, 0)[2]).toBeCloseTo(6356.752, 3); // WGS 84 polar radius
  const [x, y, z] = groundVector(45, 90);
  expect([x, y, z].map((value) => Number(value.toFixed(3)))).toEqual([0, 4517.591, 4487.348]); // N(45°) = 6388.838 km
});

describe("links", () => {
  const link = (placeId: string, satellite: number | null, next: number | null = satellite): Link => ({
    place_id: placeId,
    satellite_index: satellite,
    satellite: satellite === null ? null : `S${satellite}`,
    elevation_deg: 50,
    gateway_id: "foggia",
    one_way_delay_ms: 30,
    next_satellite_index: next,
  });
  const sky = {
    places: [{ place_id: "rome", name: "Rome", country: "IT", kind: "city", latitude_deg: 41.9, longitude_deg: 12.5 }],
    gateways: [{ site_id: "foggia", name: "Foggia", country: "IT", latitude_deg: 41.5, longitude_deg: 15.6, source: "" }],
  } as unknown as SkySummary;

  test("are drawn where a satellite serves a known place", () => {
    expect(drawnLinks(sky, [link("rome", 7), link("nowhere", 8)], "rome")).toEqual([
      { satellite: 7, place: groundVector(41.9, 12.5), gateway: groundVector(41.5, 15.6), selected: true },
    ]);
    expect(drawnLinks(sky, [link("rome", null)], null)).toEqual([]);
  });

  test("flash only for a satellite that took over from another", () => {
    expect(takenOver([link("rome", 1), link("bari", 2)], [link("rome", 1), link("bari", 3)])).toEqual([3]);
    expect(takenOver([link("rome", null)], [link("rome", 4)])).toEqual([4]);
    expect(takenOver([], [link("rome", 4)])).toEqual([]);
    expect(takenOver([link("rome", 4)], [link("rome", null)])).toEqual([]);
  });
});

test("an administrator's token is found in the link or alone, and nowhere else", () => {
  const token = "A".repeat(43);
  expect(parseAdminToken(`http://127.0.0.1/console#admin=${token}`)).toBe(token);
  expect(parseAdminToken(token)).toBe(token);
  expect(parseAdminToken(`http://127.0.0.1/phone#invite=${token}`)).toBeNull();
  expect(parseAdminToken("A")).toBeNull();
});
