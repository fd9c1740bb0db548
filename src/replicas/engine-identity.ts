import PQueue from "p-queue";
import { RequestCancelledError } from "../errors/request-cancelled-error.ts";
import { CancelToken } from "../internal/cancel-token.ts";
import type { Clock } from "../internal/clock.ts";
import { type EngineFacts, versionsByEngine } from "./engine-disagreements.ts";
import { engineGet, type EngineGetOptions } from "./engine-get.ts";
import type { Replica } from "./replica.ts";
import { readServedModels, readVersion } from "./served-model.ts";

/** What {@link EngineIdentities} is made from. */
export interface EngineIdentitiesInit {
  readonly deployment: string;
  readonly clock: Clock;
  /** The model the deployment is configured for; undefined: any will do. */
  readonly modelId: string | undefined;
  /** Seconds a question may take. */
  readonly timeoutS: number;
  readonly warn: (message: string) => void;
  /** A replica has said who it is. */
  readonly onIdentified?: ((replica: Replica) => void) | undefined;
}

const questionsAtOnce = 8;

/**
 * Asks every engine once who it is (`/version`, `/v1/models`) and again after it was away, and warns when engines of
 * one deployment disagree or do not serve its model. What is found is kept on the replica.
 */
export class EngineIdentities {
  readonly #init: EngineIdentitiesInit;
  readonly #queue = new PQueue({ concurrency: questionsAtOnce });
  readonly #known = new Set<Replica>();
  readonly #asking = new Map<Replica, CancelToken>();
  #replicas: ReadonlySet<Replica> = new Set();
  #lastWarning: string | undefined;
  #stopped = false;

  constructor(init: EngineIdentitiesInit) {
    this.#init = init;
  }

  /** The replicas as they are now: new ones are asked, those that are not well will be asked again. */
  observe(replicas: readonly Replica[]): void {
    if (this.#stopped) return;
    this.#replicas = new Set(replicas);
    for (const replica of this.#known) if (!this.#replicas.has(replica)) this.#known.delete(replica);
    for (const [replica, cancel] of this.#asking) if (!this.#replicas.has(replica)) cancel.cancel(notAsked());
    for (const replica of replicas) {
      if (replica.health === "healthy") this.ensure(replica);
      else this.#known.delete(replica);
    }
  }

  /** Asks a replica of the set unless it was asked already. */
  ensure(replica: Replica): void {
    if (this.#stopped || !this.#replicas.has(replica)) return;
    if (this.#known.has(replica) || this.#asking.has(replica)) return;
    const cancel = new CancelToken();
    this.#asking.set(replica, cancel);
    void this.#queue.add(() => this.#ask(replica, cancel));
  }

  /** Its engine was restarted and may be another one: asks again. */
  forget(replica: Replica): void {
    this.#known.delete(replica);
    this.ensure(replica);
  }

  /** Resolves when nobody is being asked. */
  idle(): Promise<void> {
    return this.#queue.onIdle();
  }

  /** Stops at once; resolves when nothing is left of it. */
  async stop(): Promise<void> {
    this.#stopped = true;
    for (const cancel of this.#asking.values()) cancel.cancel(notAsked());
    await this.#queue.onIdle();
  }

  async #ask(replica: Replica, cancel: CancelToken): Promise<void> {
    try {
      const timeoutMs = this.#init.timeoutS * 1000;
      const options = { clock: this.#init.clock, cancel, timeoutMs, timeoutOption: "healthCheckTimeoutS" };
      // One after the other, over one connection.
      const version = await get(replica, "/version", options);
      const models = await get(replica, "/v1/models", options);
      replica.version = version.status === 200 ? readVersion(version.text) : undefined;
      replica.servedModels = models.status === 200 ? readServedModels(models.text) : undefined;
      this.#known.add(replica);
      this.#judge(replica, models.status);
      this.#init.onIdentified?.(replica);
    } catch {
      // Not reachable now, or it left; it is asked again after its next successful health check.
    } finally {
      this.#asking.delete(replica);
    }
  }

  #judge(replica: Replica, modelsStatus: number): void {
    const { modelId, warn, deployment } = this.#init;
    const served = replica.servedModels;
    if (modelsStatus === 401 || modelsStatus === 403) {
      warn(`${replica.fullName} does not accept its API key (status ${modelsStatus} of /v1/models).`);
    } else if (modelId !== undefined && served !== undefined && !served.some(({ id }) => id === modelId)) {
      const others = served.map(({ id }) => `"${id}"`).join(", ");
      warn(
        `${replica.fullName} does not serve model "${modelId}"; it serves ${others === "" ? "none" : others}.`,
      );
    }
    const versions = versionsByEngine([...this.#replicas].filter((each) => this.#known.has(each)));
    const warning =
      versions.size > 1
        ? `Engines of deployment "${deployment}" run different versions: ${describe(versions)}.`
        : undefined;
    if (warning !== undefined && warning !== this.#lastWarning) warn(warning);
    this.#lastWarning = warning;
  }
}

interface TextAnswer {
  readonly status: number;
  readonly text: string;
}

async function get(replica: Replica, path: string, options: EngineGetOptions): Promise<TextAnswer> {
  const { status, body } = await engineGet(replica, path, options);
  // A 5xx is an engine that is not ready to say.
  if (status >= 500) throw new Error(`status ${status}`);
  return { status, text: body.toString() };
}

function describe(versions: ReadonlyMap<string, readonly EngineFacts[]>): string {
  return [...versions]
    .map(([version, engines]) => `${version} (${engines.map(({ id }) => id).join(", ")})`)
    .join("; ");
}

function notAsked(): RequestCancelledError {
  return new RequestCancelledError("its replica is not asked any more");
}
