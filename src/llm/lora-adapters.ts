import PQueue from "p-queue";
import type { ClientConfig } from "../config/client-config.ts";
import type { LLMConfig } from "../config/llm-config.ts";
import { adapterFolder } from "../config/model-card.ts";
import { EngineResponseError } from "../errors/engine-response-error.ts";
import { RequestCancelledError } from "../errors/request-cancelled-error.ts";
import { RequestError } from "../errors/request-error.ts";
import { CancelToken } from "../internal/cancel-token.ts";
import type { Clock } from "../internal/clock.ts";
import type { Replica, ReplicaLease } from "../replicas/replica.ts";
import { adapterIdOf } from "./adapter-id.ts";
import { type AdapterLoaderInit, loadAdapter, unloadAdapter } from "./adapter-loader.ts";

/** What {@link LoraAdapters} is made from. */
export interface LoraAdaptersInit {
  readonly config: LLMConfig;
  readonly clock: Clock;
  /** The replicas as they are now. */
  readonly replicas: () => readonly Replica[];
}

/** One engine's adapters that were loaded from here, the longest unused first. */
interface EngineAdapters {
  /** Requests that use each of them now. */
  readonly uses: Map<string, number>;
  readonly loading: Map<string, Promise<void>>;
  /** One change at a time. */
  readonly queue: PQueue;
  /** Called when an adapter is not used any more. */
  onIdle: (() => void)[];
}

/**
 * Loads LoRA adapters on the engines of one deployment when requests name them, and unloads those longest unused.
 * Mirrors Ray's `serve.multiplexed` around vLLM's adapter manager; unlike Ray it tells the engine to unload.
 *
 * An adapter in use is never unloaded. Ranks behind one URL share their engine's adapters.
 */
export class LoraAdapters {
  readonly #init: LoraAdaptersInit;
  readonly #engines = new Map<string, EngineAdapters>();
  readonly #stop = new CancelToken();

  constructor(init: LoraAdaptersInit) {
    this.#init = init;
  }

  /** The adapter a request names; undefined for the model itself. */
  idOf(request: { readonly modelId: string }): string | undefined {
    return adapterIdOf(request.modelId, this.#init.config.modelId);
  }

  /** Full ids of the adapters that some engine has now, in order. */
  get ids(): readonly string[] {
    const { config, replicas } = this.#init;
    const all = replicas().flatMap((replica) => [...replica.multiplexedModelIds]);
    return [...new Set(all)].filter((id) => adapterIdOf(id, config.modelId) !== undefined).toSorted();
  }

  /** True when adapters can be loaded. Without it only engines that have one already can serve it. */
  get canLoad(): boolean {
    return this.#init.config.loraConfig !== undefined && this.#place !== undefined;
  }

  /** True when an engine here has the adapter, or could load it. */
  canServe(adapterId: string): boolean {
    if (this.canLoad) return true;
    // Engines that did not say yet what they serve may turn out to have it.
    return this.#init
      .replicas()
      .some((replica) => replica.servedModels === undefined || replica.multiplexedModelIds.has(adapterId));
  }

  /** The adapter that a replica must have to be chosen; undefined when any can be made to have it. */
  required(adapterId: string | undefined): string | undefined {
    return this.canLoad ? undefined : adapterId;
  }

  /**
   * Refuses an adapter that no engine has and that can't be loaded, and a name that would lead out of the folder that
   * adapters lie in.
   *
   * @throws RequestError 404, in Ray's words where the configuration is what is missing
   */
  requireServable(adapterId: string | undefined): void {
    if (adapterId === undefined) return;
    const { config } = this.#init;
    if (!isPathWithin(adapterId.slice(config.modelId.length + 1))) {
      throw unknownAdapter(adapterId, "An adapter's name is a path without empty, `.` or `..` parts.");
    }
    if (this.canServe(adapterId)) return;
    throw unknownAdapter(
      adapterId,
      config.loraConfig === undefined
        ? "Must setup lora config for multiplexed requests."
        : "dynamic_lora_loading_path is not set, so that adapters can't be loaded.",
    );
  }

  /**
   * Sees to it that the lease's replica has the adapter and keeps it until the lease is released. Undefined when there
   * is nothing to wait for.
   *
   * @throws EngineError when it can't be loaded; RequestError when there is no such adapter; or the token's error
   */
  prepare(
    lease: ReplicaLease,
    adapterId: string | undefined,
    cancel: CancelToken,
  ): Promise<void> | undefined {
    if (adapterId === undefined) return undefined;
    const engine = this.#engineOf(lease.replica);
    if (lease.replica.multiplexedModelIds.has(adapterId)) {
      this.#use(engine, adapterId, lease);
      return undefined;
    }
    // The engine may have been started with it; it knows better than we do.
    if (!this.canLoad) return undefined;
    return this.#load(engine, adapterId, lease, cancel);
  }

  /** The engine was restarted: it has none any more. */
  forget(replica: Replica): void {
    const engine = this.#engines.get(replica.endpoint.url);
    engine?.uses.clear();
    if (engine !== undefined) wakeAll(engine);
    for (const rank of this.#ranksOf(replica)) rank.multiplexedModelIds = new Set();
  }

  /**
   * Takes note of an engine that does not know an adapter it was thought to have, because it was restarted.
   *
   * @returns true when the request is worth another try
   */
  forgetMissing(replica: Replica, adapterId: string | undefined, error: unknown): boolean {
    if (adapterId === undefined || !this.canLoad || !replica.multiplexedModelIds.has(adapterId)) return false;
    if (!(error instanceof EngineResponseError) || error.engineStatus !== 404) return false;
    const engine = this.#engineOf(replica);
    engine.uses.delete(adapterId);
    this.#publish(replica, adapterId, false);
    wakeAll(engine);
    return true;
  }

  /** Ends what is being loaded. */
  stop(): void {
    this.#stop.cancel(new RequestCancelledError("its deployment is shutting down"));
  }

  async #load(
    engine: EngineAdapters,
    adapterId: string,
    lease: ReplicaLease,
    cancel: CancelToken,
  ): Promise<void> {
    const { replica } = lease;
    do {
      let loading = engine.loading.get(adapterId);
      if (loading === undefined) {
        loading = engine.queue
          .add(() => this.#loadNow(engine, replica, adapterId))
          .finally(() => engine.loading.delete(adapterId));
        // Everybody who waits may have left.
        loading.catch(() => undefined);
        engine.loading.set(adapterId, loading);
      }
      await orCancelled(loading, cancel);
      // It may have been unloaded again for the next one in the queue before this request could claim it.
    } while (!replica.multiplexedModelIds.has(adapterId));
    this.#use(engine, adapterId, lease);
  }

  async #loadNow(engine: EngineAdapters, replica: Replica, adapterId: string): Promise<void> {
    const { config } = this.#init;
    const { loraConfig } = config;
    if (loraConfig === undefined) return;
    const init: AdapterLoaderInit = { limits: loraConfig, clock: this.#init.clock, cancel: this.#stop };
    const path = await this.#pathOf(adapterId);
    while (engine.uses.size >= loraConfig.maxNumAdaptersPerReplica)
      await this.#unloadOne(engine, replica, init);
    await loadAdapter(replica, { name: adapterId, path }, init);
    engine.uses.set(adapterId, 0);
    this.#publish(replica, adapterId, true);
  }

  async #pathOf(adapterId: string): Promise<string> {
    const place = this.#place ?? "";
    return typeof place === "string" ? adapterFolder(place, adapterId) : place(adapterId);
  }

  /** The folder of all adapters, or a function that tells where one is. */
  get #place(): ClientConfig["loraAdapterPath"] {
    const { client, loraConfig } = this.#init.config;
    return client.loraAdapterPath ?? loraConfig?.dynamicLoraLoadingPath;
  }

