import * as fc from "fast-check";
import { describe, expect, it } from "vitest";

import { PrefixTree, type PrefixTreeSnapshot } from "./prefix-tree.ts";

const tenants = ["a", "b", "c"];
// Few letters, so that texts share prefixes; pairs that share a high surrogate; halves of pairs alone.
const anyText = fc
  .array(fc.constantFrom("x", "y", "é", "😀", "😁", "\ud83d", "\ude00"), { maxLength: 8 })
  .map((units) => units.join(""));
const anyOperation = fc.oneof(
  fc.record({ kind: fc.constant("insert" as const), text: anyText, tenant: fc.constantFrom(...tenants) }),
  fc.record({ kind: fc.constant("match" as const), text: anyText, tenant: fc.constantFrom(...tenants) }),
  fc.record({
    kind: fc.constant("evict" as const),
    least: fc.integer({ min: 0, max: 12 }),
    tenant: fc.constantFrom(...tenants),
  }),
  fc.record({ kind: fc.constant("remove" as const), tenant: fc.constantFrom(...tenants) }),
);

/** Every prefix a tenant was told, one by one, with when it was last seen. */
class NaiveTree {
  readonly seen = new Map(tenants.map((name) => [name, new Map<string, number>()]));

  insert(text: string, name: string, time: number): void {
    for (const prefix of prefixes(text)) this.seen.get(name)?.set(prefix, time);
  }

  matchedPoints(text: string, name: string): number {
    return prefixes(text).filter((prefix) => this.seen.get(name)?.has(prefix)).length;
  }
}

function prefixes(text: string): readonly string[] {
  const points = Array.from(text);
  return points.map((_, index) => points.slice(0, index + 1).join(""));
}

function everyNode(node: PrefixTreeSnapshot): readonly PrefixTreeSnapshot[] {
  return [node, ...node.children.flatMap(everyNode)];
}

describe("PrefixTree", () => {
  it("equals a list of all prefixes, whatever is done to it", () => {
    fc.assert(
      fc.property(fc.array(anyOperation, { maxLength: 40 }), (operations) => {
        const tree = new PrefixTree();
        const naive = new NaiveTree();
        tree.addTenants(tenants, 0);
        for (const [index, operation] of operations.entries()) {
          const time = index + 1;
          const { tenant } = operation;
          const own = naive.seen.get(tenant) as Map<string, number>;
          switch (operation.kind) {
            case "insert":
              tree.insert(operation.text, tenant, time);
              naive.insert(operation.text, tenant, time);
              break;
            case "match": {
              const match = tree.match(operation.text, [tenant]);
              expect(match.matchedLength).toBe(naive.matchedPoints(operation.text, tenant));
              expect(Array.from(operation.text.slice(0, match.matchedUnits))).toHaveLength(
                match.matchedLength,
              );
              expect(match.tenants).toEqual([tenant]);
              break;
            }
            case "evict": {
              const before = own.size;
              const removed = tree.evict(tenant, operation.least);
              // Oldest first, all of one time together, until enough is gone.
              const times = [...new Set(own.values())].sort((a, b) => a - b);
              while (before - own.size < operation.least && times.length > 0) {
                const oldest = times.shift();
                for (const [prefix, seen] of own) if (seen === oldest) own.delete(prefix);
              }
              expect(removed).toBe(before - own.size);
              break;
            }
            case "remove":
              expect(tree.removeTenants([tenant])).toEqual({ [tenant]: own.size });
              tree.addTenants([tenant], time);
              own.clear();
          }
          for (const name of tenants) expect(tree.charCount(name)).toBe(naive.seen.get(name)?.size);
        }
        const fewest = Math.min(...tenants.map((name) => naive.seen.get(name)?.size ?? 0));
        const smallest = tenants.filter((name) => naive.seen.get(name)?.size === fewest);
        expect([...tree.smallestTenants()].sort()).toEqual(smallest);
        expect(tree.smallestTenants(tenants)).toEqual(smallest);
        // Nothing that nobody has stays behind.
        const [, ...nodes] = everyNode(tree.snapshot());
        for (const node of nodes) expect(Object.keys(node.tenants).length).toBeGreaterThan(0);
      }),
      { numRuns: 300 },
    );
  });

  it("knows nothing of strangers", () => {
    const tree = new PrefixTree();
    tree.insert("abc", "stranger", 1);
    expect(tree.evict("stranger", 3)).toBe(0);
    expect(tree.charCount("stranger")).toBeUndefined();
    expect(tree.recency("stranger")).toEqual([]);
    expect(tree.match("abc", ["stranger"]).tenants).toBeUndefined();
    expect(tree.smallestTenants(["stranger"])).toEqual([]);
  });

  it("does not mistake half of a pair for a pair", () => {
    const tree = new PrefixTree();
    tree.addTenants(["a"], 0);
    tree.insert("z\ud83d", "a", 1);
    expect(tree.match("z\ud83d\ude00").matchedLength).toBe(1);
    tree.insert("z\ud83d\ude00", "a", 2);
    expect(tree.charCount("a")).toBe(3);
    expect(tree.match("z\ud83d").matchedLength).toBe(2);
  });
});
