// Groups as people live through them: whole phones against the server's twin.

import { describe, expect, it } from "vitest";

import { fromBase64 } from "../../src/keys/bytes";
import { believed, planChange } from "../../src/phone/engine/reconcile";
import { enrolled, until, type Handset } from "./handset";
import { TwinServer } from "./twin";

async function people(...names: string[]): Promise<{ server: TwinServer; phones: Handset[] }> {
  const server = new TwinServer();
  const phones: Handset[] = [];
  for (const name of names) phones.push(await enrolled(server, name));
  for (const phone of phones) await until(() => phone.state().contacts.length === names.length - 1);
  return { server, phones };
}

const has = (phone: Handset, id: string, line: string): Promise<void> => until(() => phone.lines(id).includes(line));

async function group(creator: Handset, ...others: Handset[]): Promise<string> {
  const id = await creator.phone.createGroup("group", "Convoglio", others.map((other) => other.id()));
  if (id === null) throw new Error(creator.state().fault?.detail);
  for (const other of others) await until(() => other.state().groups[0]?.title === "Convoglio");
  return id;
}

describe("a group", () => {
  it("is made by one, read by all, and the server sees neither name nor words", async () => {
    const { server, phones } = await people("Anna", "Bruno", "Carla");
    const [anna, bruno, carla] = phones as [Handset, Handset, Handset];
    const id = await group(anna, bruno, carla);
    await bruno.phone.sendText(id, "in marcia");
    for (const phone of [anna, carla]) await has(phone, id, "< in marcia delivered");
    expect(anna.state().groups[0]).toMatchObject({ title: "Convoglio", unread: 1, standing: "open", mayChange: true });
    const said = (anna.state().threads[id] ?? []).find((entry) => entry.kind === "text");
    expect(said).toMatchObject({ sender: bruno.id(), outgoing: false });
    expect(server.seen.join()).not.toMatch(/Convoglio|in marcia/);
  });

  it("counts who has a text and who has read it", async () => {
    const { phones } = await people("Anna", "Bruno", "Carla");
    const [anna, bruno, carla] = phones as [Handset, Handset, Handset];
    const id = await group(anna, bruno, carla);
    await anna.phone.sendText(id, "letto?");
    const receipts = () => (anna.state().threads[id] ?? []).flatMap((entry) => (entry.kind === "text" ? [entry.receipts] : []))[0];
    await until(() => receipts()?.delivered === 2);
    bruno.phone.markRead(id);
    await until(() => receipts()?.read === 1);
    expect(receipts()).toEqual({ of: 2, delivered: 2, read: 1 });
    carla.phone.markRead(id);
    await has(anna, id, "> letto? read");
  });

  it("takes in a newcomer, who cannot read what was said before", async () => {
    const { phones } = await people("Anna", "Bruno", "Carla");
    const [anna, bruno, carla] = phones as [Handset, Handset, Handset];
    const id = await group(anna, bruno);
    await anna.phone.sendText(id, "prima");
    await has(bruno, id, "< prima delivered");
    await bruno.phone.addMembers(id, [carla.id()]);
    await until(() => carla.state().groups[0]?.title === "Convoglio");
    await anna.phone.sendText(id, "dopo");
    await has(carla, id, "< dopo delivered");
    expect(carla.lines(id).join()).not.toContain("prima");
    expect(anna.lines(id)).toContain("< roster +1 -0");
    expect(anna.state().groups[0]?.members.filter(({ joined }) => joined)).toHaveLength(3);
  });

  it("puts one out: nothing reaches him, and what is given to him all the same he cannot open", async () => {
    const { server, phones } = await people("Anna", "Bruno", "Carla");
    const [anna, bruno, carla] = phones as [Handset, Handset, Handset];
    const id = await group(anna, bruno, carla);
    await anna.phone.removeMember(id, carla.id());
    await until(() => carla.state().groups[0]?.standing === "removed");
    await until(() => bruno.state().groups[0]?.members.length === 2);
    const before = server.delivered(carla.id());
    await anna.phone.sendText(id, "senza Carla");
    await has(bruno, id, "< senza Carla delivered");
    expect(server.delivered(carla.id())).toBe(before);
    const ciphertext = server.lastMessage(id);
    expect(fromBase64(ciphertext).length).toBeGreaterThan(200);
    server.smuggle(carla.id(), id, bruno.id(), ciphertext);
    await until(() => server.pending(carla.id()) === 0);
    expect(carla.lines(id).join()).not.toContain("senza Carla");
    await carla.phone.sendText(id, "ci sono ancora");
    await has(carla, id, "> ci sono ancora failed");
    expect(carla.state().fault?.code).toBe("not_a_member");
  });

  it("is left by one: the others' phones take him out", async () => {
    const { server, phones } = await people("Anna", "Bruno", "Carla");
    const [anna, bruno, carla] = phones as [Handset, Handset, Handset];
    const id = await group(anna, bruno, carla);
    await carla.phone.leaveGroup(id);
    expect(carla.state().groups[0]?.standing).toBe("left");
    await until(() => server.joined(id).length === 2);
    await bruno.phone.sendText(id, "in due");
    await has(anna, id, "< in due delivered");
  });

  it("gets its members right when two change it at once", async () => {
    const { server, phones } = await people("Anna", "Bruno", "Carla", "Dario");
    const [anna, bruno, carla, dario] = phones as [Handset, Handset, Handset, Handset];
    const id = await group(anna, bruno);
    server.holdUntil(2, /commits/);
    await Promise.all([anna.phone.addMembers(id, [carla.id()]), bruno.phone.addMembers(id, [dario.id()])]);
    await until(() => server.joined(id).length === 4);
    await carla.phone.sendText(id, "ci siamo tutti");
    for (const phone of [anna, bruno, dario]) await has(phone, id, "< ci siamo tutti delivered");
    expect(server.refused).toContain("epoch_taken");
  });

  it("lets nobody in on the server's word, not even while it is founded", async () => {
    const { server, phones } = await people("Anna", "Bruno", "Carla");
    const [anna, bruno, carla] = phones as [Handset, Handset, Handset];
    server.slippedIn = [carla.id()];
    const id = await group(anna, bruno);
    await anna.phone.sendText(id, "in due");
    await has(bruno, id, "< in due delivered");
    expect(server.joined(id).sort()).toEqual([anna.id(), bruno.id()].sort());
    server.smuggle(carla.id(), id, anna.id(), server.lastMessage(id));
    await until(() => server.pending(carla.id()) === 0);
    expect(carla.lines(id).join()).not.toContain("in due");
  });
});

