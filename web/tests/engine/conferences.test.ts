// Whole phones in conferences and talk groups, against the server's twin: joining, keys of every epoch, the floor, leaving.

import { describe, expect, it } from "vitest";

import { toHex } from "../../src/keys/bytes";
import type { Precedence } from "../../src/phone/model";
import { enrolled, until, type FakeConference, type Handset } from "./handset";
import { TwinServer } from "./twin";

interface House {
  server: TwinServer;
  phones: Handset[];
}

async function people(...names: string[]): Promise<House> {
  return peopleWho(undefined, ...names);
}

/** People whose phones pause like this. */
async function peopleWho(pause: ((ms: number) => Promise<void>) | undefined, ...names: string[]): Promise<House> {
  const server = new TwinServer();
  const phones: Handset[] = [];
  for (const name of names) phones.push(await enrolled(server, name, true, pause));
  await until(() => phones.every((phone) => phone.state().contacts.length === names.length - 1));
  return { server, phones };
}

/** Nothing is found out by asking from time to time, unless `poll` lets it: whatever these phones learn, the server said. */
function saidOnly(spacing: (resolve: () => void) => void, poll: (resolve: () => void) => void = () => undefined): (ms: number) => Promise<void> {
  return (ms) =>
    new Promise((resolve) => {
      if (ms === 2_000) spacing(resolve);
      else if (ms === 30_000) poll(resolve);
      else if (ms < 30_000) setTimeout(resolve, ms / 20);
    });
}

/** Whatever the phones were told so far they have asked about. */
async function asked(server: TwinServer): Promise<number> {
  for (let before = -1; ; ) {
    if (server.callsAsked === before) return before;
    before = server.callsAsked;
    await new Promise((resolve) => setTimeout(resolve, 300));
  }
}

async function group(kind: "group" | "talk", founder: Handset, ...others: Handset[]): Promise<string> {
  const id = (await founder.phone.createGroup(kind, "Convoglio", others.map((other) => other.id()))) ?? "";
  const all = [founder, ...others];
  await until(() => all.every((phone) => phone.state().groups[0]?.members.filter(({ joined }) => joined).length === all.length));
  return id;
}

async function conferring(kind: "group" | "talk", ...names: string[]): Promise<House & { id: string; callId: string }> {
  return confer(kind, await people(...names));
}

async function confer(kind: "group" | "talk", { server, phones }: House): Promise<House & { id: string; callId: string }> {
  const id = await group(kind, phones[0] as Handset, ...phones.slice(1));
  for (const phone of phones) await phone.phone.joinConference(id, "routine");
  await until(() => phones.every((phone) => phone.state().conference?.people.length === phones.length));
  return { server, phones, id, callId: [...server.calls.keys()][0] ?? "" };
}

const room = (phone: Handset): FakeConference => phone.rooms.at(-1) as FakeConference;
const baseKeys = (phone: Handset): string[] => room(phone).epochs.map(({ baseKey }) => toHex(baseKey));
const lastKey = (phone: Handset): string => baseKeys(phone).at(-1) ?? "none";

