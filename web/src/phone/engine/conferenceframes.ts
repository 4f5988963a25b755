// The gate of a conference: one key a sender, new ones with every epoch of the conversation. Fails closed.
//
// Whoever is in the epoch can derive every sender's key, and nobody else can. When a member leaves, the others move to the next epoch with
// the commit that removes him: what they send from then on he cannot read, and what he sends they refuse, under the old keys too.

import { AES_256_GCM_SHA512_128, drawContext, encodeMlsKid, FrameRefused, parseHeader, parseMlsKid, SFrameKey } from "../../keys/sframe";
import { Gate, type CallEpoch } from "./frames";

/** How long frames of the epoch before are played: others' commits and frames are under way at the same time. */
export const OLD_EPOCH_MS = 5_000;
/** Senders' keys in one epoch. More are refused: to forget one would forget which frames of it were played already. */
const MOST_KEYS = 2_048;
/** Keys of KIDs that somebody claimed and nothing has proven yet. */
const MOST_UNPROVEN = 64;

interface Ring {
  epoch: bigint;
  baseKey: Uint8Array;
  leaves: ReadonlySet<number>;
  /** Keys under which a frame was authenticated: nobody outside can make this grow. */
  proven: Map<bigint, SFrameKey>;
  /** Milliseconds since 1970 after which nothing of this epoch is played; null for the present one. */
  until: number | null;
}

export class ConferenceGate extends Gate {
  /** Whether this phone may be heard now; in a talk group only while it holds the floor. */
  talking = true;
  private readonly context = drawContext();
  private rings: Ring[] = [];
  private readonly unproven = new Map<bigint, Promise<SFrameKey>>();
  private sendKey: SFrameKey | null = null;
  private newest = -1n;

  constructor(private readonly now: () => number = () => Date.now()) {
    super();
  }

  /** The conversation has moved. An epoch that is not newer than the present one changes nothing: no counter starts again. */
  async useEpoch({ epoch, baseKey, ownLeaf, leaves }: CallEpoch): Promise<void> {
    if (epoch <= this.newest) return;
    this.newest = epoch;
    const [now, members] = [this.now(), new Set(leaves.filter((leaf) => leaf !== ownLeaf))];
    for (const ring of this.rings) {
      ring.until ??= now + OLD_EPOCH_MS;
      ring.leaves = new Set([...ring.leaves].filter((leaf) => members.has(leaf))); // who has left is not heard any more
    }
    // Low bits of epochs that meet again after 256 are of keys long gone.
    this.rings = [{ epoch, baseKey, leaves: members, proven: new Map(), until: null }, ...this.rings].slice(0, 3);
    this.sendKey = null; // nothing is sent under the old key while the new one is derived
    const key = await SFrameKey.derive(AES_256_GCM_SHA512_128, encodeMlsKid(this.context, ownLeaf, epoch), baseKey);
    if (this.newest === epoch) this.sendKey = key;
  }

  protected sealingKey(): SFrameKey | null {
    return this.talking ? this.sendKey : null;
  }

  protected async openingKey(frame: Uint8Array): Promise<SFrameKey | null> {
    const { kid } = parseHeader(frame);
    const ring = this.ringOf(kid);
    if (ring === null) return null;
    const proven = ring.proven.get(kid);
    if (proven !== undefined) return proven;
    if (ring.proven.size >= MOST_KEYS) return null;
    // Frames that arrive together before the first is authenticated share one key, and with it one memory of what was played.
    let deriving = this.unproven.get(kid);
    if (deriving === undefined) {
      if (this.unproven.size >= MOST_UNPROVEN) this.unproven.clear();
      deriving = SFrameKey.derive(AES_256_GCM_SHA512_128, kid, ring.baseKey);
      this.unproven.set(kid, deriving);
    }
    const key = await deriving;
    return ring.proven.get(kid) ?? key;
  }

  protected override authenticated(key: SFrameKey): void {
    const ring = this.ringOf(key.kid);
    if (ring === null || (ring.proven.get(key.kid) ?? key) !== key) throw new FrameRefused("the key was given up meanwhile");
    ring.proven.set(key.kid, key);
    this.unproven.delete(key.kid);
  }

  private ringOf(kid: bigint): Ring | null {
    const { leafIndex, epochBits } = parseMlsKid(kid);
    const now = this.now();
    const ring = this.rings.find(({ epoch, until }) => Number(epoch & 0xffn) === epochBits && (until === null || now < until));
    return ring?.leaves.has(leafIndex) === true ? ring : null;
  }
}
