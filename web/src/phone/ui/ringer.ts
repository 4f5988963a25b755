// A telephone that nobody hears is no telephone: a quiet two-tone ring for an incoming call, the European ring-back for an outgoing one.

import type { CallPhase } from "../model";

/** Cadence in seconds and tones in hertz. The ring-back is the 425 Hz tone, 1 s on and 4 s off, of ITU-T E.180 for Italy. */
const RINGS = {
  incoming: { tonesHz: [587.33, 783.99], onS: 1.2, everyS: 3, volume: 0.16 },
  ringing: { tonesHz: [425], onS: 1, everyS: 5, volume: 0.07 },
} as const;

type Ring = keyof typeof RINGS;

function ringOf(phase: CallPhase | null): Ring | null {
  return phase === "incoming" || phase === "ringing" ? phase : null;
}

/** Rings by itself as the phases go; call `follow` with each phase and null when there is no call. */
export class Ringer {
  #context: AudioContext | null = null;
  #timer: ReturnType<typeof setInterval> | undefined;
  #ring: Ring | null = null;

  follow(phase: CallPhase | null): void {
    const ring = ringOf(phase);
    if (ring === this.#ring) return;
    this.#ring = ring;
    clearInterval(this.#timer);
    void this.#context?.close();
    this.#context = null;
    // a page that was never touched may not sound or vibrate; it still shows the call
    if (!ring || !navigator.userActivation?.hasBeenActive) return;
    const context = new AudioContext();
    this.#context = context;
    const strike = () => {
      this.#strike(context, ring);
      if (ring === "incoming") navigator.vibrate?.([300, 150, 300]);
    };
    strike();
    this.#timer = setInterval(strike, RINGS[ring].everyS * 1000);
  }

  #strike(context: AudioContext, ring: Ring): void {
    const { tonesHz, onS, volume } = RINGS[ring];
    const start = context.currentTime + 0.02;
    const gain = context.createGain();
    gain.gain.setValueAtTime(0, start);
    gain.gain.linearRampToValueAtTime(volume, start + 0.03);
    gain.gain.setValueAtTime(volume, start + onS - 0.08);
    gain.gain.linearRampToValueAtTime(0, start + onS);
    gain.connect(context.destination);
    tonesHz.forEach((hertz, i) => {
      const share = onS / tonesHz.length;
      const tone = context.createOscillator();
      tone.frequency.value = hertz;
      tone.connect(gain);
      tone.start(start + i * share);
      tone.stop(start + (i + 1) * share);
    });
  }
}
