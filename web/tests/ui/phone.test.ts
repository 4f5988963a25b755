// The parts of the telephone's interface that are plain functions.

import { afterEach, describe, expect, test } from "vitest";
import { chooseLanguage, format } from "../../src/i18n";
import type { PhoneState, ThreadEntry } from "../../src/phone/model";
import { announcements } from "../../src/phone/ui/announcements";
import { callSentence, isMissed } from "../../src/phone/ui/callSentence";
import { forecastGeometry } from "../../src/phone/ui/forecastPath";
import { parseInvitation } from "../../src/phone/ui/invitation";
import { SCENES } from "./fakeEngine";

const TOKEN = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNO-_";

function scene(name: string): PhoneState {
  const found = SCENES[name];
  if (!found) throw new Error(name);
  return found.state;
}

afterEach(() => chooseLanguage("en"));

describe("an invitation", () => {
  const whole = `invite=${TOKEN}&org=${TOKEN}`;
  test.each([
    ["what stands behind the #", whole],
    ["the link", `http://127.0.0.1:8443/phone#${whole}`],
    ["the link with spaces around it", `  https://phone.example/phone#${whole}\n`],
    ["the link with other fields", `https://phone.example/phone#x=1&org=${TOKEN}&invite=${TOKEN}`],
  ])("is found in %s", (_, pasted) => {
    expect(parseInvitation(pasted)).toBe(whole);
  });

  test.each(["", "hello", TOKEN, `invite=${TOKEN}`, `org=${TOKEN}`, `${whole}x`, `invite=${TOKEN.slice(1)}+&org=${TOKEN}`, "https://phone.example/phone#invite=&org="])(
    "is not found in %j",
    (pasted) => {
      expect(parseInvitation(pasted)).toBeNull();
    },
  );
});

describe("a call in the thread", () => {
  const call = (outgoing: boolean, outcome: Extract<ThreadEntry, { kind: "call" }>["outcome"], durationS = 0) =>
    ({ kind: "call", id: "1", at: 0, outgoing, outcome, durationS }) as const;

  test("that nobody took here is missed, in words", () => {
    for (const outcome of ["missed", "unanswered", "cancelled"] as const) {
      expect(isMissed(call(false, outcome))).toBe(true);
      expect(callSentence(call(false, outcome))).toBe("Missed call");
      expect(isMissed(call(true, outcome))).toBe(false);
    }
  });

  test("that was answered shows how long it took", () => {
    expect(callSentence(call(true, "answered", 3754))).toBe("Outgoing call · 1:02:34");
    chooseLanguage("it");
    expect(callSentence(call(false, "answered", 61))).toBe("Chiamata in arrivo · 1:01");
  });
});

describe("what a screen reader speaks", () => {
  const idle = scene("list");
  const withTexts = (...entries: ThreadEntry[]): PhoneState => ({ ...idle, threads: { ...idle.threads, a1: [...(idle.threads["a1"] ?? []), ...entries] } });
  const text = (outgoing: boolean, state: "sent" | "delivered" | "failed"): ThreadEntry => ({ kind: "text", id: "new", outgoing, sender: outgoing ? "me" : "a1", body: "Road open", at: 0, state, receipts: null });

  test("nothing while nothing changes", () => {
    expect(announcements(idle, idle)).toEqual([]);
  });

  test("a text that arrives, but not one's own", () => {
    expect(announcements(idle, withTexts(text(false, "delivered")))).toEqual(["Crisis room: Road open"]);
    expect(announcements(idle, withTexts(text(true, "sent")))).toEqual([]);
  });

  test("the fate of one's own text", () => {
    expect(announcements(withTexts(text(true, "sent")), withTexts(text(true, "delivered")))).toEqual(["Delivered to Crisis room."]);
    expect(announcements(withTexts(text(true, "sent")), withTexts(text(true, "failed")))).toEqual(["A message to Crisis room was not sent."]);
  });

  test("no flood when the threads are first read from storage", () => {
    expect(announcements(scene("opening"), idle)).toEqual([]);
  });

  test("the phases of a call, and its end by its outcome", () => {
    expect(announcements(idle, scene("ringing"))).toEqual(["Ringing: Crisis room."]);
    expect(announcements(scene("ringing"), scene("active"))).toEqual(["In a call: Crisis room."]);
    expect(announcements(scene("active"), scene("failed"))).toEqual(["The call failed."]);
  });

  test("an incoming call is left to its dialog", () => {
    expect(announcements(idle, scene("incoming"))).toEqual([]);
  });

  test("the server, lost and back", () => {
    expect(announcements(idle, { ...idle, server: "offline" })).toEqual(["Connection to the server lost."]);
    expect(announcements({ ...idle, server: "offline" }, idle)).toEqual(["Connected to the server again."]);
  });
});

describe("the drawing of the forecast", () => {
  test("joins what is steady, breaks where the satellite changes, and leaves a gap where there is no coverage", () => {
    const geometry = forecastGeometry(
      [
        [0, 30],
        [10, 30.4],
        [20, 40],
        [30, null],
        [40, null],
        [50, 35],
        [60, 35.5],
      ],
      [15, 90],
      120,
      60,
    );
    expect(geometry?.line.match(/M/g)).toHaveLength(3);
    expect(geometry?.line.match(/L/g)).toHaveLength(2);
    expect(geometry?.outages).toEqual([[60, 40]]);
    expect(geometry?.handovers).toEqual([30]);
    expect([geometry?.lowMs, geometry?.highMs, geometry?.spanS]).toEqual([30, 40, 60]);
  });

  test("draws nothing from nothing", () => {
    expect(forecastGeometry([], [], 120, 60)).toBeNull();
    expect(forecastGeometry([[0, 30]], [], 120, 60)).toBeNull();
    expect(
      forecastGeometry(
        [
          [0, null],
          [10, null],
        ],
        [],
        120,
        60,
      ),
    ).toBeNull();
  });
});

describe("figures and dates", () => {
  test("follow the language", () => {
    expect(format.integer(12345)).toBe("12,345");
    expect(format.percent(0.0042)).toBe("0.4%");
    chooseLanguage("it");
    expect(format.integer(12345)).toBe("12.345");
    expect(format.percent(0.0042)).toBe("0,4%");
  });

  test("a list shows the clock today, then yesterday, then the day", () => {
    const noon = new Date(2026, 10, 22, 12, 0).getTime();
    expect(format.recent(noon - 3_600_000, noon)).toBe("11:00");
    expect(format.recent(noon - 86_400_000, noon)).toBe("yesterday");
    expect(format.recent(noon - 3 * 86_400_000, noon)).toBe("19 Nov");
  });

  test("a clock that runs ahead does not break the day", () => {
    const noon = new Date(2026, 10, 22, 12, 0).getTime();
    expect(format.day(noon + 86_400_000, noon)).toBe("Monday 23 November");
  });
});