describe("a conference", () => {
  it("is not left for a call that only rings: nothing is prepared for it", async () => {
    const { server, phones } = await conferring("group", "Anna", "Bruno", "Carla");
    const [anna, bruno] = phones as [Handset, Handset];
    anna.phone.leaveConference();
    await anna.phone.call(bruno.id(), "routine");
    await until(() => bruno.state().call?.phase === "incoming" && anna.state().call?.phase === "ringing");
    await until(() => server.pending(bruno.id()) === 0);
    expect([bruno.media.length, bruno.state().conference?.phase]).toEqual([0, "active"]);
  });

  it("rings at the others', who join, see each other and have the same key and code", async () => {
    const { server, phones } = await people("Anna", "Bruno", "Carla");
    const [anna, bruno, carla] = phones as [Handset, Handset, Handset];
    const id = await group("group", anna, bruno, carla);
    await anna.phone.joinConference(id, "routine");
    for (const each of [bruno, carla]) {
      await until(() => each.state().ringingConference !== null);
      expect(each.state().ringingConference).toEqual({ conversationId: id, title: "Convoglio", from: "Anna", precedence: "routine" });
      expect(each.tones).toContain("incoming");
    }
    expect(anna.state().ringingConference).toBeNull();
    await bruno.phone.joinConference(id, "routine");
    carla.phone.declineConference();
    expect(carla.state().ringingConference).toBeNull();
    await until(() => [anna, bruno].every((each) => each.state().conference?.people.length === 2));
    expect(bruno.state().ringingConference).toBeNull();
    expect(anna.state().conference).toMatchObject({ phase: "active", kind: "group", title: "Convoglio", fault: null });
    expect(anna.state().conference?.people.map(({ displayName }) => displayName)).toEqual(["Anna", "Bruno"]);

    // Who declined comes later all the same.
    await carla.phone.joinConference(id, "routine");
    await until(() => phones.every((each) => each.state().conference?.people.length === 3));
    expect(server.calls.size).toBe(1);
    // New members renew their keys soon after they came, so epochs may still be on their way.
    await until(() => new Set(phones.map(lastKey)).size === 1 && new Set(phones.map((each) => each.state().conference?.code)).size === 1);
    expect(anna.state().conference?.code).toMatch(/^\d{20}$/);
    expect(room(anna).talking).toBe(true);
    expect(room(anna).kind).toBe("group");
  });

  it("has new keys with every epoch, at once and at everybody's", async () => {
    const { phones, id } = await conferring("group", "Anna", "Bruno", "Carla");
    const [anna, bruno, carla] = phones as [Handset, Handset, Handset];
    const [before, code] = [lastKey(anna), anna.state().conference?.code];
    await anna.phone.removeMember(id, carla.id());
    await until(() => carla.state().conference?.phase === "ended");
    expect(carla.state().conference?.fault?.code).toBe("not_a_member");
    expect(room(carla).closed).toBe(true);
    await until(() => [anna, bruno].every((each) => lastKey(each) !== before && lastKey(each) === lastKey(anna)));
    await until(() => [anna, bruno].every((each) => room(each).epochs.at(-1)?.leaves.length === 2)); // a renewal soon after joining may come first
    await until(() => [anna, bruno].every((each) => each.state().conference?.people.length === 2));
    expect(anna.state().conference?.code).not.toBe(code);
    // The keys that he had are none that the others seal under now.
    expect(baseKeys(carla)).not.toContain(lastKey(anna));
    expect(new Set(baseKeys(anna)).size).toBe(baseKeys(anna).length);
  });

  it("is left by one and goes on; who leaves is let in again, and the last one ends it", async () => {
    const { server, phones, id, callId } = await conferring("group", "Anna", "Bruno");
    const [anna, bruno] = phones as [Handset, Handset];
    bruno.phone.leaveConference();
    expect(bruno.state().conference).toBeNull();
    expect(room(bruno).closed).toBe(true);
    await until(() => anna.state().conference?.people.length === 1);
    await bruno.phone.joinConference(id, "routine");
    await until(() => anna.state().conference?.people.length === 2);
    expect([...server.calls.keys()]).toEqual([callId]);
    expect(bruno.rooms).toHaveLength(2);
    for (const each of [anna, bruno]) each.phone.leaveConference();
    await until(() => server.calls.size === 0);
  });

  it("asks who is there when the server says that it changed, once for many changes, and else hardly ever", async () => {
    const spacings: (() => void)[] = [];
    const spaced = (): void => spacings.splice(0).forEach((resolve) => resolve());
    const { server, phones } = await peopleWho(saidOnly((resolve) => spacings.push(resolve)), "Anna", "Bruno", "Carla");
    const settling = setInterval(spaced, 20);
    const { callId } = await confer("group", { server, phones });
    const [anna, bruno, carla] = phones as [Handset, Handset, Handset];
    clearInterval(settling);
    spaced();
    const before = server.callsAsked;
    carla.phone.leaveConference();
    await until(() => [anna, bruno].every((each) => each.state().conference?.people.length === 2));
    expect(server.callsAsked - before).toBe(2);
    for (let change = 0; change < 5; change++) server.tellCall(callId);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(server.callsAsked - before).toBe(2);
    spaced();
    await until(() => server.callsAsked - before === 4);
    spaced();
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(server.callsAsked - before).toBe(4);
  });

  it("finds out what it was not told once half a minute has passed, and no sooner", async () => {
    const polls: (() => void)[] = [];
    const { server, phones } = await peopleWho(saidOnly((resolve) => setTimeout(resolve, 20), (resolve) => polls.push(resolve)), "Anna", "Bruno");
    const [anna, bruno] = phones as [Handset, Handset];
    const { callId } = await confer("group", { server, phones });
    const before = await asked(server);
    server.mute = true;
    bruno.phone.leaveConference();
    await until(() => server.calls.get(callId)?.size === 1);
    expect([await asked(server), anna.state().conference?.people.length]).toEqual([before, 2]);
    polls.splice(0).forEach((resolve) => resolve());
    await until(() => anna.state().conference?.people.length === 1);
  });

  it("shows somebody of whom it heard that he is in the call once he is in the group, without asking again", async () => {
    const { server, phones } = await peopleWho(saidOnly((resolve) => setTimeout(resolve, 20)), "Anna", "Bruno", "Carla");
    const [anna, bruno, carla] = phones as [Handset, Handset, Handset];
    const { id, callId } = await confer("group", { server, phones: [anna, bruno] });
    server.calls.get(callId)?.add(carla.state().me?.deviceId ?? "");
    const before = server.callsAsked;
    server.tellCall(callId);
    await until(() => server.callsAsked >= before + 2);
    expect([anna, bruno].map((each) => each.state().conference?.people.length)).toEqual([2, 2]);
    await anna.phone.addMembers(id, [carla.id()]);
    await until(() => [anna, bruno].every((each) => each.state().conference?.people.length === 3));
  });

  it("shows who speaks by what was heard, and nobody who is not in the group", async () => {
    const { phones } = await conferring("group", "Anna", "Bruno");
    const [anna, bruno] = phones as [Handset, Handset];
    const leaf = room(bruno).epochs.at(-1)?.ownLeaf ?? -1;
    const speaking = (): string[] => anna.state().conference?.people.flatMap((each) => (each.speaking ? [each.displayName] : [])) ?? [];
    room(anna).events.voices([{ leafIndex: leaf, level: 0.2 }, { leafIndex: 77, level: 1 }]);
    expect(speaking()).toEqual(["Bruno"]);
    await until(() => {
      room(anna).events.voices([{ leafIndex: leaf, level: 0.001 }]);
      return speaking().length === 0;
    });
  });

  it("says when nothing that arrives can be decrypted", async () => {
    const { phones } = await conferring("group", "Anna", "Bruno");
    const [anna] = phones as [Handset];
    const counts = (decrypted: number, refused: number) => ({ counts: { sealed: 0, withheld: 0, copies: 0, decrypted, refused }, rttMs: null, availableBps: null });
    room(anna).events.report(counts(50, 0));
    expect(anna.state().conference?.health).toBe("good");
    room(anna).events.report(counts(50, 40));
    expect(anna.state().conference?.health).toBe("undecryptable");
    room(anna).events.report(counts(90, 40));
    expect(anna.state().conference?.health).toBe("good");
  });

  it("is joined all the same where an answer was lost, and rings once", async () => {
    const { server, phones } = await people("Anna", "Bruno");
    const [anna, bruno] = phones as [Handset, Handset];
    const id = await group("group", anna, bruno);
    server.loseAnswersTo = /calls/;
    await anna.phone.joinConference(id, "routine");
    await until(() => anna.state().conference?.phase === "active");
    expect(server.calls.size).toBe(1);
    await until(() => bruno.state().ringingConference !== null);
    expect(bruno.tones.filter((tone) => tone === "incoming")).toHaveLength(1);
    // Who opened it goes: nothing is left to be joined.
    anna.phone.leaveConference();
    await until(() => bruno.state().ringingConference === null);
  });

  it("is one where two open it in the same moment: the second joins the first one's, and it rings once", async () => {
    const { server, phones } = await people("Anna", "Bruno", "Carla");
    const [anna, bruno, carla] = phones as [Handset, Handset, Handset];
    const id = await group("group", anna, bruno, carla);
    server.holdUntil(2, /calls\/[0-9a-f]+$/);
    await Promise.all([anna, bruno].map((each) => each.phone.joinConference(id, "routine")));
    await until(() => [anna, bruno].every((each) => each.state().conference?.phase === "active" && each.state().conference?.people.length === 2));
    expect(server.calls.size).toBe(1);
    expect(anna.state().conference?.code).toBe(bruno.state().conference?.code);
    expect(lastKey(anna)).toBe(lastKey(bruno));
    await until(() => carla.state().ringingConference !== null && server.pending(carla.id()) === 0);
    expect(carla.tones.filter((tone) => tone === "incoming")).toHaveLength(1);
  });

  it("is left also by who hung up before he heard into which call he was let", async () => {
    const { server, phones } = await people("Anna", "Bruno");
    const [anna, bruno] = phones as [Handset, Handset];
    const id = await group("group", anna, bruno);
    server.holdUntil(3, /calls\/[0-9a-f]+$/);
    const [held] = [server.barrier];
    const joining = anna.phone.joinConference(id, "routine");
    await until(() => held?.missing === 2);
    const leaving = bruno.phone.joinConference(id, "routine");
    await until(() => held?.missing === 1);
    bruno.phone.leaveConference(); // the third request: his own id is that of no call
    await Promise.all([joining, leaving]);
    await until(() => anna.state().conference?.phase === "active");
    await until(() => [...server.calls.values()].every((devices) => devices.size === 1));
    expect([server.calls.size, bruno.state().conference]).toEqual([1, null]);
  });

  it("waits for room, and says why there is none", async () => {
    const { server, phones } = await people("Anna", "Bruno");
    const [anna, bruno] = phones as [Handset, Handset];
    const id = await group("group", anna, bruno);
    server.refuseCalls = "call_waiting";
    void anna.phone.joinConference(id, "routine");
    await until(() => anna.state().conference?.phase === "waiting");
    server.refuseCalls = null;
    await until(() => anna.state().conference?.phase === "active");
    server.refuseCalls = "no_capacity";
    await bruno.phone.joinConference(id, "routine");
    expect(bruno.state().conference).toMatchObject({ phase: "ended", fault: { code: "no_capacity" } });
  });

  it("connects anew when its forwarder is gone, and with ICE alone when the path broke", async () => {
    const { server, phones, callId } = await conferring("group", "Anna", "Bruno");
    const [anna] = phones as [Handset];
    room(anna).events.disconnected();
    expect(anna.state().conference?.phase).toBe("reconnecting");
    await until(() => anna.state().conference?.phase === "active");
    expect(room(anna)).toMatchObject({ restarts: 1, offers: 2 });
    expect(anna.rooms).toHaveLength(1);
    server.forwarderLost(callId);
    await until(() => anna.rooms.length === 2 && anna.state().conference?.phase === "active");
    expect(anna.rooms[0]?.closed).toBe(true);
    expect(room(anna)).toMatchObject({ restarts: 0, talking: true });
    expect(lastKey(anna)).toBe(toHex(anna.rooms[0]?.epochs.at(-1)?.baseKey ?? new Uint8Array()));
  });
});

