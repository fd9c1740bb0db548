import { ConfigurationError, type ConfigIssue } from "../errors/configuration-error.ts";
import { defaultRetryBudget, type RetryBudgetOptions } from "./retry-budget.ts";

/** What to do when a prefill succeeded but its answer has no usable `kv_transfer_params`. */
export type MissingKvPolicy =
  /** Prefill again elsewhere once, then let decode compute the prompt itself. */
  | "retry"
  /** Let decode compute the prompt itself. */
  | "decode-only"
  /** Fail the request with 502. */
  | "fail";

/** Options of {@link PDProxyServer}; given as `proxyClsConfig.proxyExtraKwargs`. */
export interface PDProxyOptions {
  /** Milliseconds that prefill keeps blocks for decode: vLLM's `kv_lease_duration`. @default 30000 */
  readonly kvLeaseMs?: number | undefined;
  /** Share of the lease within which a handle must be sent, above 0 and up to 1. @default 0.6 */
  readonly kvLeaseSafety?: number | undefined;
  /** @default "retry" */
  readonly onMissingKv?: MissingKvPolicy | undefined;
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
  readonly retryBudget?: Partial<RetryBudgetOptions> | undefined;
  /**
   * Prompts shorter than this many characters skip prefill. `null` disaggregates every prompt, as Ray does.
   * @default null
   */
  readonly minPromptChars?: number | null | undefined;
}

export interface ResolvedPDProxyOptions {
  readonly kvLeaseMs: number;
  readonly kvLeaseSafety: number;
  readonly onMissingKv: MissingKvPolicy;
  readonly onPrefillFailure: "decode-only" | "fail";
  readonly kvHostAllowlist: ReadonlySet<string> | undefined;
  readonly maxRetries: number;
  readonly retryBudget: RetryBudgetOptions;
  readonly minPromptChars: number | null;
}

type Check = { readonly expected: string; readonly test: (value: unknown) => boolean };

const positive = { expected: "a finite number above 0", test: (value: unknown) => finite(value) && value > 0 };

const checks: Readonly<Record<keyof PDProxyOptions, Check>> = {
  kvLeaseMs: positive,
  kvLeaseSafety: { expected: "a number above 0 and up to 1", test: (v) => finite(v) && v > 0 && v <= 1 },
  onMissingKv: oneOf("retry", "decode-only", "fail"),
  onPrefillFailure: oneOf("decode-only", "fail"),
  kvHostAllowlist: {
    expected: "a list of host names",
    test: (value) => Array.isArray(value) && value.every((host) => typeof host === "string"),
  },
  maxRetries: { expected: "an integer of 0 or more", test: (v) => Number.isInteger(v) && (v as number) >= 0 },
  retryBudget: { expected: "an object", test: (v) => typeof v === "object" && v !== null },
  minPromptChars: { expected: "a positive number or null", test: (v) => v === null || (finite(v) && v > 0) },
};

/** Checks options and fills in defaults. @throws ConfigurationError naming every bad option */
export function resolvePDProxyOptions(options: PDProxyOptions = {}): ResolvedPDProxyOptions {
  const issues: ConfigIssue[] = [];
  for (const [name, value] of Object.entries(options)) {
    const check = (checks as Readonly<Record<string, Check | undefined>>)[name];
    if (value === undefined) continue;
    if (check === undefined) {
      issues.push({ path: ["proxyExtraKwargs", name], message: "Extra inputs are not permitted", type: "extra_forbidden" });
    } else if (!check.test(value)) {
      issues.push({
        path: ["proxyExtraKwargs", name],
        message: "Not a usable value",
        type: "value_error",
        expected: check.expected,
        received: JSON.stringify(value),
      });
    }
  }
  if (issues.length > 0) throw new ConfigurationError("PDProxyServer options", issues);
  return {
    kvLeaseMs: options.kvLeaseMs ?? 30_000,
    kvLeaseSafety: options.kvLeaseSafety ?? 0.6,
    onMissingKv: options.onMissingKv ?? "retry",
    onPrefillFailure: options.onPrefillFailure ?? "decode-only",
    kvHostAllowlist: options.kvHostAllowlist === undefined ? undefined : new Set(options.kvHostAllowlist),
    maxRetries: options.maxRetries ?? 2,
    retryBudget: { ...defaultRetryBudget, ...options.retryBudget },
    minPromptChars: options.minPromptChars ?? null,
  };
}

function oneOf(...values: readonly string[]): Check {
  return { expected: values.map((value) => `"${value}"`).join(" or "), test: (value) => values.includes(value as string) };
}

function finite(value: unknown): value is number {
  return typeof value === "number" && Number.isFinite(value);
}
