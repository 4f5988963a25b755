// Whole phones against the server's twin: what two people live through.

import { describe, expect, it } from "vitest";

import { randomId, toBase64, toHex } from "../../src/keys/bytes";
import { organisation, TestLog } from "./organisation";
import { TwinServer } from "./twin";
import { enrolled, handset, invitation, twoPeople, until, type Handset } from "./handset";

describe("enrolment", () => {
  it("asks again with the same key when the answer was lost", async () => {
    const server = new TwinServer();
    const anna = handset(server);
    await anna.phone.start();
    server.loseAnswersTo = /enrolments/;
    await anna.phone.enrol(invitation(), "Anna");
    expect(anna.state()).toMatchObject({ enrolment: "needed", fault: { code: "server_unreachable" } });
    await anna.phone.enrol(invitation(), "Anna");
    await until(() => anna.state().enrolment === "done" && anna.state().server === "online");
    expect(anna.state().fault).toBeNull();
    expect(server.keyPackagesOf(anna.id())).toBeGreaterThanOrEqual(10);
  });

  it("says that an invitation is none", async () => {
    const anna = handset(new TwinServer());
    await anna.phone.start();
    await anna.phone.enrol("https://service.example/phone", "Anna");
    expect(anna.state()).toMatchObject({ enrolment: "needed", fault: { code: "invitation_refused" } });
  });
});

describe("texts", () => {
  it("arrive, are confirmed, and the server sees none of it", async () => {
    const { server, anna, bruno } = await twoPeople();
    await anna.phone.sendText(anna.with(bruno.id()), "ciao Bruno");
    await until(() => anna.texts(bruno.id()).includes("> ciao Bruno delivered"));
    expect(bruno.texts(anna.id())).toEqual(["< ciao Bruno delivered"]);
    expect(bruno.state().contacts[0]?.unread).toBe(1);
    bruno.phone.markRead(bruno.with(anna.id()));
    expect(bruno.state().contacts[0]?.unread).toBe(0);
    await bruno.phone.sendText(bruno.with(anna.id()), "ciao Anna");
    await until(() => bruno.texts(anna.id()).includes("> ciao Anna delivered"));
    expect(server.seen.join().includes("ciao")).toBe(false);
    await until(() => server.pending(anna.id()) === 0 && server.pending(bruno.id()) === 0);
  });

  it("both begin at once: one conversation, both texts arrive", async () => {
    const { server, anna, bruno } = await twoPeople();
    server.holdUntil(2, /commits/);
    await Promise.all([anna.phone.sendText(anna.with(bruno.id()), "da Anna"), bruno.phone.sendText(bruno.with(anna.id()), "da Bruno")]);
    await until(() => anna.texts(bruno.id()).includes("> da Anna delivered") && bruno.texts(anna.id()).includes("> da Bruno delivered"));
    expect(anna.texts(bruno.id())).toContain("< da Bruno delivered");
    expect(server.epochs()).toEqual([1]);
    expect(server.refused).toContain("epoch_taken");
    expect([anna.state().fault, bruno.state().fault]).toEqual([null, null]);
  });

  it("wait while the server is away, survive a restart of the phone and go out in order, once", async () => {
    const { server, anna, bruno } = await twoPeople();
    await anna.phone.sendText(anna.with(bruno.id()), "uno");
    await until(() => bruno.texts(anna.id()).length === 1);
    server.goDown();
    await until(() => anna.state().server === "offline");
    await anna.phone.sendText(anna.with(bruno.id()), "due");
    await anna.phone.sendText(anna.with(bruno.id()), "tre");
    expect(anna.texts(bruno.id()).slice(1)).toEqual(["> due queued", "> tre queued"]);
    anna.phone.stop();
    const again = handset(server, anna.store);
    await again.phone.start();
    expect(again.texts(bruno.id()).slice(1)).toEqual(["> due queued", "> tre queued"]);
    server.up = true;
    server.loseAnswersTo = /messages/; // the first answer is lost: the same bytes go out again
    await until(() => again.texts(bruno.id()).includes("> tre delivered"));
    expect(bruno.texts(anna.id())).toEqual(["< uno delivered", "< due delivered", "< tre delivered"]);
  });

  it("survive a lost answer to the commit that made the conversation", async () => {
    const { server, anna, bruno } = await twoPeople();
    server.loseAnswersTo = /commits/;
    await anna.phone.sendText(anna.with(bruno.id()), "primo");
    await until(() => server.epochs()[0] === 1);
    anna.phone.stop();
    const again = handset(server, anna.store);
    await again.phone.start();
    await until(() => again.texts(bruno.id()).includes("> primo delivered"));
    expect(bruno.texts(anna.id())).toEqual(["< primo delivered"]);
  });

  it("are acknowledged only when they are stored: with a full disk they come again", async () => {
    const { server, anna, bruno } = await twoPeople();
    await anna.phone.sendText(anna.with(bruno.id()), "a");
    await until(() => anna.texts(bruno.id()).includes("> a delivered"));
    bruno.store.refuseWrites = true;
    await anna.phone.sendText(anna.with(bruno.id()), "b");
    await until(() => bruno.state().server === "offline");
    expect(server.pending(bruno.id())).toBe(1);
    bruno.store.refuseWrites = false;
    await until(() => anna.texts(bruno.id()).includes("> b delivered"));
    bruno.phone.stop();
    const again = handset(server, bruno.store);
    await again.phone.start();
    expect(again.texts(anna.id())).toEqual(["< a delivered", "< b delivered"]);
  });

  it("are refused to somebody whose key is not the pinned one, and say so", async () => {
    const { server, anna, bruno } = await twoPeople();
    await anna.phone.sendText(anna.with(bruno.id()), "prima");
    await until(() => anna.texts(bruno.id()).includes("> prima delivered"));
    server.replaceKey(bruno.id(), toBase64(new Uint8Array(32).fill(9)));
    await until(() => anna.state().contacts[0]?.keyChanged === true);
    await anna.phone.sendText(anna.with(bruno.id()), "poi");
    await until(() => anna.texts(bruno.id()).includes("> poi failed"));
    expect(anna.state().fault?.code).toBe("peer_key_changed");
    await anna.phone.call(bruno.id(), "routine");
    expect(anna.state().call).toBeNull();
  });

  it("do not stop at a message that makes no sense", async () => {
    const { server, anna, bruno } = await twoPeople();
    await anna.phone.sendText(anna.with(bruno.id()), "a");
    await until(() => anna.texts(bruno.id()).includes("> a delivered"));
    const mail = (server as unknown as { mail: (...parts: unknown[]) => void }).mail.bind(server);
    mail(bruno.state().me?.deviceId, server.conversationIds()[0], "application", { deviceId: "x" }, toBase64(new Uint8Array(80)));
    await until(() => bruno.state().fault?.code === "conversation_broken");
    await anna.phone.sendText(anna.with(bruno.id()), "b");
    await until(() => anna.texts(bruno.id()).includes("> b delivered"));
    expect(server.pending(bruno.id())).toBe(0);
  });
});

