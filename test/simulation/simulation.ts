import { seededRandom } from "../../src/testing/index.ts";
import type {
  EngineLoad,
  PendingRequest,
  ReplicaView,
  RequestRouter,
} from "../../src/routing/request-router.ts";
import { smoothedOthers } from "../../src/routing/replica-load.ts";
import { createRequestRouter } from "../../src/routing/router-registry.ts";

/** One fleet, one policy, one workload. Times are milliseconds of the simulation's own clock. */
export interface SimulationOptions {
  readonly policy: string;
  readonly kwargs?: Readonly<Record<string, unknown>> | undefined;
  /** Processes that choose, each with its own counts. @default 1 */
  readonly routers?: number | undefined;
  readonly replicas: number;
  /** Requests an engine works on at a time; the others wait in it. @default 8 */
  readonly slots?: number | undefined;
  /** Part of all slots that is busy on average, below 1. @default 0.7 */
  readonly utilisation?: number | undefined;
  /** Milliseconds of work of one request without a cache. @default 1000 */
  readonly workMs?: number | undefined;
  /** Requests in all. @default 20000 */
  readonly requests?: number | undefined;
  /**
   * Milliseconds between two reads of an engine's load by one router; 0: never.
   * @default 10000, as Ray's `request_routing_stats_period_s`
   */
  readonly scrapeMs?: number | undefined;
  /** Different beginnings that prompts share; undefined: every prompt is its own. */
  readonly prefixes?: number | undefined;
  /** Beginnings an engine's cache holds, least recently used out. @default all */
  readonly cachedPrefixes?: number | undefined;
  /** Part of the work that a cached beginning saves, 0 to 1. @default 0.5 */
  readonly saved?: number | undefined;
  /** @default 1 */
  readonly seed?: number | undefined;
  /** Slots of the first engine that somebody else's requests have for good. @default 0 */
  readonly occupied?: number | undefined;
}

/** What came of it, over the second half of the requests: the first half fills the fleet. */
export interface SimulationResult {
  /** Requests on the fullest replica by those on the average one, at each arrival, averaged over time. */
  readonly peakToMean: number;
  /** Requests sent to the replica that got most, by those to the average one. */
  readonly maxToMean: number;
  /** Part of the requests whose beginning was in the cache of their replica. */
  readonly hitShare: number;
  /** The same for one cache without end that all requests went to: no policy can have more. */
  readonly bestHitShare: number;
  /** Requests each replica got, by those the average one got. */
  readonly shares: readonly number[];
  /** Milliseconds requests waited in an engine for a slot: mean and 99th percentile. */
  readonly meanWaitMs: number;
  readonly p99WaitMs: number;
  /** The most requests one replica got between two scrapes, by the average one's: a herd shows here. */
  readonly herd: number;
}

class Engine {
  readonly id: string;
  running = 0;
  readonly waiting: { readonly start: () => void }[] = [];
  readonly cache = new Set<number>();

  constructor(id: string) {
    this.id = id;
  }

  get load(): number {
    return this.running + this.waiting.length;
  }
}

/** A replica as one router sees it: its own requests, and what it last read. */
class View implements ReplicaView {
  readonly id: string;
  inFlight = 0;
  readonly maxOngoingRequests = 1_000_000;
  engineLoad: EngineLoad | undefined;
  readonly multiplexedModelIds: ReadonlySet<string> = new Set();
  readonly labels: Readonly<Record<string, string>> = {};

  constructor(id: string) {
    this.id = id;
  }
}

interface Router {
  readonly policy: RequestRouter;
  readonly views: readonly View[];
}

/**
 * Runs requests that arrive by chance (Poisson) through the real policies over engines that are queues with some slots.
 * Nothing is real but the policies: no sockets, no time, and the same seed gives the same numbers.
 */