  /** Unloads the one longest unused; waits for one to become idle when all are in use. */
  async #unloadOne(engine: EngineAdapters, replica: Replica, init: AdapterLoaderInit): Promise<void> {
    for (const [adapterId, uses] of engine.uses) {
      if (uses > 0) continue;
      // Routers must not send anybody there any more while it goes.
      this.#publish(replica, adapterId, false);
      engine.uses.delete(adapterId);
      await unloadAdapter(replica, adapterId, init);
      return;
    }
    await new Promise<void>((resolve, reject) => {
      const stopListening = this.#stop.onCancel(reject);
      engine.onIdle.push(() => {
        stopListening();
        resolve();
      });
    });
  }

  #use(engine: EngineAdapters, adapterId: string, lease: ReplicaLease): void {
    const uses = engine.uses.get(adapterId);
    // Loaded by somebody else, who also unloads it; or unloaded since.
    if (uses === undefined || lease.released) return;
    engine.uses.delete(adapterId);
    engine.uses.set(adapterId, uses + 1);
    const before = lease.onReleased;
    lease.onReleased = () => {
      before?.();
      this.#unuse(engine, adapterId);
    };
  }

  #unuse(engine: EngineAdapters, adapterId: string): void {
    const uses = engine.uses.get(adapterId);
    if (uses === undefined || uses === 0) return;
    engine.uses.set(adapterId, uses - 1);
    if (uses === 1) wakeAll(engine);
  }

  #publish(replica: Replica, adapterId: string, loaded: boolean): void {
    for (const rank of this.#ranksOf(replica)) {
      const ids = new Set(rank.multiplexedModelIds);
      if (loaded) ids.add(adapterId);
      else ids.delete(adapterId);
      rank.multiplexedModelIds = ids;
    }
  }

  #ranksOf({ endpoint }: Replica): readonly Replica[] {
    return this.#init.replicas().filter((other) => other.endpoint.url === endpoint.url);
  }

  #engineOf({ endpoint }: Replica): EngineAdapters {
    const known = this.#engines.get(endpoint.url);
    if (known !== undefined) return known;
    const urls = new Set(this.#init.replicas().map((replica) => replica.endpoint.url));
    for (const url of this.#engines.keys()) if (!urls.has(url)) this.#engines.delete(url);
    const engine: EngineAdapters = {
      uses: new Map(),
      loading: new Map(),
      queue: new PQueue({ concurrency: 1 }),
      onIdle: [],
    };
    this.#engines.set(endpoint.url, engine);
    return engine;
  }
}

/** Engines read the path they are told: the name in it comes from a client. */
function isPathWithin(name: string): boolean {
  // oxlint-disable-next-line no-control-regex -- control characters are what is looked for
  if (/[\\\u0000-\u001f\u007f]|%2e|%2f|%5c/i.test(name)) return false;
  return name.split("/").every((part) => part !== "" && part !== "." && part !== "..");
}

function unknownAdapter(adapterId: string, reason: string): RequestError {
  return new RequestError(`The model \`${adapterId.slice(0, 200)}\` does not exist. ${reason}`, {
    status: 404,
    code: "model_not_found",
    param: "model",
  });
}

/** Tells those that wait for room. */
function wakeAll(engine: EngineAdapters): void {
  const waiting = engine.onIdle;
  engine.onIdle = [];
  for (const wake of waiting) wake();
}

/** Others wait for the same load: a request that is cancelled only stops waiting. */
function orCancelled(promise: Promise<void>, cancel: CancelToken): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = cancel.onCancel(reject);
    promise.then(resolve, reject).finally(stop);
  });
}
