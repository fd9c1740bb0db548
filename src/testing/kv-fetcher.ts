import type { Clock } from "../internal/clock.ts";
import { claimOf, type KvParams } from "./kv-params.ts";
import { queryBootstrap } from "./mooncake-bootstrap.ts";
import { SideChannelClient, type PullRefusal } from "./side-channel.ts";

/** KV connectors the mock engine has. `null`: none. */
export type MockKvConnector = "NixlConnector" | "MooncakeConnector" | null;

/** How a decode engine gets KV from other engines: by the handle (Nixl), or by a transfer id (Mooncake). */
export class KvFetcher {
  readonly #connector: MockKvConnector;
  readonly #clock: Clock;
  readonly #patienceMs: number;
  readonly #sideChannel = new SideChannelClient();

  /** @param patienceMs how long a Mooncake decode waits for its prefill */
  constructor(connector: MockKvConnector, clock: Clock, patienceMs: number) {
    this.#connector = connector;
    this.#clock = clock;
    this.#patienceMs = patienceMs;
  }

  /**
   * Fetches KV. Calls `onDone` once: undefined when it was had.
   *
   * @returns how to stop waiting for it; `onDone` is then not called any more
   */
  fetch(kv: KvParams, fingerprint: string, onDone: (refusal: PullRefusal | undefined) => void): () => void {
    let over = false;
    const finish = (refusal: PullRefusal | undefined): void => {
      timer?.cancel();
      if (!over) onDone(refusal);
      over = true;
    };
    const isMooncake = this.#connector === "MooncakeConnector";
    const giveUp = (): void => {
      if (!over && isMooncake) this.release(kv);
      timer?.cancel();
      over = true;
    };
    const timer = isMooncake
      ? this.#clock.setTimer(() => {
          this.release(kv);
          finish("expired");
        }, this.#patienceMs)
      : undefined;
    if (!isMooncake) {
      this.#sideChannel.pull(kv.host ?? "", kv.port ?? 0, claimOf(kv, fingerprint), finish);
      return giveUp;
    }
    queryBootstrap(kv.bootstrapAddress ?? "", (worker) => {
      if (worker === undefined) finish("unreachable");
      else if (worker.engineId !== kv.engineId) finish("wrong_engine");
      else if (!over) {
        const claim = { ...claimOf(kv, fingerprint), requestId: kv.transferId };
        this.#sideChannel.pullWhenPinned(worker.host, worker.port, claim, finish);
      }
    });
    return giveUp;
  }

  /** This KV will not be fetched: its blocks can be freed at once. */
  release(kv: KvParams): void {
    if (this.#connector === "MooncakeConnector") {
      queryBootstrap(kv.bootstrapAddress ?? "", (worker) => {
        if (worker !== undefined) this.#sideChannel.release(worker.host, worker.port, kv.transferId ?? "");
      });
    } else if (kv.requestId !== undefined) {
      this.#sideChannel.release(kv.host ?? "", kv.port ?? 0, kv.requestId);
    }
  }

  /** The request waits in the queue: its KV must not expire meanwhile. */
  heartbeat(kv: KvParams): void {
    if (this.#connector === "NixlConnector" && kv.requestId !== undefined) {
      this.#sideChannel.heartbeat(kv.host ?? "", kv.port ?? 0, kv.requestId);
    }
  }

  /** Drops every connection; fetches in progress end as `unreachable`. */
  close(): void {
    this.#sideChannel.close();
  }
}
