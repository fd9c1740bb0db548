import * as fc from "fast-check";
import { afterEach, describe, expect, it } from "vitest";

import type { Endpoint } from "../config/endpoint.ts";
import { RequestCancelledError } from "../errors/request-cancelled-error.ts";
import { ServeLLMError } from "../errors/serve-llm-error.ts";
import { CancelToken } from "../internal/cancel-token.ts";
import { makeReplicaSet } from "../replicas/replica.fixture.ts";
import type { ReplicaSet } from "../replicas/replica-set.ts";
import type { Replica, ReplicaLease } from "../replicas/replica.ts";
import type { PendingRequest, RequestRouter } from "../routing/request-router.ts";
import { FakeClock } from "../testing/fake-clock.ts";
import { DeploymentHandle, type DeploymentHandleInit } from "./deployment-handle.ts";

const inOrder: RequestRouter = { chooseReplicas: (candidates) => [candidates] };
const request: PendingRequest = { requestId: "r", modelId: "m", attempt: 0 };
const sets: ReplicaSet[] = [];

afterEach(async () => {
  await Promise.all(sets.splice(0).map((set) => set.destroy()));
});

interface SetUp extends Partial<DeploymentHandleInit> {
  readonly endpoints?: readonly Partial<Endpoint>[];
  readonly maxOngoingRequests?: number;
}

function setUp({ endpoints = [{}], maxOngoingRequests = 1, ...init }: SetUp = {}) {
  const clock = new FakeClock();
  const warnings: string[] = [];
  const handle = new DeploymentHandle({
    deployment: "D",
    router: inOrder,
    clock,
    maxQueuedRequests: -1,
    rejectStatus: 503,
    retryAfterS: undefined,
    queueTimeoutMs: 60_000,
    unavailableTimeoutMs: 10_000,
    warn: (message) => warnings.push(message),
    ...init,
  });
  const set = makeReplicaSet({ clock, maxOngoingRequests, observer: handle });
  sets.push(set);
  handle.attach(set);
  const reconcile = (list: readonly Partial<Endpoint>[]): void => {
    void set.reconcile(list.map((each, index) => ({ url: `http://127.0.0.1:${9000 + index}`, ...each })));
  };
  reconcile(endpoints);
  const acquire = (constraints = {}, cancel = new CancelToken()): ReplicaLease | Promise<ReplicaLease> =>
    handle.acquire(request, cancel, constraints);
  return { clock, handle, set, reconcile, acquire, warnings };
}

/** What a wait came to: a replica's id, or an error's code. */
function outcome(waiting: ReplicaLease | Promise<ReplicaLease>): Promise<string> {
  return Promise.resolve(waiting).then(
    (lease) => lease.replica.id,
    (error: ServeLLMError) => error.code,
  );
}

describe("acquire", () => {
  it("gives the lease itself while a slot is free, and a promise when all are taken", async () => {
    const { acquire, handle } = setUp({ endpoints: [{ name: "a" }, { name: "b" }] });
    const leases = [acquire(), acquire()] as ReplicaLease[];
    expect(leases.map((lease) => lease.replica.id)).toEqual(["a", "b"]);
    const waiting = acquire();
    expect(waiting).toBeInstanceOf(Promise);
    expect(handle.queued).toBe(1);
    leases[1]!.release("success");
    expect(handle.queued).toBe(0);
    expect(await outcome(waiting)).toBe("b");
  });

  it("lets nobody overtake those who wait", async () => {
    const { acquire, handle } = setUp();
    const lease = acquire() as ReplicaLease;
    const first = acquire();
    lease.release("success");
    const second = acquire();
    expect(handle.queued).toBe(1);
    (await first).release("success");
    expect(await outcome(second)).toBe("127.0.0.1:9000");
  });

  it("uses a slot that those ahead do not want", async () => {
    const { acquire, handle } = setUp({
      endpoints: [
        { name: "a", pairGroup: "A" },
        { name: "b", pairGroup: "B" },
      ],
    });
    const onA = acquire({ pairGroup: "A" }) as ReplicaLease;
    const forA = acquire({ pairGroup: "A" });
    const forAny = acquire();
    expect(await outcome(forAny)).toBe("b");
    expect(handle.queued).toBe(1);
    onA.release("success");
    expect(await outcome(forA)).toBe("a");
  });

  it("waits for a replica that did not fail the request, without keeping the failed one from others", async () => {
    const { acquire } = setUp({ endpoints: [{ name: "a" }, { name: "b" }] });
    const [onA, onB] = [acquire(), acquire()] as [ReplicaLease, ReplicaLease];
    const again = acquire({ avoid: new Set(["a"]) });
    const other = acquire();
    onA.release("failure");
    expect(await outcome(other)).toBe("a");
    onB.release("success");
    expect(await outcome(again)).toBe("b");
  });

  it("goes back to a replica that failed it when there is no other", () => {
    const { acquire } = setUp({ endpoints: [{ name: "a" }] });
    expect((acquire({ avoid: new Set(["a"]) }) as ReplicaLease).replica.id).toBe("a");
  });

  it("takes a free replica when the router's choice is busy or empty", () => {
    const { acquire } = setUp({
      endpoints: [{ name: "a" }, { name: "b" }],
      router: { chooseReplicas: (candidates) => (candidates.length === 2 ? [[candidates[0]!]] : []) },
    });
    expect((acquire() as ReplicaLease).replica.id).toBe("a");
    expect((acquire() as ReplicaLease).replica.id).toBe("b");
  });
});

