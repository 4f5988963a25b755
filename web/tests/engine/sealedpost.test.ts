// Sealed texts between whole phones: by hand and by the server, over restarts, and of a device that is out.

import { describe, expect, it } from "vitest";

import type { PhoneState, SealedOpened, SealedSent } from "../../src/phone/model";
import { handset, twoPeople, until, type Handset } from "./handset";

type Line = Extract<PhoneState["threads"][string][number], { kind: "text" }>;

function sealedLines(of: Handset, peer: string): string[] {
  return (of.state().threads[of.with(peer)] ?? []).filter((entry): entry is Line => entry.kind === "text" && entry.sealed === true).map(({ outgoing, body, state }) => `${outgoing ? ">" : "<"} ${body} ${state}`);
}

async function acquainted(): Promise<Awaited<ReturnType<typeof twoPeople>>> {
  const people = await twoPeople();
  const { anna, bruno } = people;
  await anna.phone.sendText(anna.with(bruno.id()), "We meet once");
  await until(() => bruno.texts(anna.id()).length === 1);
  await until(() => anna.phone.sealedReach(anna.with(bruno.id())).ready && bruno.phone.sealedReach(bruno.with(anna.id())).ready);
  return people;
}

async function byHand(from: Handset, to: string, body: string): Promise<string> {
  const sealed: SealedSent = await from.phone.sealText(from.with(to), body, "by hand");
  if (sealed.state !== "sealed") throw new Error(`not sealed: ${JSON.stringify(sealed)}`);
  return sealed.hex;
}

const state = async (opened: Promise<SealedOpened>): Promise<string> => (await opened).state;

describe("sealed texts by hand", () => {
  it("open once at the other phone, in any order, and at nobody else", async () => {
    const { anna, bruno } = await acquainted();
    const [first, second] = [await byHand(anna, bruno.id(), "Il varco nord è aperto."), await byHand(anna, bruno.id(), "Площадь закрыта")];
    expect(first.length).toBeLessThanOrEqual(280);
    expect(await bruno.phone.openSealed(second.toUpperCase().replace(/(.{8})/g, "$1 "))).toMatchObject({ state: "opened", body: "Площадь закрыта", accountId: anna.id() });
    expect(await state(bruno.phone.openSealed(first))).toBe("opened");
    expect(await state(bruno.phone.openSealed(first))).toBe("seen");
    expect(await state(bruno.phone.openSealed(`${first.slice(0, -2)}${first.endsWith("00") ? "01" : "00"}`))).toBe("refused");
    expect(await state(bruno.phone.openSealed("not hex"))).toBe("not_hex");
    expect(await state(anna.phone.openSealed(first))).toBe("not_yet");
    expect(sealedLines(bruno, anna.id())).toEqual(["< Площадь закрыта delivered", "< Il varco nord è aperto. delivered"]);
    expect(sealedLines(anna, bruno.id())).toEqual(["> Il varco nord è aperto. sent", "> Площадь закрыта sent"]);
    expect(await anna.phone.sealText(anna.with(bruno.id()), "ж".repeat(80), "by hand")).toEqual({ state: "refused", reason: "too_long" });
    expect(await anna.phone.sealText(anna.with(bruno.id()), "x", "routine")).toEqual({ state: "refused", reason: "no_number" });
  });

  it("use no counter twice over a restart, and remember what was seen", async () => {
    const { server, anna, bruno } = await acquainted();
    const before = await byHand(anna, bruno.id(), "before");
    await bruno.phone.openSealed(before);
    server.up = false; // a ship without a network
    anna.phone.stop();
    bruno.phone.stop();
    const [again, there] = [handset(server, anna.store), handset(server, bruno.store)];
    await again.phone.start();
    await there.phone.start();
    const after = await byHand(again, there.id(), "before");
    expect(after.slice(0, 4)).toBe(before.slice(0, 4));
    expect(Number.parseInt(after.slice(4, 14), 16)).toBe(Number.parseInt(before.slice(4, 14), 16) + 1);
    expect(await state(there.phone.openSealed(before))).toBe("seen");
    expect(await state(there.phone.openSealed(after))).toBe("opened");
    expect(sealedLines(there, again.id())).toEqual(["< before delivered", "< before delivered"]);
  });

  it("neither come from nor go to a device that was revoked", async () => {
    const { server, anna, bruno } = await acquainted();
    const late = await byHand(bruno, anna.id(), "late");
    await server.revoke(bruno.state().me?.deviceId ?? "");
    await until(() => !anna.phone.sealedReach(anna.with(bruno.id())).ready);
    expect(await anna.phone.sealText(anna.with(bruno.id()), "x", "by hand")).toMatchObject({ state: "refused" });
    expect(await state(anna.phone.openSealed(late))).not.toBe("opened");
  });
});

describe("sealed texts by the server", () => {
  it("go to the number that the other phone told, once, also where the server was away", async () => {
    const { server, anna, bruno } = await acquainted();
    const [to, from] = [anna.with(bruno.id()), bruno.with(anna.id())];
    expect(await bruno.phone.takeSealedTexts(from)).toBe("+390621");
    await until(() => anna.phone.sealedReach(to).number === "+390621");
    expect(await anna.phone.sealText(to, "x", "flash")).toEqual({ state: "refused", reason: "no_number" });
    await anna.phone.takeSealedTexts(to);
    await server.allow(anna.id(), "flash");
    expect(await anna.phone.sealText(to, "Portate coperte.", "flash")).toEqual({ state: "sent", waitS: 40 });
    expect(server.sealedLevels).toEqual(["flash"]);
    await until(() => sealedLines(bruno, anna.id()).length === 1);
    expect(server.seen.some((body) => body.includes("Portate"))).toBe(false);

    server.up = false;
    expect(await anna.phone.sealText(to, "Ancora.", "routine")).toEqual({ state: "later" });
    expect(sealedLines(anna, bruno.id())).toEqual(["> Portate coperte. sent", "> Ancora. queued"]);
    anna.phone.stop();
    server.up = true;
    const again = handset(server, anna.store);
    await again.phone.start();
    await until(() => sealedLines(again, bruno.id()).at(-1) === "> Ancora. sent");
    await until(() => sealedLines(bruno, again.id()).length === 2);
    expect(sealedLines(bruno, again.id())).toEqual(["< Portate coperte. delivered", "< Ancora. delivered"]);
  });

  it("go up to the person's ceiling, and are told where it is lower than asked", async () => {
    const { server, anna, bruno } = await acquainted();
    const [to, from] = [anna.with(bruno.id()), bruno.with(anna.id())];
    await bruno.phone.takeSealedTexts(from);
    await until(() => anna.phone.sealedReach(to).number !== null);
    await anna.phone.takeSealedTexts(to);
    expect(await anna.phone.sealText(to, "Subito.", "priority")).toEqual({ state: "refused", reason: "precedence" });
    expect(sealedLines(anna, bruno.id())).toEqual(["> Subito. failed"]);
    expect(await anna.phone.sealText(to, "Quando si può.", "routine")).toMatchObject({ state: "sent" });
    await until(() => sealedLines(bruno, anna.id()).length === 1);
    expect(server.sealedLevels).toEqual(["routine"]);
  });
});
