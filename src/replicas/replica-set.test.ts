import * as fc from "fast-check";
import { describe, expect, it } from "vitest";

import type { Endpoint } from "../config/endpoint.ts";
import { FakeClock } from "../testing/fake-clock.ts";
import { makeReplicaSet } from "./replica.fixture.ts";
import type { Replica, ReplicaLease } from "./replica.ts";

const endpoint = (number: number, more: Partial<Endpoint> = {}): Endpoint => ({
  url: `http://127.0.0.1:${9000 + number}`,
  ...more,
});

const ids = (replicas: readonly Replica[]): string[] => replicas.map(({ id }) => id);

describe("reconcile", () => {
  it("keeps what stayed, adds what is new, drains what is gone", async () => {
    const set = makeReplicaSet({});
    await set.reconcile([endpoint(1), endpoint(2)]);
    const [first, second] = set.replicas;
    const lease = first!.lease();
    const drained = set.reconcile([endpoint(2), endpoint(3)]);
    expect(ids(set.replicas)).toEqual(["127.0.0.1:9002", "127.0.0.1:9003"]);
    expect(set.replicas[0]).toBe(second);
    expect(set.drainingReplicas).toEqual([first]);
    lease.release("success");
    await drained;
    expect(set.drainingReplicas).toEqual([]);
    await set.destroy();
  });

  it("makes a new replica of an endpoint that came back, with an id of its own while the old one drains", async () => {
    const set = makeReplicaSet({});
    await set.reconcile([endpoint(1)]);
    const old = set.replicas[0]!;
    const lease = old.lease();
    void set.reconcile([]);
    await set.reconcile([endpoint(1)]);
    const again = set.replicas[0]!;
    expect(again).not.toBe(old);
    expect(ids([old, again])).toEqual(["127.0.0.1:9001", "127.0.0.1:9001-2"]);
    lease.release("failure");
    expect([old.inFlight, again.inFlight]).toEqual([0, 0]);
    await set.destroy();
  });

  it("ends what still uses a replica when its time to drain is over", async () => {
    const clock = new FakeClock();
    const late: [string, number][] = [];
    const set = makeReplicaSet({
      clock,
      observer: { onDrainTimeout: ({ id }, limitMs) => late.push([id, limitMs]) },
    });
    await set.reconcile([endpoint(1), endpoint(2)]);
    const [first, second] = set.replicas as [Replica, Replica];
    first.lease();
    first.addHold();
    second.lease();
    const drained = set.drain(first, 20_000);
    void set.reconcile([]);
    clock.advance(15_000);
    expect(first.drainTimeLeftMs).toBe(5_000);
    // A second call begins the time anew.
    expect(set.drain(first, 10_000)).toBe(drained);
    clock.advance(9_999);
    expect(late).toEqual([]);
    clock.advance(1);
    await drained;
    expect(late).toEqual([["127.0.0.1:9001", 10_000]]);
    // The other one left for another reason: it may take as long as it does.
    clock.advance(1_000_000);
    expect(set.drainingReplicas).toEqual([second]);
    expect(second.drainTimeLeftMs).toBeUndefined();
    await set.destroy();
  });

  it("lifts the limit of a drain when its endpoint comes back, and when it is over", async () => {
    const clock = new FakeClock();
    const late: string[] = [];
    const set = makeReplicaSet({ clock, observer: { onDrainTimeout: ({ id }) => late.push(id) } });
    await set.reconcile([endpoint(1), endpoint(2)]);
    const [first, second] = set.replicas as [Replica, Replica];
    const lease = first.lease();
    const drained = [set.drain(first, 20_000), set.drain(second, 20_000)];
    await drained[1];
    await set.reconcile([endpoint(1)]);
    expect(clock.pendingTimers).toBe(0);
    clock.advance(1_000_000);
    expect(late).toEqual([]);
    lease.release("success");
    await drained[0];
    await set.destroy();
  });

  it("replaces an endpoint whose settings changed, and only then", async () => {
    const set = makeReplicaSet({});
    await set.reconcile([endpoint(1, { apiKey: "a", labels: { zone: "x", rack: "1" } })]);
    const old = set.replicas[0]!;
    await set.reconcile([endpoint(1, { apiKey: "a", labels: { rack: "1", zone: "x" } })]);
    expect(set.replicas[0]).toBe(old);
    await set.reconcile([endpoint(1, { apiKey: "b", labels: { rack: "1", zone: "x" } })]);
    expect(set.replicas[0]).not.toBe(old);
    expect(set.replicas[0]!.endpoint.apiKey).toBe("b");
    await set.destroy();
  });

  it("tells ranks of one URL apart and never gives one id twice", async () => {
    const set = makeReplicaSet({});
    await set.reconcile([
      endpoint(1, { rank: 0 }),
      endpoint(1, { rank: 1 }),
      endpoint(2, { name: "n" }),
      endpoint(3, { name: "n" }),
      endpoint(4, { name: "n-2" }),
    ]);
    expect(ids(set.replicas)).toEqual(["127.0.0.1:9001/0", "127.0.0.1:9001/1", "n", "n-2", "n-2-2"]);
    await set.destroy();
  });
});