describe("precedence of calls", () => {
  it("below flash does not ring where somebody is not to be disturbed, and stands among the missed ones", async () => {
    const { server, anna, bruno } = await twoPeople();
    await server.allow(anna.id(), "flash");
    await until(() => anna.state().me?.precedenceCeiling === "flash");
    await bruno.phone.setQuiet(true);
    const before = bruno.tones.length;
    await anna.phone.call(bruno.id(), "immediate");
    await until(() => anna.state().call?.outcome === "unavailable");
    expect(bruno.state().call).toBeNull();
    expect(bruno.tones.length).toBe(before);
    await until(() => bruno.state().unseenCalls.length === 1);
    expect(bruno.texts(anna.id())).toEqual(["< call missed"]);
    bruno.phone.callsSeen(bruno.state().unseenCalls);
    expect([bruno.state().unseenCalls, bruno.state().contacts[0]?.unread]).toEqual([[], 0]);
    // It is the device's own wish, and is kept with it.
    bruno.phone.stop();
    const again = handset(server, bruno.store);
    await again.phone.start();
    await until(() => again.state().server === "online");
    expect(again.state().quiet).toBe(true);
    await anna.phone.hangUp();
    await anna.phone.call(again.id(), "flash");
    await until(() => again.state().call?.phase === "incoming");
  });

  it("is asked for up to the ceiling, shown at both ends and kept in the thread", async () => {
    const { server, anna, bruno } = await twoPeople();
    await server.allow(anna.id(), "flash");
    await until(() => anna.state().me?.precedenceCeiling === "flash");
    expect(bruno.state().me?.precedenceCeiling).toBe("routine");
    await anna.phone.call(bruno.id(), "flash");
    await until(() => bruno.state().call?.phase === "incoming");
    expect([anna.state().call?.precedence, bruno.state().call?.precedence]).toEqual(["flash", "flash"]);
    await until(() => bruno.tones.includes("incomingUrgent"));
    await bruno.phone.decline();
    await until(() => anna.state().call?.outcome === "declined");
    expect(bruno.state().threads[bruno.with(anna.id())]?.at(-1)).toMatchObject({ kind: "call", precedence: "flash" });
  });

  it("is not believed above the caller's ceiling", async () => {
    const { anna, bruno } = await twoPeople();
    await anna.phone.call(bruno.id(), "flash"); // a phone that asks for more than it may, with a server that lets it
    await until(() => bruno.state().call?.phase === "incoming");
    expect(bruno.state().call?.precedence).toBe("routine");
    expect(bruno.tones).not.toContain("incomingUrgent");
  });

  it("a call that the server ends says so at both ends, with the tone", async () => {
    const { server, anna, bruno } = await twoPeople();
    await anna.phone.call(bruno.id(), "routine");
    await until(() => bruno.state().call?.phase === "incoming");
    await bruno.phone.answer();
    await until(() => anna.state().call?.phase === "active" && bruno.state().call?.phase === "active");
    server.preempt(anna.state().call?.callId ?? "", "flash");
    await until(() => anna.state().call?.phase === "ended" && bruno.state().call?.phase === "ended");
    for (const each of [anna, bruno]) {
      expect(each.state().call).toMatchObject({ outcome: "preempted", preemptedBy: "flash" });
      expect(each.tones).toContain("preemption");
    }
  });

  it("a call waits for room, and goes on when there is some", async () => {
    const { server, anna, bruno } = await twoPeople();
    server.refuseCalls = "call_waiting";
    await anna.phone.call(bruno.id(), "routine");
    await until(() => anna.state().call?.waiting === true);
    expect(anna.state().call?.phase).toBe("requesting");
    server.refuseCalls = null;
    await until(() => bruno.state().call?.phase === "incoming");
    expect(anna.state().call?.waiting).toBe(false);
  });

  it.each(["no_capacity", "precedence_refused"] as const)("a call that is refused says why: %s", async (code) => {
    const { server, anna, bruno } = await twoPeople();
    server.refuseCalls = code;
    await anna.phone.call(bruno.id(), "routine");
    await until(() => anna.state().call?.phase === "ended");
    expect(anna.state().call).toMatchObject({ outcome: "failed", fault: { code } });
    expect(bruno.state().call).toBeNull();
  });
});

