import { afterEach, describe, expect, it } from "vitest";

import type { Discovery, Endpoint } from "../config/endpoint.ts";
import { CancelToken } from "../internal/cancel-token.ts";
import { clientConfig, nobody } from "../replicas/replica.fixture.ts";
import type { ReplicaLease } from "../replicas/replica.ts";
import type { RequestRouter } from "../routing/request-router.ts";
import { FakeClock } from "../testing/fake-clock.ts";
import { MockVLLMEngine } from "../testing/mock-vllm-engine.ts";
import { EnginePool, type EnginePoolInit } from "./engine-pool.ts";

const cleanups: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

const inOrder: RequestRouter = { chooseReplicas: (candidates) => [candidates] };
const readsLoad: RequestRouter = { ...inOrder, usesEngineLoad: true };

/** A discovery that a test pushes snapshots into. */
function pushed(): { discovery: Discovery; push: (endpoints: readonly Endpoint[]) => void } {
  const snapshots: (readonly Endpoint[])[] = [];
  let wake: (() => void) | undefined;
  const discovery: Discovery = async function* discover(signal) {
    signal.addEventListener("abort", () => wake?.(), { once: true });
    while (!signal.aborted) {
      const next = snapshots.shift();
      if (next === undefined) await new Promise<void>((resolve) => (wake = resolve));
      else yield next;
    }
  };
  const push = (endpoints: readonly Endpoint[]): void => {
    snapshots.push(endpoints);
    wake?.();
  };
  return { discovery, push };
}

function makePool(init: Partial<EnginePoolInit> = {}) {
  const clock = new FakeClock();
  const warnings: string[] = [];
  const { discovery, push } = pushed();
  const pool = new EnginePool({
    deployment: "D",
    endpoints: discovery,
    client: clientConfig(),
    router: inOrder,
    clock,
    random: { next: () => 0.5, id: () => "0".repeat(32) },
    modelId: "mock-model",
    healthCheckPeriodS: 10,
    healthCheckTimeoutS: 3,
    requestRoutingStatsPeriodS: 10,
    requestRoutingStatsTimeoutS: 3,
    maxOngoingRequests: 2,
    maxQueuedRequests: -1,
    rejectStatus: 503,
    retryAfterS: undefined,
    warn: (message) => warnings.push(message),
    ...init,
  });
  cleanups.push(() => pool.shutdown());
  return { clock, pool, push, warnings };
}

async function startEngine(): Promise<MockVLLMEngine> {
  const engine = new MockVLLMEngine();
  await engine.start();
  cleanups.push(() => engine.stop());
  return engine;
}

const paths = (engine: MockVLLMEngine): string[] =>
  [...new Set(engine.requests.map(({ path }) => path))].toSorted();
const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const acquire = (pool: EnginePool): ReplicaLease | Promise<ReplicaLease> =>
  pool.handle.acquire({ requestId: "r", modelId: "m", attempt: 0 }, new CancelToken());

describe("start", () => {
  it("waits for the first endpoints, not for the engines behind them", async () => {
    const engine = await startEngine();
    for (const path of ["/health", "/version", "/metrics"]) {
      engine.injectFault({ match: { path }, fault: { kind: "stallBeforeHeaders" } });
    }
    const { pool, push } = makePool({ router: readsLoad });
    push([{ url: engine.url }]);
    await pool.start();
    expect((acquire(pool) as ReplicaLease).replica.endpoint.url).toBe(engine.url);
  });

  it("fails when discovery fails before it found anything; afterwards the last endpoints stay", async () => {
    const failing = (first: readonly Endpoint[] | undefined): Discovery =>
      async function* discover() {
        if (first !== undefined) yield first;
        throw new Error("no DNS");
      };
    await expect(makePool({ endpoints: failing(undefined) }).pool.start()).rejects.toThrow("no DNS");
    const { pool, warnings } = makePool({ endpoints: failing([{ url: nobody }]) });
    await pool.start();
    await nextTurn();
    expect(pool.replicas.replicas).toHaveLength(1);
    expect(warnings).toEqual(['Discovery of deployment "D" ended: Error: no DNS']);
  });
});

