import { CancelToken } from "../internal/cancel-token.ts";
import type { Clock } from "../internal/clock.ts";
import type { EngineMetricsPage } from "../protocol/merge-metrics.ts";
import { engineGet } from "./engine-get.ts";
import type { Replica } from "./replica.ts";

/** Milliseconds one engine may take: well inside the 10 s that Prometheus gives a scrape by default. */
const timeoutMs = 2_000;
/** Milliseconds for which an answer is good enough for the next one who asks. */
const cachedMs = 1_000;
const enginesAtOnce = 16;
/** A page with thousands of adapters has a few hundred kilobytes. */
const maxPageBytes = 4 * 1024 * 1024;

/** Reads the metrics pages of a deployment's engines, when somebody asks, and never more than once a second. */
export class EngineMetricsReader {
  readonly #replicas: () => readonly Replica[];
  readonly #name: string;
  readonly #clock: Clock;
  #pages: Promise<readonly EngineMetricsPage[]> | undefined;
  #readAt = 0;

  constructor(replicas: () => readonly Replica[], context: { readonly name: string; readonly clock: Clock }) {
    this.#replicas = replicas;
    this.#name = context.name;
    this.#clock = context.clock;
  }

  /** One page for each replica, without text where the engine did not answer in time. Never rejects. */
  pages(): Promise<readonly EngineMetricsPage[]> {
    const now = this.#clock.now();
    if (this.#pages === undefined || now - this.#readAt >= cachedMs) {
      this.#readAt = now;
      this.#pages = this.#read();
    }
    return this.#pages;
  }

  async #read(): Promise<readonly EngineMetricsPage[]> {
    const replicas = this.#replicas();
    const pages: EngineMetricsPage[] = [];
    let next = 0;
    const worker = async (): Promise<void> => {
      while (next < replicas.length) {
        const index = next;
        next += 1;
        pages[index] = await this.#readOne(replicas[index]!);
      }
    };
    await Promise.all(Array.from({ length: Math.min(enginesAtOnce, replicas.length) }, worker));
    return pages;
  }

  async #readOne(replica: Replica): Promise<EngineMetricsPage> {
    const labels = { deployment: this.#name, replica: replica.id };
    const cancel = new CancelToken();
    try {
      const { status, body } = await engineGet(replica, "/metrics", {
        clock: this.#clock,
        cancel,
        timeoutMs,
        timeoutOption: "engine metrics",
      });
      const good = status === 200 && body.byteLength <= maxPageBytes;
      return { labels, text: good ? body.toString() : undefined };
    } catch {
      // `serve_llm_engine_metrics_up` says so.
      return { labels, text: undefined };
    } finally {
      cancel.end();
    }
  }
}
