// Whole phones against the server's twin, for tests of what people live through.

import { afterEach, expect, vi } from "vitest";

import type { Tuning } from "../../src/phone/engine/callpath";
import type { ConferenceEvents, ConferenceKind, ConferenceMedia } from "../../src/phone/engine/conferencemedia";
import type { CallEpoch, MediaKeys } from "../../src/phone/engine/frames";
import { MemoryDatabase } from "../../src/phone/engine/database";
import { MicrophoneRefused } from "../../src/phone/engine/audio";
import type { CallMedia, MediaEvents } from "../../src/phone/engine/media";
import { Phone, type PhoneEnvironment } from "../../src/phone/engine/phone";
import { Vault } from "../../src/phone/engine/vault";
import type { PhoneState, ThreadEntry } from "../../src/phone/model";
import { organisation } from "./organisation";
import { TwinServer } from "./twin";

/** Media that is connected as soon as both ends have each other's description. */
export class FakeMedia implements CallMedia {
  keys: MediaKeys | null = null;
  tuning: Tuning | null = null;
  closed = false;
  muted = false;
  restarts = 0;
  /** Descriptions of the callee that were taken. */
  accepted = 0;

  constructor(
    readonly events: MediaEvents,
    public microphone: boolean,
    private readonly available: boolean,
  ) {}

  offer(): Promise<string> {
    queueMicrotask(() => this.events.candidates([{ candidate: "candidate:caller" }]));
    return Promise.resolve("offer");
  }
  answerOffer(): Promise<string> {
    queueMicrotask(() => this.events.connected());
    return Promise.resolve("answer");
  }
  openMicrophone(): Promise<void> {
    if (!this.available) return Promise.reject(new MicrophoneRefused("NotAllowedError"));
    this.microphone = true;
    return Promise.resolve();
  }
  acceptAnswer(): Promise<void> {
    this.accepted++;
    queueMicrotask(() => this.events.connected());
    return Promise.resolve();
  }
  addCandidates(): Promise<void> {
    return Promise.resolve();
  }
  restart(): Promise<string> {
    this.restarts++;
    return Promise.resolve("restart");
  }
  answerRestart(): Promise<string> {
    return this.answerOffer();
  }
  useKeys(keys: MediaKeys): void {
    this.keys = keys;
  }
  setMuted(muted: boolean): void {
    this.muted = muted;
  }
  tune(tuning: Tuning): void {
    this.tuning = tuning;
  }
  close(): void {
    this.closed = true;
  }
}

/** The media of a conference, connected as soon as the forwarder has answered. */
export class FakeConference implements ConferenceMedia {
  epochs: CallEpoch[] = [];
  talking = false;
  opened = 0;
  offers = 0;
  restarts = 0;
  closed = false;

  constructor(
    readonly kind: ConferenceKind,
    readonly events: ConferenceEvents,
    private readonly microphone: boolean,
  ) {}

  async connect(ask: (offer: string) => Promise<string>, restart: boolean): Promise<void> {
    this.offers++;
    if (restart) this.restarts++;
    await ask("offer");
    queueMicrotask(() => this.events.connected());
  }
  useEpoch(epoch: CallEpoch): void {
    this.epochs.push(epoch);
  }
  openMicrophone(): Promise<void> {
    if (!this.microphone) return Promise.reject(new MicrophoneRefused("NotAllowedError"));
    this.opened++;
    return Promise.resolve();
  }
  setTalking(talking: boolean): void {
    this.talking = talking;
  }
  tune(): void {}
  close(): void {
    this.closed = true;
  }
}

export interface Handset {
  phone: Phone;
  store: MemoryDatabase;
  media: FakeMedia[];
  rooms: FakeConference[];
  state(): PhoneState;
  /** What has sounded so far. */
  tones: string[];
  /** The direct conversation with somebody. */
  with(peer: string): string;
  /** What stands in the thread with somebody, and in a thread by its conversation. */
  texts(peer: string): string[];
  lines(conversationId: string): string[];
  id(): string;
}

type Pause = (ms: number) => Promise<void>;

const FEW_ITERATIONS = 1_000;
const shortly: Pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms / 20));
const handsets: Handset[] = [];
afterEach(() => {
  for (const { phone } of handsets.splice(0)) phone.stop();
});

export function handset(server: TwinServer, store = new MemoryDatabase(), microphone = true, pause = shortly): Handset {
  const media: FakeMedia[] = [];
  const rooms: FakeConference[] = [];
  const tones: string[] = [];
  const environment: PhoneEnvironment = {
    fetch: server.fetch,
    openSocket: () => server.openSocket(),
    openVault: () => Promise.resolve(new Vault(store, FEW_ITERATIONS)),
    openMedia: async (iceServers, events, withMicrophone) => {
      if (withMicrophone && !microphone) throw new MicrophoneRefused("NotAllowedError");
      await iceServers();
      media.push(new FakeMedia(events, withMicrophone, microphone));
      return media.at(-1) as FakeMedia;
    },
    openConference: (kind, events) => {
      if (!microphone && kind === "group") return Promise.reject(new MicrophoneRefused("NotAllowedError"));
      rooms.push(new FakeConference(kind, events, microphone));
      return Promise.resolve(rooms.at(-1) as FakeConference);
    },
    claim: () => Promise.resolve(true),
    playTone: (tone) => void (tone !== null && tones.push(tone)),
    onNetworkBack: () => undefined,
    now: () => Date.now(),
    random: () => 0,
    pause,
    reload: () => undefined,
  };
  const phone = new Phone(environment);
  const made: Handset = {
    phone,
    store,
    media,
    rooms,
    tones,
    state: () => phone.state.value,
    with: (peer) => made.state().contacts.find(({ accountId }) => accountId === peer)?.conversationId ?? "",
    texts: (peer) => made.lines(made.with(peer)),
    lines: (id) => (made.state().threads[id] ?? []).map(line),
    id: () => made.state().me?.accountId ?? "",
  };
  handsets.push(made);
  return made;
}

function line(entry: ThreadEntry): string {
  if (entry.kind === "title") return `${entry.outgoing ? ">" : "<"} title ${entry.title}`;
  if (entry.kind === "roster") return `${entry.outgoing ? ">" : "<"} roster +${entry.added.length} -${entry.removed.length}${entry.joined ? " joined" : ""}`;
  if (entry.kind === "device") return `device ${entry.revoked ? "revoked" : "added"}`;
  return entry.kind === "text" ? `${entry.outgoing ? ">" : "<"} ${entry.body} ${entry.state}` : `${entry.outgoing ? ">" : "<"} call ${entry.outcome}`;
}

export const until = (condition: () => boolean): Promise<void> => vi.waitFor(() => expect(condition()).toBe(true), { timeout: 8_000, interval: 5 });
export const invitation = (): string => organisation.invitation;

export async function enrolled(server: TwinServer, name: string, microphone = true, pause = shortly): Promise<Handset> {
  const made = handset(server, new MemoryDatabase(), microphone, pause);
  await made.phone.start();
  expect(made.state().enrolment).toBe("needed");
  await made.phone.enrol(invitation(), name);
  await until(() => made.state().server === "online");
  return made;
}

export async function twoPeople(): Promise<{ server: TwinServer; anna: Handset; bruno: Handset }> {
  const server = new TwinServer();
  const [anna, bruno] = [await enrolled(server, "Anna"), await enrolled(server, "Bruno")];
  await until(() => anna.state().contacts.length === 1 && bruno.state().contacts.length === 1);
  return { server, anna, bruno };
}
