import type { Random } from "../internal/random.ts";

/**
 * What goes wrong with one request.
 *
 * Faults about tokens count the tokens of the first choice that were already delivered; on an answer that is not
 * streamed they strike when the answer would be sent. Times are milliseconds of the engine's clock; a stall
 * without `forMs` lasts until the client leaves. `/health` answers 200 throughout unless a rule says otherwise:
 * a stall is an engine whose health check lies.
 */
export type Fault =
  /** The connection is reset after that many bytes of the answer's body; 0: before any header. */
  | { readonly kind: "resetAtByte"; readonly byte: number }
  | { readonly kind: "stallBeforeHeaders"; readonly forMs?: number | undefined }
  | { readonly kind: "stallAfterTokens"; readonly tokens: number; readonly forMs?: number | undefined }
  /** Other delays than the engine's own, for this request. */
  | {
      readonly kind: "slow";
      readonly timeToFirstTokenMs?: number | undefined;
      readonly interTokenMs?: number | undefined;
    }
  /** Answers with a status. `body`: a text, or a value sent as JSON; left out, vLLM's error shape. */
  | {
      readonly kind: "status";
      readonly status: number;
      readonly body?: unknown;
      readonly headers?: Readonly<Record<string, string>> | undefined;
      /** Seconds, sent as `Retry-After`. */
      readonly retryAfterS?: number | undefined;
    }
  /** Prefill answers without a handle: `null` (default), without the field, or with `{}`. */
  | { readonly kind: "noKv"; readonly form?: "null" | "missing" | "empty" | undefined }
  /** Prefill's handle is changed: keys left out, or given other values. */
  | {
      readonly kind: "wrongKv";
      readonly remove?: readonly string[] | undefined;
      readonly replace?: Readonly<Record<string, unknown>> | undefined;
    }
  /** Prefill's lease has already ended when its answer goes out. */
  | { readonly kind: "expiredKv" }
  /** Bytes that do not belong are put into the stream. Default: a frame whose JSON is broken. */
  | {
      readonly kind: "malformedSse";
      readonly afterTokens?: number | undefined;
      readonly bytes?: string | Uint8Array | undefined;
    }
  /** The body goes out in pieces of so many bytes (default 1), which splits characters and frames. */
  | { readonly kind: "splitBytes"; readonly size?: number | undefined }
  /** 200 and nothing. */
  | { readonly kind: "emptyBody" }
  /** An engine error before the first token that vLLM drops: role frame and `[DONE]`; completions: `[DONE]` only. */
  | { readonly kind: "swallowedError" }
  /** An engine error: an error frame and `[DONE]`, or a status when not streamed. Default: 500. */
  | {
      readonly kind: "sseError";
      readonly afterTokens?: number | undefined;
      readonly message?: string | undefined;
      readonly status?: number | undefined;
      readonly type?: string | undefined;
    }
  /** The stream just ends: without finish reason and `[DONE]`, or with the finish reason (`keepFinish`). */
  | {
      readonly kind: "truncated";
      readonly afterTokens?: number | undefined;
      readonly keepFinish?: boolean | undefined;
    }
  /** The whole engine dies: everything in flight gets an error, then nobody listens any more. */
  | { readonly kind: "engineDeath"; readonly afterTokens?: number | undefined }
  /** The process is killed: every socket is reset, nothing is said. */
  | { readonly kind: "crash"; readonly afterTokens?: number | undefined }
  /** Status 200 with an error object. */
  | { readonly kind: "errorIn200"; readonly body?: unknown }
  | { readonly kind: "contentType"; readonly value: string }
  /** JSON although a stream was asked for, or a stream although not. */
  | { readonly kind: "wrongFraming" }
  | { readonly kind: "redirect"; readonly location: string; readonly status?: number | undefined }
  /** The connection stays open, but nothing is read from it or written to it any more. */
  | { readonly kind: "halfOpen" }
  /** The body is compressed, whatever the client accepts. */
  | { readonly kind: "gzip" }
  /** About so many bytes of filler are put into the answer. */
  | { readonly kind: "hugeAnswer"; readonly bytes: number }
  /** Comment lines instead of tokens, until the client leaves. */
  | { readonly kind: "pings"; readonly everyMs: number }
  /** A connection is closed without an answer when a second request comes over it. */
  | { readonly kind: "closeOnReuse" };

/** Faults that strike before the engine looks at the request. */
export type ArrivalFault = Extract<
  Fault,
  {
    kind:
      | "resetAtByte"
      | "closeOnReuse"
      | "halfOpen"
      | "stallBeforeHeaders"
      | "status"
      | "redirect"
      | "emptyBody"
      | "errorIn200";
  }
