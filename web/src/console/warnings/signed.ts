// What persons submit and decide about warnings, signed by the phones in their browsers.

import { request, type Schemas } from "../../api/client";
import { fromBase64, randomBytes, toBase64, toHex, utf8, type Bytes } from "../../keys/bytes";
import { encodeStatement, numberField } from "../../keys/statement";
import type { Person } from "../person/person";

const CONTEXT = "tramontana warning 1";

export type Decision = "approve" | "reject" | "withdraw";
export type WarningShown = Schemas["WarningShown"];

export async function submitWarning(person: Person, content: object): Promise<WarningShown> {
  const octets = utf8(JSON.stringify(content));
  const warningId = toHex(randomBytes(16));
  const body: Schemas["Submission"] = { content: toBase64(octets), ...(await signed(person, warningId, "submit", octets)) };
  return sent(person, "PUT", `/api/v1/warnings/${warningId}`, body);
}

/** `warning` as it was shown: what is signed are its octets. */
export async function decideWarning(person: Person, warning: WarningShown, decision: Decision): Promise<WarningShown> {
  const proof = await signed(person, warning.warning_id, decision, fromBase64(warning.content));
  return sent(person, "POST", `/api/v1/warnings/${warning.warning_id}/decisions`, { decision, ...proof });
}

async function signed(person: Person, warningId: string, decision: Decision | "submit", octets: Bytes): Promise<{ statement: string; signature: string }> {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", octets));
  const fields = [utf8(person.organisationId), utf8(warningId), utf8(decision), digest, utf8(person.deviceId), numberField(Math.floor(Date.now() / 1000))];
  const statement = encodeStatement(CONTEXT, fields);
  return { statement: toBase64(statement), signature: toBase64(await person.sign(statement)) };
}

function sent(person: Person, method: "PUT" | "POST", path: string, body: unknown): Promise<WarningShown> {
  return person.authorised(async (token) => (await request<WarningShown>((input, init) => fetch(input, init), method, path, body, token)).value);
}
