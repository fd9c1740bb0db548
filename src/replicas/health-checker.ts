import type { ProbeGeneration } from "../config/client-config.ts";
import type { CancelToken } from "../internal/cancel-token.ts";
import type { Clock } from "../internal/clock.ts";
import type { Random } from "../internal/random.ts";
import { engineGet, type EngineGetOptions } from "./engine-get.ts";
import { probeGeneration } from "./generation-probe.ts";
import { ranksByServer } from "./rank-groups.ts";
import { ReplicaRounds } from "./replica-rounds.ts";
import type { Replica } from "./replica.ts";
import { recheckSuspension } from "./suspension.ts";

/** What a {@link HealthChecker} is made from. */
export interface HealthCheckerInit {
  readonly clock: Clock;
  readonly random: Random;
  /** Ray's `healthCheckPeriodS`, seconds between two checks of one replica. */
  readonly healthCheckPeriodS: number;
  /** Ray's `healthCheckTimeoutS`, seconds one check may take. */
  readonly healthCheckTimeoutS: number;
  /** Also asks for a token now and then; undefined: it does not. */
  readonly probeGeneration?: ProbeGeneration | undefined;
  /** What the generation probe asks for, unless its body says otherwise. */
  readonly modelId: string | undefined;
  /** Hears of every replica whose check succeeded, after its health was updated. */
  readonly onAlive?: ((replica: Replica) => void) | undefined;
  readonly warn: (message: string) => void;
}

/** Ray's `REPLICA_HEALTH_CHECK_UNHEALTHY_THRESHOLD`. */
const unhealthyAfter = 3;
/** As Ray's controller, which randomizes each period by a tenth. */
const checkJitter = [0.9, 1.1] as const;
/** Never more often than configured: a probe costs the engine work. */
const probeJitter = [1, 1.2] as const;
const checksAtOnce = 32;
const probesAtOnce = 8;

/** Failures in a row, of each way of checking. */
interface Failures {
  check: number;
  probe: number;
}

/**
 * Active health checks of the replicas of one deployment: `GET /health`, and a generated token where configured.
 * Three failures in a row of either take a replica out of service, one success of that kind brings it back.
 *
 * Mirrors Ray's replica health checks, from outside: an engine elsewhere can only be asked.
 */
export class HealthChecker {
  readonly #init: HealthCheckerInit;
  readonly #checks: ReplicaRounds;
  readonly #probes: ReplicaRounds | undefined;
  readonly #failures = new WeakMap<Replica, Failures>();
  readonly #warned = new WeakSet<Replica>();
  #ranks: ReadonlyMap<Replica, readonly Replica[]> = new Map();

  constructor(init: HealthCheckerInit) {
    const { clock, random, warn } = init;
    this.#init = init;
    this.#checks = new ReplicaRounds({
      clock,
      random,
      periodMs: init.healthCheckPeriodS * 1000,
      jitter: checkJitter,
      first: "now",
      concurrency: checksAtOnce,
      visit: (replica, cancel) => this.#check(replica, cancel),
      warn,
    });
    const probe = init.probeGeneration;
    if (probe === undefined) return;
    this.#probes = new ReplicaRounds({
      clock,
      random,
      periodMs: probe.intervalMs,
      jitter: probeJitter,
      first: "later",
      concurrency: probesAtOnce,
      visit: (replica, cancel) => this.#probe(replica, cancel, probe),
      warn,
    });
  }

  /** Checks these replicas from now on, the new ones at once, and no others. Ranks behind one URL have one check. */
  sync(replicas: readonly Replica[]): void {
    this.#ranks = ranksByServer(replicas);
    this.#checks.sync([...this.#ranks.keys()]);
    this.#probes?.sync(replicas);
  }

  /** Checks every replica now (`/health` only); a check that is under way is waited for instead. */
  checkNow(): Promise<void> {
    return this.#checks.visitNow();
  }

  /** Stops at once; resolves when nothing is left of it. */
  async stop(): Promise<void> {
    await Promise.all([this.#checks.stop(), this.#probes?.stop()]);
  }

  async #check(replica: Replica, cancel: CancelToken): Promise<void> {
    const alive = await this.#isAlive(replica, cancel);
    if (cancel.cancelled) return;
    const ranks = this.#ranks.get(replica) ?? [replica];
    if (alive && replica.suspension.state !== undefined) {
      await recheckSuspension(replica, ranks, this.#question(cancel));
      if (cancel.cancelled) return;
    }
    for (const rank of ranks) {
      this.#record(rank, "check", alive);
      if (alive) this.#init.onAlive?.(rank);
    }
  }

  async #isAlive(replica: Replica, cancel: CancelToken): Promise<boolean> {
    let status: number;
    try {
      status = (await engineGet(replica, "/health", this.#question(cancel))).status;
    } catch {
      // Refused, reset, too slow: all the same to a check.
      return false;
    }
    if (status !== 404 && status !== 405) return status >= 200 && status < 300;
    // Something in front of the engine that does not pass this on: it says nothing, for better or worse.
    this.#warnOnce(
      replica,
      `${replica.fullName} has no /health (status ${status}), so its health is judged by its answers only.`,
    );
    return true;
  }

  #question(cancel: CancelToken): EngineGetOptions {
    const { clock, healthCheckTimeoutS } = this.#init;
    return { clock, cancel, timeoutMs: healthCheckTimeoutS * 1000, timeoutOption: "healthCheckTimeoutS" };
  }

  async #probe(replica: Replica, cancel: CancelToken, probe: ProbeGeneration): Promise<void> {
    // It would hold the request, which says nothing about its health.
    if (replica.suspension.state !== undefined) return;
    const { clock, random, modelId } = this.#init;
    const succeeded = replica.succeeded;
    const outcome = await probeGeneration(replica, { clock, random, cancel, probe, modelId });
    if (cancel.cancelled || replica.suspension.state !== undefined) return;
    if (outcome.verdict === "refused") {
      this.#warnOnce(
        replica,
        `${replica.fullName} refused a generation probe, which says nothing about its health: ${outcome.reason}`,
      );
      return;
    }
    if (outcome.verdict === "busy") return;
    // A full engine makes a probe wait; while it goes on answering it is not ill.
    if (outcome.verdict === "late" && replica.succeeded > succeeded) return;
    this.#record(replica, "probe", outcome.verdict === "generated");
  }

  #record(replica: Replica, kind: keyof Failures, success: boolean): void {
    const failures = this.#failures.get(replica) ?? { check: 0, probe: 0 };
    this.#failures.set(replica, failures);
    failures[kind] = success ? 0 : failures[kind] + 1;
    if (failures.check >= unhealthyAfter || failures.probe >= unhealthyAfter) replica.setChecked(false);
    else if (success) replica.setChecked(true);
  }

  #warnOnce(replica: Replica, message: string): void {
    if (this.#warned.has(replica)) return;
    this.#warned.add(replica);
    this.#init.warn(message);
  }
}
