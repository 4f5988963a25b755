import { describe, expect, it } from "vitest";

import { utf8 } from "../../src/keys/bytes";
import { encodeMlsKid, parseHeader, parseMlsKid } from "../../src/keys/sframe";
import { conferenceCode } from "../../src/keys/shortcode";
import { ConferenceGate, OLD_EPOCH_MS } from "../../src/phone/engine/conferenceframes";
import type { CallEpoch } from "../../src/phone/engine/frames";
import { converse, Directory, keep, newDevice, NOW, type Seat } from "./world";

const frame = utf8("twenty milliseconds of speech");
const CALL = new Uint8Array(16).fill(7);

/** What a phone hands to its worker in the epoch that its conversation is in. */
async function epochOf({ conversation }: Seat): Promise<CallEpoch> {
  const keys = conversation.keys();
  return { epoch: keys.epoch, ownLeaf: keys.ownLeaf, leaves: keys.members.map(({ leafIndex }) => leafIndex), baseKey: await keys.export("SFrame 1.0 Base Key", CALL, 32) };
}

interface Guest {
  seat: Seat;
  gate: ConferenceGate;
}

async function conference(size: number): Promise<{ guests: Guest[]; clock: { at: number } }> {
  const directory = new Directory();
  const devices = await Promise.all(Array.from({ length: size }, () => newDevice(directory)));
  const { seats } = await converse(devices[0] as (typeof devices)[0], devices.slice(1));
  const clock = { at: 1_000_000 };
  const guests = seats.map((seat) => ({ seat, gate: new ConferenceGate(() => clock.at) }));
  for (const { seat, gate } of guests) await gate.useEpoch(await epochOf(seat));
  return { guests, clock };
}

const sealed = async (gate: ConferenceGate): Promise<Uint8Array> => {
  const out = await gate.seal(frame);
  expect(out).not.toBeNull();
  return out as Uint8Array;
};

