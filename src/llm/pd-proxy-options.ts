import {
  boolean,
  integer,
  listOf,
  number,
  objectOf,
  oneOf,
  optional,
  text,
  withDefault,
} from "../config/lax-schema.ts";
import { parseConfig } from "../config/parse-config.ts";
import { defaultPairing, type PairingOptions, type ResolvedPairingOptions } from "../routing/pair-policy.ts";
import {
  type ConditionalDisaggregation,
  type DecideFunction,
  decideSchema,
  type ResolvedConditionalDisaggregation,
} from "./disaggregation-policy.ts";
import { defaultRetryBudget, type RetryBudgetOptions } from "./retry-budget.ts";

/** What to do when a prefill succeeded but its answer has no usable `kv_transfer_params`. */
export type MissingKvPolicy =
  /** Prefill again elsewhere once, then let decode compute the prompt itself. */
  | "retry"
  /** Let decode compute the prompt itself. */
  | "decode-only"
  /** Fail the request with 502. */
  | "fail";

/** What to do about KV that prefill keeps for a decode that was never sent. */
export type StrandedKvPolicy =
  /** Nothing: the engine frees it when its lease ends. */
  | "wait"
  /** Hand it to a decode engine that has a free slot, for one token that nobody gets: then the engines free it. */
  | "release-handoff";

/** Options of {@link PDProxyServer}; given as `proxyClsConfig.proxyExtraKwargs`. */
export interface PDProxyOptions {
  /** Milliseconds that prefill keeps blocks for decode: vLLM's `kv_lease_duration`. @default 30000 */
  readonly kvLeaseMs?: number | undefined;
  /** Share of the lease within which a handle must be sent, above 0 and up to 1. @default 0.6 */
  readonly kvLeaseSafety?: number | undefined;
  /** @default "retry" */
  readonly onMissingKv?: MissingKvPolicy | undefined;
  /** @default "wait" */
  readonly onStranded?: StrandedKvPolicy | undefined;
  /** What to do when no prefill replica could do its part. @default "decode-only" */
  readonly onPrefillFailure?: "decode-only" | "fail" | undefined;
  /**
   * Hosts a handle may name as `remote_host`. A handle with another host fails the request: a prefill engine that
   * was taken over must not point decode anywhere. Not checked when not given, since side-channel addresses often
   * differ from HTTP addresses.
   */
  readonly kvHostAllowlist?: readonly string[] | undefined;
  /** How often one request may be tried again after a failure, before its first byte. 0 or more. @default 2 */
  readonly maxRetries?: number | undefined;
  /** How much of the traffic may be tries again, so that an outage is not made worse by them. @default a tenth */
  readonly retryBudget?: Partial<RetryBudgetOptions> | undefined;
  /**
   * Which of the requests that can be disaggregated are: the numbers of the built-in rule, or a function of yours.
   * `null` disaggregates all, as Ray does. @default null
   */
  readonly decide?: ConditionalDisaggregation | DecideFunction | null | undefined;
  /** How prefill and decode are chosen for each other. @default {}: pair groups */
  readonly pairing?: PairingOptions | undefined;
}

export interface ResolvedPDProxyOptions {
  readonly kvLeaseMs: number;
  readonly kvLeaseSafety: number;
  readonly onMissingKv: MissingKvPolicy;
  readonly onStranded: StrandedKvPolicy;
  readonly onPrefillFailure: "decode-only" | "fail";
  readonly kvHostAllowlist: ReadonlySet<string> | undefined;
  readonly maxRetries: number;
  readonly retryBudget: RetryBudgetOptions;
  readonly decide: ResolvedConditionalDisaggregation | DecideFunction | null;
  readonly pairing: ResolvedPairingOptions;
}

const positive = number({ greaterThan: 0 });

const schema = objectOf("PDProxyServer", {
  kvLeaseMs: withDefault(positive, 30_000),
  kvLeaseSafety: withDefault(number({ greaterThan: 0, atMost: 1 }), 0.6),
  onMissingKv: withDefault(oneOf(["retry", "decode-only", "fail"]), "retry"),
  onStranded: withDefault(oneOf(["wait", "release-handoff"]), "wait"),
  onPrefillFailure: withDefault(oneOf(["decode-only", "fail"]), "decode-only"),
  kvHostAllowlist: optional(listOf(text({ minLength: 1 }))),
  maxRetries: withDefault(integer({ atLeast: 0 }), 2),
  retryBudget: optional(
    objectOf("RetryBudget", {
      share: withDefault(number({ atLeast: 0 }), defaultRetryBudget.share),
      reserve: withDefault(number({ atLeast: 0 }), defaultRetryBudget.reserve),
    }),
  ),
  decide: optional(decideSchema),
  pairing: withDefault(
    objectOf("Pairing", {
      topologyLabels: withDefault(listOf(text({ minLength: 1 })), defaultPairing.topologyLabels),
      sameVersion: withDefault(boolean(), defaultPairing.sameVersion),
      imbalancedThreshold: withDefault(number({ atLeast: 0 }), defaultPairing.imbalancedThreshold),
    }),
    defaultPairing,
  ),
});

/** Checks options, in either spelling, and fills in defaults. @throws ConfigurationError naming every bad option */
export function resolvePDProxyOptions(options: PDProxyOptions = {}): ResolvedPDProxyOptions {
  const parsed = parseConfig(schema, options, "PDProxyServer") as Partial<ResolvedPDProxyOptions> & {
    readonly kvHostAllowlist?: readonly string[] | undefined;
  };
  return {
    ...(parsed as ResolvedPDProxyOptions),
    kvHostAllowlist: parsed.kvHostAllowlist === undefined ? undefined : new Set(parsed.kvHostAllowlist),
    retryBudget: parsed.retryBudget ?? defaultRetryBudget,
    decide: parsed.decide ?? null,
  };
}