describe("calls", () => {
  async function connected(): Promise<Awaited<ReturnType<typeof twoPeople>>> {
    const world = await twoPeople();
    const { anna, bruno } = world;
    await anna.phone.call(bruno.id(), "routine");
    await until(() => bruno.state().call?.phase === "incoming" && anna.state().call?.phase === "ringing");
    await bruno.phone.answer();
    await until(() => anna.state().call?.phase === "active" && bruno.state().call?.phase === "active");
    await until(() => anna.state().call?.shortCode != null && bruno.state().call?.shortCode != null);
    return world;
  }

  it("connect with mirrored keys and the same short code; afterwards the keys are renewed", async () => {
    const { server, anna, bruno } = await connected();
    expect(anna.state().call?.shortCode).toMatch(/^\d{6}$/);
    expect(bruno.state().call?.shortCode).toBe(anna.state().call?.shortCode);
    const [mine, theirs] = [anna.media[0]?.keys, bruno.media[0]?.keys];
    expect(mine?.send.kid).toBe(theirs?.receive.kid);
    expect(mine?.receive.kid).toBe(theirs?.send.kid);
    expect(mine?.send.kid).not.toBe(mine?.receive.kid);
    expect(toHex(mine?.send.baseKey ?? new Uint8Array())).toBe(toHex(theirs?.receive.baseKey ?? new Uint8Array(1)));
    expect([...server.calls.values()].map((devices) => devices.size)).toEqual([2]);
    anna.phone.setMuted(true);
    expect([anna.media[0]?.muted, anna.state().call?.muted]).toEqual([true, true]);
    anna.media[0]?.events.audioBegan();
    expect(anna.state().call?.activeSince).toBeGreaterThan(0);
    await anna.phone.hangUp();
    await until(() => bruno.state().call?.phase === "ended");
    expect([anna.media[0]?.closed, bruno.media[0]?.closed]).toEqual([true, true]);
    await until(() => server.epochs()[0] === 2);
    await bruno.phone.sendText(bruno.with(anna.id()), "dopo");
    await until(() => bruno.texts(anna.id()).includes("> dopo delivered"));
    await anna.phone.hangUp();
    expect(anna.state().call).toBeNull();
    expect(anna.texts(bruno.id())[0]).toBe("> call answered");
  });

  it("have their path made while it rings, with the microphone closed until the answer", async () => {
    const { server, anna, bruno } = await twoPeople();
    await anna.phone.call(bruno.id(), "routine");
    await until(() => bruno.media.length === 1 && server.calls.size === 1 && server.ringing.size === 1);
    expect([bruno.state().call?.phase, bruno.media[0]?.microphone, anna.media[0]?.keys]).toEqual(["incoming", false, null]);
    await bruno.phone.answer();
    await until(() => anna.state().call?.phase === "active" && bruno.state().call?.phase === "active");
    expect([bruno.media.length, bruno.media[0]?.microphone]).toEqual([1, true]);
    await until(() => anna.media[0]?.keys != null && server.ringing.size === 0);
    await bruno.phone.hangUp();
    await until(() => anna.state().call?.phase === "ended" && server.calls.size === 0);
  });

  it("come about when somebody commits while the answer is on its way", async () => {
    const { server, anna, bruno } = await twoPeople();
    await anna.phone.call(bruno.id(), "routine");
    await until(() => bruno.state().call?.phase === "incoming" && anna.state().call?.phase === "ringing");
    await until(() => anna.media[0]?.accepted === 1 && server.pending(anna.id()) === 0);
    server.holdUntil(1_000, /messages$/);
    await bruno.phone.answer();
    server.furtherFor = anna.id();
    const tablet = await enrolled(server, "Anna");
    server.furtherFor = null;
    await until(() => server.devicesIn(server.conversationIds()[0] as string).length === 3);
    const [epoch] = server.epochs();
    server.letGo();
    await until(() => anna.state().call?.phase === "active" && bruno.state().call?.phase === "active");
    await until(() => anna.state().call?.shortCode != null && anna.state().call?.shortCode === bruno.state().call?.shortCode);
    expect(anna.media[0]?.keys?.send.kid).toBe(bruno.media[0]?.keys?.receive.kid);
    expect(epoch).toBe(2);
    expect(tablet.state().fault).toBeNull();
  });

  it("go on while the server is away, and texts wait for it", async () => {
    const { server, anna, bruno } = await connected();
    server.goDown();
    await until(() => anna.state().server === "offline" && bruno.state().server === "offline");
    expect(anna.state().call?.phase).toBe("active");
    await anna.phone.sendText(anna.with(bruno.id()), "a voce non si capisce");
    server.calls.clear();
    server.up = true;
    await until(() => anna.texts(bruno.id()).at(-1) === "> a voce non si capisce delivered");
    await until(() => [...server.calls.values()].some((devices) => devices.size === 2)); // both told it of the call again
    expect(anna.state().call?.phase).toBe("active");
  });

  it("mend a broken path", async () => {
    const { anna, bruno } = await connected();
    anna.media[0]?.events.disconnected();
    bruno.media[0]?.events.disconnected();
    await until(() => anna.media[0]?.restarts === 1);
    await until(() => anna.state().call?.phase === "active");
    expect(bruno.media[0]?.restarts).toBe(0);
  });

  it("show it when the other side's frames do not decrypt, and when they do again", async () => {
    const { anna } = await connected();
    const counts = { sealed: 100, withheld: 0, decrypted: 0, refused: 50, copies: 0 };
    const measured = { rttMs: 90, lossReceived: 0.01, lossSent: 0.01, availableBps: null };
    anna.media[0]?.events.report({ counts, health: "undecryptable", quality: null, measured });
    expect(anna.state().call).toMatchObject({ health: "undecryptable", framesRefused: 50, measuredRttMs: 90, fault: { code: "media_undecryptable" } });
    anna.media[0]?.events.report({ counts: { ...counts, decrypted: 50 }, health: "good", quality: null, measured });
    expect(anna.state().call).toMatchObject({ health: "good", fault: null });
  });

  it("are declined", async () => {
    const { anna, bruno } = await twoPeople();
    await anna.phone.call(bruno.id(), "routine");
    await until(() => bruno.state().call?.phase === "incoming");
    await bruno.phone.decline();
    await until(() => anna.state().call?.outcome === "declined");
    expect(bruno.texts(anna.id())).toEqual(["< call declined"]);
  });

  it("are missed when the caller gives up, and count as unread", async () => {
    const { anna, bruno } = await twoPeople();
    await anna.phone.call(bruno.id(), "routine");
    await until(() => bruno.state().call?.phase === "incoming");
    await anna.phone.hangUp();
    await until(() => bruno.state().call?.outcome === "missed");
    expect(bruno.state().contacts[0]?.unread).toBe(1);
  });

  it("meet when both dial at once", async () => {
    const { anna, bruno } = await twoPeople();
    await Promise.all([anna.phone.call(bruno.id(), "routine"), bruno.phone.call(anna.id(), "routine")]);
    await until(() => anna.state().call?.phase === "active" && bruno.state().call?.phase === "active");
    expect(anna.state().call?.callId).toBe(bruno.state().call?.callId);
    expect(anna.state().call?.outgoing).not.toBe(bruno.state().call?.outgoing);
    await until(() => anna.state().call?.shortCode != null && anna.state().call?.shortCode === bruno.state().call?.shortCode);
  });

  it("meet when one dials as the other's call begins to ring", async () => {
    const { anna, bruno } = await twoPeople();
    await anna.phone.call(bruno.id(), "routine");
    await until(() => bruno.state().call?.phase === "incoming");
    await bruno.phone.call(anna.id(), "routine");
    await until(() => anna.state().call?.phase === "active" && bruno.state().call?.phase === "active");
    expect(bruno.state().call).toMatchObject({ callId: anna.state().call?.callId, outgoing: false });
  });

  it("fail visibly without a microphone, at the callee's end too", async () => {
    const server = new TwinServer();
    const [anna, bruno] = [await enrolled(server, "Anna"), await enrolled(server, "Bruno", false)];
    await until(() => anna.state().contacts.length === 1);
    await anna.phone.call(bruno.id(), "routine");
    await until(() => bruno.state().call?.phase === "incoming");
    await bruno.phone.answer();
    await until(() => anna.state().call?.outcome === "failed");
    expect(bruno.state().call).toMatchObject({ phase: "ended", outcome: "failed", fault: { code: "microphone_refused" } });
    await bruno.phone.hangUp();
    await bruno.phone.call(anna.id(), "routine");
    await until(() => bruno.state().call?.fault?.code === "microphone_refused");
    expect(anna.state().call?.callId).not.toBe(bruno.state().call?.callId);
  });
});