describe("a talk group that an administrator made", () => {
  it("is founded by its owner's phone, and follows the list", async () => {
    const { server, phones } = await people("Anna", "Bruno", "Carla");
    const [anna, bruno, carla] = phones as [Handset, Handset, Handset];
    const id = server.talkGroup(bruno.id(), [anna.id(), carla.id()]);
    await until(() => server.joined(id).length === 3);
    await bruno.phone.renameGroup(id, "Canale 1");
    await until(() => [anna, carla].every((phone) => phone.state().groups[0]?.title === "Canale 1"));
    expect(bruno.state().groups[0]).toMatchObject({ kind: "talk", mayChange: true });
    expect(anna.state().groups[0]).toMatchObject({ kind: "talk", mayChange: false });
  });
});

describe("an archive", () => {
  const certified = async (server: TwinServer, archive: Handset, phones: readonly Handset[], unit?: string): Promise<void> => {
    await server.certifyArchive(archive.id(), unit);
    await until(() => phones.every((phone) => phone.state().organisation?.logHead?.startsWith(`${server.log.entries.length}:`) === true));
  };
  const shown = (phone: Handset, peer: Handset) => phone.state().contacts.find(({ accountId }) => accountId === peer.id())?.archives.join();

  it("is in a group from its founding, is shown to everybody, and reads what is said; nobody else does", async () => {
    const { server, phones } = await people("Anna", "Bruno", "Archivio", "Zeno");
    const [anna, bruno, archive, outsider] = phones as [Handset, Handset, Handset, Handset];
    await certified(server, archive, phones);
    server.archiving = archive.id();
    const id = await group(anna, bruno);
    await until(() => server.joined(id).includes(archive.id()));
    for (const phone of [anna, bruno]) {
      await until(() => phone.state().groups[0]?.members.some(({ role, joined }) => role === "archive" && joined) === true);
    }
    await anna.phone.sendText(id, "agli atti");
    await has(archive, id, "< agli atti delivered");
    // The same ciphertext in the hands of whoever is not a member: the archive is the only way.
    server.smuggle(outsider.id(), id, anna.id(), server.lastMessage(id));
    await until(() => server.pending(outsider.id()) === 0);
    expect(outsider.lines(id)).toEqual([]);
    expect(server.seen.join()).not.toContain("agli atti");
  });

  it("is in a conversation of two from its first message, shown to both", async () => {
    const { server, phones } = await people("Anna", "Bruno", "Archivio");
    const [anna, bruno, archive] = phones as [Handset, Handset, Handset];
    await certified(server, archive, phones, "Navy");
    server.archiving = archive.id();
    await anna.phone.sendText(anna.with(bruno.id()), "primo");
    await until(() => bruno.texts(anna.id()).includes("< primo delivered"));
    const id = anna.with(bruno.id());
    await has(archive, id, "< primo delivered");
    await until(() => shown(bruno, anna) === "Archivio" && shown(anna, bruno) === "Archivio");
    await bruno.phone.sendText(id, "secondo");
    await until(() => anna.texts(bruno.id()).includes("< secondo delivered"));
    await has(archive, id, "< secondo delivered");
  });

  it("may come later, too", async () => {
    const { server, phones } = await people("Anna", "Bruno", "Archivio");
    const [anna, bruno, archive] = phones as [Handset, Handset, Handset];
    const id = anna.with(bruno.id());
    await anna.phone.sendText(id, "primo");
    await until(() => bruno.texts(anna.id()).includes("< primo delivered"));
    await certified(server, archive, phones);
    server.archive(id, archive.id());
    await until(() => server.joined(id).includes(archive.id()));
    await until(() => shown(bruno, anna) === "Archivio" && shown(anna, bruno) === "Archivio");
    await bruno.phone.sendText(id, "secondo");
    await has(archive, id, "< secondo delivered");
    expect(archive.lines(id).join()).not.toContain("primo");
  });

  it.each([
    ["that nobody certified as one", null],
    ["of another unit", "Army"],
  ])("%s is not let in, whatever the server lists", async (_, unit) => {
    const { server, phones } = await people("Anna", "Bruno", "Archivio");
    const [anna, bruno, archive] = phones as [Handset, Handset, Handset];
    if (unit !== null) await certified(server, archive, phones, unit);
    server.archiving = archive.id();
    const id = await group(anna, bruno);
    await anna.phone.sendText(id, "fra noi");
    await has(bruno, id, "< fra noi delivered");
    await anna.phone.sendText(anna.with(bruno.id()), "a te");
    await until(() => bruno.texts(anna.id()).includes("< a te delivered"));
    for (const conversation of [id, anna.with(bruno.id())]) expect(server.joined(conversation).sort()).toEqual([anna.id(), bruno.id()].sort());
  });

  it("is shown as one even where the server lists it as anybody else", async () => {
    const { server, phones } = await people("Anna", "Bruno", "Archivio");
    const [anna, bruno, archive] = phones as [Handset, Handset, Handset];
    await certified(server, archive, phones);
    const id = await group(anna, bruno, archive);
    for (const phone of [anna, bruno]) await until(() => phone.state().groups[0]?.members.some(({ role, joined }) => role === "archive" && joined) === true);
    expect(server.joined(id)).toContain(archive.id());
  });
});

