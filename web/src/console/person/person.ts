// Who warns, and who has a case of SOS: the person whose phone is enrolled in this browser. Its key signs and logs in under that person's
// name; the console's own session can do neither.

import { ApiError, request, type Schemas } from "../../api/client";
import { fromBase64, toBase64, type Bytes } from "../../keys/bytes";
import { Organisation } from "../../keys/organisation";
import { sessionStatement } from "../../keys/statement";
import { openBrowserDatabase } from "../../phone/engine/database";
import { readEnrolment, type EnrolledDevice } from "../../phone/engine/enrolment";
import { Vault } from "../../phone/engine/vault";

const ask: typeof request = (fetcher, method, path, body, token) => request(fetcher, method, path, body, token);
const send = (input: string, init: RequestInit) => fetch(input, init);

export class Person {
  #token: string | null = null;

  private constructor(
    private readonly device: EnrolledDevice,
    readonly organisationId: string,
  ) {}

  /**
   * The person whose phone this browser is. Null where there is none, or where a passphrase is needed and none was given.
   * Rejects with WrongPassphrase.
   */
  static async open(passphrase: string | null): Promise<Person | "sealed" | null> {
    const vault = new Vault(await openBrowserDatabase());
    const sealed = await vault.isSealed();
    if (sealed && passphrase === null) return "sealed";
    const store = sealed ? await vault.unlock(passphrase ?? "", Date.now()) : await vault.open();
    const device = await readEnrolment(store);
    if (device === null) return null;
    const { root, fingerprint } = device.identity.organisation;
    return new Person(device, (await Organisation.verify(root, fingerprint)).id);
  }

  get name(): string {
    return this.device.identity.displayName;
  }

  get accountId(): string {
    return this.device.identity.accountId;
  }

  get deviceId(): string {
    return this.device.identity.deviceId;
  }

  sign(statement: Bytes): Promise<Bytes> {
    return this.device.key.sign(statement);
  }

  /** Does something with this person's own bearer token; once more with a new one where the session has ended. Rejects as `work` does. */
  async authorised<T>(work: (token: string) => Promise<T>): Promise<T> {
    const known = this.#token;
    this.#token = known ?? (await this.#login());
    try {
      return await work(this.#token);
    } catch (reason) {
      if (known === null || !(reason instanceof ApiError) || reason.status !== 401) throw reason;
      this.#token = await this.#login();
      return work(this.#token);
    }
  }

  async #login(): Promise<string> {
    const { serviceId, deviceId } = this.device.identity;
    const { challenge } = (await ask<Schemas["ChallengeAnswer"]>(send, "POST", "/api/v1/sessions/challenge", { device_id: deviceId })).value;
    const signature = await this.device.key.sign(sessionStatement(serviceId, deviceId, fromBase64(challenge)));
    const login: Schemas["Login"] = { device_id: deviceId, challenge, signature: toBase64(signature) };
    return (await ask<Schemas["Session"]>(send, "POST", "/api/v1/sessions", login)).value.token;
  }
}