describe("the precedence of a conference", () => {
  it("rings through a call of a lower level, never through an equal one, and is believed up to the ceiling", async () => {
    const { server, phones } = await people("Anna", "Bruno", "Carla");
    const [anna, bruno, carla] = phones as [Handset, Handset, Handset];
    const id = await group("group", anna, bruno, carla);
    await bruno.phone.call(carla.id(), "routine");
    await until(() => carla.state().call?.phase === "incoming");
    await carla.phone.answer();
    await until(() => bruno.state().call?.phase === "active");

    await anna.phone.joinConference(id, "flash"); // Anna may not: the others take it for the routine that she is
    await until(() => server.pending(carla.id()) === 0 && server.pending(bruno.id()) === 0);
    expect(carla.state().ringingConference).toBeNull();
    anna.phone.leaveConference();

    await server.allow(anna.id(), "flash");
    await until(() => carla.state().contacts.length === 2 && anna.state().me?.precedenceCeiling === "flash");
    await anna.phone.joinConference(id, "flash");
    for (const each of [bruno, carla]) {
      await until(() => each.state().ringingConference?.precedence === "flash");
      expect(each.tones).toContain("incomingUrgent");
    }
    await carla.phone.joinConference(id, "flash");
    await until(() => carla.state().conference?.phase === "active");
    await until(() => bruno.state().call?.phase === "ended");
    expect(carla.state().conference?.precedence).toBe("flash");
  });

  it.each<[Precedence | null]>([["flash"], [null]])("gives way to one of a higher level, or for want of room (%s)", async (by) => {
    const { server, phones, callId } = await conferring("group", "Anna", "Bruno");
    const [anna] = phones as [Handset];
    server.preempt(callId, by);
    await until(() => anna.state().conference?.phase === "ended");
    expect(anna.state().conference).toMatchObject({ preempted: { by }, fault: null });
    expect(anna.tones).toContain("preemption");
    expect(room(anna).closed).toBe(true);
  });
});