describe("one phone a person", () => {
  it("stops when another place takes the mailbox over", async () => {
    const { server, anna } = await twoPeople();
    server.takeOver(anna.id());
    await until(() => anna.state().fault?.code === "session_taken_over");
    expect(anna.state().server).toBe("offline");
  });
});

describe("loss and duress", () => {
  const OWN = "sette galere a Lepanto";
  const DURESS = "nove barche da pesca";

  async function sealedPhone(): Promise<{ server: TwinServer; anna: Handset; bruno: Handset }> {
    const people = await twoPeople();
    const { anna, bruno } = people;
    await anna.phone.sendText(anna.with(bruno.id()), "rotta per Malta");
    await until(() => anna.texts(bruno.id()).includes("> rotta per Malta delivered"));
    expect(await anna.phone.setPassphrase(OWN)).toBeNull();
    return people;
  }

  /** The next page over the same files. */
  async function nextPage(server: TwinServer, { phone, store }: Handset): Promise<Handset> {
    phone.stop();
    const next = handset(server, store);
    await next.phone.start();
    return next;
  }

  it("a sealed phone shows nothing until it is opened, and is the same then", async () => {
    const { server, anna, bruno } = await sealedPhone();
    const [annaId, brunoId] = [anna.id(), bruno.id()];
    const next = await nextPage(server, anna);
    expect(next.state()).toMatchObject({ enrolment: "locked", me: null, contacts: [], threads: {}, lock: { sealed: true } });
    await next.phone.unlock("the wrong passphrase");
    expect(next.state()).toMatchObject({ enrolment: "locked", lock: { wrong: true, working: false } });
    await next.phone.unlock(OWN);
    await until(() => next.state().server === "online");
    expect(next.id()).toBe(annaId);
    await bruno.phone.sendText(bruno.with(annaId), "ricevuto");
    await until(() => next.texts(brunoId).join() === "> rotta per Malta delivered,< ricevuto delivered");
  });

  it("locking forgets everything; what comes meanwhile waits at the server", async () => {
    const { server, anna, bruno } = await sealedPhone();
    const annaId = anna.id();
    await anna.phone.lock();
    expect(anna.state()).toMatchObject({ enrolment: "locked", me: null, contacts: [], threads: {}, call: null });
    await bruno.phone.sendText(bruno.with(annaId), "sei bloccata?");
    await until(() => bruno.texts(annaId).includes("> sei bloccata? sent"));
    const next = await nextPage(server, anna);
    await next.phone.unlock(OWN);
    await until(() => next.texts(bruno.id()).includes("< sei bloccata? delivered"));
  });

  it("without a passphrase there is nothing to lock", async () => {
    const { anna } = await twoPeople();
    await anna.phone.lock();
    expect(anna.state()).toMatchObject({ enrolment: "done", server: "online" });
  });

  it("under duress an empty phone opens and the custodians are told", async () => {
    const { server, anna, bruno } = await sealedPhone();
    await until(() => anna.state().access !== null && anna.state().ownDevices.length === 1);
    const { me, organisation, ownDevices, access } = anna.state();
    expect(await anna.phone.setDuressPassphrase(OWN)).toBe("unusable");
    expect(await anna.phone.setDuressPassphrase(DURESS)).toBeNull();
    expect(server.alarms).toBe(0);
    const seen = server.seen.length;
    const next = await nextPage(server, anna);
    await next.phone.unlock(DURESS);
    await until(() => server.alarms === 1 && next.state().server === "online");
    expect(next.state()).toMatchObject({ enrolment: "done", me, contacts: [], threads: {}, lock: { sealed: true, wrong: false } });
    // What every enrolled phone shows is there, and can be touched.
    expect(next.state()).toMatchObject({ organisation, ownDevices, access });
    await next.phone.chooseAccess("elsewhere", "another");
    expect(next.state().access).toMatchObject({ placeId: "elsewhere", carrierId: "another" });
    expect(server.seen.slice(seen)).toHaveLength(1); // the alarm alone: no login, no word of the real account
    // Whatever is tried in it looks as it would in any phone, and the real one stays whole.
    expect(await next.phone.setDuressPassphrase("short")).toBe("short");
    expect(await next.phone.setDuressPassphrase("another for duress")).toBeNull();
    expect(await next.phone.setPassphrase("changed by a stranger")).toBeNull();
    const real = await nextPage(server, next);
    await real.phone.unlock(OWN);
    await until(() => real.state().server === "online");
    expect(real.texts(bruno.id())).toEqual(["> rotta per Malta delivered"]);
  });

  it("the alarm waits for the server", async () => {
    const { server, anna } = await sealedPhone();
    await anna.phone.setDuressPassphrase(DURESS);
    server.goDown();
    const next = await nextPage(server, anna);
    await next.phone.unlock(DURESS);
    await until(() => next.state().server === "offline");
    expect([next.state().enrolment, server.alarms]).toEqual(["done", 0]);
    server.up = true;
    const again = await nextPage(server, next);
    await again.phone.unlock(DURESS);
    await until(() => server.alarms === 1);
  });

  it("destroyed, nothing is left and the phone says so", async () => {
    const { server, anna } = await sealedPhone();
    await anna.phone.zeroise();
    expect(anna.state()).toMatchObject({ enrolment: "zeroised", me: null, contacts: [], threads: {} });
    expect(anna.store.dump()).toEqual({ names: [], values: [] });
    await expect(nextPage(server, anna).then((next) => next.state().fault?.code)).resolves.toBe("storage_refused");
  });
});

