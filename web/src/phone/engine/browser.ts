// The phone in a real browser: what its engine finds outside itself there.

import type { PhoneEngine } from "../model";
import { openBrowserConference } from "./conferencemedia";
import { openBrowserDatabase } from "./database";
import { openBrowserMedia } from "./media";
import { Phone } from "./phone";
import { Tones } from "./tones";
import { Vault } from "./vault";

const LOCK = "tramontana-phone";

export function createPhoneEngine(): PhoneEngine {
  const tones = new Tones();
  return new Phone({
    fetch: (input, init) => fetch(input, init),
    openSocket: () => new WebSocket(new URL("/api/v1/socket", location.href.replace(/^http/, "ws"))),
    openVault: async () => new Vault(await openBrowserDatabase()),
    openMedia: openBrowserMedia,
    openConference: openBrowserConference,
    claim: claimThisBrowser,
    playTone: (tone) => tones.play(tone),
    onNetworkBack: (callback) => addEventListener("online", callback),
    now: () => Date.now(),
    random: () => Math.random(),
    pause: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
    reload: () => location.reload(),
  });
}

/** Two writers on one ratchet would reuse keys: the first tab holds this lock for as long as it lives. */
function claimThisBrowser(): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const held = navigator.locks.request(LOCK, { ifAvailable: true }, (lock) => {
      resolve(lock !== null);
      return lock === null ? undefined : new Promise<never>(() => undefined);
    });
    held.catch(reject);
  });
}
