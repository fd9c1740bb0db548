import PQueue from "p-queue";
import type { LLMConfig } from "../config/llm-config.ts";
import { RequestCancelledError } from "../errors/request-cancelled-error.ts";
import { CancelToken } from "../internal/cancel-token.ts";
import type { Clock, Timer } from "../internal/clock.ts";
import type { Random } from "../internal/random.ts";
import type { KvConnector } from "../kv-transfer/kv-connector.ts";
import type { Replica } from "../replicas/replica.ts";
import type { EnginePool } from "../serve/engine-pool.ts";
import type { PeerDirectory } from "./peer-directory.ts";
import { warmPair } from "./prewarm-pair.ts";

/** Ray's: seconds between two attempts at a pair, and how many there are. */
const retryMs = 5_000;
const maxAttempts = 60;
const pairsAtOnce = 8;

/** What {@link Prewarm} is made from. */
export interface PrewarmInit {
  readonly prefill: EnginePool;
  readonly decode: EnginePool;
  readonly config: LLMConfig;
  readonly connector: KvConnector;
  readonly peers: PeerDirectory | undefined;
  readonly clock: Clock;
  readonly random: Random;
  readonly warn: (message: string) => void;
}

/** How far one pair has come. */
interface Pair {
  readonly prefill: Replica;
  readonly decode: Replica;
  attempts: number;
  /** Settles after the first attempt; why it failed, if it failed. */
  readonly first: Promise<string | undefined>;
  /** Waits for the next attempt. */
  timer: Timer | undefined;
}

/**
 * Sends one tiny request through every new pair of a prefill and a decode engine before the newcomer gets requests, so
 * that no client waits while the two shake hands for the first time, which takes vLLM's connectors seconds. Mirrors
 * Ray's `_prewarm_prefill_decode`; Ray warms at the start only, here a pool that grows and an engine that was
 * restarted are warmed, too.
 *
 * A new replica waits for the first attempt at each of its pairs. What fails then is warned of and tried again in the
 * background, every 5 seconds, 60 times in all (Ray's numbers; Ray then fails the start). These requests take no
 * slot and count nowhere.
 */
export class Prewarm {
  readonly #init: PrewarmInit;
  readonly #queue = new PQueue({ concurrency: pairsAtOnce });
  /** By prefill, then by decode. */
  readonly #pairs = new Map<Replica, Map<Replica, Pair>>();
  readonly #stop = new CancelToken();

  constructor(init: PrewarmInit) {
    this.#init = init;
    const { prefill, decode } = init;
    prefill.gate = (replica, cancel) => this.#admit(replica, this.#pairsOf(replica, "prefill"), cancel);
    decode.gate = (replica, cancel) => this.#admit(replica, this.#pairsOf(replica, "decode"), cancel);
    prefill.onRestarted = (replica) => this.#again(replica);
  }

  /** Stops at once; resolves when nothing is left of it. */
  async stop(): Promise<void> {
    this.#stop.cancel(new RequestCancelledError("the application is shutting down"));
    for (const pair of this.#all()) this.#forget(pair);
    await this.#queue.onIdle();
  }

  async #admit(replica: Replica, pairs: readonly Pair[], cancel: CancelToken): Promise<void> {
    const gone = new Promise<undefined>((resolve) => {
      cancel.onCancel(() => resolve(undefined));
    });
    const outcomes = await Promise.race([Promise.all(pairs.map(({ first }) => first)), gone]);
    const failures = outcomes?.filter((failure) => failure !== undefined) ?? [];
    if (failures.length === 0 || this.#stop.cancelled) return;
    this.#init.warn(
      `Pre-warming ${replica.fullName} failed with ${failures.length} of ${pairs.length} engines and goes on in the ` +
        `background; the first failure: ${failures[0]}`,
    );
  }

  /** The pairs of a newcomer with all that are there, known or begun now. */
  #pairsOf(replica: Replica, side: "prefill" | "decode"): readonly Pair[] {
    for (const pair of this.#all()) if (pair.prefill.draining || pair.decode.draining) this.#forget(pair);
    const others = this.#init[side === "prefill" ? "decode" : "prefill"].replicas.replicas;
    return others.map((other) =>
      side === "prefill" ? this.#pair(replica, other) : this.#pair(other, replica),
    );
  }

  #pair(prefill: Replica, decode: Replica): Pair {
    const ofPrefill = this.#pairs.get(prefill) ?? new Map<Replica, Pair>();
    const known = ofPrefill.get(decode);
    if (known !== undefined) return known;
    let settle: (failure: string | undefined) => void = () => undefined;
    const first = new Promise<string | undefined>((resolve) => {
      settle = resolve;
    });
    const pair: Pair = { prefill, decode, attempts: 0, first, timer: undefined };
    this.#pairs.set(prefill, ofPrefill.set(decode, pair));
    this.#attempt(pair, settle);
    return pair;
  }

  /** A restarted engine knows nobody any more. */
  #again(replica: Replica): void {
    // A copy: new pairs take the places of old ones meanwhile.
    const known = Array.from(this.#pairs.get(replica)?.values() ?? []);
    for (const pair of known) {
      this.#forget(pair);
      this.#pair(replica, pair.decode);
    }
  }

  #attempt(pair: Pair, onSettled: (failure: string | undefined) => void): void {
    void this.#queue.add(async () => {
      if (!this.#isWanted(pair)) return onSettled(undefined);
      pair.attempts += 1;
      try {
        await warmPair(pair.prefill, pair.decode, { ...this.#init, cancel: this.#stop });
        onSettled(undefined);
      } catch (error) {
        if (this.#isWanted(pair)) this.#later(pair, error);
        onSettled(String(error));
      }
    });
  }

  #later(pair: Pair, error: unknown): void {
    const { clock, warn } = this.#init;
    if (pair.attempts < maxAttempts) {
      pair.timer = clock.setTimer(() => this.#attempt(pair, () => undefined), retryMs);
      return;
    }
    warn(
      `Pre-warming ${pair.prefill.fullName} with ${pair.decode.fullName} failed ${maxAttempts} times and is given up; ` +
        `their first request will wait for their handshake. The last failure: ${String(error)}`,
    );
  }

  #isWanted(pair: Pair): boolean {
    const { prefill, decode } = pair;
    const known = this.#pairs.get(prefill)?.get(decode) === pair;
    return known && !this.#stop.cancelled && !prefill.draining && !decode.draining;
  }

  #all(): readonly Pair[] {
    return [...this.#pairs.values()].flatMap((ofPrefill) => [...ofPrefill.values()]);
  }

  #forget({ prefill, decode, timer }: Pair): void {
    timer?.cancel();
    const ofPrefill = this.#pairs.get(prefill);
    ofPrefill?.delete(decode);
    if (ofPrefill?.size === 0) this.#pairs.delete(prefill);
  }
}
