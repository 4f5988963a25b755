// Guests: people of another organisation, whom their own one certifies and custodians here let in, as a phone reads it in the log.

import { beforeAll, describe, expect, it } from "vitest";

import { randomId } from "../../src/keys/bytes";
import { Directory } from "../../src/phone/engine/directory";
import { Membership, type Ask } from "../../src/phone/engine/membership";
import type { Change } from "../../src/phone/engine/store";
import { organisation as ours, TestLog, TestOrganisation, type Grant, type Limits } from "./organisation";

const own = { accountId: randomId(), deviceId: randomId() };
let allies: TestOrganisation;

beforeAll(async () => {
  allies = await TestOrganisation.make("Allies");
});

const guest = (changes: Partial<Grant> = {}): Grant => {
  const key = crypto.getRandomValues(new Uint8Array(32));
  return { accountId: randomId(), deviceId: randomId(), key, displayName: "Liaison", unit: "Coast Guard", approvers: ours.custodians.slice(0, 1), ...changes };
};

const pinned = { fingerprint: ours.fingerprint, root: ours.root, logKey: ours.logKey };
const open = (): Promise<Membership> => Membership.open(pinned, own, () => Date.now() / 1000);

function asks(log: TestLog): Ask {
  return async <T>(_: "GET", path: string): Promise<T> => {
    const url = new URL(path, "https://service.example");
    const number = (name: string): number => Number(url.searchParams.get(name));
    return (url.pathname.endsWith("/head") ? await log.head() : log.page(number("start"), number("count"))) as T;
  };
}

/** A phone that has read a log in which the allies were cross-certified, and then these entries. */
async function reads(limits: Limits, serial: string, ...entries: Uint8Array[]): Promise<{ log: TestLog; membership: Membership; changes: Change[]; refused: string[] }> {
  const log = new TestLog(ours);
  log.entries.push(await ours.federation(allies, limits, serial), allies.root as Uint8Array<ArrayBuffer>, ...(entries as Uint8Array<ArrayBuffer>[]));
  const membership = await open();
  const { changes, refused } = await membership.follow(asks(log));
  return { log, membership, changes, refused: refused.map(({ reason }) => reason) };
}

describe("a guest", () => {
  it("is let in under his organisation's name, and falls with the cross-certification, also after a restart", async () => {
    const [liaison, serial] = [guest(), randomId()];
    const { log, membership, changes, refused } = await reads({}, serial, await allies.certificate(liaison));
    expect(refused).toEqual([]);
    expect(membership.admits(liaison.deviceId)).toBe(true);
    expect(membership.accepts(liaison.accountId, liaison.deviceId, liaison.key)).toBe(true);
    expect(membership.nameOf(liaison.accountId)).toBe("Liaison (Allies)");

    const again = await open();
    const rows = (table: string): Map<string, unknown> => new Map(changes.filter((change) => change.table === table).map(({ key, value }) => [key, value]));
    await again.load(rows("log"), rows("certificates"));
    const second = guest({ displayName: "Second" });
    log.entries.push(await allies.certificate(second));
    expect((await again.follow(asks(log))).refused).toEqual([]);
    expect(again.nameOf(second.accountId)).toBe("Second (Allies)");

    log.entries.push(await ours.revocation(serial, "", "exercise over"));
    const news = await again.follow(asks(log));
    expect(news.standings.map(({ claims }) => claims.deviceId).sort()).toEqual([liaison.deviceId, second.deviceId].sort());
    expect([liaison, second].map(({ deviceId }) => again.isRevoked(deviceId))).toEqual([true, true]);
    log.entries.push(await allies.certificate(guest()));
    expect((await again.follow(asks(log))).refused.map(({ reason }) => reason)).toEqual(["outside_federation"]);
  });

  it.each<[string, Limits, Partial<Grant>, string]>([
    ["of another unit", { units: "Navy" }, {}, "outside_federation"],
    ["of another role", {}, { roles: "member,operator" }, "outside_federation"],
    ["above the ceiling", {}, { ceiling: "flash", approvers: ours.custodians }, "outside_federation"],
    ["for longer than the cross-certification", { notAfter: Math.floor(Date.now() / 1000) + 60 }, {}, "outside_federation"],
    ["whom no custodian here approved", {}, { approvers: [] }, "missing_approver"],
  ])("%s is refused", async (_, limits, changes, reason) => {
    const liaison = guest(changes);
    const { membership, refused } = await reads(limits, randomId(), await allies.certificate(liaison));
    expect(refused).toEqual([reason]);
    expect(membership.admits(liaison.deviceId)).toBe(false);
  });

  it("of an organisation that nobody cross-certified is refused, whatever root the server logs", async () => {
    const strangers = await TestOrganisation.make("Strangers");
    const liaison = guest();
    const { membership, refused } = await reads({}, randomId(), strangers.root, await strangers.certificate(liaison));
    expect(refused).toEqual(["wrong_organisation", "forged"]);
    expect(membership.admits(liaison.deviceId)).toBe(false);
  });

  it("is never a device of one of our own people", async () => {
    const member = guest({ displayName: "Ada" });
    const { refused } = await reads({}, randomId(), await ours.certificate(member), await allies.certificate(guest({ accountId: member.accountId })));
    expect(refused).toEqual(["outside_federation"]);
  });

  it("brings no archive of ours along by the name of his unit", async () => {
    const [liaison, archive] = [guest(), guest({ displayName: "Archive", roles: "archive", approvers: ours.custodians })];
    const { membership } = await reads({}, randomId(), await allies.certificate(liaison), await ours.certificate(archive));
    const directory = new Directory(own, membership);
    expect(directory.mayKeep(archive.accountId, [liaison.accountId])).toBe(false);
    const member = guest({ displayName: "Ada" });
    const with_ours = await reads({}, randomId(), await ours.certificate(member), await ours.certificate(archive));
    expect(new Directory(own, with_ours.membership).mayKeep(archive.accountId, [member.accountId])).toBe(true);
  });
});

describe("a cross-certification", () => {
  it("gives nobody power", async () => {
    const log = new TestLog(ours);
    log.entries.push(await ours.federation(allies, { roles: "custodian,member" }));
    expect((await (await open()).follow(asks(log))).refused.map(({ reason }) => reason)).toEqual(["malformed"]);
  });
});