describe("what a commit has to do", () => {
  const roster = { members: ["a", "b", "c", "z"], owners: ["a"], archives: ["z"] };
  const present = [
    { accountId: "a", deviceId: "a1", leafIndex: 0 },
    { accountId: "b", deviceId: "b1", leafIndex: 1 },
    { accountId: "x", deviceId: "x1", leafIndex: 2 },
  ];
  const devicesOf = (account: string) => (account === "b" ? ["b1", "b2"] : [`${account}1`]);

  const none = (): boolean => false;

  it("admits to a group nobody on the server's word alone but archives and further devices", () => {
    expect(planChange("group", "a", present, roster, [], devicesOf, none)).toEqual({ admit: ["b", "z"], remove: ["x1"] });
    expect(planChange("group", "a", present, roster, ["c", "stranger"], devicesOf, none).admit).toEqual(["b", "z", "c"]);
    expect(planChange("talk", "a", present, roster, [], devicesOf, none).admit).toEqual(["b", "c", "z"]);
    expect(planChange("group", "a", present, roster, [], () => [], none).admit).toEqual([]);
  });

  it("believes of the listed archives those that custodians certified for somebody in the conversation", () => {
    const asked: unknown[] = [];
    const may = (archive: string, people: readonly string[]): boolean => (asked.push(archive, people), false);
    expect(believed(roster, may)).toEqual({ members: ["a", "b", "c"], owners: ["a"], archives: [] });
    expect(asked).toEqual(["z", ["a", "b", "c"]]);
    expect(believed(roster, () => true)).toEqual(roster);
  });

  it("puts out a revoked device, whatever the server lists", () => {
    expect(planChange("group", "a", present, { ...roster, members: ["a", "b", "x"] }, [], devicesOf, (deviceId) => deviceId === "b1").remove).toEqual(["b1"]);
  });
});
