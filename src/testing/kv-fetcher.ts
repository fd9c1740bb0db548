import type { Clock } from "../internal/clock.ts";
import { claimOf, type KvParams } from "./kv-params.ts";
import type { ConnectorRules } from "./mock-connectors.ts";
import { SideChannelClient, type PullRefusal } from "./side-channel.ts";

/** How a decode engine gets KV from other engines: at once by a handle, or when it is there by a name both legs know. */
export class KvFetcher {
  readonly #rules: ConnectorRules;
  readonly #clock: Clock;
  readonly #patienceMs: number;
  readonly #sideChannel = new SideChannelClient();

  /** @param patienceMs how long a decode waits for its prefill, where it may come first */
  constructor(rules: ConnectorRules, clock: Clock, patienceMs: number) {
    this.#rules = rules;
    this.#clock = clock;
    this.#patienceMs = patienceMs;
  }

  /**
   * Fetches KV. Calls `onDone` once: undefined when it was had.
   *
   * @returns how to stop waiting for it; `onDone` is then not called any more
   */
  fetch(kv: KvParams, fingerprint: string, onDone: (refusal: PullRefusal | undefined) => void): () => void {
    const rules = this.#rules;
    let over = false;
    const finish = (refusal: PullRefusal | undefined): void => {
      timer?.cancel();
      if (!over) onDone(refusal);
      over = true;
    };
    const giveUp = (): void => {
      if (!over && rules.waits) this.release(kv);
      timer?.cancel();
      over = true;
    };
    const timer = rules.waits
      ? this.#clock.setTimer(() => {
          this.release(kv);
          finish("expired");
        }, this.#patienceMs)
      : undefined;
    rules.locate(kv, (place) => {
      if (place === undefined) finish("unreachable");
      else if (place.engineId !== undefined && place.engineId !== kv.engineId) finish("wrong_engine");
      else if (!over) {
        const claim = { ...claimOf(kv, fingerprint), requestId: rules.key(kv) };
        if (rules.waits) this.#sideChannel.pullWhenPinned(place.host, place.port, claim, finish);
        else this.#sideChannel.pull(place.host, place.port, claim, finish);
      }
    });
    return giveUp;
  }

  /** This KV will not be fetched: its blocks can be freed at once. */
  release(kv: KvParams): void {
    const key = this.#rules.key(kv);
    if (key === undefined) return;
    this.#rules.locate(kv, (place) => {
      if (place !== undefined) this.#sideChannel.release(place.host, place.port, key);
    });
  }

  /** The request waits in the queue: its KV must not expire meanwhile. */
  heartbeat(kv: KvParams): void {
    const key = this.#rules.key(kv);
    if (this.#rules.handle !== "nixl" || key === undefined) return;
    this.#sideChannel.heartbeat(kv.host ?? "", kv.port ?? 0, key);
  }

  /** Drops every connection; fetches in progress end as `unreachable`. */
  close(): void {
    this.#sideChannel.close();
  }
}