>;

/** Faults that strike while tokens are delivered. */
export type TokenFault = Extract<
  Fault,
  {
    kind:
      | "stallAfterTokens"
      | "sseError"
      | "swallowedError"
      | "engineDeath"
      | "crash"
      | "truncated"
      | "malformedSse"
      | "hugeAnswer";
  }
>;

const arrivalFaults: ReadonlySet<Fault["kind"]> = new Set<ArrivalFault["kind"]>([
  "resetAtByte",
  "closeOnReuse",
  "halfOpen",
  "stallBeforeHeaders",
  "status",
  "redirect",
  "emptyBody",
  "errorIn200",
]);
const tokenFaults: ReadonlySet<Fault["kind"]> = new Set<TokenFault["kind"]>([
  "stallAfterTokens",
  "sseError",
  "swallowedError",
  "engineDeath",
  "crash",
  "truncated",
  "malformedSse",
  "hugeAnswer",
]);

export function isArrivalFault(fault: Fault): fault is ArrivalFault {
  return arrivalFaults.has(fault.kind);
}

export function isTokenFault(fault: Fault): fault is TokenFault {
  return tokenFaults.has(fault.kind);
}

/** Which part a request plays: by its `kv_transfer_params`, as in vLLM. */
export type MockPhase = "prefill" | "decode" | "aggregated";

/** Which requests a rule is about. Conditions are combined; without any, every request to a generating route. */
export interface FaultMatch {
  /** Exact path. @default the generating routes */
  readonly path?: string | undefined;
  /** @default "any" */
  readonly phase?: MockPhase | "any" | undefined;
  /** Only the nth request, counted from 1, among those of this path and phase. */
  readonly nth?: number | undefined;
  /** Only each so-many-th request among those of this path and phase. */
  readonly every?: number | undefined;
  /** 0 to 1; drawn from the engine's own randomness. */
  readonly probability?: number | undefined;
}

/** One line of a fault plan. */
export interface FaultRule {
  readonly match?: FaultMatch | undefined;
  readonly fault: Fault;
  /** How often it strikes at most. @default unlimited */
  readonly times?: number | undefined;
}

/** Rules in order; the first that applies to a request strikes it. Every rule counts the requests it sees. */
export type FaultPlan = readonly FaultRule[];

interface ActiveRule {
  readonly rule: FaultRule;
  seen: number;
  struck: number;
}

/** Finds out what goes wrong with each request. Same plan, seed and order of requests: same faults. */
export class FaultSchedule {
  readonly #random: Random;
  readonly #rules: ActiveRule[] = [];

  constructor(random: Random, plan: FaultPlan = []) {
    this.#random = random;
    for (const rule of plan) this.add(rule);
  }

  /**
   * Adds a rule after the others.
   *
   * @throws RangeError when `nth`, `every`, `times` or `probability` is out of range
   */
  add(rule: FaultRule): void {
    const { nth, every, probability } = rule.match ?? {};
    for (const [name, value] of Object.entries({ nth, every, times: rule.times })) {
      if (value !== undefined && !(Number.isInteger(value) && value >= 1)) {
        throw new RangeError(`fault rule: ${name} must be an integer of 1 or more, got ${value}`);
      }
    }
    if (probability !== undefined && !(probability >= 0 && probability <= 1)) {
      throw new RangeError(`fault rule: probability must be from 0 to 1, got ${probability}`);
    }
    this.#rules.push({ rule, seen: 0, struck: 0 });
  }

  clear(): void {
    this.#rules.length = 0;
  }

  /**
   * The fault of this request, if any. Call once a request.
   *
   * @param reused the connection brought a request before
   */
  next(path: string, phase: MockPhase | undefined, reused: boolean): Fault | undefined {
    let chosen: Fault | undefined;
    for (const active of this.#rules) {
      const { match, fault, times } = active.rule;
      if (match?.path === undefined ? phase === undefined : match.path !== path) continue;
      if (fault.kind === "closeOnReuse" && !reused) continue;
      if (match?.phase !== undefined && match.phase !== "any" && match.phase !== phase) continue;
      active.seen++;
      if (chosen !== undefined || (times !== undefined && active.struck >= times)) continue;
      if (match?.nth !== undefined && active.seen !== match.nth) continue;
      if (match?.every !== undefined && active.seen % match.every !== 0) continue;
      if (match?.probability !== undefined && this.#random.next() >= match.probability) continue;
      active.struck++;
      chosen = fault;
    }
    return chosen;
  }
}
