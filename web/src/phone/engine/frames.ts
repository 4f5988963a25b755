// Media frames in and out of SFrame: what the worker does, without the worker. Fails closed: no key, no frame.

import { CopyWriter, type RedundancyPlan } from "./redundancy";
import { MalformedRed } from "./red";
import { AES_256_GCM_SHA512_128, FrameRefused, SFrameKey } from "../../keys/sframe";

export interface MediaKey {
  kid: bigint;
  baseKey: Uint8Array;
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
export type WorkerCommand = { kind: "keys"; keys: MediaKeys } | { kind: "copies"; orders: CopyOrders };
/** What comes back. */
export type WorkerReport = { kind: "counts"; counts: FrameCounts };
/** Options of an RTCRtpScriptTransform. */
export interface TransformOptions {
  direction: "send" | "receive";
}

export class FrameGate {
  readonly counts: FrameCounts = { sealed: 0, withheld: 0, decrypted: 0, refused: 0, copies: 0 };
  private readonly copies = new CopyWriter();
  private redPayloadType: number | null = null;
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
    if (this.sendKey === null) {
      this.counts.withheld++;
      return null;
    }
    const sealed = await this.sendKey.seal(this.withCopies(frame, facts, now));
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

  /** The frame to play, or null: then it is dropped. */
  async open(frame: Uint8Array): Promise<Uint8Array<ArrayBuffer> | null> {
    if (frame.length === 0) return new Uint8Array();
    try {
      if (this.receiveKey === null) throw new FrameRefused("no key yet");
      const opened = await this.receiveKey.open(frame);
      this.counts.decrypted++;
      return opened;
    } catch (error) {
      if (!(error instanceof FrameRefused)) throw error;
      this.counts.refused++;
      return null;
    }
  }
}
