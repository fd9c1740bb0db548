import type { Discovery, DiscoveryContext, Endpoint } from "../config/endpoint.ts";
import { FakeClock } from "../testing/fake-clock.ts";

/** A discovery under observation: what it yields, warns of, and how it ends. */
export class DiscoveryProbe {
  readonly clock = new FakeClock();
  readonly warnings: string[] = [];
  readonly snapshots: (readonly Endpoint[])[] = [];
  /** Settles when the discovery has ended; rejects with its error. */
  readonly ended: Promise<void>;
  readonly #stop = new AbortController();
  readonly #waiting = new Set<() => void>();

  constructor(discovery: Discovery) {
    const context: DiscoveryContext = {
      deployment: "D",
      clock: this.clock,
      random: { next: () => 0.5, id: () => "0".repeat(32) },
      warn: (message) => {
        this.warnings.push(message);
        this.#notify();
      },
    };
    this.ended = this.#read(discovery(this.#stop.signal, context));
    this.ended.catch(() => undefined);
  }

  /** URLs of the last snapshot. */
  get urls(): readonly string[] {
    return (this.snapshots.at(-1) ?? []).map(({ url }) => url);
  }

  /** Resolves when so many snapshots came; rejects when the discovery fails first. */
  async untilSnapshots(count: number): Promise<void> {
    await Promise.race([this.#until(() => this.snapshots.length >= count), this.ended]);
  }

  /** Resolves when so many warnings came. */
  async untilWarnings(count: number): Promise<void> {
    await this.#until(() => this.warnings.length >= count);
  }

  /** Stops it and waits until it is over. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await this.ended;
  }

  async #read(snapshots: AsyncIterable<readonly Endpoint[]>): Promise<void> {
    for await (const snapshot of snapshots) {
      this.snapshots.push(snapshot);
      this.#notify();
    }
  }

  async #until(holds: () => boolean): Promise<void> {
    while (!holds()) await new Promise<void>((resolve) => this.#waiting.add(resolve));
  }

  #notify(): void {
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const wake of waiting) wake();
  }
}
