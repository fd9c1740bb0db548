import type { EngineGetOptions } from "../replicas/engine-get.ts";
import type { Replica } from "../replicas/replica.ts";
import { recheckSuspension, type SuspensionKind } from "../replicas/suspension.ts";
import type { EnginePool } from "../serve/engine-pool.ts";
import type { EngineCommandResult } from "./engine-commands.ts";

/** An engine that is told something: its replicas, and the pool they are in. */
export interface CommandedEngine {
  readonly pool: EnginePool;
  readonly replicas: readonly Replica[];
}

/** How far one command moves a revision: when it goes out, and when it is over. */
const ownRevisions = 2;

/** Commands after which an engine takes no requests. */
const suspends: Readonly<Record<string, SuspensionKind>> = { "/sleep": "sleeping", "/pause": "paused" };
/** Commands that end that. */
const releases: Readonly<Record<string, SuspensionKind>> = { "/wake_up": "sleeping", "/resume": "paused" };
/** Questions whose answer says it. */
const tells: Readonly<Record<string, SuspensionKind>> = {
  "/is_sleeping": "sleeping",
  "/is_paused": "paused",
};

/**
 * Sends a command, and lets routing know what it does to the engine: one that sleeps or is paused gets no requests, from
 * before the command goes out, until it is awake again; and what it had cached is forgotten.
 *
 * When nobody knows whether the command was carried out, the engine counts as suspended until it says it is not: the
 * health checks ask.
 *
 * @param path vLLM's, without query
 * @param isPartial only a part of the engine is woken (`tags`), so that it has to be asked
 */
export async function withEffects(
  engine: CommandedEngine,
  path: string,
  isPartial: boolean,
  question: EngineGetOptions,
  send: () => Promise<EngineCommandResult>,
): Promise<EngineCommandResult> {
  const suspending = suspends[path];
  if (suspending !== undefined) return suspend(engine, suspending, send);
  const releasing = releases[path];
  if (releasing !== undefined) {
    const result = await changing(engine, send);
    if (!result.ok) return result;
    if (!isPartial) set(engine, releasing, false);
    // vLLM says of paused engines that they sleep, too, and waking up resumes.
    if (!question.cancel.cancelled) await recheckSuspension(engine.replicas[0]!, engine.replicas, question);
    return result;
  }
  const telling = tells[path];
  if (telling !== undefined) return note(engine, telling, send);
  const result = await send();
  if (path === "/reset_prefix_cache" && result.ok) engine.pool.forgetCaches(engine.replicas);
  return result;
}

async function suspend(
  engine: CommandedEngine,
  kind: SuspensionKind,
  send: () => Promise<EngineCommandResult>,
): Promise<EngineCommandResult> {
  const { suspension } = engine.replicas[0]!;
  const before = suspension.has(kind);
  const { revision } = suspension;
  set(engine, kind, true);
  const result = await changing(engine, send);
  if (!isRefusal(result)) engine.pool.forgetCaches(engine.replicas);
  // With another command meanwhile nobody knows: it is asked with its next health check.
  else if (suspension.revision === revision + ownRevisions) set(engine, kind, before);
  return result;
}

/** The engine's own word, unless a command went out meanwhile. */
async function note(
  engine: CommandedEngine,
  kind: SuspensionKind,
  send: () => Promise<EngineCommandResult>,
): Promise<EngineCommandResult> {
  const { suspension } = engine.replicas[0]!;
  const { revision } = suspension;
  const result = await send();
  const said = (result.body as Readonly<Record<string, unknown>> | null)?.[`is_${kind}`];
  if (result.ok && typeof said === "boolean" && suspension.revision === revision && !suspension.isChanging)
    set(engine, kind, said);
  return result;
}

/** It answered, and did not do it. */
function isRefusal({ ok, status }: EngineCommandResult): boolean {
  return !ok && status !== null && status < 500;
}

function set({ replicas }: CommandedEngine, kind: SuspensionKind, on: boolean): void {
  for (const { suspension } of replicas) suspension.set(kind, on);
}

async function changing<Result>({ replicas }: CommandedEngine, send: () => Promise<Result>): Promise<Result> {
  const ends = replicas.map(({ suspension }) => suspension.beginCommand());
  try {
    return await send();
  } finally {
    for (const end of ends) end();
  }
}