describe("a wait ends", () => {
  it("after queueTimeoutMs when all replicas are busy", async () => {
    const { acquire, clock } = setUp({ queueTimeoutMs: 500 });
    const lease = acquire() as ReplicaLease;
    const waiting = outcome(acquire());
    clock.advance(500);
    expect(await waiting).toBe("queue_timeout");
    lease.release("success");
    expect(clock.pendingTimers).toBe(0);
  });

  it("after unavailableTimeoutMs when there is no replica, or at once when one comes", async () => {
    const { acquire, clock, reconcile } = setUp({ endpoints: [], unavailableTimeoutMs: 300 });
    const waiting = outcome(acquire());
    clock.advance(300);
    expect(await waiting).toBe("no_healthy_replica");
    const lucky = outcome(acquire());
    reconcile([{ name: "new" }]);
    expect(await lucky).toBe("new");
  });

  it("when it is cancelled, and takes nothing", async () => {
    const { acquire, handle, set } = setUp();
    const lease = acquire() as ReplicaLease;
    const cancel = new CancelToken();
    const waiting = outcome(acquire({}, cancel));
    cancel.cancel(new RequestCancelledError("gone"));
    expect(await waiting).toBe("client_closed_request");
    lease.release("success");
    expect([handle.queued, set.replicas[0]!.inFlight]).toEqual([0, 0]);
    expect(() => acquire({}, cancel)).toThrow("gone");
  });

  it("when the handle is closed, which refuses everybody from then on", async () => {
    const { acquire, handle } = setUp();
    const lease = acquire() as ReplicaLease;
    const waiting = outcome(acquire());
    handle.close(new ServeLLMError("Closed.", { code: "closed", status: 503, type: "unavailable_error" }));
    expect(await waiting).toBe("closed");
    lease.release("success");
    expect(() => acquire()).toThrow("Closed.");
  });

  it("when an ejected replica may be probed", async () => {
    const { acquire, clock } = setUp({ endpoints: [{ name: "a" }, { name: "b" }], maxOngoingRequests: 3 });
    const first = [acquire(), acquire(), acquire()] as ReplicaLease[];
    const onB = [acquire(), acquire(), acquire()] as ReplicaLease[];
    for (const lease of first) lease.release("failure");
    const waiting = acquire();
    expect(waiting).toBeInstanceOf(Promise);
    clock.advance(5000);
    const probe = await waiting;
    expect([probe.replica.id, probe.probe]).toEqual(["a", true]);
    const next = acquire();
    expect(next).toBeInstanceOf(Promise);
    probe.release("success");
    expect(await outcome(next)).toBe("a");
    for (const lease of onB) lease.release("success");
  });
});

describe("a router that fails", () => {
  const broken = (): never => {
    throw new Error("boom");
  };

  it("in chooseReplicas or onRequestRouted ends the request and takes no slot", () => {
    for (const router of [{ chooseReplicas: broken }, { ...inOrder, onRequestRouted: broken }]) {
      const { acquire, set } = setUp({ router });
      expect(() => acquire()).toThrow('The request router of deployment "D" failed.');
      expect(set.replicas[0]!.inFlight).toBe(0);
    }
  });

  it("elsewhere is reported and does no harm", () => {
    const { acquire, set, warnings } = setUp({
      router: { ...inOrder, updateReplicas: broken, onRequestCompleted: broken },
    });
    const lease = acquire() as ReplicaLease;
    lease.release("success");
    expect(set.replicas[0]!.inFlight).toBe(0);
    expect(warnings).toEqual([
      expect.stringContaining("failed in updateReplicas: Error: boom"),
      expect.stringContaining("failed in onRequestCompleted: Error: boom"),
    ]);
  });
});

