// Members come and update in many orders: trees with blank nodes and unmerged leaves, which ts-mls 1.6.4 gets wrong without our patch.

import { expect, it } from "vitest";
import { createCommit, createGroup, emptyPskIndex, generateKeyPackageWithKey, joinGroup, processPrivateMessage, type ClientState } from "ts-mls";

import { utf8 } from "../../src/keys/bytes";
import { CAPABILITIES } from "../../src/keys/suite";
import { Directory, newDevice, NOW } from "./world";

/** Park–Miller: the same operations in every run. */
function dice(seed: number): (sides: number) => number {
  let value = seed;
  return (sides) => {
    value = (value * 48_271) % 2_147_483_647;
    return value % sides;
  };
}

it.each([1, 2, 3])("twenty-four adds, removes and updates leave all members with the same secrets (seed %i)", async (seed) => {
  const roll = dice(seed);
  const directory = new Directory();
  const packageOf = async () => {
    const device = await newDevice(directory);
    const made = await generateKeyPackageWithKey(
      { credentialType: "basic", identity: utf8(`${device.identity.accountId}/${device.identity.deviceId}`) },
      CAPABILITIES,
      { notBefore: BigInt(NOW - 10), notAfter: BigInt(NOW + 1000) },
      [],
      { signKey: device.key.publicKey, publicKey: device.key.publicKey },
      device.suite,
    );
    return { device, ...made };
  };
  const first = await packageOf();
  let members = [
    { device: first.device, state: await createGroup(utf8("group"), first.publicPackage, first.privatePackage, [], first.device.suite, first.device.config) },
  ];
  for (let step = 0; step < 24; step++) {
    const committer = members[roll(members.length)] as (typeof members)[number];
    const others = members.filter((member) => member !== committer);
    const kind = members.length < 3 ? "add" : (["add", "add", "remove", "update"] as const)[roll(4)];
    const joiner = kind === "add" ? await packageOf() : null;
    const leaver = kind === "remove" ? others[roll(others.length)] : null;
    const extraProposals =
      joiner !== null
        ? [{ proposalType: "add", add: { keyPackage: joiner.publicPackage } } as const]
        : leaver != null
          ? [{ proposalType: "remove", remove: { removed: leaver.state.privatePath.leafIndex } } as const]
          : [];
    const context = { state: committer.state, cipherSuite: committer.device.suite, pskIndex: emptyPskIndex };
    const { newState, commit, welcome } = await createCommit(context, { extraProposals, ratchetTreeExtension: true });
    if (commit.wireformat !== "mls_private_message") throw new Error("unexpected wire format");
    const next: { device: typeof first.device; state: ClientState }[] = [{ device: committer.device, state: newState }];
    for (const member of others) {
      if (member === leaver) continue;
      const processed = await processPrivateMessage(member.state, commit.privateMessage, emptyPskIndex, member.device.suite);
      next.push({ device: member.device, state: processed.newState });
    }
    if (joiner !== null && welcome !== undefined) {
      const { device, publicPackage, privatePackage } = joiner;
      const state = await joinGroup(welcome, publicPackage, privatePackage, emptyPskIndex, device.suite, undefined, undefined, device.config);
      next.push({ device, state });
    }
    members = next;
    for (const member of members) expect(member.state.keySchedule.epochAuthenticator).toEqual(newState.keySchedule.epochAuthenticator);
  }
}, 60_000);
