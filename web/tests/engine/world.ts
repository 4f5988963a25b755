// A few devices that know each other, for tests of the keys.

import { equal } from "../../src/keys/bytes";
import { randomId } from "../../src/keys/bytes";
import { Conversation, MlsDevice, type Authority, type Identity, type PendingCommit, type StoredKeyPackage } from "../../src/keys/conversation";
import { DeviceKey } from "../../src/keys/statement";

export const NOW = Math.floor(Date.now() / 1000); // ts-mls checks lifetimes against the machine's clock
export const keep = async (): Promise<void> => {};

/** The directory: whose key is whose. */
export class Directory implements Authority {
  private readonly keys = new Map<string, Uint8Array>();

  enter(identity: Identity, key: Uint8Array): void {
    this.keys.set(`${identity.accountId}/${identity.deviceId}`, key);
  }

  accepts(accountId: string, deviceId: string, signaturePublicKey: Uint8Array): boolean {
    const known = this.keys.get(`${accountId}/${deviceId}`);
    return known !== undefined && equal(known, signaturePublicKey);
  }

  admits(accountId: string, deviceId: string, signaturePublicKey: Uint8Array): boolean {
    return this.accepts(accountId, deviceId, signaturePublicKey);
  }
}

export async function newDevice(directory: Directory): Promise<MlsDevice> {
  const key = await DeviceKey.generate();
  const identity = { accountId: randomId(), deviceId: randomId() };
  directory.enter(identity, key.publicKey);
  return new MlsDevice(key, identity, directory);
}

export interface Seat {
  device: MlsDevice;
  conversation: Conversation;
}

/** A conversation of `creator` with the others, all joined by one welcome. */
export async function converse(creator: MlsDevice, others: readonly MlsDevice[]): Promise<{ seats: Seat[]; pending: PendingCommit }> {
  const accounts = new Set([creator, ...others].map((device) => device.identity.accountId));
  const id = randomId();
  const conversation = await Conversation.create(id, creator, accounts, NOW);
  const packages: StoredKeyPackage[] = [];
  for (const other of others) packages.push(await other.newKeyPackage(NOW));
  const added = others.map((device, i) => ({ identity: device.identity, keyPackage: (packages[i] as StoredKeyPackage).message }));
  const pending = await conversation.prepareCommit({ added }, NOW);
  await conversation.merge(pending, keep);
  const seats: Seat[] = [{ device: creator, conversation }];
  for (const [i, device] of others.entries()) {
    const joined = await Conversation.join(id, device, accounts, pending.welcome as Uint8Array, [packages[i] as StoredKeyPackage]);
    seats.push({ device, conversation: joined.conversation });
  }
  return { seats, pending };
}
