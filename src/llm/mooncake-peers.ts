import type { ClientConfig } from "../config/client-config.ts";
import { EngineResponseError } from "../errors/engine-response-error.ts";
import type { CancelToken } from "../internal/cancel-token.ts";
import type { Clock } from "../internal/clock.ts";
import type { PeerMetadata } from "../kv-transfer/kv-connector.ts";
import { asJsonObject, parseEngineJson } from "../protocol/engine-json.ts";
import { callBuffered } from "../replicas/buffered-call.ts";
import { EndpointClient } from "../replicas/endpoint-client.ts";
import type { Replica } from "../replicas/replica.ts";
import type { PeerBinding, PeerDirectory } from "./peer-directory.ts";

/** vLLM's `VLLM_MOONCAKE_BOOTSTRAP_PORT`, unless an endpoint says otherwise. */
const defaultBootstrapPort = 8998;
const maxAnswerBytes = 1024 * 1024;

/** What one bootstrap server told: engine ids by data-parallel rank. */
interface Bootstrap {
  readonly address: string;
  readonly engines: ReadonlyMap<number, string>;
}

/**
 * Asks each prefill engine's Mooncake bootstrap server (`GET /query`) who it is, once until something about it fails:
 * the engine id changes with every restart. The server is found by the endpoint's `kvMetadata.bootstrap_addr`; by
 * default it is port 8998 of the endpoint's host.
 */
export class MooncakePeers implements PeerDirectory {
  readonly #client: ClientConfig;
  readonly #clock: Clock;
  readonly #known = new Map<Replica, Promise<Bootstrap>>();
  #turn = 0;

  constructor(client: ClientConfig, clock: Clock) {
    // The bootstrap server is not the API server: it gets no credentials.
    this.#client = { ...client, apiKey: undefined, headers: undefined };
    this.#clock = clock;
  }

  async bind(prefill: Replica, _decode: Replica, cancel: CancelToken): Promise<PeerBinding> {
    let asked = this.#known.get(prefill);
    if (asked === undefined) {
      asked = this.#ask(prefill);
      this.#known.set(prefill, asked);
      asked.catch(() => this.forget(prefill));
      for (const replica of this.#known.keys()) if (replica.draining) this.#known.delete(replica);
    }
    const bootstrap = await orCancelled(asked, cancel);
    return { prefill: this.#metadata(prefill, bootstrap), decode: undefined };
  }

  forget(prefill: Replica): void {
    this.#known.delete(prefill);
  }

  #metadata(replica: Replica, { address, engines }: Bootstrap): PeerMetadata {
    const own =
      engines.get(replica.rank ?? Number.NaN) ?? engines.get(replica.place?.localRank ?? Number.NaN);
    if (own !== undefined) return { bootstrap_addr: address, engine_id: own };
    if (replica.place !== undefined && engines.size > 1) throw silent(replica, 502);
    const ranks = [...engines.keys()];
    const rank = ranks[this.#turn++ % ranks.length]!;
    const metadata = { bootstrap_addr: address, engine_id: engines.get(rank)! };
    // Both legs must mean the same rank; without a choice the engine need not be told.
    return ranks.length > 1 ? { ...metadata, dp_rank: rank } : metadata;
  }

  async #ask(replica: Replica): Promise<Bootstrap> {
    const address = bootstrapAddress(replica);
    const client = new EndpointClient({ url: address }, this.#client, replica.fullName);
    try {
      const { status, body } = await callBuffered(
        client,
        { method: "GET", path: "/query", headers: [], phase: "prefill" },
        {
          clock: this.#clock,
          cancel: undefined,
          replica: replica.fullName,
          timeoutMs: this.#client.connectTimeoutMs,
          timeoutOption: "connectTimeoutMs",
          maxBytes: maxAnswerBytes,
        },
      );
      const engines = status === 200 ? readEngines(body.toString()) : new Map<number, string>();
      if (engines.size > 0) {
        const [first] = engines.values();
        // Says whether it was restarted.
        if (engines.size === 1) replica.engineId = first;
        return { address, engines };
      }
      throw silent(replica, status === 200 ? 502 : Math.max(status, 500));
    } finally {
      await client.close();
    }
  }
}

function silent(replica: Replica, status: number): EngineResponseError {
  return new EngineResponseError({ phase: "prefill", replica: replica.fullName }, status, {
    message: "The prefill engine's Mooncake bootstrap server does not tell its engine id.",
    type: "engine_error",
    param: null,
    code: null,
  });
}

function bootstrapAddress({ endpoint }: Replica): string {
  const configured = endpoint.kvMetadata?.["bootstrap_addr"];
  if (typeof configured === "string" && configured !== "") return configured.replace(/\/+$/, "");
  return `http://${new URL(endpoint.url).hostname}:${defaultBootstrapPort}`;
}

/** Reads `{"0":{"engine_id":"...","worker_addr":{...}}}`; ranks without an id are passed over. */
function readEngines(text: string): ReadonlyMap<number, string> {
  const engines = new Map<number, string>();
  let answer: Readonly<Record<string, unknown>> | undefined;
  try {
    answer = asJsonObject(parseEngineJson(text));
  } catch {
    return engines;
  }
  for (const [rank, engine] of Object.entries(answer ?? {})) {
    const id = asJsonObject(engine)?.["engine_id"];
    if (/^\d+$/.test(rank) && typeof id === "string" && id !== "") engines.set(Number(rank), id);
  }
  return engines;
}

/** Somebody else may wait for the same answer: a request that is cancelled only stops waiting. */
function orCancelled<Value>(promise: Promise<Value>, cancel: CancelToken): Promise<Value> {
  return new Promise((resolve, reject) => {
    const stop = cancel.onCancel(reject);
    promise.then(
      (value) => {
        stop();
        resolve(value);
      },
      (error: unknown) => {
        stop();
        reject(error);
      },
    );
  });
}
