// The administrator's session: a one-time token from the link becomes a bearer token that lives as long as the tab.

import { signal } from "@preact/signals";
import { ApiError } from "../api/client";
import { ConsoleApi } from "./api";

const STORAGE_KEY = "tramontana.console";

interface Stored {
  token: string;
  expiresAt: number;
}

function restore(): Stored | null {
  try {
    const stored: unknown = JSON.parse(sessionStorage.getItem(STORAGE_KEY) ?? "null");
    const { token, expiresAt } = (stored ?? {}) as Partial<Stored>;
    if (typeof token === "string" && typeof expiresAt === "number" && expiresAt * 1000 > Date.now()) return { token, expiresAt };
  } catch {
    // storage may be forbidden or hold something else: then one signs in again
  }
  return null;
}

function keep(stored: Stored | null): void {
  try {
    if (stored) sessionStorage.setItem(STORAGE_KEY, JSON.stringify(stored));
    else sessionStorage.removeItem(STORAGE_KEY);
  } catch {
    // see restore()
  }
}

export type SignInFault = "refused" | "expired" | "unreachable" | null;

export class ConsoleSession {
  readonly api: ConsoleApi;
  readonly signedIn;
  readonly working = signal(false);
  readonly fault = signal<SignInFault>(null);
  #stored: Stored | null;

  constructor() {
    this.#stored = restore();
    this.signedIn = signal(this.#stored !== null);
    this.api = new ConsoleApi(
      () => this.#stored?.token ?? null,
      () => {
        this.signOut();
        this.fault.value = "expired";
      },
    );
  }

  /** Exchanges the one-time token. It is used up by this, so it is tried once. */
  async signIn(oneTimeToken: string): Promise<void> {
    this.signOut();
    this.working.value = true;
    this.fault.value = null;
    try {
      const { token, expires_at: expiresAt } = await this.api.exchange(oneTimeToken);
      this.#stored = { token, expiresAt };
      keep(this.#stored);
      this.signedIn.value = true;
    } catch (reason) {
      this.fault.value = reason instanceof ApiError && reason.status >= 400 && reason.status < 500 ? "refused" : "unreachable";
    } finally {
      this.working.value = false;
    }
  }

  /** Forgets the bearer token on this side; the server lets it expire. */
  signOut(): void {
    this.#stored = null;
    keep(null);
    this.fault.value = null;
    this.signedIn.value = false;
  }
}
