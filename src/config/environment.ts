import { ConfigurationError, type ConfigIssue } from "../errors/configuration-error.ts";

/** Settings from environment variables; Ray's names, and Ray's defaults. */
export interface Environment {
  /** Seconds until a request's first output, > 0. `RAY_SERVE_LLM_ROUTER_HTTP_TIMEOUT`. @default 600 */
  readonly routerHttpTimeoutS: number;
  /** Milliseconds for which tokens of a stream are gathered. `RAYLLM_MODEL_RESPONSE_BATCH_TIMEOUT_MS`. @default undefined: Ray's is 50 */
  readonly responseBatchTimeoutMs: number | undefined;
  /** Header that names a session. `RAY_SERVE_SESSION_ID_HEADER_KEY`. @default "x-session-id" */
  readonly sessionIdHeader: string;
  /** Seconds to wait for a replica that already holds an adapter. `RAY_SERVE_MULTIPLEXED_MODEL_ID_MATCHING_TIMEOUT_S`. @default 1 */
  readonly multiplexMatchingTimeoutS: number;
  /** Seconds a replica's queue length is believed. `RAY_SERVE_QUEUE_LENGTH_CACHE_TIMEOUT_S`. @default 10 */
  readonly queueLengthCacheTimeoutS: number;
  /** Defaults of an LLM deployment. */
  readonly deploymentDefaults: LLMDeploymentDefaults;
}

/** Defaults of an LLM deployment's options, where a user says nothing. */
export interface LLMDeploymentDefaults {
  /** `RAY_SERVE_LLM_DEFAULT_MAX_ONGOING_REQUESTS`. @default 1000000000 */
  readonly maxOngoingRequests: number;
  /** Seconds. `RAY_SERVE_LLM_DEFAULT_HEALTH_CHECK_PERIOD_S`. @default 10 */
  readonly healthCheckPeriodS: number;
  /** Seconds. `RAY_SERVE_LLM_DEFAULT_HEALTH_CHECK_TIMEOUT_S`. @default 10 */
  readonly healthCheckTimeoutS: number;
  /** `RAY_SERVE_LLM_DEFAULT_MAX_TARGET_ONGOING_REQUESTS`. @default 1000000000 */
  readonly targetOngoingRequests: number;
}

/** Ray's defaults of an LLM deployment: no limit that anything real would reach. */
export const rayDeploymentDefaults: LLMDeploymentDefaults = {
  maxOngoingRequests: 1_000_000_000,
  healthCheckPeriodS: 10,
  healthCheckTimeoutS: 10,
  targetOngoingRequests: 1_000_000_000,
};

/** The variables this library reads, for documentation and for the command line's help. */
export const environmentVariables = [
  "RAY_SERVE_LLM_ROUTER_HTTP_TIMEOUT",
  "RAYLLM_MODEL_RESPONSE_BATCH_TIMEOUT_MS",
  "RAY_SERVE_SESSION_ID_HEADER_KEY",
  "RAY_SERVE_MULTIPLEXED_MODEL_ID_MATCHING_TIMEOUT_S",
  "RAY_SERVE_QUEUE_LENGTH_CACHE_TIMEOUT_S",
  "RAY_SERVE_LLM_DEFAULT_MAX_ONGOING_REQUESTS",
  "RAY_SERVE_LLM_DEFAULT_HEALTH_CHECK_PERIOD_S",
  "RAY_SERVE_LLM_DEFAULT_HEALTH_CHECK_TIMEOUT_S",
  "RAY_SERVE_LLM_DEFAULT_MAX_TARGET_ONGOING_REQUESTS",
] as const;

interface NumberRule {
  readonly words: string;
  holds(value: number): boolean;
}

const positive: NumberRule = { words: "a number greater than 0", holds: (value) => value > 0 };
const notNegative: NumberRule = { words: "a number of at least 0", holds: (value) => value >= 0 };
const count: NumberRule = {
  words: "a whole number of at least 1",
  holds: (value) => Number.isInteger(value) && value >= 1,
};

/**
 * Reads the environment. This file is the only one that looks at `process.env`.
 *
 * @param variables read instead of the process's own
 * @throws {ConfigurationError} naming every variable that does not hold what it should
 */
export function readEnvironment(
  variables: Readonly<Record<string, string | undefined>> = process.env,
): Environment {
  const issues: ConfigIssue[] = [];
  const read = (name: (typeof environmentVariables)[number], rule: NumberRule): number | undefined => {
    const text = variables[name]?.trim();
    if (text === undefined || text === "") return undefined;
    const value = Number(text);
    if (Number.isFinite(value) && rule.holds(value)) return value;
    const received = JSON.stringify(text.slice(0, 40));
    issues.push({ path: [name], type: "value_error", message: `Should be ${rule.words}`, received });
    return undefined;
  };
  const header = variables["RAY_SERVE_SESSION_ID_HEADER_KEY"]?.trim().toLowerCase();
  const environment: Environment = {
    routerHttpTimeoutS: read("RAY_SERVE_LLM_ROUTER_HTTP_TIMEOUT", positive) ?? 600,
    responseBatchTimeoutMs: read("RAYLLM_MODEL_RESPONSE_BATCH_TIMEOUT_MS", notNegative),
    sessionIdHeader: header === undefined || header === "" ? "x-session-id" : header,
    multiplexMatchingTimeoutS: read("RAY_SERVE_MULTIPLEXED_MODEL_ID_MATCHING_TIMEOUT_S", positive) ?? 1,
    queueLengthCacheTimeoutS: read("RAY_SERVE_QUEUE_LENGTH_CACHE_TIMEOUT_S", positive) ?? 10,
    deploymentDefaults: {
      maxOngoingRequests:
        read("RAY_SERVE_LLM_DEFAULT_MAX_ONGOING_REQUESTS", count) ?? rayDeploymentDefaults.maxOngoingRequests,
      healthCheckPeriodS:
        read("RAY_SERVE_LLM_DEFAULT_HEALTH_CHECK_PERIOD_S", positive) ??
        rayDeploymentDefaults.healthCheckPeriodS,
      healthCheckTimeoutS:
        read("RAY_SERVE_LLM_DEFAULT_HEALTH_CHECK_TIMEOUT_S", positive) ??
        rayDeploymentDefaults.healthCheckTimeoutS,
      targetOngoingRequests:
        read("RAY_SERVE_LLM_DEFAULT_MAX_TARGET_ONGOING_REQUESTS", count) ??
        rayDeploymentDefaults.targetOngoingRequests,
    },
  };
  if (issues.length > 0) throw new ConfigurationError("Environment", issues);
  return environment;
}

/** An environment variable whose name the user chose (`--api-key-env NAME`); an empty one counts as not set. */
export function environmentVariable(name: string): string | undefined {
  const value = process.env[name];
  return value === "" ? undefined : value;
}

/** The environment that a child process gets: the process's own, and over it what is given. */
export function childEnvironment(additions: Readonly<Record<string, string>>): Record<string, string> {
  const own = Object.entries(process.env).flatMap(([name, value]) =>
    value === undefined ? [] : [[name, value] as const],
  );
  return { ...Object.fromEntries(own), ...additions };
}