describe("the background work", () => {
  it("checks, identifies, and scrapes only where the router reads the load", async () => {
    for (const router of [inOrder, readsLoad]) {
      const engine = await startEngine();
      const { pool, push } = makePool({ router });
      push([{ url: engine.url, name: "a" }]);
      await pool.start();
      await pool.checkNow();
      const expected = ["/health", "/v1/models", "/version"];
      if (router === readsLoad) expected.unshift("/metrics");
      const replica = (): unknown => pool.status().replicas[0];
      while (!expected.every((path) => paths(engine).includes(path)) || engine.openResponses > 0)
        await nextTurn();
      while (pool.replicas.replicas[0]!.servedModels === undefined) await nextTurn();
      expect(paths(engine)).toEqual(expected.toSorted());
      expect(replica()).toEqual({
        id: "a",
        rank: null,
        group: null,
        ejections: 0,
        url: engine.url,
        state: "RUNNING",
        health: "healthy",
        suspension: null,
        inFlight: 0,
        holds: 0,
        drainTimeLeftMs: null,
        version: "0.27.1",
        servedModels: ["mock-model"],
        engineLoad: router === readsLoad ? { running: 0, waiting: 0, kvCacheUsage: 0, ageMs: 0 } : null,
      });
      await pool.shutdown();
    }
  });

  it("takes dead engines out of service, warns when none is left, and takes them back", async () => {
    const [first, second] = [await startEngine(), await startEngine()];
    const { pool, push, warnings } = makePool();
    push([
      { url: first.url, name: "a" },
      { url: second.url, name: "b" },
    ]);
    await pool.start();
    await pool.checkNow();
    await first.crash();
    for (let time = 0; time < 3; time++) await pool.checkNow();
    expect(pool.status()).toMatchObject({
      status: "HEALTHY",
      replicas: [{ health: "unhealthy" }, { health: "healthy" }],
    });
    expect((acquire(pool) as ReplicaLease).replica.id).toBe("b");
    await second.crash();
    for (let time = 0; time < 3; time++) await pool.checkNow();
    expect(pool.status()).toMatchObject({ status: "UNHEALTHY", statusTrigger: "HEALTH_CHECK_FAILED" });
    expect(warnings).toEqual(['No replica of "D" is healthy; requests go to all of them as a last resort.']);
    expect((acquire(pool) as ReplicaLease).replica.id).toBe("a");
    await first.start();
    await pool.checkNow();
    expect(pool.status().status).toBe("HEALTHY");
  });

  it("is done with a replica that leaves, while it drains", async () => {
    const engine = await startEngine();
    const { pool, push, clock } = makePool();
    push([{ url: engine.url }]);
    await pool.start();
    const lease = acquire(pool) as ReplicaLease;
    await pool.checkNow();
    push([]);
    while (pool.replicas.drainingReplicas.length === 0) await nextTurn();
    expect(pool.status()).toMatchObject({ replicaStates: { STOPPING: 1 }, replicas: [{ inFlight: 1 }] });
    const before = engine.requests.filter(({ path }) => path === "/health").length;
    clock.advance(60_000);
    await pool.checkNow();
    expect(engine.requests.filter(({ path }) => path === "/health")).toHaveLength(before);
    lease.release("success");
    while (pool.replicas.drainingReplicas.length > 0) await nextTurn();
    expect(clock.pendingTimers).toBe(0);
  });

  it("reports a restarted engine and asks it anew who it is", async () => {
    const engine = await startEngine();
    const restarts: (string | undefined)[] = [];
    const { pool, push } = makePool({
      onEngineRestart: (replica, previous) => restarts.push(replica.id, previous, replica.engineId),
    });
    push([{ url: engine.url, name: "a" }]);
    await pool.start();
    const replica = pool.replicas.replicas[0]!;
    while (replica.servedModels === undefined) await nextTurn();
    replica.engineId = "one";
    replica.engineLoad = { running: 1, waiting: 1, kvCacheUsage: 1, atMs: 0 };
    replica.engineId = "two";
    expect(restarts).toEqual(["a", "one", "two"]);
    expect(replica.engineLoad).toBeUndefined();
    const questions = (): number => engine.requests.filter(({ path }) => path === "/version").length;
    while (questions() < 2) await nextTurn();
  });
});

describe("shutdown", () => {
  it("turns away who waits, stops everything at once, and leaves no timer and no socket", async () => {
    const engine = await startEngine();
    const { pool, push, clock } = makePool({ router: readsLoad, maxOngoingRequests: 1 });
    push([{ url: engine.url }]);
    await pool.start();
    await pool.checkNow();
    for (const path of ["/health", "/metrics"]) {
      engine.injectFault({ match: { path }, fault: { kind: "stallBeforeHeaders" } });
    }
    clock.advance(10_000);
    const lease = acquire(pool) as ReplicaLease;
    const waiting = Promise.resolve(acquire(pool));
    const refused = expect(waiting).rejects.toMatchObject({ code: "no_healthy_replica", status: 503 });
    await pool.shutdown();
    await refused;
    expect(() => acquire(pool)).toThrow("shutting down");
    lease.release("neutral");
    expect(clock.pendingTimers).toBe(0);
    while (engine.openSockets > 0) await nextTurn();
    await pool.shutdown();
  });

  it("ends a start that still waits for its first endpoints", async () => {
    const { pool } = makePool();
    const starting = pool.start();
    await pool.shutdown();
    await starting;
    expect(pool.status()).toMatchObject({ status: "UNHEALTHY", replicas: [] });
  });
});
