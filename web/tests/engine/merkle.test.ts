// Proofs of the log, against those that follow RFC 9162's recursive definitions (tests/vectors/identity).

import { describe, expect, it } from "vitest";

import { fromBase64, type Bytes } from "../../src/keys/bytes";
import { emptyRoot, GrowingTree, ProofRefused, verifyConsistency } from "../../src/keys/merkle";
import { vectors } from "./identityVectors";

const { log } = vectors;
const roots = log.roots.map(fromBase64);
const root = (size: number): Bytes => roots[size] as Bytes;
const bent = (hash: Bytes): Bytes => hash.map((byte, i) => (i === 7 ? byte ^ 1 : byte));

/** Everything that is nearly this path: a hash bent, left out, doubled, exchanged with its neighbour, added. */
function* nearly(path: readonly Bytes[]): Generator<Bytes[]> {
  for (const [i, hash] of path.entries()) {
    yield [...path.slice(0, i), bent(hash), ...path.slice(i + 1)];
    yield [...path.slice(0, i), ...path.slice(i + 1)];
    yield [...path.slice(0, i), hash, ...path.slice(i)];
    if (i > 0) yield [...path.slice(0, i - 1), hash, path[i - 1] as Bytes, ...path.slice(i + 1)];
  }
  yield [...path, root(1)];
}

describe("consistency", () => {
  it("is proven between every two trees", async () => {
    expect(await emptyRoot()).toEqual(root(0));
    for (let second = 1; second < roots.length; second++) {
      await verifyConsistency(0, root(0), second, root(second), []);
      for (let first = 1; first <= second; first++) {
        const path = (log.consistency[second]?.[first - 1] ?? []).map(fromBase64);
        await verifyConsistency(first, root(first), second, root(second), path);
      }
    }
  });

  it("is refused for a log that was rewritten, shortened or proven badly", async () => {
    for (const second of [2, 3, 7, 8, 13, 19]) {
      for (let first = 1; first <= second; first++) {
        const path = (log.consistency[second]?.[first - 1] ?? []).map(fromBase64);
        const refused = async (...given: Parameters<typeof verifyConsistency>): Promise<void> => expect(verifyConsistency(...given)).rejects.toThrow(ProofRefused);
        await refused(first, bent(root(first)), second, root(second), path);
        await refused(first, root(first), second, bent(root(second)), path);
        if (first < second) await refused(second, root(second), first, root(first), path);
        for (const other of nearly(path)) await refused(first, root(first), second, root(second), other);
      }
    }
    await expect(verifyConsistency(0, root(1), 3, root(3), [])).rejects.toThrow(ProofRefused);
  });
});

describe("a growing tree", () => {
  it("has the root of the definition at every size, also when it was stored in between", async () => {
    let tree = GrowingTree.empty();
    for (const [i, entry] of log.entries.entries()) {
      expect(await tree.root()).toEqual(root(i));
      await tree.append(fromBase64(entry));
      tree = GrowingTree.restore(tree.size, tree.subtrees);
    }
    expect(await tree.root()).toEqual(root(log.entries.length));
  });

  it("is not restored from what does not fit its size", () => {
    expect(() => GrowingTree.restore(3, [root(2)])).toThrow(RangeError);
    expect(() => GrowingTree.restore(1, [root(1).subarray(1)])).toThrow(RangeError);
    expect(() => GrowingTree.restore(-1, [])).toThrow(RangeError);
  });
});
