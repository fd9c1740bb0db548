import { nullable, number, objectOf, oneOf } from "./lax-schema.ts";
import { parseConfig } from "./parse-config.ts";

/** What a client gets when the queue is full, as a user gives it. Ray's `BackpressureConfig`, keys in camelCase. */
export interface BackpressureOptions {
  /** HTTP status. Default 503. */
  readonly statusCode?: 503 | 429 | undefined;
  /** Seconds for `Retry-After`, at least 0; `null` sends none. Default null. */
  readonly retryAfterS?: number | null | undefined;
}

/** The same with every default filled in. */
export interface BackpressureConfig {
  readonly statusCode: 503 | 429;
  readonly retryAfterS: number | null;
}

/** Reads Ray's `BackpressureConfig`. Its output has only what was given, coerced. */
export const backpressureSchema = objectOf("BackpressureConfig", {
  statusCode: oneOf([503, 429]).optional(),
  retryAfterS: nullable(number({ atLeast: 0 })),
});

/**
 * Reads backpressure options in either spelling and fills in Ray's defaults.
 *
 * @throws ConfigurationError naming every problem
 */
export function parseBackpressureConfig(input: unknown): BackpressureConfig {
  return resolveBackpressure(parseConfig(backpressureSchema, input, "backpressure_config"));
}

/** Fills in Ray's defaults. `options` must have been parsed. */
export function resolveBackpressure(options: BackpressureOptions): BackpressureConfig {
  return { statusCode: options.statusCode ?? 503, retryAfterS: options.retryAfterS ?? null };
}
