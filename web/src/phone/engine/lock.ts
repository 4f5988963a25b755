// The phone's lock: what opens the vault, when it closes by itself, and the empty phone that opens under duress.

import { ApiError, request, type Fetch, type Schemas } from "../../api/client";
import { randomBytes, toBase64 } from "../../keys/bytes";
import type { LockView, PassphraseFault, PhoneState } from "../model";
import { isRecord } from "./messages";
import type { PhoneStore } from "./store";
import { checkLength, PassphraseRefused, type Vault, WrongPassphrase } from "./vault";

const MINUTE_MS = 60_000;
const DEFAULT_IDLE_MINUTES = 15;
const IDLE_MINUTES = "idle minutes";
const DECOY = "decoy";
const ALARM_EVERY_MS = 20_000;
const ALARM_SECRET_BYTES = 32;

export const OPEN_LOCK: LockView = { sealed: false, working: false, wrong: false, retryAt: 0, idleMinutes: DEFAULT_IDLE_MINUTES };

/**
 * What the empty phone knows: whose it pretends to be, what every enrolled phone shows (a phone without it would give itself away), and
 * how it calls for help. An earlier release stored nothing of what is shown.
 */
export interface Decoy extends Partial<Pick<PhoneState, "organisation" | "ownDevices" | "access">> {
  accountId: string;
  deviceId: string;
  displayName: string;
  /** Base64. The server has its SHA-256 and knows whose it is. */
  alarmSecret: string;
}

export class Lock {
  view: LockView = OPEN_LOCK;
  private store: PhoneStore | null = null;
  private touchedAt = 0;
  private decoy: Decoy | null = null;

  constructor(
    private readonly vault: Vault,
    private readonly now: () => number,
    private readonly changed: () => void,
  ) {}

  /** The store, if nothing but this browser guards it; null if a passphrase is asked for. */
  async begin(): Promise<PhoneStore | null> {
    if (await this.vault.isSealed()) {
      this.show({ sealed: true });
      return null;
    }
    return this.opened(await this.vault.open());
  }

  /** The store behind the passphrase; null if it opens none. */
  async unlock(passphrase: string): Promise<PhoneStore | null> {
    this.show({ working: true, wrong: false });
    try {
      const store = await this.opened(await this.vault.unlock(passphrase, this.now()));
      this.show({ working: false, retryAt: 0 });
      return store;
    } catch (error) {
      this.show({ working: false });
      if (!(error instanceof WrongPassphrase)) throw error;
      this.show({ wrong: true, retryAt: error.retryAt });
      return null;
    }
  }

  /** What the opened store says of an empty phone; null if it is the real one. */
  async openedUnderDuress(): Promise<Decoy | null> {
    const found = (await this.store?.readAll("device"))?.get(DECOY);
    this.decoy = isRecord(found) ? (found as unknown as Decoy) : null;
    return this.decoy;
  }

  touched(): void {
    this.touchedAt = this.now();
  }

  get idle(): boolean {
    const { sealed, idleMinutes } = this.view;
    return this.store !== null && sealed && idleMinutes > 0 && this.now() - this.touchedAt >= idleMinutes * MINUTE_MS;
  }

  async setIdleMinutes(minutes: number): Promise<void> {
    await this.store?.write([{ table: "device", key: IDLE_MINUTES, value: minutes }]);
    this.show({ idleMinutes: minutes });
  }

  async setPassphrase(passphrase: string): Promise<PassphraseFault> {
    const fault = await refusal(() => this.vault.setPassphrase(passphrase));
    if (fault === null) this.show({ sealed: true });
    return fault;
  }

  /**
   * `register` tells the server the alarm secret before anything depends on it. In an empty phone nothing may show that the other slot
   * opens for somebody: there it looks as if it had been set.
   */
  async setDuressPassphrase(passphrase: string, decoy: Omit<Decoy, "alarmSecret">, register: (secret: Uint8Array) => Promise<void>): Promise<PassphraseFault> {
    if (this.decoy !== null) return refusal(() => Promise.resolve(checkLength(passphrase)));
    return refusal(async () => {
      checkLength(passphrase);
      const secret = randomBytes(ALARM_SECRET_BYTES);
      await register(secret);
      await this.vault.setDuressPassphrase(passphrase, (store) =>
        store.write([{ table: "device", key: DECOY, value: { ...decoy, alarmSecret: toBase64(secret) } satisfies Decoy }]),
      );
    });
  }

  destroy(): Promise<void> {
    this.store = null;
    return this.vault.destroy();
  }

  close(): void {
    this.store = null;
    this.vault.close();
  }

  private async opened(store: PhoneStore): Promise<PhoneStore> {
    this.store = store;
    this.touched();
    const minutes = (await store.readAll("device")).get(IDLE_MINUTES);
    this.show({ idleMinutes: typeof minutes === "number" ? minutes : DEFAULT_IDLE_MINUTES });
    return store;
  }

  private show(change: Partial<LockView>): void {
    this.view = { ...this.view, ...change };
    this.changed();
  }
}

async function refusal(work: () => Promise<void>): Promise<PassphraseFault> {
  try {
    await work();
    return null;
  } catch (error) {
    if (error instanceof PassphraseRefused) return error.reason;
    throw error;
  }
}

/**
 * The alarm of the empty phone: a request as any phone makes them, again and again, so that the first one that reaches the server tells
 * the custodians, and the phone can say whether the server is there.
 */
export class DuressAlarm {
  private timer: ReturnType<typeof setInterval> | undefined;

  constructor(
    private readonly fetch: Fetch,
    private readonly decoy: Decoy,
    private readonly reached: (online: boolean) => void,
  ) {}

  start(): void {
    this.timer = setInterval(() => void this.raise(), ALARM_EVERY_MS);
    void this.raise();
  }

  stop(): void {
    clearInterval(this.timer);
    this.timer = undefined;
  }

  private async raise(): Promise<void> {
    let online = true;
    try {
      const body: Schemas["DuressAlarm"] = { secret: this.decoy.alarmSecret };
      await request(this.fetch, "POST", "/api/v1/presence", body);
    } catch (error) {
      online = error instanceof ApiError && !error.passing;
    }
    if (this.timer !== undefined) this.reached(online);
  }
}
