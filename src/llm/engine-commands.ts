import { DeploymentUnavailableError } from "../errors/deployment-unavailable-error.ts";
import { RequestError } from "../errors/request-error.ts";
import { ServeLLMError } from "../errors/serve-llm-error.ts";
import type { CancelToken } from "../internal/cancel-token.ts";
import type { Clock } from "../internal/clock.ts";
import { callBuffered } from "../replicas/buffered-call.ts";
import type { Replica } from "../replicas/replica.ts";
import type { EnginePool } from "../serve/engine-pool.ts";
import { type CommandedEngine, withEffects } from "./command-effects.ts";

/** What every engine can be told, by Ray's names: where vLLM takes it. */
export const engineCommands = {
  sleep: { method: "POST", path: "/sleep" },
  wakeUp: { method: "POST", path: "/wake_up" },
  isSleeping: { method: "GET", path: "/is_sleeping" },
  pause: { method: "POST", path: "/pause" },
  resume: { method: "POST", path: "/resume" },
  isPaused: { method: "GET", path: "/is_paused" },
  resetPrefixCache: { method: "POST", path: "/reset_prefix_cache" },
  startProfile: { method: "POST", path: "/start_profile" },
  stopProfile: { method: "POST", path: "/stop_profile" },
} as const;

/** Name of a command that engines know. */
export type EngineCommandName = keyof typeof engineCommands;

/** Where a command goes on an engine. */
export interface EngineCommand {
  readonly method: "GET" | "POST";
  readonly path: string;
}

/** An option of a command, sent as query parameter; a list as one parameter for each item. */
export type EngineCommandOption = string | number | boolean | readonly (string | number | boolean)[];

/** Which engines a command is for, and how they are to carry it out. */
export interface EngineCommandInit {
  /** Only these deployments, by name. @default all of the model: prefill and decode */
  readonly deployments?: readonly string[] | undefined;
  /** vLLM's own, for example `{ level: 2 }` of `sleep`. @default none */
  readonly options?: Readonly<Record<string, EngineCommandOption>> | undefined;
  /** Milliseconds for each engine's answer, more than 0. @default 300000 */
  readonly timeoutMs?: number | undefined;
}

/** What one engine said to a command. */
export interface EngineCommandResult {
  readonly deployment: string;
  /** Its replicas: one, or one for each rank behind its URL. */
  readonly replicas: readonly string[];
  /** It was carried out: a 2xx whose body does not say `success: false`. */
  readonly ok: boolean;
  /** HTTP status; null when there was no answer. */
  readonly status: number | null;
  /** JSON as parsed, else the text; null when empty or there was no answer. */
  readonly body: unknown;
  /** Why there was no answer; null when there was one. */
  readonly error: string | null;
}

const defaultTimeoutMs = 300_000;
const maxAnswerBytes = 1024 * 1024;

/**
 * Sends a command to every engine of these pools at once, whatever their health, and tells what each said. Replicas
 * that share a URL are one engine. Replicas that drain are left out. Engines that are told to sleep or to pause get no
 * requests until they are awake again.
 *
 * @throws RequestError 404 for a deployment that is none of these; DeploymentUnavailableError when no engine is known
 */
export async function commandEngines(
  pools: readonly EnginePool[],
  command: EngineCommand,
  init: EngineCommandInit,
  context: { readonly clock: Clock; readonly cancel: CancelToken },
): Promise<readonly EngineCommandResult[]> {
  const engines = chosen(pools, init.deployments).flatMap(enginesOf);
  if (engines.length === 0) {
    const names = pools.map((pool) => pool.handle.deployment).join(", ");
    throw new DeploymentUnavailableError(names, "it has no replica");
  }
  const { options = {}, timeoutMs = defaultTimeoutMs } = init;
  const path = command.path + queryOf(options);
  const question = { ...context, timeoutMs, timeoutOption: "timeoutMs" };
  const results = await Promise.all(
    engines.map((engine) =>
      withEffects(engine, command.path, "tags" in options, question, () =>
        ask(engine, { ...command, path }, timeoutMs, context),
      ),
    ),
  );
  context.cancel.throwIfCancelled();
  return results;
}

function chosen(pools: readonly EnginePool[], names: readonly string[] | undefined): readonly EnginePool[] {
  if (names === undefined) return pools;
  return names.map((name) => {
    const pool = pools.find(({ handle }) => handle.deployment === name);
    if (pool !== undefined) return pool;
    const known = pools.map(({ handle }) => JSON.stringify(handle.deployment)).join(", ");
    throw new RequestError(
      `There is no deployment ${JSON.stringify(name.slice(0, 200))} with engines; there are ${known}.`,
      { status: 404, code: "deployment_not_found", param: "deployment" },
    );
  });
}

function enginesOf(pool: EnginePool): readonly CommandedEngine[] {
  const byUrl = new Map<string, Replica[]>();
  for (const replica of pool.replicas.replicas) {
    const { url } = replica.endpoint;
    byUrl.set(url, [...(byUrl.get(url) ?? []), replica]);
  }
  return [...byUrl.values()].map((replicas) => ({ pool, replicas }));
}

async function ask(
  { pool, replicas }: CommandedEngine,
  { method, path }: EngineCommand,
  timeoutMs: number,
  { clock, cancel }: { readonly clock: Clock; readonly cancel: CancelToken },
): Promise<EngineCommandResult> {
  const replica = replicas[0]!;
  const names = { deployment: pool.handle.deployment, replicas: replicas.map(({ id }) => id) };
  try {
    const answer = await callBuffered(
      replica.http,
      { method, path, headers: [], phase: "check" },
      {
        clock,
        cancel,
        replica: replica.fullName,
        timeoutMs,
        timeoutOption: "timeoutMs",
        maxBytes: maxAnswerBytes,
      },
    );
    const body = read(answer.body.toString());
    const refused = (body as { readonly success?: unknown } | null)?.success === false;
    const ok = answer.status >= 200 && answer.status < 300 && !refused;
    return { ...names, ok, status: answer.status, body, error: null };
  } catch (error) {
    if (!ServeLLMError.isInstance(error)) throw error;
    return { ...names, ok: false, status: null, body: null, error: error.message };
  }
}

function read(text: string): unknown {
  if (text === "") return null;
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text;
  }
}

function queryOf(options: NonNullable<EngineCommandInit["options"]>): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(options)) {
    for (const item of Array.isArray(value) ? (value as readonly unknown[]) : [value]) {
      query.append(name, String(item));
    }
  }
  return query.size === 0 ? "" : `?${query.toString()}`;
}
