import { once } from "node:events";
import { seededRandom } from "../../src/testing/index.ts";
import type { KvHoldCounts } from "../../src/llm/kv-holds.ts";
import { model, type PDCluster, startPDCluster } from "../support/pd-cluster.ts";
import { randomFault } from "./chaos-faults.ts";
import { PoolChanges } from "./pool-changes.ts";
import { type ChaosVerdict, randomRequest, sendAndJudge } from "./chaos-request.ts";

export interface ChaosOptions {
  readonly seed: number;
  readonly requests: number;
  /** @default 24 */
  readonly concurrency?: number;
  /** Share of requests before which a fault is armed. @default 0.25 */
  readonly faultRate?: number;
}

/** What a chaos run found. `problems` must be empty. */
export interface ChaosReport {
  readonly seed: number;
  readonly requests: number;
  readonly right: number;
  readonly explicitErrors: number;
  readonly aborted: number;
  readonly faults: number;
  /** Engines that came back under their address with a new engine id. */
  readonly restarts: number;
  /** Replicas drained, cut off, replaced or brought back by hand. */
  readonly poolChanges: number;
  readonly retriedHandles: number;
  readonly holds: KvHoldCounts;
  readonly problems: readonly string[];
}

/**
 * Drives an application on mock engines through seeded faults, restarts, changes of its pools and clients that leave,
 * and checks what must
 * hold whatever happens: every answer is right or an explicit error, and everything that was opened is closed.
 */
export async function runChaos(options: ChaosOptions): Promise<ChaosReport> {
  const { seed, requests, concurrency = 24, faultRate = 0.25 } = options;
  const random = seededRandom(seed);
  const cluster = await startPDCluster({
    prefills: 3,
    decodes: 3,
    engine: {
      kvLeaseMs: 2_000,
      latency: { interTokenMs: 1, timeToFirstTokenMs: 1 },
      seed,
      numBlocks: 100_000,
    },
    client: {
      connectTimeoutMs: 500,
      prefillTimeoutMs: 400,
      firstByteTimeoutMs: 400,
      interTokenTimeoutMs: 400,
      totalTimeoutMs: 5_000,
      unavailableTimeoutMs: 500,
    },
    environment: { random },
    proxy: { onStranded: random.next() < 0.5 ? "wait" : "release-handoff" },
  });
  const pools = new PoolChanges(cluster, model);
  const problems: string[] = [];
  const counts = { right: 0, explicitErrors: 0, aborted: 0, faults: 0, restarts: 0 };
  let next = 0;
  let halfOpen = 0;
  let restarting: Promise<void> = Promise.resolve();

  const worker = async (): Promise<void> => {
    while (next < requests) {
      const number = (next += 1);
      if (random.next() < faultRate) {
        const { phase, rule } = randomFault(random);
        const pool = phase === "prefill" ? cluster.prefills : cluster.decodes;
        pool[Math.floor(random.next() * pool.length)]!.injectFault(rule);
        counts.faults += 1;
        if (rule.fault.kind === "halfOpen") halfOpen += 1;
      }
      if (random.next() < 0.005) {
        const engine = cluster.engines[Math.floor(random.next() * cluster.engines.length)]!;
        counts.restarts += 1;
        restarting = restarting.then(() => engine.restart());
      }
      if (random.next() < 0.02) pools.change(random);
      const verdict = await sendAndJudge(cluster.url, randomRequest(random, model));
      count(verdict, number);
    }
  };
  const count = (verdict: ChaosVerdict, number: number): void => {
    if (verdict === "right") counts.right += 1;
    else if (verdict === "explicit-error") counts.explicitErrors += 1;
    else if (verdict === "aborted") counts.aborted += 1;
    else problems.push(`request ${number}: ${verdict.lie}`);
  };

  await Promise.all(Array.from({ length: concurrency }, worker));
  await restarting;
  await pools.restore();
  for (const engine of cluster.engines) engine.clearFaults();
  problems.push(...(await checkQuiescence(cluster, halfOpen)));
  const holds = holdCounts(cluster);
  const retriedHandles = cluster.prefills
    .flatMap(({ ledger }) => ledger.rejected)
    .filter(({ reason }) => reason === "consumed").length;
  if (retriedHandles > 0) problems.push(`${retriedHandles} handles were sent twice`);
  await cluster.stop();
  for (const engine of cluster.engines) {
    if (engine.openSockets > 0) problems.push(`${engine.openSockets} sockets left on ${engine.options.role}`);
  }
  return { seed, requests, ...counts, poolChanges: pools.count, retriedHandles, holds, problems };
}

/** Nothing is under way any more: every account must be at zero. */
async function checkQuiescence(cluster: PDCluster, halfOpen: number): Promise<readonly string[]> {
  const problems: string[] = [];
  // Requests whose client left end in the background. An engine with a half-open socket never hears that.
  const openResponses = (): number => cluster.engines.reduce((sum, engine) => sum + engine.openResponses, 0);
  const quiet = (): boolean => cluster.app.status().inFlight === 0 && openResponses() <= halfOpen;
  for (let turn = 0; turn < 2_000 && !quiet(); turn += 1) await nextTurn();
  if (openResponses() > halfOpen)
    problems.push(`${openResponses()} responses are still open, ${halfOpen} may be`);
  const status = cluster.app.status();
  if (status.inFlight !== 0) problems.push(`${status.inFlight} requests still in flight`);
  for (const [name, deployment] of Object.entries(status.deployments)) {
    for (const replica of deployment.replicas) {
      if (replica.inFlight !== 0) problems.push(`${name}#${replica.id} has ${replica.inFlight} in flight`);
    }
    const leaving = deployment.replicas.filter(({ state }) => state === "STOPPING").length;
    if (leaving !== 0) problems.push(`${name} has ${leaving} replicas that do not go away`);
    if (deployment.queued !== 0) problems.push(`${name} has ${deployment.queued} queued`);
  }
  const { opened, open, ended } = holdCounts(cluster);
  const closed = Object.values(ended).reduce((sum, n) => sum + n, 0);
  if (open !== 0 || opened !== closed)
    problems.push(`KV holds: ${opened} opened, ${closed} ended, ${open} open`);
  await Promise.all(cluster.prefills.map((engine) => engine.ledger.drained()));
  for (const engine of cluster.engines) {
    try {
      engine.ledger.assertBalanced();
    } catch (error) {
      problems.push(`${engine.options.role}: ${String(error)}`);
    }
  }
  return problems;
}

function holdCounts(cluster: PDCluster): KvHoldCounts {
  return cluster.app.status().deployments["PDProxyServer"]!.details!["kvHolds"] as KvHoldCounts;
}

/** One turn of the event loop in which sockets are served. */
async function nextTurn(): Promise<void> {
  const channel = new MessageChannel();
  channel.port2.postMessage(0);
  await once(channel.port1, "message");
  channel.port1.close();
}