describe("members", () => {
  const deviceOf = (one: Handset): string => one.state().me?.deviceId ?? "";
  const direct = (one: Handset, other: Handset): string => one.with(other.id());
  async function talking(): Promise<Awaited<ReturnType<typeof twoPeople>>> {
    const people = await twoPeople();
    const { anna, bruno } = people;
    await anna.phone.sendText(direct(anna, bruno), "ciao");
    await until(() => anna.texts(bruno.id()).includes("> ciao delivered"));
    return people;
  }

  it("are let in by custodians: until then the phone shows its code and knows nobody", async () => {
    const server = new TwinServer();
    const bruno = await enrolled(server, "Bruno");
    server.approves = false;
    const anna = await enrolled(server, "Anna");
    expect(anna.state()).toMatchObject({ enrolment: "waiting", contacts: [], organisation: { name: "Ministry of Examples" } });
    expect(anna.state().organisation?.deviceCode).toMatch(/^[A-Z2-7]{4}( [A-Z2-7]{4}){3}$/);
    await server.certify(deviceOf(anna));
    await until(() => anna.state().enrolment === "done" && anna.state().contacts.length === 1);
    await until(() => bruno.state().contacts.length === 1);
    await anna.phone.sendText(direct(anna, bruno), "eccomi");
    await until(() => anna.texts(bruno.id()).includes("> eccomi delivered"));
    expect([anna.state().fault, bruno.state().fault]).toEqual([null, null]); // the log told of the other before the directory did
  });

  it("who comes while the directory is being stored is met without a fault, however slow the disk", async () => {
    const server = new TwinServer();
    const anna = await enrolled(server, "Anna");
    const carla = await enrolled(server, "Carla");
    await until(() => anna.state().contacts.length === 1 && carla.state().contacts.length === 1);
    const faults: unknown[] = [];
    anna.phone.state.subscribe(({ fault }) => faults.push(fault));
    const apply = anna.store.apply.bind(anna.store);
    anna.store.apply = async (changes) => {
      await apply(changes);
      await new Promise((resolve) => setTimeout(resolve, 100));
    };
    const [bruno] = await Promise.all([enrolled(server, "Bruno"), carla.phone.sendText(direct(carla, anna), "ciao")]);
    await bruno.phone.sendText(direct(bruno, anna), "eccomi");
    await until(() => anna.texts(bruno.id()).includes("< eccomi delivered") && anna.texts(carla.id()).includes("< ciao delivered"));
    expect(faults.filter((fault) => fault !== null)).toEqual([]);
  });

  it("of another organisation than the invitation's: the phone does not go on", async () => {
    const anna = handset(new TwinServer());
    await anna.phone.start();
    await anna.phone.enrol(invitation().replace(/org=.{8}/, "org=AAAAAAAA"), "Anna");
    expect(anna.state()).toMatchObject({ enrolment: "needed", fault: { code: "organisation_refused" } });
  });

  it("a device that the server alone calls a member is neither written to nor called", async () => {
    const { server, anna, bruno } = await talking();
    server.replaceKey(bruno.id(), toBase64(new Uint8Array(32).fill(9)));
    await until(() => anna.state().contacts[0]?.keyChanged === true);
    await anna.phone.call(bruno.id(), "routine");
    expect(anna.state()).toMatchObject({ call: null, fault: { code: "peer_key_changed" } });
  });

  it("a certificate that nobody approved makes nobody a member, and is shown", async () => {
    const { server, anna } = await talking();
    const [accountId, deviceId] = ["a".repeat(32), "b".repeat(32)];
    server.log.entries.push(await organisation.certificate({ accountId, deviceId, key: new Uint8Array(32).fill(7), displayName: "Mallory", approvers: [] }));
    server.replaceKey("nobody", "");
    await until(() => anna.state().fault?.code === "log_refused");
    expect(anna.state().contacts.map(({ displayName }) => displayName)).not.toContain("Mallory");
  });

  it("revoked in mid-call: the phone falls silent and says so, the other one leaves the call and lets it out", async () => {
    const { server, anna, bruno } = await talking();
    await anna.phone.call(bruno.id(), "routine");
    await until(() => bruno.state().call?.phase === "incoming");
    await bruno.phone.answer();
    await until(() => anna.state().call?.phase === "active" && bruno.state().call?.phase === "active");
    const [conversation] = server.conversationIds() as [string];
    const epoch = server.epochs()[0] as number;
    const [annaId, brunoId] = [anna.id(), bruno.id()];
    await server.revoke(deviceOf(bruno));
    await until(() => bruno.state().enrolment === "revoked");
    expect(bruno.media[0]?.closed).toBe(true);
    expect(bruno.state()).toMatchObject({ me: null, contacts: [], threads: {}, call: null });
    await until(() => anna.state().call?.phase === "ended");
    expect(anna.state().call?.fault?.code).toBe("peer_revoked");
    expect(anna.media[0]?.closed).toBe(true);
    await until(() => !server.devicesIn(conversation).some((device) => device !== deviceOf(anna)));
    expect(server.epochs()[0]).toBeGreaterThan(epoch);
    expect(anna.texts(brunoId)).toContain("device revoked");
    await anna.phone.sendText(anna.with(brunoId), "ci sei?");
    await until(() => anna.state().fault?.code === "peer_not_ready");
    expect(anna.texts(brunoId)).toContain("> ci sei? queued");
    expect(annaId).not.toBe(brunoId);
  });

  it("revoked with the order to destroy itself: it does, and says so to the server", async () => {
    const { server, bruno } = await talking();
    const device = deviceOf(bruno);
    await server.revoke(device, "zeroise: stolen at the airport");
    await until(() => bruno.state().enrolment === "zeroised" && server.zeroised.includes(device));
    expect(bruno.store.dump()).toEqual({ names: [], values: [] });
  });

  it("is not destroyed by a server that has no such word of the organisation", async () => {
    const { server, bruno } = await talking();
    const device = deviceOf(bruno);
    await server.revoke(device);
    const forged = server.revocations.get(device)?.map((byte, i) => (i === 150 ? byte ^ 1 : byte)) as Uint8Array;
    server.revocations.set(device, forged);
    await until(() => bruno.state().enrolment === "revoked");
    expect(bruno.store.dump().values.length).toBeGreaterThan(0);
    expect(server.zeroised).toEqual([]);
  });

  it("a further device gets what is written from then on, and the others are told of it", async () => {
    const { server, anna, bruno } = await talking();
    server.furtherFor = bruno.id();
    const tablet = await enrolled(server, "Bruno");
    server.furtherFor = null;
    expect(tablet.id()).toBe(bruno.id());
    await until(() => bruno.state().fault?.code === "new_own_device");
    expect(bruno.state().ownDevices.map(({ me }) => me)).toEqual([true, false]);
    await until(() => anna.texts(bruno.id()).includes("device added"));
    const [conversation] = server.conversationIds() as [string];
    await until(() => server.devicesIn(conversation).length === 3);
    await anna.phone.sendText(direct(anna, bruno), "a tutti e due");
    await until(() => bruno.texts(anna.id()).includes("< a tutti e due delivered") && tablet.texts(anna.id()).includes("< a tutti e due delivered"));
    await tablet.phone.sendText(tablet.with(anna.id()), "dal secondo");
    await until(() => anna.texts(bruno.id()).includes("< dal secondo delivered") && bruno.texts(anna.id()).some((text) => text.startsWith("> dal secondo")));
    await anna.phone.call(bruno.id(), "routine");
    await until(() => bruno.state().call?.phase === "incoming" && tablet.state().call?.phase === "incoming");
    await tablet.phone.answer();
    await until(() => anna.state().call?.phase === "active" && tablet.state().call?.phase === "active");
    await until(() => bruno.state().call?.phase !== "incoming");
    expect(bruno.media).toHaveLength(0);
  });

  it("a server that shows two people different logs is caught when they write to each other", async () => {
    const { server, anna, bruno } = await talking();
    const other = server.log.copy();
    other.entries.push(await organisation.certificate({ accountId: "a".repeat(32), deviceId: "b".repeat(32), key: new Uint8Array(32).fill(7), displayName: "Mallory" }));
    server.log.entries.push(await organisation.certificate({ accountId: "c".repeat(32), deviceId: "d".repeat(32), key: new Uint8Array(32).fill(8), displayName: "Carlo" }));
    server.shown.set(deviceOf(bruno), other);
    server.replaceKey("nobody", "");
    await until(() => anna.state().organisation?.logHead !== null && anna.state().organisation?.logHead !== bruno.state().organisation?.logHead);
    await anna.phone.sendText(direct(anna, bruno), "che cosa vedi?");
    await until(() => [anna, bruno].some((one) => one.state().fault?.code === "log_equivocates"));
  });

  it("a server that rewrites the log is caught by whoever saw it before", async () => {
    const { server, anna } = await talking();
    const rewritten = new TestLog(organisation);
    for (const name of ["Carlo", "Dora", "Ezio"]) {
      rewritten.entries.push(await organisation.certificate({ accountId: randomId(), deviceId: randomId(), key: new Uint8Array(32).fill(8), displayName: name }));
    }
    server.shown.set(deviceOf(anna), rewritten);
    server.replaceKey("nobody", "");
    await until(() => anna.state().fault?.code === "log_equivocates");
    const next = handset(server, anna.store);
    anna.phone.stop();
    await next.phone.start();
    expect(next.state().fault?.code).toBe("log_equivocates"); // it stays so: the proof is kept
  });
});
