// Media frames in and out of SFrame: what the worker does, without the worker. Fails closed: no key, no frame.

import { CopyWriter, type RedundancyPlan } from "./redundancy";
import { MalformedRed } from "./red";
import { AES_256_GCM_SHA512_128, FrameRefused, SFrameKey } from "../../keys/sframe";

export interface MediaKey {
  kid: bigint;
  baseKey: Uint8Array;
}

/** One epoch of a conference's conversation: the key from its exporter, and which leaves may be heard in it. */
export interface CallEpoch {
  epoch: bigint;
  baseKey: Uint8Array;
  ownLeaf: number;
  leaves: number[];
}

/** Whose frames came through a slot last, and decrypted. */
export interface Heard {
  slot: number;
  leafIndex: number;
}

export interface MediaKeys {
  send: MediaKey;
  receive: MediaKey;
}

/**
 * Frames since the call began. `withheld` were not sent for want of a key, `refused` did not decrypt and were dropped; `copies` of
 * earlier frames travelled in what was sealed.
 */
export interface FrameCounts {
  sealed: number;
  withheld: number;
  decrypted: number;
  refused: number;
  copies: number;
}

/** What the encoder says of a frame. */
export interface FrameFacts {
  payloadType: number;
  /** RTP timestamp. */
  timestamp: number;
}

/** How the sender writes redundancy: `payloadType` is what was negotiated for audio/red. */
export interface CopyOrders {
  payloadType: number;
  plan: RedundancyPlan;
}

/** What goes to the worker. */
export type WorkerCommand =
  | { kind: "keys"; keys: MediaKeys }
  | { kind: "epoch"; epoch: CallEpoch }
  | { kind: "talk"; allowed: boolean }
  | { kind: "copies"; orders: CopyOrders };
/** What comes back. */
export type WorkerReport = { kind: "counts"; counts: FrameCounts } | { kind: "heard"; heard: Heard[] };
/** The name of a worker that is to be the gate of a conference. */
export const CONFERENCE_WORKER = "conference";
/** Options of an RTCRtpScriptTransform. */
export interface TransformOptions {
  direction: "send" | "receive";
  /** Of a conference: which of the voices that are played at a time. */
  slot: number;
}

/** What passes frames in the worker. Without the right key nothing passes. */
export abstract class Gate {
  readonly counts: FrameCounts = { sealed: 0, withheld: 0, decrypted: 0, refused: 0, copies: 0 };
  private readonly copies = new CopyWriter();
  private redPayloadType: number | null = null;

  protected abstract sealingKey(): SFrameKey | null;
  /** Null for a sender or an epoch that may not be heard. */
  protected abstract openingKey(frame: Uint8Array): Promise<SFrameKey | null>;
  /** A frame under this key was authenticated. */
  protected authenticated(_key: SFrameKey): void {}

  /** From the next frame on; without orders the browser's own redundancy is left as it is. */
  orderCopies({ payloadType, plan }: CopyOrders): void {
    this.redPayloadType = payloadType;
    this.copies.plan = plan;
  }

  /**
   * The frame to send, or null: then nothing is sent. A frame without content (a padding probe) passes as it is. `now` is in
   * milliseconds since 1970.
   */
  async seal(frame: Uint8Array, facts: FrameFacts | null = null, now = 0): Promise<Uint8Array<ArrayBuffer> | null> {
    if (frame.length === 0) return new Uint8Array();
    const key = this.sealingKey();
    if (key === null) {
      this.counts.withheld++;
      return null;
    }
    const sealed = await key.seal(this.withCopies(frame, facts, now));
    this.counts.sealed++;
    return sealed;
  }

  private withCopies(frame: Uint8Array, facts: FrameFacts | null, now: number): Uint8Array {
    if (facts === null || facts.payloadType !== this.redPayloadType) return frame;
    try {
      return this.copies.write(frame, facts.timestamp, now);
    } catch (error) {
      if (error instanceof MalformedRed) return frame; // the browser speaks of something else by this name; it is sealed all the same
      throw error;
    } finally {
      this.counts.copies = this.copies.counts.copies;
    }
  }

  /** The frame to play, or null: then it is dropped. `heard` is told the KID of a frame that decrypted. */
  async open(frame: Uint8Array, heard: (kid: bigint) => void = () => undefined): Promise<Uint8Array<ArrayBuffer> | null> {
    if (frame.length === 0) return new Uint8Array();
    try {
      const key = await this.openingKey(frame);
      if (key === null) throw new FrameRefused("no key for it");
      const opened = await key.open(frame);
      this.authenticated(key);
      this.counts.decrypted++;
      heard(key.kid);
      return opened;
    } catch (error) {
      if (!(error instanceof FrameRefused)) throw error;
      this.counts.refused++;
      return null;
    }
  }
}

/** The gate of a call of two. */
export class FrameGate extends Gate {
  private sendKey: SFrameKey | null = null;
  private receiveKey: SFrameKey | null = null;

  /** Once a call: a second pair of keys would restart the counter under a key that is in use. */
  async useKeys({ send, receive }: MediaKeys): Promise<void> {
    if (this.sendKey !== null || this.receiveKey !== null) throw new Error("the keys of this call are set already");
    [this.sendKey, this.receiveKey] = await Promise.all([
      SFrameKey.derive(AES_256_GCM_SHA512_128, send.kid, send.baseKey),
      SFrameKey.derive(AES_256_GCM_SHA512_128, receive.kid, receive.baseKey),
    ]);
  }

  /** A frame that overtook the answer is dropped, and is none that was refused. */
  override async open(frame: Uint8Array): Promise<Uint8Array<ArrayBuffer> | null> {
    return this.receiveKey === null && frame.length > 0 ? null : super.open(frame);
  }

  protected sealingKey(): SFrameKey | null {
    return this.sendKey;
  }

  protected openingKey(): Promise<SFrameKey | null> {
    return Promise.resolve(this.receiveKey);
  }
}
