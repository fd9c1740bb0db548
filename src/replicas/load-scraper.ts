import type { CancelToken } from "../internal/cancel-token.ts";
import type { Clock } from "../internal/clock.ts";
import type { Random } from "../internal/random.ts";
import { engineLoadFromMetrics, parsePrometheusText } from "../protocol/prometheus-text.ts";
import { smoothedOthers } from "../routing/replica-load.ts";
import { engineGet } from "./engine-get.ts";
import { ranksByServer } from "./rank-groups.ts";
import { ReplicaRounds } from "./replica-rounds.ts";
import type { Replica } from "./replica.ts";

/** What a {@link LoadScraper} is made from. */
export interface LoadScraperInit {
  readonly clock: Clock;
  readonly random: Random;
  /** Ray's `requestRoutingStatsPeriodS`, seconds between two scrapes of one replica at most. */
  readonly requestRoutingStatsPeriodS: number;
  /** Ray's `requestRoutingStatsTimeoutS`, seconds one scrape may take. */
  readonly requestRoutingStatsTimeoutS: number;
  readonly warn: (message: string) => void;
}

/** Always a little before the period is over, so that one report does not age out before the next comes. */
const scrapeJitter = [0.8, 0.95] as const;
const scrapesAtOnce = 16;

/**
 * Reads `/metrics` of every replica of a deployment and keeps what a router asks for as `replica.engineLoad`. When a
 * scrape fails the last report stays, with its time, and routers stop believing it when it is old.
 *
 * Mirrors Ray's `record_routing_stats`, which asks the replica itself.
 */
export class LoadScraper {
  readonly #init: LoadScraperInit;
  readonly #rounds: ReplicaRounds;
  readonly #warned = new WeakSet<Replica>();
  #ranks: ReadonlyMap<Replica, readonly Replica[]> = new Map();

  constructor(init: LoadScraperInit) {
    this.#init = init;
    this.#rounds = new ReplicaRounds({
      clock: init.clock,
      random: init.random,
      periodMs: init.requestRoutingStatsPeriodS * 1000,
      jitter: scrapeJitter,
      first: "now",
      concurrency: scrapesAtOnce,
      visit: (replica, cancel) => this.#scrape(replica, cancel),
      warn: init.warn,
    });
  }

  /** Scrapes these replicas from now on, the new ones at once, and no others. Ranks behind one URL have one page. */
  sync(replicas: readonly Replica[]): void {
    this.#ranks = ranksByServer(replicas);
    this.#rounds.sync([...this.#ranks.keys()]);
  }

  /** Scrapes every replica now; a scrape that is under way is waited for instead. */
  scrapeNow(): Promise<void> {
    return this.#rounds.visitNow();
  }

  /** Stops at once; resolves when nothing is left of it. */
  stop(): Promise<void> {
    return this.#rounds.stop();
  }

  async #scrape(replica: Replica, cancel: CancelToken): Promise<void> {
    const { clock, requestRoutingStatsTimeoutS } = this.#init;
    let response;
    try {
      const timeoutMs = requestRoutingStatsTimeoutS * 1000;
      const timeoutOption = "requestRoutingStatsTimeoutS";
      response = await engineGet(replica, "/metrics", { clock, cancel, timeoutMs, timeoutOption });
    } catch {
      // An engine that can't be reached is the health checks' business.
      return;
    }
    const samples = response.status === 200 ? parsePrometheusText(response.body.toString()) : [];
    let reported = false;
    for (const rank of this.#ranks.get(replica) ?? [replica]) {
      const gauges = engineLoadFromMetrics(samples, rank.place);
      if (gauges === undefined) continue;
      const report = { ...gauges, atMs: clock.now() };
      rank.engineLoad = { ...report, others: smoothedOthers(report, rank.inFlight, rank.engineLoad) };
      reported = true;
    }
    if (reported) return;
    if (response.status < 500 && !this.#warned.has(replica)) {
      this.#warned.add(replica);
      this.#init.warn(
        `${replica.fullName} does not report vLLM's load at /metrics (status ${response.status}); it is routed to by this process's own counts.`,
      );
    }
  }
}
