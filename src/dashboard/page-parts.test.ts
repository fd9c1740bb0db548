import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { ApplicationSnapshot } from "../observability/application-snapshot.ts";
import { changedParts, joinParts, pageParts } from "./page-parts.ts";

const replica = fc.record({
  id: fc.constantFrom("a", "b", "c", 'q"uote', "new\nline"),
  state: fc.constantFrom("RUNNING", "STOPPING"),
  health: fc.constantFrom("healthy", "ejected"),
  inFlight: fc.nat(3),
  ejections: fc.nat(1),
  holds: fc.nat(1),
  engineLoad: fc.option(
    fc.record({ running: fc.nat(2), waiting: fc.nat(2), kvCacheUsage: fc.constantFrom(0, 0.5) }),
  ),
  url: fc.constant("http://user:secret@engine:8000"),
});
const deployment = fc.record({
  status: fc.constantFrom("HEALTHY", "UNHEALTHY"),
  message: fc.constant(""),
  queued: fc.nat(2),
  replicaStates: fc.constant({ RUNNING: 1 }),
  replicas: fc.uniqueArray(replica, { selector: ({ id }) => id }),
});
const snapshot: fc.Arbitrary<ApplicationSnapshot> = fc.record({
  status: fc.constantFrom("RUNNING", "UNHEALTHY"),
  message: fc.constant(""),
  inFlight: fc.nat(3),
  deployments: fc.dictionary(fc.constantFrom("Prefill:m", "Decode:m", "other"), deployment),
  pdHealth: fc.constant([]),
});
const partsOf = (each: ApplicationSnapshot) =>
  pageParts("app", each, () => ({ calls: 0, failures: 0, lastFailure: null }));

describe("changedParts", () => {
  it("leads from any state to any other", () => {
    fc.assert(
      fc.property(snapshot, snapshot, (one, other) => {
        const [before, after] = [partsOf(one), partsOf(other)];
        const known = new Map(before);
        for (const [key, text] of changedParts(before, after)) {
          if (text === null) known.delete(key);
          else known.set(key, text);
        }
        expect(Object.fromEntries(known)).toEqual(Object.fromEntries(after));
      }),
    );
  });

  it("says nothing of what is the same", () => {
    fc.assert(
      fc.property(snapshot, (one) => {
        expect(changedParts(partsOf(one), partsOf(structuredClone(one))).size).toBe(0);
      }),
    );
  });
});

describe("pageParts", () => {
  it("has every replica, and no URL", () => {
    fc.assert(
      fc.property(snapshot, (one) => {
        const parts = partsOf(one);
        const replicas = Object.values(one.deployments).flatMap((each) => each.replicas);
        expect([...parts.keys()].filter((key) => key.startsWith("replica "))).toHaveLength(replicas.length);
        expect(joinParts(parts)).not.toContain("secret");
        expect(Object.keys(JSON.parse(joinParts(parts)) as object)).toEqual([...parts.keys()]);
      }),
    );
  });

  it("shows a pool without replicas, but no deployment that never has any", () => {
    const empty = { status: "UNHEALTHY", message: "", queued: 0, replicas: [] };
    const parts = partsOf({
      status: "RUNNING",
      message: "",
      inFlight: 0,
      pdHealth: [],
      deployments: {
        "Decode:m": { ...empty, replicaStates: {} },
        "Prefill:m": { ...empty, replicaStates: {}, targetReplicas: 0 },
        OpenAiIngress: { ...empty, replicaStates: { RUNNING: 1 } },
      },
    });
    expect([...parts.keys()]).toEqual(["application", "pool Decode:m", "pool Prefill:m"]);
  });
});
