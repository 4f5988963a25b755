// How a device becomes a member's, and how it ceases to be: the invitation it comes with, and the order to destroy itself.

import { request, type Fetch, type Schemas } from "../../api/client";
import { fromBase64, fromBase64Url, toBase64 } from "../../keys/bytes";
import { Revocation } from "../../keys/certificate";
import { FINGERPRINT_BYTES, type Organisation } from "../../keys/organisation";
import { DeviceKey, enrolmentStatement, zeroisedStatement } from "../../keys/statement";
import { SUITE_ID } from "../../keys/suite";
import { Membership, type PinnedOrganisation } from "./membership";
import { isId, isRecord } from "./messages";
import type { PhoneStore } from "./store";

/** A revocation whose reason begins so orders the device to destroy itself. */
const ZEROISE = "zeroise";
const ROW = "enrolment";

/** Whose device this is, and of which organisation. */
export interface Enrolment {
  serviceId: string;
  accountId: string;
  deviceId: string;
  displayName: string;
  organisation: PinnedOrganisation;
}

export interface EnrolledDevice {
  identity: Enrolment;
  key: DeviceKey;
}

/** The enrolment that the store keeps; null before there is one. */
export async function readEnrolment(store: PhoneStore): Promise<EnrolledDevice | null> {
  const identity = (await store.readAll("device")).get(ROW);
  const stored = await store.readDeviceKey();
  return isEnrolment(identity) && stored !== null ? { identity, key: DeviceKey.restore(stored) } : null;
}

/**
 * Redeems an invitation and keeps what comes of it. Rejects with RangeError if it is none, StatementRefused if the server's organisation
 * is not the invitation's, ApiError or Unreachable.
 */
export async function enrol(fetch: Fetch, store: PhoneStore, invitation: string, displayName: string): Promise<EnrolledDevice> {
  const { token, fingerprint } = parseInvitationLink(invitation);
  const { value: service } = await request<Schemas["Service"]>(fetch, "GET", "/api/v1/service");
  if (service.suite !== SUITE_ID) throw new Error("the server uses another cipher suite");
  const organisation = await pin(fetch, fingerprint);
  // Kept before it is shown to anybody: if the answer is lost, the same key asks again and gets the same answer.
  if ((await store.readDeviceKey()) === null) await store.writeDeviceKey(await DeviceKey.generateWrappable());
  const stored = await store.readDeviceKey();
  if (stored === null) throw new Error("the store did not keep the device's key");
  const key = DeviceKey.restore(stored);
  const name = displayName.trim();
  const proof = await key.sign(await enrolmentStatement(service.service_id, token, key.publicKey, name));
  const body: Schemas["Enrolment"] = {
    invitation: token,
    display_name: name,
    signature_public_key: toBase64(key.publicKey),
    proof: toBase64(proof),
  };
  const { value: made } = await request<Schemas["Enrolled"]>(fetch, "POST", "/api/v1/enrolments", body);
  const identity: Enrolment = { serviceId: service.service_id, accountId: made.account_id, deviceId: made.device_id, displayName: name, organisation };
  await store.write([{ table: "device", key: ROW, value: identity }]);
  return { identity, key };
}

/** The organisation that the invitation names, if the server has it. Rejects with StatementRefused. */
async function pin(fetch: Fetch, fingerprint: Uint8Array): Promise<PinnedOrganisation> {
  const { value: shown } = await request<Schemas["Organisation"]>(fetch, "GET", "/api/v1/organisation");
  const pinned: PinnedOrganisation = { fingerprint, root: fromBase64(shown.organisation), logKey: fromBase64(shown.log_key) };
  await Membership.open(pinned, { accountId: "", deviceId: "" }, () => 0); // only to see that all of it verifies
  return pinned;
}

/** Token and organisation of an invitation link, or of its fragment. Throws RangeError if it lacks one. */
function parseInvitationLink(invitation: string): { token: string; fingerprint: Uint8Array } {
  const fields = new URLSearchParams(invitation.slice(invitation.indexOf("#") + 1));
  const token = fields.get("invite") ?? "";
  const fingerprint = fromBase64Url(fields.get("org") ?? "");
  if (fromBase64Url(token).length !== 32 || fingerprint.length !== FINGERPRINT_BYTES) throw new RangeError("not an invitation of an organisation");
  return { token, fingerprint };
}

/** Whether the organisation, not the server alone, revoked this device with the order to destroy itself. */
export async function isToDestroyItself(fetch: Fetch, identity: Enrolment, organisation: Organisation): Promise<boolean> {
  const { value } = await request<Schemas["SignedRevocation"]>(fetch, "GET", `/api/v1/devices/${identity.deviceId}/revocation`);
  const revocation = await Revocation.verify(fromBase64(value.revocation), organisation);
  return revocation.deviceId === identity.deviceId && revocation.reason.startsWith(ZEROISE);
}

/** The last word of a device: signed while it has its key, said when it has none any more. */
export async function lastWord(fetch: Fetch, { identity, key }: EnrolledDevice): Promise<() => Promise<void>> {
  const said: Schemas["Zeroised"] = { signature: toBase64(await key.sign(zeroisedStatement(identity.serviceId, identity.deviceId))) };
  return async () => void (await request(fetch, "POST", `/api/v1/devices/${identity.deviceId}/zeroised`, said));
}

function isEnrolment(value: unknown): value is Enrolment {
  return isRecord(value) && isRecord(value["organisation"]) && isId(value["accountId"]) && isId(value["deviceId"]) && typeof value["serviceId"] === "string" && typeof value["displayName"] === "string";
}
