// What the server says of presence, in whatever order it arrives.

import { describe, expect, it } from "vitest";

import type { Schemas } from "../../src/api/client";
import { randomId } from "../../src/keys/bytes";
import { Directory } from "../../src/phone/engine/directory";
import { Membership } from "../../src/phone/engine/membership";
import { organisation } from "./organisation";

type Accounts = Schemas["DirectoryAccount"][];

const own = { accountId: randomId(), deviceId: randomId() };
const bruno = randomId();

async function empty(): Promise<Directory> {
  const pinned = { fingerprint: organisation.fingerprint, root: organisation.root, logKey: organisation.logKey };
  return new Directory(own, await Membership.open(pinned, own, () => 0));
}

const listed = (online: boolean): Accounts => [{ account_id: bruno, display_name: "Bruno", precedence_ceiling: "routine", online, devices: [] }];

/** A question to the server that is answered when the test says so. */
function question(): { ask: () => Promise<Accounts>; answer: (accounts: Accounts) => void; fail: () => void } {
  let [answer, fail] = [(_: Accounts): void => undefined, (): void => undefined];
  const promise = new Promise<Accounts>((resolve, reject) => {
    [answer, fail] = [resolve, () => reject(new Error("unreachable"))];
  });
  return { ask: () => promise, answer, fail };
}

describe("presence", () => {
  it.each([true, false])("heard while the directory is on its way is newer than the directory: %s", async (online) => {
    const directory = await empty();
    const { ask, answer } = question();
    const refreshed = directory.refresh(ask);
    directory.presence(bruno, online);
    answer(listed(!online));
    await refreshed;
    expect(directory.online(bruno)).toBe(online);
  });

  it("heard before the directory was asked for is older than it", async () => {
    const directory = await empty();
    await directory.refresh(() => Promise.resolve(listed(false)));
    directory.presence(bruno, true);
    await directory.refresh(() => Promise.resolve(listed(false)));
    expect(directory.online(bruno)).toBe(false);
  });

  it("comes from the question asked last, whichever is answered first", async () => {
    const directory = await empty();
    const [first, second] = [question(), question()];
    const both = [directory.refresh(first.ask), directory.refresh(second.ask)];
    second.answer(listed(true));
    await both[1];
    first.answer(listed(false));
    await both[0];
    expect(directory.online(bruno)).toBe(true);
  });

  it("is as before when the server does not answer", async () => {
    const directory = await empty();
    await directory.refresh(() => Promise.resolve(listed(true)));
    const { ask, fail } = question();
    const refreshed = directory.refresh(ask);
    fail();
    await expect(refreshed).rejects.toThrow("unreachable");
    expect(directory.online(bruno)).toBe(true);
  });
});
