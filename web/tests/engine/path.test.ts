import { expect, it } from "vitest";

import { pathView, type PathProfile } from "../../src/phone/engine/path";

const profile: PathProfile = {
  place: "Rome",
  carrier: "LEO",
  source: "simulated, as filed",
  point_of_presence: "Milan",
  satellite_names: ["SAT-1", "SAT-2"],
  gateway_names: ["Fucino"],
  time_unix_s: [100, 110, 120, 130],
  one_way_delay_s: [0.02, 0.03, 0.05, null],
  capacity_down_bps: [1, 1, 1, 0],
  capacity_up_bps: [1, 1, 1, 0],
  loss: [0, 0.01, 0.02, 1],
  elevation_deg: [40, 41, 60, null],
  serving: [0, 0, 1, -1],
  gateway: [0, 0, 0, -1],
  outage_start_unix_s: [119.5, 130],
  outage_end_unix_s: [120.5, 140],
  handover_unix_s: [120],
  notes: [],
};

it("is linear between samples of one satellite and jumps at a handover", () => {
  expect(pathView(profile, true, 105)).toMatchObject({ satellite: "SAT-1", gateway: "Fucino", elevationDeg: 40, loss: 0, inOutage: false, handoversS: [15] });
  expect(pathView(profile, true, 105).oneWayDelayMs).toBeCloseTo(25);
  expect(pathView(profile, true, 115).oneWayDelayMs).toBeCloseTo(30);
  expect(pathView(profile, true, 125)).toMatchObject({ satellite: "SAT-2", oneWayDelayMs: 50, handoversS: [] });
});

it("shows outages, and the ends of the profile as they are", () => {
  expect(pathView(profile, true, 120).inOutage).toBe(true);
  expect(pathView(profile, true, 120.5).inOutage).toBe(false);
  expect(pathView(profile, true, 1_000)).toMatchObject({ satellite: null, gateway: null, oneWayDelayMs: null, inOutage: true });
  expect(pathView(profile, true, 0).oneWayDelayMs).toBe(20);
  const { forecast } = pathView(profile, true, 100);
  expect(forecast[0]).toEqual([0, 20]);
  expect(forecast[20]).toEqual([20, null]);
  expect(forecast.at(-1)).toEqual([60, null]);
});

it("does not show the blink of a handover as an outage", () => {
  const blinking: PathProfile = { ...profile, outage_start_unix_s: [120, 130], outage_end_unix_s: [120.05, 140] };
  const view = pathView(blinking, true, 120.02);
  expect(view.inOutage).toBe(false);
  expect(view.forecast[0]?.[1]).not.toBeNull();
  expect(pathView(blinking, true, 131).inOutage).toBe(true);
});