describe("a conference's frames", () => {
  it("are heard by everybody in the group and not by the sender himself", async () => {
    const { guests } = await conference(4);
    for (const from of guests) {
      const out = await sealed(from.gate);
      for (const to of guests) expect(await to.gate.open(out)).toEqual(to === from ? null : frame);
    }
  });

  it("are unreadable to a member from the commit on that removes him, and his are refused", async () => {
    const { guests, clock } = await conference(6);
    const [ada, leaver] = [guests[0] as Guest, guests[5] as Guest];
    const stayers = guests.slice(0, 5);
    const late = await sealed(leaver.gate);

    const pending = await ada.seat.conversation.prepareCommit({ removed: [leaver.seat.device.identity.deviceId] }, NOW);
    await ada.seat.conversation.merge(pending, keep);
    for (const { seat } of [...stayers.slice(1), leaver]) await seat.conversation.receive(pending.commit, keep);
    expect(leaver.seat.conversation.closed).toBe(true);
    for (const { seat, gate } of stayers) await gate.useEpoch(await epochOf(seat));

    const next = await sealed(ada.gate);
    expect(await leaver.gate.open(next)).toBeNull();
    for (const { gate } of stayers.slice(1)) expect(await gate.open(next)).toEqual(frame);
    // What he had sealed before, and whatever he goes on to seal under the keys that he knows.
    for (const { gate } of stayers) {
      expect(await gate.open(late)).toBeNull();
      expect(await gate.open(await sealed(leaver.gate))).toBeNull();
    }
    clock.at += OLD_EPOCH_MS;
    expect(await leaver.gate.open(await sealed(ada.gate))).toBeNull();
  });

  it("of the epoch before are played for a moment, those of who stays", async () => {
    const { guests, clock } = await conference(3);
    const [ada, bruno, carla] = guests as [Guest, Guest, Guest];
    const [onTheWay, tooLate] = [await sealed(bruno.gate), await sealed(bruno.gate)];
    const pending = await ada.seat.conversation.prepareCommit({}, NOW);
    await ada.seat.conversation.merge(pending, keep);
    await ada.gate.useEpoch(await epochOf(ada.seat));
    expect(await ada.gate.open(onTheWay)).toEqual(frame);
    expect(await ada.gate.open(onTheWay)).toBeNull(); // once
    clock.at += OLD_EPOCH_MS;
    expect(await ada.gate.open(tooLate)).toBeNull();
    // Who has not processed the commit yet cannot read what is sealed after it.
    expect(await carla.gate.open(await sealed(ada.gate))).toBeNull();
  });

  it("never leave while the phone may not talk, nor before there are keys", async () => {
    const { guests } = await conference(2);
    const [ada] = guests as [Guest, Guest];
    ada.gate.talking = false;
    expect(await ada.gate.seal(frame)).toBeNull();
    expect(ada.gate.counts).toMatchObject({ sealed: 0, withheld: 1 });
    expect(await new ConferenceGate().seal(frame)).toBeNull();
  });

  it("come under another key when somebody comes back within one epoch: no counter repeats", async () => {
    const { guests } = await conference(2);
    const [ada, bruno] = guests as [Guest, Guest];
    const again = new ConferenceGate();
    await again.useEpoch(await epochOf(ada.seat));
    const [before, after] = [await sealed(ada.gate), await sealed(again)];
    expect(parseHeader(before).kid).not.toBe(parseHeader(after).kid);
    expect(parseMlsKid(parseHeader(before).kid)).toMatchObject({ leafIndex: 0, epochBits: 1 });
    expect(await bruno.gate.open(before)).toEqual(frame);
    expect(await bruno.gate.open(after)).toEqual(frame);
    expect(await bruno.gate.open(before)).toBeNull();
    // The same epoch a second time changes nothing.
    await again.useEpoch(await epochOf(ada.seat));
    expect(parseHeader(await sealed(again)).ctr).toBe(1n);
  });

  it("arriving together are each played once", async () => {
    const { guests } = await conference(2);
    const [ada, bruno] = guests as [Guest, Guest];
    const out = [await sealed(ada.gate), await sealed(ada.gate), await sealed(ada.gate)];
    const opened = await Promise.all([...out, ...out].map((one) => bruno.gate.open(one)));
    expect(opened.filter((one) => one !== null)).toHaveLength(3);
  });

  it("of a leaf that nobody has, or under a made-up context, are refused and cost no memory of what was played", async () => {
    const { guests } = await conference(2);
    const [ada, bruno] = guests as [Guest, Guest];
    const first = await sealed(ada.gate);
    expect(await bruno.gate.open(first)).toEqual(frame);
    const stranger = new ConferenceGate();
    const epoch = await epochOf(ada.seat);
    await stranger.useEpoch({ ...epoch, ownLeaf: 9 });
    expect(await bruno.gate.open(await sealed(stranger))).toBeNull();
    for (let i = 0; i < 200; i++) {
      const forged = new ConferenceGate();
      await forged.useEpoch({ ...epoch, baseKey: new Uint8Array(32) });
      expect(await bruno.gate.open(await sealed(forged))).toBeNull();
    }
    expect(await bruno.gate.open(first)).toBeNull();
    expect(await bruno.gate.open(await sealed(ada.gate))).toEqual(frame);
  });
});

describe("KID of RFC 9605 §5.2 with a context", () => {
  it("gives back its parts", () => {
    const [context, leaf, epoch] = [(1n << 40n) - 1n, 65_535, 0x1fen];
    expect(parseMlsKid(encodeMlsKid(context, leaf, epoch))).toEqual({ context, leafIndex: leaf, epochBits: 0xfe });
    expect(() => encodeMlsKid(1n << 40n, 0, 0n)).toThrow(RangeError);
    expect(() => encodeMlsKid(0n, 65_536, 0n)).toThrow(RangeError);
  });
});

it("all who are in the epoch read the same twenty digits, and others after a commit", async () => {
  const { guests } = await conference(3);
  const callId = "07".repeat(16);
  const codes = await Promise.all(guests.map(({ seat }) => conferenceCode(seat.conversation.keys().export, callId)));
  expect(new Set(codes).size).toBe(1);
  expect(codes[0]).toMatch(/^\d{20}$/);
  const ada = (guests[0] as Guest).seat.conversation;
  await ada.merge(await ada.prepareCommit({}, NOW), keep);
  expect(await conferenceCode(ada.keys().export, callId)).not.toBe(codes[0]);
});