it("tells the router of every request once when it is routed and once when it is over", () => {
  const log: string[] = [];
  const router: RequestRouter = {
    ...inOrder,
    onRequestRouted: (_request, id) => log.push(`+${id}`),
    onRequestCompleted: (_request, id) => log.push(`-${id}`),
  };
  const { acquire } = setUp({ router, endpoints: [{ name: "a" }] });
  const lease = acquire() as ReplicaLease;
  lease.release("success");
  lease.release("failure");
  expect(log).toEqual(["+a", "-a"]);
});

it("says whether some replica would do", () => {
  const { handle } = setUp({ endpoints: [{ name: "a", pairGroup: "A" }] });
  expect(handle.hasReplicaFor({ pairGroup: "A" })).toBe(true);
  expect(handle.hasReplicaFor({ pairGroup: "B" })).toBe(false);
  expect(handle.hasReplicaBeside(new Set(["a"]))).toBe(false);
  expect(handle.hasReplicaBeside(new Set(["b"]))).toBe(true);
});

const which = fc.nat(1000);
const anyStep = fc.oneof(
  fc.record({
    kind: fc.constant("acquire" as const),
    priority: fc.integer({ min: -1, max: 1 }),
    group: fc.constantFrom(undefined, "A", "B"),
    avoid: fc.constantFrom(undefined, "0", "1"),
  }),
  fc.record({
    kind: fc.constant("release" as const),
    which,
    outcome: fc.constantFrom("success" as const, "failure" as const, "neutral" as const),
  }),
  fc.record({ kind: fc.constant("cancel" as const), which }),
  fc.record({ kind: fc.constant("pool" as const), numbers: fc.uniqueArray(fc.nat(3), { maxLength: 4 }) }),
  fc.record({ kind: fc.constant("advance" as const), ms: fc.nat(8000) }),
);

it("never leases more than maxOngoingRequests, leaves no usable slot idle, and loses nobody", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(anyStep, { maxLength: 80 }), async (steps) => {
      const { clock, handle, set, acquire, reconcile } = setUp({ endpoints: [], maxOngoingRequests: 2 });
      const held: ReplicaLease[] = [];
      const tokens: CancelToken[] = [];
      const seen = new Set<Replica>();
      let asked = 0;
      let settled = 0;
      /** Those of them that wait for any slot at all. */
      let plainWaiting = 0;
      const keep = (lease: ReplicaLease): void => {
        settled += 1;
        held.push(lease);
      };
      for (const step of steps) {
        if (step.kind === "acquire") {
          const cancel = new CancelToken();
          const avoid = step.avoid === undefined ? undefined : new Set([step.avoid]);
          const result = acquire({ priority: step.priority, pairGroup: step.group, avoid }, cancel);
          asked += 1;
          tokens.push(cancel);
          if (result instanceof Promise) {
            const plain = step.group === undefined && avoid === undefined ? 1 : 0;
            plainWaiting += plain;
            void result
              .then(keep, () => (settled += 1))
              .finally(() => {
                plainWaiting -= plain;
              });
          } else keep(result);
        } else if (step.kind === "release" && held.length > 0) {
          held.splice(step.which % held.length, 1)[0]!.release(step.outcome);
        } else if (step.kind === "cancel" && tokens.length > 0) {
          tokens.splice(step.which % tokens.length, 1)[0]!.cancel(new RequestCancelledError("gone"));
        } else if (step.kind === "pool") {
          reconcile(
            step.numbers.map((number) => ({
              url: `http://127.0.0.1:${9000 + number}`,
              name: String(number),
              pairGroup: number % 2 === 0 ? "A" : "B",
            })),
          );
        } else if (step.kind === "advance") clock.advance(step.ms);
        // Those who were let go hear of it in the next microtasks.
        for (let turn = 0; turn < 5; turn++) await Promise.resolve();
        for (const replica of [...set.replicas, ...set.drainingReplicas]) seen.add(replica);
        for (const replica of seen) {
          expect(replica.inFlight).toBeLessThanOrEqual(2);
          expect(replica.inFlight).toBe(held.filter((lease) => lease.replica === replica).length);
        }
        expect(asked).toBe(settled + handle.queued);
        if (plainWaiting > 0) expect(set.available.some((replica) => replica.hasFreeSlot)).toBe(false);
      }
      reconcile([
        { name: "last", pairGroup: "A" },
        { url: "http://127.0.0.1:9001", name: "very last", pairGroup: "B" },
      ]);
      for (let turn = 0; turn < 500; turn++) {
        if (settled === asked && held.length === 0) break;
        held.pop()?.release("success");
        for (let pause = 0; pause < 5; pause++) await Promise.resolve();
      }
      expect(settled).toBe(asked);
      expect([...seen].every(({ inFlight }) => inFlight === 0)).toBe(true);
      await set.destroy();
      expect(clock.pendingTimers).toBe(0);
    }),
    { numRuns: 80 },
  );
});
