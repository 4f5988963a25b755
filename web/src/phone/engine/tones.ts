// The sounds of a telephone, made by an oscillator: no files. Cadences as heard in Italy (ITU-T E.180, supplement 2). The notice of
// pre-emption is a steady tone of some seconds, and urgent calls ring in quick succession, as in networks with multi-level precedence.

export type Tone = "ringback" | "busy" | "incoming" | "incomingUrgent" | "preemption";

interface Cadence {
  frequenciesHz: readonly number[];
  onS: number;
  offS: number;
  /** How often it sounds; null is until it is stopped. */
  times: number | null;
}

const CADENCES: Readonly<Record<Tone, Cadence>> = {
  ringback: { frequenciesHz: [425], onS: 1, offS: 4, times: null },
  busy: { frequenciesHz: [425], onS: 0.5, offS: 0.5, times: 4 },
  incoming: { frequenciesHz: [660, 880], onS: 1.2, offS: 1.8, times: null },
  incomingUrgent: { frequenciesHz: [660, 880], onS: 0.4, offS: 0.2, times: null },
  preemption: { frequenciesHz: [440, 620], onS: 3, offS: 0, times: 1 },
};
const VOLUME = 0.08;

export class Tones {
  private context: AudioContext | null = null;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private sounding: Tone | null = null;

  /** Starts a tone or, with null, silence. Asking for what already sounds changes nothing. */
  play(tone: Tone | null): void {
    if (tone === this.sounding) return;
    this.sounding = tone;
    clearTimeout(this.timer);
    void this.context?.close();
    this.context = null;
    if (tone === null || typeof AudioContext === "undefined") return;
    this.context = new AudioContext();
    this.beat(this.context, CADENCES[tone], 1);
  }

  private beat(context: AudioContext, cadence: Cadence, count: number): void {
    const gain = new GainNode(context, { gain: 0 });
    const [start, end] = [context.currentTime, context.currentTime + cadence.onS];
    gain.gain.setTargetAtTime(VOLUME, start, 0.01);
    gain.gain.setTargetAtTime(0, end, 0.01);
    gain.connect(context.destination);
    for (const frequency of cadence.frequenciesHz) {
      const oscillator = new OscillatorNode(context, { frequency });
      oscillator.connect(gain);
      oscillator.start(start);
      oscillator.stop(end + 0.1);
    }
    if (cadence.times !== null && count >= cadence.times) return;
    this.timer = setTimeout(() => this.beat(context, cadence, count + 1), (cadence.onS + cadence.offS) * 1_000);
  }
}