export function simulate(options: SimulationOptions): SimulationResult {
  const {
    policy,
    kwargs = {},
    routers: routerCount = 1,
    replicas,
    slots = 8,
    utilisation = 0.7,
    workMs = 1000,
    requests = 20_000,
    scrapeMs = 10_000,
    prefixes,
    cachedPrefixes = Number.POSITIVE_INFINITY,
    saved = 0.5,
    seed = 1,
    occupied = 0,
  } = options;
  const random = seededRandom(seed);
  const events = new EventQueue();
  const engines = Array.from({ length: replicas }, (_, index) => new Engine(`http://10.0.0.${index}:8000`));
  const routers: readonly Router[] = Array.from({ length: routerCount }, () => {
    const views = engines.map(({ id }) => new View(id));
    const made = createRequestRouter(policy, { random: () => random.next(), now: () => events.now, kwargs });
    made.updateReplicas?.(views);
    return { policy: made, views };
  });
  const meanGapMs = workMs / (replicas * slots * utilisation);
  const lasts = requests * 2 * meanGapMs;
  if (scrapeMs > 0) {
    for (const { views } of routers) {
      for (const [index, view] of views.entries()) {
        // As the library scrapes: each replica in a rhythm of its own.
        const scrape = (): void => {
          const { running, waiting } = engines[index]!;
          const report = { running, waiting: waiting.length, kvCacheUsage: 0, atMs: events.now };
          view.engineLoad = { ...report, others: smoothedOthers(report, view.inFlight, view.engineLoad) };
          if (events.now < lasts) events.at(events.now + scrapeMs * (0.8 + 0.15 * random.next()), scrape);
        };
        events.at(scrapeMs * random.next(), scrape);
      }
    }
  }

  engines[0]!.running = occupied;
  const half = requests >> 1;
  const known = new Set<number>();
  let bestHits = 0;
  const sent = new Map(engines.map((engine) => [engine, 0]));
  const window = new Map(engines.map((engine) => [engine, 0]));
  const waits: number[] = [];
  let hits = 0;
  let peaks = 0;
  let herd = 0;
  let windowEnds = 0;
  let windowCount = 0;

  const arrive = (number: number): void => {
    const counted = number >= half;
    const router = routers[Math.floor(random.next() * routerCount)]!;
    // Beginnings are not equally popular: a few are asked for most (Zipf).
    const prefix = prefixes === undefined ? -1 : zipf(prefixes, random.next());
    const text = prefix < 0 ? undefined : `${"p".repeat(40)}${prefix}|`.padEnd(400, String(prefix)) + number;
    const request: PendingRequest = {
      requestId: String(number),
      modelId: "model",
      sessionId: prefix < 0 ? undefined : String(prefix),
      attempt: 0,
      promptText: () => text,
    };
    const chosen = router.policy.chooseReplicas(router.views, request).flat()[0] as View;
    router.policy.onRequestRouted?.(request, chosen.id);
    chosen.inFlight += 1;
    const engine = engines[router.views.indexOf(chosen)]!;
    const isHit = prefix >= 0 && touch(engine.cache, prefix, cachedPrefixes);
    const arrivedMs = events.now;
    const costMs = workMs * (0.5 + random.next()) * (isHit ? 1 - saved : 1);
    const start = (): void => {
      engine.running += 1;
      if (counted) waits.push(events.now - arrivedMs);
      events.at(events.now + costMs, () => {
        engine.running -= 1;
        chosen.inFlight -= 1;
        router.policy.onRequestCompleted?.(request, chosen.id);
        engine.waiting.shift()?.start();
      });
    };
    if (engine.running < slots) start();
    else engine.waiting.push({ start });
    if (counted) {
      if (isHit) hits += 1;
      if (known.has(prefix)) bestHits += 1;
      sent.set(engine, sent.get(engine)! + 1);
      const loads = engines.map(({ load }) => load);
      peaks += Math.max(...loads) / mean(loads);
      if (events.now >= windowEnds) {
        if (windowCount > replicas) herd = Math.max(herd, maxToMean([...window.values()]));
        for (const each of engines) window.set(each, 0);
        windowEnds = events.now + (scrapeMs > 0 ? scrapeMs : 10_000);
        windowCount = 0;
      }
      window.set(engine, window.get(engine)! + 1);
      windowCount += 1;
    }
    if (prefix >= 0) known.add(prefix);
    if (number + 1 < requests) {
      events.at(events.now - meanGapMs * Math.log(1 - random.next()), () => arrive(number + 1));
    }
  };
  events.at(0, () => arrive(0));
  events.run();
  const sorted = waits.sort((a, b) => a - b);
  return {
    peakToMean: peaks / (requests - half),
    maxToMean: maxToMean([...sent.values()]),
    hitShare: hits / (requests - half),
    bestHitShare: bestHits / (requests - half),
    shares: [...sent.values()].map((count) => count / mean([...sent.values()])),
    meanWaitMs: mean(sorted),
    p99WaitMs: sorted[Math.floor(sorted.length * 0.99)]!,
    herd,
  };
}

function touch(cache: Set<number>, prefix: number, capacity: number): boolean {
  const had = cache.delete(prefix);
  cache.add(prefix);
  if (cache.size > capacity) cache.delete(cache.values().next().value!);
  return had;
}

/** A rank from 0 on, the first ones most often: by the inverse of Zipf's law with exponent 1, about. */
function zipf(count: number, draw: number): number {
  return Math.min(count - 1, Math.floor((count + 1) ** draw) - 1);
}

function mean(values: readonly number[]): number {
  let sum = 0;
  for (const value of values) sum += value;
  return values.length === 0 ? 0 : sum / values.length;
}

function maxToMean(values: readonly number[]): number {
  return Math.max(...values) / mean(values);
}

/** What is to happen, soonest first: a binary heap. */
class EventQueue {
  now = 0;
  readonly #heap: { readonly at: number; readonly order: number; readonly run: () => void }[] = [];
  #order = 0;

  at(at: number, run: () => void): void {
    const heap = this.#heap;
    const event = { at, order: this.#order++, run };
    let index = heap.push(event) - 1;
    while (index > 0) {
      const parent = (index - 1) >> 1;
      if (!before(event, heap[parent]!)) break;
      heap[index] = heap[parent]!;
      index = parent;
    }
    heap[index] = event;
  }

  run(): void {
    for (;;) {
      const first = this.#heap[0];
      if (first === undefined) return;
      const last = this.#heap.pop()!;
      if (this.#heap.length > 0) this.#sink(last);
      this.now = first.at;
      first.run();
    }
  }

  #sink(event: { readonly at: number; readonly order: number; readonly run: () => void }): void {
    const heap = this.#heap;
    let index = 0;
    for (;;) {
      let child = 2 * index + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && before(heap[child + 1]!, heap[child]!)) child += 1;
      if (!before(heap[child]!, event)) break;
      heap[index] = heap[child]!;
      index = child;
    }
    heap[index] = event;
  }
}

function before(
  one: { readonly at: number; readonly order: number },
  other: { readonly at: number; readonly order: number },
): boolean {
  return one.at < other.at || (one.at === other.at && one.order < other.order);
}
