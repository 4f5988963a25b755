// The proofs of an append-only Merkle log, as a client checks them (RFC 9162 §2.1) over SHA-256.

import { concat, equal, owned, type Bytes } from "./bytes";

export const HASH_BYTES = 32;

/** The log showed something that does not fit what it showed before, or a proof that proves nothing. */
export class ProofRefused extends Error {}

async function sha256(...parts: readonly Uint8Array[]): Promise<Bytes> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", concat(...parts)));
}

/** RFC 9162 §2.1.1: HASH(0x00 ‖ entry). */
export function leafHash(entry: Uint8Array): Promise<Bytes> {
  return sha256(Uint8Array.of(0), entry);
}

/** RFC 9162 §2.1.1: HASH(0x01 ‖ left ‖ right). */
function nodeHash(left: Uint8Array, right: Uint8Array): Promise<Bytes> {
  return sha256(Uint8Array.of(1), left, right);
}

/** The hash of the log without entries (RFC 9162 §2.1.1). */
export function emptyRoot(): Promise<Bytes> {
  return sha256();
}

/** A tree size or an index. JavaScript counts exactly to 2⁵³; halving stays exact where bit operators would cut to 32 bits. */
function count(value: number, what: string): number {
  if (!Number.isSafeInteger(value) || value < 0) throw new ProofRefused(`${what} is no count`);
  return value;
}

const half = (value: number): number => Math.floor(value / 2);
const odd = (value: number): boolean => value % 2 === 1;

function isPowerOfTwo(value: number): boolean {
  while (value > 1 && !odd(value)) value = half(value);
  return value === 1;
}

function checkHashes(hashes: readonly Uint8Array[]): void {
  if (hashes.some((hash) => hash.length !== HASH_BYTES)) throw new ProofRefused("a hash in the proof has another length");
}

/** The tree of `secondSize` entries begins with all entries of the tree of `firstSize` (RFC 9162 §2.1.4.2). Throws ProofRefused. */
export async function verifyConsistency(
  firstSize: number,
  firstRoot: Uint8Array,
  secondSize: number,
  secondRoot: Uint8Array,
  path: readonly Uint8Array[],
): Promise<void> {
  if (count(firstSize, "the tree size") > count(secondSize, "the tree size")) throw new ProofRefused("the log has become shorter");
  checkHashes([firstRoot, secondRoot, ...path]);
  if (firstSize === secondSize) {
    if (path.length > 0 || !equal(firstRoot, secondRoot)) throw new ProofRefused("two different logs of the same length");
    return;
  }
  if (firstSize === 0) {
    if (path.length > 0 || !equal(firstRoot, await emptyRoot())) throw new ProofRefused("the empty log has another root");
    return;
  }
  if (path.length === 0) throw new ProofRefused("the proof of consistency is empty");
  // A first tree that fills its subtree is itself the first node of the path.
  const nodes = isPowerOfTwo(firstSize) ? [firstRoot, ...path] : [...path];
  let [fn, sn] = [firstSize - 1, secondSize - 1];
  while (odd(fn)) [fn, sn] = [half(fn), half(sn)];
  let [fr, sr]: [Bytes, Bytes] = [owned(nodes[0] as Uint8Array), owned(nodes[0] as Uint8Array)];
  for (const c of nodes.slice(1)) {
    if (sn === 0) throw new ProofRefused("the proof of consistency is too long");
    if (odd(fn) || fn === sn) {
      [fr, sr] = [await nodeHash(c, fr), await nodeHash(c, sr)];
      while (!odd(fn) && fn !== 0) [fn, sn] = [half(fn), half(sn)];
    } else {
      sr = await nodeHash(sr, c);
    }
    [fn, sn] = [half(fn), half(sn)];
  }
  if (sn !== 0) throw new ProofRefused("the proof of consistency is too short");
  if (!equal(fr, firstRoot) || !equal(sr, secondRoot)) throw new ProofRefused("the log was rewritten: it no longer contains what it showed before");
}

/**
 * A tree that only grows, as the roots of its complete subtrees (RFC 9162 §2.1.2): enough to add entries and to know the root, however
 * many there are.
 */
export class GrowingTree {
  private constructor(
    private count: number,
    /** The largest subtree first. */
    private peaks: Bytes[],
  ) {}

  static empty(): GrowingTree {
    return new GrowingTree(0, []);
  }

  /** Throws RangeError if there are not as many subtrees as the size has ones in binary. */
  static restore(size: number, peaks: readonly Uint8Array[]): GrowingTree {
    const ones = size.toString(2).replaceAll("0", "").length;
    if (!Number.isSafeInteger(size) || size < 0 || peaks.length !== ones || peaks.some((peak) => peak.length !== HASH_BYTES)) {
      throw new RangeError("the stored tree is damaged");
    }
    return new GrowingTree(size, peaks.map(owned));
  }

  get size(): number {
    return this.count;
  }

  get subtrees(): readonly Bytes[] {
    return this.peaks;
  }

  copy(): GrowingTree {
    return new GrowingTree(this.count, [...this.peaks]);
  }

  async append(entry: Uint8Array): Promise<void> {
    let hash = await leafHash(entry);
    for (let size = this.count; odd(size); size = half(size)) hash = await nodeHash(this.peaks.pop() as Bytes, hash);
    this.peaks.push(hash);
    this.count++;
  }

  async root(): Promise<Bytes> {
    const smallest = this.peaks.at(-1);
    if (smallest === undefined) return emptyRoot();
    let hash = smallest;
    for (let i = this.peaks.length - 2; i >= 0; i--) hash = await nodeHash(this.peaks[i] as Bytes, hash);
    return hash;
  }
}
