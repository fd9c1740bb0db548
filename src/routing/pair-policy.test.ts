import * as fc from "fast-check";
import { describe, expect, it } from "vitest";

import { defaultPairing, PairPolicy, type PairingOptions } from "./pair-policy.ts";
import type { ReplicaView } from "./request-router.ts";

function replica(id: string, more: Partial<ReplicaView> = {}): ReplicaView {
  return { id, inFlight: 0, maxOngoingRequests: 5, multiplexedModelIds: new Set(), labels: {}, ...more };
}

function policy(options: PairingOptions = {}): PairPolicy {
  return new PairPolicy({ ...defaultPairing, ...options } as typeof defaultPairing, () => 0);
}

const ids = (views: readonly ReplicaView[]): readonly string[] => views.map(({ id }) => id);
const at = (zone: string, rack?: string): Partial<ReplicaView> => ({
  labels: rack === undefined ? { zone } : { zone, rack },
});

describe("the pair policy", () => {
  it("changes nothing, and makes no list, where there is nothing to choose by", () => {
    const decodes = [replica("d0"), replica("d1")];
    const prefills = [replica("p0", { pairGroup: "a" })];
    expect(policy().decodes(decodes, prefills)).toBe(decodes);
    expect(policy().prefills(prefills, decodes[0]!)).toBe(prefills);
  });

  it("takes decode replicas that have a partner, and then only partners", () => {
    const decodes = [replica("d0", { pairGroup: "a" }), replica("d1", { pairGroup: "b" }), replica("d2")];
    const prefills = [replica("p0", { pairGroup: "b" }), replica("p1", { pairGroup: "c" })];
    expect(ids(policy().decodes(decodes, prefills))).toEqual(["d1", "d2"]);
    expect(ids(policy().prefills(prefills, decodes[0]!))).toEqual([]);
    expect(ids(policy().prefills(prefills, decodes[1]!))).toEqual(["p0"]);
  });

  it("leaves decode alone when nobody has a partner", () => {
    const decodes = [replica("d0", { pairGroup: "a" })];
    expect(policy().decodes(decodes, [replica("p0", { pairGroup: "b" })])).toBe(decodes);
  });

  it("keeps versions together when told to, and believes those that do not say", () => {
    const decodes = [
      replica("old", { version: "0.26" }),
      replica("new", { version: "0.27" }),
      replica("mute"),
    ];
    const prefills = [replica("p", { version: "0.27" })];
    expect(policy().decodes(decodes, prefills)).toBe(decodes);
    expect(ids(policy({ sameVersion: true }).decodes(decodes, prefills))).toEqual(["new", "mute"]);
    expect(ids(policy({ sameVersion: true }).prefills(prefills, decodes[0]!))).toEqual([]);
  });

  it("prefers the pair that shares more labels, from the first one on", () => {
    const near = policy({ topologyLabels: ["zone", "rack"] });
    const decode = replica("d", at("z1", "r1"));
    const prefills = [
      replica("far", at("z2", "r1")),
      replica("zone", at("z1", "r2")),
      replica("rack", at("z1", "r1")),
      replica("nowhere"),
    ];
    expect(ids(near.prefills(prefills, decode))).toEqual(["rack"]);
    expect(ids(near.prefills(prefills.slice(0, 2), decode))).toEqual(["zone"]);
    expect(ids(near.decodes([replica("d2", at("z3")), decode], prefills))).toEqual(["d"]);
  });

  it("goes farther when the near ones are full, or busier by more than the threshold", () => {
    const near = policy({ topologyLabels: ["zone"], imbalancedThreshold: 2 });
    const decode = replica("d", at("z1"));
    const choose = (inFlight: number): readonly string[] =>
      ids(near.prefills([replica("near", { ...at("z1"), inFlight }), replica("far", at("z2"))], decode));
    expect(choose(2)).toEqual(["near"]);
    expect(choose(3)).toEqual(["near", "far"]);
    expect(choose(5)).toEqual(["near", "far"]);
  });

  it("never pairs what does not go together, and never hides the last partner", () => {
    const anyView = fc.record({
      pairGroup: fc.constantFrom(undefined, "a", "b"),
      version: fc.constantFrom(undefined, "1", "2"),
      labels: fc.record({ zone: fc.constantFrom("x", "y") }),
      inFlight: fc.nat(6),
    });
    const views = (prefix: string) =>
      fc
        .array(anyView, { minLength: 1, maxLength: 6 })
        .map((items) => items.map((item, index) => replica(`${prefix}${index}`, item)));
    fc.assert(
      fc.property(views("p"), views("d"), (prefills, decodes) => {
        const pairs = policy({ topologyLabels: ["zone"], sameVersion: true });
        const fit = (p: ReplicaView, d: ReplicaView): boolean =>
          !(p.pairGroup && d.pairGroup && p.pairGroup !== d.pairGroup) &&
          !(p.version && d.version && p.version !== d.version);
        for (const decode of decodes) {
          const partners = pairs.prefills(prefills, decode);
          for (const partner of partners) expect(fit(partner, decode)).toBe(true);
          expect(partners.length > 0).toBe(prefills.some((prefill) => fit(prefill, decode)));
        }
        expect(pairs.decodes(decodes, prefills).length).toBeGreaterThan(0);
      }),
    );
  });
});