describe("available replicas", () => {
  it("are the well ones, or all when none is", async () => {
    const clock = new FakeClock();
    const seen: string[][] = [];
    const set = makeReplicaSet({
      clock,
      observer: { onReplicasChange: (replicas) => seen.push(ids(replicas)) },
    });
    await set.reconcile([endpoint(1, { name: "a" }), endpoint(2, { name: "b" })]);
    const [a, b] = set.replicas;
    a!.setChecked(false);
    expect(ids(set.available)).toEqual(["b"]);
    for (let time = 0; time < 3; time++) b!.lease().release("failure");
    expect(ids(set.available)).toEqual(["a", "b"]);
    clock.advance(5000);
    expect(b!.health).toBe("probing");
    expect(ids(set.available)).toEqual(["b"]);
    a!.setChecked(true);
    expect(ids(set.available)).toEqual(["a", "b"]);
    expect(seen).toEqual([["a", "b"], ["b"], ["a", "b"], ["b"], ["a", "b"]]);
    await set.destroy();
    expect(clock.pendingTimers).toBe(0);
  });
});

it("is destroyed while replicas drain, and while calls fail for it", async () => {
  const clock = new FakeClock();
  const set = makeReplicaSet({ clock });
  await set.reconcile([endpoint(1), endpoint(2)]);
  const [first, second] = set.replicas;
  const leases = [first!.lease(), ...[1, 2, 3].map(() => second!.lease())];
  first!.addHold();
  const drained = set.reconcile([endpoint(2)]);
  const destroyed = set.destroy();
  for (const lease of leases) lease.release("failure");
  await Promise.all([drained, destroyed]);
  expect(clock.pendingTimers).toBe(0);
  expect([first!.inFlight, second!.inFlight]).toEqual([0, 0]);
});

type Step =
  | { readonly kind: "endpoints"; readonly numbers: readonly number[] }
  | { readonly kind: "lease"; readonly which: number }
  | { readonly kind: "release"; readonly which: number; readonly twice: boolean }
  | { readonly kind: "hold" | "unhold"; readonly which: number }
  | { readonly kind: "advance"; readonly ms: number };

const which = fc.nat(1000);
const anyStep: fc.Arbitrary<Step> = fc.oneof(
  fc.record({
    kind: fc.constant("endpoints" as const),
    numbers: fc.uniqueArray(fc.nat(5), { maxLength: 6 }),
  }),
  fc.record({ kind: fc.constant("lease" as const), which }),
  fc.record({ kind: fc.constant("lease" as const), which }),
  fc.record({ kind: fc.constant("release" as const), which, twice: fc.boolean() }),
  fc.record({ kind: fc.constantFrom("hold" as const, "unhold" as const), which }),
  fc.record({ kind: fc.constant("advance" as const), ms: fc.nat(10_000) }),
);

it("keeps exact counters while endpoints flap and leases come and go", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(anyStep, { maxLength: 80 }), async (steps) => {
      const clock = new FakeClock();
      const set = makeReplicaSet({ clock, maxOngoingRequests: 3 });
      const leases: ReplicaLease[] = [];
      const holds: Replica[] = [];
      const seen = new Set<Replica>();
      const drains: Promise<void>[] = [];
      for (const step of steps) {
        if (step.kind === "endpoints")
          drains.push(set.reconcile(step.numbers.map((number) => endpoint(number))));
        else if (step.kind === "advance") clock.advance(step.ms);
        else if (step.kind === "lease") {
          const replica = set.available[step.which % Math.max(1, set.available.length)];
          if (replica?.hasFreeSlot === true) leases.push(replica.lease());
        } else if (step.kind === "release" && leases.length > 0) {
          const [lease] = leases.splice(step.which % leases.length, 1);
          lease!.release(step.which % 2 === 0 ? "failure" : "success");
          if (step.twice) lease!.release("failure");
        } else if (step.kind === "hold" && set.replicas.length > 0) {
          const replica = set.replicas[step.which % set.replicas.length]!;
          replica.addHold();
          holds.push(replica);
        } else if (step.kind === "unhold" && holds.length > 0) {
          holds.splice(step.which % holds.length, 1)[0]!.removeHold();
        }
        for (const replica of [...set.replicas, ...set.drainingReplicas]) seen.add(replica);
        for (const replica of seen) {
          expect(replica.inFlight).toBe(leases.filter((lease) => lease.replica === replica).length);
          expect(replica.inFlight).toBeLessThanOrEqual(3);
          expect(replica.holds).toBe(holds.filter((each) => each === replica).length);
        }
      }
      drains.push(set.reconcile([]));
      for (const lease of leases) lease.release("neutral");
      for (const replica of holds) replica.removeHold();
      await Promise.all(drains);
      expect(set.drainingReplicas).toEqual([]);
      expect([...seen].every(({ inFlight, holds }) => inFlight === 0 && holds === 0)).toBe(true);
      expect(clock.pendingTimers).toBe(0);
    }),
    { numRuns: 60 },
  );
});