describe("a talk group", () => {
  it("does not ring, opens no microphone before the button, and speaks only with the floor", async () => {
    const { server, phones, callId } = await conferring("talk", "Anna", "Bruno");
    const [anna, bruno] = phones as [Handset, Handset];
    expect(bruno.tones).toEqual([]);
    expect(room(anna)).toMatchObject({ opened: 0, talking: false, kind: "talk" });
    const me = anna.state().me?.deviceId ?? "";
    await anna.phone.pressToTalk("routine");
    await until(() => server.floorWishes.length === 1);
    expect(room(anna)).toMatchObject({ opened: 1, talking: false });
    server.tellFloor(callId, me, { deviceId: me, event: "granted" });
    await until(() => anna.state().conference?.floor?.mine === true);
    expect(room(anna).talking).toBe(true);
    await until(() => bruno.state().conference?.holderName === "Anna");
    expect(bruno.state().conference?.floor).toMatchObject({ mine: false, holder: anna.id() });
    anna.phone.releaseToTalk();
    expect(room(anna).talking).toBe(false);
    await until(() => server.floorWishes.length === 2);
    expect(server.floorWishes).toEqual([
      { deviceId: me, precedence: "routine" },
      { deviceId: me, precedence: null },
    ]);
    server.tellFloor(callId, null);
    await until(() => bruno.state().conference?.holderName === null);
  });

  it("queues, and whoever let go meanwhile does not speak when his turn comes", async () => {
    const { server, phones, callId } = await conferring("talk", "Anna", "Bruno");
    const [anna, bruno] = phones as [Handset, Handset];
    const [a, b] = [anna.state().me?.deviceId ?? "", bruno.state().me?.deviceId ?? ""];
    await bruno.phone.pressToTalk("routine");
    server.tellFloor(callId, a, { deviceId: b, event: "queued", position: 1 }, 1);
    await until(() => bruno.state().conference?.floor?.position === 1);
    expect(bruno.state().conference?.floor).toMatchObject({ queued: 1, event: "queued", mine: false });
    expect(anna.state().conference?.floor?.queued).toBe(1);
    expect(room(bruno).talking).toBe(false);
    bruno.phone.releaseToTalk();
    server.tellFloor(callId, b, { deviceId: b, event: "granted" });
    await until(() => bruno.state().conference?.floor?.mine === true);
    expect(room(bruno).talking).toBe(false);
  });

  it.each(["revoked_precedence", "revoked_time", "denied"] as const)("shuts the microphone at once when the floor is lost (%s)", async (event) => {
    const { server, phones, callId } = await conferring("talk", "Anna", "Bruno");
    const [anna, bruno] = phones as [Handset, Handset];
    const [a, b] = [anna.state().me?.deviceId ?? "", bruno.state().me?.deviceId ?? ""];
    await anna.phone.pressToTalk("routine");
    server.tellFloor(callId, a, { deviceId: a, event: "granted" });
    await until(() => room(anna).talking);
    server.tellFloor(callId, event === "revoked_precedence" ? b : null, { deviceId: a, event }, 0, "flash");
    await until(() => anna.state().conference?.floor?.event === event);
    expect(room(anna).talking).toBe(false);
    expect(anna.state().conference?.pressed).toBe(false);
    if (event === "revoked_precedence") expect(anna.state().conference).toMatchObject({ holderName: "Bruno", floor: { precedence: "flash" } });
  });

  it("is entered late and goes on by itself when its call had ended", async () => {
    const { server, phones } = await people("Anna", "Bruno");
    const [anna, bruno] = phones as [Handset, Handset];
    const id = await group("talk", anna, bruno);
    await anna.phone.joinConference(id, "routine");
    await until(() => anna.state().conference?.phase === "active");
    const [first] = server.calls.keys();
    await bruno.phone.joinConference(id, "routine");
    server.tellFloor(first ?? "", anna.state().me?.deviceId ?? "");
    await until(() => bruno.state().conference?.holderName === "Anna");
    server.endCall(first ?? "");
    await until(() => phones.every((each) => each.state().conference?.people.length === 2 && each.state().conference?.phase === "active"));
    expect([...server.calls.keys()]).not.toContain(first);
    expect(server.calls.size).toBe(1);
  });

  it("says that the microphone is refused, and that the floor could not be asked for", async () => {
    const server = new TwinServer();
    const [anna, bruno] = [await enrolled(server, "Anna", false), await enrolled(server, "Bruno")];
    await until(() => anna.state().contacts.length === 1);
    const id = await group("talk", anna, bruno);
    for (const each of [anna, bruno]) await each.phone.joinConference(id, "routine");
    await until(() => [anna, bruno].every((each) => each.state().conference?.phase === "active"));
    await anna.phone.pressToTalk("routine");
    expect(anna.state().conference).toMatchObject({ pressed: false, fault: { code: "microphone_refused" } });
    server.goDown();
    await until(() => bruno.state().server === "offline");
    await bruno.phone.pressToTalk("routine");
    expect(bruno.state().conference).toMatchObject({ pressed: false, fault: { code: "server_unreachable" } });
    expect(server.floorWishes).toEqual([]);
  });
});
