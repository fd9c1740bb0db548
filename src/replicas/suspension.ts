import { engineGet, type EngineGetOptions } from "./engine-get.ts";
import type { Replica } from "./replica.ts";

/** Why an engine that is well takes no requests: vLLM was told to. It would hold what comes until it is told otherwise. */
export type SuspensionKind = "sleeping" | "paused";

/**
 * Whether a replica's engine sleeps or is paused, as far as this process knows: from commands that went through it, and
 * from what the engine says when asked.
 */
export class Suspension {
  readonly #onChange: () => void;
  readonly #kinds = new Set<SuspensionKind>();
  #underway = 0;
  #revision = 0;

  /** @param onChange called when the replica takes requests again, or no longer */
  constructor(onChange: () => void) {
    this.#onChange = onChange;
  }

  /** Undefined: it takes requests. */
  get state(): SuspensionKind | undefined {
    if (this.#kinds.has("sleeping")) return "sleeping";
    return this.#kinds.has("paused") ? "paused" : undefined;
  }

  /** Changes with every command, so that an answer from before it can be told from one after it. */
  get revision(): number {
    return this.#revision;
  }

  /** A command that changes it is on its way: what the engine says now may be wrong in a moment. */
  get isChanging(): boolean {
    return this.#underway > 0;
  }

  has(kind: SuspensionKind): boolean {
    return this.#kinds.has(kind);
  }

  set(kind: SuspensionKind, on: boolean): void {
    const before = this.state;
    if (on) this.#kinds.add(kind);
    else this.#kinds.delete(kind);
    if ((before === undefined) !== (this.state === undefined)) this.#onChange();
  }

  /** A command goes out. @returns to be called once, when it is over */
  beginCommand(): () => void {
    this.#underway += 1;
    this.#revision += 1;
    return () => {
      this.#underway -= 1;
      this.#revision += 1;
    };
  }
}

const questions = { sleeping: "/is_sleeping", paused: "/is_paused" } as const;

/**
 * Asks a suspended engine whether it still is: somebody else may have woken it, or it was started anew. An engine that
 * does not know the question (404) never was. No answer changes nothing.
 *
 * @param ranks all replicas behind the engine's URL
 * @throws the token's error, and nothing else
 */
export async function recheckSuspension(
  replica: Replica,
  ranks: readonly Replica[],
  options: EngineGetOptions,
): Promise<void> {
  for (const kind of ["sleeping", "paused"] as const) {
    const { suspension } = replica;
    if (!suspension.has(kind) || suspension.isChanging) continue;
    const { revision } = suspension;
    const released = await saysNo(replica, questions[kind], `is_${kind}`, options);
    if (!released || suspension.revision !== revision) continue;
    for (const rank of ranks) rank.suspension.set(kind, false);
  }
}

async function saysNo(
  replica: Replica,
  path: string,
  field: string,
  options: EngineGetOptions,
): Promise<boolean> {
  try {
    const { status, body } = await engineGet(replica, path, options);
    if (status !== 200) return status === 404;
    return (JSON.parse(body.toString()) as Readonly<Record<string, unknown>> | null)?.[field] === false;
  } catch {
    options.cancel.throwIfCancelled();
    return false;
  }
}
